//! inotify watches on packs of mirrors that were read of late. Packs that somebody touches are hashed at once, so that the
//! next clone need not wait for that: a clone that is removed changes the ctime of each file that it shared.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use common::{packs::verified::Record, protocol::Cause};
use parking_lot::{Mutex, MutexGuard};
use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
    io::Errno,
};
use tokio::io::unix::AsyncFd;

use super::Upkeep;
use crate::{
    mirrors::{gate::Gates, registry::Registry},
    process::blocking::blocking_io,
    repository::verified::Extent,
};

/// Linux allows each user some thousands of watches (`fs.inotify.max_user_watches`); files without one are hashed when a
/// client comes.
const MAX_WATCHES: usize = 2000;

/// The watches.
pub(super) struct Touches {
    /// The inotify instance; None where the system refuses one.
    inotify: Option<OwnedFd>,
    /// The mirrors, by the watch descriptors of their files.
    mirrors: Mutex<HashMap<i32, PathBuf>>,
}

impl Touches {
    /// Creates an inotify instance without watches.
    pub(super) fn new() -> Self {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
        if let Err(err) = &inotify {
            tracing::debug!("files are not watched: {err}");
        }
        Self {
            inotify: inotify.ok(),
            mirrors: Mutex::default(),
        }
    }

    /// Watches the files of a mirror's packs, each by its inode: another name of a file is watched with it. Blocks.
    pub(super) fn watch(&self, git_dir: &Path) -> io::Result<()> {
        let Some(inotify) = &self.inotify else {
            return Ok(());
        };
        let flags = WatchFlags::ATTRIB | WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE;
        let mut mirrors = self.mirrors();
        if mirrors.len() > MAX_WATCHES {
            for (watch, _) in mirrors.drain() {
                // Its file may have gone.
                let _ = inotify::remove_watch(inotify, watch);
            }
        }
        for (path, _) in Record::read(git_dir)?.files(git_dir) {
            match inotify::add_watch(inotify, &path, flags) {
                Ok(watch) => drop(mirrors.insert(watch, git_dir.to_owned())),
                Err(Errno::NOENT) => {}
                Err(err) => return Err(err.into()),
            }
        }
        Ok(())
    }

    /// Reads events: returns the mirrors of files that were touched, and those of files that somebody wrote into.
    fn read(&self, inotify: &OwnedFd) -> io::Result<(BTreeSet<PathBuf>, BTreeSet<PathBuf>)> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(inotify, &mut buffer);
        let (mut touched, mut written) = (BTreeSet::new(), BTreeSet::new());
        loop {
            let event = match reader.next() {
                Err(Errno::AGAIN) if !touched.is_empty() => return Ok((touched, written)),
                Err(err) => return Err(err.into()),
                Ok(event) => event,
            };
            let mut mirrors = self.mirrors();
            if event.events().contains(ReadFlags::IGNORED) {
                mirrors.remove(&event.wd());
            } else if let Some(git_dir) = mirrors.get(&event.wd()) {
                touched.insert(git_dir.clone());
                if event
                    .events()
                    .intersects(ReadFlags::MODIFY | ReadFlags::CLOSE_WRITE)
                {
                    written.insert(git_dir.clone());
                }
            }
        }
    }

    fn mirrors(&self) -> MutexGuard<'_, HashMap<i32, PathBuf>> {
        self.mirrors.lock()
    }
}

impl Upkeep {
    /// Watches the packs of a mirror that somebody reads.
    pub(super) async fn watch(self: &Arc<Self>, git_dir: PathBuf) {
        let upkeep = self.clone();
        if let Err(err) = blocking_io(move || upkeep.touches.watch(&git_dir)).await {
            tracing::debug!("files are not watched: {err}");
        }
    }

    /// Compares files as soon as somebody touches them; never returns where inotify works.
    pub(crate) async fn compare_touched(self: Arc<Self>, registry: &Registry, gates: &Gates) {
        let inotify = self.touches.inotify.as_ref().map(OwnedFd::try_clone);
        let Some(Ok(inotify)) = inotify else {
            return;
        };
        // An OwnedFd keeps its promise to AsyncFd by itself.
        #[expect(deprecated, reason = "the other one is unsafe")]
        let Ok(inotify) = AsyncFd::new(inotify) else {
            return;
        };
        loop {
            let Ok(mut ready) = inotify.readable().await else {
                return;
            };
            let Ok(read) = ready.try_io(|inotify| self.touches.read(inotify.get_ref())) else {
                continue;
            };
            let Ok((touched, written)) = read else {
                return;
            };
            for git_dir in touched {
                let Ok(Some(mirror)) = registry.mirror_at(&git_dir) else {
                    continue;
                };
                // A write may come in the tick of the clock in which the ctime was read.
                let extent = match written.contains(&git_dir) {
                    true => Extent::All,
                    false => Extent::Touched,
                };
                let gate = gates.gate(&git_dir);
                match self.compare(&gate, &mirror, extent, Cause::Schedule).await {
                    Ok(true) => self.start(gate, mirror),
                    Ok(false) => {}
                    Err(err) => tracing::debug!("cannot compare '{}': {err}", git_dir.display()),
                }
            }
        }
    }
}
