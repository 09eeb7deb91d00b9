//! What becomes of branches when the refspecs change: those that upstream has had go and can be brought back, those that
//! are somebody's own stay, and nobody's commit is lost.

mod beside;
mod changes;
mod cuts;
mod ways_out;

use std::collections::BTreeSet;

use tests::{Run, public_refs};

use crate::{stage::Stage, tracking::NAME};

/// How a ref of the mirror is to what upstream has of that name.
const STATES: [&str; 4] = ["absent", "equal", "behind", "diverged"];

/// A change of the refspecs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Change {
    /// Upstream's `x/*` are no longer tracked.
    Untracked,
    /// No longer tracked, with `--keep`: the mirror's branches stay as local ones.
    Kept,
    /// Upstream's `x/*` are tracked from now on.
    Tracked,
    /// Upstream's `x/*` are `up/*` here from now on.
    Renamed,
    /// Upstream's `x/*` are left out of all.
    Negative,
    /// Upstream's `main`, where HEAD is, is no longer tracked.
    Main,
}

impl Change {
    fn before(self) -> &'static [&'static str] {
        match self {
            Self::Tracked => &["+refs/heads/main"],
            Self::Untracked | Self::Kept | Self::Renamed | Self::Main => {
                &["+refs/heads/main", "+refs/heads/x/*"]
            }
            Self::Negative => &["+refs/heads/*"],
        }
    }

    fn after(self) -> &'static [&'static str] {
        match self {
            Self::Untracked | Self::Kept => &["+refs/heads/main"],
            Self::Tracked => &["+refs/heads/main", "+refs/heads/x/*"],
            Self::Renamed => &["+refs/heads/main", "+refs/heads/x/*:refs/heads/up/*"],
            Self::Negative => &["+refs/heads/*", "^refs/heads/x/*"],
            Self::Main => &["+refs/heads/x/*"],
        }
    }
}

/// A mirror before a change, with a ref in each state: `x/STATE`, or `up/STATE` where that is the new name.
struct Matrix {
    stage: Stage,
    change: Change,
    /// Upstream's commits of `x/STATE`, in the order of the states.
    upstream: [String; 4],
    /// Upstream's earlier commit of each of them.
    behind: String,
    /// A commit that upstream does not have.
    diverged: String,
}

impl Matrix {
    fn new(change: Change) -> Self {
        let stage = Stage::new(|project| {
            project.history(3);
            let base = project.commit("x/equal", "x", "1");
            for state in STATES {
                project.force(&format!("x/{state}"), &base);
                project.commit(&format!("x/{state}"), "x", state);
            }
        });
        let tip = |name: &str| {
            let parsed = stage.project.git(["rev-parse", name]);
            parsed.ok().line().to_owned()
        };
        let upstream = STATES.map(|state| tip(&format!("x/{state}")));
        let behind = tip("x/behind~1");
        // Whoever has local branches there begins before their names are tracked.
        let first = match change {
            Change::Renamed => change.before(),
            _ => &["+refs/heads/main"],
        };
        stage.add_tracking(NAME, first).ok();
        stage.clone(NAME, "ours").ok();
        stage
            .git(
                "ours",
                &["fetch", "-q", &stage.url, "refs/heads/x/*:refs/theirs/*"],
            )
            .ok();
        let diverged = stage.commit_onto("ours", &behind, "mine");
        let space = if change == Change::Renamed { "up" } else { "x" };
        let mut push = vec![
            format!("{behind}:refs/heads/{space}/behind"),
            format!("{diverged}:refs/heads/{space}/diverged"),
        ];
        match change {
            Change::Tracked | Change::Renamed => {
                push.push(format!("{}:refs/heads/{space}/equal", upstream[1]));
            }
            // Upstream's cannot be shown beside it.
            _ => push.push(format!("{diverged}:refs/heads/x/absent/not")),
        }
        let args = ["push", "-q", "origin"].map(str::to_owned).into_iter();
        let args: Vec<_> = args.chain(push).collect();
        stage.world.git(args).at("ours").ok();
        if !matches!(change, Change::Tracked | Change::Renamed) {
            stage.set_track(change.before()).ok();
            stage.sync();
        }
        Self {
            stage,
            change,
            upstream,
            behind,
            diverged,
        }
    }

    /// Prepares the change.
    fn set(&self) -> Run {
        let set = self.stage.set_track(self.change.after());
        if self.change == Change::Kept {
            return set.arg("--keep");
        }
        set
    }

    /// Asserts what the mirror shows of the states below `space`, in their order.
    #[track_caller]
    fn shows(&self, space: &str, expected: [Option<&str>; 4]) {
        for (state, expected) in STATES.iter().zip(expected) {
            let name = format!("refs/heads/{space}/{state}");
            let shown = self.stage.mirror_tip(&name);
            assert_eq!(
                shown.as_deref(),
                expected,
                "'{name}' after {:?}",
                self.change
            );
        }
    }

    /// Returns what upstream had of `x/STATE`, in their order.
    fn theirs(&self) -> [&str; 4] {
        self.upstream.each_ref().map(String::as_str)
    }

    /// Returns all that clients see.
    fn tips(&self) -> BTreeSet<String> {
        let refs = public_refs(&self.stage.world, &self.stage.world.only_mirror());
        refs.into_iter().map(|(_, oid)| oid).collect()
    }

    /// Asserts that all that clients saw before is there still, under whatever name.
    #[track_caller]
    fn lost_nothing(&self, before: &BTreeSet<String>) {
        let after = self.stage.all_refs().into_iter().map(|(_, oid)| oid);
        let after: BTreeSet<_> = after.collect();
        let lost: Vec<_> = before.difference(&after).collect();
        assert!(
            lost.is_empty(),
            "{lost:?} is in no ref after {:?}",
            self.change
        );
    }

    fn history(&self) -> String {
        self.stage.world.mirrord(["history", NAME]).ok().stdout
    }
}
