//! Local branches and tags: what no refspec names lives in the mirror, can be pushed, rewritten and deleted, and never
//! reaches upstream.

mod cuts;
mod down;
mod mixed;
mod names;
mod races;
mod settled;
mod taken;

use tests::{Ran, Run};

use crate::{push_pair::fill, stage::Stage};

/// A mirror called `fork` that tracks `main` alone, and two clones of it: `ours` and `theirs`.
pub(crate) fn fork() -> Stage {
    fork_of(Stage::new(fill))
}

/// The same, of what was prepared.
pub(crate) fn fork_of(stage: Stage) -> Stage {
    stage
        .mirrored("fork", &["--track", "+refs/heads/main"])
        .cloned("fork", "ours")
        .cloned("fork", "theirs")
}

impl Stage {
    /// Prepares git in the other clone.
    pub(crate) fn theirs(&self, args: &[&str]) -> Run {
        self.world.git(args).at("theirs")
    }

    /// Begins a branch in our clone at what upstream has as `main`, with one commit; returns that.
    #[track_caller]
    pub(crate) fn begin(&self, branch: &str) -> String {
        let args = ["switch", "-q", "--no-track", "-C", branch, "origin/main"];
        self.ours(&args).ok();
        self.commit("ours", &branch.replace('/', "-"))
    }

    /// How often the server was asked to take a push.
    pub(crate) fn pushes_seen(&self) -> usize {
        let requests = self.gitlab.requests();
        let is_push = |request: &&tests::Request| {
            format!("{}?{}", request.path, request.query).contains("git-receive-pack")
        };
        requests.iter().filter(is_push).count()
    }
}

/// Asserts that a push worked and said of these names, and of no others, that they stayed.
#[track_caller]
pub(crate) fn stayed(run: Run, names: &[&str]) -> Ran {
    let ran = run.ok();
    says_of(&ran, names);
    ran
}

/// Asserts that a push said of these names, and of no others, that they stayed.
#[track_caller]
pub(crate) fn says_of(ran: &Ran, names: &[&str]) {
    let output: Vec<_> = ran
        .stderr
        .lines()
        .filter(|line| line.contains("is local to this mirror"))
        .map(str::trim_end)
        .collect();
    let expected: Vec<_> = names
        .iter()
        .map(|name| format!("remote: {name} is local to this mirror; not sent to 127.0.0.1"))
        .collect();
    assert_eq!(output, expected, "{ran}");
}

