//! Upstream that suddenly looks empty or replaced: it is not followed, what was there is served with a warning, and
//! somebody is asked.

mod accept;
mod alarms;
mod cheap;
mod everyday;
mod ways;

use tests::{Project, Ran, Run, public_refs, refs, same_clone, shown};

use crate::stage::Stage;

/// Refs of a project: their names, and what they point to.
type Refs = Vec<(String, String)>;

/// A project, a mirror of it that is called `project`, a clone of that as `ours` and a plain one as `plain`; and the refs
/// that the project has.
fn cloned() -> (Stage, Refs) {
    cloned_with(&[])
}

/// The same, of a mirror with these settings.
fn cloned_with(options: &[&str]) -> (Stage, Refs) {
    let stage = Stage::new(fill).mirrored("project", options);
    let stage = stage.cloned("project", "ours");
    let plain = ["clone", "-q", &stage.url, "plain"];
    stage.world.git(plain).ok();
    let had = stage.project.refs();
    (stage, had)
}

/// Gives a project three refs.
fn fill(project: &Project) {
    project.history(12);
    project.commit("topic", "topic", "begun");
    project.annotated_tag("v1", "main");
}

/// Prepares a fetch in `ours` that prunes.
fn fetch(stage: &Stage) -> Run {
    stage.ours(&["fetch", "--prune"])
}

/// Asserts that the mirror shows these refs, and that nothing in it is damaged.
#[track_caller]
fn mirror_has(stage: &Stage, refs: &[(String, String)]) {
    let mirror = stage.world.only_mirror();
    assert_eq!(public_refs(&stage.world, &mirror), refs);
    let fsck = ["fsck", "--full", "--strict"];
    stage.world.git(fsck).at(&mirror).ok();
}

/// Commits in `ours`.
#[track_caller]
fn commit(stage: &Stage, message: &str) {
    let args = ["commit", "-q", "--allow-empty", "-m", message];
    stage.ours(&args).ok();
}

/// Deletes every ref of a project.
fn empty(project: &Project) {
    let deletions = project.refs().into_iter();
    let deletions = deletions.map(|(name, _)| format!("delete {name}\n"));
    let all = deletions.collect::<String>();
    project.git(["update-ref", "--stdin"]).stdin(all).ok();
}

/// Gives a project back what it had.
fn refill(project: &Project, had: &[(String, String)]) {
    empty(project);
    for (name, oid) in had {
        project.force(name, oid);
    }
}

/// Puts another project in the place of this one: a `main` of so many commits, which share nothing with what was there.
fn replace(project: &Project, commits: usize) {
    empty(project);
    project.commit("main", "another", "begun elsewhere");
    if commits > 1 {
        project.history(commits - 1);
    }
}

/// Asserts that a fetch was answered from what the mirror had, and that it said so: why, how old that is, and what to
/// type.
#[track_caller]
fn alarmed(run: Run) -> Ran {
    let ran = run.ok();
    let text = ran.shown();
    let parts = [
        " looks wiped: ",
        "\nhint: serving the copy synced [time] ago",
        "'mirrord accept project'",
    ];
    assert!(parts.iter().all(|part| text.contains(part)), "{ran}");
    ran
}

/// Asserts that a command worked and had nothing to say on stderr.
#[track_caller]
fn silent(run: Run) -> Ran {
    let ran = run.ok();
    assert_eq!(ran.stderr, "", "{ran}");
    ran
}

#[test]
fn an_emptied_upstream_is_not_followed_and_every_fetch_says_so() {
    let (stage, had) = cloned();
    let before = refs(&stage.world, &stage.world.path("ours"));
    empty(&stage.project);
    for args in [
        ["fetch", "--prune"].as_slice(),
        &["fetch", "-q", "--prune", "--prune-tags", "--force"],
        &["pull", "--prune"],
        &["remote", "update", "--prune"],
        &["ls-remote", "-q"],
    ] {
        let ran = alarmed(stage.ours(args));
        insta::allow_duplicates! {
            insta::assert_snapshot!(shown(&ran.stderr), @"
            warning: 'http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 3
            hint: serving the copy synced [time] ago
            hint: the mirror keeps what it has; 'mirrord accept project' takes upstream as it is now
            ");
        }
        let now = refs(&stage.world, &stage.world.path("ours"));
        assert_eq!(now, before, "nothing went: {ran}");
    }
    mirror_has(&stage, &had);
}

#[test]
fn a_new_clone_of_an_emptied_upstream_gets_what_was_there() {
    let (stage, _) = cloned();
    empty(&stage.project);
    alarmed(stage.world.git(["clone", "-q", "mirror::project", "clone"]));
    let [clone, plain] = ["clone", "plain"].map(|dir| stage.world.path(dir));
    same_clone(&stage.world, &clone, &plain);
}

#[test]
fn an_upstream_that_was_replaced_is_not_followed_either() {
    let (stage, had) = cloned();
    let before = refs(&stage.world, &stage.world.path("ours"));
    replace(&stage.project, 20);
    for _ in 0..2 {
        let ran = alarmed(fetch(&stage));
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.shown(), @"
            warning: 'http://gitlab.example/group/project.git' looks wiped: upstream's history was replaced: it shares no commit with any of the 3 refs that it had
            hint: serving the copy synced [time] ago
            hint: the mirror keeps what it has; 'mirrord accept project' takes upstream as it is now
            ");
        }
        let now = refs(&stage.world, &stage.world.path("ours"));
        assert_eq!(now, before, "nothing of it is shown: {ran}");
    }
    mirror_has(&stage, &had);
}

