//! Gives a repository in which there is nothing a part of a mirror: so much history, without such objects, one branch.
//! The pack of it is made once, by whoever is the first to want it, and handed to all who want the same.

use std::{
    collections::{BTreeSet, HashSet},
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
};

use crate::fetch::{link, local_repo::LocalRepo, pack_objects, refs::Refs};

/// Gives it. Returns the path of the pack, without an ending.
pub(crate) fn give(
    mirror: &Path,
    place: &LocalRepo,
    part: &Part<'_>,
    mode: Link,
    progress: bool,
) -> io::Result<PathBuf> {
    let mut is_told = !progress;
    let mut waits = || {
        if !std::mem::replace(&mut is_told, true) {
            tell("waiting for another clone of the same part");
        }
    };
    let held = DerivedLock::shared(mirror, part, &mut waits)?;
    if let Some(found) = find(&held)? {
        return hand(&held, &found, place, part, mode);
    }
    drop(held);
    let held = DerivedLock::alone(mirror, part, &mut waits)?;
    let derived = match find(&held)? {
        // Somebody was quicker.
        Some(found) => found,
        None => make(mirror, &held, part, progress)?,
    };
    let path = hand(&held, &derived, place, part, mode)?;
    // What does not work here the daemon does one day.
    let _ = derived::trim(mirror, SystemTime::now());
    Ok(path)
}

/// What was made of a part, unless somebody has written into it since: then it is made again.
fn find(held: &DerivedLock) -> io::Result<Option<Derived>> {
    match held.find() {
        Err(err) if NotVerified::is(&err) => Ok(None),
        found => found,
    }
}

/// Hands a pack to a repository, with what git must know of it.
fn hand(
    held: &DerivedLock,
    derived: &Derived,
    place: &LocalRepo,
    part: &Part<'_>,
    mode: Link,
) -> io::Result<PathBuf> {
    let objects = place.objects();
    let pack = &derived.pack;
    let promisor = part.filter.map(|_| {
        let lines = part.wants.iter().flat_map(|want| [&**want, b"\n"]);
        lines.collect::<Vec<_>>().concat()
    });
    link::link_derived(held, pack, promisor.as_deref(), objects, mode)?;
    if !derived.shallow.is_empty() {
        // Without it, nothing refers to the pack either, and git removes that one day.
        place.end_history(&derived.shallow)?;
    }
    Ok(objects.join("pack").join(&pack.name))
}

/// Makes the pack of a part, as git's own server would put it together.
fn make(mirror: &Path, held: &DerivedLock, part: &Part<'_>, progress: bool) -> io::Result<Derived> {
    let ends = match part.depth {
        Some(depth) => ends(mirror, part.wants, depth)?,
        None => Vec::new(),
    };
    let filter = part.filter.map(|filter| format!("--filter={filter}"));
    let mut command = match part.depth {
        Some(_) => vec!["--shallow-file", "", "pack-objects", "--shallow"],
        None => vec!["pack-objects", "--use-bitmap-index"],
    };
    // The deltas that the mirror has are taken over. Whoever looks for new ones takes as long again, to make a file
    // smaller that goes through no line.
    command.extend(["--revs", "--window=0"]);
    command.extend(part.tags.as_ref().map(|_| "--include-tag"));
    command.extend(filter.as_deref());
    let mut lines = Vec::new();
    for commit in &ends {
        lines.extend_from_slice(format!("--shallow {commit}\n").as_bytes());
    }
    for want in part.wants {
        lines.extend_from_slice(want);
        lines.push(b'\n');
    }
    let made = pack_objects::run(mirror, held.clear()?, &command, &lines, progress)?;
    let name = made.ok_or_else(|| io::Error::other("nothing is in that part"))?;
    // git has looked at the tags that there are by now.
    let refs = Refs::read(mirror)?;
    let now = refs.as_ref().map(|refs| refs.tags().collect());
    if part.tags.is_some() && part.tags != now {
        return Err(io::Error::other("a tag has come or gone meanwhile"));
    }
    held.note(&name, ends)
}

/// The commits at which a history of this depth ends: those to which no shorter way leads from what is wanted.
fn ends(mirror: &Path, wants: &BTreeSet<Vec<u8>>, depth: u32) -> io::Result<Vec<String>> {
    let mut commits = Commits::of(mirror)?;
    let mut level: Vec<String> = Vec::new();
    let mut seen = HashSet::new();
    for want in wants {
        let want = String::from_utf8_lossy(want);
        // What a tag points to may be no commit, and has no history then.
        if let Some((name, _)) = commits.read(&format!("{want}^{{commit}}"))?
            && seen.insert(name.clone())
        {
            level.push(name);
        }
    }
    for _ in 1..depth {
        if level.is_empty() {
            break;
        }
        let mut next = Vec::new();
        for commit in &level {
            let Some((_, parents)) = commits.read(commit)? else {
                return Err(io::Error::other("a commit is missing"));
            };
            next.extend(
                parents
                    .into_iter()
                    .filter(|parent| seen.insert(parent.clone())),
            );
        }
        level = next;
    }
    Ok(level)
}

/// The commits of a mirror, as `git cat-file --batch` tells them.
struct Commits {
    git: Child,
    log: Option<ChildLog>,
    ask: ChildStdin,
    hear: BufReader<ChildStdout>,
}

impl Commits {
    fn of(mirror: &Path) -> io::Result<Self> {
        let mut git = git::at(mirror);
        git.args(["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let log = Some(ChildLog::begin(&git));
        let mut git = git.spawn()?;
        let ends = git.stdin.take().zip(git.stdout.take());
        let (ask, hear) = ends.ok_or(io::ErrorKind::BrokenPipe)?;
        let hear = BufReader::new(hear);
        Ok(Self {
            git,
            log,
            ask,
            hear,
        })
    }

    /// Which commit that is, and its parents.
    fn read(&mut self, name: &str) -> io::Result<Option<(String, Vec<String>)>> {
        writeln!(self.ask, "{name}")?;
        let mut header = String::new();
        self.hear.read_line(&mut header)?;
        let words: Vec<&str> = header.trim_end().split(' ').collect();
        let [commit, "commit", length] = words.as_slice() else {
            return match words.last() {
                Some(&"missing") => Ok(None),
                _ => Err(io::ErrorKind::InvalidData.into()),
            };
        };
        let length: usize = length.parse().map_err(|_| io::ErrorKind::InvalidData)?;
        let mut text = Vec::new();
        // With the end of the line that follows it.
        let whole = length as u64 + 1;
        (&mut self.hear).take(whole).read_to_end(&mut text)?;
        let lines = text.split(|byte| *byte == b'\n');
        let head = lines.take_while(|line| !line.is_empty());
        let parents = head.filter_map(|line| line.strip_prefix(b"parent "));
        let parents = parents.map(|name| String::from_utf8_lossy(name).into_owned());
        Ok(Some(((*commit).to_owned(), parents.collect())))
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
