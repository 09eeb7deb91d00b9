//! The usage of mirrors: when each was last used, and what clones and fetches received without a download of their own.
//!
//! The time of a file in a mirror is when the mirror was last used; it is set at most once a minute. `saved` counts what it has
//! saved, in memory, and writes it every hour: a daemon that is killed loses the last hour's counts.

mod saved;

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use common::{packs::listing::pack_dir, protocol::Saved};
use parking_lot::Mutex;
use tokio::time::Instant;

use self::saved::Counts;

/// The file in a mirror whose modification time is when the mirror was last used.
const USED: &str = "used";

/// The shortest time between two writes of that file's time.
const WRITE_INTERVAL: Duration = Duration::from_secs(60);

/// The usage of all mirrors, by their directories.
#[derive(Default)]
pub(crate) struct Usage(Mutex<HashMap<PathBuf, MirrorUsage>>);

/// What a sync has downloaded, as one of those who waited for it counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Download {
    /// Bytes of the packs that upstream sent.
    pub bytes: u64,
    /// Whether the download counts as this one's own. All others who waited had it for nothing.
    pub is_own: bool,
}

/// The usage of one mirror.
struct MirrorUsage {
    /// When this daemon last wrote the time of its last use.
    written: Option<Instant>,
    counts: Counts,
    /// Whether the counts differ from those on disk.
    is_unsaved: bool,
}

impl Usage {
    /// Records that the mirror in a directory is used, if there is one.
    pub(crate) fn record_use(&self, git_dir: &Path) {
        let now = Instant::now();
        let is_recent = |written: Instant| now.duration_since(written) < WRITE_INTERVAL;
        if !git_dir.exists() || self.with(git_dir, |usage| usage.written.is_some_and(is_recent)) {
            return;
        }
        match touch(git_dir, SystemTime::now()) {
            Ok(()) => self.with(git_dir, |usage| usage.written = Some(now)),
            // The mirror seems unused for longer than it is. No fetch fails for that.
            Err(err) => tracing::warn!("cannot write when '{}' was used: {err}", git_dir.display()),
        }
    }

    /// Records a clone or a fetch that was answered from a mirror.
    pub(crate) fn record_answer(&self, git_dir: &Path, is_clone: bool, download: Download) {
        let clone_size = is_clone.then(|| clone_size(git_dir));
        self.with(git_dir, |usage| {
            usage.is_unsaved |= usage.counts.add_answer(clone_size, download);
        });
    }

    /// Records a download of a mirror itself.
    pub(crate) fn record_download(&self, git_dir: &Path, bytes: u64, took: Duration) {
        self.with(git_dir, |usage| {
            usage.is_unsaved |= usage.counts.add_download(bytes, took);
        });
    }

    /// What a mirror has saved.
    pub(crate) fn saved(&self, git_dir: &Path) -> Saved {
        let mirrors = self.0.lock();
        let counts = mirrors.get(git_dir).map(|usage| usage.counts);
        counts.unwrap_or_else(|| Counts::read(git_dir)).saved()
    }

    /// Writes the counts that have changed. Blocks.
    pub(crate) fn save(&self) {
        let take = |(git_dir, usage): (&PathBuf, &mut MirrorUsage)| {
            let is_unsaved = std::mem::take(&mut usage.is_unsaved);
            is_unsaved.then(|| (git_dir.clone(), usage.counts))
        };
        let unsaved: Vec<_> = self.0.lock().iter_mut().filter_map(take).collect();
        // Without the lock: nobody waits for the disk.
        for (git_dir, counts) in unsaved {
            save(&git_dir, &counts);
        }
    }

    /// Writes and forgets the counts of a mirror that is removed or moved: the file moves with it. Blocks.
    pub(crate) fn forget(&self, git_dir: &Path) {
        let usage = self.0.lock().remove(git_dir);
        if let Some(usage) = usage.filter(|usage| usage.is_unsaved) {
            save(git_dir, &usage.counts);
        }
    }

    /// Changes or reads the usage of a mirror.
    fn with<T>(&self, git_dir: &Path, work: impl FnOnce(&mut MirrorUsage) -> T) -> T {
        let mut mirrors = self.0.lock();
        let new = || MirrorUsage {
            written: None,
            counts: Counts::read(git_dir),
            is_unsaved: false,
        };
        work(mirrors.entry(git_dir.to_owned()).or_insert_with(new))
    }
}

fn save(git_dir: &Path, counts: &Counts) {
    // The mirror may have been removed meanwhile.
    if let Err(err) = counts.write(git_dir)
        && git_dir.exists()
    {
        let git_dir = git_dir.display();
        tracing::warn!("cannot write what '{git_dir}' has saved: {err}");
    }
}

/// When a mirror was last used, if that is known.
pub(crate) fn last_used(git_dir: &Path) -> Option<SystemTime> {
    fs::metadata(git_dir.join(USED)).ok()?.modified().ok()
}

