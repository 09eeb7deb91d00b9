//! One push of tracked and local refs: each has its own verdict, or with `--atomic` all or none.

use tests::Ran;

use super::{Stage, fork, says_of, stayed};

impl Stage {
    /// Commits to `main`, and to a local branch beside it.
    fn both(&self) -> (String, String) {
        self.ours(&["switch", "-q", "-C", "main", "origin/main"])
            .ok();
        let main = self.commit("ours", "tracked");
        self.ours(&["switch", "-q", "-C", "mine", "origin/main"])
            .ok();
        (main, self.commit("ours", "local"))
    }

    /// All refs of the mirror, and of upstream.
    fn all(&self) -> [Vec<(String, String)>; 2] {
        let mirror = self.world.only_mirror();
        [tests::refs(&self.world, &mirror), self.project.refs()]
    }
}

/// Returns what `--porcelain` says of each ref: its flag, and the reason or summary.
fn verdicts(ran: &Ran) -> Vec<(String, String)> {
    let lines = ran.stdout.lines();
    let fields = lines.filter_map(|line| {
        let mut fields = line.split('\t');
        let (flag, refs, summary) = (fields.next()?, fields.next()?, fields.next()?);
        let (_, name) = refs.split_once(':')?;
        Some((format!("{flag}{name}"), summary.to_owned()))
    });
    fields.collect()
}

#[track_caller]
fn verdict(ran: &Ran, name: &str) -> String {
    let all = verdicts(ran);
    let found = all.iter().find(|(flagged, _)| flagged == name);
    let (_, summary) = found.unwrap_or_else(|| panic!("'{name}' is told: {all:?} {ran}"));
    summary.clone()
}

#[test]
fn a_mixed_push_sends_what_is_tracked_and_keeps_what_is_not() {
    let fork = fork();
    let (main, mine) = fork.both();
    fork.gitlab.forget_requests();
    let args = [
        "main",
        "mine",
        "mine:refs/tags/mark",
        "main:refs/heads/copy",
    ];
    stayed(fork.push("ours", &args), &["mine", "mark", "copy"]);
    assert_eq!(fork.project.tip("main"), Some(main.clone()));
    assert_eq!(fork.mirror_tip("refs/heads/main"), Some(main.clone()));
    assert_eq!(fork.mirror_tip("refs/heads/copy"), Some(main));
    assert_eq!(fork.mirror_tip("refs/heads/mine"), Some(mine.clone()));
    for name in ["mine", "copy", "refs/tags/mark"] {
        assert_eq!(fork.project.tip(name), None, "{name} does not leave");
    }
    let has = fork.project.git(["cat-file", "-e", &mine]);
    has.fails();
    fork.theirs(&["fetch", "-q"]).ok();
    assert_eq!(fork.tip("theirs", "origin/mine"), Some(mine));
    fork.is_sound();
}

