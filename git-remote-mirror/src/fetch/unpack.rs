//! Unpacks the objects of small packs into the client's repository, where git would: `fetch.unpackLimit` in
//! git-config(1). A pack for each small fetch would soon have `git gc --auto` rewrite the repository.

use std::{fs::File, io, os::unix::fs::FileExt, process::Stdio};

use common::git::{self, child_log::ChildLog, client_context::UserConfig};

/// git's own limit where none is set (`unpack_limit` in its fetch-pack.c).
const DEFAULT_LIMIT: u32 = 100;

/// The length of the start of a pack: `PACK`, the version, and the number of objects (gitformat-pack(5)).
const HEADER_BYTES: usize = 12;

/// Returns the number of objects from which on a pack is kept as one.
///
/// # Errors
/// Fails where git would not take the setting: git says why.
pub(crate) fn limit(config: &UserConfig, keeps_packs: bool) -> io::Result<u32> {
    if keeps_packs {
        return Ok(0);
    }
    for key in ["fetch.unpacklimit", "transfer.unpacklimit"] {
        let Some(text) = config.get(key) else {
            continue;
        };
        let limit: i64 = text
            .parse()
            .map_err(|_| io::Error::other(format!("'{key}' is not a plain number")))?;
        match limit {
            // git unpacks every pack then.
            0 => return Ok(u32::MAX),
            1.. => return Ok(limit.try_into().unwrap_or(u32::MAX)),
            // As if it were not set.
            _ => {}
        }
    }
    Ok(DEFAULT_LIMIT)
}

/// Returns the number of objects in a pack.
pub(crate) fn count(pack: &File) -> io::Result<u32> {
    let mut header = [0; HEADER_BYTES];
    pack.read_exact_at(&mut header, 0)?;
    match header {
        [b'P', b'A', b'C', b'K', _, _, _, _, count @ ..] => Ok(u32::from_be_bytes(count)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Has git unpack a pack into the repository in which it runs this program. git writes no object that is there already.
///
/// # Errors
/// Fails when git does.
pub(crate) fn run(pack: File, progress: bool) -> io::Result<()> {
    let mut git = git::of_user();
    git.arg("unpack-objects")
        .args((!progress).then_some("-q"))
        .stdin(pack)
        .stdout(Stdio::null())
        .stderr(match progress {
            true => Stdio::inherit(),
            false => Stdio::null(),
        });
    let log = ChildLog::begin(&git);
    let status = git.status()?;
    log.ended(status);
    match status.success() {
        true => Ok(()),
        false => Err(io::Error::other("git cannot unpack the objects")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_number_of_objects_is_in_the_header() {
        let mut pack = tempfile::tempfile().expect("a temporary file");
        pack.write_all(b"PACK\0\0\0\x02\0\0\x01\x02...")
            .expect("ours");
        assert_eq!(count(&pack).expect("a pack"), 258);
        let mut other = tempfile::tempfile().expect("a temporary file");
        other
            .write_all(b"DIRC\0\0\0\x02\0\0\x01\x02")
            .expect("ours");
        assert!(count(&other).is_err());
    }
}
