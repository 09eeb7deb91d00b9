//! Mends what is broken: what can still be read of a bad pack is put into a new one, and the bad one is laid aside.
//!
//! Nothing is thrown away before the mirror is whole again, and nothing is cloned over it: some of it may be all that there
//! is of somebody's work.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use common::git;
use gix::{
    ObjectId,
    hash::Kind,
    odb::pack::{Bundle, data::entry::Header, index},
    progress::Discard,
};

use super::{
    indexes, packs,
    repack::{self, LIMITS},
};
use crate::{
    process::{child, durable, watch::Watch},
    repository::{
        quarantine::{Origin, Quarantine},
        refs::{self, Refs},
        verified,
    },
};

/// Where bad packs lie, inside a mirror, as long as it is not whole.
const ASIDE: &str = "damaged";

/// What could be read of a pack that is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Salvaged {
    /// All of it: it has been replaced.
    Replaced,
    /// All that is in it, which is another pack than it was.
    All,
    /// Some of it.
    Some,
}

/// Lets into a mirror what can still be read of a pack that is not what it should be.
pub(super) fn salvage(git_dir: &Path, pack: &str, watch: &Watch) -> io::Result<Salvaged> {
    let origin = packs::origin(git_dir, pack);
    // Often only its index is broken.
    let quarantine = Quarantine::new(git_dir)?;
    if is_indexed_anew(&quarantine, &file(git_dir, pack, "pack"), watch)? {
        return let_in(&quarantine, pack, origin);
    }
    drop(quarantine);
    let Some(shelf) = with_its_ends(git_dir, pack, watch)? else {
        return Ok(Salvaged::Some);
    };
    let on_shelf = |ending: &str| shelf.path().join(format!("pack/{pack}.{ending}"));
    let quarantine = Quarantine::new(git_dir)?;
    if is_indexed_anew(&quarantine, &on_shelf("pack"), watch)? {
        return let_in(&quarantine, pack, origin);
    }
    drop(quarantine);
    let sound = sound_objects(&on_shelf("idx"), refs::open(git_dir)?.object_hash());
    if sound.is_empty() {
        return Ok(Salvaged::Some);
    }
    let quarantine = Quarantine::new(git_dir)?;
    let base = quarantine.path().join("pack/pack");
    let mut git = alone(&shelf)?;
    git.args(["pack-objects", "--delta-base-offset", "-q"])
        .arg(&base);
    let list = sound.iter().map(|oid| format!("{oid}\n")).collect();
    let written = repack::run(&git, list, watch)?;
    // There will be no other copy: what was written is read again.
    let hash = String::from_utf8_lossy(&written.stdout).trim().to_owned();
    let mut git = alone(&quarantine)?;
    git.arg("verify-pack");
    git.arg(quarantine.path().join(format!("pack/pack-{hash}.idx")));
    repack::run(&git, String::new(), watch)?;
    quarantine.release(origin)?;
    Ok(Salvaged::Some)
}

/// Lets in what has been indexed anew.
fn let_in(quarantine: &Quarantine, pack: &str, origin: Origin) -> io::Result<Salvaged> {
    let is_the_same = quarantine.path().join(format!("pack/{pack}.idx")).exists();
    quarantine.release(origin)?;
    Ok(match is_the_same {
        true => Salvaged::Replaced,
        false => Salvaged::All,
    })
}

/// A git in a quarantine, as if there were no other objects.
fn alone(quarantine: &Quarantine) -> io::Result<Command> {
    let mut git = quarantine.git_with_refs(&Refs::new())?;
    git.env_remove("GIT_ALTERNATE_OBJECT_DIRECTORIES")
        .args(LIMITS);
    Ok(git)
}

