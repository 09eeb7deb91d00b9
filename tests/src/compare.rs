//! Comparison of a clone through the mirror with a clone that plain git makes of the upstream.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{Ran, World};

/// The number of differing lines that are shown.
const MAX_LINES: usize = 60;

/// The git commands that must print the same in both clones, each with the rule that it checks.
const QUESTIONS: [(&str, &[&str]); 6] = [
    (
        "a clone has the same refs as a plain one",
        &[
            "for-each-ref",
            "--format=%(refname) %(objectname) %(symref)",
        ],
    ),
    (
        "a clone's HEAD is what a plain one's is",
        &["symbolic-ref", "-q", "HEAD"],
    ),
    (
        "a clone has the same commit at HEAD",
        &["rev-parse", "-q", "--verify", "HEAD"],
    ),
    (
        "a clone has the same objects as a plain one, and lacks the same",
        &[
            "rev-list",
            "--objects",
            "--all",
            "--no-object-names",
            "--missing=print",
        ],
    ),
    (
        "a clone ends where a plain one ends",
        &["rev-parse", "--is-shallow-repository"],
    ),
    (
        "a clone has the same files checked out",
        &["status", "--porcelain"],
    ),
];

/// Asserts that a clone made through the mirror cannot be told from a plain one.
#[track_caller]
pub fn same_clone(world: &World, mirror_clone: &Path, plain_clone: &Path) {
    let lines = |dir: &Path, args: &[&str]| -> Vec<String> {
        // What fails in a plain clone, such as HEAD of an empty one, fails here alike.
        let ran = world.git(args).at(dir).run();
        let mut lines: Vec<_> = ran.stdout.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    for (rule, args) in QUESTIONS {
        let (ours, plain) = (lines(mirror_clone, args), lines(plain_clone, args));
        assert!(
            ours == plain,
            "{rule}; git {}, '-' only through the mirror, '+' only in the plain clone:\n{}",
            args.join(" "),
            difference(&ours, &plain)
        );
    }
    let ends = |dir: &Path| {
        let path = world.git(["rev-parse", "--git-path", "shallow"]).at(dir);
        let text = fs::read_to_string(dir.join(path.ok().line())).unwrap_or_default();
        text.lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let (ours, plain) = (ends(mirror_clone), ends(plain_clone));
    assert_eq!(
        ours, plain,
        "a clone ends at the same commits as a plain one"
    );
    let fsck = world
        .git(["fsck", "--full", "--strict", "--no-dangling"])
        .at(mirror_clone)
        .run();
    assert!(
        fsck.status.success(),
        "git fsck finds no fault in a clone:\n{fsck}"
    );
}

/// Returns every ref of a repository with its object id, sorted by name.
#[track_caller]
pub fn refs(world: &World, dir: &Path) -> Vec<(String, String)> {
    let listed = world
        .git(["for-each-ref", "--format=%(refname) %(objectname)"])
        .at(dir)
        .ok();
    let pair = |line: &str| {
        line.split_once(' ')
            .map(|(name, id)| (name.into(), id.into()))
    };
    listed.stdout.lines().filter_map(pair).collect()
}

/// Returns the refs of a mirror that its clients see.
#[track_caller]
pub fn public_refs(world: &World, mirror: &Path) -> Vec<(String, String)> {
    let mut refs = refs(world, mirror);
    let ours = ["refs/upstream/", "refs/mirror/"];
    refs.retain(|(name, _)| !ours.iter().any(|space| name.starts_with(space)));
    refs
}

/// Lists the lines that only one side has.
fn difference(ours: &[String], plain: &[String]) -> String {
    let of = |lines: &[String]| lines.iter().cloned().collect::<BTreeSet<_>>();
    let (ours, plain) = (of(ours), of(plain));
    let only_ours = ours.difference(&plain).map(|line| format!("- {line}\n"));
    let only_plain = plain.difference(&ours).map(|line| format!("+ {line}\n"));
    only_ours.chain(only_plain).take(MAX_LINES).collect()
}

/// Two repositories that are told the same, one through the mirror and one by plain git.
///
/// The arguments are those of the mirror's side; plain git gets them without `mirror::`.
#[derive(Debug)]
pub struct Twins<'w> {
    world: &'w World,
    ours: PathBuf,
    plain: PathBuf,
}

impl World {
    /// Makes two repositories, by `git init` or `git clone`; the directory is added.
    #[track_caller]
    pub fn twins(&self, args: &[&str]) -> Twins<'_> {
        let mut numbers = 1..;
        let free = |at: &usize| !self.path(format!("ours{at}")).exists();
        let at = numbers.find(free).expect("there is always a next number");
        let dir = |side: &str| {
            let dir = self.path(format!("{side}{at}"));
            fs::create_dir(&dir).expect("the world is ours");
            dir.join("repo")
        };
        let twins = Twins {
            world: self,
            ours: dir("ours"),
            plain: dir("plain"),
        };
        self.git(args).arg(&twins.ours).ok();
        self.git(plainly(args)).arg(&twins.plain).ok();
        twins
    }

    /// Clones through the mirror and by plain git with the same options, and asserts that
    /// nobody can tell which is which.
    #[track_caller]
    pub fn clone_twins(&self, url: &str, options: &[&str]) -> Twins<'_> {
        let address = format!("mirror::{url}");
        let twins = self.twins(&[&["clone", "-q"], options, &[&address]].concat());
        twins.same();
        twins
    }
}

impl Twins<'_> {
    /// Returns the one that knows the mirror.
    pub fn ours(&self) -> &Path {
        &self.ours
    }

    /// Returns the one that does not.
    pub fn plain(&self) -> &Path {
        &self.plain
    }

    /// Runs git in both and asserts that it prints the same and exits alike; returns what it
    /// printed in ours.
    #[track_caller]
    pub fn git(&self, args: &[&str]) -> Ran {
        let ours = self.world.git(args).at(&self.ours).run();
        let plain = self.world.git(plainly(args)).at(&self.plain).run();
        let same = [(&ours.stdout, &plain.stdout), (&ours.stderr, &plain.stderr)]
            .into_iter()
            .all(|(ours, plain)| self.unmarked(ours) == self.unmarked(plain));
        assert!(
            same && ours.status.code() == plain.status.code(),
            "git says the same through the mirror:\n{ours}\n{plain}"
        );
        ours
    }

    /// Asserts that nobody can tell which is which; that includes what git has configured.
    #[track_caller]
    pub fn same(&self) {
        same_clone(self.world, &self.ours, &self.plain);
        self.git(&["config", "--local", "--list"]);
    }

    /// Drops from a text what may differ.
    fn unmarked(&self, text: &str) -> String {
        let name = |dir: &Path| dir.to_string_lossy().into_owned();
        let same = text
            .replace(&name(&self.plain), &name(&self.ours))
            .replace("mirror::", "");
        // Set for large files, where plain git-lfs finds the address by itself.
        let kept = same.lines().filter(|line| !line.contains(".lfsurl="));
        kept.collect::<Vec<_>>().join("\n")
    }
}

fn plainly(args: &[&str]) -> Vec<String> {
    let plain = args.iter().map(|word| word.replace("mirror::", ""));
    plain.collect()
}
