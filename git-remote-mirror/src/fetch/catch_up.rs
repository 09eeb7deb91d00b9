//! Brings a repository that has objects up to date. Takes the packs of past syncs, if the repository has all
//! that those packs build on; otherwise writes a pack. Large packs are linked, and the objects of small ones unpacked.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, Read},
    path::Path,
    process::{self, Child, Stdio},
};

use common::{
    git::{self, child_log::ChildLog},
    packs::{
        link::Link,
        steps::{State, Steps},
    },
};

use super::{link, pack_objects, unpack};
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
    pub records: &'a State<'a>,
    /// How files get from the mirror into the object directory.
    pub link: Link,
    /// The number of objects from which on a pack is kept as one.
    pub unpack_limit: u32,
    /// Whether git shows its progress.
    pub progress: bool,
}

impl CatchUp<'_> {
    /// Brings the wanted objects into a repository with these tips.
    ///
    /// # Errors
    /// Fails when the packs cannot be read or written.
    pub(crate) fn run(&self, tips: &mut LocalTips, wants: &Wants) -> io::Result<()> {
        let tips = tips.objects()?;
        let tips: HashSet<&[u8]> = tips.iter().map(|tip| &**tip).collect();
        let steps = Steps::read(self.mirror)?;
        if let Some(packs) = steps.plan(self.records.clone(), &tips, wants)
            && self.take(&packs).is_ok()
        {
            return Ok(());
        }
        // `pack-objects` reads the client's object directory, too, so it knows tips that the mirror does not have.
        let mut lines = wants::lines(wants);
        for tip in &tips {
            lines.extend_from_slice(&[b"^", *tip, b"\n"].concat());
        }
        self.write(&["pack-objects", "--revs", "--non-empty"], &lines)
    }

    /// Brings the packs of syncs, of these names, the last one first.
    fn take(&self, names: &[&str]) -> io::Result<()> {
        let (mut large, mut small) = (Vec::new(), Vec::new());
        let mut small_objects: u32 = 0;
        for pack in link::find(self.mirror, names)?.into_iter().rev() {
            let file = link::open(self.mirror, &pack)?;
            match unpack::count(&file)? {
                count if count < self.unpack_limit => {
                    small_objects = small_objects.saturating_add(count);
                    small.push((pack.name, file));
                }
                _ => large.push(pack),
            }
        }
        link::link_some(self.mirror, self.objects, &large, self.link, self.progress)?;
        if small.is_empty() || small_objects < self.unpack_limit {
            let mut files = small.into_iter().map(|(_, file)| file);
            return files.try_for_each(|file| unpack::run(file, self.progress));
        }
        // git would have got one pack of all these.
        let names = small.iter().map(|(name, _)| format!("{name}.pack\n"));
        let names: String = names.collect();
        self.write(&["pack-objects", "--stdin-packs"], names.as_bytes())
    }

    /// Writes a pack into the repository, or unpacks it there.
    fn write(&self, args: &[&str], lines: &[u8]) -> io::Result<()> {
        let Self {
            mirror, objects, ..
        } = *self;
        // git finds no pack here, and `git gc` removes what is left of one.
        let stem = format!("tmp_mirror_{}", process::id());
        let written = pack_objects::write(mirror, objects, &stem, args, lines, self.progress)?;
        let Some(hash) = written else {
            return Ok(());
        };
        let pack = objects.join(format!("{stem}-{hash}"));
        let brought = self.keep_or_unpack(&pack, &objects.join(format!("pack/pack-{hash}")));
        pack_objects::remove(&pack);
        brought
    }

    fn keep_or_unpack(&self, pack: &Path, target: &Path) -> io::Result<()> {
        let file = File::open(pack.with_extension("pack"))?;
        match unpack::count(&file)? < self.unpack_limit {
            true => unpack::run(file, self.progress),
            false => pack_objects::rename(pack, target),
        }
    }
}
