//! Where what upstream sends lands before anybody may see it: a directory inside the mirror, checked and then emptied
//! into the object store, or dropped.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use common::{
    address::upstream_url::UpstreamUrl,
    git::{self, child_log::ChildLog},
    packs::{
        listing::pack_dir,
        verified::{Pack, packs},
    },
    paths::LOCK,
    protocol::{Failure, FailureKind, OrFailure},
};
use gix::ObjectId;
use parking_lot::Mutex;

use crate::{
    process::{child, durable, memory, watch::Watch},
    repository::{
        connected::{self, Trust},
        objects::MAX_OBJECT_BYTES,
        refs::{self, Refs, UpstreamRefs},
        verified,
    },
};

mod index;

const PREFIX: &str = "incoming-";

/// A quarantine. Dropping it drops what is in it, unless somebody else still works there: then the next sweep does.
pub(crate) struct Quarantine {
    dir: PathBuf,
    git_dir: PathBuf,
    /// Locked for as long as this lives; a push that outlives the daemon holds it, too.
    lock: File,
}

/// What is known of what came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// Whatever its objects need came with them.
    Connected,
    /// What they need may be in the mirror, or be missing.
    Unchecked,
}

/// Origin the objects are that are let into a mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Upstream has them, or had them.
    Upstream,
    /// Some may be in this mirror alone. Their pack is kept apart: git itself leaves it as it is, and our own upkeep puts
    /// it together with none but its like.
    LocalOnly,
}

/// What is written beside a pack that is kept apart, so that it can be told from one that somebody else keeps.
pub(crate) const LOCAL_MARK: &[u8] = b"has what this mirror alone has\n";

/// Held while a quarantine is made: one without its lock would look like a dead daemon's.
static MAKING: Mutex<()> = Mutex::new(());

impl Quarantine {
    /// An empty quarantine inside a mirror.
    pub(crate) fn new(git_dir: &Path) -> io::Result<Self> {
        let _turn = MAKING.lock();
        let dir = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(git_dir.join("objects"))?;
        fs::create_dir(dir.path().join("pack"))?;
        let lock = File::create(dir.path().join(LOCK))?;
        lock.lock_shared()?;
        Ok(Self {
            dir: dir.keep(),
            git_dir: git_dir.to_owned(),
            lock,
        })
    }

    /// The mirror that it belongs to, as it is without it.
    pub(crate) fn repository(&self) -> io::Result<gix::Repository> {
        refs::open(&self.git_dir)
    }

    /// A fenced git that writes new objects here and reads the mirror's as well.
    pub(crate) fn git(&self) -> Command {
        let mut git = git::at(&self.git_dir);
        self.borrow(&mut git);
        git
    }

    /// Looks for faults in what was received, as tolerantly as GitLab does itself.
    ///
    /// # Errors
    /// Fails with [`FailureKind::Unusable`] when there are any.
    pub(crate) fn fsck(&self, url: &UpstreamUrl, watch: &Watch) -> Result<(), Failure> {
        let context = "cannot check what upstream sent";
        let tolerated = git::TOLERATED.map(|fault| format!("{fault}=ignore"));
        for entry in fs::read_dir(self.dir.join("pack")).or_failure(context)? {
            let pack = entry.or_failure(context)?.path();
            if pack.extension() != Some("pack".as_ref()) {
                continue;
            }
            let index = self.dir.join("fsck.idx");
            let mut git = self.git();
            git.args(["-c", memory::STREAM_BLOBS, "index-pack"])
                .arg(format!("--strict={}", tolerated.join(",")))
                .args(["--no-rev-index", "-o"])
                .args([&index, &pack])
                .stdout(Stdio::null());
            let ended = child::run(git, Vec::new(), watch).or_failure(context)?;
            if watch.is_cancelled() {
                return Err(crate::process::watch::cancelled());
            }
            if !ended.status.success() {
                let words = String::from_utf8_lossy(&ended.stderr);
                if let Some(failure) = memory::exhausted(&words) {
                    return Err(failure);
                }
                let words = words.lines().find(|line| !line.trim().is_empty());
                let words = words.unwrap_or("git index-pack failed");
                let words = words
                    .trim_start_matches("error: ")
                    .trim_start_matches("fatal: ");
                let message = format!("what '{url}' sent has faults: {words}");
                return Err(Failure::new(FailureKind::Unusable, message)
                    .hinted("'mirrord set NAME --fsck no' takes it as it is"));
            }
            fs::remove_file(&index).or_failure(context)?;
        }
        Ok(())
    }

