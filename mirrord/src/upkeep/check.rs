//! The weekly check whether a mirror's packs are still what was written: a disk may lose a bit in silence, and of local
//! branches there is no other copy.
//!
//! The files of packs are compared with the digests that were recorded when they were verified. Of the files that git
//! makes of them, each ends in a hash of all that is before it, and that is compared.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use gix::hash::{Kind, hasher};

use super::packs;
use crate::{
    process::watch::Watch,
    repository::{
        checked::{CHECKED, record_check},
        refs, verified,
    },
};

/// The shortest time between two checks of a mirror.
const MIN_CHECK_INTERVAL: Duration = Duration::from_secs(6 * 24 * 60 * 60);

/// How much later than that a mirror may be checked, so that not all are checked on one day.
const CHECK_SPREAD: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// The endings of files beside packs that git makes anew, or does without.
const DERIVED: [&str; 2] = ["rev", "bitmap"];

/// Whether it is time to check a mirror.
pub(super) fn is_due(git_dir: &Path, now: SystemTime) -> io::Result<bool> {
    let checked = match fs::metadata(git_dir.join(CHECKED)) {
        Ok(checked) => checked.modified()?,
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            // Every byte was checked when the mirror was made.
            record_check(git_dir, now)?;
            return Ok(false);
        }
        Err(err) => return Err(err),
    };
    // A clock that was set back does not put the check off for ever.
    let Ok(age) = now.duration_since(checked) else {
        return Ok(true);
    };
    Ok(age >= MIN_CHECK_INTERVAL + delay(git_dir))
}

/// Whether git has complained of a mirror, so that it is checked before anybody reads it.
pub(super) fn is_requested(git_dir: &Path) -> io::Result<bool> {
    match fs::metadata(git_dir.join(CHECKED)) {
        Ok(checked) => Ok(checked.modified()? == UNIX_EPOCH),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(err) => Err(err),
    }
}

/// The delay of a mirror within the spread, by its directory.
fn delay(git_dir: &Path) -> Duration {
    let name = git_dir.as_os_str().as_encoded_bytes();
    // FNV-1a: any hash that spreads will do.
    let hash = name.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Duration::from_secs(hash % CHECK_SPREAD.as_secs())
}

/// The files beside packs that git makes anew, or does without, and that are not what was written.
pub(super) fn damaged_derived(git_dir: &Path, watch: &Watch) -> io::Result<Vec<PathBuf>> {
    let format = refs::open(git_dir)?.object_hash();
    let mut damaged = Vec::new();
    for entry in fs::read_dir(packs::pack_dir(git_dir))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let (stem, ending) = name.split_once('.').unwrap_or((&*name, ""));
        if !stem.starts_with("multi-pack-index") && !DERIVED.contains(&ending) {
            continue;
        }
        match is_as_written(&path, format, watch) {
            Ok(true) => {}
            Ok(false) => damaged.push(path),
            // git has just replaced it.
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => return Err(err),
        }
    }
    Ok(damaged)
}

/// Whether a pack is what was verified, whatever its index is. One that never was must end in the hash of itself.
pub(super) fn is_pack_as_written(git_dir: &Path, pack: &str, watch: &Watch) -> io::Result<bool> {
    let path = packs::pack_dir(git_dir).join(format!("{pack}.pack"));
    if let Some(is_verified) = verified::is_file_verified(git_dir, &path, watch)? {
        return Ok(is_verified);
    }
    is_as_written(&path, refs::open(git_dir)?.object_hash(), watch)
}

