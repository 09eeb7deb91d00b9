//! Clients of every kind fetch random histories through the mirror, and are what plain git makes of them.
//!
//! Three histories each time; `PROPTEST_CASES` says how many else. A history has some twenty fetches, so that a story takes eight
//! seconds.

use std::env;

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestRunner},
};
use tests::{Project, Twins, World};

use crate::differential::{Deed, NAMES, action, apply};

/// A change of a client's own repository before a fetch.
#[derive(Debug, Clone)]
enum Before {
    Nothing,
    Gc,
    Repack,
    PackRefs,
    Prune,
    /// A branch of the remote is forgotten here.
    Forget(&'static str),
    /// A branch of its own is where one of the remote is.
    Keep(&'static str),
    Link(&'static str),
}

/// An event between two checks.
#[derive(Debug, Clone)]
struct Turn {
    deeds: Vec<Deed>,
    client: Index,
    before: Before,
    fetch: &'static [&'static str],
    /// The mirror is repacked by hand meanwhile, without regard to leases.
    repacked: bool,
    /// Another client clones it.
    cloned: Option<&'static [&'static str]>,
}

const FETCHES: [&[&str]; 9] = [
    &["fetch", "-q"],
    &["fetch", "-q", "--prune"],
    &["fetch", "-q", "--prune", "--force", "--tags"],
    &["fetch", "-q", "--no-tags"],
    &["fetch", "-q", "origin", "main"],
    &["fetch", "-q", "origin", "a"],
    &["fetch", "-q", "--all", "--prune"],
    &["-C", "../tree", "fetch", "-q"],
    &[
        "-C", "../tree", "fetch", "-q", "--prune", "--tags", "--force",
    ],
];

/// How the clients came to be.
const CLIENTS: [&[&str]; 6] = [
    &[],
    &["--mirror"],
    &["--no-tags"],
    &["--single-branch"],
    &["--depth=2"],
    &["--filter=blob:none"],
];

/// How others clone it meanwhile.
const CLONES: [&[&str]; 6] = [
    &["--no-checkout"],
    &["--depth=1"],
    &["--depth=3", "--no-single-branch"],
    &["--single-branch"],
    &["--filter=blob:none"],
    &["--filter=tree:0", "--no-checkout"],
];

const LINKS: [&str; 5] = ["auto", "hardlink", "copy", "reflink", "off"];

fn before() -> impl Strategy<Value = Before> {
    let name = || select(&NAMES[..]);
    prop_oneof![
        6 => Just(Before::Nothing),
        1 => Just(Before::Gc),
        1 => Just(Before::Repack),
        1 => Just(Before::PackRefs),
        1 => Just(Before::Prune),
        2 => name().prop_map(Before::Forget),
        1 => name().prop_map(Before::Keep),
        2 => select(&LINKS[..]).prop_map(Before::Link),
    ]
}

fn turn() -> impl Strategy<Value = Turn> {
    let rarely = prop_oneof![5 => Just(false), 1 => Just(true)];
    let deeds = vec(action(), 0..4);
    let cloned = prop_oneof![3 => Just(None), 1 => select(&CLONES[..]).prop_map(Some)];
    let parts = (
        deeds,
        any::<Index>(),
        before(),
        select(&FETCHES[..]),
        rarely,
        cloned,
    );
    parts.prop_map(|(deeds, client, before, fetch, repacked, cloned)| Turn {
        deeds,
        client,
        before,
        fetch,
        repacked,
        cloned,
    })
}

/// Carries it out in both. It may fail in both.
fn prepare(twins: &Twins<'_>, before: &Before) {
    match before {
        Before::Nothing => {}
        // A graph of commits would outlive some that a repack leaves out, and fsck would say so.
        Before::Gc => {
            drop(twins.git(&["-c", "gc.writeCommitGraph=false", "gc", "-q", "--prune=now"]));
        }
        // What no ref names any more, plain git has as files of their own, which this would leave, and ours has in packs,
        // of which it would not; and tags follow to whatever is there.
        Before::Repack => drop(twins.git(&["repack", "-adkq"])),
        Before::PackRefs => drop(twins.git(&["pack-refs", "--all"])),
        Before::Prune => drop(twins.git(&["remote", "prune", "origin"])),
        Before::Forget(name) => {
            let name = format!("refs/remotes/origin/{name}");
            twins.git(&["update-ref", "-d", &name]);
        }
        Before::Keep(name) => {
            let name = format!("refs/remotes/origin/{name}");
            twins.git(&["update-ref", "refs/heads/kept", &name]);
        }
        Before::Link(how) => drop(twins.git(&["config", "mirror.link", how])),
    }
}

fn follow(world: &World, project: &Project, url: &str, turns: &[Turn]) {
    let clients: Vec<_> = CLIENTS
        .iter()
        .map(|options| world.clone_twins(url, options))
        .collect();
    for twins in &clients {
        // Else it names nothing once that branch is pruned, and fsck says so.
        twins.git(&["symbolic-ref", "-d", "refs/remotes/origin/HEAD"]);
        let tree = ["worktree", "add", "-q", "--detach", "../tree"];
        twins.git(&tree);
    }
    let second = format!("mirror::{url}");
    clients[0].git(&["remote", "add", "second", &second]);
    let mirror = world.only_mirror();
    let mut count = 0;
    for turn in turns {
        for action in &turn.deeds {
            count += 1;
            apply(project, action, count);
        }
        let twins = turn.client.get(&clients);
        prepare(twins, &turn.before);
        let repack = turn
            .repacked
            .then(|| world.git(["repack", "-adq"]).at(&mirror).start());
        twins.git(turn.fetch);
        twins.same();
        // A mirror has a HEAD also when upstream's leads nowhere.
        let has_head = || project.git(["rev-parse", "-q", "--verify", "HEAD"]).run();
        if let Some(options) = turn.cloned
            && has_head().status.success()
        {
            world.clone_twins(url, options);
        }
        if let Some(repack) = repack {
            repack.wait();
        }
    }
}

#[test]
fn whatever_happens_a_fetch_brings_what_plain_git_brings() {
    let cases = env::var("PROPTEST_CASES").ok();
    let config = Config {
        cases: cases.and_then(|cases| cases.parse().ok()).unwrap_or(3),
        failure_persistence: None,
        max_shrink_iters: 16,
        ..Config::default()
    };
    let result = TestRunner::new(config).run(&vec(turn(), 12..30), |turns| {
        let world = World::new();
        let gitlab = world.gitlab();
        let project = gitlab.project("group/project");
        project.commit("main", "file", "first");
        project.commit("a", "file", "other");
        follow(&world, &project, &gitlab.url("group/project"), &turns);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
