//! The request of `mirrord remove`: removes a mirror, and leaves its local refs in a bundle.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::SystemTime,
};

use common::{
    git::{self, child_log::ChildLog},
    protocol::{Failure, LocalRef, Mirror as Wanted, OrFailure, Reply},
    refspec::Refspecs,
    text::unix_seconds,
};
use gix::{ObjectId, bstr::BString};

use super::{CANNOT_CHANGE, begin_change, lock_lease, read_again};
use crate::{
    mirrors::{
        registry::{Mirror, Unreadable},
        settings::file::ConfigFile,
    },
    process::{blocking::blocking, durable},
    repository::{local_refs, refs},
    requests::{
        conversation::Conversation, credential::UnnamedSecrets, error::RequestError,
        resolve::existing_mirror,
    },
    sync::Engine,
};

/// How a removal ends.
enum Removal {
    /// The mirror is removed.
    Done {
        /// The bundle of its local refs, when it had any.
        bundle: Option<PathBuf>,
        /// What the person should know.
        warnings: Vec<String>,
    },
    /// The mirror stays, because it has these local refs.
    Refused(Vec<LocalRef>),
}

/// Removes a mirror. With `force` its local refs are written into a bundle first; without, a mirror that has any stays, and
/// the client is sent them.
///
/// # Errors
/// Fails where local refs are in the way, and while the mirror is in use; the mirror is then still there.
pub(crate) async fn remove(
    engine: &Arc<Engine>,
    conversation: &mut Conversation,
    wanted: &Wanted,
    force: bool,
    bundles: PathBuf,
) -> Result<Reply, RequestError> {
    let removing = remove_mirror(engine, wanted, force, bundles);
    match conversation.wait_quietly(removing).await?? {
        Removal::Done { bundle, warnings } => Ok(Reply::Removed { bundle, warnings }),
        Removal::Refused(locals) => {
            let count = locals.len();
            conversation.send_local_refs(locals).await?;
            let message = match count {
                1 => "1 local branch or tag is in this mirror alone".to_owned(),
                _ => format!("{count} local branches and tags are in this mirror alone"),
            };
            let failure = Failure::here(message);
            Err(failure
                .hinted("--force removes it, and leaves them in a bundle first")
                .into())
        }
    }
}

async fn remove_mirror(
    engine: &Arc<Engine>,
    wanted: &Wanted,
    force: bool,
    bundles: PathBuf,
) -> Result<Removal, Failure> {
    if force
        && let Wanted::Name(name) = wanted
        && let Some(found) = engine
            .registry
            .find_unreadable(name)
            .or_failure(CANNOT_CHANGE)?
    {
        return remove_unreadable(engine, found, bundles).await;
    }
    let mirror = existing_mirror(engine, wanted)?;
    let changing = begin_change(engine, &mirror, true).await?;
    let (working, git_dir) = (engine.clone(), mirror.git_dir.clone());
    let mut unnamed = UnnamedSecrets::new(engine, &mirror.settings.url, Some(&git_dir));
    unnamed.add(&mirror.settings.auth);
    let removed = blocking(move || {
        let _changing = changing;
        let engine = working;
        let mirror = read_again(&engine, &git_dir)?;
        let refs = refs::read(&git_dir).or_failure(CANNOT_CHANGE)?;
        let locals = local_refs::list(&refs, &mirror.settings.rules.track);
        if !locals.is_empty() && !force {
            return Ok(Removal::Refused(local_refs::to_protocol(locals)));
        }
        let _lease = lock_lease(&mirror)?;
        let bundle = if locals.is_empty() {
            None
        } else {
            Some(write_bundle(&git_dir, &locals, &bundles).or_failure(CANNOT_CHANGE)?)
        };
        delete(&engine, &mirror).or_failure(CANNOT_CHANGE)?;
        Ok(Removal::Done {
            bundle,
            warnings: Vec::new(),
        })
    })
    .await;
    let left_over = unnamed.remove().await;
    let mut removed = removed?;
    if let Removal::Done { warnings, .. } = &mut removed {
        warnings.extend(left_over);
    }
    Ok(removed)
}

