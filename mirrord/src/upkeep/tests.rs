//! Who waits for whom, and for how long.

use common::packs::lease;
use tokio::time::sleep;

use super::{
    exclusive::{LEASE_TIMEOUT, POLL_INTERVAL},
    *,
};
use crate::{process::blocking::blocking_io, repository::sample::Sample, upkeep::store::mirror};

fn upkeep() -> Arc<Upkeep> {
    let schedule = Schedule::new("/nonexistent/rests".into());
    let journal = Journal::new("/nonexistent/journal".into());
    Upkeep::new(Turns::new(2, 2), Arc::new(schedule), Arc::new(journal))
}

#[tokio::test(start_paused = true)]
async fn those_who_read_are_waited_for_and_not_for_ever() {
    let made = Sample::new().import();
    let gate = Gates::default().gate(made.path());
    let upkeep = upkeep();
    let reader = gate.begin_read().await;
    let began = Instant::now();
    let exclusive = upkeep.exclusive_lease(&gate, made.path()).await;
    assert!(exclusive.expect("no trouble").is_none(), "somebody reads");
    assert_eq!(began.elapsed(), LEASE_TIMEOUT);
    drop(gate.begin_read().await);
    drop(reader);
    let exclusive = upkeep
        .exclusive_lease(&gate, made.path())
        .await
        .expect("no trouble");
    let exclusive = exclusive.expect("nobody reads");
    let mut next = Box::pin(gate.begin_read());
    let comes_in = timeout(Duration::from_secs(1), &mut next).await;
    assert!(comes_in.is_err(), "nobody begins to read meanwhile");
    drop(exclusive);
    drop(next.await);
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_a_client_whose_daemon_is_dead_counts_and_holds_up_nobody() {
    let made = Sample::new().import();
    let gate = Gates::default().gate(made.path());
    let upkeep = upkeep();
    let lease = lease::share(made.path()).expect("free");
    {
        let mut waits = Box::pin(upkeep.exclusive_lease(&gate, made.path()));
        assert!(timeout(LEASE_TIMEOUT / 2, &mut waits).await.is_err());
        drop(gate.begin_read().await);
        // Not only dropped: a child that another test starts just now may have it for a moment longer.
        lease.unlock().expect("held");
        let (_, exclusive) = waits.await.expect("no trouble").expect("nobody reads");
        exclusive.unlock().expect("held");
    }
    let exclusive = upkeep.exclusive_lease(&gate, made.path()).await;
    assert!(exclusive.expect("no trouble").is_some());
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_daemon_ends_the_wait_and_begins_nothing() {
    let made = Sample::new().import();
    let gates = Gates::default();
    let gate = gates.gate(made.path());
    let upkeep = upkeep();
    let _reader = gate.begin_read().await;
    let began = Instant::now();
    let waits = upkeep.exclusive_lease(&gate, made.path());
    let stops = async { upkeep.stop() };
    let (exclusive, ()) = tokio::join!(waits, stops);
    assert!(exclusive.expect("no trouble").is_none());
    upkeep.after_change(&gates, &mirror(made.path()));
    assert!(upkeep.state().tasks.is_empty());
    upkeep.ended().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_tried_again_later_and_not_at_once() {
    let dir = tempfile::tempdir().expect("temp dir");
    let gates = Gates::default();
    let upkeep = upkeep();
    // There is no object store in it.
    let mirror = mirror(dir.path());
    let tries = || {
        upkeep.after_change(&gates, &mirror);
        let begun = !upkeep.state().tasks.is_empty();
        (begun, upkeep.ended())
    };
    let (begun, ended) = tries();
    assert!(begun);
    ended.await;
    assert!(upkeep.state().failed.contains_key(dir.path()));
    assert!(!tries().0, "not at once");
    sleep(RETRY_INTERVAL).await;
    let (begun, ended) = tries();
    assert!(begun);
    ended.await;
}

#[tokio::test]
async fn a_mirror_that_is_gone_is_no_failure() {
    let dir = tempfile::tempdir().expect("temp dir");
    let gates = Gates::default();
    let upkeep = upkeep();
    let mirror = mirror(&dir.path().join("gone.git"));
    upkeep.after_change(&gates, &mirror);
    upkeep.ended().await;
    assert!(upkeep.state().failed.is_empty());
    assert!(upkeep.state().under_way.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_mirror_that_changes_while_it_is_maintained_is_maintained_once_more() {
    let made = Sample::new().import();
    let gates = Gates::default();
    let upkeep = upkeep();
    let mirror = mirror(made.path());
    // All of it is in packs that are known to be whole: there is nothing to be looked into.
    let packed = made.git().args(["repack", "-a", "-d", "-q"]).status();
    assert!(packed.expect("git runs").success());
    let (git_dir, watch) = (made.path().to_owned(), upkeep.watch.clone());
    let known = blocking_io(move || verified::verify(&git_dir, &watch)).await;
    known.expect("it is whole");
    assert!(verified::are_all_verified(made.path()));
    let reader = gates.gate(made.path()).begin_read().await;
    // Something to do that nobody may be reading for.
    let dropped = packs::pack_dir(made.path()).join("pack-1.going");
    std::fs::write(&dropped, "").expect("written");
    upkeep.after_change(&gates, &mirror);
    upkeep.after_change(&gates, &mirror);
    assert_eq!(upkeep.state().tasks.len(), 1);
    let seen = |upkeep: &Upkeep| upkeep.state().under_way[made.path()].is_some();
    assert!(seen(&upkeep));
    while seen(&upkeep) {
        // Its patience with who reads ends, and it begins anew.
        sleep(POLL_INTERVAL).await;
    }
    drop(reader);
    upkeep.ended().await;
    assert!(!dropped.exists());
    assert!(upkeep.state().under_way.is_empty());
}
