//! Upstream that suddenly looks empty or replaced: it is not followed, what was there is served with a warning, and
//! somebody is asked.

mod accept;
mod alarms;
mod cheap;
mod everyday;
mod ways;

use tests::{GitLab, Project, Ran, Run, World, public_refs, refs, same_clone};

/// A world with a project, a mirror of it that is called `project`, and a clone of that which is called `ours`.
struct Stage {
    world: World,
    gitlab: GitLab,
    project: Project,
    url: String,
    /// The refs of upstream when it was cloned.
    had: Vec<(String, String)>,
}

impl Stage {
    fn new() -> Self {
        Self::with(&[])
    }

    /// A stage whose mirror has these settings.
    fn with(options: &[&str]) -> Self {
        let world = World::new();
        let gitlab = world.gitlab();
        let project = gitlab.project("group/project");
        project.history(12);
        project.commit("topic", "topic", "begun");
        project.annotated_tag("v1", "main");
        let url = gitlab.url("group/project");
        let add = [&["add", "project", &url, "-q"], options].concat();
        world.mirrord(add).ok();
        world.git(["clone", "-q", "mirror::project", "ours"]).ok();
        world.git(["clone", "-q", &url, "plain"]).ok();
        Self {
            had: project.refs(),
            world,
            gitlab,
            project,
            url,
        }
    }

    fn ours(&self, args: &[&str]) -> Run {
        self.world.git(args).at("ours")
    }

    fn fetch(&self) -> Run {
        self.ours(&["fetch", "--prune"])
    }

    fn mirrord(&self, args: &[&str]) -> Run {
        self.world.mirrord(args)
    }

    /// Asserts that the mirror shows these refs, and that nothing in it is damaged.
    #[track_caller]
    fn has(&self, refs: &[(String, String)]) {
        let mirror = self.world.only_mirror();
        assert_eq!(public_refs(&self.world, &mirror), refs);
        self.world
            .git(["fsck", "--full", "--strict"])
            .at(&mirror)
            .ok();
    }

    /// Commits in `ours`.
    #[track_caller]
    fn commit(&self, message: &str) {
        let args = ["commit", "-q", "--allow-empty", "-m", message];
        self.ours(&args).ok();
    }
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
    let lines: Vec<_> = ran.stderr.lines().collect();
    let says = |begin: &str, text: &str| {
        let mut lines = lines.iter();
        lines.any(|line| line.starts_with(begin) && line.contains(text))
    };
    assert!(says("warning: ", "looks wiped: "), "it says so: {ran}");
    assert!(
        says("hint: serving the copy synced ", " ago"),
        "it says how old the copy is: {ran}"
    );
    assert!(
        says("hint: ", "'mirrord accept project'"),
        "it says what to type: {ran}"
    );
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
    let stage = Stage::new();
    let before = refs(&stage.world, &stage.world.path("ours"));
    empty(&stage.project);
    for args in [
        ["fetch", "--prune"].as_slice(),
        &["fetch", "-q", "--prune", "--prune-tags", "--force"],
        &["pull", "--prune"],
        &["remote", "update", "--prune"],
        &["ls-remote"],
    ] {
        let ran = alarmed(stage.ours(args));
        let why = format!("'{}' looks wiped: upstream has no refs any more", stage.url);
        assert!(ran.stderr.contains(&why), "{ran}");
        let now = refs(&stage.world, &stage.world.path("ours"));
        assert_eq!(now, before, "nothing went: {ran}");
    }
    stage.has(&stage.had);
}

#[test]
fn a_new_clone_of_an_emptied_upstream_gets_what_was_there() {
    let stage = Stage::new();
    empty(&stage.project);
    alarmed(stage.world.git(["clone", "-q", "mirror::project", "clone"]));
    let [clone, plain] = ["clone", "plain"].map(|dir| stage.world.path(dir));
    same_clone(&stage.world, &clone, &plain);
}

#[test]
fn an_upstream_that_was_replaced_is_not_followed_either() {
    let stage = Stage::new();
    let before = refs(&stage.world, &stage.world.path("ours"));
    replace(&stage.project, 20);
    for _ in 0..2 {
        let ran = alarmed(stage.fetch());
        assert!(ran.stderr.contains("history was replaced"), "{ran}");
        let now = refs(&stage.world, &stage.world.path("ours"));
        assert_eq!(now, before, "nothing of it is shown: {ran}");
    }
    stage.has(&stage.had);
}

#[test]
fn who_wants_no_stale_answer_gets_an_error_that_says_what_to_type() {
    let fails = |run: Run| {
        let ran = run.code(128);
        assert!(ran.stderr.contains("error: '"), "{ran}");
        assert!(ran.stderr.contains("looks wiped: "), "{ran}");
        assert!(ran.stderr.contains("'mirrord accept project'"), "{ran}");
        assert!(!ran.stderr.contains("serving"), "{ran}");
    };
    let stage = Stage::new();
    empty(&stage.project);
    fails(stage.fetch().env("MIRROR_STALE", "fail"));
    let clone = ["clone", "mirror::project", "later"];
    fails(stage.world.git(clone).env("MIRROR_STALE", "fail"));
    assert!(!stage.world.path("later").exists());
    stage.mirrord(&["set", "project", "--stale", "fail"]).ok();
    fails(stage.fetch());
    alarmed(stage.fetch().env("MIRROR_STALE", "serve"));
    stage.has(&stage.had);
}