/// Removes a mirror whose configuration cannot be read. The bundle gets all refs that differ from the records of upstream.
async fn remove_unreadable(
    engine: &Arc<Engine>,
    found: Unreadable,
    bundles: PathBuf,
) -> Result<Removal, Failure> {
    let Some(changing) = engine.gates.gate(&found.git_dir).try_begin_change() else {
        return Err(Failure::here(format!("'{}' is in use", found.name())));
    };
    let engine = engine.clone();
    blocking(move || {
        let _changing = changing;
        let git_dir = &found.git_dir;
        // A directory without write permission cannot be renamed either.
        let _ = fs::set_permissions(git_dir, Permissions::from_mode(0o700));
        let (bundle, warning) = match bundle_of_unreadable(git_dir, &bundles) {
            Ok(bundle) => (bundle, None),
            Err(err) => (
                None,
                Some(format!("nothing of it could be put into a bundle: {err}")),
            ),
        };
        engine
            .credentials
            .forget_readers(git_dir)
            .or_failure(CANNOT_CHANGE)?;
        engine.schedule.remove(git_dir);
        engine.usage.forget(git_dir);
        engine.registry.remove(git_dir).or_failure(CANNOT_CHANGE)?;
        Ok(Removal::Done {
            bundle,
            warnings: warning.into_iter().collect(),
        })
    })
    .await
}

/// Writes the refs that may be local into a bundle, where they can be read.
fn bundle_of_unreadable(git_dir: &Path, bundles: &Path) -> io::Result<Option<PathBuf>> {
    let config = git_dir.join("config");
    if ConfigFile::read(&config).is_err() {
        // git reads nothing of a repository whose configuration cannot be read.
        durable::replace(&config, b"[core]\n\tbare = true\n")?;
    }
    let refs = refs::read(git_dir)?;
    let locals = local_refs::list(&refs, &Refspecs::everything());
    if locals.is_empty() {
        return Ok(None);
    }
    write_bundle(git_dir, &locals, bundles).map(Some)
}

/// Deletes a mirror and all that is known of it. Nobody may be using it, nor begin to. Blocks.
///
/// # Errors
/// Fails where something of it cannot be deleted.
pub(crate) fn delete(engine: &Engine, mirror: &Mirror) -> io::Result<()> {
    engine.credentials.forget_readers(&mirror.git_dir)?;
    engine.forget(mirror)?;
    engine.registry.remove(&mirror.git_dir)
}

/// Writes refs and all objects that they need into a new bundle in `dir`, from which any git can clone. Returns its path.
fn write_bundle(git_dir: &Path, refs: &[(BString, ObjectId)], dir: &Path) -> io::Result<PathBuf> {
    durable::make_dir(dir)?;
    let unfinished = tempfile::Builder::new()
        .prefix(".")
        .suffix(".new")
        .tempfile_in(dir)?;
    let mut git = git::at(git_dir);
    git.args(["bundle", "create", "--quiet"])
        .arg(unfinished.path())
        .arg("--stdin")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let log = ChildLog::begin(&git);
    let mut child = git.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        let names: Vec<u8> = refs
            .iter()
            .flat_map(|(name, _)| [name.as_slice(), b"\n"].concat())
            .collect();
        io::Write::write_all(&mut stdin, &names)?;
    }
    let ended = child.wait_with_output()?;
    log.ended(ended.status);
    if !ended.status.success() {
        let stderr = String::from_utf8_lossy(&ended.stderr);
        let message = stderr.trim().trim_start_matches("fatal: ").to_owned();
        return Err(io::Error::other(message));
    }
    // git has renamed another file to this path, so it is opened again.
    File::open(unfinished.path())?.sync_all()?;
    let stem = git_dir.file_stem().unwrap_or_default();
    let since = unix_seconds(SystemTime::now());
    for number in 1.. {
        let name = format!("{}-{since}-{number}.bundle", stem.display());
        let path = dir.join(name);
        // A hard link, unlike a rename, never replaces a bundle that is there.
        match fs::hard_link(unfinished.path(), &path) {
            Ok(()) => {
                durable::sync_dir(dir)?;
                return Ok(path);
            }
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
            Err(err) => return Err(err),
        }
    }
    unreachable!("there is always a next number")
}
