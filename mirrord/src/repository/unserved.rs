//! The refs that upstream advertises and cannot serve, as the last sync found them: a file in the mirror. Each fetch names
//! them, also one that does not ask upstream.

use std::{collections::BTreeMap, fs, io, path::Path};

use common::refspec::{Refspecs, UpstreamRef};
use gix::{ObjectId, bstr::ByteSlice};

use crate::{
    process::durable,
    repository::{
        plan::{Advertisement, Head},
        refs::Refs,
    },
};

/// The file in a mirror: a line for each ref, with the object, the name at upstream and the reason.
const FILE: &str = "unserved";

/// Objects that upstream advertises and cannot serve, each with the reason.
pub(crate) type Reasons = BTreeMap<ObjectId, String>;

/// A ref that upstream advertises and cannot serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unserved {
    oid: ObjectId,
    name: UpstreamRef,
    reason: String,
}

impl Unserved {
    /// The refs of an advertisement whose objects upstream cannot serve.
    pub(crate) fn list(upstream: &Advertisement, reasons: &Reasons) -> Vec<Self> {
        let head = match upstream.head {
            Head::Detached(oid) => Some((UpstreamRef::head(), oid)),
            Head::Branch(_) | Head::Unknown => None,
        };
        let refs = upstream.refs.iter().map(|(name, oid)| (name.clone(), *oid));
        let unserved = refs.chain(head).filter_map(|(name, oid)| {
            let reason = reasons.get(&oid)?.clone();
            Some(Self { oid, name, reason })
        });
        unserved.collect()
    }

    /// The line that each fetch prints. `None` when the ref is no longer tracked.
    pub(crate) fn line(&self, refs: &Refs, track: &Refspecs) -> Option<String> {
        let Self { name, reason, .. } = self;
        let public = match *name == UpstreamRef::head() {
            true => name.to_string(),
            false => track.public(name)?.to_string(),
        };
        Some(if refs.contains_key(&*name.record()) {
            format!("'{public}' is left as it was: {reason}")
        } else {
            format!("'{public}' is not shown: {reason}")
        })
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.splitn(3, |byte| *byte == b' ');
        Some(Self {
            oid: ObjectId::from_hex(fields.next()?).ok()?,
            name: UpstreamRef::new(fields.next()?),
            reason: fields.next()?.to_str_lossy().into_owned(),
        })
    }
}

/// The objects that upstream could not serve at the last sync.
pub(crate) fn reasons(git_dir: &Path) -> Reasons {
    let unserved = read(git_dir).into_iter();
    unserved.map(|it| (it.oid, it.reason)).collect()
}

/// The refs that upstream could not serve at the last sync. A file that cannot be read costs one request, and the next sync
/// writes it anew.
pub(crate) fn read(git_dir: &Path) -> Vec<Unserved> {
    let text = fs::read(git_dir.join(FILE)).unwrap_or_default();
    text.lines().filter_map(Unserved::parse).collect()
}

/// Writes the file, if its content changes.
pub(crate) fn write(git_dir: &Path, unserved: &[Unserved]) -> io::Result<()> {
    if read(git_dir) == unserved {
        return Ok(());
    }
    let path = git_dir.join(FILE);
    if unserved.is_empty() {
        return durable::remove(&path);
    }
    let mut text = Vec::new();
    for Unserved { oid, name, reason } in unserved {
        text.extend_from_slice(format!("{oid} ").as_bytes());
        text.extend_from_slice(name.as_bstr());
        text.extend_from_slice(format!(" {reason}\n").as_bytes());
    }
    durable::replace(&path, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().expect("temp dir");
        let oid = ObjectId::from_hex(&[b'1'; 40]).expect("hex");
        let other = ObjectId::from_hex(&[b'2'; 40]).expect("hex");
        let upstream = Advertisement {
            refs: [
                (UpstreamRef::new(b"refs/heads/caf\xe9"), oid),
                ("refs/heads/good".into(), other),
            ]
            .into(),
            head: Head::Detached(oid),
            ..Advertisement::default()
        };
        let reasons = Reasons::from([(oid, "not our ref".to_owned())]);
        let unserved = Unserved::list(&upstream, &reasons);
        assert_eq!(unserved.len(), 2, "a branch and HEAD");
        write(dir.path(), &unserved).expect("written");
        assert_eq!(read(dir.path()), unserved);
        assert_eq!(super::reasons(dir.path()), reasons);
        write(dir.path(), &[]).expect("written");
        assert!(!dir.path().join(FILE).exists());
    }
}
