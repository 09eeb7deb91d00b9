//! What git itself fetches with the same refspecs.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use proptest::{collection::vec, prelude::*, sample::select};

use super::parse_owned;
use crate::git;

/// What the stand-in has: names that globs meet in many ways, and one that is no ref when a glob takes its end alone.
const UPSTREAM: [&str; 16] = [
    "refs/heads/a/x",
    "refs/heads/dev",
    "refs/heads/head",
    "refs/heads/main",
    "refs/heads/rel-",
    "refs/heads/rel-.x",
    "refs/heads/rel-1",
    "refs/heads/up/old",
    "refs/heads/wip/a",
    "refs/heads/wip/b/x",
    "refs/merge-requests/1/head",
    "refs/merge-requests/2/head",
    "refs/merge-requests/2/merge",
    "refs/notes/commits",
    "refs/tags/v1",
    "refs/tags/v2",
];

const GLOBS: [&str; 9] = [
    "refs/*",
    "refs/*/head",
    "refs/heads/*",
    "refs/heads/*/x",
    "refs/heads/rel-*",
    "refs/heads/up/*",
    "refs/merge-requests/*/head",
    "refs/tags/*",
    "refs/tags/v*",
];

const EXCLUDED: [&str; 6] = [
    "^refs/heads/main",
    "^refs/heads/rel-*",
    "^refs/heads/up/*",
    "^refs/heads/wip/*",
    "^refs/merge-requests/*",
    "^refs/tags/v*",
];

fn run(git: &mut Command) -> String {
    let ran = git.output().expect("git runs");
    String::from_utf8(ran.stdout).expect("names are text")
}

fn refs_in(git_dir: &Path) -> BTreeSet<String> {
    let format = "--format=%(refname) %(objectname)";
    let listed = run(git::at(git_dir).args(["for-each-ref", format]));
    listed.lines().map(str::to_owned).collect()
}

/// A repository in which each ref of [`UPSTREAM`] names a commit of its own.
fn make_upstream(git_dir: &Path) {
    run(git::at(git_dir).args(["init", "--bare", "--quiet"]));
    let mut git = git::at(git_dir);
    git.args(["fast-import", "--quiet"]).stdin(Stdio::piped());
    let mut import = git.spawn().expect("git runs");
    let mut stdin = import.stdin.take().expect("it is a pipe");
    for name in UPSTREAM {
        let length = name.len();
        write!(
            stdin,
            "commit {name}\ncommitter A <a@a.example> 1 +0000\ndata {length}\n{name}\n"
        )
        .expect("git reads");
    }
    drop(stdin);
    assert!(import.wait().expect("git ends").success());
}

fn is_below_another(line: &str, others: &BTreeSet<String>) -> bool {
    let names = others.iter().filter_map(|other| other.split_once(' '));
    names
        .map(|(name, _)| format!("{name}/"))
        .any(|above| line.starts_with(&above))
}

#[test]
fn what_is_shown_is_what_git_would_fetch() {
    let dir = tempfile::tempdir().expect("temp dir");
    let (upstream, here) = (dir.path().join("upstream"), dir.path().join("here"));
    make_upstream(&upstream);
    let there = refs_in(&upstream);
    assert_eq!(there.len(), UPSTREAM.len());
    run(git::at(&here).args(["init", "--bare", "--quiet"]));

    let glob =
        (select(&GLOBS[..]), select(&GLOBS[..])).prop_map(|(from, to)| format!("+{from}:{to}"));
    let same = select(&GLOBS[..]).prop_map(str::to_owned);
    // git fails where a name that it is given in full is missing; a mirror waits for it.
    let name = (select(&UPSTREAM[..]), select(&UPSTREAM[..]))
        .prop_map(|(from, to)| format!("{from}:{to}"));
    let excluded = select(&EXCLUDED[..]).prop_map(str::to_owned);
    let lines = vec(
        prop_oneof![3 => glob, 2 => same, 2 => name, 3 => excluded],
        1..4,
    );
    proptest!(ProptestConfig::with_cases(200), |(lines in lines)| {
        let Ok(refspecs) = parse_owned(&lines) else {
            return Ok(());
        };
        let shown: BTreeSet<String> = there
            .iter()
            .filter_map(|line| {
                let (name, oid) = line.split_once(' ')?;
                let public = refspecs.public(&name.into())?;
                Some(format!("{} {oid}", String::from_utf8_lossy(&public)))
            })
            .collect();
        // git makes only one of two such refs, and so does a mirror, when it plans.
        if shown.iter().any(|line| is_below_another(line, &shown)) {
            return Ok(());
        }
        for inside in ["refs/heads", "refs/tags"] {
            fs::create_dir_all(here.join(inside)).expect("a place for refs");
        }
        run(git::at(&here)
            .env("GIT_ALLOW_PROTOCOL", "file")
            .args(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head"])
            .arg(&upstream)
            .args(refspecs.lines()));
        let fetched = refs_in(&here);
        fs::remove_dir_all(here.join("refs")).expect("loose refs");
        prop_assert_eq!(fetched, shown);
    });
}
