//! Mirrors that track what they are told: what the stories about refspecs add to the stage.

use std::{fs, path::PathBuf};

use tests::{Ran, Run, Running, refs};

use crate::stage::Stage;

/// The name of the mirror that most stories are about.
pub(crate) const NAME: &str = "project";

/// What makes a step last: the daemon makes files last before it gives them their names, and the names after that, so that
/// one that dies there has died once in between any two steps.
const STEP: &str = "fsync";

impl Stage {
    /// Prepares `mirrord add` of a mirror of this name that tracks these.
    pub(crate) fn add_tracking(&self, name: &str, track: &[&str]) -> Run {
        self.add(name, &[]).args(track_options(track))
    }

    /// Prepares `mirrord set` of the refspecs; none is the blank list.
    pub(crate) fn set_track(&self, track: &[&str]) -> Run {
        let track = if track.is_empty() { &[""] } else { track };
        self.mirrord(&["set", NAME]).args(track_options(track))
    }

    /// Brings the mirror in step.
    #[track_caller]
    pub(crate) fn sync(&self) -> Ran {
        self.world.mirrord(["sync", NAME]).ok()
    }

    /// Commits a file on top of a commit, in a clone and on no branch of it; returns the commit.
    #[track_caller]
    pub(crate) fn commit_onto(&self, dir: &str, onto: &str, file: &str) -> String {
        self.git(dir, &["checkout", "-q", "--detach", onto]).ok();
        fs::write(self.world.path(dir).join(file), file).expect("the clone is ours");
        self.git(dir, &["add", file]).ok();
        self.git(dir, &["commit", "-q", "-m", file]).ok();
        self.tip(dir, "HEAD").expect("it was just made")
    }

    /// Returns all refs of the mirror, those of its own among them.
    pub(crate) fn all_refs(&self) -> Vec<(String, String)> {
        refs(&self.world, &self.world.only_mirror())
    }

    /// Returns what `mirrord show` says that does not change by itself.
    #[track_caller]
    pub(crate) fn show_settings(&self) -> String {
        let shown = self.show(NAME);
        let lines = shown.lines().filter(|line| !line.starts_with("state: "));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Returns that without what differs from run to run.
    #[track_caller]
    pub(crate) fn shown_settings(&self) -> String {
        tests::shown(&self.show_settings())
    }

    /// Returns what `mirrord show` says of refs, without what differs from run to run.
    #[track_caller]
    pub(crate) fn shown_refs(&self) -> String {
        tests::shown(&self.refs_in_show(NAME))
    }

    /// Returns what the mirror's HEAD names.
    pub(crate) fn mirror_head(&self) -> String {
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