#[test]
fn a_branch_that_is_not_tracked_stays_in_the_mirror_and_says_so() {
    let fork = fork();
    let mine = fork.begin("mine");
    fork.gitlab.forget_requests();
    fork.upstream_stays(|| stayed(fork.push("ours", &["mine"]), &["mine"]));
    assert_eq!(fork.pushes_seen(), 0, "upstream is not even asked");
    assert_eq!(fork.mirror_tip("refs/heads/mine"), Some(mine.clone()));
    insta::assert_snapshot!(tests::shown(&fork.refs_in_show("fork").replace(&mine[..7], "MINE")), @"
    track: +refs/heads/main:refs/heads/main
    tracked refs: 1
    local: refs/heads/mine MINE
    ");
    fork.is_sound();
}

#[test]
fn a_local_branch_is_seen_by_every_other_clone() {
    let fork = fork();
    let mine = fork.begin("mine");
    fork.push("ours", &["mine"]).ok();
    fork.theirs(&["fetch", "-q"]).ok();
    assert_eq!(fork.tip("theirs", "origin/mine"), Some(mine.clone()));
    fork.world.clone_mirror("fork", "fresh").ok();
    assert_eq!(fork.tip("fresh", "origin/mine"), Some(mine.clone()));
    let fsck = ["fsck", "--full", "--strict"];
    fork.world.git(fsck).at("fresh").ok();
    fork.world.clone_mirror(&fork.url, "by-url").ok();
    assert_eq!(fork.tip("by-url", "origin/mine"), None, "a URL is upstream");
    // They go on where we stopped.
    fork.theirs(&["switch", "-q", "mine"]).ok();
    let next = fork.commit("theirs", "more");
    stayed(fork.theirs(&["push"]), &["mine"]);
    fork.ours(&["pull", "-q", "origin", "mine"]).ok();
    assert_eq!(fork.tip("ours", "HEAD"), Some(next));
}

#[test]
fn a_local_branch_is_rebased_onto_the_tracked_one_that_moved() {
    let fork = fork();
    fork.begin("mine");
    fork.push("ours", &["-u", "mine"]).ok();
    let mut old = fork.tip("ours", "mine");
    for step in ["one", "two"] {
        let moved = fork.project.commit("main", step, step);
        fork.ours(&["fetch", "-q"]).ok();
        fork.ours(&["rebase", "-q", "origin/main"]).ok();
        let parent = fork.tip("ours", "mine~1");
        assert_eq!(parent, Some(moved), "it is on top of what upstream has");
        let plain = fork.push("ours", &["mine"]).code(1);
        insta::allow_duplicates! {
            insta::assert_snapshot!(plain.shown(), @r"
                To mirror::fork
                 ! [rejected]        mine -> mine (non-fast-forward)
                error: failed to push some refs to 'mirror::fork'
                hint: Updates were rejected because the tip of your current branch is behind
                hint: its remote counterpart. If you want to integrate the remote changes,
                hint: use 'git pull' before pushing again.
                hint: See the 'Note about fast-forwards' in 'git push --help' for details.
            ");
        }
        assert_eq!(fork.mirror_tip("refs/heads/mine"), old, "nobody forced it");
        fork.upstream_stays(|| {
            stayed(
                fork.push("ours", &["--force-with-lease", "mine"]),
                &["mine"],
            )
        });
        old = fork.tip("ours", "mine");
        assert_eq!(fork.mirror_tip("refs/heads/mine"), old);
        fork.theirs(&["fetch", "-q"]).ok();
        assert_eq!(fork.tip("theirs", "origin/mine"), old);
    }
    fork.is_sound();
}

#[test]
fn commits_that_a_force_push_or_a_deletion_removed_from_a_local_branch_can_be_restored() {
    let fork = fork();
    let first = fork.begin("mine");
    fork.push("ours", &["mine"]).ok();
    fork.ours(&["commit", "-q", "--amend", "-m", "anew"]).ok();
    let second = fork.tip("ours", "HEAD");
    stayed(fork.push("ours", &["--force", "mine"]), &["mine"]);
    let gone = fork.upstream_stays(|| fork.push("ours", &[":mine"]).ok());
    insta::assert_snapshot!(gone.shown(), @r"
        To mirror::fork
         - [deleted]         mine
    ");
    assert_eq!(fork.mirror_tip("refs/heads/mine"), None);
    fork.theirs(&["fetch", "-q", "--prune"]).ok();
    assert_eq!(fork.tip("theirs", "origin/mine"), None);
    fork.world.mirrord(["restore", "fork", "mine"]).ok();
    assert_eq!(fork.mirror_tip("refs/heads/mine"), second);
    let args = ["restore", "fork", "mine", "--at", &first, "--as", "first"];
    fork.world.mirrord(args).ok();
    fork.theirs(&["fetch", "-q"]).ok();
    assert_eq!(fork.tip("theirs", "origin/first"), Some(first));
}

/// The output of git, without the one line that plain git would not print, and without addresses.
fn plainly(fork: &Stage, text: &str) -> String {
    let lines = text.lines();
    let lines = lines.filter(|line| !line.contains("is local to this mirror"));
    let text = lines.collect::<Vec<_>>().join("\n");
    text.replace("mirror::fork", "URL")
        .replace(&fork.gitlab.url("group/plain"), "URL")
}

#[test]
fn git_says_the_same_of_a_local_branch_as_of_any_other() {
    let fork = fork();
    let plain = fork.gitlab.project("group/plain");
    fill(&plain);
    let url = fork.gitlab.url("group/plain");
    fork.world
        .git(["clone", "-q", "--single-branch", &url, "plain"])
        .ok();
    for dir in ["ours", "plain"] {
        for name in ["one", "two", "three"] {
            fork.world
                .git(["commit", "-q", "--allow-empty", "-m", name])
                .at(dir)
                .ok();
        }
    }
    let pushes: [&[&str]; 13] = [
        &["HEAD~1:refs/heads/mine"],
        &["HEAD~1:refs/heads/mine"],
        &["HEAD:mine"],
        &["HEAD~2:mine"],
        &["--force-with-lease=mine:HEAD~1", "HEAD~2:mine"],
        &["+HEAD~2:mine"],
        &["--porcelain", "HEAD:mine", "HEAD:refs/heads/more/mine"],
        &["--porcelain", "HEAD:refs/heads/mine/below"],
        &["HEAD:refs/tags/mark"],
        &["HEAD~1:refs/tags/mark"],
        &["--force", "HEAD~1:refs/tags/mark"],
        &[":mine", ":refs/tags/mark", ":more/mine"],
        &[":mine"],
    ];
    for args in pushes {
        let args = [&["push", "origin"], args].concat();
        let [ours, theirs] = ["ours", "plain"].map(|dir| fork.world.git(&args).at(dir).run());
        let is_names = args.contains(&"HEAD:refs/heads/mine/below");
        let same = [
            (&ours.stdout, &theirs.stdout),
            (&ours.stderr, &theirs.stderr),
        ]
        .into_iter()
        .all(|(ours, theirs)| plainly(&fork, ours) == plainly(&fork, theirs));
        // Of names in each other's way git speaks in terms of its files.
        assert!(
            (same || is_names) && ours.status.code() == theirs.status.code(),
            "{ours}\n{theirs}"
        );
    }
    fork.is_sound();
}
