//! `mirrord accept`: the mirror becomes what upstream is, and what it had can be restored.

use tests::{Fault, On, Project, public_refs, same_clone};

use super::{
    alarmed, cloned, cloned_with, commit, empty, fetch, mirror_has, refill, replace, silent,
};
use crate::{failures::is_back, stage::Stage};

/// Asserts that whoever fetches now gets what upstream has, and hears nothing of an alarm.
#[track_caller]
fn follows(stage: &Stage) {
    for url in ["mirror::project", stage.url.as_str()] {
        let dir = if url == stage.url { "plain2" } else { "ours2" };
        let args = ["clone", "-q", "--mirror", url, dir];
        let ran = stage.world.git(args).ok();
        assert_eq!(ran.stderr, "", "{ran}");
    }
    let [ours, plain] = ["ours2", "plain2"].map(|dir| stage.world.path(dir));
    same_clone(&stage.world, &ours, &plain);
    mirror_has(stage, &stage.project.refs());
    for dir in [ours, plain] {
        std::fs::remove_dir_all(dir).expect("the world is ours");
    }
}

#[track_caller]
fn accept(stage: &Stage) {
    silent(stage.mirrord(&["accept", "project"]));
}

#[test]
fn branches_of_an_emptied_upstream_can_be_restored_after_accept() {
    let (stage, had) = cloned();
    empty(&stage.project);
    alarmed(fetch(&stage));
    accept(&stage);
    mirror_has(&stage, &[]);
    silent(stage.ours(&["fetch"]));
    for (name, _) in &had {
        stage.mirrord(&["restore", "project", name]).ok();
    }
    mirror_has(&stage, &had);
    silent(stage.ours(&["fetch"]));
    // None of it is upstream's any more, and so the mirror has nothing to check out by itself.
    let later = ["clone", "-q", "-b", "main", "mirror::project", "later"];
    silent(stage.world.git(later));
    let head = ["remote", "set-head", "origin", "main"];
    stage.world.git(head).at("later").ok();
    let [later, plain] = ["later", "plain"].map(|dir| stage.world.path(dir));
    same_clone(&stage.world, &later, &plain);
    assert_eq!(stage.project.refs(), [], "nothing goes upstream by itself");
}

#[test]
fn branches_of_a_replaced_upstream_can_be_restored_beside_the_new_ones() {
    let (stage, _) = cloned();
    stage
        .mirrord(&["set", "project", "--track", "+refs/heads/*:refs/heads/*"])
        .ok();
    fetch(&stage).ok();
    let had = public_refs(&stage.world, &stage.world.only_mirror());
    replace(&stage.project, 20);
    alarmed(fetch(&stage));
    accept(&stage);
    follows(&stage);
    for (name, oid) in &had {
        let short = name.rsplit('/').next().expect("a name");
        let to = format!("was-{short}");
        stage
            .mirrord(&["restore", "project", name, "--as", &to])
            .ok();
        fetch(&stage).ok();
        let ours = format!("refs/remotes/origin/{to}");
        let tip = stage.ours(&["rev-parse", &ours]).ok();
        assert_eq!(tip.line(), oid);
        let objects = |at: &str| {
            let listed = stage.world.git(["rev-list", "--objects", oid]).at(at);
            listed.ok().stdout
        };
        assert_eq!(objects("ours"), objects("plain"), "all of it is there");
    }
}

#[test]
fn local_branches_stay_when_upstream_is_replaced() {
    let (stage, _) = cloned_with(&["--track", "+refs/heads/main:refs/heads/main"]);
    commit(&stage, "mine");
    stage
        .ours(&["push", "-q", "origin", "main:mine", "main:topic"])
        .ok();
    let mine = stage.ours(&["rev-parse", "main"]).ok();
    replace(&stage.project, 20);
    stage.project.branch("mine", "main");
    alarmed(fetch(&stage));
    accept(&stage);
    let refs = public_refs(&stage.world, &stage.world.only_mirror());
    let main = stage.project.tip("main").expect("it has one");
    for (name, oid) in [
        ("main", main.as_str()),
        ("mine", mine.line()),
        ("topic", mine.line()),
    ] {
        let expected = (format!("refs/heads/{name}"), oid.to_owned());
        assert!(refs.contains(&expected), "{name}: {refs:?}");
    }
    assert_eq!(refs.len(), 3);
}

