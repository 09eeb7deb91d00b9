//! The index of a pack, as gitformat-pack(5) has it, version 2: whether it has an object.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::Path,
};

/// The magic number and the version.
const HEADER: [u8; 8] = [0xff, b't', b'O', b'c', 0, 0, 0, 2];
/// The length of the fan-out table: a number of four bytes for each first byte of a name.
const FANOUT_BYTES: usize = 256 * 4;

/// An index, open for reading.
pub(crate) struct PackIndex {
    file: File,
    /// How many objects have a name whose first byte is at most the position in this table.
    fanout: Vec<u32>,
}

impl PackIndex {
    /// Opens an index and reads its fan-out table.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut start = [0; HEADER.len() + FANOUT_BYTES];
        file.read_exact_at(&mut start, 0)?;
        let (header, fanout) = start.split_at(HEADER.len());
        if header != HEADER {
            return Err(ErrorKind::InvalidData.into());
        }
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | u32::from(*byte))
        };
        let fanout = fanout.chunks(4).map(number).collect();
        Ok(Self { file, fanout })
    }

    /// Whether the index has all of these objects: names in binary, sorted, all of one length.
    pub(crate) fn has_all(&self, names: &[Vec<u8>]) -> io::Result<bool> {
        for alike in names.chunk_by(|one, other| one.first() == other.first()) {
            let Some(first) = alike[0].first() else {
                return Ok(false);
            };
            let bucket = self.bucket(*first, alike[0].len())?;
            let bucket: Vec<&[u8]> = bucket.chunks(alike[0].len()).collect();
            if !alike
                .iter()
                .all(|name| bucket.binary_search(&&**name).is_ok())
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The names that begin with this byte, without a gap between them.
    fn bucket(&self, first: u8, width: usize) -> io::Result<Vec<u8>> {
        let at = usize::from(first);
        let begin = at.checked_sub(1).map_or(0, |before| self.fanout[before]);
        let count = self.fanout[at].checked_sub(begin);
        let count = count.ok_or(ErrorKind::InvalidData)?;
        let length = u64::from(count) * width as u64;
        let offset = (HEADER.len() + FANOUT_BYTES) as u64 + u64::from(begin) * width as u64;
        // A damaged table must not decide how much memory is taken.
        if offset + length > self.file.metadata()?.len() {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut names = vec![0; usize::try_from(length).map_err(|_| ErrorKind::InvalidData)?];
        self.file.read_exact_at(&mut names, offset)?;
        Ok(names)
    }
}
