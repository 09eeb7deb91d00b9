//! A directory inside the mirror for the objects that upstream or a push sends. They are checked, and then moved into the
//! object store or dropped: before that, no client sees them. [`index`] receives packs.

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

mod border;
mod index;

/// The mode of packs, and of the files beside them.
const MODE: u32 = 0o444;

/// The prefix of the name of each quarantine.
const PREFIX: &str = "incoming-";

/// A quarantine. Dropping it removes the directory, unless somebody else still has its lock: then the next sweep removes it.
pub(crate) struct Quarantine {
    dir: PathBuf,
    git_dir: PathBuf,
    /// Locked for as long as this value lives. A push that outlives the daemon has the lock, too.
    lock: File,
}

/// Whether the objects of a pack that was received are known to be complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Completeness {
    /// git has checked that every object which they need came with them.
    Connected,
    /// The objects that they need may be in the mirror, or be missing.
    Unchecked,
}

/// The origin of objects that are moved into a mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Upstream has the objects, or had them.
    Upstream,
    /// Some may be in this mirror alone. Their pack gets a `.keep` file: git itself leaves such a pack as it is, and upkeep
    /// combines it only with others of its kind.
    LocalOnly,
}

/// The content of the `.keep` file of a pack with local objects: it differs from that of any other program.
pub(crate) const LOCAL_MARK: &[u8] = b"has what this mirror alone has\n";

/// Locked while a quarantine is made: one without its lock would look like one of a dead daemon.
static MAKING: Mutex<()> = Mutex::new(());

impl Quarantine {
    /// An empty quarantine inside a mirror.
    pub(crate) fn new(git_dir: &Path) -> io::Result<Self> {
        let _making = MAKING.lock();
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

    /// The mirror, without the objects in the quarantine.
    pub(crate) fn repository(&self) -> io::Result<gix::Repository> {
        refs::open(&self.git_dir)
    }

    /// A fenced git that writes new objects to the quarantine, and reads those of the mirror as well.
    pub(crate) fn git(&self) -> Command {
        let mut git = git::at(&self.git_dir);
        self.share_objects(&mut git);
        git
    }

    /// Runs the checks of `git fsck` on the objects that were received, and tolerates the faults that GitLab tolerates.
    ///
    /// # Errors
    /// Fails with [`FailureKind::Unusable`] when it finds others.
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
                let stderr = String::from_utf8_lossy(&ended.stderr);
                if let Some(failure) = memory::exhausted(&stderr) {
                    return Err(failure);
                }
                let line = stderr.lines().find(|line| !line.trim().is_empty());
                let fault = line
                    .unwrap_or("git index-pack failed")
                    .trim_start_matches("error: ")
                    .trim_start_matches("fatal: ");
                let message = format!("what '{url}' sent has faults: {fault}");
                return Err(Failure::new(FailureKind::Unusable, message)
                    .hinted("'mirrord set NAME --fsck no' takes it as it is"));
            }
            fs::remove_file(&index).or_failure(context)?;
        }
        Ok(())
    }

    /// The mirror, with the objects in the quarantine.
    pub(crate) fn repository_with_incoming(&self) -> io::Result<gix::Repository> {
        let mut repo = self.repository()?;
        // gix knows alternates from this file only. git has them from its environment as well, and accepts both.
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

    /// A fenced git in an empty repository with these refs and no others, for a fetch: git names the refs that it has to
    /// upstream. It writes new objects to the quarantine, and reads those of the mirror as well.
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
        self.share_objects(&mut git);
        // git would name the refs of its alternates as well: this command, instead of `for-each-ref`, lists none.
        git.args(["-c", "core.alternateRefsCommand=true"]);
        Ok(git)
    }

    /// Whether the last fetch of [`Self::git_with_refs`], which has checked the connectivity, fetched all these refs.
    pub(crate) fn fetched_all(&self, refs: &UpstreamRefs) -> io::Result<bool> {
        // The file also has the names of branches, which need not be UTF-8.
        let fetched = fs::read(self.dir.join("fetch.git/FETCH_HEAD"))?;
        let lines = fetched.split(|byte| *byte == b'\n');
        let objects = lines.filter_map(|line| line.split(|byte| *byte == b'\t').next());
        let objects = objects.filter_map(|hex| ObjectId::from_hex(hex).ok());
        let objects: BTreeSet<ObjectId> = objects.collect();
        Ok(refs.values().all(|oid| objects.contains(oid)))
    }

    fn share_objects(&self, git: &mut Command) {
        git.env("GIT_OBJECT_DIRECTORY", &self.dir);
        git::add_alternate(git, &self.git_dir.join("objects"));
    }

    /// Checks that no object which `tips` need is missing from both the quarantine and the mirror.
    ///
    /// # Errors
    /// Fails with [`FailureKind::Unusable`] when one is.
    pub(crate) fn check_connected(
        &self,
        tips: &BTreeSet<ObjectId>,
        trust: Trust<'_>,
        watch: &Watch,
    ) -> Result<(), Failure> {
        let border = match trust {
            Trust::Refs => {
                border::find(self, tips).or_failure("cannot check what upstream sent")?
            }
            _ => None,
        };
        let trust = border.as_ref().map_or(trust, Trust::Commits);
        connected::check(self.git(), &self.git_dir, tips, trust, watch)
    }

    /// The object directory of the quarantine.
    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// The size of the packs in the quarantine, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let entries = fs::read_dir(self.dir.join("pack")).into_iter().flatten();
        let packs = entries
            .flatten()
            .filter(|entry| entry.path().extension() == Some("pack".as_ref()));
        packs
            .filter_map(|pack| Some(pack.metadata().ok()?.len()))
            .sum()
    }

    /// The names of the packs in the quarantine.
    pub(crate) fn packs(&self) -> io::Result<Vec<String>> {
        let packs = packs(&self.dir.join("pack"))?;
        Ok(packs.into_iter().map(|pack| pack.name).collect())
    }

    /// Moves all packs into the mirror's object store. They last when this returns.
    pub(crate) fn release(&self, origin: Origin) -> io::Result<()> {
        let (from, to) = (self.dir.join("pack"), pack_dir(&self.git_dir));
        let mut names = Vec::new();
        for entry in fs::read_dir(&from)? {
            let name = entry?.file_name();
            // git locks a pack that it is writing with a `.keep` file.
            if !name.to_string_lossy().ends_with(".keep") {
                names.push(name);
            }
        }
        // git lists the indexes: a pack must exist before its index does.
        names.sort_by_key(|name| name.to_string_lossy().ends_with(".idx"));
        for name in &names {
            finish(&File::open(from.join(name))?)?;
        }
        // No other process can change these files yet.
        let hash = |pack: Pack| {
            let digests = pack.digests(&from)?;
            Ok((pack.name, digests))
        };
        let packs = packs(&from)?.into_iter().map(hash);
        let packs: BTreeMap<_, _> = packs.collect::<io::Result<_>>()?;
        if origin == Origin::LocalOnly {
            let packs = names.iter().map(Path::new);
            for pack in packs.filter(|name| name.extension() == Some("pack".as_ref())) {
                // The pack comes after its `.keep` file: it must never look like one of upstream's.
                let mut mark = File::create(to.join(pack.with_extension("keep")))?;
                mark.write_all(LOCAL_MARK)?;
                mark.sync_all()?;
            }
            durable::sync_dir(&to)?;
        }
        for name in &names {
            if name.to_string_lossy().ends_with(".idx") {
                // The record comes before the index: a record of a pack that does not exist only keeps clients from getting
                // any pack, for a moment.
                verified::record_packs(&self.git_dir, &packs)?;
            }
            fs::rename(from.join(name), to.join(name))?;
        }
        verified::record_stamps(&self.git_dir, names.iter().map(|name| to.join(name)));
        durable::sync_dir(&to)
    }

    /// Writes the packs to disk while something else is waited for. [`release`](Self::release) does it again, and fails where
    /// this has.
    pub(crate) fn begin_sync(&self) {
        let packs = fs::read_dir(self.dir.join("pack"));
        for entry in packs.into_iter().flatten().flatten() {
            let _ = File::open(entry.path()).and_then(|file| finish(&file));
        }
    }

    /// Moves the objects that `tips` need into the mirror's object store, and no others.
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
            let stderr = String::from_utf8_lossy(&ended.stderr);
            let message = stderr.trim().trim_start_matches("fatal: ").to_owned();
            return Err(io::Error::other(message));
        }
        only.release(origin)
    }
}

