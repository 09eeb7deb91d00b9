//! Local branches and tags: what no refspec names lives in the mirror, can be pushed, rewritten and deleted, and never
//! reaches upstream.

mod cuts;
mod down;
mod mixed;
mod names;
mod races;
mod taken;

use tests::{GitLab, Project, Ran, Run, World, public_refs};

use crate::push_pair::{fill, nothing_is_left};

/// A mirror called `fork` that tracks `main` alone, and two clones of it: `ours` and `theirs`.
pub(crate) struct Fork {
    pub(crate) world: World,
    pub(crate) gitlab: GitLab,
    pub(crate) project: Project,
    pub(crate) url: String,
}

impl Fork {
    pub(crate) fn new() -> Self {
        Self::of(GitLab::project, |_, _| ())
    }

    /// Takes what makes the project, and who may read it.
    pub(crate) fn of(
        make: impl Fn(&GitLab, &str) -> Project,
        prepare: impl FnOnce(&World, &GitLab),
    ) -> Self {
        let world = World::new();
        let gitlab = world.gitlab();
        let project = make(&gitlab, "group/project");
        fill(&project);
        prepare(&world, &gitlab);
        let url = gitlab.url("group/project");
        let add = ["add", "-q", "fork", &url, "--track", "+refs/heads/main"];
        world.mirrord(add).ok();
        for person in ["ours", "theirs"] {
            world.clone_mirror("fork", person).ok();
        }
        Self {
            world,
            gitlab,
            project,
            url,
        }
    }

    /// Prepares git in our clone.
    pub(crate) fn git(&self, args: &[&str]) -> Run {
        self.world.git(args).at("ours")
    }

    /// Prepares git in the other clone.
    pub(crate) fn theirs(&self, args: &[&str]) -> Run {
        self.world.git(args).at("theirs")
    }

    /// Prepares a push from our clone.
    pub(crate) fn push(&self, args: &[&str]) -> Run {
        self.git(&[&["push", "origin"], args].concat())
    }

    /// Changes a setting of the mirror.
    #[track_caller]
    pub(crate) fn set(&self, args: &[&str]) -> Ran {
        self.world.mirrord([&["set", "fork"], args].concat()).ok()
    }

    /// The output of `mirrord show`.
    #[track_caller]
    pub(crate) fn show(&self) -> String {
        self.world.mirrord(["show", "fork"]).ok().stdout
    }

    /// Commits a file where somebody stands; returns the commit.
    #[track_caller]
    pub(crate) fn commit_in(&self, person: &str, file: &str) -> String {
        let script = r#"echo "$0 of $1" >"$0" && git add . && git commit -qm "$0""#;
        let args = ["-c", script, file, person];
        self.world.program("sh", args).at(person).ok();
        let head = self.world.git(["rev-parse", "HEAD"]).at(person).ok();
        head.line().to_owned()
    }

    /// Commits a file in our clone; returns the commit.
    #[track_caller]
    pub(crate) fn commit(&self, file: &str) -> String {
        self.commit_in("ours", file)
    }

    /// Begins a branch in our clone at what upstream has as `main`, with one commit; returns that.
    #[track_caller]
    pub(crate) fn begin(&self, branch: &str) -> String {
        let args = ["switch", "-q", "--no-track", "-C", branch, "origin/main"];
        self.git(&args).ok();
        self.commit(&branch.replace('/', "-"))
    }

    /// The commit that the mirror shows under a full name.
    #[track_caller]
    pub(crate) fn mirror_tip(&self, name: &str) -> Option<String> {
        let shown = public_refs(&self.world, &self.world.only_mirror()).into_iter();
        shown
            .filter(|(shown, _)| shown == name)
            .map(|(_, oid)| oid)
            .next()
    }

    /// The commit of a revision in somebody's clone.
    #[track_caller]
    pub(crate) fn has(&self, person: &str, what: &str) -> Option<String> {
        let args = ["rev-parse", "-q", "--verify", what];
        let parsed = self.world.git(args).at(person).run();
        parsed.status.success().then(|| parsed.line().to_owned())
    }

    /// Asserts that an action changes nothing of upstream.
    #[track_caller]
    pub(crate) fn upstream_stays<T>(&self, action: impl FnOnce() -> T) -> T {
        let before = self.project.refs();
        let done = action();
        assert_eq!(self.project.refs(), before, "upstream has what it had");
        done
    }

    /// How often the server was asked to take a push.
    pub(crate) fn pushes_seen(&self) -> usize {
        let requests = self.gitlab.requests();
        let is_push = |request: &&tests::Request| {
            format!("{}?{}", request.path, request.query).contains("git-receive-pack")
        };
        requests.iter().filter(is_push).count()
    }

