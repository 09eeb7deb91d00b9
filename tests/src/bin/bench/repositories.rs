//! The repositories that the work is done on: three made from a seed and kept for the next run, or those of the person.

use std::{
    fmt::Write as _,
    fs,
    io::{self, BufWriter},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tests::Project;

use crate::history::{self, Shape, Start};

/// Other repositories are made when this changes.
const VERSION: u32 = 2;

const SEED: u64 = 7;

/// The time of a made history's beginning, 2015-01-01.
const BEGINNING: u64 = 1_420_070_400;

/// A pack of more than this makes a repository a large one.
const LARGE: u64 = 50 * 1024 * 1024;

/// So many refs are many.
const MANY_REFS: usize = 10_000;

/// What a repository is hard for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Small,
    Large,
    ManyRefs,
}

/// Where a repository comes from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Made(Kind),
    Theirs(PathBuf),
}

impl Source {
    /// Returns what it is called in the report, and in a URL.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Made(Kind::Small) => "small".to_owned(),
            Self::Made(Kind::Large) => "large".to_owned(),
            Self::Made(Kind::ManyRefs) => "refs".to_owned(),
            Self::Theirs(path) => {
                let name = path.canonicalize().unwrap_or_else(|_| path.clone());
                let name = name.file_stem().unwrap_or_default().to_string_lossy();
                let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
                name.trim_start_matches('.').chars().map(plain).collect()
            }
        }
    }

    /// Fills an empty project with it; made ones are kept below `kept`.
    pub(crate) fn fill(&self, project: &Project, kept: &Path) -> io::Result<()> {
        match self {
            Self::Made(kind) => {
                let made = kept.join(format!("{}-v{VERSION}-{SEED}.git", self.name()));
                if !made.exists() {
                    make(*kind, &made)?;
                }
                copy(&made, project.dir())
            }
            Self::Theirs(path) => {
                let refs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
                let path = path.canonicalize()?;
                let head = git(&path, ["symbolic-ref", "-q", "HEAD"]).output()?.stdout;
                done(
                    git(project.dir(), ["fetch", "--quiet"])
                        .arg(path)
                        .args(refs),
                )?;
                let head = String::from_utf8_lossy(&head);
                if !head.trim().is_empty() {
                    done(&mut git(
                        project.dir(),
                        ["symbolic-ref", "HEAD", head.trim()],
                    ))?;
                }
                keep_house(project.dir())
            }
        }
    }
}

/// Tells what a repository is hard for.
pub(crate) fn kind(dir: &Path) -> io::Result<Kind> {
    let refs = git(dir, ["for-each-ref", "--format="]).output()?.stdout;
    let packs = fs::read_dir(dir.join("objects/pack"))?;
    let size: u64 = packs
        .map(|pack| Ok(pack?.metadata()?.len()))
        .sum::<io::Result<_>>()?;
    let refs = refs.iter().filter(|byte| **byte == b'\n').count();
    Ok(match () {
        () if refs >= MANY_REFS => Kind::ManyRefs,
        () if size >= LARGE => Kind::Large,
        () => Kind::Small,
    })
}

