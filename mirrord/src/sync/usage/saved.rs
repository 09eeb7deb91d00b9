//! What a mirror has saved, in numbers, and the file that has them.
//!
//! The numbers are estimates, and rather too low than too high. A clone saves the size of the packs from upstream, less what
//! was downloaded for it. Of several fetches that waited for one sync, one counts as having downloaded what came, and each
//! other one saves as much. What any other fetch would have downloaded is unknown, and it saves no bytes. The saved time is
//! that of the mirror's own biggest download, in proportion: small downloads say how slow a request is, not how slow the
//! line.

use std::{fs, io, path::Path, time::Duration};

use common::protocol::Saved;

use super::Download;
use crate::process::durable;

/// The file in a mirror: a number on each line, in the order of the fields of [`Counts`].
const FILE: &str = "saved";

/// What was counted since the mirror was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    /// Clones without a download.
    clones: u64,
    /// Fetches without a download.
    fetches: u64,
    /// Bytes that would have been downloaded.
    bytes: u64,
    /// Bytes of the mirror's own biggest download.
    biggest: u64,
    /// Milliseconds that this download took.
    took: u64,
}

impl Counts {
    /// Counts an answer to a fetch, or to a clone, for which upstream would have sent `clone_size` bytes. Returns whether the
    /// counts changed.
    pub(super) fn add_answer(&mut self, clone_size: Option<u64>, download: Download) -> bool {
        let own = if download.is_own { download.bytes } else { 0 };
        match clone_size {
            // Most of it was downloaded for this very clone.
            Some(size) if own > size / 2 => return false,
            Some(size) => {
                self.clones += 1;
                self.bytes = self.bytes.saturating_add(size - own);
            }
            None if own > 0 => return false,
            None => {
                self.fetches += 1;
                self.bytes = self.bytes.saturating_add(download.bytes);
            }
        }
        true
    }

    /// Counts a download. Returns whether the counts changed.
    pub(super) fn add_download(&mut self, bytes: u64, took: Duration) -> bool {
        let is_biggest = bytes > self.biggest;
        if is_biggest {
            self.biggest = bytes;
            self.took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        }
        is_biggest
    }

    /// The numbers that are shown.
    pub(super) fn saved(&self) -> Saved {
        let time = u128::from(self.bytes) * u128::from(self.took);
        let time = time.checked_div(u128::from(self.biggest));
        Saved {
            clones: self.clones,
            fetches: self.fetches,
            bytes: self.bytes,
            milliseconds: time.map(|time| u64::try_from(time).unwrap_or(u64::MAX)),
        }
    }

    /// Reads the file of a mirror. Without one, or with a torn one, the counts are zero.
    pub(super) fn read(git_dir: &Path) -> Self {
        let text = fs::read_to_string(git_dir.join(FILE)).unwrap_or_default();
        Self::parse(&text).unwrap_or_default()
    }

    fn parse(text: &str) -> Option<Self> {
        let numbers: Result<Vec<u64>, _> = text.lines().map(str::parse).collect();
        let [clones, fetches, bytes, biggest, took] = numbers.ok()?[..] else {
            return None;
        };
        Some(Self {
            clones,
            fetches,
            bytes,
            biggest,
            took,
        })
    }

    /// Writes the file of a mirror.
    pub(super) fn write(&self, git_dir: &Path) -> io::Result<()> {
        durable::replace(&git_dir.join(FILE), self.text().as_bytes())
    }

    fn text(&self) -> String {
        let Self {
            clones,
            fetches,
            bytes,
            biggest,
            took,
        } = self;
        format!("{clones}\n{fetches}\n{bytes}\n{biggest}\n{took}\n")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOTHING: Download = Download {
        bytes: 0,
        is_own: false,
    };

    fn own(bytes: u64) -> Download {
        let is_own = true;
        Download { bytes, is_own }
    }

    fn shared(bytes: u64) -> Download {
        let is_own = false;
        Download { bytes, is_own }
    }

    fn totals(counts: &Counts) -> (u64, u64, u64) {
        (counts.clones, counts.fetches, counts.bytes)
    }

    #[test]
    fn the_clone_that_made_the_mirror_has_saved_nothing_and_the_next_one_all() {
        let mut counts = Counts::default();
        // A pack on disk may be a little longer than what came.
        assert!(!counts.add_answer(Some(1020), own(1000)));
        assert_eq!(totals(&counts), (0, 0, 0));
        assert!(counts.add_answer(Some(1020), NOTHING));
        assert!(counts.add_answer(Some(1020), shared(1000)));
        assert_eq!(totals(&counts), (2, 0, 2040));
    }

    #[test]
    fn a_clone_for_which_a_little_came_has_saved_the_rest() {
        let mut counts = Counts::default();
        assert!(counts.add_answer(Some(1000), own(100)));
        assert_eq!(totals(&counts), (1, 0, 900));
    }

    #[test]
    fn of_fetches_that_wait_together_one_has_downloaded_it() {
        let mut counts = Counts::default();
        assert!(!counts.add_answer(None, own(70)));
        assert!(counts.add_answer(None, shared(70)));
        assert!(counts.add_answer(None, shared(70)));
        assert_eq!(totals(&counts), (0, 2, 140));
    }

    #[test]
    fn a_fetch_without_a_download_saves_no_bytes() {
        let mut counts = Counts::default();
        assert!(counts.add_answer(None, NOTHING));
        assert_eq!(totals(&counts), (0, 1, 0));
    }

    #[test]
    fn time_goes_by_the_biggest_download_and_not_by_how_long_small_ones_take() {
        let mut counts = Counts::default();
        counts.add_answer(Some(3000), NOTHING);
        assert_eq!(counts.saved().milliseconds, None, "nobody knows");
        let second = Duration::from_secs(1);
        assert!(counts.add_download(10, second));
        assert!(counts.add_download(1000, 2 * second));
        assert!(!counts.add_download(10, second));
        assert_eq!(counts.saved().milliseconds, Some(6000));
    }

    #[test]
    fn a_torn_file_is_not_read() {
        for text in ["", "1\n2\n3\n4\n", "1\n2\n3\n4\nx\n", "1\n2\n3\n4\n5\n6\n"] {
            assert_eq!(Counts::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_counts_read_back_as_they_were_written(numbers in any::<[u64; 5]>()) {
            let [clones, fetches, bytes, biggest, took] = numbers;
            let counts = Counts { clones, fetches, bytes, biggest, took };
            prop_assert_eq!(Counts::parse(&counts.text()), Some(counts));
            counts.saved();
        }
    }
}
