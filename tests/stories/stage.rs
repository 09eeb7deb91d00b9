//! The stage of most stories: a world, a GitLab in it, and one project on that.
//!
//! Modules of stories add to [`Stage`] what they alone need, in an `impl` of their own.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tests::{GitLab, Project, Ran, Run, World, public_refs};

use crate::push_pair::nothing_is_left;

/// A world, and a GitLab with one project in it.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) gitlab: GitLab,
    pub(crate) project: Project,
    /// The URL of the project, without `mirror::`.
    pub(crate) url: String,
}

/// How a stage is made.
impl Stage {
    /// A GitLab that speaks http, with a project that is filled.
    pub(crate) fn new<T>(fill: impl FnOnce(&Project) -> T) -> Self {
        let world = World::new();
        let gitlab = world.gitlab();
        Self::on(world, gitlab, fill)
    }

    /// A GitLab that speaks https, whose certificate the user trusts.
    pub(crate) fn with_tls<T>(fill: impl FnOnce(&Project) -> T) -> Self {
        let world = World::new();
        let gitlab = world.gitlab_tls();
        world.config("http.sslCAInfo", &gitlab.ca_file().to_string_lossy());
        Self::on(world, gitlab, fill)
    }

    /// A world and a GitLab that were prepared.
    pub(crate) fn on<T>(world: World, gitlab: GitLab, fill: impl FnOnce(&Project) -> T) -> Self {
        let project = gitlab.project("group/project");
        fill(&project);
        Self::of(world, gitlab, project)
    }

    /// What was prepared, with a project at `group/project`.
    pub(crate) fn of(world: World, gitlab: GitLab, project: Project) -> Self {
        Self {
            url: gitlab.url("group/project"),
            world,
            gitlab,
            project,
        }
    }

    /// Makes a mirror of the project with this name.
    #[track_caller]
    pub(crate) fn mirrored(self, name: &str, options: &[&str]) -> Self {
        self.add(name, options).ok();
        self
    }

    /// Clones what follows `mirror::`.
    #[track_caller]
    pub(crate) fn cloned(self, address: &str, dir: &str) -> Self {
        self.world.clone_mirror(address, dir).ok();
        self
    }

    /// Clones the project through its URL, as `ours`.
    #[track_caller]
    pub(crate) fn with_ours(self) -> Self {
        self.world.clone_mirror(&self.url, "ours").ok();
        self
    }
}

/// What is done on it.
impl Stage {
    /// Prepares `mirrord`.
    pub(crate) fn mirrord(&self, args: &[&str]) -> Run {
        self.world.mirrord(args)
    }

    /// Prepares `mirrord add` of the project.
    pub(crate) fn add(&self, name: &str, options: &[&str]) -> Run {
        self.mirrord(&[&["add", "-q", name, &self.url], options].concat())
    }

    /// Prepares a quiet clone of what follows `mirror::`.
    pub(crate) fn clone(&self, address: &str, dir: &str) -> Run {
        self.world.clone_mirror(address, dir)
    }

    /// Prepares `mirrord set` of a mirror.
    pub(crate) fn set(&self, name: &str, options: &[&str]) -> Run {
        self.mirrord(&[&["set", name], options].concat())
    }

    /// Prepares a look at what the project shows through its URL.
    pub(crate) fn ls_remote(&self) -> Run {
        let address = format!("mirror::{}", self.url);
        self.world.git(["ls-remote", &address])
    }

    /// Prepares git in a clone.
    pub(crate) fn git(&self, dir: &str, args: &[&str]) -> Run {
        self.world.git(args).at(dir)
    }

    /// Prepares git in the clone `ours`.
    pub(crate) fn ours(&self, args: &[&str]) -> Run {
        self.git("ours", args)
    }

    /// Prepares a quiet fetch in a clone.
    pub(crate) fn fetch(&self, dir: &str) -> Run {
        self.git(dir, &["fetch", "-q", "--prune"])
    }

    /// Prepares a push to `origin` from a clone.
    pub(crate) fn push(&self, dir: &str, args: &[&str]) -> Run {
        self.git(dir, &[&["push", "origin"], args].concat())
    }

