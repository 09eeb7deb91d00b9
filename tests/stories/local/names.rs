//! Names of local branches and tags: in each other's way, many at once, and object ids of the other kind.

use tests::World;

use super::{Stage, fill, fork, fork_of, stayed};

/// Pushes, and asserts that one ref is refused because another is there.
#[track_caller]
fn in_the_way(fork: &Stage, args: &[&str], other: &str) {
    let refs = |fork: &Stage| tests::public_refs(&fork.world, &fork.world.only_mirror());
    let before = refs(fork);
    let ran = fork.push("ours", args).code(1);
    let why = format!("('{other}' exists)");
    assert_eq!(ran.stderr.matches(&why).count(), 1, "says {why}: {ran}");
    assert_eq!(refs(fork), before, "{ran}");
}

#[test]
fn a_local_name_in_the_way_of_another_is_refused_until_that_is_gone() {
    let fork = fork();
    fork.begin("a");
    fork.push("ours", &["a"]).ok();
    in_the_way(&fork, &["a:refs/heads/a/b"], "refs/heads/a");
    in_the_way(&fork, &["--force", "a:refs/heads/a/b/c"], "refs/heads/a");
    in_the_way(&fork, &["a:refs/heads/main/b"], "refs/heads/main");
    stayed(fork.push("ours", &[":a", "a:refs/heads/a/b"]), &["a/b"]);
    in_the_way(&fork, &["a"], "refs/heads/a/b");
    stayed(fork.push("ours", &["a:refs/heads/a/c"]), &["a/c"]);
    stayed(fork.push("ours", &["a", ":a/b", ":a/c"]), &["a"]);
    fork.theirs(&["fetch", "-q", "--prune"]).ok();
    assert_eq!(fork.tip("theirs", "origin/a"), fork.tip("ours", "a"));
    fork.is_sound();
}

#[test]
fn of_two_names_in_one_push_that_are_in_each_others_way_one_is_made() {
    let fork = fork();
    fork.begin("mine");
    let ran = fork
        .push("ours", &["mine:refs/heads/a/b", "mine:refs/heads/a"])
        .code(1);
    let made = ["refs/heads/a", "refs/heads/a/b"].map(|name| fork.mirror_tip(name).is_some());
    assert!(made[0] != made[1], "one of them, {made:?}: {ran}");
    assert!(ran.stderr.contains("exists)"), "{ran}");
    let args = ["--atomic", "mine:refs/heads/c/d", "mine:refs/heads/c"];
    let ran = fork.push("ours", &args).code(1);
    for name in ["refs/heads/c", "refs/heads/c/d"] {
        assert_eq!(fork.mirror_tip(name), None, "{ran}");
    }
    fork.is_sound();
}

