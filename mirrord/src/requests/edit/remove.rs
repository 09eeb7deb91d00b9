//! The end of a mirror. What is in it alone is left in a bundle.

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
    protocol::{Failure, LocalRef, Mirror as Wanted, OrFailure, Reply, wire::WireError},
    refspec::Refspecs,
    text::unix_seconds,
};
use gix::{ObjectId, bstr::BString};

use super::{CANNOT_CHANGE, alone, begin, its_turn};
use crate::{
    mirrors::{
        registry::{Mirror, Unreadable},
        settings::file::ConfigFile,
    },
    process::{blocking::blocking, durable},
    repository::{local_refs, refs},
    requests::{conversation::Conversation, credential::Loose, fetch::existing},
    sync::Engine,
};

/// How a removal went.
enum Removed {
    /// It is gone.
    Gone {
        /// What has its local branches, when it had any.
        bundle: Option<PathBuf>,
        /// What the person should know.
        warnings: Vec<String>,
    },
    /// These are in the way.
    Locals(Vec<LocalRef>),
}

/// Carries out `mirrord remove` for a client.
pub(crate) async fn carry_out_remove(
    engine: &Arc<Engine>,
    conversation: &mut Conversation,
    wanted: &Wanted,
    force: bool,
    bundles: PathBuf,
) -> Result<(), WireError> {
    let removing = remove(engine, wanted, force, bundles);
    let reply = match conversation.wait_quietly(removing).await? {
        Ok(Removed::Gone { bundle, warnings }) => Reply::Removed { bundle, warnings },
        Ok(Removed::Locals(locals)) => {
            let count = locals.len();
            conversation.say_locals(locals).await?;
            let message = match count {
                1 => "1 local branch or tag is in this mirror alone".to_owned(),
                _ => format!("{count} local branches and tags are in this mirror alone"),
            };
            Reply::Failed(
                Failure::here(message)
                    .hinted("--force removes it, and leaves them in a bundle first"),
            )
        }
        Err(failure) => Reply::Failed(failure),
    };
    conversation.say(&reply).await
}

/// Removes a mirror.
///
/// # Errors
/// Fails with what the person should read; the mirror is then still there.
async fn remove(
    engine: &Arc<Engine>,
    wanted: &Wanted,
    force: bool,
    bundles: PathBuf,
) -> Result<Removed, Failure> {
    if force
        && let Wanted::Name(name) = wanted
        && let Some(found) = engine
            .registry
            .find_unreadable(name)
            .or_failure(CANNOT_CHANGE)?
    {
        return remove_unreadable(engine, found, bundles).await;
    }
    let mirror = existing(engine, wanted)?;
    let changing = begin(engine, &mirror, true).await?;
    let (working, git_dir) = (engine.clone(), mirror.git_dir.clone());
    let mut loose = Loose::new(engine, &mirror.settings.url, Some(&git_dir));
    loose.add(&mirror.settings.auth);
    let removed = blocking(move || {
        let _changing = changing;
        let engine = working;
        let mirror = its_turn(&engine, &git_dir)?;
        let refs = refs::read(&git_dir).or_failure(CANNOT_CHANGE)?;
        let locals = local_refs::list(&refs, &mirror.settings.rules.track);
        if !locals.is_empty() && !force {
            return Ok(Removed::Locals(local_refs::to_protocol(locals)));
        }
        let _lease = alone(&mirror)?;
        let bundle = if locals.is_empty() {
            None
        } else {
            Some(bundle(&git_dir, &locals, &bundles).or_failure(CANNOT_CHANGE)?)
        };
        end(&engine, &mirror).or_failure(CANNOT_CHANGE)?;
        Ok(Removed::Gone {
            bundle,
            warnings: Vec::new(),
        })
    })
    .await;
    let left = loose.settle().await;
    let mut removed = removed?;
    if let Removed::Gone { warnings, .. } = &mut removed {
        warnings.extend(left);
    }
    Ok(removed)
}

/// Removes a mirror whose configuration cannot be read. All that no record says to be upstream's goes into the bundle.
async fn remove_unreadable(
    engine: &Arc<Engine>,
    found: Unreadable,
    bundles: PathBuf,
) -> Result<Removed, Failure> {
    let Some(changing) = engine.gates.of(&found.git_dir).change_now() else {
        return Err(Failure::here(format!("'{}' is in use", found.name())));
    };
    let engine = engine.clone();
    blocking(move || {
        let _changing = changing;
        let git_dir = &found.git_dir;
        // It is in the way of a rename, too.
        let _ = fs::set_permissions(git_dir, Permissions::from_mode(0o700));
        let (bundle, warning) = match salvaged(git_dir, &bundles) {
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
        Ok(Removed::Gone {
            bundle,
            warnings: warning.into_iter().collect(),
        })
    })
    .await
}

/// Puts what may be local into a bundle, where that can be read.
fn salvaged(git_dir: &Path, bundles: &Path) -> io::Result<Option<PathBuf>> {
    let config = git_dir.join("config");
    if ConfigFile::read(&config).is_err() {
        // Without one that can be read, git reads nothing.
        durable::replace(&config, b"[core]\n\tbare = true\n")?;
    }
    let refs = refs::read(git_dir)?;
    let locals = local_refs::list(&refs, &Refspecs::everything());
    if locals.is_empty() {
        return Ok(None);
    }
    bundle(git_dir, &locals, bundles).map(Some)
}

/// Removes a mirror and all that is known of it. Nobody may be using it, nor begin to. Blocks.
pub(crate) fn end(engine: &Engine, mirror: &Mirror) -> io::Result<()> {
    engine.credentials.forget_readers(&mirror.git_dir)?;
    engine.forget(mirror)?;
    engine.registry.remove(&mirror.git_dir)
}

/// Writes refs and all that they need into one file, which any git can clone from. No two share one.
fn bundle(git_dir: &Path, refs: &[(BString, ObjectId)], dir: &Path) -> io::Result<PathBuf> {
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
        let words = String::from_utf8_lossy(&ended.stderr);
        let words = words.trim().trim_start_matches("fatal: ").to_owned();
        return Err(io::Error::other(words));
    }
    // git has put another file in its place.
    File::open(unfinished.path())?.sync_all()?;
    let place = git_dir.file_stem().unwrap_or_default();
    let since = unix_seconds(SystemTime::now());
    for number in 1.. {
        let name = format!("{}-{since}-{number}.bundle", place.display());
        let path = dir.join(name);
        // Never over one that is there.
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
