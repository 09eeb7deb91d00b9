//! `mirrord history` and `mirrord restore`: rewritten and deleted branches are listed, and can be restored as they were.

mod expiry;
mod hidden;
mod lists;
mod names;
mod restore;
mod when;

use std::{collections::BTreeMap, fs};

use tests::{GitLab, Project, Ran, Run, World, public_refs};

/// A world with a project, a mirror of it that is called `project`, and a clone of that which is called `ours`.
struct Stage {
    world: World,
    gitlab: GitLab,
    project: Project,
}

/// A line of `mirrord history`, without its time: ref, the beginning of the commit, why.
type Past = (String, String, String);

impl Stage {
    fn new() -> Self {
        Self::with(&[])
    }

    /// A stage in which all branches but `main` are local.
    fn local() -> Self {
        Self::with(&["--track", "+refs/heads/main:refs/heads/main"])
    }

    fn with(options: &[&str]) -> Self {
        let world = World::new();
        let gitlab = world.gitlab();
        let project = gitlab.project("group/project");
        project.history(5);
        project.commit("topic", "topic", "begun");
        project.annotated_tag("v1", "main");
        project.tag("light", "topic");
        let url = gitlab.url("group/project");
        let add = [&["add", "project", &url, "-q"], options].concat();
        world.mirrord(add).ok();
        world.git(["clone", "-q", "mirror::project", "ours"]).ok();
        Self {
            world,
            gitlab,
            project,
        }
    }

    fn ours(&self, args: &[&str]) -> Run {
        self.world.git(args).at("ours")
    }

    fn mirrord(&self, args: &[&str]) -> Run {
        self.world.mirrord(args)
    }

    #[track_caller]
    fn sync(&self) -> Ran {
        self.mirrord(&["sync", "project"]).ok()
    }

    #[track_caller]
    fn push(&self, args: &[&str]) -> Ran {
        self.ours(&[&["push", "-q", "origin"], args].concat()).ok()
    }

    /// Commits in `ours`; returns the commit.
    #[track_caller]
    fn commit(&self, message: &str) -> String {
        let args = ["commit", "-q", "--allow-empty", "-m", message];
        self.ours(&args).ok();
        self.ours(&["rev-parse", "HEAD"]).ok().line().to_owned()
    }

    /// The commit of an existing ref of upstream.
    #[track_caller]
    fn tip(&self, name: &str) -> String {
        self.project.tip(name).expect("upstream has it")
    }

    /// The lines of `mirrord history project`, the newest first.
    #[track_caller]
    fn history(&self) -> Vec<Past> {
        let ran = self.mirrord(&["history", "project"]).ok();
        assert_eq!(ran.stderr, "", "{ran}");
        let line = |line: &str| {
            let columns: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
            let [_, _, _, name, oid, why] = columns.try_into().expect("six columns");
            (name, oid, why)
        };
        match ran.stdout.as_str() {
            "nothing is in the history of 'project'\n" => Vec::new(),
            lines => lines.lines().map(line).collect(),
        }
    }

    /// Brings something back, with these words after the mirror's name.
    #[track_caller]
    fn restore(&self, args: &[&str]) -> Ran {
        let ran = self.restoring(args).ok();
        assert_eq!(ran.stderr, "", "{ran}");
        ran
    }

    fn restoring(&self, args: &[&str]) -> Run {
        self.mirrord(&[&["restore", "project"], args].concat())
    }

    /// The refs that clients see, by name.
    #[track_caller]
    fn public(&self) -> BTreeMap<String, String> {
        let refs = public_refs(&self.world, &self.world.only_mirror());
        refs.into_iter().collect()
    }

    /// Asserts that a ref of the mirror is this, with all that belongs to it, for whoever clones it, and that nothing in
    /// the mirror is damaged.
    #[track_caller]
    fn shows(&self, name: &str, oid: &str) {
        let public = self.public();
        assert_eq!(
            public.get(name).map(String::as_str),
            Some(oid),
            "{name}: {public:?}"
        );
        let refspec = format!("{name}:refs/shown");
        let dir = self.world.path("shown");
        self.world.git(["init", "-q", "--bare"]).arg(&dir).ok();
        let fetch = ["fetch", "-q", "mirror::project", &refspec];
        self.world.git(fetch).at(&dir).ok();
        let walk = ["rev-list", "--objects", oid];
        self.world.git(walk).at(&dir).ok();
        fs::remove_dir_all(&dir).expect("the world is ours");
        self.is_sound();
    }

    #[track_caller]
    fn is_sound(&self) {
        let fsck = ["fsck", "--full", "--strict", "--no-dangling"];
        self.world.git(fsck).at(self.world.only_mirror()).ok();
    }
}

fn past(name: &str, oid: &str, why: &str) -> Past {
    (name.to_owned(), oid[..7].to_owned(), why.to_owned())
}

