//! Objects that inflate to more memory than a machine has stay out of the daemon.

use std::fs;

use tests::World;

/// The memory of each process, in KiB: less than any of the objects below.
const LIMIT: usize = 160 << 10;

/// How large they are, in bytes.
const LARGE: usize = 200 << 20;

#[test]
fn a_large_file_comes_through_and_what_needs_too_much_memory_is_left_out_and_named() {
    let world = World::new();
    let gitlab = world.gitlab();
    let project = gitlab.project("group/project");
    project.config("core.compression", "1");
    project.history(2);
    let url = format!("mirror::{}", gitlab.url("group/project"));
    let limited = format!("ulimit -d {LIMIT}; exec mirrord list");
    world.program("bash", ["-c", &limited]).ok();
    world.git(["clone", "--quiet", &url, "ours"]).ok();
    let daemon = world.daemon_pid().expect("it runs");

    let write = |args: &[&str], begin: &str| {
        let mut bytes = begin.as_bytes().to_vec();
        bytes.resize(LARGE, b'x');
        let git = project.git(["hash-object", "-w", "--stdin", "--literally"]);
        git.args(args).stdin(bytes).ok().line().to_owned()
    };
    let blob = write(&["-t", "blob"], "");
    project.git(["tag", "on-blob", &blob]).ok();
    let tree = project
        .git(["mktree"])
        .stdin(format!("100644 blob {blob}\tlarge\n"));
    let tree = tree.ok().line().to_owned();
    let parent = project.tip("main").expect("made");
    let header = format!(
        "tree {tree}\nparent {parent}\nauthor a <a@a> 1 +0000\ncommitter a <a@a> 1 +0000\n\n"
    );
    let commit = project.git(["hash-object", "-w", "--stdin", "-t", "commit"]);
    let main = commit.stdin(header.clone()).ok().line().to_owned();
    project.force("main", &main);
    let fetched = world.git(["fetch"]).at("ours").ok();
    assert!(!fetched.stderr.contains("warning"), "{fetched}");
    let found = world
        .git(["rev-parse", "origin/main", "on-blob"])
        .at("ours")
        .ok();
    assert_eq!(found.stdout, format!("{main}\n{blob}\n"));

    let huge = write(&["-t", "commit"], &header);
    let path = project.dir().join("refs/heads/huge");
    fs::write(path, format!("{huge}\n")).expect("ours");
    project.branch("next", "main");
    let fetched = world.git(["fetch"]).at("ours").ok();
    let line = "'refs/heads/huge' is not shown: what upstream sent needs more memory than git may use here (160 MiB)";
    assert!(fetched.stderr.contains(line), "{fetched}");
    let found = world.git(["rev-parse", "origin/next"]).at("ours").ok();
    assert_eq!(found.line(), main);
    assert_eq!(world.daemon_pid(), Some(daemon), "it is the same daemon");
}
