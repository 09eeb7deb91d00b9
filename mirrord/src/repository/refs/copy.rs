//! The copy of `packed-refs` and `HEAD`: what this program wrote last, with checksums, in one file.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use gix::bstr::ByteSlice;

use crate::process::{checksum, durable};

/// The file, beside `packed-refs`.
const FILE: &str = "packed-refs.copy";

/// The first words of the file, with the version of its format.
const FORMAT: &str = "# copy of packed-refs, form 1";

/// A copy, as it was read. [`RefsCopy::is_whole`] tells whether it is damaged.
pub(super) struct RefsCopy {
    file: Vec<u8>,
    /// The offset of the content of `packed-refs` in the file.
    start: usize,
}

impl RefsCopy {
    pub(super) fn path(git_dir: &Path) -> PathBuf {
        git_dir.join(FILE)
    }

    /// Reads the copy; `None` when there is none, or it cannot be read.
    pub(super) fn read(git_dir: &Path) -> Option<Self> {
        let file = fs::read(Self::path(git_dir)).ok()?;
        let start = file.find(b"\n\n").map_or(file.len(), |end| end + 2);
        Some(Self { file, start })
    }

    /// Writes the copy: `packed-refs` was `before` and is about to become `content`. The copy lasts when this returns.
    pub(super) fn write(
        git_dir: &Path,
        before: &[u8],
        content: &[u8],
        head: &[u8],
    ) -> io::Result<()> {
        let mut header = format!(
            "before {}\ncontent {}\nhead ",
            checksum::of(before),
            checksum::of(content)
        );
        header += &head.trim_end().to_str_lossy();
        header += "\n";
        let mut file = Vec::with_capacity(header.len() + content.len() + 128);
        write!(
            file,
            "{FORMAT} {}\n{header}\n",
            checksum::of(header.as_bytes())
        )?;
        file.extend_from_slice(content);
        durable::replace(&Self::path(git_dir), &file)
    }

    /// All bytes of the file.
    pub(super) fn file(&self) -> &[u8] {
        &self.file
    }

    /// The content that `packed-refs` was to have.
    pub(super) fn content(&self) -> &[u8] {
        &self.file[self.start..]
    }

    /// The content that `HEAD` was to have.
    pub(super) fn head(&self) -> Vec<u8> {
        let head = self.field("head").unwrap_or_default();
        [head, b"\n"].concat()
    }

    /// Whether `packed-refs` was `packed` when the copy was written.
    pub(super) fn is_after(&self, packed: &[u8]) -> bool {
        self.field("before") == Some(checksum::of(packed).as_bytes())
    }

    /// Whether the checksums are right.
    pub(super) fn is_whole(&self) -> bool {
        let header = self.file[..self.start].strip_suffix(b"\n");
        let Some((first, header)) = header.and_then(|header| header.split_once_str("\n")) else {
            return false;
        };
        first == format!("{FORMAT} {}", checksum::of(header)).as_bytes()
            && self.field("content") == Some(checksum::of(self.content()).as_bytes())
    }

    fn field(&self, name: &str) -> Option<&[u8]> {
        let mut lines = self.file[..self.start].lines();
        lines.find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_whole_until_one_bit_of_it_differs() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(RefsCopy::read(dir.path()).is_none());
        RefsCopy::write(dir.path(), b"old", b"# x\n\n1 refs/a\n", b"ref: refs/a\n")
            .expect("written");
        let copy = RefsCopy::read(dir.path()).expect("there");
        assert!(copy.is_whole() && copy.is_after(b"old") && !copy.is_after(b"other"));
        assert_eq!(copy.content(), b"# x\n\n1 refs/a\n");
        assert_eq!(copy.head(), b"ref: refs/a\n");
        let file = fs::read(RefsCopy::path(dir.path())).expect("there");
        for at in 0..file.len() {
            let mut bad = file.clone();
            bad[at] ^= 1;
            fs::write(RefsCopy::path(dir.path()), &bad).expect("ours");
            let is_whole = RefsCopy::read(dir.path()).is_some_and(|copy| copy.is_whole());
            assert!(!is_whole, "byte {at}");
            fs::write(RefsCopy::path(dir.path()), &file[..at]).expect("ours");
            let is_whole = RefsCopy::read(dir.path()).is_some_and(|copy| copy.is_whole());
            assert!(!is_whole, "cut at {at}");
        }
    }
}
