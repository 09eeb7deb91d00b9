//! Where a mirror's HEAD is, and so what a clone checks out: upstream's branch where that is tracked, another tracked one
//! where it is not, and never a branch of somebody's own.

use tests::{Project, same_clone};

use crate::tracking::{NAME, Tracking};

fn fill(project: &Project) {
    project.history(3);
    for branch in ["alpha", "beta", "master", "zebra"] {
        project.commit(branch, branch, "1");
    }
}

impl Tracking {
    /// Clones; returns the branch that is checked out, with its file. Asserts what is true of every HEAD.
    #[track_caller]
    fn checked_out(&self, dir: &str) -> String {
        self.clone(dir);
        let head = self.tip(dir, "HEAD");
        assert!(head.is_some(), "something is checked out");
        let files = self.git(dir, &["ls-files"]);
        assert!(!files.stdout.is_empty(), "something is checked out");
        self.head_is_sound();
        let branch = self.git(dir, &["symbolic-ref", "--short", "HEAD"]);
        let branch = branch.line().to_owned();
        let upstream = self.git(dir, &["rev-parse", "--abbrev-ref", "@{upstream}"]);
        assert_eq!(upstream.line(), format!("origin/{branch}"));
        branch
    }

    /// HEAD is on a tracked branch when there is one, and else on none that is there.
    #[track_caller]
    fn head_is_sound(&self) {
        let show = self.show();
        let is_local = |name: &str| show.contains(&format!("\nlocal: {name} "));
        let refs = tests::public_refs(&self.world, &self.world.only_mirror());
        let mut branches = refs.iter().map(|(name, _)| name.as_str());
        let is_tracked = |name: &str| name.starts_with("refs/heads/") && !is_local(name);
        let head = self.head();
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
    let tracking = Tracking::new(|project| {
        fill(project);
        project.set_head("zebra");
    });
    for (at, (track, expected)) in lists.into_iter().enumerate() {
        // One that was always so, and one that has become so.
        for way in ["new", "set"] {
            if way == "new" {
                tracking.add(track);
            } else {
                tracking.add(&[]);
                tracking.set(track).ok();
            }
            let branch = tracking.checked_out(&format!("{way}{at}"));
            assert_eq!(branch, expected, "{way}: {track:?}");
            tracking.world.mirrord(["remove", NAME]).ok();
        }
    }
}

#[test]
fn head_follows_upstreams_under_the_name_that_it_has_here() {
    let tracking = Tracking::new(fill);
    let track = ["+refs/heads/*:refs/heads/upstream/*"];
    tracking.add(&track);
    assert_eq!(tracking.checked_out("one"), "upstream/main");
    tracking.project.set_head("beta");
    assert_eq!(tracking.checked_out("two"), "upstream/beta");
    // Upstream renames its branch, as people do with master.
    tracking.project.branch("trunk", "beta");
    tracking.project.delete("beta");
    tracking.project.set_head("trunk");
    assert_eq!(tracking.checked_out("three"), "upstream/trunk");
    tracking.set(&[]).ok();
    assert_eq!(tracking.checked_out("four"), "trunk");
    tracking.set(&track).ok();
    assert_eq!(tracking.checked_out("five"), "upstream/trunk");
    tracking.git("one", &["fetch", "-q", "--prune"]);
    let asked = tracking.git("one", &["remote", "set-head", "origin", "--auto"]);
    assert!(asked.stdout.contains("upstream/trunk"), "{asked}");
}

#[test]
fn where_heads_branch_has_gone_or_was_never_born_something_else_is_checked_out() {
    let tracking = Tracking::new(fill);
    tracking.project.set_head("nowhere");
    tracking.add(&[]);
    assert_eq!(tracking.checked_out("unborn"), "main");
    tracking.project.set_head("beta");
    assert_eq!(tracking.checked_out("beta"), "beta");
    tracking.project.delete("beta");
    assert_eq!(tracking.checked_out("gone"), "main");
    tracking.project.delete("main");
    assert_eq!(tracking.checked_out("gone-too"), "master");
    tracking.project.delete("master");
    assert_eq!(tracking.checked_out("all-gone"), "alpha");
    let back = tracking.project.commit("beta", "beta", "back");
    assert_eq!(tracking.checked_out("back"), "beta");
    assert_eq!(tracking.tip("back", "HEAD"), Some(back));
}

#[test]
fn a_detached_head_is_what_plain_git_makes_of_it() {
    let tracking = Tracking::new(fill);
    let commit = tracking.project.git(["rev-parse", "main~1"]).ok();
    let lone = tracking.project.commit("lone", "lone", "1");
    tracking.project.delete("lone");
    for at in [commit.line(), &lone] {
        tracking
            .project
            .git(["update-ref", "--no-deref", "HEAD", at])
            .ok();
        let name = &at[..7];
        tracking.add_as(name, &[]).ok();
        tracking
            .world
            .clone_mirror(name, &format!("ours{name}"))
            .ok();
        let plain = ["clone", "-q", &tracking.url, &format!("plain{name}")];
        tracking.world.git(plain).ok();
        let [ours, plain] =
            ["ours", "plain"].map(|side| tracking.world.path(format!("{side}{name}")));
        same_clone(&tracking.world, &ours, &plain);
        tracking.world.mirrord(["remove", name]).ok();
    }
    // And it goes back to a branch with upstream's.
    tracking.add(&["+refs/heads/main", "+refs/heads/alpha"]);
    tracking.clone("detached");
    assert_eq!(tracking.tip("detached", "HEAD"), Some(lone));
    tracking.project.set_head("alpha");
    assert_eq!(tracking.checked_out("alpha"), "alpha");
}

#[test]
fn head_never_lands_on_a_branch_of_ones_own() {
    let tracking = Tracking::new(fill);
    tracking.add(&["+refs/heads/beta", "+refs/heads/zebra"]);
    assert_eq!(tracking.checked_out("ours"), "beta");
    // All the names that it would prefer, upstream's own among them.
    let mine = tracking.commit("ours", "origin/beta", "mine");
    for branch in ["main", "master", "alpha"] {
        let push = [
            "push",
            "-q",
            "origin",
            &format!("{mine}:refs/heads/{branch}"),
        ];
        tracking.git("ours", &push);
        assert_eq!(tracking.checked_out(&format!("with-{branch}")), "beta");
    }
    // Somebody's own stands where upstream's is tracked from now on.
    tracking
        .set(&["+refs/heads/main", "+refs/heads/zebra"])
        .ok();
    tracking.head_is_sound();
    assert_eq!(tracking.checked_out("held"), "zebra");
    let push = ["push", "-q", "origin", ":refs/heads/main"];
    tracking.git("ours", &push);
    assert_eq!(tracking.checked_out("free"), "main");
    // Nothing that is tracked is left.
    tracking.project.set_head("alpha");
    tracking.set(&["+refs/heads/nowhere"]).ok();
    tracking.head_is_sound();
    tracking.sync();
    tracking.head_is_sound();
    let head = tracking.head().replace("refs/heads/", "");
    let push = ["push", "-q", "origin", &format!("{mine}:refs/heads/{head}")];
    tracking.git("ours", &push);
    tracking.head_is_sound();
    let cloned = tracking.clone_run("nothing").run();
    assert!(cloned.status.success(), "{cloned}");
    assert_eq!(
        tracking.tip("nothing", "HEAD"),
        None,
        "nobody's own is checked out"
    );
    assert_eq!(tracking.tip("nothing", "origin/master"), Some(mine));
    // What comes at last is checked out.
    tracking.project.commit("nowhere", "file", "1");
    assert_eq!(tracking.checked_out("at-last"), "nowhere");
}

#[test]
fn head_is_not_on_a_branch_of_ones_own_when_the_daemon_dies_while_that_is_pushed() {
    let tracking = Tracking::new(fill);
    tracking.add(&["+refs/heads/nowhere"]);
    let only = ["set", NAME, "--sync-on-fetch", "no"];
    tracking.world.mirrord(only).ok();
    tracking.clone("ours");
    tracking.git("ours", &["commit", "-q", "--allow-empty", "-m", "mine"]);
    let mut died = 0;
    for step in 1.. {
        tracking.world.mirrord(["stop"]).ok();
        let daemon = tracking.dying_daemon(step);
        // The name that HEAD has, where nothing is yet.
        let head = tracking.head();
        let push = ["push", "-q", "origin", &format!("HEAD:{head}")];
        let pushed = tracking.world.git(push).at("ours").run();
        if pushed.status.success() {
            tracking.world.mirrord(["stop"]).ok();
            drop(daemon.wait());
            break;
        }
        drop(daemon.wait());
        died += 1;
        tracking.clone(&format!("after{step}"));
        tracking.head_is_sound();
    }
    assert!(died > 2, "it died {died} times");
}

#[test]
fn head_goes_where_it_may_when_the_refspecs_change_and_upstream_is_down() {
    let tracking = Tracking::new(fill);
    tracking.add(&[]);
    assert_eq!(tracking.checked_out("all"), "main");
    tracking.gitlab.stop();
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
        tracking.set(track).ok();
        tracking.head_is_sound();
        assert_eq!(
            tracking.checked_out(&format!("down{at}")),
            expected,
            "{track:?}"
        );
    }
    // What is kept is one's own.
    tracking.set(&["+refs/heads/nowhere"]).arg("--keep").ok();
    tracking.head_is_sound();
    tracking.gitlab.start();
    tracking.set(&[]).ok();
    assert_eq!(tracking.checked_out("up"), "main");
}

