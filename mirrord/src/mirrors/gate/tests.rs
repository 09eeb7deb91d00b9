//! Who waits for whom, and who does not.

use super::*;

fn names(list: &[&str]) -> BTreeSet<BString> {
    list.iter().map(|name| BString::from(*name)).collect()
}

fn mirror() -> Arc<Gate> {
    // Nothing is written there unless a push is in doubt.
    Gates::default().gate(Path::new("/nowhere"))
}

#[tokio::test]
async fn a_push_of_a_ref_waits_for_the_one_before_it_and_for_no_other() {
    let mirror = mirror();
    let first = mirror.reserve(names(&["a", "b"])).await;
    drop(mirror.reserve(names(&["c"])).await);
    let mut second = Box::pin(mirror.reserve(names(&["b", "d"])));
    assert!(futures_are_pending(&mut second).await);
    drop(mirror.reserve(names(&["d"])).await);
    first
        .write_while_no_sync_begins(|_| Ok(()))
        .expect("written");
    drop(second.await);
}

#[tokio::test]
async fn a_change_waits_for_all_and_delays_nobody_before_it_begins() {
    let mirror = mirror();
    let reader = mirror.begin_read().await;
    let sync = mirror.begin_sync();
    let mut moving = Box::pin(mirror.begin_change(true));
    assert!(futures_are_pending(&mut moving).await);
    drop(mirror.begin_read().await);
    drop(mirror.reserve(names(&["a"])).await);
    drop(sync);
    assert!(futures_are_pending(&mut moving).await, "somebody reads");
    drop(mirror.begin_change(false).await);
    drop(reader);
    let changing = moving.await;
    let mut next = Box::pin(mirror.reserve(names(&["a"])));
    assert!(futures_are_pending(&mut next).await);
    drop(changing);
    drop(next.await);
}

async fn futures_are_pending(future: &mut (impl Future + Unpin)) -> bool {
    tokio::select! {
        biased;
        _ = future => false,
        () = std::future::ready(()) => true,
    }
}

#[tokio::test]
async fn a_push_knows_the_newest_state_of_upstream_unless_a_sync_ran_beside_it() {
    let mirror = mirror();
    drop(mirror.begin_sync());
    let undisturbed = mirror.reserve(names(&["a"])).await;
    assert!(undisturbed.write_while_no_sync_begins(Ok).expect("written"));

    let during = mirror.reserve(names(&["a"])).await;
    drop(mirror.begin_sync());
    assert!(
        !during.write_while_no_sync_begins(Ok).expect("written"),
        "one began and ended meanwhile"
    );

    let sync = mirror.begin_sync();
    let across = mirror.reserve(names(&["a"])).await;
    drop(sync);
    assert!(
        !across.write_while_no_sync_begins(Ok).expect("written"),
        "one ran already"
    );

    let sync = mirror.begin_sync();
    let within = mirror.reserve(names(&["a"])).await;
    assert!(
        !within.write_while_no_sync_begins(Ok).expect("written"),
        "one runs still"
    );
    drop(sync);
}

#[tokio::test]
async fn a_mirror_is_in_doubt_until_a_sync_that_began_after_the_push() {
    let dir = tempfile::tempdir().expect("temp dir");
    let gate = Gates::default().gate(dir.path());
    let begin = async || {
        let mut push = gate.reserve(names(&["a"])).await;
        push.mark_in_doubt().expect("written");
        assert!(gate.is_in_doubt());
        push
    };
    begin()
        .await
        .write_while_no_sync_begins(Ok)
        .expect("written");
    assert!(!gate.is_in_doubt(), "it was written");

    drop(begin().await);
    assert!(gate.is_in_doubt(), "nobody knows what became of it");
    let sync = gate.begin_sync();
    drop(begin().await);
    sync.record_caught_up();
    drop(sync);
    assert!(gate.is_in_doubt(), "upstream was asked before");
    gate.begin_sync().record_caught_up();
    assert!(!gate.is_in_doubt());

    let failed = begin()
        .await
        .write_while_no_sync_begins(|_| Err::<(), _>(io::Error::other("full")));
    assert!(failed.is_err() && gate.is_in_doubt());
    // Another daemon finds the file, and no reason for it but that.
    let gate = Gates::default().gate(dir.path());
    assert!(gate.is_in_doubt());
    gate.begin_sync().record_caught_up();
    assert!(!gate.is_in_doubt());
}

#[tokio::test]
async fn a_change_that_does_not_wait_is_refused_while_the_mirror_is_in_use() {
    let mirror = mirror();
    let reading = mirror.begin_read().await;
    assert!(mirror.try_begin_change().is_none(), "somebody reads");
    drop(reading);
    let push = mirror.reserve(names(&["a"])).await;
    assert!(mirror.try_begin_change().is_none(), "somebody pushes");
    drop(push);
    let sync = mirror.begin_sync();
    assert!(mirror.try_begin_change().is_none(), "a sync runs");
    drop(sync);
    let changing = mirror.try_begin_change().expect("nobody is there");
    assert!(mirror.try_begin_change().is_none(), "it is being changed");
    let mut next = Box::pin(mirror.begin_read());
    assert!(futures_are_pending(&mut next).await);
    drop(changing);
    drop(next.await);
}
