//! Objects that inflate to more memory than a machine has stay out of the daemon.

use std::fs;

use crate::stage::Stage;

/// The memory of each process, in KiB: less than any of the objects below.
const LIMIT: usize = 160 << 10;

/// How large they are, in bytes.
const LARGE: usize = 200 << 20;

/// Takes about 7 s: the objects are larger than the memory that git gets.
#[test]
fn a_large_file_comes_through_and_what_needs_too_much_memory_is_left_out_and_named() {
    let stage = Stage::new(|project| {
        project.config("core.compression", "1");
        project.history(2);
    });
    let Stage { world, project, .. } = &stage;
    let limited = format!("ulimit -d {LIMIT}; exec mirrord list");
    world.program("bash", ["-c", &limited]).ok();
    stage.clone(&stage.url, "ours").ok();
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
    assert_eq!(stage.fetch("ours").ok().stderr, "", "nothing is left out");
    assert_eq!(stage.rev_parse("ours", "origin/main"), main);
    assert_eq!(stage.rev_parse("ours", "on-blob"), blob);

    let huge = write(&["-t", "commit"], &header);
    let path = project.dir().join("refs/heads/huge");
    fs::write(path, format!("{huge}\n")).expect("ours");
    project.branch("next", "main");
    let fetched = stage.fetch("ours").ok();
    insta::assert_snapshot!(fetched.shown(), @"warning: 'refs/heads/huge' is not shown: what upstream sent needs more memory than git may use here (160 MiB)");
    assert_eq!(stage.rev_parse("ours", "origin/next"), main);
    assert_eq!(world.daemon_pid(), Some(daemon), "it is the same daemon");
}
