//! Where a mirror's HEAD is, and so what a clone checks out: upstream's branch where that is tracked, another tracked one
//! where it is not, and never a branch of somebody's own.

use tests::{Project, same_clone};

use crate::{stage::Stage, tracking::NAME};

fn fill(project: &Project) {
    project.history(3);
    for branch in ["alpha", "beta", "master", "zebra"] {
        project.commit(branch, branch, "1");
    }
}

impl Stage {
    /// Clones; returns the branch that is checked out, with its file. Asserts what is true of every HEAD.
    #[track_caller]
    fn checked_out(&self, dir: &str) -> String {
        self.clone(NAME, dir).ok();
        let head = self.tip(dir, "HEAD");
        assert!(head.is_some(), "something is checked out");
        let files = self.git(dir, &["ls-files"]).ok();
        assert!(!files.stdout.is_empty(), "something is checked out");
        self.head_is_sound();
        let branch = self.git(dir, &["symbolic-ref", "--short", "HEAD"]).ok();
        let branch = branch.line().to_owned();
        let upstream = self
            .git(dir, &["rev-parse", "--abbrev-ref", "@{upstream}"])
            .ok();
        assert_eq!(upstream.line(), format!("origin/{branch}"));
        branch
    }

    /// HEAD is on a tracked branch when there is one and upstream's HEAD is on one, too; else on none that is there.
    #[track_caller]
    fn head_is_sound(&self) {
        let show = self.show(NAME);
        let is_local = |name: &str| show.contains(&format!("\nlocal: {name} "));
        let refs = tests::public_refs(&self.world, &self.world.only_mirror());
        let mut branches = refs.iter().map(|(name, _)| name.as_str());
        let is_tracked = |name: &str| name.starts_with("refs/heads/") && !is_local(name);
        let head = self.mirror_head();
        if branches.clone().any(is_tracked) {
            let on_one = branches.any(|name| name == head && is_tracked(name));
            assert!(on_one, "HEAD is on '{head}': {show}");
        } else {
            assert!(
                !branches.any(|name| name == head),
                "HEAD is on '{head}': {show}"
            );
        }
    }
}

#[test]
fn where_heads_branch_is_not_tracked_a_clone_checks_out_the_first_that_is() {
    let lists: [(&[&str], &str); 8] = [
        (&["+refs/heads/*"], "zebra"),
        (&["+refs/heads/*", "^refs/heads/zebra"], "main"),
        (
            &["+refs/heads/*", "^refs/heads/zebra", "^refs/heads/main"],
            "master",
        ),
        (&["+refs/heads/beta", "+refs/heads/alpha"], "alpha"),
        (&["+refs/heads/beta", "+refs/heads/nowhere"], "beta"),
        (
            &["+refs/heads/zebra:refs/heads/theirs/z", "+refs/heads/main"],
            "theirs/z",
        ),
        (
            &["+refs/heads/*:refs/heads/up/*", "^refs/heads/zebra"],
            "up/alpha",
        ),
        (
            &["+refs/heads/zebra:refs/tags/zebra", "+refs/heads/beta"],
            "beta",
        ),
    ];
    let stage = Stage::new(|project| {
        fill(project);
        project.set_head("zebra");
    });
    for (at, (track, expected)) in lists.into_iter().enumerate() {
        // One that was always so, and one that has become so.
        for way in ["new", "set"] {
            if way == "new" {
                stage.add_tracking(NAME, track).ok();
            } else {
                stage.add_tracking(NAME, &[]).ok();
                stage.set_track(track).ok();
            }
            let branch = stage.checked_out(&format!("{way}{at}"));
            assert_eq!(branch, expected, "{way}: {track:?}");
            stage.world.mirrord(["remove", NAME]).ok();
        }
    }
}

#[test]
fn head_follows_upstreams_under_the_name_that_it_has_here() {
    let stage = Stage::new(fill);
    let track = ["+refs/heads/*:refs/heads/upstream/*"];
    stage.add_tracking(NAME, &track).ok();
    assert_eq!(stage.checked_out("one"), "upstream/main");
    stage.project.set_head("beta");
    assert_eq!(stage.checked_out("two"), "upstream/beta");
    // Upstream renames its branch, as people do with master.
    stage.project.branch("trunk", "beta");
    stage.project.delete("beta");
    stage.project.set_head("trunk");
    assert_eq!(stage.checked_out("three"), "upstream/trunk");
    stage.set_track(&[]).ok();
    assert_eq!(stage.checked_out("four"), "trunk");
    stage.set_track(&track).ok();
    assert_eq!(stage.checked_out("five"), "upstream/trunk");
    stage.git("one", &["fetch", "-q", "--prune"]).ok();
    let asked = stage
        .git("one", &["remote", "set-head", "origin", "--auto"])
        .ok();
    insta::assert_snapshot!(asked.shown(), @"origin/HEAD set to upstream/trunk");
}

