//! Pushes of many refs: their order, and their leases.

use crate::push_pair::{Pair, SIDES};

#[test]
fn upstreams_hooks_see_new_refs_in_the_order_of_the_push() {
    Pair::each(|pair| {
        pair.upstream(|project| project.hook("pre-receive", "cut -d' ' -f3 >&2"));
        let order = ["main:zebra", "main:ape", "main:lion", "main:refs/tags/a"];
        let ran = pair.pushes(&[&["origin"], &order[..]].concat());
        assert!(ran.stderr.contains("zebra"), "{ran}");
    });
}

#[test]
fn leases_that_are_too_long_for_arguments_are_kept() {
    let pair = Pair::http();
    // 650 names of 800 bytes are more than are given to git as arguments.
    let names: Vec<String> = (0..650)
        .map(|at| {
            format!(
                "refs/heads/{}{at}",
                format!("{}/", "x".repeat(196)).repeat(4)
            )
        })
        .collect();
    let set = |side: &str, commit: &str| {
        let commit = pair.world.git(["rev-parse", commit]).at(side).ok();
        let lines = names
            .iter()
            .map(|name| format!("update {name} {}\n", commit.line()));
        let update = pair.world.git(["update-ref", "--stdin"]).at(side);
        update.stdin(lines.collect::<String>()).ok();
    };
    SIDES.iter().for_each(|side| set(side, "main"));
    let all = "refs/heads/x*:refs/heads/x*";
    let push = |side: &str, args: &[&str]| pair.world.git(["push", "-q"]).args(args).at(side);
    push("ours", &["origin", all]).ok();
    push("plain", &["origin", all]).ok();
    pair.same();
    pair.git(&[
        "commit",
        "-q",
        "--amend",
        "--allow-empty",
        "-m",
        "rewritten",
    ]);
    SIDES.iter().for_each(|side| set(side, "main"));
    push("ours", &["-f", "--atomic", "origin", all]).ok();
    push("plain", &["-f", "--atomic", "origin", all]).ok();
    pair.same();
}
