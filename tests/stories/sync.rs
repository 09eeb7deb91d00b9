//! A fetch gives what upstream has: every kind of change, one request when there is none, one sync for all who wait.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use tests::{On, Project, Request, refs, same_clone};

use crate::{clone::listed, stage::Stage};

/// A project that is cloned with `--mirror` through the mirror and plainly.
fn pair(fill: impl FnOnce(&Project)) -> Stage {
    let stage = Stage::new(fill);
    let ours = format!("mirror::{}", stage.url);
    for (url, dir) in [(&ours, "ours"), (&stage.url, "plain")] {
        let clone = ["clone", "--quiet", "--mirror", url, dir];
        stage.world.git(clone).ok();
    }
    stage
}

/// The same, of a project with one commit.
fn small_pair() -> Stage {
    pair(|project| drop(project.commit("main", "a", "a")))
}

/// Fetches through the mirror and plainly, and compares.
#[track_caller]
fn fetches_the_same(pair: &Stage) {
    for dir in ["ours", "plain"] {
        pair.git(dir, &["fetch", "--quiet", "--prune"]).ok();
    }
    let [ours, plain] = ["ours", "plain"].map(|dir| pair.world.path(dir));
    same_clone(&pair.world, &ours, &plain);
}

fn head_of_clone(pair: &Stage, dir: &str) -> String {
    pair.clone(&pair.url, dir).ok();
    let head = pair.git(dir, &["symbolic-ref", "HEAD"]).ok();
    head.line().to_owned()
}

/// How many requests were this command of protocol version 2.
fn count(requests: &[Request], command: &str) -> usize {
    let command = format!("command={command}");
    let is_it = |request: &&Request| request.body_text().contains(&command);
    requests.iter().filter(is_it).count()
}

/// Every file below a directory, with what changes when somebody writes it.
pub(crate) fn files_under(dir: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("readable") {
        let path = entry.expect("readable").path();
        // What a mirror has saved is written by the clock, whatever is done to it.
        if path.ends_with("saved") {
            continue;
        }
        let about = fs::metadata(&path).expect("there");
        if about.is_dir() {
            files.extend(files_under(&path));
        }
        files.insert(path, (about.ino(), about.modified().expect("known")));
    }
    files
}

#[test]
fn a_clone_through_the_mirror_is_a_clone_of_upstream() {
    let pair = pair(|project| {
        project.history(20);
        project.annotated_tag("v1", "main");
        project.tag("light", "main");
    });
    fetches_the_same(&pair);
}

#[test]
fn an_unchanged_upstream_costs_one_request_and_the_mirror_no_write() {
    let pair = small_pair();
    pair.fetch("ours").ok();
    let written = files_under(&pair.world.only_mirror());
    for _ in 0..3 {
        pair.gitlab.forget_requests();
        pair.fetch("ours").ok();
        let requests = pair.gitlab.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        assert_eq!(count(&requests, "ls-refs"), 1, "{requests:?}");
    }
    let now = files_under(&pair.world.only_mirror());
    assert_eq!(written, now, "an unchanged fetch writes nothing into it");
}

#[test]
fn branches_and_tags_appear_move_and_go() {
    let pair = pair(|project| {
        project.history(5);
        project.commit("topic", "t", "1");
        project.commit("gone", "g", "1");
        project.annotated_tag("v1", "main");
        project.tag("light", "topic");
    });
    let project = &pair.project;
    project.commit("main", "a", "next");
    project.commit("new", "n", "1");
    project.delete("gone");
    project.annotated_tag("v2", "main");
    project.tag("refs/tags/light", "main");
    project.delete("refs/tags/v1");
    project.force("topic", "main");
    fetches_the_same(&pair);
}

#[test]
fn a_branch_becomes_a_directory_of_branches_and_back() {
    let pair = small_pair();
    let project = &pair.project;
    for step in 0..3 {
        project.commit("a", "f", &format!("flat {step}"));
        fetches_the_same(&pair);
        project.delete("a");
        project.commit("a/b", "f", &format!("deep {step}"));
        project.commit("a/c/d", "f", &format!("deeper {step}"));
        fetches_the_same(&pair);
        project.delete("a/b");
        project.delete("a/c/d");
    }
}

#[test]
fn head_follows_upstreams() {
    let pair = pair(|project| {
        project.commit("main", "a", "a");
        project.commit("next", "a", "b");
    });
    assert_eq!(head_of_clone(&pair, "one"), "refs/heads/main");
    pair.project.set_head("next");
    assert_eq!(head_of_clone(&pair, "two"), "refs/heads/next");
    pair.project.set_head("main");
    pair.project.delete("next");
    assert_eq!(head_of_clone(&pair, "three"), "refs/heads/main");
}

#[test]
fn an_empty_upstream_gets_its_first_commit() {
    let pair = pair(|_| ());
    fetches_the_same(&pair);
    pair.project.commit("main", "a", "first");
    fetches_the_same(&pair);
}

/// Takes some seconds: plain git takes as many to fetch and to list so many refs.
#[test]
fn ten_thousand_refs_come_change_and_go() {
    let pair = pair(|project| {
        project.commit("main", "a", "a");
        project.many_refs(10_000);
    });
    fetches_the_same(&pair);
    let project = &pair.project;
    let moved = project.commit("main", "a", "b");
    let names = project
        .git(["for-each-ref", "--format=%(refname)", "refs/heads"])
        .ok();
    let mut commands = String::new();
    for (index, name) in names
        .stdout
        .lines()
        .filter(|name| *name != "refs/heads/main")
        .enumerate()
    {
        match index % 3 {
            0 => commands.push_str(&format!("delete {name}\n")),
            1 => commands.push_str(&format!("update {name} {moved}\n")),
            _ => {}
        }
    }
    project.git(["update-ref", "--stdin"]).stdin(commands).ok();
    fetches_the_same(&pair);
}