#[test]
fn where_heads_branch_has_gone_or_was_never_born_a_clone_is_what_plain_git_makes_of_it() {
    let stage = Stage::new(fill);
    stage.project.set_head("nowhere");
    stage.add_tracking(NAME, &[]).ok();
    let same = |step: &str| {
        let (ours, plain) = (format!("{step}-ours"), format!("{step}-plain"));
        let through = stage.clone(NAME, &ours).ok();
        let by_git = stage.world.git(["clone", "-q", &stage.url, &plain]).ok();
        assert_eq!(through.stderr, by_git.stderr);
        let [ours, plain] = [&ours, &plain].map(|dir| stage.world.path(dir));
        same_clone(&stage.world, &ours, &plain);
    };
    same("unborn");
    stage.project.set_head("beta");
    same("beta");
    stage.project.delete("beta");
    same("gone");
    stage.project.delete("main");
    same("gone-too");
    stage.project.commit("beta", "beta", "back");
    same("back");
}

#[test]
fn a_detached_head_is_what_plain_git_makes_of_it() {
    let stage = Stage::new(fill);
    let commit = stage.project.git(["rev-parse", "main~1"]).ok();
    let lone = stage.project.commit("lone", "lone", "1");
    stage.project.delete("lone");
    for at in [commit.line(), &lone] {
        stage
            .project
            .git(["update-ref", "--no-deref", "HEAD", at])
            .ok();
        let name = &at[..7];
        stage.add_tracking(name, &[]).ok();
        stage.world.clone_mirror(name, &format!("ours{name}")).ok();
        let plain = ["clone", "-q", &stage.url, &format!("plain{name}")];
        stage.world.git(plain).ok();
        let [ours, plain] = ["ours", "plain"].map(|side| stage.world.path(format!("{side}{name}")));
        same_clone(&stage.world, &ours, &plain);
        stage.world.mirrord(["remove", name]).ok();
    }
    // And it goes back to a branch with upstream's.
    stage
        .add_tracking(NAME, &["+refs/heads/main", "+refs/heads/alpha"])
        .ok();
    stage.clone(NAME, "detached").ok();
    assert_eq!(stage.tip("detached", "HEAD"), Some(lone));
    stage.project.set_head("alpha");
    assert_eq!(stage.checked_out("alpha"), "alpha");
}

#[test]
fn head_never_lands_on_a_branch_of_ones_own() {
    let stage = Stage::new(fill);
    stage
        .add_tracking(NAME, &["+refs/heads/beta", "+refs/heads/zebra"])
        .ok();
    assert_eq!(stage.checked_out("ours"), "beta");
    // All the names that it would prefer, upstream's own among them.
    let mine = stage.commit_onto("ours", "origin/beta", "mine");
    for branch in ["main", "master", "alpha"] {
        let push = [
            "push",
            "-q",
            "origin",
            &format!("{mine}:refs/heads/{branch}"),
        ];
        stage.git("ours", &push).ok();
        assert_eq!(stage.checked_out(&format!("with-{branch}")), "beta");
    }
    // Somebody's own stands where upstream's is tracked from now on.
    stage
        .set_track(&["+refs/heads/main", "+refs/heads/zebra"])
        .ok();
    stage.head_is_sound();
    assert_eq!(stage.checked_out("held"), "zebra");
    let push = ["push", "-q", "origin", ":refs/heads/main"];
    stage.git("ours", &push).ok();
    assert_eq!(stage.checked_out("free"), "main");
    // Nothing that is tracked is left.
    stage.project.set_head("alpha");
    stage.set_track(&["+refs/heads/nowhere"]).ok();
    stage.head_is_sound();
    stage.sync();
    stage.head_is_sound();
    let head = stage.mirror_head().replace("refs/heads/", "");
    let push = ["push", "-q", "origin", &format!("{mine}:refs/heads/{head}")];
    stage.git("ours", &push).ok();
    stage.head_is_sound();
    let cloned = stage.clone(NAME, "nothing").run();
    assert!(cloned.status.success(), "{cloned}");
    assert_eq!(
        stage.tip("nothing", "HEAD"),
        None,
        "nobody's own is checked out"
    );
    assert_eq!(stage.tip("nothing", "origin/master"), Some(mine));
    // What comes at last is checked out.
    stage.project.commit("nowhere", "file", "1");
    assert_eq!(stage.checked_out("at-last"), "nowhere");
}

