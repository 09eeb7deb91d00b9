//! The digest of a file's content, which tells whether it is still what was verified.

use std::{
    fmt,
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    str::FromStr,
};

/// The size of the buffer with which files are read.
const BUFFER_BYTES: usize = 1 << 20;

/// A BLAKE3 digest: nobody can make another content that has it, and it takes no longer than to read the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(blake3::Hash);

impl Digest {
    /// Reads all of a file. `is_cancelled` is asked now and then.
    ///
    /// # Errors
    /// Fails when the file cannot be read, or with [`ErrorKind::Interrupted`] when it is cancelled.
    pub fn of(file: &File, is_cancelled: impl Fn() -> bool) -> io::Result<Self> {
        let mut hasher = blake3::Hasher::new();
        let (mut buffer, mut at) = (vec![0; BUFFER_BYTES], 0);
        loop {
            if is_cancelled() {
                return Err(ErrorKind::Interrupted.into());
            }
            match file.read_at(&mut buffer, at) {
                Ok(0) => return Ok(Self(hasher.finalize())),
                Ok(read) => {
                    hasher.update(&buffer[..read]);
                    at += read as u64;
                }
                Err(err) if err.kind() == ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_hex())
    }
}

/// A text that is no digest.
#[derive(Debug, PartialEq, Eq)]
pub struct NoDigest;

impl FromStr for Digest {
    type Err = NoDigest;

    fn from_str(text: &str) -> Result<Self, NoDigest> {
        let hash = blake3::Hash::from_hex(text);
        hash.map(Self).map_err(|_| NoDigest)
    }
}
