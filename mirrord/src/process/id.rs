//! Ids that nobody can guess.

use std::io;

/// 32 hexadecimal digits.
pub(crate) fn random() -> io::Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(hex::encode(random))
}