/// Takes about 11 s: a daemon starts for each step of the push at which it dies, and a clone follows.
#[test]
#[cfg_attr(not(strace), ignore = "needs strace")]
fn head_is_not_on_a_branch_of_ones_own_when_the_daemon_dies_while_that_is_pushed() {
    let stage = Stage::new(fill);
    stage.add_tracking(NAME, &["+refs/heads/nowhere"]).ok();
    let only = ["set", NAME, "--sync-on-fetch", "no"];
    stage.world.mirrord(only).ok();
    stage.clone(NAME, "ours").ok();
    stage
        .git("ours", &["commit", "-q", "--allow-empty", "-m", "mine"])
        .ok();
    let mut died = 0;
    for step in 1.. {
        stage.world.mirrord(["stop"]).ok();
        let daemon = stage.dying_daemon(step);
        // The name that HEAD has, where nothing is yet.
        let head = stage.mirror_head();
        let push = ["push", "-q", "origin", &format!("HEAD:{head}")];
        let pushed = stage.world.git(push).at("ours").run();
        if pushed.status.success() {
            stage.world.mirrord(["stop"]).ok();
            drop(daemon.wait());
            break;
        }
        drop(daemon.wait());
        died += 1;
        stage.clone(NAME, &format!("after{step}")).ok();
        stage.head_is_sound();
    }
    assert!(died > 2, "it died {died} times");
}

#[test]
fn head_goes_where_it_may_when_the_refspecs_change_and_upstream_is_down() {
    let stage = Stage::new(fill);
    stage.add_tracking(NAME, &[]).ok();
    assert_eq!(stage.checked_out("all"), "main");
    stage.gitlab.stop();
    let lists: [(&[&str], &str); 4] = [
        (
            &["+refs/heads/beta", "+refs/heads/main:refs/heads/theirs"],
            "beta",
        ),
        (&["+refs/heads/main:refs/heads/theirs"], "theirs"),
        (
            &["+refs/heads/main:refs/heads/x/y", "+refs/heads/nowhere"],
            "x/y",
        ),
        (&["+refs/heads/main"], "main"),
    ];
    for (at, (track, expected)) in lists.into_iter().enumerate() {
        stage.set_track(track).ok();
        stage.head_is_sound();
        assert_eq!(
            stage.checked_out(&format!("down{at}")),
            expected,
            "{track:?}"
        );
    }
    // What is kept is one's own.
    stage.set_track(&["+refs/heads/nowhere"]).arg("--keep").ok();
    stage.head_is_sound();
    stage.gitlab.start();
    stage.set_track(&[]).ok();
    assert_eq!(stage.checked_out("up"), "main");
}

#[test]
fn an_empty_upstream_is_cloned_as_by_git_and_its_first_branch_is_checked_out() {
    let stage = Stage::new(|project| project.set_head("trunk"));
    stage
        .add_tracking(NAME, &["+refs/heads/*", "^refs/heads/mine/*"])
        .ok();
    stage.clone(NAME, "ours").ok();
    stage.world.git(["clone", "-q", &stage.url, "plain"]).ok();
    let [ours, plain] = ["ours", "plain"].map(|dir| stage.world.path(dir));
    same_clone(&stage.world, &ours, &plain);
    stage.head_is_sound();
    // Whatever is local is not what upstream would have.
    stage
        .git("ours", &["commit", "-q", "--allow-empty", "-m", "mine"])
        .ok();
    let push = ["push", "-q", "origin", "HEAD:refs/heads/mine/main"];
    stage.git("ours", &push).ok();
    stage.head_is_sound();
    stage.clone(NAME, "still-empty").ok();
    assert_eq!(stage.tip("still-empty", "HEAD"), None);
    let first = stage.project.commit("trunk", "file", "1");
    assert_eq!(stage.checked_out("first"), "trunk");
    assert_eq!(stage.tip("first", "HEAD"), Some(first));
}

#[test]
fn a_first_push_to_an_empty_upstream_is_checked_out_by_the_next_who_clones() {
    let stage = Stage::new(|_| ());
    stage
        .add_tracking(NAME, &["+refs/heads/main:refs/heads/upstream/main"])
        .ok();
    stage.clone(NAME, "ours").ok();
    stage
        .git("ours", &["commit", "-q", "--allow-empty", "-m", "mine"])
        .ok();
    stage
        .git("ours", &["push", "-q", "origin", "HEAD:refs/heads/main"])
        .ok();
    stage.head_is_sound();
    assert_eq!(stage.project.refs(), [], "that name is local here");
    std::fs::write(stage.world.path("ours/file"), "1").expect("ours");
    stage.git("ours", &["add", "file"]).ok();
    stage.git("ours", &["commit", "-q", "-m", "first"]).ok();
    stage
        .git(
            "ours",
            &["push", "-q", "origin", "HEAD:refs/heads/upstream/main"],
        )
        .ok();
    assert_eq!(stage.checked_out("theirs"), "upstream/main");
    assert_eq!(stage.project.tip("main"), stage.tip("ours", "HEAD"));
}
