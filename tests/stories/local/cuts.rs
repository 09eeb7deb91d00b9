//! Local pushes whose programs are killed at every step that they make on disk: what was called pushed is there, what was
//! not is there whole or not at all, the mirror has no fault, and the next push works.

use std::{fs, path::Path};

use tests::{Changes, Part, Ran, Run, Signal, public_refs};

use super::{Stage, fork};

/// No push makes so many changes on disk.
const MOST: usize = 200;

/// A fork on which push after push is killed.
struct Trials {
    fork: Stage,
    count: usize,
}

/// A push, and the expected result of each of its refs.
struct Trial {
    refspecs: Vec<String>,
    before: Vec<(String, String)>,
    after: Vec<(String, String)>,
}

impl Trials {
    fn new() -> Self {
        let fork = fork();
        Self { fork, count: 0 }
    }

    fn refs(&self) -> Vec<(String, String)> {
        public_refs(&self.fork.world, &self.fork.world.only_mirror())
    }

    /// A commit that nobody has yet.
    fn commit(&self, what: &str) -> String {
        let message = format!("{what} {}", self.count);
        let stream = format!(
            "commit refs/scratch\nmark :1\ncommitter A <a@b> 1767225600 +0000\ndata {}\n{message}\n\
             M 100644 inline file\ndata {}\n{message}\nget-mark :1\n",
            message.len(),
            message.len()
        );
        let import = ["fast-import", "--quiet", "--force"];
        let imported = self.fork.ours(&import).stdin(stream).ok();
        imported.line().to_owned()
    }

    /// Prepares a push of a branch and a tag that are new, a branch that is rewritten, one that goes, and one that
    /// becomes a directory.
    fn prepare(&mut self) -> Trial {
        self.count += 1;
        let number = self.count;
        let name = |what: &str| format!("refs/heads/{what}{number}");
        let old = self.commit("old");
        let old = ["moved", "gone", "flat"].map(|what| format!("{old}:{}", name(what)));
        let old: Vec<&str> = old.iter().map(String::as_str).collect();
        self.fork
            .push("ours", &[&["-q"], old.as_slice()].concat())
            .ok();
        let before = self.refs();
        let (new, moved) = (self.commit("new"), self.commit("moved"));
        let changes = [
            (name("new"), Some(new.clone())),
            (format!("refs/tags/mark{number}"), Some(new)),
            (name("moved"), Some(moved.clone())),
            (name("gone"), None),
            (name("flat"), None),
            (format!("{}/deep", name("flat")), Some(moved)),
        ];
        let mut after = before.clone();
        for (name, new) in &changes {
            after.retain(|(other, _)| other != name);
            after.extend(new.iter().map(|new| (name.clone(), new.clone())));
        }
        after.sort();
        let refspecs = changes.iter().map(|(name, new)| {
            let new = new.as_deref().unwrap_or_default();
            let force = if new.is_empty() { "" } else { "+" };
            format!("{force}{new}:{name}")
        });
        Trial {
            refspecs: refspecs.collect(),
            before,
            after,
        }
    }

    fn push(&self, trial: &Trial) -> Run {
        let args: Vec<&str> = trial.refspecs.iter().map(String::as_str).collect();
        self.fork.push("ours", &args)
    }

    /// Judges a push that has ended, and does what people do next.
    #[track_caller]
    fn judge(&self, trial: &Trial, ran: &Ran, what: &str) {
        let fork = &self.fork;
        let fetched = fork.theirs(&["fetch", "-q", "--prune", "--tags"]).ok();
        assert_eq!(fetched.stderr, "", "{what}: a fetch is as ever");
        let now = self.refs();
        assert!(
            now == trial.after || (now == trial.before && !ran.status.success()),
            "{what}: all of it is there, or nothing and that was said: {ran}\nbefore {:?}\nafter {:?}\nnow {now:?}",
            trial.before,
            trial.after
        );
        let fsck = ["fsck", "--full", "--strict", "--no-dangling"];
        let fsck = fork.world.git(fsck);
        fsck.env("GIT_DIR", fork.world.only_mirror()).ok();
        // The same again, but for what is gone already: git itself refuses to delete that.
        let is_there = |name: &str| now.iter().any(|(there, _)| there == name);
        let again = trial.refspecs.iter().map(String::as_str);
        let again = again.filter(|word| word.strip_prefix(':').is_none_or(is_there));
        fork.push("ours", &again.collect::<Vec<_>>()).ok();
        assert_eq!(self.refs(), trial.after, "{what}: again does it");
        let left = locks(&fork.world.only_mirror());
        assert!(left.is_empty(), "{what}: {left:?} are left");
        fork.is_sound();
    }