#[test]
fn in_a_mixed_push_what_upstream_refuses_is_no_matter_to_what_stays() {
    let fork = fork();
    fork.project.hook("update", "echo 'GitLab: no' >&2; exit 1");
    let (main, mine) = fork.both();
    let args = ["--porcelain", "main", "mine"];
    let ran = fork.upstream_stays(|| fork.push("ours", &args).code(1));
    says_of(&ran, &["mine"]);
    insta::assert_snapshot!(ran.shown(), @r"
        To mirror::fork
        *	refs/heads/mine:refs/heads/mine	[new branch]
        !	refs/heads/main:refs/heads/main	[remote rejected] (hook declined)
        Done
        --- stderr
        remote: GitLab: no
        remote: error: hook declined to update refs/heads/main
        remote: mine is local to this mirror; not sent to 127.0.0.1
        error: failed to push some refs to 'mirror::fork'
    ");
    assert_eq!(
        verdict(&ran, "!refs/heads/main"),
        "[remote rejected] (hook declined)"
    );
    assert_eq!(verdict(&ran, "*refs/heads/mine"), "[new branch]");
    assert_eq!(fork.mirror_tip("refs/heads/mine"), Some(mine));
    assert_ne!(fork.mirror_tip("refs/heads/main"), Some(main.clone()));
    let has = fork.world.git(["cat-file", "-e", &main]);
    has.at(fork.world.only_mirror()).fails();
    fork.is_sound();
}

#[test]
fn in_a_mixed_push_what_is_refused_here_is_no_matter_to_what_goes_upstream() {
    let fork = fork();
    let (main, mine) = fork.both();
    let args = ["--porcelain", "main", "mine", "mine:refs/heads/main/x"];
    let ran = fork.push("ours", &args).code(1);
    insta::assert_snapshot!(ran.shown(), @r"
        To mirror::fork
         	refs/heads/main:refs/heads/main	[oid]..[oid]
        *	refs/heads/mine:refs/heads/mine	[new branch]
        !	refs/heads/mine:refs/heads/main/x	[remote rejected] ('refs/heads/main' exists)
        Done
        --- stderr
        remote: mine is local to this mirror; not sent to 127.0.0.1
        error: failed to push some refs to 'mirror::fork'
    ");
    assert_eq!(fork.project.tip("main"), Some(main));
    assert_eq!(fork.mirror_tip("refs/heads/mine"), Some(mine));
    fork.is_sound();
}

#[test]
fn in_a_mixed_push_while_gitlab_is_down_what_stays_is_pushed() {
    let fork = fork();
    let (_, mine) = fork.both();
    fork.gitlab.stop();
    let ran = fork.push("ours", &["--porcelain", "main", "mine"]).code(1);
    insta::assert_snapshot!(ran.shown(), @r"
        To mirror::fork
        *	refs/heads/mine:refs/heads/mine	[new branch]
        !	refs/heads/main:refs/heads/main	[remote rejected] (cannot reach 'http://gitlab.example/group/project.git': connection refused)
        Done
        --- stderr
        warning: cannot reach 'http://gitlab.example/group/project.git': connection refused
        hint: serving the copy synced [time] ago
        remote: mine is local to this mirror; not sent to 127.0.0.1
        error: failed to push some refs to 'mirror::fork'
    ");
    assert_eq!(fork.mirror_tip("refs/heads/mine"), Some(mine));
    let before = fork.all();
    let args = ["--porcelain", "--atomic", "main", "main:mine2"];
    let ran = fork.push("ours", &args).code(1);
    insta::assert_snapshot!(ran.shown(), @r"
        To mirror::fork
        !	refs/heads/main:refs/heads/main	[remote rejected] (cannot reach 'http://gitlab.example/group/project.git': connection refused)
        !	refs/heads/main:refs/heads/mine2	[remote rejected] (atomic push failure)
        Done
        --- stderr
        warning: cannot reach 'http://gitlab.example/group/project.git': connection refused
        hint: serving the copy synced [time] ago
        error: failed to push some refs to 'mirror::fork'
    ");
    assert_eq!(fork.all(), before);
}

#[test]
fn an_atomic_mixed_push_does_all() {
    let fork = fork();
    let (main, mine) = fork.both();
    stayed(fork.push("ours", &["--atomic", "main", "mine"]), &["mine"]);
    assert_eq!(fork.project.tip("main"), Some(main));
    assert_eq!(fork.mirror_tip("refs/heads/mine"), Some(mine));
    assert_eq!(fork.project.tip("mine"), None);
    fork.is_sound();
}

#[test]
fn when_a_local_ref_of_an_atomic_push_is_refused_upstream_is_not_asked() {
    let fork = fork();
    fork.both();
    let before = fork.all();
    fork.gitlab.forget_requests();
    let args = [
        "--porcelain",
        "--atomic",
        "main",
        "mine",
        "mine:refs/heads/main/x",
    ];
    let ran = fork.push("ours", &args).code(1);
    assert_eq!(fork.pushes_seen(), 0, "no request for a push: {ran}");
    let exists = "[remote rejected] ('refs/heads/main' exists)";
    assert_eq!(verdict(&ran, "!refs/heads/main/x"), exists);
    for name in ["!refs/heads/main", "!refs/heads/mine"] {
        let rest = "[remote rejected] (atomic push failure)";
        assert_eq!(verdict(&ran, name), rest);
    }
    assert_eq!(fork.all(), before);
    says_of(&ran, &[]);
    fork.is_sound();
}

#[test]
fn when_upstream_refuses_its_part_of_an_atomic_push_no_local_ref_moves() {
    let fork = fork();
    fork.begin("old");
    fork.push("ours", &["old", "old:refs/heads/gone"]).ok();
    fork.project.hook("update", "exit 1");
    fork.both();
    let before = fork.all();
    let args = [
        "--porcelain",
        "--atomic",
        "main",
        "mine",
        "+mine:old",
        ":gone",
    ];
    let ran = fork.push("ours", &args).code(1);
    assert_eq!(
        verdict(&ran, "!refs/heads/main"),
        "[remote rejected] (hook declined)"
    );
    for name in ["!refs/heads/mine", "!refs/heads/old", "!refs/heads/gone"] {
        let rest = "[remote rejected] (atomic push failure)";
        assert_eq!(verdict(&ran, name), rest);
    }
    assert_eq!(fork.all(), before);
    says_of(&ran, &[]);
    fork.is_sound();
}

#[test]
fn when_the_line_breaks_in_an_atomic_push_no_local_ref_moves_and_again_does_all() {
    let fork = fork();
    let (main, mine) = fork.both();
    fork.gitlab
        .fault(tests::Fault::cut_after_work().on(tests::On::Push));
    let args = ["--porcelain", "--atomic", "main", "mine"];
    let ran = fork.push("ours", &args).code(1);
    assert!(
        verdict(&ran, "!refs/heads/main").contains("may have reached"),
        "{ran}"
    );
    assert_eq!(fork.mirror_tip("refs/heads/mine"), None);
    fork.gitlab.clear_faults();
    fork.push("ours", &args).ok();
    assert_eq!(fork.project.tip("main"), Some(main));
    assert_eq!(fork.mirror_tip("refs/heads/mine"), Some(mine));
    fork.is_sound();
}

#[test]
fn a_read_only_mirror_takes_no_local_branch_either() {
    let fork = fork();
    fork.set("fork", &["--push", "no"]).ok();
    fork.begin("mine");
    let before = fork.all();
    let ran = fork.push("ours", &["mine"]).fails();
    insta::assert_snapshot!(ran.shown(), @r"
        error: the mirror 'fork' takes no pushes
        hint: 'mirrord set fork --push yes' lets it take them
    ");
    assert_eq!(fork.all(), before);
}

#[test]
fn a_local_branch_is_complete_when_upstream_refuses_the_branch_that_it_is_based_on() {
    let fork = fork();
    fork.project.hook("update", "exit 1");
    fork.ours(&["switch", "-q", "-C", "main", "origin/main"])
        .ok();
    let refused = fork.commit("ours", "refused");
    fork.ours(&["switch", "-q", "-C", "mine"]).ok();
    let mine = fork.commit("ours", "on-top");
    let ran = fork.upstream_stays(|| fork.push("ours", &["main", "mine"]).code(1));
    says_of(&ran, &["mine"]);
    fork.world.clone_mirror("fork", "fresh").ok();
    assert_eq!(fork.tip("fresh", "origin/mine"), Some(mine));
    assert_eq!(fork.tip("fresh", "origin/mine~1"), Some(refused));
    fork.is_sound();
}

#[test]
fn when_somebody_moved_the_local_ref_of_an_atomic_push_upstream_is_not_asked() {
    let fork = fork();
    fork.both();
    fork.push("ours", &["mine"]).ok();
    fork.commit("ours", "more");
    let meanwhile = "git push -q --force origin main:mine";
    let args = ["--porcelain", "--atomic", "main", "mine"];
    fork.gitlab.forget_requests();
    let ran = fork.upstream_stays(|| fork.push_while(&args, meanwhile).code(1));
    assert_eq!(fork.pushes_seen(), 0, "no request for a push: {ran}");
    let stale = "[remote rejected] (stale info)";
    assert_eq!(verdict(&ran, "!refs/heads/mine"), stale);
    let rest = "[remote rejected] (atomic push failure)";
    assert_eq!(verdict(&ran, "!refs/heads/main"), rest);
    assert_eq!(
        fork.mirror_tip("refs/heads/mine"),
        fork.tip("theirs", "main")
    );
}
