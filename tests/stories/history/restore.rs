//! Bringing something back: where it goes, what is in its way, and what becomes of it.

use tests::On;

use super::{cloned, local, past};

#[test]
fn restore_does_not_overwrite_an_existing_branch_and_names_a_way_out() {
    let stage = cloned(&[]);
    let main = stage.upstream_tip("main");
    stage.project.force("main", "main~1");
    stage.sync_project();
    let before = stage.public();
    let refused: [&[&str]; 4] = [
        &["main"],
        &["main", "--as", "topic"],
        &["main", "--as", "topic/below"],
        &["main", "--as", "refs/tags/v1"],
    ];
    let shown = refused.map(|args| {
        let ran = stage.restoring(args).code(1);
        assert_eq!(stage.public(), before);
        ran.shown()
    });
    insta::assert_snapshot!(shown.concat(), @r"
        error: 'refs/heads/main' exists
        hint: bring it back under another name: --as NAME
        error: 'refs/heads/topic' exists
        hint: bring it back under another name: --as NAME
        error: 'refs/heads/topic' exists
        hint: bring it back under another name: --as NAME
        error: 'refs/tags/v1' exists
        hint: bring it back under another name: --as NAME
    ");
    stage.restore(&["main", "--as", "was"]);
    stage.shows("refs/heads/was", &main);
}

#[test]
fn a_name_that_is_not_one_of_a_branch_or_a_tag_is_refused() {
    let stage = cloned(&[]);
    stage.project.delete("topic");
    stage.sync_project();
    let before = stage.public();
    let shown = ["--as=refs/mirror/x", "--as=-x", "--as="].map(|to| {
        let ran = stage.restoring(&["topic", to]).code(2);
        assert_eq!(stage.public(), before, "{to}");
        ran.shown()
    });
    insta::assert_snapshot!(shown.concat(), @r"
        error: 'refs/mirror/x' is not the name of a branch or a tag
        error: '-x' is not the name of a branch or a tag
        error: '' is not the name of a branch or a tag
    ");
}

#[test]
fn a_directory_of_branches_comes_back_when_the_branch_in_its_place_has_gone() {
    let stage = cloned(&[]);
    let topic = stage.upstream_tip("topic");
    stage.project.delete("topic");
    let below = stage.project.commit("topic/below", "a", "a");
    stage.sync_project();
    let ran = stage.restoring(&["topic"]).code(1);
    insta::assert_snapshot!(ran.shown(), @r"
        error: 'refs/heads/topic/below' exists
        hint: bring it back under another name: --as NAME
    ");
    stage.project.delete("topic/below");
    stage.sync_project();
    let listed = [
        past("refs/heads/topic/below", &below, "deleted"),
        past("refs/heads/topic", &topic, "deleted"),
    ];
    assert_eq!(stage.history(), listed);
    stage.restore(&["topic"]);
    stage.shows("refs/heads/topic", &topic);
    // Now the local branch is in the way of the other.
    let ran = stage.restoring(&["topic/below"]).code(1);
    insta::assert_snapshot!(ran.shown(), @r"
        error: 'refs/heads/topic' exists
        hint: bring it back under another name: --as NAME
    ");
    stage.push("ours", &[":topic"]).ok();
    stage.restore(&["topic/below"]);
    stage.shows("refs/heads/topic/below", &below);
}

#[test]
fn a_restored_branch_is_local_until_it_is_pushed() {
    let stage = cloned(&[]);
    let topic = stage.upstream_tip("topic");
    stage.project.delete("topic");
    stage.sync_project();
    stage.restore(&["topic"]);
    for _ in 0..2 {
        stage.sync_project();
        stage.ours(&["fetch", "-q"]).ok();
        assert_eq!(stage.project.tip("topic"), None, "it is not sent by itself");
        stage.shows("refs/heads/topic", &topic);
    }
    let refs = stage.refs_in_show("project").replace(&topic[..7], "TOPIC");
    insta::assert_snapshot!(refs, @"
    track: +refs/heads/*:refs/heads/* +refs/tags/*:refs/tags/*
    tracked refs: 3
    local: refs/heads/topic TOPIC
    ");
    stage.ours(&["checkout", "-q", "topic"]).ok();
    let more = stage.commit("ours", "goes on");
    stage.push("ours", &["topic"]).ok();
    assert_eq!(stage.upstream_tip("topic"), more, "it is upstream's again");
    insta::assert_snapshot!(stage.refs_in_show("project"), @"
    track: +refs/heads/*:refs/heads/* +refs/tags/*:refs/tags/*
    tracked refs: 4
    ");
    stage.project.commit("topic", "a", "a");
    stage.sync_project();
    stage.shows("refs/heads/topic", &stage.upstream_tip("topic"));
}

#[test]
fn a_restored_branch_goes_to_upstream_with_the_printed_push() {
    let stage = cloned(&[]);
    let topic = stage.upstream_tip("topic");
    stage.push("ours", &[":topic"]).ok();
    let restored = stage.restore(&["topic"]);
    let output = restored.stdout.lines().last().expect("it says how");
    let type_it = ["-c", output.trim()];
    stage.world.program("sh", type_it).at("ours").ok();
    let there = stage.project.tip("topic");
    assert_eq!(there, Some(topic), "a push that says ok is true");
}

#[test]
fn upstream_that_has_it_again_takes_over_what_came_back() {
    let stage = cloned(&[]);
    let topic = stage.upstream_tip("topic");
    stage.project.delete("topic");
    stage.sync_project();
    stage.restore(&["topic"]);
    stage.project.force("topic", &topic);
    let fetch = stage.ours(&["fetch"]).ok();
    insta::assert_snapshot!(fetch.shown(), @"");
    let next = stage.project.commit("topic", "a", "next");
    stage.sync_project();
    stage.shows("refs/heads/topic", &next);
}

#[test]
fn upstream_that_has_another_one_of_that_name_does_not_overwrite_what_came_back() {
    let stage = cloned(&[]);
    let topic = stage.upstream_tip("topic");
    stage.project.delete("topic");
    stage.sync_project();
    stage.restore(&["topic"]);
    stage.project.commit("topic", "another", "one");
    for _ in 0..2 {
        let fetch = stage.ours(&["fetch"]).ok();
        insta::allow_duplicates! {
            insta::assert_snapshot!(fetch.shown(), @"warning: 'refs/heads/topic' is local to this mirror; upstream's 'refs/heads/topic' is not shown");
        }
        stage.shows("refs/heads/topic", &topic);
    }
}

#[test]
fn restore_works_while_upstream_is_down_and_prints_nothing_of_that() {
    let stage = cloned(&[]);
    let topic = stage.upstream_tip("topic");
    stage.project.delete("topic");
    stage.sync_project();
    stage.gitlab.forget_requests();
    stage.gitlab.stop();
    stage.restore(&["topic"]);
    stage.restore(&["topic", "--as", "second"]);
    stage.shows("refs/heads/topic", &topic);
    stage.shows("refs/heads/second", &topic);
    assert_eq!(stage.gitlab.requests().len(), 0, "nobody is asked");
}

#[test]
fn restore_works_while_a_fetch_waits_for_an_upstream_that_hangs() {
    let stage = cloned(&[]);
    let topic = stage.upstream_tip("topic");
    stage.project.delete("topic");
    stage.sync_project();
    stage.gitlab.forget_requests();
    let paused = stage.gitlab.pause(On::LsRefs);
    // It gives up by itself, so that whoever waits for it is seen to have waited.
    let impatient = ["-c", "http.lowSpeedTime=3", "fetch"];
    let fetch = stage.ours(&impatient).start();
    paused.reached();
    stage.restore(&["topic"]);
    let requests = stage.gitlab.requests();
    let is_given_up = requests.iter().any(|request| request.cancelled);
    assert!(!is_given_up, "nobody is waited for: {requests:?}");
    paused.release();
    let fetch = fetch.wait();
    assert!(fetch.status.success(), "{fetch}");
    stage.shows("refs/heads/topic", &topic);
}

#[test]
fn a_wiped_upstream_comes_back_ref_by_ref() {
    let stage = cloned(&[]);
    let had = stage.public();
    for (name, _) in stage.project.refs() {
        stage.project.delete(&name);
    }
    stage.mirrord(&["accept", "project"]).ok();
    assert!(stage.public().is_empty());
    for name in had.keys() {
        stage.restore(&[name]);
    }
    assert_eq!(stage.public(), had);
    for (name, oid) in &had {
        stage.shows(name, oid);
    }
}

#[test]
fn a_restored_branch_that_is_deleted_can_be_restored_again() {
    let stage = local();
    let mine = stage.commit("ours", "mine");
    stage.push("ours", &["main:mine"]).ok();
    for round in 1..=3 {
        stage.push("ours", &[":mine"]).ok();
        assert_eq!(stage.history().len(), round);
        stage.restore(&["mine"]);
        stage.shows("refs/heads/mine", &mine);
    }
}
