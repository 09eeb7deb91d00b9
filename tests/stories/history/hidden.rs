//! The past is nobody's business: clients do not see it, upstream never hears of it, and it costs an unchanged fetch
//! nothing.

use crate::sync::files_under;

use super::{Stage, cloned, local};

/// A stage whose history has a tip of upstream's and one of the mirror's own; returns them.
fn with_history() -> (Stage, [String; 2]) {
    let stage = local();
    let main = stage.upstream_tip("main");
    let mine = stage.commit("ours", "mine");
    stage.push("ours", &["main:mine"]).ok();
    stage.push("ours", &[":mine"]).ok();
    stage.project.force("main", "main~2");
    stage.project.commit("main", "a", "another way");
    stage.sync_project();
    assert_eq!(stage.history().len(), 2);
    (stage, [main, mine])
}

/// The names of all that the mirror remembers.
fn remembered(stage: &Stage) -> Vec<String> {
    let listed = tests::refs(&stage.world, &stage.world.only_mirror());
    let names = listed.into_iter().map(|(name, _)| name);
    names
        .filter(|name| name.starts_with("refs/mirror/history/"))
        .collect()
}

#[test]
fn clients_are_not_told_of_the_past_in_any_protocol() {
    let (stage, past) = with_history();
    for version in ["0", "1", "2"] {
        let version = format!("protocol.version={version}");
        let ls_remote = ["-c", &version, "ls-remote", "mirror::project"];
        let listed = stage.world.git(ls_remote).ok().stdout;
        insta::allow_duplicates! {
            insta::assert_snapshot!(tests::shown(&listed), @"
            [oid]	HEAD
            [oid]	refs/heads/main
            ");
        }
        assert!(!past.iter().any(|oid| listed.contains(oid)), "{listed}");
    }
    let clone = ["clone", "-q", "--mirror", "mirror::project"];
    stage.world.git(clone).arg("all").ok();
    let refs = tests::refs(&stage.world, &stage.world.path("all"));
    assert!(
        !refs.iter().any(|(name, _)| name.starts_with("refs/mirror")),
        "{refs:?}"
    );
    // It lies in the packs that a clone is handed, and nothing there leads to it.
    let reached = ["rev-list", "--objects", "--all", "--reflog"];
    let reached = stage.world.git(reached).at("all").ok().stdout;
    assert!(!past.iter().any(|oid| reached.contains(oid)), "{reached}");
    stage.world.config("mirror.link", "off");
    stage.world.git(clone).arg("sent").ok();
    for oid in &past {
        let there = stage.world.git(["cat-file", "-e", oid]).at("sent").run();
        assert!(!there.status.success(), "{oid} came along");
    }
}

#[test]
fn the_past_is_not_fetched_by_name_and_not_pushed_to() {
    let (stage, _) = with_history();
    let names = remembered(&stage);
    let mut all = String::new();
    for name in &names {
        for version in ["0", "2"] {
            let version = format!("protocol.version={version}");
            let fetch = ["-c", &version, "fetch", "origin", name];
            let ran = stage.ours(&fetch).code(128);
            all.push_str(&ran.shown());
        }
        for refspec in [format!("main:{name}"), format!(":{name}")] {
            let ran = stage.ours(&["push", "--force", "origin", &refspec]).fails();
            assert!(!ran.stderr.contains("->  "), "{ran}");
        }
    }
    insta::assert_snapshot!(all, @"
    fatal: couldn't find remote ref refs/mirror/history/[oid]/deleted/heads/mine
    fatal: couldn't find remote ref refs/mirror/history/[oid]/deleted/heads/mine
    fatal: couldn't find remote ref refs/mirror/history/[oid]/rewritten/heads/main
    fatal: couldn't find remote ref refs/mirror/history/[oid]/rewritten/heads/main
    ");
    let past = "+refs/mirror/*:refs/got/*";
    stage.ours(&["fetch", "-q", "origin", past]).ok();
    let got = stage.ours(&["for-each-ref", "refs/got"]).ok();
    assert_eq!(got.stdout, "");
    assert_eq!(remembered(&stage), names);
    stage.is_sound();
}

#[test]
fn upstream_never_hears_of_the_past() {
    let (stage, past) = with_history();
    stage.gitlab.forget_requests();
    stage.project.commit("main", "a", "more");
    stage.sync_project();
    stage.restore(&["mine"]);
    stage.project.commit("main", "a", "and more");
    stage.ours(&["fetch", "-q"]).ok();
    stage.ours(&["reset", "-q", "--hard", "origin/main"]).ok();
    stage.commit("ours", "mine, on top of upstream's");
    stage.push("ours", &["main"]).ok();
    stage.push("ours", &[":mine"]).ok();
    stage.sync_project();
    for request in stage.gitlab.requests() {
        let body = request.body_text();
        assert!(!past.iter().any(|oid| body.contains(oid)), "{request:?}");
        assert!(!body.contains("refs/mirror"), "{request:?}");
    }
    let objects = [
        "cat-file",
        "--batch-all-objects",
        "--batch-check=%(objectname)",
    ];
    let theirs = stage.project.git(objects).ok().stdout;
    assert!(!theirs.contains(&past[1]), "it was never sent");
    let refs = stage.project.refs();
    assert!(
        !refs.iter().any(|(name, _)| name.contains("mirror")),
        "{refs:?}"
    );
}

#[test]
fn a_fetch_of_an_unchanged_upstream_writes_nothing_and_asks_once() {
    let (stage, _) = with_history();
    stage.ours(&["fetch", "-q"]).ok();
    let written = files_under(&stage.world.only_mirror());
    for _ in 0..3 {
        stage.gitlab.forget_requests();
        let ran = stage.ours(&["fetch"]).ok();
        assert_eq!(ran.stderr, "", "{ran}");
        let requests = stage.gitlab.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        stage.history();
    }
    assert_eq!(files_under(&stage.world.only_mirror()), written);
}

#[test]
fn commits_that_upstream_removes_and_brings_back_are_not_downloaded_again() {
    let stage = cloned(&[]);
    stage.project.history(200);
    stage.sync_project();
    let main = stage.upstream_tip("main");
    stage.project.force("main", "main~150");
    stage.sync_project();
    stage.project.force("main", &main);
    stage.gitlab.forget_requests();
    stage.sync_project();
    let asks = |request: &&tests::Request| request.body_text().contains("command=fetch");
    let requests = stage.gitlab.requests();
    assert_eq!(requests.iter().filter(asks).count(), 0, "it is still here");
    stage.shows("refs/heads/main", &main);
    assert_eq!(stage.history().len(), 1, "going forward loses nothing");
}