/// A copy of a bad pack and its index, with the begin and the end that the index says the pack had: without them, git does
/// not look into what is between. None where the index is bad as well.
fn with_its_ends(git_dir: &Path, pack: &str, watch: &Watch) -> io::Result<Option<Quarantine>> {
    let format = refs::open(git_dir)?.object_hash();
    let index = file(git_dir, pack, "idx");
    let Ok(known) = index::File::at(&index, format) else {
        return Ok(None);
    };
    if known.verify_checksum(&mut Discard, watch.flag()).is_err() {
        return Ok(None);
    }
    let shelf = Quarantine::new(git_dir)?;
    let on_shelf = |ending: &str| shelf.path().join(format!("pack/{pack}.{ending}"));
    fs::copy(&index, on_shelf("idx"))?;
    fs::copy(file(git_dir, pack, "pack"), on_shelf("pack"))?;
    fs::set_permissions(on_shelf("pack"), Permissions::from_mode(0o600))?;
    let copy = File::options().write(true).open(on_shelf("pack"))?;
    let mut begin = b"PACK\0\0\0\x02".to_vec();
    begin.extend(known.num_objects().to_be_bytes());
    copy.write_all_at(&begin, 0)?;
    let end = known.pack_checksum();
    let last = copy
        .metadata()?
        .len()
        .saturating_sub(end.as_slice().len() as u64);
    copy.write_all_at(end.as_slice(), last.max(begin.len() as u64))?;
    Ok(Some(shelf))
}

/// Whether git can make an index of a pack, which it then has done, as if there were no other objects.
fn is_indexed_anew(quarantine: &Quarantine, pack: &Path, watch: &Watch) -> io::Result<bool> {
    let mut git = alone(quarantine)?;
    git.args(["index-pack", "--stdin"]);
    let mut nice = git::niced(&git);
    nice.stdin(File::open(pack)?).stdout(Stdio::null());
    let ended = child::run(nice, Vec::new(), watch)?;
    if watch.is_cancelled() {
        return Err(io::ErrorKind::Interrupted.into());
    }
    Ok(ended.status.success())
}

/// The objects of a bad pack of which every byte is as its good index says, and so are those upon which they are built.
fn sound_objects(index: &Path, format: Kind) -> Vec<ObjectId> {
    let Ok(bundle) = Bundle::at(index, format) else {
        return Vec::new();
    };
    let (index, pack) = (&bundle.index, &bundle.pack);
    let places = (0..index.num_objects()).map(|at| (index.pack_offset_at_index(at), at));
    let places: BTreeMap<u64, u32> = places.collect();
    let ends = places.keys().skip(1).copied();
    let ends = ends.chain([pack.pack_end() as u64]);
    let is_as_written = |at: u32, begin: u64, end: u64| {
        let length = usize::try_from(end.saturating_sub(begin)).unwrap_or_default();
        pack.entry_slice(begin..end).is_some()
            && index.crc32_at_index(at) == Some(pack.entry_crc32(begin, length))
    };
    let as_written = places.iter().zip(ends);
    let as_written: BTreeMap<u64, u32> = as_written
        .filter(|((begin, at), end)| is_as_written(**at, **begin, *end))
        .map(|((begin, at), _)| (*begin, *at))
        .collect();
    // Of those that are built upon nothing, and then upon these, and so on.
    let mut sound: BTreeSet<u64> = BTreeSet::new();
    let base = |begin: u64| match pack.entry(begin).ok()?.header {
        Header::OfsDelta { base_distance } => Some(begin.checked_sub(base_distance)),
        Header::RefDelta { base_id } => {
            let at = index.lookup(base_id);
            Some(at.map(|at| index.pack_offset_at_index(at)))
        }
        _ => None,
    };
    loop {
        let before = sound.len();
        for begin in as_written.keys() {
            let is_sound = match base(*begin) {
                None => true,
                Some(base) => base.is_some_and(|base| sound.contains(&base)),
            };
            if is_sound {
                sound.insert(*begin);
            }
        }
        if sound.len() == before {
            break;
        }
    }
    let sound = sound.iter().map(|begin| as_written[begin]);
    sound.map(|at| index.oid_at_index(at).to_owned()).collect()
}

/// Lays bad packs aside. Nobody may be reading the mirror.
pub(super) fn set_aside(git_dir: &Path, bad: &[String]) -> io::Result<()> {
    let aside = git_dir.join(ASIDE);
    match fs::create_dir(&aside) {
        Err(err) if err.kind() != io::ErrorKind::AlreadyExists => return Err(err),
        _ => {}
    }
    // What is laid there may be the only copy of something: it must not go with its folder in a power cut.
    durable::sync_dir(git_dir)?;
    indexes::forget_index(git_dir)?;
    indexes::forget_graph(git_dir)?;
    verified::mark_unverified(git_dir, bad.iter().map(String::as_str))?;
    for pack in bad {
        // The index first: without one, nobody looks into a pack; the mark that keeps it apart last.
        for ending in [
            "idx",
            "pack",
            "rev",
            "bitmap",
            "mtimes",
            packs::AGING,
            "keep",
        ] {
            let from = file(git_dir, pack, ending);
            match fs::rename(&from, aside.join(from.file_name().unwrap_or_default())) {
                Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
                _ => {}
            }
        }
    }
    durable::sync_dir(&aside)?;
    durable::sync_dir(&packs::folder(git_dir))
}