    /// Asserts that the mirror has no fault and that no push has left anything in it.
    #[track_caller]
    pub(crate) fn is_sound(&self) {
        let mirror = self.world.only_mirror();
        nothing_is_left(&mirror);
        let fsck = ["fsck", "--full", "--strict", "--no-dangling"];
        self.world.git(fsck).env("GIT_DIR", mirror).ok();
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
    let fork = Fork::new();
    let mine = fork.begin("mine");
    fork.gitlab.forget_requests();
    fork.upstream_stays(|| stayed(fork.push(&["mine"]), &["mine"]));
    assert_eq!(fork.pushes_seen(), 0, "upstream is not even asked");
    assert_eq!(fork.mirror_tip("refs/heads/mine"), Some(mine.clone()));
    assert!(
        fork.show()
            .contains(&format!("local: refs/heads/mine {}", &mine[..7])),
        "{}",
        fork.show()
    );
    fork.is_sound();
}

#[test]
fn a_local_branch_is_seen_by_every_other_clone() {
    let fork = Fork::new();
    let mine = fork.begin("mine");
    fork.push(&["mine"]).ok();
    fork.theirs(&["fetch", "-q"]).ok();
    assert_eq!(fork.has("theirs", "origin/mine"), Some(mine.clone()));
    fork.world.clone_mirror("fork", "fresh").ok();
    assert_eq!(fork.has("fresh", "origin/mine"), Some(mine.clone()));
    let fsck = ["fsck", "--full", "--strict"];
    fork.world.git(fsck).at("fresh").ok();
    fork.world.clone_mirror(&fork.url, "by-url").ok();
    assert_eq!(fork.has("by-url", "origin/mine"), None, "a URL is upstream");
    // They go on where we stopped.
    fork.theirs(&["switch", "-q", "mine"]).ok();
    let next = fork.commit_in("theirs", "more");
    stayed(fork.theirs(&["push"]), &["mine"]);
    fork.git(&["pull", "-q", "origin", "mine"]).ok();
    assert_eq!(fork.has("ours", "HEAD"), Some(next));
}

#[test]
fn a_local_branch_is_rebased_onto_the_tracked_one_that_moved() {
    let fork = Fork::new();
    fork.begin("mine");
    fork.push(&["-u", "mine"]).ok();
    let mut old = fork.has("ours", "mine");
    for step in ["one", "two"] {
        let moved = fork.project.commit("main", step, step);
        fork.git(&["fetch", "-q"]).ok();
        fork.git(&["rebase", "-q", "origin/main"]).ok();
        let parent = fork.has("ours", "mine~1");
        assert_eq!(parent, Some(moved), "it is on top of what upstream has");
        let plain = fork.push(&["mine"]).code(1);
        assert!(plain.stderr.contains("(non-fast-forward)"), "{plain}");
        assert_eq!(fork.mirror_tip("refs/heads/mine"), old, "nobody forced it");
        fork.upstream_stays(|| stayed(fork.push(&["--force-with-lease", "mine"]), &["mine"]));
        old = fork.has("ours", "mine");
        assert_eq!(fork.mirror_tip("refs/heads/mine"), old);
        fork.theirs(&["fetch", "-q"]).ok();
        assert_eq!(fork.has("theirs", "origin/mine"), old);
    }
    fork.is_sound();
}

#[test]
fn commits_that_a_force_push_or_a_deletion_removed_from_a_local_branch_can_be_restored() {
    let fork = Fork::new();
    let first = fork.begin("mine");
    fork.push(&["mine"]).ok();
    fork.git(&["commit", "-q", "--amend", "-m", "anew"]).ok();
    let second = fork.has("ours", "HEAD");
    stayed(fork.push(&["--force", "mine"]), &["mine"]);
    let gone = fork.upstream_stays(|| fork.push(&[":mine"]).ok());
    assert!(gone.stderr.contains(" - [deleted]         mine"), "{gone}");
    assert_eq!(fork.mirror_tip("refs/heads/mine"), None);
    fork.theirs(&["fetch", "-q", "--prune"]).ok();
    assert_eq!(fork.has("theirs", "origin/mine"), None);
    fork.world.mirrord(["restore", "fork", "mine"]).ok();
    assert_eq!(fork.mirror_tip("refs/heads/mine"), second);
    let args = ["restore", "fork", "mine", "--at", &first, "--as", "first"];
    fork.world.mirrord(args).ok();
    fork.theirs(&["fetch", "-q"]).ok();
    assert_eq!(fork.has("theirs", "origin/first"), Some(first));
}

/// The output of git, without the one line that plain git would not print, and without addresses.
fn plainly(fork: &Fork, text: &str) -> String {
    let lines = text.lines();
    let lines = lines.filter(|line| !line.contains("is local to this mirror"));
    let text = lines.collect::<Vec<_>>().join("\n");
    text.replace("mirror::fork", "URL")
        .replace(&fork.gitlab.url("group/plain"), "URL")
}

#[test]
fn git_says_the_same_of_a_local_branch_as_of_any_other() {
    let fork = Fork::new();
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
