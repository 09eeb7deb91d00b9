//! The daemon dies in the middle of a change of the refspecs, at each step at which something is written: the next command
//! finds the mirror as it was or as it was to be.
//!
//! These stories take long: for each step a daemon is started under `strace`, killed, and started again.

use std::{collections::BTreeSet, fs, io};

use tests::Run;

use super::{Change, Matrix};
use crate::tracking::NAME;

/// The state of a mirror, without times.
#[derive(Clone, Debug, Eq, PartialEq)]
struct State {
    settings: String,
    refs: Vec<(String, String)>,
    head: String,
}

impl Matrix {
    /// Reads the state of the mirror, from a command and from the disk.
    #[track_caller]
    fn state(&self) -> State {
        let settings = self.stage.show_settings();
        let mut refs = self.stage.all_refs();
        for (name, _) in &mut refs {
            if let Some(rest) = name.strip_prefix("refs/mirror/history/") {
                let (_, rest) = rest.split_once('/').expect("it has a stamp");
                *name = format!("refs/mirror/history/{rest}");
            }
        }
        refs.sort();
        State {
            settings,
            refs,
            head: self.stage.mirror_head(),
        }
    }

    fn copy(&self, from: &str, to: &str) {
        let home = self.stage.world.mirror_home();
        let (from, to) = (home.join(from), home.join(to));
        let copy = "rm -rf \"$1\" && cp -a \"$0\" \"$1\"";
        let args = [
            "-c".as_ref(),
            copy.as_ref(),
            from.as_os_str(),
            to.as_os_str(),
        ];
        self.stage.world.program("sh", args).ok();
    }

    /// Puts the mirror away as it is. The daemon does not run then.
    fn save(&self, name: &str) {
        self.stage.world.mirrord(["stop"]).ok();
        self.copy("mirrors", name);
    }

    /// Makes the mirror what it was. The daemon must not run.
    fn load(&self, name: &str) {
        self.copy(name, "mirrors");
    }

    /// Begins the change with a daemon that dies at this step; says whether it had so many.
    #[track_caller]
    fn cut(&self, step: usize) -> bool {
        let daemon = self.stage.dying_daemon(step);
        let set = self.set().run();
        if set.status.success() {
            self.stage.world.mirrord(["stop"]).ok();
            drop(daemon.wait());
            return false;
        }
        drop(daemon.wait());
        true
    }

    /// Cuts the change at each step, and asserts that the mirror is as it was or as it was to be when `next` has ended.
    #[track_caller]
    fn is_old_or_new(&self, next: impl Fn(&Self) -> Run) {
        self.save("old");
        let after = |name: &str| {
            next(self).ok();
            let state = self.state();
            self.save(name);
            state
        };
        let old = after("discarded");
        self.load("old");
        self.set().ok();
        let new = after("discarded");
        let (mut step, mut seen) = (0, [0, 0]);
        loop {
            step += 1;
            self.load("old");
            if !self.cut(step) {
                break;
            }
            let ran = next(self).run();
            assert!(ran.status.success(), "cut at step {step}: {ran}");
            let state = self.state();
            assert!(
                state == old || state == new,
                "cut at step {step}, the mirror is neither as it was nor as it was to be: {state:#?}\nold: {old:#?}\nnew: {new:#?}"
            );
            seen[usize::from(state == new)] += 1;
            self.stage.world.mirrord(["stop"]).ok();
        }
        assert!(step > 4, "there are steps: {step}");
        assert!(
            old == new || seen.iter().all(|seen| *seen > 0),
            "both happen: {seen:?}"
        );
    }
}

/// Brings the mirror in step.
fn sync(matrix: &Matrix) -> Run {
    matrix.stage.world.mirrord(["sync", NAME])
}

#[test]
#[cfg_attr(not(strace), ignore = "needs strace")]
fn the_next_sync_finds_what_was_tracked_and_is_not_as_it_was_or_as_it_is_to_be() {
    Matrix::new(Change::Untracked).is_old_or_new(sync);
}

#[test]
#[cfg_attr(not(strace), ignore = "needs strace")]
fn the_next_sync_finds_what_is_kept_as_it_was_or_as_it_is_to_be() {
    Matrix::new(Change::Kept).is_old_or_new(sync);
}

#[test]
#[cfg_attr(not(strace), ignore = "needs strace")]
fn the_next_sync_finds_what_is_tracked_from_now_on_as_it_was_or_as_it_is_to_be() {
    Matrix::new(Change::Tracked).is_old_or_new(sync);
}

#[test]
#[cfg_attr(not(strace), ignore = "needs strace")]
fn the_next_sync_finds_what_gets_another_name_as_it_was_or_as_it_is_to_be() {
    Matrix::new(Change::Renamed).is_old_or_new(sync);
}