/// When a mirror was last used. One without that file counts as used now, and gets one.
pub(crate) fn last_used_or_now(git_dir: &Path) -> io::Result<SystemTime> {
    match fs::metadata(git_dir.join(USED)) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => touch(git_dir, SystemTime::now())?,
        found => return found?.modified(),
    }
    fs::metadata(git_dir.join(USED))?.modified()
}

fn touch(git_dir: &Path, now: SystemTime) -> io::Result<()> {
    let mut options = File::options();
    let file = options.create(true).truncate(false).write(true);
    file.open(git_dir.join(USED))?.set_modified(now)
}

/// How many bytes upstream would send for a clone: the size of the packs, except those of objects that only the mirror has.
fn clone_size(git_dir: &Path) -> u64 {
    let dir = pack_dir(git_dir);
    let files = fs::read_dir(&dir).into_iter().flatten().flatten();
    let packs = files.filter(|file| {
        let path = file.path();
        path.extension() == Some("pack".as_ref()) && !path.with_extension("keep").exists()
    });
    packs
        .filter_map(|pack| Some(pack.metadata().ok()?.len()))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn shared(bytes: u64) -> Download {
        let is_own = false;
        Download { bytes, is_own }
    }

    #[tokio::test(start_paused = true)]
    async fn a_use_is_written_at_once_and_then_once_a_minute() {
        let dir = tempfile::tempdir().expect("temp dir");
        let (git_dir, usage) = (dir.path(), Usage::default());
        let long_ago = SystemTime::now() - 24 * HOUR;
        assert_eq!(last_used(git_dir), None);
        usage.record_use(git_dir);
        assert!(last_used(git_dir) > Some(long_ago));
        touch(git_dir, long_ago).expect("ours");
        usage.record_use(git_dir);
        tokio::time::sleep(WRITE_INTERVAL - Duration::from_secs(1)).await;
        usage.record_use(git_dir);
        assert_eq!(
            last_used(git_dir),
            Some(long_ago),
            "no write for each of many"
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
        usage.record_use(git_dir);
        assert!(last_used(git_dir) > Some(long_ago));
        touch(git_dir, long_ago).expect("ours");
        Usage::default().record_use(git_dir);
        assert!(
            last_used(git_dir) > Some(long_ago),
            "another daemon writes it anew"
        );
    }

    #[test]
    fn the_directory_of_a_removed_mirror_is_not_made_again() {
        let dir = tempfile::tempdir().expect("temp dir");
        let gone = dir.path().join("gone.git");
        let usage = Usage::default();
        usage.record_use(&gone);
        usage.record_answer(&gone, false, Download::default());
        usage.save();
        assert!(!gone.exists());
    }

    #[test]
    fn a_mirror_of_unknown_use_counts_as_used_now() {
        let dir = tempfile::tempdir().expect("temp dir");
        let before = SystemTime::now() - HOUR;
        let first = last_used_or_now(dir.path()).expect("writable");
        assert!(first > before);
        assert_eq!(last_used_or_now(dir.path()).expect("readable"), first);
    }

    #[test]
    fn counts_are_read_by_the_next_daemon_and_move_with_the_mirror() {
        let dir = tempfile::tempdir().expect("temp dir");
        let (old, new) = (dir.path().join("old.git"), dir.path().join("new.git"));
        fs::create_dir(&old).expect("ours");
        let usage = Usage::default();
        usage.record_download(&old, 1000, Duration::from_secs(2));
        usage.record_answer(&old, false, shared(500));
        let saved = usage.saved(&old);
        assert_eq!((saved.fetches, saved.bytes), (1, 500));
        assert_eq!(saved.milliseconds, Some(1000));
        assert_eq!(
            Usage::default().saved(&old),
            Saved::default(),
            "not at once"
        );
        usage.save();
        assert_eq!(Usage::default().saved(&old), saved);
        usage.record_answer(&old, false, Download::default());
        usage.forget(&old);
        fs::rename(&old, &new).expect("ours");
        assert_eq!(usage.saved(&old), Saved::default());
        let fetches = saved.fetches + 1;
        assert_eq!(usage.saved(&new), Saved { fetches, ..saved });
    }

    #[test]
    fn a_clone_is_as_big_as_the_packs_from_upstream() {
        let dir = tempfile::tempdir().expect("temp dir");
        let packs = pack_dir(dir.path());
        fs::create_dir_all(&packs).expect("ours");
        for (name, size) in [
            ("pack-a.pack", 100),
            ("pack-a.idx", 70),
            ("pack-b.pack", 20),
            ("pack-c.pack", 5),
            ("pack-c.keep", 1),
        ] {
            fs::write(packs.join(name), vec![0; size]).expect("ours");
        }
        let usage = Usage::default();
        usage.record_answer(dir.path(), true, Download::default());
        let saved = usage.saved(dir.path());
        assert_eq!((saved.clones, saved.bytes), (1, 120));
    }
}