#[test]
fn a_local_branch_whose_name_the_new_upstream_has_stays_and_is_named() {
    let (stage, had) = cloned();
    empty(&stage.project);
    accept(&stage);
    stage.mirrord(&["restore", "project", "topic"]).ok();
    replace(&stage.project, 5);
    stage.project.branch("topic", "main");
    for _ in 0..2 {
        let ran = stage.ours(&["fetch", "-q"]).ok();
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.shown(), @"warning: 'refs/heads/topic' is local to this mirror; upstream's 'refs/heads/topic' is not shown");
        }
    }
    let refs = public_refs(&stage.world, &stage.world.only_mirror());
    assert!(refs.contains(&had[1]), "{refs:?}");
}

#[test]
fn an_upstream_that_comes_back_as_it_was_needs_no_accept() {
    let (stage, had) = cloned();
    for wipe in [empty, |project: &Project| replace(project, 20)] {
        wipe(&stage.project);
        alarmed(fetch(&stage));
        refill(&stage.project, &had);
        is_back(|| fetch(&stage));
        follows(&stage);
    }
    stage.project.commit("main", "a", "and goes on");
    fetch(&stage).ok();
    follows(&stage);
    let history = stage.mirrord(&["history", "project"]).ok();
    assert!(history.stdout.starts_with("nothing is in"), "{history}");
}

