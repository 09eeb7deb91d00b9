//! Where what came meets what a mirror with many refs has, so that the connectivity check need not begin at all refs.

use std::{collections::BTreeSet, io};

use common::packs::packed_refs::PackedRefs;
use gix::{ObjectId, objs::Kind};

use super::Quarantine;
use crate::repository::{
    objects::{self, Commits},
    refs::{MANY_REFS, Snapshot},
};

/// How many commits of a quarantine are walked. The check itself walks more of them faster.
const MAX_COMMITS: usize = 10_000;

/// The commits of the mirror at which the history of `tips` leaves the quarantine; None where the mirror has few refs, where
/// one of the commits is not what a ref names, and so perhaps not complete, and where the walk does not see its way.
pub(super) fn find(
    quarantine: &Quarantine,
    tips: &BTreeSet<ObjectId>,
) -> io::Result<Option<BTreeSet<ObjectId>>> {
    let refs = Snapshot::take(&quarantine.git_dir)?;
    let Ok(packed) = PackedRefs::parse(refs.bytes()) else {
        return Ok(None);
    };
    if packed.clone().take(MANY_REFS).count() < MANY_REFS {
        return Ok(None);
    }
    let Some(border) = walk(quarantine, tips)? else {
        return Ok(None);
    };
    let mut unnamed = border.clone();
    for each in packed.flatten() {
        if unnamed.is_empty() {
            break;
        }
        if let Ok(oid) = ObjectId::from_hex(each.object) {
            unnamed.remove(&oid);
        }
    }
    Ok(unnamed.is_empty().then_some(border))
}

fn walk(
    quarantine: &Quarantine,
    tips: &BTreeSet<ObjectId>,
) -> io::Result<Option<BTreeSet<ObjectId>>> {
    let mut mirror = quarantine.repository()?;
    // A commit that is not there would have all packs listed again.
    mirror.objects.refresh_never();
    let incoming = quarantine.repository_with_incoming()?;
    let commits = Commits::new(&incoming);
    let (mut border, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let mut queue: Vec<ObjectId> = Vec::new();
    for tip in tips {
        match objects::peel(&incoming, *tip) {
            Some((commit, Kind::Commit)) => queue.push(commit),
            _ => return Ok(None),
        }
    }
    while let Some(oid) = queue.pop() {
        if !seen.insert(oid) {
            continue;
        }
        if mirror.has_object(oid) {
            border.insert(oid);
            continue;
        }
        match commits.parents(&oid) {
            Some(parents) if seen.len() < MAX_COMMITS => queue.extend(parents),
            _ => return Ok(None),
        }
    }
    Ok(Some(border))
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _, process::Stdio};

    use common::{
        packs::packed_refs,
        protocol::{Failure, FailureKind},
    };

    use tokio::sync::broadcast;

    use super::*;
    use crate::{
        process::watch::Watch,
        repository::{
            connected::Trust,
            sample::{Imported, Sample},
        },
    };

    /// Makes so many refs of the mirror name the first of these commits, and one name each of the others.
    fn set_refs(mirror: &Imported, number: usize, commits: &[ObjectId]) {
        let mut refs = packed_refs::HEADER.to_vec();
        for at in 0..number {
            let oid = commits[at.saturating_sub(number - commits.len())];
            refs.extend(format!("{oid} refs/heads/{at:06}\n").bytes());
        }
        fs::write(mirror.path().join(packed_refs::FILE), refs).expect("ours");
    }

    /// Writes a commit into a quarantine.
    fn write(quarantine: &Quarantine, tree: ObjectId, parent: ObjectId) -> ObjectId {
        let text = format!(
            "tree {tree}\nparent {parent}\nauthor A <a@a> 1 +0000\ncommitter A <a@a> 1 +0000\n\nm\n"
        );
        let mut git = quarantine.git();
        git.args([
            "hash-object",
            "--literally",
            "-w",
            "--stdin",
            "-t",
            "commit",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
        let mut child = git.spawn().expect("git runs");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(text.as_bytes()).expect("it reads");
        drop(stdin);
        let output = child.wait_with_output().expect("git runs");
        ObjectId::from_hex(output.stdout.trim_ascii_end()).expect("an object id")
    }

    fn check(quarantine: &Quarantine, tip: ObjectId) -> Result<(), Failure> {
        let tips = BTreeSet::from([tip]);
        let watch = Watch::new("host", broadcast::channel(1).0, Vec::new());
        quarantine.check_connected(&tips, Trust::Refs, &watch)
    }

    #[test]
    fn new_commits_are_checked_down_to_the_refs_that_they_are_made_on() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let _inside = runtime.enter();
        let mut sample = Sample::new();
        let (one, other) = (sample.commit(&[]), sample.commit(&[]));
        let two = sample.commit(&[one]);
        let mirror = sample.import();
        let [one, other, two] = [one, other, two].map(|mark| mirror.oid(mark));
        let quarantine = Quarantine::new(mirror.path()).expect("made");
        let tree = ObjectId::empty_tree(one.kind());
        let found = |tip: ObjectId| find(&quarantine, &BTreeSet::from([tip])).expect("readable");
        let on = |parent| write(&quarantine, tree, parent);

        set_refs(&mirror, 10, &[other, two]);
        assert_eq!(found(on(two)), None, "few refs");
        set_refs(&mirror, MANY_REFS, &[other, two]);
        assert_eq!(found(on(on(two))), Some(BTreeSet::from([two])));
        assert_eq!(found(on(one)), None, "no ref names it");
        assert_eq!(found(on(tree)), None, "no commit");
        for parent in [one, two] {
            check(&quarantine, on(on(parent))).expect("nothing is missing");
        }
        let missing = ObjectId::from_hex(&[b'1'; 40]).expect("hex");
        for incomplete in [on(missing), write(&quarantine, missing, two)] {
            let failure = check(&quarantine, incomplete).expect_err("something is missing");
            assert_eq!(failure.kind, FailureKind::Unusable);
        }
    }
}
