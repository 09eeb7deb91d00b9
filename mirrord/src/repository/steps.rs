//! Records which pack brought a mirror from one state of its records to the next, for clients that have the state before.
//! `common::packs::steps` is the format of the file, and says what it is for.

use std::{collections::BTreeMap, fs, io, path::Path};

use common::packs::steps::{self, Move, Step, Steps};
use gix::{
    ObjectId,
    bstr::{BStr, ByteSlice},
};

use crate::repository::{
    plan::Plan,
    refs::{self, Refs},
};

/// Records the step that `plan` was: from the records in `before` to those after it, by one pack or none.
///
/// The file need not last through a power cut: a step that does not end at the current records is not used.
pub(crate) fn record(
    git_dir: &Path,
    before: &Refs,
    plan: &Plan,
    pack: Option<String>,
    mut is_fast_forward: impl FnMut(&BStr, ObjectId, ObjectId) -> bool,
) -> io::Result<()> {
    let edits = plan.edits.iter();
    let edits: Vec<_> = edits.filter(|(name, _)| refs::is_record(name)).collect();
    if edits.is_empty() {
        return Ok(());
    }
    let before = before.iter().filter(|(name, _)| refs::is_record(name));
    let before: BTreeMap<_, _> = before.map(|(name, oid)| (name.as_bstr(), *oid)).collect();
    let digest_before = digest(&before);
    let mut after = before;
    let mut moves = Vec::new();
    for (name, edit) in edits {
        match edit.new {
            Some(new) => after.insert(name.as_bstr(), new),
            None => after.remove(name.as_bstr()),
        };
        let forward = match (edit.old, edit.new) {
            (Some(old), Some(new)) => is_fast_forward(name.as_bstr(), old, new),
            _ => false,
        };
        moves.push(Move {
            name: name.to_vec(),
            old: edit.old.map(|oid| oid.to_string()),
            new: edit.new.map(|oid| oid.to_string()),
            forward,
        });
    }
    let mut steps = Steps::read(git_dir)?;
    steps.add(Step {
        pack,
        before: digest_before,
        after: digest(&after),
        moves,
    });
    let new = tempfile::Builder::new()
        .prefix(crate::process::durable::UNFINISHED)
        .tempfile_in(git_dir)?;
    fs::write(new.path(), steps.text())?;
    new.persist(steps::path(git_dir))?;
    Ok(())
}

fn digest(records: &BTreeMap<&BStr, ObjectId>) -> u64 {
    steps::digest(records.iter().map(|(name, oid)| (*name, oid.to_string())))
}