#[test]
fn an_empty_upstream_is_cloned_as_by_git_and_its_first_branch_is_checked_out() {
    let tracking = Tracking::new(|project| project.set_head("trunk"));
    tracking.add(&["+refs/heads/*", "^refs/heads/mine/*"]);
    tracking.clone("ours");
    tracking
        .world
        .git(["clone", "-q", &tracking.url, "plain"])
        .ok();
    let [ours, plain] = ["ours", "plain"].map(|dir| tracking.world.path(dir));
    same_clone(&tracking.world, &ours, &plain);
    tracking.head_is_sound();
    // Whatever is local is not what upstream would have.
    tracking.git("ours", &["commit", "-q", "--allow-empty", "-m", "mine"]);
    let push = ["push", "-q", "origin", "HEAD:refs/heads/mine/main"];
    tracking.git("ours", &push);
    tracking.head_is_sound();
    tracking.clone("still-empty");
    assert_eq!(tracking.tip("still-empty", "HEAD"), None);
    let first = tracking.project.commit("trunk", "file", "1");
    assert_eq!(tracking.checked_out("first"), "trunk");
    assert_eq!(tracking.tip("first", "HEAD"), Some(first));
}

#[test]
fn a_first_push_to_an_empty_upstream_is_checked_out_by_the_next_who_clones() {
    let tracking = Tracking::new(|_| ());
    tracking.add(&["+refs/heads/main:refs/heads/upstream/main"]);
    tracking.clone("ours");
    tracking.git("ours", &["commit", "-q", "--allow-empty", "-m", "mine"]);
    tracking.git("ours", &["push", "-q", "origin", "HEAD:refs/heads/main"]);
    tracking.head_is_sound();
    assert_eq!(tracking.project.refs(), [], "that name is local here");
    std::fs::write(tracking.world.path("ours/file"), "1").expect("ours");
    tracking.git("ours", &["add", "file"]);
    tracking.git("ours", &["commit", "-q", "-m", "first"]);
    tracking.git(
        "ours",
        &["push", "-q", "origin", "HEAD:refs/heads/upstream/main"],
    );
    assert_eq!(tracking.checked_out("theirs"), "upstream/main");
    assert_eq!(tracking.project.tip("main"), tracking.tip("ours", "HEAD"));
}
