//! Looks objects up in the index of a pack, as gitformat-pack(5) has it, version 2.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::Path,
};

const HEADER: [u8; 8] = [0xff, b't', b'O', b'c', 0, 0, 0, 2];
const FANOUT: usize = 256 * 4;

/// An index, open for reading.
pub(crate) struct PackIndex {
    file: File,
    /// How many objects have a name whose first byte is no greater.
    fanout: Vec<u32>,
}

impl PackIndex {
    /// Opens one.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut begin = [0; HEADER.len() + FANOUT];
        file.read_exact_at(&mut begin, 0)?;
        let (header, fanout) = begin.split_at(HEADER.len());
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

    /// Whether it has all of these: names in binary, sorted, all of one length.
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

    /// The names that begin with this byte, one after the other.
    fn bucket(&self, first: u8, width: usize) -> io::Result<Vec<u8>> {
        let at = usize::from(first);
        let begin = at.checked_sub(1).map_or(0, |before| self.fanout[before]);
        let count = self.fanout[at].checked_sub(begin);
        let count = count.ok_or(ErrorKind::InvalidData)?;
        let length = u64::from(count) * width as u64;
        let place = (HEADER.len() + FANOUT) as u64 + u64::from(begin) * width as u64;
        // Nobody's word is taken for how much there is.
        if place + length > self.file.metadata()?.len() {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut names = vec![0; usize::try_from(length).map_err(|_| ErrorKind::InvalidData)?];
        self.file.read_exact_at(&mut names, place)?;
        Ok(names)
    }
}
