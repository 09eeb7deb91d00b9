//! Brings a repository that has objects up to date. Links the packs of past syncs, if the repository has all
//! that those packs build on; otherwise writes a pack.

use std::{
    collections::HashSet,
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

use super::{link, pack_objects};
use crate::wants::{self, Wants};

/// The objects that the refs of the client's repository name. git sees to it that everything below them is there, too.
/// A child reads them while git chooses what it wants.
pub(crate) struct LocalTips {
    child: Option<(Child, ChildLog)>,
    /// Objects in hexadecimal.
    objects: HashSet<Vec<u8>>,
}

impl LocalTips {
    /// Begins to read the refs.
    pub(crate) fn begin() -> Self {
        let mut git = git::of_user();
        git.args(["for-each-ref", "--format=%(objectname)"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let log = ChildLog::begin(&git);
        Self {
            child: git.spawn().ok().map(|git| (git, log)),
            objects: HashSet::new(),
        }
    }

    /// Waits for the child, and returns all objects.
    fn objects(&mut self) -> io::Result<&HashSet<Vec<u8>>> {
        if let Some((mut git, log)) = self.child.take() {
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
            self.objects.extend(lines.map(<[u8]>::to_vec));
        }
        Ok(&self.objects)
    }

    /// Adds objects that have just been fetched.
    pub(crate) fn add(&mut self, wants: &Wants) {
        self.objects.extend(wants.iter().cloned());
    }
}

impl Drop for LocalTips {
    fn drop(&mut self) {
        if let Some((git, _)) = &mut self.child {
            let _ = git.kill();
            let _ = git.wait();
        }
    }
}

/// What brings a repository up to date, and how.
pub(crate) struct CatchUp<'a> {
    /// The mirror's bare repository.
    pub mirror: &'a Path,
    /// The object directory of the client's repository.
    pub objects: &'a Path,
    /// The mirror's records of what upstream has.
    pub records: State<'a>,
    /// How files get from the mirror into the object directory.
    pub link: Link,
    /// Whether git shows its progress.
    pub progress: bool,
}

impl CatchUp<'_> {
    /// Brings the wanted objects into a repository with these tips.
    ///
    /// # Errors
    /// Fails when the packs cannot be read or written.
    pub(crate) fn run(self, tips: &mut LocalTips, wants: &Wants) -> io::Result<()> {
        let tips = tips.objects()?;
        let tips: HashSet<&[u8]> = tips.iter().map(|tip| &**tip).collect();
        let steps = Steps::read(self.mirror)?;
        if let Some(packs) = steps.plan(self.records, &tips, wants)
            && link::link_some(self.mirror, self.objects, &packs, self.link).is_ok()
        {
            return Ok(());
        }
        // `pack-objects` reads the client's object directory, too, so it knows tips that the mirror does not have.
        let mut lines = wants::lines(wants);
        for tip in &tips {
            lines.extend_from_slice(&[b"^", *tip, b"\n"].concat());
        }
        let args = ["pack-objects", "--revs", "--non-empty"];
        pack_objects::run(self.mirror, self.objects, &args, &lines, self.progress).map(drop)
    }
}