    /// The mirror as it would be with what is here.
    pub(crate) fn repository_with_incoming(&self) -> io::Result<gix::Repository> {
        let mut repo = self.repository()?;
        // gix reads alternates from this file alone; git is told by its environment, and does not mind to hear it twice.
        fs::create_dir_all(self.dir.join("info"))?;
        fs::write(self.dir.join("info/alternates"), "..\n")?;
        let options = gix::odb::store::init::Options {
            alloc_limit_bytes: Some(MAX_OBJECT_BYTES),
            ..Default::default()
        };
        let objects = gix::odb::at_opts(&self.dir, repo.object_hash(), None, options)?;
        repo.objects = gix::odb::memory::Proxy::from(objects).with_write_passthrough();
        Ok(repo)
    }

    /// A fenced git in a repository of its own that has these refs and no others, for talking to upstream: what refs it
    /// has, upstream is told. It writes new objects here and reads the mirror's as well.
    pub(crate) fn git_with_refs(&self, refs: &Refs) -> io::Result<Command> {
        let dir = self.dir.join("fetch.git");
        fs::create_dir_all(dir.join("refs"))?;
        fs::write(dir.join("HEAD"), "ref: refs/heads/none\n")?;
        let format = match self.repository()?.object_hash() {
            gix::hash::Kind::Sha1 => "[core]\n\trepositoryformatversion = 0\n",
            _ => "[core]\n\trepositoryformatversion = 1\n[extensions]\n\tobjectformat = sha256\n",
        };
        fs::write(dir.join("config"), format)?;
        let mut packed = b"# pack-refs with: sorted \n".to_vec();
        for (name, oid) in refs {
            packed.extend_from_slice(format!("{oid} ").as_bytes());
            packed.extend_from_slice(name);
            packed.push(b'\n');
        }
        fs::write(dir.join("packed-refs"), packed)?;
        let mut git = git::at(&dir);
        self.borrow(&mut git);
        // The refs of whoever the objects are borrowed from are told as well, unless they have no such name.
        git.args(["-c", "core.alternateRefsCommand=true"]);
        Ok(git)
    }

    /// Whether that git's last fetch, which has looked for what is missing, brought all of these.
    pub(crate) fn fetched_all(&self, refs: &UpstreamRefs) -> io::Result<bool> {
        // Names of branches are in it, too, and they are bytes.
        let brought = fs::read(self.dir.join("fetch.git/FETCH_HEAD"))?;
        let lines = brought.split(|byte| *byte == b'\n');
        let objects = lines.filter_map(|line| line.split(|byte| *byte == b'\t').next());
        let objects = objects.filter_map(|hex| ObjectId::from_hex(hex).ok());
        let objects: BTreeSet<ObjectId> = objects.collect();
        Ok(refs.values().all(|oid| objects.contains(oid)))
    }

    fn borrow(&self, git: &mut Command) {
        git.env("GIT_OBJECT_DIRECTORY", &self.dir);
        git::add_alternate(git, &self.git_dir.join("objects"));
    }

    /// Checks that nothing which `tips` need is missing, here or in the mirror.
    ///
    /// # Errors
    /// Fails with [`FailureKind::Unusable`] when something is.
    pub(crate) fn check_connected(
        &self,
        tips: &BTreeSet<ObjectId>,
        trust: Trust<'_>,
        watch: &Watch,
    ) -> Result<(), Failure> {
        connected::check(self.git(), &self.git_dir, tips, trust, watch)
    }

