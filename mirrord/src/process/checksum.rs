//! The checksums of copies.

use sha2::{Digest, Sha256};

/// SHA-256, in hexadecimal.
pub(crate) fn of(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}