/// With so many refs, what goes through all of them is left out where a few change.
#[test]
fn a_few_of_thousands_of_refs_come_change_and_go() {
    let pair = pair(|project| {
        project.history(3);
        project.many_refs(2_500);
    });
    fetches_the_same(&pair);
    let project = &pair.project;
    let commit = |name: &str| project.git(["rev-parse", name]).ok().line().to_owned();
    let early = commit("main~2");
    project.commit("main", "a", "on a ref");
    fetches_the_same(&pair);
    project.branch("early", &early);
    project.commit("early", "c", "on what no ref names");
    fetches_the_same(&pair);
    project.merge("main", "early");
    project.annotated_tag("v1", "main");
    fetches_the_same(&pair);
    project.force("many/000007", "early");
    project.commit("many/000007", "b", "rewritten");
    project.delete("many/000008");
    project.delete("early");
    fetches_the_same(&pair);
    let mirror = pair.world.only_mirror();
    let fsck = pair.world.git(["fsck", "--connectivity-only"]).at(mirror);
    fsck.ok();
}

#[test]
fn nobody_is_answered_by_a_sync_that_began_before_they_asked() {
    let pair = small_pair();
    let (world, project) = (&pair.world, &pair.project);
    let fetch = |dir: &str| {
        let url = format!("mirror::{}", pair.url);
        world
            .git(["ls-remote", &url, "refs/heads/main"])
            .env("LABEL", dir)
            .start()
    };
    // The first asks, and upstream's answer is held back; then upstream moves, and others ask.
    let paused = pair.gitlab.pause_answer(On::LsRefs);
    let before = project.tip("main").expect("there");
    let first = fetch("first");
    paused.reached();
    let after = project.commit("main", "a", "b");
    pair.gitlab.forget_requests();
    let others: Vec<_> = (0..8).map(|_| fetch("other")).collect();
    world.wait_until_clients(9);
    drop(paused);
    assert!(
        first.wait().stdout.starts_with(&before),
        "asked before upstream moved"
    );
    for other in others {
        let answer = other.wait();
        assert!(
            answer.stdout.starts_with(&after),
            "asked after upstream moved, and got the old: {answer}"
        );
    }
    let received = count(&pair.gitlab.requests(), "ls-refs");
    assert_eq!(received, 1, "all who waited share one sync");
}

/// Makes this many first clones at once of what follows `mirror::`, as `c0` and so on, with one download for all of them.
#[track_caller]
fn clones_at_once(stage: &Stage, address: &str, number: usize) {
    let paused = stage.gitlab.pause(On::Fetch);
    let start = |n: usize| stage.clone(address, &format!("c{n}")).start();
    let clones: Vec<_> = (0..number).map(start).collect();
    paused.reached();
    stage.world.wait_until_clients(number);
    drop(paused);
    for clone in clones {
        let ran = clone.wait();
        assert!(ran.status.success(), "{ran}");
    }
    let packs = count(&stage.gitlab.requests(), "fetch");
    assert_eq!(packs, 1, "upstream sends one pack for all clones");
}

#[test]
fn many_first_clones_at_once_share_one_download() {
    let stage = Stage::new(|project| drop(project.history(50)));
    clones_at_once(&stage, &stage.url, 10);
    stage
        .world
        .git(["clone", "--quiet", &stage.url, "plain"])
        .ok();
    let [ours, plain] = ["c7", "plain"].map(|dir| stage.world.path(dir));
    same_clone(&stage.world, &ours, &plain);
}

#[test]
fn many_first_clones_by_an_address_that_redirects_make_one_mirror() {
    let stage = Stage::new(|project| drop(project.history(10)));
    clones_at_once(&stage, stage.url.trim_end_matches(".git"), 6);
    stage.world.only_mirror();
    assert_eq!(listed(&stage.world, "url"), [stage.url.as_str()]);
}

#[test]
fn commits_that_only_the_mirror_has_are_not_named_to_upstream() {
    let pair = small_pair();
    let mirror = pair.world.only_mirror();
    let tree = pair.rev_parse("ours", "main^{tree}");
    let at = |args: &[&str]| pair.world.git(args).at(&mirror).ok().line().to_owned();
    let local = at(&["commit-tree", "-m", "mine", &tree]);
    at(&["update-ref", "refs/heads/mine", &local]);
    pair.project.commit("main", "a", "b");
    pair.gitlab.forget_requests();
    pair.ours(&["fetch", "--quiet", "origin", "main"]).ok();
    for request in pair.gitlab.requests() {
        assert!(!request.body_text().contains(&local), "{request:?}");
    }
    let mine = refs(&pair.world, &mirror)
        .into_iter()
        .find(|(name, _)| name == "refs/heads/mine");
    assert_eq!(
        mine.map(|(_, oid)| oid),
        Some(local),
        "and the branch stays"
    );
}

#[test]
fn a_local_branch_that_upstream_takes_the_name_of_is_kept_and_named() {
    let pair = small_pair();
    let mirror = pair.world.only_mirror();
    let local = pair.rev_parse("ours", "main");
    let update = ["update-ref", "refs/heads/topic", &local];
    pair.world.git(update).at(&mirror).ok();
    pair.project.commit("topic", "t", "upstream's");
    let first = pair.fetch("ours").ok().shown();
    insta::assert_snapshot!(first, @"warning: 'refs/heads/topic' is local to this mirror; upstream's 'refs/heads/topic' is not shown");
    assert_eq!(pair.fetch("ours").ok().shown(), first, "each fetch says so");
    assert_eq!(pair.mirror_tip("refs/heads/topic"), Some(local));
}
