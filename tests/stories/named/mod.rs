//! Mirrors that people name: `mirrord add` and what can be done with a mirror that has a name.

mod at_once;
mod beside;
mod changing;
mod faulty;
mod moving;
mod refusing;
mod removing;
mod renaming;
mod syncing;
mod telling;

use tests::{Project, Ran, Request, Run, same_clone};

use crate::stage::Stage;

/// Fills a project with three commits, a branch and a tag.
pub(crate) fn small(project: &Project) {
    project.history(3);
    project.branch("topic", "main~1");
    project.annotated_tag("v1", "main");
}

impl Stage {
    /// Prepares `mirrord add` of the project, which says what it has done.
    pub(crate) fn adding(&self, name: &str, options: &[&str]) -> Run {
        self.mirrord(&[&["add", name, &self.url], options].concat())
    }

    /// The project under the name `work`, of which `main` alone is tracked, with a clone of it and a local branch that is
    /// called `mine` and has one commit; returns that.
    #[track_caller]
    pub(crate) fn add_with_local(&self) -> String {
        self.add("work", &["--track", "+refs/heads/main"]).ok();
        self.clone("work", "ours").ok();
        self.push_local("ours", "mine")
    }

    /// Commits in a clone and pushes that as a branch of the mirror's own; returns the commit.
    #[track_caller]
    pub(crate) fn push_local(&self, dir: &str, branch: &str) -> String {
        let tip = self.commit(dir, &branch.replace('/', "-"));
        let pushed = self.push(dir, &[&format!("HEAD:refs/heads/{branch}")]).ok();
        assert!(
            pushed.stderr.contains("is local to this mirror"),
            "{pushed}"
        );
        tip
    }

    /// The values that `mirrord show` prints for this key.
    #[track_caller]
    pub(crate) fn shown(&self, name: &str, key: &str) -> Vec<String> {
        let shown = self.mirrord(&["show", name]).ok();
        let values = shown.stdout.lines().filter_map(|line| {
            let rest = line.strip_prefix(key)?.strip_prefix(':')?;
            Some(rest.trim_start().to_owned())
        });
        values.collect()
    }

    /// A setting, as `mirrord show` prints it.
    #[track_caller]
    pub(crate) fn setting(&self, name: &str, key: &str) -> String {
        let mut values = self.shown(name, key);
        values
            .pop()
            .unwrap_or_else(|| panic!("no '{key}' is shown"))
    }

    /// The names of all mirrors.
    #[track_caller]
    pub(crate) fn names(&self) -> Vec<String> {
        crate::clone::listed(&self.world, "name")
    }

    /// Whether GitLab was asked for objects since its requests were forgotten.
    pub(crate) fn was_asked_for_objects(&self) -> bool {
        self.gitlab.requests().iter().any(asks_for_objects)
    }

    /// Waits until the daemon has so many clients, one of which is a command that must not end before.
    #[track_caller]
    fn wait_for_clients(&self, count: usize, waits: &tests::Running) {
        let wanted = format!("\"clients\": {count},");
        // The daemon has no event for this; each look is a conversation with it.
        while !self
            .mirrord(&["status", "--json"])
            .run()
            .stdout
            .contains(&wanted)
        {
            assert!(!waits.has_ended(), "it waits");
        }
    }

    /// Starts a client that plays git and reads a mirror until [`lets_go`](Self::lets_go).
    #[track_caller]
    pub(crate) fn reader(&self, address: &str) -> tests::Running {
        let script = "mkfifo more; { echo option followtags true; echo connect git-upload-pack; cat more; } | git-remote-mirror origin \"$0\"";
        let reader = self.world.program("sh", ["-c", script, address]).start();
        reader.printed("version 2");
        reader
    }

    /// Lets that client send its last request, and asserts that it is answered.
    #[track_caller]
    pub(crate) fn lets_go(&self, reader: tests::Running) {
        let question = "0014command=ls-refs\n00000000";
        std::fs::write(self.world.path("more"), question).expect("it is read");
        let ran = reader.wait();
        assert!(ran.stdout.contains("refs/heads/main"), "{ran}");
    }
}

/// Whether a request is one for objects.
pub(crate) fn asks_for_objects(request: &Request) -> bool {
    request.body_text().contains("command=fetch")
}

/// Asserts that a command failed with this code, in git's voice and with nothing on stdout. Before the error there may be
/// the steps of a test.
#[track_caller]
pub(crate) fn refused(run: Run, code: i32) -> Ran {
    let ran = run.code(code);
    assert_eq!(ran.stdout, "", "{ran}");
    let step = |line: &&str| {
        ["ok ", "FAILED ", "- "]
            .iter()
            .any(|mark| line.starts_with(mark))
    };
    let first = ran
        .stderr
        .lines()
        .find(|line| !step(line))
        .unwrap_or_default();
    assert!(
        first.starts_with("error: ") && !first.ends_with('.'),
        "{ran}"
    );
    ran
}

#[test]
fn a_mirror_is_added_downloaded_and_cloned_by_its_name() {
    let stage = Stage::new(small);
    let added = stage.adding("work", &[]).ok();
    let expected = format!("'work' mirrors {}\n    git clone mirror::work\n", stage.url);
    assert_eq!((added.stdout, added.stderr), (expected, String::new()));
    assert!(stage.was_asked_for_objects(), "it is downloaded at once");
    stage.gitlab.forget_requests();
    stage.clone("work", "ours").ok();
    assert!(!stage.was_asked_for_objects(), "and then no more");
    stage.world.git(["clone", "-q", &stage.url, "plain"]).ok();
    let path = |dir| stage.world.path(dir);
    same_clone(&stage.world, &path("ours"), &path("plain"));
    assert_eq!(stage.names(), ["work"]);
}

