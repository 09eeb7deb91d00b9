//! Links a part of a mirror into a repository without objects: what a depth, a filter or a single branch leaves of it. The
//! first clone of a part makes its pack, a derived pack. The mirror keeps that, and the next clones of the same part link it.

use std::{
    collections::HashSet,
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Stdio},
    time::SystemTime,
};

use common::{
    git::{self, child_log::ChildLog},
    packs::{
        derived::{self, Derived, DerivedLock, Part},
        link::Link,
        verified::NotVerified,
    },
    progress::tell,
    refspec::OnDemand,
};

use super::{link::link_derived, pack_objects, refs::Refs};
use crate::{
    local_repo::LocalRepo,
    wants::{self, Wants},
};

/// Links the pack of a part, which is made first where nobody has made it. `wanted` has the wanted objects and their names,
/// one a line. Returns the path of the pack, without an ending.
pub(crate) fn link(
    mirror: &Path,
    local_repo: &LocalRepo,
    part: &Part<'_>,
    wanted: &[u8],
    link: Link,
    progress: bool,
) -> io::Result<PathBuf> {
    let mut is_told = !progress;
    let mut on_wait = || {
        if !std::mem::replace(&mut is_told, true) {
            tell("waiting for another clone of the same part");
        }
    };
    let lock = DerivedLock::shared(mirror, part, &mut on_wait)?;
    if let Some(derived) = find(&lock)? {
        return link_found(&lock, &derived, local_repo, part, wanted, link, progress);
    }
    drop(lock);
    let lock = DerivedLock::exclusive(mirror, part, &mut on_wait)?;
    let derived = match find(&lock)? {
        // Another clone has made it between the two locks.
        Some(derived) => derived,
        None => make(mirror, &lock, part, progress)?,
    };
    let path = link_found(&lock, &derived, local_repo, part, wanted, link, progress)?;
    // The daemon trims what this process cannot.
    let _ = derived::trim(mirror, SystemTime::now());
    Ok(path)
}

/// Finds the pack of a part; None where there is none, or somebody has written into it since it was made.
fn find(lock: &DerivedLock) -> io::Result<Option<Derived>> {
    match lock.find() {
        Err(err) if NotVerified::is(&err) => Ok(None),
        found => found,
    }
}

/// Links a derived pack, with the files by which git knows what is missing.
fn link_found(
    lock: &DerivedLock,
    derived: &Derived,
    local_repo: &LocalRepo,
    part: &Part<'_>,
    wanted: &[u8],
    link: Link,
    progress: bool,
) -> io::Result<PathBuf> {
    let objects = local_repo.objects();
    let pack = &derived.pack;
    // git writes these lines into it, too, for those who look for a reason (`create_promisor_file()` in its fetch-pack.c).
    let promisor = part.filter.map(|_| wanted);
    link_derived(lock, pack, promisor, objects, link, progress)?;
    if !derived.shallow.is_empty() {
        // Where this fails, nothing refers to the pack, and `git gc` removes it one day.
        local_repo.write_shallow(&derived.shallow)?;
    }
    Ok(objects.join("pack").join(&pack.name))
}

/// Makes the pack of a part, as git's own server would put it together.
fn make(mirror: &Path, lock: &DerivedLock, part: &Part<'_>, progress: bool) -> io::Result<Derived> {
    let shallow = match part.depth {
        Some(depth) => find_shallow(mirror, part.wants, depth)?,
        None => Vec::new(),
    };
    let filter = part.filter.map(|filter| format!("--filter={filter}"));
    let mut args = match part.depth {
        Some(_) => vec!["--shallow-file", "", "pack-objects", "--shallow"],
        None => vec!["pack-objects", "--use-bitmap-index"],
    };
    // The mirror's deltas are taken over. Looking for new ones takes as long again, for a smaller file that no network
    // has to carry.
    args.extend(["--revs", "--window=0"]);
    args.extend(part.tags.as_ref().map(|_| "--include-tag"));
    args.extend(filter.as_deref());
    let mut lines = Vec::new();
    for commit in &shallow {
        lines.extend_from_slice(format!("--shallow {commit}\n").as_bytes());
    }
    lines.extend(wants::lines(part.wants));
    let name = pack_objects::run(mirror, lock.clear()?, &args, &lines, progress)?;
    let name = name.ok_or_else(|| io::Error::other("nothing is in that part"))?;
    // `--include-tag` has looked at the tags that the mirror has by now.
    let refs = Refs::read(mirror, &OnDemand::default())?;
    let now = refs.as_ref().map(|refs| refs.tags().collect());
    if part.tags.is_some() && part.tags != now {
        return Err(io::Error::other("a tag has come or gone meanwhile"));
    }
    lock.record(&name, shallow)
}

