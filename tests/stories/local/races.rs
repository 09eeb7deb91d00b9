//! Local branches that several people push at the same time, and syncs beside them: nobody's commit is lost.

use std::fs;

use tests::{On, Run};

use super::{Stage, fork, says_of, stayed};

impl Stage {
    /// Prepares a push during which, after git has seen what the mirror has, this is done in the other clone.
    pub(super) fn push_while(&self, args: &[&str], meanwhile: &str) -> Run {
        let theirs = self.world.path("theirs");
        // What git sets for a hook is about our clone.
        let hook = format!(
            "unset $(git rev-parse --local-env-vars)\ncd '{}' && {meanwhile}",
            theirs.display()
        );
        let install = "mkdir -p .git/hooks && printf '#!/bin/sh\n%s\n' \"$0\" >.git/hooks/pre-push && chmod 755 .git/hooks/pre-push";
        let install = self.world.program("sh", ["-c", install, &hook]);
        install.at("ours").ok();
        self.push("ours", args)
    }

    /// Nothing is done during pushes any more.
    fn alone(&self) {
        let hook = self.world.path("ours/.git/hooks/pre-push");
        fs::remove_file(hook).expect("it was installed");
    }
}

#[test]
fn a_commit_that_somebody_pushed_to_a_local_branch_meanwhile_is_not_overwritten() {
    let fork = fork();
    fork.begin("mine");
    fork.push("ours", &["mine"]).ok();
    fork.theirs(&["fetch", "-q"]).ok();
    fork.theirs(&["switch", "-q", "mine"]).ok();
    let theirs = fork.commit("theirs", "theirs");
    let old = fork.tip("ours", "mine");
    fork.commit("ours", "ours");
    let mut shown = String::new();
    for args in [
        ["mine"].as_slice(),
        &["--force", "mine"],
        &["--force-with-lease", "mine"],
        &[":mine"],
    ] {
        let reset = format!("{}:refs/heads/mine", old.clone().expect("it is there"));
        fork.theirs(&["push", "-q", "--force", "origin", &reset])
            .ok();
        fork.ours(&["fetch", "-q"]).ok();
        let ran = fork.push_while(args, "git push -q origin mine").code(1);
        shown += &ran.shown();
        assert_eq!(
            fork.mirror_tip("refs/heads/mine"),
            Some(theirs.clone()),
            "{ran}"
        );
    }
    insta::assert_snapshot!(shown, @r"
        remote: mine is local to this mirror; not sent to 127.0.0.1
        To mirror::fork
         ! [remote rejected] mine -> mine (stale info)
        error: failed to push some refs to 'mirror::fork'
        remote: mine is local to this mirror; not sent to 127.0.0.1
        To mirror::fork
         ! [remote rejected] mine -> mine (stale info)
        error: failed to push some refs to 'mirror::fork'
        remote: mine is local to this mirror; not sent to 127.0.0.1
        To mirror::fork
         ! [remote rejected] mine -> mine (stale info)
        error: failed to push some refs to 'mirror::fork'
        remote: mine is local to this mirror; not sent to 127.0.0.1
        To mirror::fork
         ! [remote rejected] mine (stale info)
        error: failed to push some refs to 'mirror::fork'
    ");
    fork.alone();
    fork.ours(&["pull", "-q", "--rebase", "origin", "mine"])
        .ok();
    stayed(fork.push("ours", &["mine"]), &["mine"]);
    fork.is_sound();
}

#[test]
fn of_two_pushes_that_create_the_same_local_branch_the_second_is_refused() {
    let fork = fork();
    fork.begin("mine");
    let made = fork
        .push_while(&["mine"], "git push -q origin main:refs/heads/mine")
        .code(1);
    insta::assert_snapshot!(made.shown(), @r"
        remote: mine is local to this mirror; not sent to 127.0.0.1
        To mirror::fork
         ! [remote rejected] mine -> mine (stale info)
        error: failed to push some refs to 'mirror::fork'
    ");
    assert_eq!(
        fork.mirror_tip("refs/heads/mine"),
        fork.tip("theirs", "main")
    );
    let moved = fork
        .push_while(&["--force", "mine"], "git push -q origin :mine")
        .code(1);
    insta::assert_snapshot!(moved.shown(), @r"
        To mirror::fork
         ! [remote rejected] mine -> mine (stale info)
        error: failed to push some refs to 'mirror::fork'
    ");
    assert_eq!(fork.mirror_tip("refs/heads/mine"), None, "it stays deleted");
    // Both want the same.
    fork.theirs(&["fetch", "-q"]).ok();
    fork.alone();
    fork.push("ours", &["mine:refs/heads/other"]).ok();
    fork.theirs(&["fetch", "-q"]).ok();
    fork.push_while(&["mine"], "git push -q origin origin/other:refs/heads/mine")
        .ok();
    assert_eq!(fork.mirror_tip("refs/heads/mine"), fork.tip("ours", "mine"));
    // Or a name that is in the way.
    let ran = fork
        .push_while(
            &["mine:refs/heads/a"],
            "git push -q origin main:refs/heads/a/b",
        )
        .code(1);
    insta::assert_snapshot!(ran.shown(), @r"
        remote: a/b is local to this mirror; not sent to 127.0.0.1
        To mirror::fork
         ! [remote rejected] mine -> a ('refs/heads/a/b' exists)
        error: failed to push some refs to 'mirror::fork'
    ");
    fork.is_sound();
}

#[test]
fn of_many_local_pushes_at_once_each_arrives() {
    let fork = fork();
    let people: Vec<_> = (0..6).map(|n| format!("person{n}")).collect();
    let cloning: Vec<_> = people
        .iter()
        .map(|person| fork.world.clone_mirror("fork", person).start())
        .collect();
    for cloning in cloning {
        let ran = cloning.wait();
        assert!(ran.status.success(), "{ran}");
    }
    for round in 0..3 {
        let pushing: Vec<_> = people
            .iter()
            .map(|person| {
                let oid = fork.commit(person, &format!("{person}-{round}"));
                let word = format!("HEAD:refs/heads/of/{person}");
                let push = ["push", "-q", "origin", &word];
                (person, oid, fork.world.git(push).at(person).start())
            })
            .collect();
        for (person, oid, push) in pushing {
            let ran = push.wait();
            assert!(ran.status.success(), "{ran}");
            let name = format!("refs/heads/of/{person}");
            assert_eq!(
                fork.mirror_tip(&name),
                Some(oid),
                "ok means that it is there"
            );
        }
    }
    fork.is_sound();
}

#[test]
fn of_many_pushes_of_one_local_branch_at_once_one_wins_and_the_others_fail() {
    let fork = fork();
    fork.begin("mine");
    fork.push("ours", &["mine"]).ok();
    let before = fork.tip("ours", "mine").expect("it is there");
    let rivals: Vec<_> = (0..6)
        .map(|n| {
            fork.ours(&["switch", "-q", "-C", &format!("rival{n}"), &before])
                .ok();
            let oid = fork.commit("ours", &format!("rival{n}"));
            (format!("rival{n}:mine"), oid)
        })
        .collect();
    let pushing: Vec<_> = rivals
        .iter()
        .map(|(word, oid)| (oid, fork.push("ours", &["--porcelain", word]).start()))
        .collect();
    let mut won = Vec::new();
    for (oid, push) in pushing {
        let ran = push.wait();
        match ran.status.code() {
            Some(0) => won.push(oid.clone()),
            _ => assert!(
                ran.stdout.contains("[rejected]") || ran.stdout.contains("(stale info)"),
                "{ran}"
            ),
        }
    }
    let [winner] = &won[..] else {
        panic!("one wins: {won:?}");
    };
    assert_eq!(fork.mirror_tip("refs/heads/mine").as_ref(), Some(winner));
    fork.is_sound();
}

#[test]
fn local_refs_of_a_push_stand_when_a_sync_ran_beside_it() {
    let fork = fork();
    fork.ours(&["switch", "-q", "main"]).ok();
    fork.commit("ours", "tracked");
    let paused = fork.gitlab.pause_answer(On::Push);
    let push = fork.push("ours", &["main", "main:refs/heads/mine"]).start();
    paused.reached();
    // Upstream has it, and a sync sees that before the push is told.
    fork.theirs(&["fetch", "-q"]).ok();
    assert_eq!(fork.tip("theirs", "origin/mine"), None, "not before ok");
    paused.release();
    let ran = push.wait();
    assert!(ran.status.success(), "{ran}");
    says_of(&ran, &["mine"]);
    let main = fork.tip("ours", "main");
    fork.theirs(&["fetch", "-q"]).ok();
    for name in ["origin/main", "origin/mine"] {
        assert_eq!(fork.tip("theirs", name), main, "{name}");
    }
    fork.is_sound();
}

#[test]
fn a_local_push_does_not_wait_for_a_push_of_something_else_that_is_on_its_way() {
    let fork = fork();
    fork.ours(&["switch", "-q", "main"]).ok();
    fork.commit("ours", "tracked");
    let paused = fork.gitlab.pause(On::Push);
    let tracked = fork.push("ours", &["main"]).start();
    paused.reached();
    fork.begin("mine");
    stayed(fork.push("ours", &["mine"]), &["mine"]);
    fork.theirs(&["fetch", "-q"]).ok();
    assert_eq!(fork.tip("theirs", "origin/mine"), fork.tip("ours", "mine"));
    paused.release();
    let ran = tracked.wait();
    assert!(ran.status.success(), "{ran}");
    fork.theirs(&["fetch", "-q"]).ok();
    assert_eq!(fork.mirror_tip("refs/heads/main"), fork.project.tip("main"));
    assert_eq!(fork.mirror_tip("refs/heads/mine"), fork.tip("ours", "mine"));
    fork.is_sound();
}

#[test]
fn a_sync_that_was_asked_before_a_local_push_does_not_undo_it() {
    let fork = fork();
    // A push that is open, and waits in the hook of the person's git while a sync takes upstream's answer.
    let gate = fork.world.path("gate");
    fork.world.program("mkfifo", [&gate]).ok();
    fork.begin("mine");
    let wait = format!("cat \"{}\" >/dev/null", gate.display());
    let push = fork.push_while(&["mine"], &wait).start();
    fork.world.wait_for_part(&push, tests::Part::ReceivePack);
    fork.project.commit("main", "next", "next");
    let paused = fork.gitlab.pause_answer(On::Fetch);
    let fetch = fork.theirs(&["fetch", "-q"]).start();
    paused.reached();
    fork.world.program("tee", [&gate]).stdin("go on\n").ok();
    let ran = push.wait();
    assert!(ran.status.success(), "{ran}");
    paused.release();
    let ran = fetch.wait();
    assert!(ran.status.success(), "{ran}");
    let mine = fork.tip("ours", "mine");
    assert_eq!(fork.mirror_tip("refs/heads/mine"), mine);
    assert_eq!(fork.tip("theirs", "origin/mine"), mine, "and it is shown");
    assert_eq!(fork.tip("theirs", "origin/main"), fork.project.tip("main"));
    fork.is_sound();
}