#[test]
fn an_accept_is_for_this_time_and_not_for_the_next() {
    let (stage, _) = cloned();
    replace(&stage.project, 20);
    alarmed(fetch(&stage));
    accept(&stage);
    follows(&stage);
    let had = stage.project.refs();
    replace(&stage.project, 30);
    alarmed(fetch(&stage));
    mirror_has(&stage, &had);
    empty(&stage.project);
    // As it is now.
    insta::assert_snapshot!(alarmed(fetch(&stage)).shown(), @"
    warning: 'http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 1
    hint: serving the copy synced [time] ago
    hint: the mirror keeps what it has; 'mirrord accept project' takes upstream as it is now
    ");
    mirror_has(&stage, &had);
    replace(&stage.project, 40);
    // It was something else that the last fetch saw.
    accept(&stage);
    follows(&stage);
}

#[test]
fn an_accept_with_nothing_to_accept_is_a_sync() {
    let (stage, had) = cloned();
    let ran = silent(stage.mirrord(&["accept", "project"]));
    assert_eq!(ran.stdout, "project: in step\n");
    mirror_has(&stage, &had);
    stage.project.commit("main", "a", "next");
    let ran = silent(stage.mirrord(&["accept", "project"]));
    assert_eq!(ran.stdout, "project: 1 ref changed\n");
    follows(&stage);
    // It was no promise for later.
    let had = stage.project.refs();
    empty(&stage.project);
    alarmed(fetch(&stage));
    mirror_has(&stage, &had);
    let ran = silent(stage.mirrord(&["accept", "project"]));
    assert_eq!(ran.stdout, "project: 3 refs changed\n");
    mirror_has(&stage, &[]);
    let ran = stage.mirrord(&["accept", "no-such"]).code(1);
    insta::assert_snapshot!(ran.shown(), @"
    error: no mirror is called 'no-such'
    hint: 'mirrord list' shows them; a URL makes a new one: mirror::https://HOST/GROUP/PROJECT.git
    ");
}

#[test]
fn an_accept_while_upstream_is_unreachable_fails_and_changes_nothing() {
    let (stage, had) = cloned();
    empty(&stage.project);
    alarmed(fetch(&stage));
    stage.gitlab.stop();
    for stale in ["fail", "serve"] {
        let accept = stage.mirrord(&["accept", "project"]);
        let ran = accept.env("MIRROR_STALE", stale).code(1);
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.shown(), @"error: cannot reach 'http://gitlab.example/group/project.git': connection refused");
        }
    }
    let ran = fetch(&stage).ok();
    insta::assert_snapshot!(ran.shown(), @"
    warning: cannot reach 'http://gitlab.example/group/project.git': connection refused
    hint: serving the copy synced [time] ago
    ");
    stage.gitlab.start();
    alarmed(fetch(&stage));
    mirror_has(&stage, &had);
}

#[test]
fn an_accept_that_breaks_off_leaves_what_was_there() {
    let (stage, had) = cloned();
    replace(&stage.project, 40);
    stage.gitlab.fault(Fault::cut_after(300).on(On::Fetch));
    stage.mirrord(&["accept", "project"]).code(1);
    stage.gitlab.clear_faults();
    mirror_has(&stage, &had);
    let paused = stage.gitlab.pause(On::Fetch);
    let running = stage.mirrord(&["accept", "project"]).start();
    paused.reached();
    stage.world.kill_daemon();
    paused.release();
    let ran = running.wait();
    assert_eq!(ran.status.code(), Some(1), "{ran}");
    alarmed(fetch(&stage));
    mirror_has(&stage, &had);
    accept(&stage);
    follows(&stage);
}

#[test]
fn a_fetch_during_an_accept_gets_the_old_state_or_the_new_one_whole() {
    let (stage, _) = cloned();
    replace(&stage.project, 20);
    alarmed(fetch(&stage));
    let paused = stage.gitlab.pause_answer(On::LsRefs);
    let accept = stage.mirrord(&["accept", "project"]).start();
    paused.reached();
    let ask = || {
        let args = ["ls-remote", "--refs", "mirror::project"];
        stage.world.git(args).start()
    };
    let asked: Vec<_> = (0..4).map(|_| ask()).collect();
    stage.world.wait_until_clients(5);
    paused.release();
    let accept = accept.wait();
    assert!(accept.status.success(), "{accept}");
    let lines = |refs: &[(String, String)]| {
        let lines = refs.iter().map(|(name, oid)| format!("{oid}\t{name}\n"));
        lines.collect::<String>()
    };
    for asked in asked {
        let ran = asked.wait();
        assert_eq!(ran.stdout, lines(&stage.project.refs()), "{ran}");
        assert_eq!(ran.stderr, "", "{ran}");
    }
}

#[test]
fn an_accept_is_for_one_mirror_and_not_for_another_of_the_same_upstream() {
    let (stage, _) = cloned();
    let add = ["add", "second", &stage.url, "-q"];
    stage.mirrord(&add).ok();
    empty(&stage.project);
    alarmed(fetch(&stage));
    silent(stage.mirrord(&["accept", "second"]));
    alarmed(fetch(&stage));
    let second = ["ls-remote", "--refs", "mirror::second"];
    assert_eq!(silent(stage.world.git(second)).stdout, "");
}

#[test]
fn after_an_accept_there_is_no_alarm_where_rewrites_are_held_back_either() {
    let (stage, had) = cloned_with(&["--track", "refs/heads/main:refs/heads/main"]);
    replace(&stage.project, 20);
    alarmed(fetch(&stage));
    stage.mirrord(&["accept", "project"]).ok();
    for _ in 0..2 {
        let ran = stage.ours(&["fetch", "-q", "--prune"]).ok();
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.shown(), @"warning: 'refs/heads/main' was rewritten upstream and is held back: its refspec has no '+'");
        }
    }
    mirror_has(&stage, &had[..1]);
    let track = "+refs/heads/main:refs/heads/main";
    stage.mirrord(&["set", "project", "--track", track]).ok();
    let ran = fetch(&stage).ok();
    insta::assert_snapshot!(ran.shown(), @"
    From mirror::project
     + [oid]...[oid] main       -> origin/main  (forced update)
    ");
    mirror_has(&stage, &stage.project.refs());
}