#[test]
fn a_local_name_below_a_tracked_one_is_refused_and_one_that_upstream_has_untracked_is_free() {
    let fork = fork();
    fork.begin("mine");
    // Upstream has it, and this mirror does not follow it.
    let topic = fork.project.tip("topic");
    fork.upstream_stays(|| {
        stayed(
            fork.push("ours", &["mine:refs/heads/topic/mine"]),
            &["topic/mine"],
        )
    });
    fork.push("ours", &[":topic/mine"]).ok();
    fork.upstream_stays(|| stayed(fork.push("ours", &["mine:refs/heads/topic"]), &["topic"]));
    assert_ne!(fork.mirror_tip("refs/heads/topic"), topic);
    fork.ours(&["fetch", "-q"]).ok();
    assert_eq!(
        fork.mirror_tip("refs/heads/topic"),
        fork.tip("ours", "mine")
    );
    let fetched = fork.theirs(&["fetch"]).ok();
    insta::assert_snapshot!(fetched.shown(), @r"
        From mirror::fork
         * [new branch]      topic      -> origin/topic
    ");
}

#[test]
fn local_tags_of_both_kinds_come_move_and_go() {
    let fork = fork();
    fork.begin("mine");
    fork.ours(&["tag", "light"]).ok();
    fork.ours(&["tag", "-a", "-m", "mine", "heavy"]).ok();
    fork.upstream_stays(|| {
        stayed(fork.push("ours", &["light", "heavy"]), &["light", "heavy"]);
        let heavy = fork.tip("ours", "refs/tags/heavy");
        assert_eq!(fork.mirror_tip("refs/tags/heavy"), heavy);
        fork.theirs(&["fetch", "-q", "--tags"]).ok();
        assert_eq!(fork.tip("theirs", "refs/tags/heavy"), heavy);
        let listed = fork.theirs(&["ls-remote", "origin", "refs/tags/*"]).ok();
        insta::allow_duplicates! {
            insta::assert_snapshot!(listed.shown(), @r"
                [oid]	refs/tags/heavy
                [oid]	refs/tags/heavy^{}
                [oid]	refs/tags/light
            ");
        }
        fork.commit("ours", "more");
        fork.ours(&["tag", "-f", "-a", "-m", "anew", "heavy"]).ok();
        let ran = fork.push("ours", &["heavy"]).code(1);
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.shown(), @r"
                To mirror::fork
                 ! [rejected]        heavy -> heavy (already exists)
                error: failed to push some refs to 'mirror::fork'
                hint: Updates were rejected because the tag already exists in the remote.
            ");
        }
        stayed(fork.push("ours", &["--force", "heavy"]), &["heavy"]);
        fork.push("ours", &[":refs/tags/heavy", ":refs/tags/light"])
            .ok();
    });
    assert_eq!(fork.mirror_tip("refs/tags/heavy"), None);
    // Along with a branch that goes upstream, where the person's git says so.
    fork.ours(&["switch", "-q", "-C", "main", "origin/main"])
        .ok();
    fork.commit("ours", "tracked");
    fork.ours(&["tag", "-a", "-m", "mine", "along"]).ok();
    stayed(fork.push("ours", &["--follow-tags", "main"]), &["along"]);
    assert_eq!(fork.project.tip("refs/tags/along"), None);
    assert_eq!(fork.project.tip("main"), fork.tip("ours", "main"));
    fork.is_sound();
}

#[test]
fn a_thousand_local_branches_come_move_and_go_in_one_push_each() {
    let fork = fork();
    let refs = |from: &str| {
        let lines = (0..1000).map(|n| format!("create refs/heads/many/{n:04} {from}\n"));
        let lines = lines.collect::<String>();
        if from == "main~1" {
            lines
        } else {
            lines.replace("create ", "update ")
        }
    };
    let update = |from: &str| {
        let update = fork.ours(&["update-ref", "--stdin"]);
        update.stdin(refs(from)).ok();
    };
    let count = || {
        let mirror = fork.world.only_mirror();
        let shown = tests::public_refs(&fork.world, &mirror).into_iter();
        shown
            .filter(|(name, _)| name.starts_with("refs/heads/many/"))
            .map(|(_, oid)| oid)
            .collect::<Vec<_>>()
    };
    fork.upstream_stays(|| {
        for from in ["main~1", "main"] {
            update(from);
            let ran = fork
                .push("ours", &["refs/heads/many/*:refs/heads/many/*"])
                .ok();
            let tip = fork.tip("ours", from).expect("it is there");
            assert_eq!(count(), vec![tip; 1000]);
            let named = ran
                .stderr
                .matches("is local to this mirror; not sent")
                .count();
            assert!((1..100).contains(&named), "not a screen full: {ran}");
            let more = format!("remote: {} more are local to this mirror", 1000 - named);
            assert!(ran.stderr.contains(&more), "{ran}");
        }
        fork.theirs(&["fetch", "-q"]).ok();
        assert!(fork.tip("theirs", "origin/many/0999").is_some());
        fork.push(
            "ours",
            &["-q", "--prune", "refs/heads/many-none/*:refs/heads/many/*"],
        )
        .ok();
        assert_eq!(count(), Vec::<String>::new());
    });
    fork.is_sound();
}

#[test]
fn local_branches_of_a_project_with_sha_256_ids_come_move_and_go() {
    let world = World::new();
    let gitlab = world.gitlab();
    let project = gitlab.sha256_project("group/project");
    fill(&project);
    let fork = fork_of(Stage::of(world, gitlab, project));
    fork.upstream_stays(|| {
        let mine = fork.begin("mine");
        assert_eq!(mine.len(), 64);
        stayed(fork.push("ours", &["mine"]), &["mine"]);
        fork.ours(&["commit", "-q", "--amend", "-m", "anew"]).ok();
        fork.ours(&["tag", "-a", "-m", "mine", "heavy"]).ok();
        let args = ["--force", "mine", "heavy", "mine:refs/heads/a/b"];
        stayed(fork.push("ours", &args), &["mine", "heavy", "a/b"]);
        fork.gitlab.stop();
        stayed(fork.push("ours", &[":a/b", "mine:refs/heads/a"]), &["a"]);
        fork.gitlab.start();
    });
    fork.theirs(&["fetch", "-q"]).ok();
    assert_eq!(fork.tip("theirs", "origin/a"), fork.tip("ours", "mine"));
    in_the_way(&fork, &["mine:refs/heads/a/c"], "refs/heads/a");
    fork.is_sound();
}

#[test]
fn local_branches_of_any_name_come_move_and_go() {
    let fork = fork();
    fork.begin("mine");
    let names = [
        "ünïcode",
        "with'quote",
        "a\"b",
        "$(date)",
        "%s%n",
        "-dash",
        "x.lo",
        "@x",
    ];
    for name in names {
        let full = format!("mine:refs/heads/{name}");
        fork.upstream_stays(|| stayed(fork.push("ours", &[&full]), &[name]));
        assert!(fork.mirror_tip(&format!("refs/heads/{name}")).is_some());
        fork.push("ours", &[&format!(":refs/heads/{name}")]).ok();
    }
    let ran = fork
        .push("ours", &["mine:refs/upstream/heads/main"])
        .code(1);
    insta::assert_snapshot!(ran.shown(), @r"
        To mirror::fork
         ! [remote rejected] mine -> refs/upstream/heads/main (deny updating a hidden ref)
        error: failed to push some refs to 'mirror::fork'
    ");
    fork.is_sound();
}

#[test]
fn a_local_branch_is_never_what_a_clone_checks_out() {
    let fork = fork();
    fork.begin("aaa");
    fork.push("ours", &["aaa", "aaa:refs/heads/master"]).ok();
    let head = |dir: &str| {
        fork.world.clone_mirror("fork", dir).ok();
        let args = ["symbolic-ref", "-q", "HEAD"];
        fork.world.git(args).at(dir).ok().line().to_owned()
    };
    assert_eq!(head("one"), "refs/heads/main");
    fork.project.set_head("topic");
    assert_eq!(head("two"), "refs/heads/main");
}

#[test]
fn commits_that_hang_together_with_nothing_of_upstreams_stay_local_too() {
    let fork = fork();
    fork.ours(&["switch", "-q", "--orphan", "island"]).ok();
    let island = fork.commit("ours", "alone");
    fork.upstream_stays(|| stayed(fork.push("ours", &["island"]), &["island"]));
    fork.theirs(&["fetch", "-q"]).ok();
    assert_eq!(fork.tip("theirs", "origin/island"), Some(island));
    fork.is_sound();
}

#[test]
fn a_local_branch_is_pushed_from_clones_that_have_not_all() {
    let fork = fork();
    let options: [(&str, &[&str]); 2] = [
        ("shallow", &["--depth=1"]),
        ("partial", &["--filter=blob:none"]),
    ];
    for (dir, option) in options {
        let clone = [&["clone", "-q"], option, &["mirror::fork", dir]].concat();
        fork.world.git(&clone).ok();
        let oid = fork.commit(dir, dir);
        let word = format!("HEAD:refs/heads/of/{dir}");
        let push = ["push", "origin", "-o", "an.option", &word];
        let name = format!("of/{dir}");
        fork.upstream_stays(|| stayed(fork.world.git(push).at(dir), &[&name]));
        fork.theirs(&["fetch", "-q"]).ok();
        assert_eq!(fork.tip("theirs", &format!("origin/{name}")), Some(oid));
    }
    fork.is_sound();
}
