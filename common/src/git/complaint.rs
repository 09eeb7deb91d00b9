//! What git says when the objects or indexes of the repository in which it works are damaged.

/// Parts of git's messages, from its `packfile.c`, `object-file.c`, `midx.c`, `pack-check.c`, `pack-revindex.c`,
/// `pack-objects.c` and `upload-pack.c`, where `%s` is a file, an object or a number.
const MESSAGES: [&str; 25] = [
    "cannot be accessed",
    "index unavailable",
    "does not match index",
    "signature mismatch with index",
    "is not a GIT packfile",
    "far too short to be a packfile",
    "claims to have",
    "non-monotonic index",
    "index file",
    "wrong index v",
    "index CRC mismatch",
    "bad packed object CRC",
    "bad offset for revindex",
    "reverse-index",
    "multi-pack-index",
    "offset before start of packfile",
    "offset beyond end of packfile",
    "delta base offset",
    "failed to read delta",
    "failed to apply delta",
    "unknown object type",
    "unable to unpack",
    "inflate",
    "corrupt",
    "bad object",
];

/// The complaints that say that an object is missing.
const MISSING: [&str; 5] = [
    "unable to read",
    "Could not read",
    "missing blob",
    "missing tree",
    "died with error",
];

/// Whether a line of git's stderr complains of objects, packs or indexes.
#[must_use]
pub fn is_about_objects(line: &[u8]) -> bool {
    let line = String::from_utf8_lossy(line);
    let is_complaint = ["error:", "fatal:", "warning:"];
    is_complaint.iter().any(|kind| line.contains(kind))
        && MESSAGES
            .iter()
            .chain(&MISSING)
            .any(|message| line.contains(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_of_objects_are_told_from_others() {
        for line in [
            "error: packfile ./objects/pack/pack-1.pack cannot be accessed",
            "error: index CRC mismatch for object 12 from x at offset 1",
            "fatal: packed object 12 (stored in x) is corrupt",
            "remote: fatal: bad object HEAD",
            "error: git upload-pack: git-pack-objects died with error.",
            "error: non-monotonic index x.idx",
            "fatal: unable to read tree 12",
        ] {
            assert!(is_about_objects(line.as_bytes()), "{line}");
        }
        for line in [
            "",
            "Receiving objects: 100% (1/1), done.",
            "fatal: the remote end hung up unexpectedly",
            "error: remote unpack failed",
            "inflate me",
        ] {
            assert!(!is_about_objects(line.as_bytes()), "{line}");
        }
    }
}
