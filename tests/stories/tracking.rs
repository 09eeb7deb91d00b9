//! A project and mirrors of it that track what they are told: the stage of the stories about refspecs.

use std::{fs, path::PathBuf};

use tests::{GitLab, Project, Ran, Run, Running, World, public_refs, refs};

/// The name of the mirror that most stories are about.
pub(crate) const NAME: &str = "project";

/// What makes a step last: the daemon makes files last before it gives them their names, and the names after that, so that
/// one that dies there has died once in between any two steps.
const STEP: &str = "fsync";

/// A world with one project, and no mirror of it yet.
pub(crate) struct Tracking {
    pub(crate) world: World,
    pub(crate) gitlab: GitLab,
    pub(crate) project: Project,
    pub(crate) url: String,
}

impl Tracking {
    pub(crate) fn new(fill: impl FnOnce(&Project)) -> Self {
        let world = World::new();
        let gitlab = world.gitlab();
        let project = gitlab.project("group/project");
        fill(&project);
        let url = gitlab.url("group/project");
        Self {
            world,
            gitlab,
            project,
            url,
        }
    }

    /// Prepares `mirrord add` of a mirror of this name.
    pub(crate) fn add_as(&self, name: &str, track: &[&str]) -> Run {
        let args = ["add", "-q", name, &self.url].map(str::to_owned);
        self.world
            .mirrord(args.into_iter().chain(track_options(track)))
    }

    /// Makes the mirror.
    #[track_caller]
    pub(crate) fn add(&self, track: &[&str]) {
        self.add_as(NAME, track).ok();
    }

    /// Prepares `mirrord set` of the refspecs; none is the blank list.
    pub(crate) fn set(&self, track: &[&str]) -> Run {
        let track = if track.is_empty() { &[""] } else { track };
        let args = ["set", NAME].map(str::to_owned);
        self.world
            .mirrord(args.into_iter().chain(track_options(track)))
    }

    /// Brings the mirror in step.
    #[track_caller]
    pub(crate) fn sync(&self) -> Ran {
        self.world.mirrord(["sync", NAME]).ok()
    }

    /// Clones the mirror.
    #[track_caller]
    pub(crate) fn clone(&self, dir: &str) {
        self.clone_run(dir).ok();
    }

    /// Prepares a clone of the mirror.
    pub(crate) fn clone_run(&self, dir: &str) -> Run {
        self.world.clone_mirror(NAME, dir)
    }

    /// Runs git in a clone, which must work.
    #[track_caller]
    pub(crate) fn git(&self, dir: &str, args: &[&str]) -> Ran {
        self.world.git(args).at(dir).ok()
    }

    /// Commits a file on top of a commit, in a clone and on no branch of it; returns the commit.
    #[track_caller]
    pub(crate) fn commit(&self, dir: &str, onto: &str, file: &str) -> String {
        self.git(dir, &["checkout", "-q", "--detach", onto]);
        fs::write(self.world.path(dir).join(file), file).expect("the clone is ours");
        self.git(dir, &["add", file]);
        self.git(dir, &["commit", "-q", "-m", file]);
        self.tip(dir, "HEAD").expect("it was just made")
    }

    /// Returns what a name is in a clone.
    pub(crate) fn tip(&self, dir: &str, name: &str) -> Option<String> {
        let args = ["rev-parse", "-q", "--verify", name];
        let parsed = self.world.git(args).at(dir).run();
        parsed.status.success().then(|| parsed.line().to_owned())
    }

    /// Returns what the mirror shows under a name.
    pub(crate) fn shown(&self, name: &str) -> Option<String> {
        let shown = public_refs(&self.world, &self.world.only_mirror());
        shown
            .into_iter()
            .find_map(|(known, oid)| (known == name).then_some(oid))
    }

    /// Returns all refs of the mirror, those of its own among them.
    pub(crate) fn all(&self) -> Vec<(String, String)> {
        refs(&self.world, &self.world.only_mirror())
    }

    /// Returns all that `mirrord show` says.
    #[track_caller]
    pub(crate) fn show(&self) -> String {
        self.world.mirrord(["show", NAME]).ok().stdout
    }

    /// Returns what `mirrord show` says that does not change by itself.
    #[track_caller]
    pub(crate) fn show_settings(&self) -> String {
        let shown = self.show();
        let lines = shown.lines().filter(|line| !line.starts_with("state: "));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Returns what the mirror's HEAD names.
    pub(crate) fn head(&self) -> String {
        let head = fs::read_to_string(self.world.only_mirror().join("HEAD"));
        let head = head.expect("a mirror has a HEAD");
        head.trim().trim_start_matches("ref: ").to_owned()
    }

    /// Starts a daemon that dies when the work that it is given comes to this step.
    #[track_caller]
    pub(crate) fn dying_daemon(&self, step: usize) -> Running {
        let trace = format!("trace={STEP}");
        let inject = format!("inject={STEP}:signal=KILL:when={step}");
        let strace = ["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
        // As a client starts it: it waits for the one before it.
        let args = strace
            .into_iter()
            .chain(["mirrord", "run", "--autostarted"]);
        let daemon = self.world.program("strace", args).start();
        daemon.printed("ready");
        daemon
    }

    /// Makes a bare repository that fetches what a mirror tracks, by git alone.
    pub(crate) fn plain(&self, dir: &str, track: &[&str]) -> PathBuf {
        self.world.git(["init", "-q", "--bare", dir]).ok();
        let config = |key: &str, value: &str| {
            let args = ["config", "--add", key, value];
            self.world.git(args).at(dir).ok();
        };
        config("remote.origin.url", &self.url);
        let everything = ["+refs/heads/*", "+refs/tags/*"];
        let blank = track.iter().all(|refspec| refspec.starts_with('^'));
        let implied = if blank { &everything[..] } else { &[] };
        for refspec in implied.iter().chain(track) {
            config("remote.origin.fetch", &in_full(refspec));
        }
        self.world.path(dir)
    }

    /// Prepares the fetch of [`plain`](Self::plain).
    pub(crate) fn plain_fetch(&self, dir: &str) -> Run {
        let fetch = ["fetch", "--quiet", "--prune", "--no-tags", "origin"];
        self.world.git(fetch).at(dir)
    }
}

/// The refspecs as options.
fn track_options(track: &[&str]) -> impl Iterator<Item = String> {
    let options = track.iter().map(|refspec| format!("--track={refspec}"));
    options.collect::<Vec<_>>().into_iter()
}

/// A refspec with the destination that it has in a mirror when it names none.
fn in_full(refspec: &str) -> String {
    let refspec = refspec.trim_end_matches(':');
    if refspec.starts_with('^') || refspec.contains(':') {
        return refspec.to_owned();
    }
    format!("{refspec}:{}", refspec.trim_start_matches('+'))
}