#[test]
fn branches_that_upstream_rewrote_or_deleted_are_listed_and_restored() {
    let stage = Stage::new();
    let [main, topic] = ["main", "topic"].map(|name| stage.tip(name));
    let [v1, light] = ["refs/tags/v1", "refs/tags/light"].map(|name| stage.tip(name));
    stage.project.force("main", "main~3");
    stage.project.commit("main", "a", "another way");
    stage.project.delete("topic");
    stage.project.delete("refs/tags/v1");
    stage.project.force("refs/tags/light", "main");
    stage.sync();
    let expected = [
        past("refs/heads/main", &main, "rewritten"),
        past("refs/heads/topic", &topic, "deleted"),
        past("refs/tags/light", &light, "rewritten"),
        past("refs/tags/v1", &v1, "deleted"),
    ];
    let mut history = stage.history();
    history.sort();
    assert_eq!(history, expected);
    let ran = stage.restore(&["topic"]);
    assert!(
        ran.stdout.starts_with("restored 'refs/heads/topic' of "),
        "{ran}"
    );
    stage.restore(&["v1"]);
    stage.restore(&["main", "--as", "main-as-it-was"]);
    stage.restore(&["light", "--as", "light-as-it-was"]);
    stage.shows("refs/heads/topic", &topic);
    stage.shows("refs/tags/v1", &v1);
    stage.shows("refs/heads/main-as-it-was", &main);
    stage.shows("refs/tags/light-as-it-was", &light);
    stage.shows("refs/heads/main", &stage.tip("main"));
    let fetch = stage.ours(&["fetch"]).ok();
    assert!(!fetch.stderr.contains("warning"), "{fetch}");
}

#[test]
fn branches_that_a_push_through_the_mirror_rewrote_or_deleted_are_restored() {
    let stage = Stage::new();
    let [main, topic] = ["main", "topic"].map(|name| stage.tip(name));
    let v1 = stage.tip("refs/tags/v1");
    stage.push(&["--force", "main~2:main", ":topic", ":refs/tags/v1"]);
    let expected = [
        past("refs/heads/main", &main, "rewritten"),
        past("refs/heads/topic", &topic, "deleted"),
        past("refs/tags/v1", &v1, "deleted"),
    ];
    let mut history = stage.history();
    history.sort();
    assert_eq!(history, expected, "before any sync");
    stage.sync();
    assert_eq!(stage.history().len(), 3, "and once");
    stage.restore(&["main", "--as", "was"]);
    stage.restore(&["topic"]);
    stage.restore(&["v1"]);
    stage.shows("refs/heads/was", &main);
    stage.shows("refs/heads/topic", &topic);
    stage.shows("refs/tags/v1", &v1);
}

#[test]
fn local_branches_that_were_rewritten_and_deleted_come_back_without_upstream() {
    let stage = Stage::local();
    stage.gitlab.stop();
    let push = |args: &[&str]| {
        let args = [&["push", "-q", "origin"], args].concat();
        stage.ours(&args).ok()
    };
    let one = stage.commit("one");
    push(&["main:mine", "main:refs/tags/mark"]);
    stage.ours(&["reset", "-q", "--hard", "HEAD~1"]).ok();
    let two = stage.commit("two");
    push(&["--force", "main:refs/heads/mine", "main:refs/tags/mark"]);
    push(&[":refs/heads/mine", ":refs/tags/mark"]);
    let expected = [
        past("refs/heads/mine", &two, "deleted"),
        past("refs/tags/mark", &two, "deleted"),
        past("refs/heads/mine", &one, "rewritten"),
        past("refs/tags/mark", &one, "rewritten"),
    ];
    assert_eq!(stage.history(), expected, "the newest first");
    stage.restore(&["mine", "--at", &one]);
    stage.restore(&["mark"]);
    stage.shows("refs/heads/mine", &one);
    stage.shows("refs/tags/mark", &two);
}

#[test]
fn a_fast_forward_is_not_in_the_history() {
    let stage = Stage::local();
    stage.project.commit("main", "a", "more");
    stage.sync();
    stage.ours(&["pull", "-q"]).ok();
    stage.commit("mine");
    stage.push(&["main", "main:new"]);
    stage.commit("mine, too");
    stage.push(&["main", "main:new"]);
    assert_eq!(stage.history(), []);
    // Set back, it has lost something; and again, when it goes on another way.
    let new = stage.ours(&["rev-parse", "main"]).ok();
    stage.push(&["--force", "main~1:new"]);
    assert_eq!(
        stage.history(),
        [past("refs/heads/new", new.line(), "rewritten")]
    );
}

#[test]
fn history_outlives_the_daemon_however_it_ends() {
    let stage = Stage::new();
    let topic = stage.tip("topic");
    let main = stage.tip("main");
    stage.push(&[":topic"]);
    stage.world.kill_daemon();
    assert_eq!(
        stage.history(),
        [past("refs/heads/topic", &topic, "deleted")]
    );
    stage.project.force("main", "main~1");
    stage.sync();
    stage.world.kill_daemon();
    stage.restore(&["main", "--as", "was"]);
    stage.world.kill_daemon();
    stage.shows("refs/heads/was", &main);
    assert_eq!(stage.history().len(), 2, "what was restored stays there");
}

#[test]
fn a_push_that_was_refused_leaves_no_history() {
    let stage = Stage::local();
    stage.commit("mine");
    stage.push(&["main:mine"]);
    let before = stage.public();
    stage.project.hook("update", "echo no >&2; exit 1");
    let refused: [&[&str]; 4] = [
        &["--force", "main~2:main"],
        &[":main"],
        &["--atomic", "--force", "main~2:main", "main~2:mine"],
        &["--force-with-lease=mine:main~1", "main~3:mine"],
    ];
    for args in refused {
        stage.ours(&[&["push", "origin"], args].concat()).code(1);
        assert_eq!(stage.history(), [], "{args:?}");
    }
    assert_eq!(stage.public(), before);
    stage.is_sound();
}
