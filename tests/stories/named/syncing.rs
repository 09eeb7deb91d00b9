//! `mirrord sync`: in step now, without a clone.

use tests::{Fault, On, public_refs};

use super::{Stage, refused, small};

#[test]
fn a_sync_brings_what_is_new_and_says_how_much() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    let sync = || stage.mirrord(&["sync", "work"]).ok();
    let unchanged = sync();
    assert_eq!(
        (&*unchanged.stdout, &*unchanged.stderr),
        ("work: in step\n", "")
    );
    let tip = stage.project.commit("main", "new", "new");
    assert_eq!(sync().stdout, "work: 1 ref changed\n");
    stage.project.commit("main", "new", "newer");
    stage.project.delete("topic");
    assert_eq!(sync().stdout, "work: 2 refs changed\n");
    let mirrored = public_refs(&stage.world, &stage.world.only_mirror());
    assert_eq!(mirrored, stage.project.refs());
    assert_ne!(stage.project.tip("main"), Some(tip));
}

#[test]
fn a_sync_shows_its_progress_to_who_wants_it() {
    let stage = Stage::new(small);
    stage.add("work", &["--no-sync"]).ok();
    let loud = stage.mirrord(&["sync", "work", "--progress"]).ok();
    assert!(loud.stderr.contains("Receiving objects: 100%"), "{loud}");
    stage.project.commit("main", "new", "new");
    let quiet = stage.mirrord(&["sync", "work", "-q"]).ok();
    assert_eq!((quiet.stdout, quiet.stderr), Default::default());
}

/// Three mirrors: two of projects, and in the middle one of a project that has gone.
#[track_caller]
fn three(stage: &Stage) {
    let other = stage.gitlab.project("group/other");
    other.commit("main", "a", "a");
    stage.add("a", &[]).ok();
    let args = ["add", "b", &stage.gitlab.url("group/gone")];
    stage
        .mirrord(&[&args[..], &["--no-test", "--no-sync"]].concat())
        .ok();
    stage
        .mirrord(&["add", "c", &stage.gitlab.url("group/other")])
        .ok();
    stage.project.commit("main", "new", "new");
    other.commit("main", "new", "new");
}

#[test]
fn a_mirror_that_cannot_be_synced_does_not_keep_the_others_from_it() {
    for args in [&["sync", "a", "b", "c"][..], &["sync", "--all"]] {
        let stage = Stage::new(small);
        three(&stage);
        let ran = stage.mirrord(args).code(1);
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.shown(), @"
            a: 1 ref changed
            c: 1 ref changed
            --- stderr
            remote: The project you were looking for could not be found or you don't have permission to view it.
            error: b: repository 'http://gitlab.example/group/gone.git' not found
            hint: check the address; a private project needs a login
            ");
        }
    }
}

#[test]
fn all_mirrors_that_are_in_step_are_a_success() {
    let stage = Stage::new(small);
    let none = stage.mirrord(&["sync", "--all"]).ok();
    insta::assert_snapshot!(none.shown(), @"there is no mirror yet: git clone mirror::https://HOST/GROUP/PROJECT.git makes one");
    stage.add("one", &[]).ok();
    stage.add("two", &["--track", "+refs/heads/main"]).ok();
    let all = stage.mirrord(&["sync", "--all"]).ok();
    assert_eq!(all.stdout, "one: in step\ntwo: in step\n");
}

#[test]
fn a_sync_is_never_answered_from_the_copy() {
    let stage = Stage::new(small);
    stage.add("work", &["--stale", "serve"]).ok();
    stage.gitlab.stop();
    for stale in ["", "serve", "fail"] {
        let ran = stage.mirrord(&["sync", "work"]).env("MIRROR_STALE", stale);
        let ran = refused(ran, 1);
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.shown(), @"error: cannot reach 'http://gitlab.example/group/project.git': connection refused");
        }
    }
    stage.gitlab.start();
    stage.gitlab.fault(Fault::cut_after(40).on(On::Fetch));
    stage.project.commit("main", "new", "new");
    insta::assert_snapshot!(refused(stage.mirrord(&["sync", "work"]), 1).shown(), @"error: cannot reach 'http://gitlab.example/group/project.git': the connection was cut");
    stage.gitlab.clear_faults();
    stage.mirrord(&["sync", "work"]).ok();
}

#[test]
fn a_sync_does_not_touch_local_branches() {
    let stage = Stage::new(small);
    let mine = stage.add_with_local();
    stage
        .project
        .commit("mine", "theirs", "untracked, of the same name");
    stage.project.commit("main", "new", "new");
    let ran = stage.mirrord(&["sync", "work"]).ok();
    assert_eq!(ran.stdout, "work: 1 ref changed\n");
    stage.fetch("ours").ok();
    assert_eq!(stage.rev_parse("ours", "origin/mine"), mine);
}

#[test]
fn mirrord_sync_prints_the_refs_that_it_holds_back() {
    let stage = Stage::new(small);
    stage.add("work", &["--track", "refs/heads/main"]).ok();
    let old = stage.project.tip("main");
    stage.project.force("main", "topic");
    for _ in 0..2 {
        let ran = stage.mirrord(&["sync", "work"]).ok();
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.shown(), @r"
                work: in step
                --- stderr
                warning: 'refs/heads/main' was rewritten upstream and is held back: its refspec has no '+'
            ");
        }
    }
    let mirrored = public_refs(&stage.world, &stage.world.only_mirror());
    assert_eq!(Some(&mirrored[0].1), old.as_ref());
    let two = stage.mirrord(&["sync", "work", "work"]).ok();
    insta::assert_snapshot!(two.shown(), @r"
        work: in step
        work: in step
        --- stderr
        warning: work: 'refs/heads/main' was rewritten upstream and is held back: its refspec has no '+'
        warning: work: 'refs/heads/main' was rewritten upstream and is held back: its refspec has no '+'
    ");
}