#[test]
fn the_command_that_add_prints_works_as_it_is_printed() {
    let stage = Stage::new(small);
    for (at, name) in ["work", "group/work", "two words", "it's; exit 7"]
        .into_iter()
        .enumerate()
    {
        let added = stage.adding(name, &[]).ok();
        let typed = added
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix("    "));
        let typed = typed.expect("it says what to type next");
        let dir = stage.world.path(format!("at-{at}"));
        std::fs::create_dir(&dir).expect("the world is ours");
        stage.world.program("sh", ["-c", typed]).at(dir).ok();
        stage.mirrord(&["remove", name]).ok();
    }
}

#[test]
fn a_mirror_is_added_with_every_option() {
    let stage = Stage::new(small);
    let options = [
        ("description", "the one, for us"),
        ("sync-on-fetch", "no"),
        ("fresh-for", "90s"),
        ("stale", "fail"),
        ("stale-after", "3s"),
        ("atomic", "yes"),
        ("push", "no"),
        ("keep-history", "12h"),
        ("fsck", "yes"),
        ("wipe-guard", "no"),
        ("link", "copy"),
    ];
    let args = options.map(|(key, value)| [format!("--{key}"), value.to_owned()]);
    let mut args: Vec<_> = args.iter().flatten().map(String::as_str).collect();
    let track = ["--track", "+refs/heads/*", "--track", "^refs/heads/wip/*"];
    args.extend(track);
    stage.add("work", &args).ok();
    for (key, value) in options {
        assert_eq!(stage.setting("work", key), value, "{key}");
        let key = format!("mirror.{key}");
        let kept = stage
            .world
            .git(["config", &key])
            .at(stage.world.only_mirror());
        assert_eq!(kept.ok().line(), value, "git shows {key}");
    }
    assert_eq!(
        stage.setting("work", "track"),
        "+refs/heads/*:refs/heads/* ^refs/heads/wip/*"
    );
    assert_eq!(stage.shown("work", "tracked refs"), ["2"], "no tag");
}

#[test]
fn a_mirror_without_options_is_as_the_help_says() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    let defaults = [
        ("description", ""),
        ("sync-on-fetch", "yes"),
        ("fresh-for", "0s"),
        ("stale", "serve"),
        ("stale-after", "10s"),
        ("atomic", "auto"),
        ("push", "yes"),
        ("keep-history", "30d"),
        ("fsck", "no"),
        ("wipe-guard", "yes"),
        ("link", "auto"),
    ];
    for (key, value) in defaults {
        assert_eq!(stage.setting("work", key), value, "{key}");
    }
    assert_eq!(stage.shown("work", "tracked refs"), ["3"], "all of them");
}

#[test]
fn a_blank_track_means_all_branches_and_tags() {
    let stage = Stage::new(small);
    stage.add("work", &["--track", ""]).ok();
    assert_eq!(stage.shown("work", "tracked refs"), ["3"]);
    stage
        .mirrord(&["set", "work", "--track", "+refs/heads/main"])
        .ok();
    stage.mirrord(&["set", "work", "--track", ""]).ok();
    stage.mirrord(&["sync", "work"]).ok();
    assert_eq!(stage.shown("work", "tracked refs"), ["3"]);
}

#[test]
fn a_download_shows_its_progress_to_who_wants_it() {
    let stage = Stage::new(small);
    let loud = stage.adding("loud", &["--progress"]).ok();
    assert!(loud.stderr.contains("Receiving objects: 100%"), "{loud}");
    let quiet = stage.adding("quiet", &["--quiet"]).ok();
    assert_eq!((quiet.stdout, quiet.stderr), Default::default());
}

#[test]
fn a_login_in_the_address_is_used_and_not_kept() {
    let stage = Stage::new(small);
    stage.gitlab.require_login("group/project", "me", "hunter2");
    let address = stage.url.replace("http://", "http://me:hunter2@");
    let added = stage.mirrord(&["add", "work", &address]).ok();
    insta::assert_snapshot!(added.shown(), @"
    'work' mirrors http://gitlab.example/group/project.git
        git clone mirror::work
    ");
    stage.mirrord(&["stop"]).ok();
    let shown = stage.mirrord(&["show", "work", "--json"]).ok();
    let config = stage
        .world
        .git(["config", "-l"])
        .at(stage.world.only_mirror());
    for ran in [added, shown, config.ok()] {
        let output = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!output.contains("hunter2"), "{ran}");
    }
    stage.clone("work", "ours").code(128);
}

#[test]
fn an_empty_project_is_added_and_gets_its_first_commit() {
    let stage = Stage::new(small);
    let empty = stage.gitlab.project("group/empty");
    stage
        .mirrord(&["add", "empty", &stage.gitlab.url("group/empty")])
        .ok();
    stage.clone("empty", "ours").ok();
    let first = empty.commit("main", "a", "a");
    stage.fetch("ours").ok();
    assert_eq!(stage.rev_parse("ours", "origin/main"), first);
}
