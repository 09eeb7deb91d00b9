//! Gives a repository that has something already what it lacks: the packs of the mirror's own syncs, where it has all
//! that they were added to, or else one that is made for it.

use std::{
    collections::{BTreeSet, HashSet},
    io::{self, Read},
    path::Path,
    process::{Child, Stdio},
};

use common::{
    git::{self, child_log::ChildLog},
    packs::{
        link::Link,
        steps::{State, Steps},
    },
};

use crate::fetch::{link, pack_objects};

/// What the refs of the repository name: git sees to it that all which that needs is there, too. It is read while git
/// finds out what it wants.
pub(crate) struct Tips {
    reading: Option<(Child, ChildLog)>,
    /// Objects in hexadecimal.
    known: HashSet<Vec<u8>>,
}

impl Tips {
    /// Begins to read them.
    pub(crate) fn begin() -> Self {
        let mut git = git::of_user();
        git.args(["for-each-ref", "--format=%(objectname)"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let log = ChildLog::begin(&git);
        Self {
            reading: git.spawn().ok().map(|git| (git, log)),
            known: HashSet::new(),
        }
    }

    /// All of them.
    fn all(&mut self) -> io::Result<&HashSet<Vec<u8>>> {
        if let Some((mut git, log)) = self.reading.take() {
            let mut text = Vec::new();
            if let Some(stdout) = &mut git.stdout {
                stdout.read_to_end(&mut text)?;
            }
            let status = git.wait()?;
            log.ended(status);
            if !status.success() {
                return Err(io::Error::other("git cannot read the refs"));
            }
            let lines = text.split(|byte| *byte == b'\n');
            let lines = lines.filter(|line| !line.is_empty());
            self.known.extend(lines.map(<[u8]>::to_vec));
        }
        Ok(&self.known)
    }

    /// What has just been brought is there as well.
    pub(crate) fn add(&mut self, wants: &BTreeSet<Vec<u8>>) {
        self.known.extend(wants.iter().cloned());
    }
}

impl Drop for Tips {
    fn drop(&mut self) {
        if let Some((git, _)) = &mut self.reading {
            let _ = git.kill();
            let _ = git.wait();
        }
    }
}

/// Brings what is wanted from a mirror into an object directory, where all is that these tips need. What is recorded of
/// upstream is `records`.
pub(crate) fn bring(
    mirror: &Path,
    objects: &Path,
    records: State<'_>,
    tips: &mut Tips,
    wants: &BTreeSet<Vec<u8>>,
    (mode, progress): (Link, bool),
) -> io::Result<()> {
    let tips = tips.all()?;
    let has: HashSet<&[u8]> = tips.iter().map(|tip| &**tip).collect();
    let steps = Steps::read(mirror)?;
    if let Some(packs) = steps.plan(records, &has, wants)
        && link::link_some(mirror, objects, &packs, mode).is_ok()
    {
        return Ok(());
    }
    write_exact(mirror, objects, &has, wants, progress)
}

/// Writes a pack of what is wanted and not there.
fn write_exact(
    mirror: &Path,
    objects: &Path,
    has: &HashSet<&[u8]>,
    wants: &BTreeSet<Vec<u8>>,
    progress: bool,
) -> io::Result<()> {
    let mut lines = wants
        .iter()
        .flat_map(|want| [&**want, b"\n"])
        .collect::<Vec<_>>();
    lines.extend(has.iter().flat_map(|tip| [b"^", *tip, b"\n"]));
    // What both have is seen there: what is there already needs nothing of the mirror.
    let command = ["pack-objects", "--revs", "--non-empty"];
    pack_objects::run(mirror, objects, &command, &lines.concat(), progress).map(drop)
}
