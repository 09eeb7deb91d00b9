//! Who uses mirrors, and what that saves: when somebody last used each, and what clones and fetches were given without a
//! download of their own.
//!
//! When a mirror was last used is the time of a file in it, which is set at most once a minute. How much it has saved is
//! counted in memory and written down now and then: a daemon that is killed loses the last hour of it, and that is no
//! harm.

mod saved;

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use common::{packs::listing::pack_dir, protocol::Saved};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use self::saved::Counts;
use crate::sync::Download;

/// The file in a mirror whose time says when somebody last used it.
const USED: &str = "used";

/// Who uses a mirror again and again is noted once in this time.
const WRITE_INTERVAL: Duration = Duration::from_secs(60);

/// The use of all mirrors, by where these lie.
#[derive(Default)]
pub(crate) struct Usage(Mutex<HashMap<PathBuf, Known>>);

/// What is known of the use of one.
struct Known {
    /// When this daemon last noted it.
    noted: Option<Instant>,
    counts: Counts,
    /// Whether more was counted than is on disk.
    is_new: bool,
}

impl Usage {
    /// Notes that somebody uses the mirror in a directory, if there is one.
    pub(crate) fn note(&self, git_dir: &Path) {
        let now = Instant::now();
        let again = |noted: Instant| now.duration_since(noted) < WRITE_INTERVAL;
        if !git_dir.exists() || self.of(git_dir, |known| known.noted.is_some_and(again)) {
            return;
        }
        match touch(git_dir, SystemTime::now()) {
            Ok(()) => self.of(git_dir, |known| known.noted = Some(now)),
            // The mirror is the older for it, and no fetch fails for that.
            Err(err) => tracing::warn!("cannot note that '{}' is used: {err}", git_dir.display()),
        }
    }

    /// Notes that somebody was given what is in a mirror, all of it or what they did not have.
    pub(crate) fn answered(&self, git_dir: &Path, is_clone: bool, download: Download) {
        let all = is_clone.then(|| size_for_all(git_dir));
        let changed = |known: &mut Known| known.is_new |= known.counts.answered(all, download);
        self.of(git_dir, changed);
    }

    /// Notes what a mirror has downloaded itself.
    pub(crate) fn downloaded(&self, git_dir: &Path, bytes: u64, took: Duration) {
        let changed = |known: &mut Known| known.is_new |= known.counts.downloaded(bytes, took);
        self.of(git_dir, changed);
    }

    /// What a mirror has saved.
    pub(crate) fn saved(&self, git_dir: &Path) -> Saved {
        let known = self.known();
        let counts = known.get(git_dir).map(|known| known.counts);
        counts.unwrap_or_else(|| Counts::read(git_dir)).saved()
    }

    /// Writes down what only memory knows. Blocks.
    pub(crate) fn save(&self) {
        let take = |(git_dir, known): (&PathBuf, &mut Known)| {
            let is_new = std::mem::take(&mut known.is_new);
            is_new.then(|| (git_dir.clone(), known.counts))
        };
        let new: Vec<_> = self.known().iter_mut().filter_map(take).collect();
        // Nobody waits for the disk meanwhile.
        for (git_dir, counts) in new {
            save(&git_dir, &counts);
        }
    }

    /// Forgets a mirror that goes, or lies elsewhere from now on, where what it has saved goes along. Blocks.
    pub(crate) fn forget(&self, git_dir: &Path) {
        let known = self.known().remove(git_dir);
        if let Some(known) = known.filter(|known| known.is_new) {
            save(git_dir, &known.counts);
        }
    }

    fn of<T>(&self, git_dir: &Path, work: impl FnOnce(&mut Known) -> T) -> T {
        let mut known = self.known();
        let new = || Known {
            noted: None,
            counts: Counts::read(git_dir),
            is_new: false,
        };
        work(known.entry(git_dir.to_owned()).or_insert_with(new))
    }

    fn known(&self) -> MutexGuard<'_, HashMap<PathBuf, Known>> {
        self.0.lock()
    }
}

fn save(git_dir: &Path, counts: &Counts) {
    // It may have gone meanwhile.
    if let Err(err) = counts.write(git_dir)
        && git_dir.exists()
    {
        let git_dir = git_dir.display();
        tracing::warn!("cannot note what '{git_dir}' has saved: {err}");
    }
}

/// When somebody last used a mirror, if that is known.
pub(crate) fn last(git_dir: &Path) -> Option<SystemTime> {
    fs::metadata(git_dir.join(USED)).ok()?.modified().ok()
}

/// The same of one that may be older than such notes: it counts from when it is first asked.
pub(crate) fn last_or_now(git_dir: &Path) -> io::Result<SystemTime> {
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

/// How much upstream would send to one who wants all that it has given, in bytes: the packs, save those that have what
/// only the mirror has.
fn size_for_all(git_dir: &Path) -> u64 {
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
    async fn a_use_is_noted_at_once_and_then_once_a_minute() {
        let dir = tempfile::tempdir().expect("temp dir");
        let (git_dir, usage) = (dir.path(), Usage::default());
        let long_ago = SystemTime::now() - 24 * HOUR;
        assert_eq!(last(git_dir), None);
        usage.note(git_dir);
        assert!(last(git_dir) > Some(long_ago));
        touch(git_dir, long_ago).expect("ours");
        usage.note(git_dir);
        tokio::time::sleep(WRITE_INTERVAL - Duration::from_secs(1)).await;
        usage.note(git_dir);
        assert_eq!(last(git_dir), Some(long_ago), "no write for each of many");
        tokio::time::sleep(Duration::from_secs(1)).await;
        usage.note(git_dir);
        assert!(last(git_dir) > Some(long_ago));
        touch(git_dir, long_ago).expect("ours");
        Usage::default().note(git_dir);
        assert!(
            last(git_dir) > Some(long_ago),
            "another daemon knows nothing of it"
        );
    }

    #[test]
    fn what_is_not_there_is_not_made_by_being_used() {
        let dir = tempfile::tempdir().expect("temp dir");
        let gone = dir.path().join("gone.git");
        let usage = Usage::default();
        usage.note(&gone);
        usage.answered(&gone, false, Download::default());
        usage.save();
        assert!(!gone.exists());
    }

    #[test]
    fn a_mirror_of_unknown_use_counts_from_when_it_is_first_looked_at() {
        let dir = tempfile::tempdir().expect("temp dir");
        let before = SystemTime::now() - HOUR;
        let first = last_or_now(dir.path()).expect("writable");
        assert!(first > before);
        assert_eq!(last_or_now(dir.path()).expect("readable"), first);
    }

    #[test]
    fn what_was_saved_is_known_to_the_next_daemon_and_goes_along_with_the_mirror() {
        let dir = tempfile::tempdir().expect("temp dir");
        let (old, new) = (dir.path().join("old.git"), dir.path().join("new.git"));
        fs::create_dir(&old).expect("ours");
        let usage = Usage::default();
        usage.downloaded(&old, 1000, Duration::from_secs(2));
        usage.answered(&old, false, shared(500));
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
        usage.answered(&old, false, Download::default());
        usage.forget(&old);
        fs::rename(&old, &new).expect("ours");
        assert_eq!(usage.saved(&old), Saved::default());
        let fetches = saved.fetches + 1;
        assert_eq!(usage.saved(&new), Saved { fetches, ..saved });
    }

    #[test]
    fn a_clone_is_as_big_as_what_upstream_has_given() {
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
        usage.answered(dir.path(), true, Download::default());
        let saved = usage.saved(dir.path());
        assert_eq!((saved.clones, saved.bytes), (1, 120));
    }
}