impl Drop for Quarantine {
    fn drop(&mut self) {
        if self.lock.try_lock().is_ok()
            && let Err(err) = fs::remove_dir_all(&self.dir)
            // The mirror may have been removed.
            && err.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove '{}': {err}", self.dir.display());
        }
    }
}

/// Gives a file the mode that git gives packs, because a clone may get a hard link to it, and writes it to disk. Whoever does
/// it again waits for nothing.
fn finish(file: &File) -> io::Result<()> {
    if file.metadata()?.permissions().mode() & 0o777 != MODE {
        file.set_permissions(Permissions::from_mode(MODE))?;
    }
    file.sync_all()
}

/// Whether a quarantine of a mirror is in use, even by a push that has outlived its daemon.
pub(crate) fn is_in_use(git_dir: &Path) -> io::Result<bool> {
    let _making = MAKING.lock();
    for entry in fs::read_dir(git_dir.join("objects"))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && is_locked(&entry.path()) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_locked(quarantine: &Path) -> bool {
    let lock = File::open(quarantine.join(LOCK));
    lock.is_ok_and(|lock| lock.try_lock().is_err())
}

/// Removes the quarantines that are not in use: those of a killed daemon, and of pushes that outlived it.
pub(crate) fn sweep(git_dir: &Path) -> io::Result<()> {
    let _making = MAKING.lock();
    for entry in fs::read_dir(git_dir.join("objects"))? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        if !is_locked(&entry.path())
            && let Err(err) = fs::remove_dir_all(entry.path())
        {
            // A child of a killed daemon may still write there; the next sweep tries again.
            tracing::warn!("cannot remove '{}': {err}", entry.path().display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
