//! Pushes that are interrupted, and the rules that must hold whatever interrupts them.

use std::{
    collections::BTreeSet,
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{GitLab, Project, Ran, Run, World, leftovers::unfinished};

/// How long files that a push leaves behind may take to be removed.
const LEFTOVER_TIMEOUT: Duration = Duration::from_secs(10);

/// The message that upstream may have the push or not.
const MAYBE: &str = "may have reached";

/// A kind of push.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A new branch.
    New,
    /// A branch with one more commit.
    Move,
    /// A branch that is rewritten.
    Force,
    /// A branch that is deleted.
    Delete,
    /// A new branch and a moved one, both or none.
    Atomic,
    /// A new branch, a moved one, and a deleted one.
    Several,
    /// A new branch with so much in it that git sends it in pieces.
    Big,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::New,
        Self::Move,
        Self::Force,
        Self::Delete,
        Self::Atomic,
        Self::Several,
        Self::Big,
    ];
}

/// A project with two clones through the mirror: one pushes, the other sees what it sees.
#[derive(Debug)]
pub struct Trials {
    /// The world of the trials.
    pub world: World,
    /// The server.
    pub gitlab: GitLab,
    /// The upstream.
    pub project: Project,
    base: String,
    count: AtomicUsize,
    /// Files that pushes have left behind.
    seen: Mutex<BTreeSet<String>>,
}

/// One push.
#[derive(Debug)]
pub struct Trial {
    changes: Vec<Change>,
    atomic: bool,
    force: bool,
}

/// The change of one ref.
#[derive(Debug)]
struct Change {
    name: String,
    new: Option<String>,
}

/// The result of a push.
#[derive(Debug, Default)]
pub struct Verdict {
    /// git says that all is well.
    pub ok: bool,
    /// Refs of which git says that they arrived.
    pub refs_ok: usize,
    /// Refs that upstream has as they were pushed.
    pub refs_arrived: usize,
    /// Refs that git calls pushed and upstream does not have.
    pub lies: usize,
    /// Refs that upstream has and git calls failed.
    pub unreported: usize,
    /// Those of them for which the push said so.
    pub admitted: usize,
    /// Whether the same push again did what it should; `None` if it was not needed.
    pub again: Option<bool>,
    /// The files that were left behind.
    pub left: Vec<String>,
    /// Every rule that was broken, with what was seen.
    pub broken: Vec<String>,
}

impl Trials {
    /// Makes the project and the clones.
    #[track_caller]
    #[expect(clippy::new_without_default, reason = "a world is never a default")]
    pub fn new() -> Self {
        let world = World::new();
        let gitlab = world.gitlab();
        let project = gitlab.project("group/project");
        let base = project.history(5);
        project.hook("post-receive", "echo welcome >&2");
        let url = gitlab.url("group/project");
        world.clone_mirror(&url, "ours").ok();
        world.clone_mirror(&url, "theirs").ok();
        Self {
            world,
            gitlab,
            project,
            base,
            count: AtomicUsize::new(0),
            seen: Mutex::default(),
        }
    }

    /// Prepares a push of refs that no other push has.
    #[track_caller]
    pub fn prepare(&self, kind: Kind) -> Trial {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let name = |what: &str| format!("refs/heads/{what}{number:05}");
        let new = |size| Change {
            name: name("new"),
            new: Some(self.commit("ours", &format!("new {number}"), size)),
        };
        let moved = || {
            self.project.branch(&name("moved"), &self.base);
            Change {
                name: name("moved"),
                new: Some(self.commit("ours", &format!("moved {number}"), 1)),
            }
        };
        let gone = || {
            self.project.branch(&name("gone"), &self.base);
            Change {
                name: name("gone"),
                new: None,
            }
        };
        let changes = match kind {
            Kind::New => vec![new(1)],
            Kind::Big => vec![new(100_000)],
            Kind::Move => vec![moved()],
            Kind::Force => {
                let change = moved();
                self.project.commit(&change.name, "old", "old");
                vec![change]
            }
            Kind::Delete => vec![gone()],
            Kind::Atomic => vec![new(1), moved()],
            Kind::Several => vec![new(1), moved(), gone()],
        };
        Trial {
            changes,
            atomic: kind == Kind::Atomic,
            force: kind == Kind::Force,
        }
    }

