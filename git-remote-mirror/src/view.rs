//! A repository that shows the refs of a mirror together with those that this client asked for. git's server programs read
//! their refs from it and their objects from the mirror.

use std::{fs, io, path::Path};

use common::{
    packs::packed_refs::{self, PackedRefs},
    refspec::{self, Kept, KeptName, OnDemand},
};
use tempfile::TempDir;

/// Such a repository; it is removed with this.
pub(crate) struct View(TempDir);

impl View {
    /// Makes the view of a mirror; None where the mirror's own refs are all that is to be shown.
    ///
    /// # Errors
    /// Fails when a file cannot be read or written.
    pub(crate) fn new(mirror: &Path, wanted: &OnDemand) -> io::Result<Option<Self>> {
        if wanted.is_empty() {
            return Ok(None);
        }
        let packed = match fs::read(mirror.join(packed_refs::FILE)) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            packed => packed?,
        };
        let Some(shown) = shown(&packed, wanted) else {
            return Ok(None);
        };
        let view = Self(tempfile::tempdir()?);
        let dir = view.path();
        for folder in ["refs", "objects"] {
            fs::create_dir(dir.join(folder))?;
        }
        for file in ["HEAD", "config"] {
            fs::copy(mirror.join(file), dir.join(file))?;
        }
        fs::write(dir.join(packed_refs::FILE), shown)?;
        Ok(Some(view))
    }

    /// The git directory. Its objects are those of the mirror, by `GIT_OBJECT_DIRECTORY`.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

/// The file of the refs that are shown; None where none of them was asked for.
fn shown(packed: &[u8], wanted: &OnDemand) -> Option<Vec<u8>> {
    let packed = PackedRefs::parse(packed).ok()?;
    let header: &[u8] = match packed.is_fully_peeled() {
        true => packed_refs::HEADER,
        false => b"# pack-refs with: peeled sorted \n",
    };
    let (mut refs, mut has_wanted) = (Vec::new(), false);
    for packed in packed {
        let packed = packed.ok()?;
        let name = match wanted_name(packed.name, wanted) {
            Some(name) => {
                has_wanted = true;
                name
            }
            None if refspec::is_reserved(packed.name) => continue,
            None => packed.name.to_vec(),
        };
        let mut lines = [packed.object, b" ", &name, b"\n"].concat();
        if let Some(peeled) = packed.peeled {
            lines.extend([b"^", peeled, b"\n"].concat());
        }
        refs.push((name, lines));
    }
    refs.sort();
    // A ref that is tracked by now is shown as the mirror shows it.
    refs.dedup_by(|one, other| one.0 == other.0);
    let lines = refs.into_iter().flat_map(|(_, lines)| lines);
    has_wanted.then(|| header.iter().copied().chain(lines).collect())
}

/// The name at upstream of a ref that was fetched because somebody asked for it, where this client asks for it, too.
pub(crate) fn wanted_name(name: &[u8], wanted: &OnDemand) -> Option<Vec<u8>> {
    let kept = Kept::parse(name)?;
    match &kept.what {
        KeptName::Ref(upstream) if wanted.wants(upstream) => Some(upstream.as_bstr().to_vec()),
        _ => None,
    }
}
