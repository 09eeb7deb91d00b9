//! The pack of tips: all that the refs of a mirror name, and nothing else. A clone is handed it where no pack has all of
//! them, so that git finds them in one and need not go through the history.

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

/// Makes it what the refs are now. Whoever is handed the one before either has it by then, or makes one.
pub(crate) fn renew(git_dir: &Path, watch: &Watch) -> io::Result<()> {
    if packs(&pack_dir(git_dir))?.len() < 2 {
        return Ok(());
    }
    let refs = refs::read(git_dir)?;
    let tips = refs.iter().filter(|(name, _)| !refspec::is_ours(name));
    let tips: BTreeSet<_> = tips.map(|(_, oid)| *oid).collect();
    let dir = git_dir.join(TIPS);
    let store = dir.parent().unwrap_or(&dir);
    // Not the mirror itself, which may have just been removed.
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
    // What is unfinished lies there, too.
    .env("GIT_OBJECT_DIRECTORY", store);
    git::add_alternate(&mut git, &git_dir.join("objects"));
    let mut nice = git::niced(&git);
    nice.stdout(Stdio::piped());
    let ended = child::run(nice, lines.into_bytes(), watch)?;
    let hash = String::from_utf8_lossy(&ended.stdout).trim().to_owned();
    if !ended.status.success() || hash.is_empty() {
        let words = String::from_utf8_lossy(&ended.stderr);
        return Err(io::Error::other(words.trim().to_owned()));
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
    // git has taken over what lies in the packs without a look at it.
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