/// Whether a file ends in the hash of all that comes before it.
fn is_as_written(path: &Path, format: Kind, watch: &Watch) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Ok(true);
    }
    let (mut hash, length) = (hasher(format), format.len_in_bytes());
    // The last bytes that were read may be the hash.
    let (mut rest, mut piece) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        if watch.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match file.read(&mut piece)? {
            0 => break,
            read => rest.extend_from_slice(&piece[..read]),
        }
        let certain = rest.len().saturating_sub(length);
        hash.update(&rest[..certain]);
        rest.drain(..certain);
    }
    let expected = hash.try_finalize();
    Ok(expected.is_ok_and(|expected| expected.as_slice() == rest))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, PermissionsExt};

    use super::*;
    use crate::upkeep::store::Store;

    fn watch() -> Watch {
        Watch::new("", tokio::sync::broadcast::channel(1).0, Vec::new())
    }

    #[test]
    fn each_bit_that_is_lost_is_found() {
        for format in ["sha1", "sha256"] {
            let mut store = Store::of(format);
            store.pack(3);
            // git fast-import makes no reverse index.
            let input = store.git(
                &[
                    "cat-file",
                    "--batch-check=%(objectname)",
                    "--batch-all-objects",
                ],
                "",
            );
            let base = store.file("pack");
            let base = base.to_str().expect("plain");
            let hash = store.git(&["pack-objects", "-q", base], &format!("{input}\n"));
            let pack = format!("pack-{hash}");
            store.git(&["multi-pack-index", "write"], "");
            let midx = store.file("multi-pack-index");
            let packs =
                common::packs::verified::packs(&packs::pack_dir(store.path())).expect("there");
            let hash = |pack: common::packs::verified::Pack| {
                let digests = pack.digests(&packs::pack_dir(store.path()));
                (pack.name, digests.expect("readable"))
            };
            verified::record_packs(store.path(), &packs.into_iter().map(hash).collect())
                .expect("noted");
            let differing = || {
                let changed =
                    verified::changed_files(store.path(), verified::Extent::All, &watch());
                let changed = changed.expect("readable").into_iter();
                let mut all: Vec<_> = changed.map(|file| file.path).collect();
                all.extend(damaged_derived(store.path(), &watch()).expect("readable"));
                all.dedup();
                all
            };
            assert_eq!(differing(), [""; 0].map(PathBuf::from));
            let flip = |path: &Path, at| {
                fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("ours");
                let file = File::options().read(true).write(true).open(path);
                let (file, mut byte) = (file.expect("there"), [0]);
                file.read_exact_at(&mut byte, at).expect("readable");
                file.write_all_at(&[byte[0] ^ 4], at).expect("ours");
            };
            let length = |path: &Path| fs::metadata(path).expect("there").len();
            for ending in ["pack", "idx", "rev"] {
                let path = store.file(&format!("{pack}.{ending}"));
                for at in [0, length(&path) / 2, length(&path) - 1] {
                    flip(&path, at);
                    assert_eq!(differing(), [&*path], "{at}");
                    flip(&path, at);
                }
            }
            for at in 0..length(&midx) {
                flip(&midx, at);
                assert_eq!(
                    damaged_derived(store.path(), &watch()).expect("readable"),
                    [&*midx]
                );
                flip(&midx, at);
            }
            assert_eq!(differing(), [""; 0].map(PathBuf::from));
        }
    }

    #[test]
    fn a_pack_whose_own_checksum_was_made_right_is_found_by_its_digest() {
        let mut store = Store::new();
        let pack = store.pack(3);
        let folder = packs::pack_dir(store.path());
        let found = common::packs::verified::packs(&folder)
            .expect("there")
            .remove(0);
        let digests = found.digests(&folder).expect("readable");
        verified::record_packs(store.path(), &[(found.name, digests)].into()).expect("noted");
        let path = store.file(&format!("{pack}.pack"));
        let mut content = fs::read(&path).expect("there");
        let end = content.len() - 20;
        content[end / 2] ^= 4;
        let mut hash = hasher(Kind::Sha1);
        hash.update(&content[..end]);
        content.truncate(end);
        content.extend(hash.try_finalize().expect("no attack").as_slice());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("ours");
        fs::write(&path, content).expect("ours");
        assert!(is_as_written(&path, Kind::Sha1, &watch()).expect("readable"));
        assert!(!is_pack_as_written(store.path(), &pack, &watch()).expect("readable"));
        let changed = verified::changed_files(store.path(), verified::Extent::Touched, &watch());
        let changed = changed.expect("readable");
        assert_eq!(changed.len(), 1);
        assert_eq!(changed[0].path, path);
        assert!(changed[0].at.elapsed().is_ok_and(|age| age < CHECK_SPREAD));
    }

    #[test]
    fn each_mirror_is_checked_about_once_a_week_and_not_all_on_one_day() {
        let now = SystemTime::now();
        let mut days = std::collections::BTreeSet::new();
        for _ in 0..64 {
            let dir = tempfile::tempdir().expect("temp dir");
            let is_due = |later: Duration| is_due(dir.path(), now + later).expect("known");
            assert!(!is_due(Duration::ZERO), "it was just made");
            assert!(!is_due(MIN_CHECK_INTERVAL - Duration::from_secs(1)));
            assert!(is_due(MIN_CHECK_INTERVAL + CHECK_SPREAD));
            let hours = (0..48)
                .find(|hours| is_due(MIN_CHECK_INTERVAL + Duration::from_secs(hours * 3600)));
            days.insert(hours.unwrap_or(48) / 12);
            record_check(dir.path(), now + Duration::from_secs(3600)).expect("noted");
            assert!(is_due(Duration::ZERO), "the clock was set");
        }
        assert!(days.len() > 2, "{days:?}");
    }
}