    /// Its object directory.
    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// How long the packs are that came, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let entries = fs::read_dir(self.dir.join("pack")).into_iter().flatten();
        let packs = entries
            .flatten()
            .filter(|entry| entry.path().extension() == Some("pack".as_ref()));
        packs
            .filter_map(|pack| Some(pack.metadata().ok()?.len()))
            .sum()
    }

    /// The names of the packs that came.
    pub(crate) fn packs(&self) -> io::Result<Vec<String>> {
        let packs = packs(&self.dir.join("pack"))?;
        Ok(packs.into_iter().map(|pack| pack.name).collect())
    }

    /// Lets what is here into the mirror's object store; it lasts when this returns.
    pub(crate) fn release(&self, origin: Origin) -> io::Result<()> {
        let (from, to) = (self.dir.join("pack"), pack_dir(&self.git_dir));
        let mut names = Vec::new();
        for entry in fs::read_dir(&from)? {
            let name = entry?.file_name();
            // A lock of git's on a pack that it is writing is nothing to keep.
            if !name.to_string_lossy().ends_with(".keep") {
                names.push(name);
            }
        }
        // git looks for indexes: a pack must be there before its index says so.
        names.sort_by_key(|name| name.to_string_lossy().ends_with(".idx"));
        for name in &names {
            let file = File::open(from.join(name))?;
            // As git has them: clones may be given this very file.
            file.set_permissions(Permissions::from_mode(0o444))?;
            file.sync_all()?;
        }
        // Nobody else has these files yet.
        let hash = |pack: Pack| {
            let digests = pack.digests(&from)?;
            Ok((pack.name, digests))
        };
        let packs = packs(&from)?.into_iter().map(hash);
        let packs: BTreeMap<_, _> = packs.collect::<io::Result<_>>()?;
        if origin == Origin::LocalOnly {
            let packs = names.iter().map(Path::new);
            for pack in packs.filter(|name| name.extension() == Some("pack".as_ref())) {
                // Before the pack is there: at no time may it look like one of upstream's.
                let mut mark = File::create(to.join(pack.with_extension("keep")))?;
                mark.write_all(LOCAL_MARK)?;
                mark.sync_all()?;
            }
            durable::sync_dir(&to)?;
        }
        for name in &names {
            if name.to_string_lossy().ends_with(".idx") {
                // In the moment between the two the record says more than is there, and nothing is handed out.
                verified::record_packs(&self.git_dir, &packs)?;
            }
            fs::rename(from.join(name), to.join(name))?;
        }
        verified::record_stamps(&self.git_dir, names.iter().map(|name| to.join(name)));
        durable::sync_dir(&to)
    }

    /// Lets what `tips` need into the mirror's object store, and nothing else of what is here.
    pub(crate) fn release_only(&self, tips: &BTreeSet<ObjectId>, origin: Origin) -> io::Result<()> {
        let only = Self::new(&self.git_dir)?;
        let mut git = self.git();
        git.args(["pack-objects", "--revs", "--delta-base-offset", "-q"])
            .arg(only.path().join("pack/pack"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let log = ChildLog::begin(&git);
        let mut child = git.spawn()?;
        let input = connected::rev_list_input(&self.git_dir, tips, Trust::Refs)?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        let ended = child.wait_with_output()?;
        log.ended(ended.status);
        if !ended.status.success() {
            let words = String::from_utf8_lossy(&ended.stderr);
            let words = words.trim().trim_start_matches("fatal: ").to_owned();
            return Err(io::Error::other(words));
        }
        only.release(origin)
    }
}

impl Drop for Quarantine {
    fn drop(&mut self) {
        if self.lock.try_lock().is_ok()
            && let Err(err) = fs::remove_dir_all(&self.dir)
            // It may have gone with its mirror.
            && err.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove '{}': {err}", self.dir.display());
        }
    }
}

/// Whether somebody works in a quarantine of a mirror, be it a push that has outlived its daemon.
pub(crate) fn is_in_use(git_dir: &Path) -> io::Result<bool> {
    let _turn = MAKING.lock();
    for entry in fs::read_dir(git_dir.join("objects"))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && is_held(&entry.path()) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_held(quarantine: &Path) -> bool {
    let lock = File::open(quarantine.join(LOCK));
    lock.is_ok_and(|lock| lock.try_lock().is_err())
}

/// Removes the quarantines in which nobody works any more: those of a killed daemon, and of pushes that outlived it.
pub(crate) fn sweep(git_dir: &Path) -> io::Result<()> {
    let _turn = MAKING.lock();
    for entry in fs::read_dir(git_dir.join("objects"))? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        if !is_held(&entry.path())
            && let Err(err) = fs::remove_dir_all(entry.path())
        {
            // A child of a dead one's may still write there; the next sweep will find it alone.
            tracing::warn!("cannot remove '{}': {err}", entry.path().display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