    /// Commits a file in a clone, on what is checked out; returns the commit.
    #[track_caller]
    pub(crate) fn commit(&self, dir: &str, file: &str) -> String {
        let script = r#"echo "$0 of $1" >"$0" && git add . && git commit -qm "$0""#;
        let args = ["-c", script, file, dir];
        self.world.program("sh", args).at(dir).ok();
        self.tip(dir, "HEAD").expect("it was just made")
    }
}

/// What is seen of it.
impl Stage {
    /// The commit of a revision in a clone.
    pub(crate) fn tip(&self, dir: &str, revision: &str) -> Option<String> {
        let parse = ["rev-parse", "-q", "--verify", revision];
        let parsed = self.git(dir, &parse).run();
        parsed.status.success().then(|| parsed.line().to_owned())
    }

    /// The commit of a revision that a clone must have.
    #[track_caller]
    pub(crate) fn rev_parse(&self, dir: &str, revision: &str) -> String {
        let parsed = self.git(dir, &["rev-parse", "--verify", revision]).ok();
        parsed.line().to_owned()
    }

    /// The commit of a ref that upstream must have.
    #[track_caller]
    pub(crate) fn upstream_tip(&self, name: &str) -> String {
        self.project.tip(name).expect("upstream has it")
    }

    /// The commit that the only mirror shows under a full name.
    #[track_caller]
    pub(crate) fn mirror_tip(&self, name: &str) -> Option<String> {
        let shown = public_refs(&self.world, &self.world.only_mirror());
        shown
            .into_iter()
            .find_map(|(known, oid)| (known == name).then_some(oid))
    }

    /// Whether the only mirror has an object.
    #[track_caller]
    pub(crate) fn mirror_has(&self, oid: &str) -> bool {
        let cat_file = self.world.git(["cat-file", "-e", oid]);
        let ran = cat_file.at(self.world.only_mirror()).run();
        ran.status.success()
    }

    /// Asserts that the only mirror has no fault, and that no push has left anything in it.
    #[track_caller]
    pub(crate) fn is_sound(&self) {
        let mirror = self.world.only_mirror();
        nothing_is_left(&mirror);
        let fsck = ["fsck", "--full", "--strict", "--no-dangling"];
        self.world.git(fsck).env("GIT_DIR", mirror).ok();
    }

    /// Asserts that an action changes nothing of upstream.
    #[track_caller]
    pub(crate) fn upstream_stays<T>(&self, action: impl FnOnce() -> T) -> T {
        let before = self.project.refs();
        let done = action();
        assert_eq!(self.project.refs(), before, "upstream has what it had");
        done
    }

    /// The output of `mirrord show` of a mirror.
    #[track_caller]
    pub(crate) fn show(&self, name: &str) -> String {
        self.mirrord(&["show", name]).ok().stdout
    }

    /// Returns the lines of `mirrord show` that are about refs.
    #[track_caller]
    pub(crate) fn refs_in_show(&self, name: &str) -> String {
        let about_refs = ["track: ", "tracked refs: ", "local: ", "held: "];
        let shown = self.show(name);
        let mut lines: Vec<_> = shown.lines().collect();
        lines.retain(|line| about_refs.iter().any(|start| line.starts_with(start)));
        lines.join("\n")
    }

    /// Returns what `mirrord status` prints of a mirror and of those after it, without what differs from run to run.
    #[track_caller]
    pub(crate) fn status_lines_of(&self, name: &str) -> String {
        let status = self.mirrord_shows(&["status"]);
        let start = status.find(&format!("\n{name}  "));
        let start = start.unwrap_or_else(|| panic!("'{name}' is not in {status}"));
        status[start + 1..].to_owned()
    }

    /// Returns what a command printed, without what differs from run to run.
    #[track_caller]
    pub(crate) fn mirrord_shows(&self, args: &[&str]) -> String {
        let ran: Ran = self.mirrord(args).ok();
        ran.shown()
    }
}

/// Plays one check of a story that makes several over one stage; a failure names it.
#[track_caller]
pub(crate) fn check(name: &str, play: impl FnOnce()) {
    let played = catch_unwind(AssertUnwindSafe(play));
    assert!(played.is_ok(), "the check that failed: {name}");
}