    /// The push, ready to be started.
    pub fn push(&self, trial: &Trial) -> Run {
        let refspecs = trial.changes.iter().map(|Change { name, new }| match new {
            Some(new) if trial.force => format!("+{new}:{name}"),
            Some(new) => format!("{new}:{name}"),
            None => format!(":{name}"),
        });
        let args = ["push", "--porcelain"].map(str::to_owned).into_iter();
        let args = args.chain(trial.atomic.then(|| "--atomic".to_owned()));
        let args = args.chain(["origin".to_owned()]).chain(refspecs);
        self.world.git(args).at("ours")
    }

    /// Judges a push that has ended; the faults must be over. It asks as people would: fetches
    /// into the other clone, pushes again if it failed, pushes the same refs from the other clone.
    #[track_caller]
    pub fn judge(&self, trial: &Trial, ran: &Ran) -> Verdict {
        let left = self.world.left_running(LEFTOVER_TIMEOUT);
        let mut verdict = self.judge_words(trial, ran);
        verdict.left = left;
        self.judge_what_follows(trial, ran, verdict)
    }

    /// Judges a push of which nobody could say how it went, because all who could were killed.
    #[track_caller]
    pub fn judge_silent(&self, trial: &Trial, ran: &Ran) -> Verdict {
        let verdict = Verdict {
            left: self.world.left_running(LEFTOVER_TIMEOUT),
            ..Verdict::default()
        };
        self.judge_what_follows(trial, ran, verdict)
    }

    fn judge_what_follows(&self, trial: &Trial, ran: &Ran, mut verdict: Verdict) -> Verdict {
        self.judge_fetch(&mut verdict);
        if !verdict.ok {
            let again = self.push(trial).run();
            let gone = again.stderr.contains("remote ref does not exist");
            let worked = (again.status.success() || gone) && self.all_arrived(trial);
            verdict.again = Some(worked);
            if !worked {
                let what = format!("trying again did not work: {again}\nafter: {ran}");
                verdict.broken.push(what);
            }
        }
        for Change { name, .. } in &trial.changes {
            let next = self.commit("theirs", &format!("next {name}"), 1);
            let push = ["push", "-q", "origin", &format!("+{next}:{name}")];
            let pushed = self.world.git(push).at("theirs").run();
            if !pushed.status.success() || self.project.tip(name) != Some(next) {
                let what = format!("another push is kept from '{name}': {pushed}\nafter: {ran}");
                verdict.broken.push(what);
            }
        }
        self.judge_fetch(&mut verdict);
        verdict.left.extend(self.left_in_mirror());
        if !verdict.left.is_empty() {
            let left = verdict.left.join("\n");
            verdict
                .broken
                .push(format!("left behind: {left}\nafter: {ran}"));
        }
        verdict
    }

    /// Judges what git said by what upstream has.
    fn judge_words(&self, trial: &Trial, ran: &Ran) -> Verdict {
        let mut verdict = Verdict {
            ok: ran.status.success(),
            ..Verdict::default()
        };
        let output = ran.stderr.contains(MAYBE) || ran.stdout.contains(MAYBE);
        for change in &trial.changes {
            let arrived = self.arrived(change);
            let report = ran
                .stdout
                .lines()
                .find(|line| line.split(['\t', ':']).any(|word| word == change.name));
            let ok = ran.status.success() || report.is_some_and(|line| !line.starts_with('!'));
            verdict.refs_ok += usize::from(ok);
            verdict.refs_arrived += usize::from(arrived);
            verdict.lies += usize::from(ok && !arrived);
            verdict.unreported += usize::from(!ok && arrived);
            verdict.admitted += usize::from(!ok && arrived && output);
            if ok && !arrived {
                let what = format!("'{}' is called pushed and is not: {ran}", change.name);
                verdict.broken.push(what);
            }
            if !ok && arrived && !output {
                let what = format!("'{}' arrived and is called failed: {ran}", change.name);
                verdict.broken.push(what);
            }
        }
        let arrived = verdict.refs_arrived;
        if trial.atomic && arrived != 0 && arrived != trial.changes.len() {
            verdict
                .broken
                .push(format!("an atomic push was cut in two: {ran}"));
        }
        verdict
    }