#[test]
#[cfg_attr(not(strace), ignore = "needs strace")]
fn the_next_sync_finds_what_is_left_out_as_it_was_or_as_it_is_to_be() {
    Matrix::new(Change::Negative).is_old_or_new(sync);
}

#[test]
#[cfg_attr(not(strace), ignore = "needs strace")]
fn the_next_sync_finds_head_on_a_branch_that_was_or_is_to_be_tracked() {
    Matrix::new(Change::Main).is_old_or_new(sync);
}

#[test]
#[cfg_attr(not(strace), ignore = "needs strace")]
fn the_same_change_again_is_carried_out() {
    Matrix::new(Change::Renamed).is_old_or_new(Matrix::set);
}

#[test]
#[cfg_attr(not(strace), ignore = "needs strace")]
fn another_change_is_carried_out_all_the_same() {
    let other = |matrix: &Matrix| matrix.stage.set_track(&["+refs/heads/x/equal"]);
    for change in [Change::Renamed, Change::Kept] {
        Matrix::new(change).is_old_or_new(other);
    }
}

#[test]
#[cfg_attr(not(strace), ignore = "needs strace")]
fn the_first_command_after_a_kill_shows_the_old_state_or_the_new_one() {
    let show = |matrix: &Matrix| matrix.stage.world.mirrord(["show", NAME]);
    Matrix::new(Change::Untracked).is_old_or_new(show);
}

#[test]
#[cfg_attr(not(strace), ignore = "needs strace")]
fn the_first_fetch_after_a_kill_gets_the_old_state_or_the_new_one_also_without_upstream() {
    for alone in [true, false] {
        let matrix = Matrix::new(Change::Renamed);
        if alone {
            matrix.stage.gitlab.stop();
        } else {
            let quiet = ["set", NAME, "--sync-on-fetch", "no"];
            matrix.stage.world.mirrord(quiet).ok();
        }
        matrix.is_old_or_new(|matrix| {
            matrix
                .stage
                .world
                .git(["ls-remote", &format!("mirror::{NAME}")])
        });
    }
}

#[test]
#[cfg_attr(not(strace), ignore = "needs strace")]
fn the_first_push_after_a_kill_goes_to_the_old_state_or_to_the_new_one() {
    let matrix = Matrix::new(Change::Renamed);
    let mine = format!("{}:refs/heads/mine", matrix.diverged);
    matrix.is_old_or_new(|matrix| {
        let push = ["push", "-q", "origin", &mine];
        matrix.stage.world.git(push).at("ours")
    });
}

#[test]
#[cfg_attr(not(strace), ignore = "needs strace")]
fn nothing_unfinished_is_left_after_a_while() {
    let matrix = Matrix::new(Change::Renamed);
    matrix.save("old");
    let names = || -> BTreeSet<String> {
        let entries = fs::read_dir(matrix.stage.world.only_mirror()).expect("it is there");
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("readable").file_name();
        entries
            .map(|entry| name(entry).to_string_lossy().into_owned())
            .collect()
    };
    let before = names();
    for step in 1.. {
        matrix.load("old");
        if !matrix.cut(step) {
            break;
        }
        sync(&matrix).ok();
        let after = names();
        let left: Vec<_> = after.difference(&before).collect();
        assert!(
            left.is_empty(),
            "cut at step {step}, this is left: {left:?}"
        );
        matrix.stage.world.mirrord(["stop"]).ok();
    }
}

/// Takes 10 s: so long the daemon waits for a lock of git's.
#[test]
fn a_change_that_the_disk_refuses_is_finished_or_undone_by_the_next_sync() {
    let matrix = Matrix::new(Change::Renamed);
    let after = || {
        sync(&matrix).ok();
        matrix.state()
    };
    let old = after();
    matrix.save("old");
    matrix.set().ok();
    let new = after();
    matrix.stage.world.mirrord(["stop"]).ok();
    matrix.load("old");
    // Nothing is left to be swept by then.
    sync(&matrix).ok();
    // As somebody's 'git pack-refs' there does, or a full disk.
    let lock = matrix.stage.world.only_mirror().join("packed-refs.lock");
    let lock_file = fs::File::create(&lock).expect("it is ours");
    let refused = matrix.set().fails();
    assert!(
        refused
            .stderr
            .starts_with("error: cannot change the mirror"),
        "{refused}"
    );
    fs::remove_file(&lock).expect("it is there");
    drop(lock_file);
    let state = after();
    assert!(
        state == old || state == new,
        "it is neither as it was nor as it was to be: {state:#?}\nold: {old:#?}\nnew: {new:#?}"
    );
}