/// Adds so many commits to the branch that HEAD names, in files of their own: upstream moves on.
pub(crate) fn advance(project: &Project, commits: usize, time: usize) -> io::Result<()> {
    let text = |args: &[&str]| -> io::Result<String> {
        let output = git(project.dir(), args).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let time_of_tip = text(&["log", "-1", "--format=%ct"])?;
    let start = Start {
        branch: text(&["symbolic-ref", "HEAD"])?,
        parent: Some(text(&["rev-parse", "HEAD"])?),
        time: time_of_tip.parse().map_err(io::Error::other)?,
    };
    let shape = Shape {
        seed: SEED + 1000 + time as u64,
        below: format!("later/{time}/"),
        commits,
        files: (commits / 50).clamp(2, 200),
        files_in_directory: 10,
        lines: 50..150,
        changed: 1..12,
        table_one_in: 10,
        tag_each: None,
        branch_each: None,
    };
    import(project.dir(), &shape, &start)
}

fn shape(kind: Kind) -> Shape {
    let small = Shape {
        seed: SEED,
        below: String::new(),
        commits: 2_500,
        files: 300,
        files_in_directory: 12,
        lines: 60..600,
        changed: 1..24,
        table_one_in: 7,
        tag_each: Some(10),
        branch_each: Some(70),
    };
    match kind {
        Kind::Small => small,
        Kind::Large => Shape {
            commits: 90_000,
            files: 5_000,
            files_in_directory: 40,
            changed: 1..140,
            table_one_in: 8,
            tag_each: Some(80),
            branch_each: Some(500),
            ..small
        },
        Kind::ManyRefs => Shape {
            commits: 50_000,
            lines: 10..60,
            changed: 1..4,
            table_one_in: 50,
            tag_each: None,
            branch_each: None,
            ..small
        },
    }
}

/// Makes a repository beside its place, and then puts it there: one that is there is whole.
fn make(kind: Kind, place: &Path) -> io::Result<()> {
    let beside = place.with_extension("new");
    if beside.exists() {
        fs::remove_dir_all(&beside)?;
    }
    fs::create_dir_all(&beside)?;
    let init = ["init", "--quiet", "--bare", "--template=", "-b", "main"];
    done(&mut git(&beside, init))?;
    let start = Start {
        branch: "refs/heads/main".to_owned(),
        parent: None,
        time: BEGINNING,
    };
    import(&beside, &shape(kind), &start)?;
    done(&mut git(&beside, ["pack-refs", "--all"]))?;
    if kind == Kind::ManyRefs {
        branch_at_each_commit(&beside)?;
    }
    keep_house(&beside)?;
    fs::rename(&beside, place)
}

fn import(dir: &Path, shape: &Shape, start: &Start) -> io::Result<()> {
    let mut import = git(dir, ["fast-import", "--quiet", "--done"]);
    let mut child = import.stdin(Stdio::piped()).spawn()?;
    let stdin = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let written = history::write(shape, start, &mut BufWriter::with_capacity(1 << 16, stdin));
    if child.wait()?.success() {
        written
    } else {
        Err(io::Error::other("git fast-import has failed"))
    }
}

/// Writes the file of packed refs: git would first make a file of each.
fn branch_at_each_commit(dir: &Path) -> io::Result<()> {
    let commits = git(dir, ["rev-list", "--reverse", "main"]).output()?.stdout;
    let commits = String::from_utf8_lossy(&commits);
    let mut text = String::from("# pack-refs with: peeled fully-peeled sorted \n");
    for (number, commit) in commits.lines().enumerate() {
        // A string takes all.
        let _ = writeln!(text, "{commit} refs/heads/each/{number:06}");
    }
    if let Some(tip) = commits.lines().last() {
        let _ = writeln!(text, "{tip} refs/heads/main");
    }
    fs::write(dir.join("packed-refs"), text)
}

/// Does what GitLab does to a repository now and then: one pack with a bitmap, and a commit-graph.
fn keep_house(dir: &Path) -> io::Result<()> {
    done(&mut git(dir, ["repack", "-adq", "--write-bitmap-index"]))?;
    done(&mut git(dir, ["commit-graph", "write", "--reachable"]))?;
    done(&mut git(dir, ["pack-refs", "--all"]))
}

/// Copies objects and refs; the configuration stays as the project's is.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (name, from) = (entry.file_name(), entry.path());
        let to = to.join(&name);
        if from.is_dir() {
            fs::create_dir_all(&to)?;
            copy(&from, &to)?;
        } else if name != "config" {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}

/// Prepares git on a repository, away from any configuration; it may take as long as it likes.
pub(crate) fn git<'a>(dir: &Path, args: impl AsRef<[&'a str]>) -> Command {
    let mut git = Command::new("git");
    git.arg("-C")
        .arg(dir)
        .args(args.as_ref())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TEST_FSYNC", "0")
        .env("LC_ALL", "C")
        .stdin(Stdio::null());
    git
}

/// Runs a command; an error if it fails.
pub(crate) fn done(command: &mut Command) -> io::Result<()> {
    if command.status()?.success() {
        return Ok(());
    }
    let args = command.get_args().map(|arg| arg.to_string_lossy());
    let line = args.collect::<Vec<_>>().join(" ");
    Err(io::Error::other(format!("'git {line}' has failed")))
}