/// Removes what was laid aside: the mirror is whole without it.
pub(super) fn forget_bad(git_dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(git_dir.join(ASIDE)) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
        _ => Ok(()),
    }
}

fn file(git_dir: &Path, pack: &str, ending: &str) -> PathBuf {
    packs::folder(git_dir).join(format!("{pack}.{ending}"))
}

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast;

    use super::*;
    use crate::upkeep::store::Store;

    fn watch() -> Watch {
        Watch::new("", broadcast::channel(1).0, Vec::new())
    }

    /// The objects that a reader finds.
    fn objects(store: &Store) -> BTreeSet<String> {
        let all = [
            "cat-file",
            "--batch-check=%(objectname)",
            "--batch-all-objects",
        ];
        store.git(&all, "").lines().map(str::to_owned).collect()
    }

    fn flip(path: &Path, at: u64) {
        fs::set_permissions(path, Permissions::from_mode(0o644)).expect("ours");
        let file = File::options().read(true).write(true).open(path);
        let file = file.expect("there");
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("readable");
        file.write_all_at(&[byte[0] ^ 4], at).expect("ours");
    }

    /// Salvages a pack, and lays it aside unless that has mended it.
    async fn mend(store: &Store, pack: &str) {
        let (git_dir, name) = (store.path().to_owned(), pack.to_owned());
        let salvaged = tokio::task::spawn_blocking(move || salvage(&git_dir, &name, &watch()));
        let salvaged = salvaged.await.expect("no panic").expect("salvaged");
        if salvaged != Salvaged::Replaced {
            set_aside(store.path(), &[pack.to_owned()]).expect("laid aside");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_bad_byte_costs_no_more_than_what_is_built_upon_it_and_brings_in_nothing_wrong() {
        let mut store = Store::new();
        store.history("main", 4);
        let pack = store.names().pop().expect("one pack");
        fs::write(
            store.file(&format!("{pack}.keep")),
            crate::repository::quarantine::LOCAL_MARK,
        )
        .expect("ours");
        let all = objects(&store);
        let sound = tempfile::tempdir().expect("temp dir");
        let sound = sound.path().join("sound.git");
        let copy = |from: &Path, to: &Path| {
            let copied = std::process::Command::new("cp")
                .arg("-a")
                .arg(from)
                .arg(to)
                .status();
            assert!(copied.expect("cp runs").success());
        };
        copy(store.path(), &sound);
        for ending in ["pack", "idx"] {
            let length = fs::metadata(store.file(&format!("{pack}.{ending}")));
            let length = length.expect("there").len();
            for at in (0..length).step_by(41) {
                flip(&store.file(&format!("{pack}.{ending}")), at);
                mend(&store, &pack).await;
                let left = objects(&store);
                assert!(left.is_subset(&all), "{ending} {at}");
                match ending {
                    "idx" => assert_eq!(left, all, "{at}"),
                    _ if (12..length - 20).contains(&at) => {
                        assert!(left.len() + 2 >= all.len(), "{at}: {} left", left.len());
                    }
                    _ => assert_eq!(left, all, "only its begin or its end was bad: {at}"),
                }
                for name in store.names() {
                    let index = store.file(&format!("{name}.idx"));
                    store.git(&["verify-pack", index.to_str().expect("plain")], "");
                    assert!(
                        store.file(&format!("{name}.keep")).exists(),
                        "it stays apart"
                    );
                }
                let is_aside = || {
                    store
                        .path()
                        .join(ASIDE)
                        .join(format!("{pack}.pack"))
                        .exists()
                };
                assert!(left == all || is_aside(), "nothing is thrown away");
                fs::remove_dir_all(store.path()).expect("ours");
                copy(&sound, store.path());
            }
        }
    }
}