/// Finds the commits at which a history of this depth ends: those to which no shorter way leads from a wanted object.
fn find_shallow(mirror: &Path, wants: &Wants, depth: u32) -> io::Result<Vec<String>> {
    let mut commits = Commits::open(mirror)?;
    let mut level: Vec<String> = Vec::new();
    let mut known = HashSet::new();
    for want in wants {
        let want = String::from_utf8_lossy(want);
        // A tag may point to something else than a commit, which has no history.
        if let Some(commit) = commits.read(&format!("{want}^{{commit}}"))?
            && known.insert(commit.name.clone())
        {
            level.push(commit.name);
        }
    }
    for _ in 1..depth {
        if level.is_empty() {
            break;
        }
        let mut next = Vec::new();
        for name in &level {
            let Some(commit) = commits.read(name)? else {
                return Err(io::Error::other("a commit is missing"));
            };
            let parents = commit.parents.into_iter();
            next.extend(parents.filter(|parent| known.insert(parent.clone())));
        }
        level = next;
    }
    Ok(level)
}

/// A commit, and its parents: names in hexadecimal.
struct Commit {
    name: String,
    parents: Vec<String>,
}

/// The commits of a mirror, read by a `git cat-file --batch`.
struct Commits {
    git: Child,
    log: Option<ChildLog>,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Commits {
    fn open(mirror: &Path) -> io::Result<Self> {
        let mut git = git::at(mirror);
        git.args(["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let log = Some(ChildLog::begin(&git));
        let mut git = git.spawn()?;
        let pipes = git.stdin.take().zip(git.stdout.take());
        let (stdin, stdout) = pipes.ok_or(io::ErrorKind::BrokenPipe)?;
        let stdout = BufReader::new(stdout);
        Ok(Self {
            git,
            log,
            stdin,
            stdout,
        })
    }

    /// Reads a commit; None where nothing is found under the name.
    fn read(&mut self, name: &str) -> io::Result<Option<Commit>> {
        writeln!(self.stdin, "{name}")?;
        let mut header = String::new();
        self.stdout.read_line(&mut header)?;
        let fields: Vec<&str> = header.trim_end().split(' ').collect();
        let [name, "commit", length] = fields.as_slice() else {
            return match fields.last() {
                Some(&"missing") => Ok(None),
                _ => Err(io::ErrorKind::InvalidData.into()),
            };
        };
        let length: usize = length.parse().map_err(|_| io::ErrorKind::InvalidData)?;
        let mut text = Vec::new();
        // git ends the object with a newline of its own.
        let whole = length as u64 + 1;
        (&mut self.stdout).take(whole).read_to_end(&mut text)?;
        let lines = text.split(|byte| *byte == b'\n');
        let head = lines.take_while(|line| !line.is_empty());
        let parents = head.filter_map(|line| line.strip_prefix(b"parent "));
        let parents = parents.map(|parent| String::from_utf8_lossy(parent).into_owned());
        Ok(Some(Commit {
            name: (*name).to_owned(),
            parents: parents.collect(),
        }))
    }
}

impl Drop for Commits {
    fn drop(&mut self) {
        let _ = self.git.kill();
        if let (Ok(status), Some(log)) = (self.git.wait(), self.log.take()) {
            log.ended(status);
        }
    }
}