#[test]
fn who_wants_no_stale_answer_gets_an_error_that_says_what_to_type() {
    let fails = |run: Run| {
        let ran = run.code(128);
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.shown(), @"
            error: 'http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 3
            hint: the mirror keeps what it has; 'mirrord accept project' takes upstream as it is now
            ");
        }
    };
    let (stage, had) = cloned();
    empty(&stage.project);
    fails(fetch(&stage).env("MIRROR_STALE", "fail"));
    let clone = ["clone", "-q", "mirror::project", "later"];
    fails(stage.world.git(clone).env("MIRROR_STALE", "fail"));
    assert!(!stage.world.path("later").exists());
    stage.mirrord(&["set", "project", "--stale", "fail"]).ok();
    fails(fetch(&stage));
    alarmed(fetch(&stage).env("MIRROR_STALE", "serve"));
    mirror_has(&stage, &had);
}

#[test]
fn a_push_to_a_tracked_branch_is_refused_with_the_reason() {
    let (stage, had) = cloned();
    empty(&stage.project);
    commit(&stage, "mine");
    let pushes: [&[&str]; 5] = [
        &["main"],
        &["main:refs/heads/new"],
        &["--force", "HEAD~2:main"],
        &[":topic"],
        &["main:refs/notes/commits"],
    ];
    let refused = pushes.map(|args| {
        let ran = stage.push("ours", args).code(1);
        assert_eq!(stage.project.refs(), [], "nothing arrived: {ran}");
        ran.shown()
    });
    insta::assert_snapshot!(refused.join("\n"), @"
    warning: 'http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 3
    hint: serving the copy synced [time] ago
    hint: the mirror keeps what it has; 'mirrord accept project' takes upstream as it is now
    To mirror::project
     ! [remote rejected] main -> main ('http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 3)
    error: failed to push some refs to 'mirror::project'

    warning: 'http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 3
    hint: serving the copy synced [time] ago
    hint: the mirror keeps what it has; 'mirrord accept project' takes upstream as it is now
    To mirror::project
     ! [remote rejected] main -> new ('http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 3)
    error: failed to push some refs to 'mirror::project'

    warning: 'http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 3
    hint: serving the copy synced [time] ago
    hint: the mirror keeps what it has; 'mirrord accept project' takes upstream as it is now
    To mirror::project
     ! [remote rejected] HEAD~2 -> main ('http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 3)
    error: failed to push some refs to 'mirror::project'

    warning: 'http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 3
    hint: serving the copy synced [time] ago
    hint: the mirror keeps what it has; 'mirrord accept project' takes upstream as it is now
    To mirror::project
     ! [remote rejected] topic ('http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 3)
    error: failed to push some refs to 'mirror::project'

    warning: 'http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 3
    hint: serving the copy synced [time] ago
    hint: the mirror keeps what it has; 'mirrord accept project' takes upstream as it is now
    To mirror::project
     ! [remote rejected] main -> refs/notes/commits ('http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 3)
    error: failed to push some refs to 'mirror::project'
    ");
    mirror_has(&stage, &had);
}

#[test]
fn a_push_to_a_local_branch_works_while_upstream_looks_wiped() {
    let (stage, had) = cloned_with(&["--track", "+refs/heads/main:refs/heads/main"]);
    let world = &stage.world;
    empty(&stage.project);
    let push = |args: &[&str]| stage.push("ours", args);
    commit(&stage, "mine");
    let ran = push(&["main:mine", "main:refs/tags/mine"]).ok();
    insta::assert_snapshot!(ran.shown(), @"
    warning: 'http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 1
    hint: serving the copy synced [time] ago
    hint: the mirror keeps what it has; 'mirrord accept project' takes upstream as it is now
    remote: mine is local to this mirror; not sent to 127.0.0.1
    remote: mine is local to this mirror; not sent to 127.0.0.1
    To mirror::project
     * [new branch]      main -> mine
     * [new tag]         main -> mine
    ");
    commit(&stage, "mine, too");
    let ran = push(&["main", "main:refs/heads/mine", ":refs/tags/mine"]).code(1);
    insta::assert_snapshot!(ran.shown(), @"
    warning: 'http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 1
    hint: serving the copy synced [time] ago
    hint: the mirror keeps what it has; 'mirrord accept project' takes upstream as it is now
    remote: mine is local to this mirror; not sent to 127.0.0.1
    To mirror::project
       [oid]..[oid]  main -> mine
     - [deleted]         mine
     ! [remote rejected] main -> main ('http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 1)
    error: failed to push some refs to 'mirror::project'
    ");
    let ran = push(&["--atomic", "main", "main~1:refs/heads/all"]).code(1);
    insta::assert_snapshot!(ran.shown(), @"
    warning: 'http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 1
    hint: serving the copy synced [time] ago
    hint: the mirror keeps what it has; 'mirrord accept project' takes upstream as it is now
    To mirror::project
     ! [remote rejected] main -> main ('http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 1)
     ! [remote rejected] main~1 -> all (atomic push failure)
    error: failed to push some refs to 'mirror::project'
    ");
    push(&["--force", "main~2:mine"]).ok();
    alarmed(world.git(["clone", "-q", "mirror::project", "other"]));
    let tip = |dir: &str, name: &str| {
        let ran = world.git(["rev-parse", name]).at(dir).ok();
        ran.line().to_owned()
    };
    assert_eq!(tip("other", "origin/mine"), tip("ours", "main~2"));
    assert_eq!(tip("other", "origin/main"), tip("ours", "main~2"));
    push(&[":mine"]).ok();
    assert_eq!(stage.project.refs(), [], "nothing left");
    mirror_has(&stage, &had[..1]);
}

#[test]
fn show_and_list_say_what_has_happened_to_upstream() {
    let (stage, had) = cloned();
    let warns = |args: &[&str]| {
        let ran = stage.mirrord(args).ok();
        ran.stdout.contains("looks wiped: upstream has no refs")
    };
    let commands: [&[&str]; 4] = [
        &["show", "project"],
        &["show", "project", "--json"],
        &["list"],
        &["list", "--json"],
    ];
    assert!(!commands.iter().any(|args| warns(args)));
    empty(&stage.project);
    alarmed(fetch(&stage));
    for args in commands {
        assert!(warns(args), "{args:?}");
    }
    refill(&stage.project, &had);
    silent(fetch(&stage));
    assert!(!commands.iter().any(|args| warns(args)));
}

#[test]
fn a_sync_that_somebody_types_fails_and_says_what_to_type() {
    let (stage, _) = cloned();
    let other = stage.gitlab.project("group/other");
    other.commit("main", "a", "a");
    let url = stage.gitlab.url("group/other");
    stage.mirrord(&["add", "zother", &url, "-q"]).ok();
    let moved = other.commit("main", "a", "b");
    empty(&stage.project);
    let one = stage.mirrord(&["sync", "project"]).code(1);
    insta::assert_snapshot!(one.shown(), @"
    error: 'http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 3
    hint: the mirror keeps what it has; 'mirrord accept project' takes upstream as it is now
    ");
    let all = stage.mirrord(&["sync", "--all"]).code(1);
    insta::assert_snapshot!(all.shown(), @"
    zother: 1 ref changed
    --- stderr
    error: project: 'http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 3
    hint: the mirror keeps what it has; 'mirrord accept project' takes upstream as it is now
    ");
    stage.gitlab.stop();
    let tips = stage
        .world
        .git(["ls-remote", "mirror::zother", "main"])
        .ok();
    assert!(
        tips.stdout.starts_with(&moved),
        "the other one went on: {tips}"
    );
}

#[test]
fn a_mirror_that_asks_upstream_seldom_says_it_at_each_fetch_too() {
    let (stage, had) = cloned();
    for setting in ["--sync-on-fetch=no", "--fresh-for=1h"] {
        refill(&stage.project, &had);
        stage.mirrord(&["sync", "project"]).ok();
        stage.mirrord(&["set", "project", setting]).ok();
        empty(&stage.project);
        silent(fetch(&stage));
        stage.mirrord(&["sync", "project"]).code(1);
        for _ in 0..2 {
            let ran = fetch(&stage).ok();
            insta::allow_duplicates! {
                insta::assert_snapshot!(ran.shown(), @"warning: serving the copy synced [time] ago: 'http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 3: the mirror keeps what it has; 'mirrord accept project' takes upstream as it is now");
            }
        }
        mirror_has(&stage, &had);
    }
}

#[test]
fn the_command_in_the_hint_works_for_a_mirror_of_a_url() {
    let (stage, _) = cloned();
    stage.mirrord(&["remove", "project"]).ok();
    stage.world.clone_mirror(&stage.url, "auto").ok();
    empty(&stage.project);
    let ran = stage.world.git(["fetch"]).at("auto").ok();
    let (_, typed) = ran.stderr.split_once("; '").expect("a hint");
    let (typed, _) = typed.split_once('\'').expect("its end");
    assert!(typed.starts_with("mirrord accept "), "{ran}");
    stage.world.program("sh", ["-c", typed]).ok();
    silent(stage.world.git(["fetch"]).at("auto"));
    mirror_has(&stage, &[]);
}
