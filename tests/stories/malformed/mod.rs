//! Objects that git would not write today and takes all the same, and refs that nobody can be served. Plain git is the
//! measure: what it takes comes through the mirror, and what it does not take is left out and named.

mod kinds;

use std::{collections::BTreeSet, fs};

use kinds::{FATAL, TAKEN};
use tests::{GitLab, Project, Ran, Run, World, refs};

/// Writes an object as it is, however malformed.
fn write(at: impl Fn(&[&str]) -> Run, kind: &str, body: &[u8]) -> String {
    let args = ["hash-object", "--literally", "-w", "--stdin", "-t", kind];
    at(&args).stdin(body).ok().line().to_owned()
}

/// A project with a commit on main.
fn start(world: &World) -> (GitLab, Project, String, String) {
    let gitlab = world.gitlab();
    let project = gitlab.project("group/project");
    let base = project.history(3);
    let url = gitlab.url("group/project");
    (gitlab, project, url, base)
}

/// Makes an object of each kind below `git`, with a ref for each, all with `message`.
fn refs_of(
    kinds: &[kinds::Kind],
    base: &str,
    message: &str,
    at: impl Fn(&[&str]) -> Run,
) -> Vec<(String, String)> {
    let tree = at(&["rev-parse", &format!("{base}^{{tree}}")]).ok();
    let blob = at(&["rev-parse", &format!("{base}:log.txt")]).ok();
    let places = kinds::Places {
        base: base.to_owned(),
        tree: tree.line().to_owned(),
        blob: blob.line().to_owned(),
    };
    let made = kinds.iter().enumerate().map(|(number, kind)| {
        let (folder, body) = kind.body(&places, message, |tree| write(&at, "tree", tree));
        let object = if folder == "tags" { "tag" } else { "commit" };
        let oid = write(&at, object, &body);
        (format!("refs/{folder}/kind-{number}"), oid)
    });
    made.collect()
}

fn set(project: &Project, refs: &[(String, String)]) {
    for (name, oid) in refs {
        // git itself would not write a ref to something that it cannot read.
        let path = project.dir().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("ours");
        fs::write(path, format!("{oid}\n")).expect("ours");
    }
}

fn names_each(ran: &Ran, refs: &[(String, String)]) {
    for (name, _) in refs {
        let line = format!("warning: '{name}' is ");
        assert!(ran.stderr.contains(&line), "{name} is named: {ran}");
    }
}

#[test]
fn malformed_objects_that_git_accepts_pass_through_clone_fetch_and_push() {
    let world = World::new();
    let (_gitlab, project, url, base) = start(&world);
    let upstream = |args: &[&str]| project.git(args);
    let first = refs_of(TAKEN, &base, "first", upstream);
    set(&project, &first);
    let clones = [("ours", format!("mirror::{url}")), ("plain", url)];
    let each = |args: &[&str]| {
        for (dir, _) in &clones {
            world.git(args).at(dir).ok();
        }
        let objects = |dir: &str| {
            let args = ["rev-list", "--objects", "--all", "--no-object-names"];
            let listed = world.git(args).at(dir).ok();
            let listed: BTreeSet<_> = listed.stdout.lines().map(str::to_owned).collect();
            (refs(&world, &world.path(dir)), listed)
        };
        assert_eq!(objects("ours"), objects("plain"), "after git {args:?}");
    };
    for (dir, url) in &clones {
        world.git(["clone", "--quiet", url, dir]).ok();
    }
    each(&["status"]);
    // Some go on, and others are made anew.
    let mut second = refs_of(TAKEN, &base, "second", upstream);
    for ((name, oid), (_, before)) in second.iter_mut().zip(&first).step_by(2) {
        if name.starts_with("refs/heads/") {
            let tree = format!("{before}^{{tree}}");
            let args = ["commit-tree", "-m", "more", "-p", before, &tree];
            let made = project.git(args).env("GIT_AUTHOR_NAME", "a");
            let made = made
                .env("GIT_AUTHOR_EMAIL", "a@a")
                .env("GIT_COMMITTER_NAME", "a");
            *oid = made
                .env("GIT_COMMITTER_EMAIL", "a@a")
                .ok()
                .line()
                .to_owned();
        }
    }
    set(&project, &second);
    each(&["fetch", "--quiet", "--force", "--tags"]);
    // What a client makes goes through to an upstream that takes it.
    project.config("receive.fsckObjects", "false");
    for (dir, _) in &clones {
        let client = |args: &[&str]| world.git(args).at(dir);
        let made = refs_of(TAKEN, &base, dir, client);
        let pushed = made
            .into_iter()
            .map(|(name, oid)| (name.replace("kind", dir), oid));
        let pushed: Vec<_> = pushed.collect();
        let refspecs = pushed.iter().map(|(name, oid)| format!("{oid}:{name}"));
        let refspecs: Vec<_> = refspecs.collect();
        client(&["push", "--quiet", "origin"]).args(refspecs).ok();
        let there = project.refs();
        for pair in &pushed {
            assert!(there.contains(pair), "upstream has {pair:?}");
        }
    }
    each(&["fetch", "--quiet", "--force", "--tags"]);
}

#[test]
fn malformed_objects_that_git_refuses_are_named_and_all_other_refs_arrive() {
    let world = World::new();
    let (_gitlab, project, url, base) = start(&world);
    let fatal = refs_of(FATAL, &base, "m", |args| project.git(args));
    world.git(["init", "--quiet", "plain"]).ok();
    world.mirrord(["list"]).ok();
    set(&project, &fatal);
    for (name, _) in &fatal {
        world.git(["fetch", &url, name]).at("plain").fails();
    }
    let mirror = format!("mirror::{url}");
    let cloned = world.git(["clone", "--no-tags", &mirror, "ours"]).ok();
    names_each(&cloned, &fatal);
    let tip = project.history(1);
    let fetched = world.git(["fetch"]).at("ours").ok();
    names_each(&fetched, &fatal);
    let main = ("refs/remotes/origin/main".to_owned(), tip);
    assert!(
        refs(&world, &world.path("ours")).contains(&main),
        "{fetched}"
    );
    for (name, _) in &fatal {
        fs::remove_file(project.dir().join(name)).expect("ours");
    }
    let fetched = world.git(["fetch"]).at("ours").ok();
    insta::assert_snapshot!(fetched.shown(), @"");
}
