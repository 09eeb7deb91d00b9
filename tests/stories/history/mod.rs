//! `mirrord history` and `mirrord restore`: rewritten and deleted branches are listed, and can be restored as they were.

mod expiry;
mod hidden;
mod lists;
mod names;
mod restore;
mod when;

use std::{collections::BTreeMap, fs};

use tests::{Project, Ran, Run, public_refs};

use crate::stage::Stage;

/// A line of `mirrord history`, without its time: ref, the beginning of the commit, why.
type Past = (String, String, String);

/// A project, a mirror of it that is called `project`, and a clone of that which is called `ours`.
fn cloned(options: &[&str]) -> Stage {
    let fill = |project: &Project| {
        project.history(5);
        project.commit("topic", "topic", "begun");
        project.annotated_tag("v1", "main");
        project.tag("light", "topic");
    };
    Stage::new(fill)
        .mirrored("project", options)
        .cloned("project", "ours")
}

/// The same, with all branches but `main` local to the mirror.
fn local() -> Stage {
    cloned(&["--track", "+refs/heads/main"])
}

impl Stage {
    #[track_caller]
    fn sync_project(&self) {
        self.mirrord(&["sync", "project"]).ok();
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
}

fn past(name: &str, oid: &str, why: &str) -> Past {
    (name.to_owned(), oid[..7].to_owned(), why.to_owned())
}

#[test]
fn branches_that_upstream_rewrote_or_deleted_are_listed_and_restored() {
    let stage = cloned(&[]);
    let [main, topic] = ["main", "topic"].map(|name| stage.upstream_tip(name));
    let [v1, light] = ["refs/tags/v1", "refs/tags/light"].map(|name| stage.upstream_tip(name));
    stage.project.force("main", "main~3");
    stage.project.commit("main", "a", "another way");
    stage.project.delete("topic");
    stage.project.delete("refs/tags/v1");
    stage.project.force("refs/tags/light", "main");
    stage.sync_project();
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
    insta::assert_snapshot!(ran.shown(), @r"
        restored 'refs/heads/topic' of [date] ([oid])
        it is local to this mirror; to send it to upstream as it is:
            git fetch && git push origin :refs/heads/topic && git push origin [oid]:refs/heads/topic
    ");
    stage.restore(&["v1"]);
    stage.restore(&["main", "--as", "main-as-it-was"]);
    stage.restore(&["light", "--as", "light-as-it-was"]);
    stage.shows("refs/heads/topic", &topic);
    stage.shows("refs/tags/v1", &v1);
    stage.shows("refs/heads/main-as-it-was", &main);
    stage.shows("refs/tags/light-as-it-was", &light);
    stage.shows("refs/heads/main", &stage.upstream_tip("main"));
    let fetch = stage.ours(&["fetch"]).ok();
    insta::assert_snapshot!(fetch.shown(), @r"
        From mirror::project
         + [oid]...[oid] main            -> origin/main  (forced update)
         * [new branch]      main-as-it-was  -> origin/main-as-it-was
         * [new tag]         light-as-it-was -> light-as-it-was
    ");
}

#[test]
fn branches_that_a_push_through_the_mirror_rewrote_or_deleted_are_restored() {
    let stage = cloned(&[]);
    let [main, topic] = ["main", "topic"].map(|name| stage.upstream_tip(name));
    let v1 = stage.upstream_tip("refs/tags/v1");
    stage
        .push(
            "ours",
            &["--force", "main~2:main", ":topic", ":refs/tags/v1"],
        )
        .ok();
    let expected = [
        past("refs/heads/main", &main, "rewritten"),
        past("refs/heads/topic", &topic, "deleted"),
        past("refs/tags/v1", &v1, "deleted"),
    ];
    let mut history = stage.history();
    history.sort();
    assert_eq!(history, expected, "before any sync");
    stage.sync_project();
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
    let stage = local();
    stage.gitlab.stop();
    let push = |args: &[&str]| {
        let args = [&["push", "-q", "origin"], args].concat();
        stage.ours(&args).ok()
    };
    let one = stage.commit("ours", "one");
    push(&["main:mine", "main:refs/tags/mark"]);
    stage.ours(&["reset", "-q", "--hard", "HEAD~1"]).ok();
    let two = stage.commit("ours", "two");
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
    let stage = local();
    stage.project.commit("main", "a", "more");
    stage.sync_project();
    stage.ours(&["pull", "-q"]).ok();
    stage.commit("ours", "mine");
    stage.push("ours", &["main", "main:new"]).ok();
    stage.commit("ours", "mine, too");
    stage.push("ours", &["main", "main:new"]).ok();
    assert_eq!(stage.history(), []);
    // Set back, it has lost something; and again, when it goes on another way.
    let new = stage.ours(&["rev-parse", "main"]).ok();
    stage.push("ours", &["--force", "main~1:new"]).ok();
    assert_eq!(
        stage.history(),
        [past("refs/heads/new", new.line(), "rewritten")]
    );
}

#[test]
fn history_outlives_the_daemon_however_it_ends() {
    let stage = cloned(&[]);
    let topic = stage.upstream_tip("topic");
    let main = stage.upstream_tip("main");
    stage.push("ours", &[":topic"]).ok();
    stage.world.kill_daemon();
    assert_eq!(
        stage.history(),
        [past("refs/heads/topic", &topic, "deleted")]
    );
    stage.project.force("main", "main~1");
    stage.sync_project();
    stage.world.kill_daemon();
    stage.restore(&["main", "--as", "was"]);
    stage.world.kill_daemon();
    stage.shows("refs/heads/was", &main);
    assert_eq!(stage.history().len(), 2, "what was restored stays there");
}

#[test]
fn a_push_that_was_refused_leaves_no_history() {
    let stage = local();
    stage.commit("ours", "mine");
    stage.push("ours", &["main:mine"]).ok();
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
