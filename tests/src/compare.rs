//! Does git agree? A clone through the mirror against a plain clone of the upstream.

use std::collections::BTreeSet;
use std::path::Path;

use crate::World;

/// Asserts that a clone made through the mirror cannot be told from a plain one.
#[track_caller]
pub fn same_clone(world: &World, mirror_clone: &Path, plain_clone: &Path) {
    let lines = |dir: &Path, args: &[&str]| -> Vec<String> {
        // What fails in a plain clone, such as HEAD of an empty one, fails here alike.
        let ran = world.git(args).at(dir).run();
        let mut lines: Vec<_> = ran.stdout.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let same = |rule: &str, args: &[&str]| {
        let (ours, plain) = (lines(mirror_clone, args), lines(plain_clone, args));
        assert!(
            ours == plain,
            "{rule}; git {}, '-' only through the mirror, '+' only in the plain clone:\n{}",
            args.join(" "),
            difference(&ours, &plain)
        );
    };
    same(
        "a clone has the same refs as a plain one",
        &[
            "for-each-ref",
            "--format=%(refname) %(objectname) %(symref)",
        ],
    );
    same(
        "a clone's HEAD is what a plain one's is",
        &["symbolic-ref", "-q", "HEAD"],
    );
    same(
        "a clone has the same commit at HEAD",
        &["rev-parse", "-q", "--verify", "HEAD"],
    );
    same(
        "a clone has the same objects as a plain one",
        &["rev-list", "--objects", "--all", "--no-object-names"],
    );
    let fsck = world
        .git(["fsck", "--full", "--strict", "--no-dangling"])
        .at(mirror_clone)
        .run();
    assert!(
        fsck.status.success(),
        "git fsck finds no fault in a clone:\n{fsck}"
    );
}

/// Returns every ref of a repository with its object id, sorted by name.
#[track_caller]
pub fn refs(world: &World, dir: &Path) -> Vec<(String, String)> {
    let listed = world
        .git(["for-each-ref", "--format=%(refname) %(objectname)"])
        .at(dir)
        .ok();
    let pair = |line: &str| {
        line.split_once(' ')
            .map(|(name, id)| (name.into(), id.into()))
    };
    listed.stdout.lines().filter_map(pair).collect()
}

/// Lists the lines that only one side has.
fn difference(ours: &[String], plain: &[String]) -> String {
    let of = |lines: &[String]| lines.iter().cloned().collect::<BTreeSet<_>>();
    let (ours, plain) = (of(ours), of(plain));
    let only_ours = ours.difference(&plain).map(|line| format!("- {line}\n"));
    let only_plain = plain.difference(&ours).map(|line| format!("+ {line}\n"));
    only_ours.chain(only_plain).take(60).collect()
}