    /// How many changes on disk a push makes that nobody disturbs.
    fn changes(&mut self) -> usize {
        let trial = self.prepare();
        let mut changes = Changes::of(&self.fork.world.only_mirror());
        let push = self.push(&trial).start();
        let world = &self.fork.world;
        let hit = world.kill_part_at(&push, Part::Hook, &mut changes, MOST);
        assert!(!hit, "a push makes fewer changes");
        let ran = push.wait();
        assert!(ran.status.success(), "{ran}");
        changes.count()
    }

    /// Kills this part at every so-manieth change that a push makes, from one on.
    fn kill(part: Part, first: usize, each: usize) {
        let mut trials = Self::new();
        let all = trials.changes();
        assert!((10..MOST).contains(&all), "{all} changes are watched");
        let mut hits = 0;
        for at in (first..=all).step_by(each) {
            let trial = trials.prepare();
            let world = &trials.fork.world;
            let mut changes = Changes::of(&world.only_mirror());
            let push = trials.push(&trial).start();
            let hit = world.kill_part_at(&push, part, &mut changes, at);
            hits += usize::from(hit);
            let ran = push.wait();
            trials.judge(&trial, &ran, &format!("{part:?} killed at change {at}"));
        }
        assert!(hits > 0, "{part:?} was never there to be killed");
    }
}

/// Locks, and files that were not finished, in a mirror.
fn locks(mirror: &Path) -> Vec<String> {
    let entries = fs::read_dir(mirror).expect("it is there").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let is_left = |name: &String| name.ends_with(".lock") || name.ends_with(".new");
    names.filter(is_left).collect()
}

/// Takes half a minute: the daemon writes the refs, so it is killed at every second change that a push makes on disk, and
/// a fetch, an fsck and another push follow each kill.
#[test]
fn the_daemon_is_killed_at_any_step_of_a_local_push() {
    Trials::kill(Part::Daemon, 1, 2);
}

/// Takes seven seconds: a fetch, an fsck and another push follow each kill.
#[test]
fn the_helper_is_killed_at_any_step_of_a_local_push() {
    Trials::kill(Part::Helper, 1, 6);
}

/// Takes a quarter of a minute: the hook settles the push at the end of its changes, so it is killed at every third of
/// those, and a fetch, an fsck and another push follow each kill.
#[test]
fn the_hook_is_killed_at_any_step_of_a_local_push() {
    Trials::kill(Part::Hook, 30, 3);
}

/// Takes ten seconds: a fetch, an fsck and another push follow each kill.
#[test]
fn the_receiving_git_is_killed_at_any_step_of_a_local_push() {
    Trials::kill(Part::ReceivePack, 1, 6);
}

#[test]
fn all_of_a_local_push_is_killed_at_once_and_then_the_daemon() {
    let mut trials = Trials::new();
    for at in [2, 8, 14, 20, 26] {
        let trial = trials.prepare();
        let world = &trials.fork.world;
        let mut changes = Changes::of(&world.only_mirror());
        let push = trials.push(&trial).start();
        world.kill_part_at(&push, Part::Daemon, &mut changes, at);
        push.kill_group(Signal::KILL);
        let ran = push.wait();
        trials.judge(&trial, &ran, &format!("all killed at change {at}"));
    }
}

#[test]
fn a_local_push_that_was_called_pushed_outlives_the_daemon() {
    let mut trials = Trials::new();
    for round in 0..5 {
        let trial = trials.prepare();
        let ran = trials.push(&trial).ok();
        trials.fork.world.kill_daemon();
        assert_eq!(trials.refs(), trial.after, "round {round}: {ran}");
        trials.judge(&trial, &ran, "the daemon killed after ok");
    }
}
