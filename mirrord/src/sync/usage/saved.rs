//! What a mirror has saved, in numbers: pure but for the file that they lie in.
//!
//! They are estimates, and rather too low than too high. A clone is worth the packs that upstream has given, less what
//! had to be downloaded for it. A fetch that waited for a sync together with others is worth what came, but for the one of
//! them for whom it is said to have come; what any other fetch would have downloaded nobody here can tell, and it counts
//! for nothing. The time is that of the biggest download that the mirror has made itself, in proportion: many small ones
//! would say how slow a question is, and not how slow the line.

use std::{fs, io, path::Path, time::Duration};

use common::protocol::Saved;

use crate::{process::durable, sync::Download};

/// The file in a mirror that has all of it: a number on each line, in the order of the fields.
const FILE: &str = "saved";

/// What was counted.
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
    /// Milliseconds that this one took.
    took: u64,
}

impl Counts {
    /// Counts an answer: to a clone, for which upstream would have sent `all` these bytes, or to a fetch. Says whether that
    /// changes anything.
    pub(super) fn answered(&mut self, all: Option<u64>, download: Download) -> bool {
        let own = if download.is_own { download.bytes } else { 0 };
        match all {
            // Most of it came for this very clone.
            Some(all) if own > all / 2 => return false,
            Some(all) => {
                self.clones += 1;
                self.bytes = self.bytes.saturating_add(all - own);
            }
            None if own > 0 => return false,
            None => {
                self.fetches += 1;
                self.bytes = self.bytes.saturating_add(download.bytes);
            }
        }
        true
    }

    /// Counts a download. Says whether that changes anything.
    pub(super) fn downloaded(&mut self, bytes: u64, took: Duration) -> bool {
        let is_biggest = bytes > self.biggest;
        if is_biggest {
            self.biggest = bytes;
            self.took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        }
        is_biggest
    }

    /// As it is told.
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

    /// What was written down; nothing where that is lost.
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

    /// Writes it down.
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

    fn told(counts: &Counts) -> (u64, u64, u64) {
        (counts.clones, counts.fetches, counts.bytes)
    }

    #[test]
    fn the_clone_that_made_the_mirror_has_saved_nothing_and_the_next_one_all() {
        let mut counts = Counts::default();
        // A pack on disk may be a little longer than what came.
        assert!(!counts.answered(Some(1020), own(1000)));
        assert_eq!(told(&counts), (0, 0, 0));
        assert!(counts.answered(Some(1020), NOTHING));
        assert!(counts.answered(Some(1020), shared(1000)));
        assert_eq!(told(&counts), (2, 0, 2040));
    }

    #[test]
    fn a_clone_for_which_a_little_came_has_saved_the_rest() {
        let mut counts = Counts::default();
        assert!(counts.answered(Some(1000), own(100)));
        assert_eq!(told(&counts), (1, 0, 900));
    }

    #[test]
    fn of_those_who_fetch_together_one_has_downloaded_it() {
        let mut counts = Counts::default();
        assert!(!counts.answered(None, own(70)));
        assert!(counts.answered(None, shared(70)));
        assert!(counts.answered(None, shared(70)));
        assert_eq!(told(&counts), (0, 2, 140));
    }

    #[test]
    fn a_fetch_that_brought_nothing_is_a_fetch_and_no_saved_byte() {
        let mut counts = Counts::default();
        assert!(counts.answered(None, NOTHING));
        assert_eq!(told(&counts), (0, 1, 0));
    }

    #[test]
    fn time_goes_by_the_biggest_download_and_not_by_how_long_small_ones_take() {
        let mut counts = Counts::default();
        counts.answered(Some(3000), NOTHING);
        assert_eq!(counts.saved().milliseconds, None, "nobody knows");
        let second = Duration::from_secs(1);
        assert!(counts.downloaded(10, second));
        assert!(counts.downloaded(1000, 2 * second));
        assert!(!counts.downloaded(10, second));
        assert_eq!(counts.saved().milliseconds, Some(6000));
    }

    #[test]
    fn what_is_torn_is_nothing() {
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
