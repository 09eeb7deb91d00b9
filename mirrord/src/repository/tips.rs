//! The pack of tips: the objects that a mirror's public refs name, and nothing else. A clone gets it where no other pack has
//! all of them: git then finds them in one pack, and need not walk through the history.

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Stdio,
};

use common::{
    git,
    packs::{
        listing::pack_dir,
        verified::{NotVerified, Record, TIPS, packs},
    },
    refspec,
};

use crate::{
    process::{child, watch::Watch},
    repository::{
        refs,
        verified::{self, Extent},
    },
};

/// Makes the pack anew for the current refs. A mirror with fewer than two packs needs none.
pub(crate) fn renew(git_dir: &Path, watch: &Watch) -> io::Result<()> {
    if packs(&pack_dir(git_dir))?.len() < 2 {
        return Ok(());
    }
    let refs = refs::read(git_dir)?;
    let tips = refs.iter().filter(|(name, _)| !refspec::is_reserved(name));
    let tips: BTreeSet<_> = tips.map(|(_, oid)| *oid).collect();
    let dir = git_dir.join(TIPS);
    let store = dir.parent().unwrap_or(&dir);
    // The mirror itself is not made: it may have just been removed.
    for made in [store, &dir] {
        match fs::create_dir(made) {
            Err(err) if err.kind() != io::ErrorKind::AlreadyExists => return Err(err),
            _ => {}
        }
    }
    let lines: String = tips.iter().map(|tip| format!("{tip}\n")).collect();
    let mut git = git::at(git_dir);
    git.args([
        "-c",
        "pack.threads=1",
        "pack-objects",
        "-q",
        "--delta-base-offset",
    ])
    .arg(dir.join("pack"))
    // git writes its temporary files there.
    .env("GIT_OBJECT_DIRECTORY", store);
    git::add_alternate(&mut git, &git_dir.join("objects"));
    let mut nice = git::niced(&git);
    nice.stdout(Stdio::piped());
    let ended = child::run(nice, lines.into_bytes(), watch)?;
    let hash = String::from_utf8_lossy(&ended.stdout).trim().to_owned();
    if !ended.status.success() || hash.is_empty() {
        let stderr = String::from_utf8_lossy(&ended.stderr);
        return Err(io::Error::other(stderr.trim().to_owned()));
    }
    let name = format!("pack-{hash}");
    let made = packs(&dir)?.into_iter().find(|pack| pack.name == name);
    let Some(made) = made else {
        return Err(io::Error::other("git has written no pack of tips"));
    };
    for ending in made.files.keys() {
        let file = dir.join(format!("{name}.{ending}"));
        fs::set_permissions(file, Permissions::from_mode(0o444))?;
    }
    // git copies objects from pack to pack without verifying them.
    if let Some(changed) = verified::changed_files(git_dir, Extent::Touched, watch)?.pop() {
        return Err(NotVerified(changed.path).into());
    }
    let before = Record::read(git_dir)?.tips;
    verified::record_tips(git_dir, name.clone(), made.digests(&dir)?)?;
    let files = made
        .files
        .keys()
        .map(|ending| dir.join(format!("{name}.{ending}")));
    verified::record_stamps(git_dir, files);
    if before.is_some_and(|(before, _)| before == name) {
        return Ok(());
    }
    for entry in fs::read_dir(&dir)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(&name) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