    /// Fetches into the other clone, which must then have what upstream has.
    fn judge_fetch(&self, verdict: &mut Verdict) {
        let fetch = ["fetch", "-q", "--prune", "origin"];
        let fetched = self.world.git(fetch).at("theirs").run();
        let list = [
            "for-each-ref",
            "--format=%(objectname) %(refname:lstrip=-1)",
        ];
        let theirs = self.world.git(list).arg("refs/remotes/origin").at("theirs");
        let theirs = theirs.run().stdout;
        let heads = self.project.git(list).arg("refs/heads").run().stdout;
        let mut theirs: Vec<_> = theirs.lines().filter(|it| !it.ends_with(" HEAD")).collect();
        let mut heads: Vec<_> = heads.lines().collect();
        theirs.sort_unstable();
        heads.sort_unstable();
        if !fetched.status.success() || !fetched.stderr.is_empty() {
            verdict
                .broken
                .push(format!("a fetch is not as ever: {fetched}"));
        } else if theirs != heads {
            let what = format!("a fetch gives {theirs:?} and upstream has {heads:?}");
            verdict.broken.push(what);
        }
    }

    fn all_arrived(&self, trial: &Trial) -> bool {
        trial.changes.iter().all(|change| self.arrived(change))
    }

    fn arrived(&self, change: &Change) -> bool {
        self.project.tip(&change.name) == change.new
    }

    /// Returns what is in the mirror or in a clone after a while and should not be.
    fn left_in_mirror(&self) -> Vec<String> {
        let deadline = Instant::now() + LEFTOVER_TIMEOUT;
        loop {
            let mut left = Vec::new();
            let dirs = [self.world.only_mirror(), self.world.path("ours/.git")];
            dirs.iter().for_each(|dir| unfinished(dir, &mut left));
            // What one push has left is not the fault of the next.
            let mut seen = self.seen.lock();
            left.retain(|left| !seen.contains(left));
            if left.is_empty() || Instant::now() > deadline {
                seen.extend(left.iter().cloned());
                return left;
            }
            drop(seen);
            // The daemon sweeps when it finds that a client has gone, of which nobody is told.
            sleep(Duration::from_millis(20));
        }
    }

    /// Asserts that the mirror is sound, and that all fresh clones are alike.
    #[track_caller]
    pub fn is_sound(&self) {
        let mirror = self.world.only_mirror();
        let fsck = ["fsck", "--full", "--strict", "--no-dangling"];
        self.world.git(fsck).env("GIT_DIR", mirror).ok();
        let url = self.gitlab.url("group/project");
        let fresh = |url: &str, dir: &str| {
            let args = ["clone", "-q", "--mirror", url, dir];
            self.world.git(args).ok();
            self.world.path(dir)
        };
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let ours = fresh(&format!("mirror::{url}"), &format!("fresh{number}"));
        let plain = fresh(&url, &format!("plain{number}"));
        crate::same_clone(&self.world, &ours, &plain);
    }

    /// Commits a file of so many lines onto where all began, in a clone; returns the commit.
    #[track_caller]
    fn commit(&self, dir: &str, what: &str, lines: usize) -> String {
        let base = &self.base;
        let content: String = (0..lines)
            .map(|line| format!("{:016x}\n", mixed(line as u64 + 1)))
            .collect();
        let (length, message_length) = (content.len(), what.len());
        let stream = format!(
            "commit refs/scratch\nmark :1\ncommitter A <a@b> 1767225600 +0000\ndata {message_length}\n{what}\n\
             from {base}\nM 100644 inline file\ndata {length}\n{content}\nget-mark :1\n"
        );
        let import = ["fast-import", "--quiet", "--force"];
        let imported = self.world.git(import).at(dir).stdin(stream).ok();
        imported.line().to_owned()
    }
}

impl Verdict {
    /// Asserts that no rule was broken.
    #[track_caller]
    pub fn is_good(&self) {
        assert!(self.broken.is_empty(), "{self}");
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.broken.join("\n"))
    }
}

/// Mixes a number so that nothing can be made of the result but by the same number.
pub fn mixed(number: u64) -> u64 {
    // SplitMix64.
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