#[test]
fn a_push_to_a_tracked_branch_is_refused_with_the_reason() {
    let stage = Stage::new();
    empty(&stage.project);
    stage.commit("mine");
    let pushes: [&[&str]; 5] = [
        &["main"],
        &["main:refs/heads/new"],
        &["--force", "HEAD~2:main"],
        &[":topic"],
        &["main:refs/notes/commits"],
    ];
    for args in pushes {
        let ran = stage.ours(&[&["push", "origin"], args].concat()).code(1);
        assert!(ran.stderr.contains("! [remote rejected]"), "{ran}");
        let why = "looks wiped: upstream has no refs any more, and had 3)";
        assert!(ran.stderr.contains(why), "the ref's line says why: {ran}");
        assert!(ran.stderr.contains("'mirrord accept project'"), "{ran}");
        assert_eq!(stage.project.refs(), [], "nothing arrived: {ran}");
    }
    stage.has(&stage.had);
}

#[test]
fn a_push_to_a_local_branch_works_while_upstream_looks_wiped() {
    let stage = Stage::with(&["--track", "+refs/heads/main:refs/heads/main"]);
    let world = &stage.world;
    empty(&stage.project);
    let push = |args: &[&str]| stage.ours(&[&["push", "origin"], args].concat());
    stage.commit("mine");
    let ran = push(&["main:mine", "main:refs/tags/mine"]).ok();
    assert!(
        ran.stderr.contains("remote: mine is local to this mirror"),
        "{ran}"
    );
    stage.commit("mine, too");
    let ran = push(&["main", "main:refs/heads/mine", ":refs/tags/mine"]).code(1);
    assert!(ran.stderr.contains("main -> main ("), "{ran}");
    assert!(ran.stderr.contains("main -> mine\n"), "{ran}");
    let ran = push(&["--atomic", "main", "main~1:refs/heads/all"]).code(1);
    assert!(ran.stderr.contains("(atomic push failure)"), "{ran}");
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
    stage.has(&stage.had[..1]);
}

#[test]
fn show_and_list_say_what_has_happened_to_upstream() {
    let stage = Stage::new();
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
    alarmed(stage.fetch());
    for args in commands {
        assert!(warns(args), "{args:?}");
    }
    refill(&stage.project, &stage.had);
    silent(stage.fetch());
    assert!(!commands.iter().any(|args| warns(args)));
}

#[test]
fn a_sync_that_somebody_types_fails_and_says_what_to_type() {
    let stage = Stage::new();
    let other = stage.gitlab.project("group/other");
    other.commit("main", "a", "a");
    let url = stage.gitlab.url("group/other");
    stage.mirrord(&["add", "zother", &url, "-q"]).ok();
    let moved = other.commit("main", "a", "b");
    empty(&stage.project);
    let ran = stage.mirrord(&["sync", "project"]).code(1);
    assert!(ran.stderr.contains("looks wiped: "), "{ran}");
    assert!(ran.stderr.contains("'mirrord accept project'"), "{ran}");
    let ran = stage.mirrord(&["sync", "--all"]).code(1);
    assert!(ran.stderr.contains("looks wiped: "), "{ran}");
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
    let stage = Stage::new();
    for setting in ["--sync-on-fetch=no", "--fresh-for=1h"] {
        refill(&stage.project, &stage.had);
        stage.mirrord(&["sync", "project"]).ok();
        stage.mirrord(&["set", "project", setting]).ok();
        empty(&stage.project);
        silent(stage.fetch());
        stage.mirrord(&["sync", "project"]).code(1);
        for _ in 0..2 {
            let ran = stage.fetch().ok();
            assert!(ran.stderr.contains("looks wiped: "), "{ran}");
            assert!(ran.stderr.contains("'mirrord accept project'"), "{ran}");
        }
        stage.has(&stage.had);
    }
}

#[test]
fn the_command_in_the_hint_works_for_a_mirror_of_a_url() {
    let stage = Stage::new();
    stage.mirrord(&["remove", "project"]).ok();
    stage.world.clone_mirror(&stage.url, "auto").ok();
    empty(&stage.project);
    let ran = stage.world.git(["fetch"]).at("auto").ok();
    let (_, typed) = ran.stderr.split_once("; '").expect("a hint");
    let (typed, _) = typed.split_once('\'').expect("its end");
    assert!(typed.starts_with("mirrord accept "), "{ran}");
    stage.world.program("sh", ["-c", typed]).ok();
    silent(stage.world.git(["fetch"]).at("auto"));
    stage.has(&[]);
}
