//! Sends a push over the daemon's connection to an upstream on the web: that connection is open, and what upstream has and
//! can do is known. The `git push` that sends talks to this program ([`connection`](super::connection)), which it takes for
//! an ssh.

use std::{collections::HashSet, env, ffi::OsString, fs, io, path::Path, sync::mpsc};

use common::{
    packs::packed_refs::{self, PackedRefs},
    protocol::Lease,
    refspec::RECORDS,
};

use super::{
    git_push, markers,
    outcome::Outcomes,
    ref_update::{RefUpdate, Verdict, are_leases_too_long},
    scratch::Scratch,
    stderr::Shown,
};
use crate::names;

/// The address that the sending git takes for upstream's.
const ADDRESS: &str = "ssh://upstream/push";

/// How servers refuse a ref that has changed since upstream was asked. Only a git that asks again knows what to say of it.
const HAS_MOVED: [&str; 4] = [
    "failed to update ref",
    "incorrect old value provided",
    "reference already exists",
    "reference not found",
];

/// Sends the updates, and returns the verdict on each; None where upstream has nothing of it, and a git that asks upstream
/// itself is to send.
///
/// # Errors
/// Fails when git cannot be run; nothing was sent then.
pub(super) fn send(
    quarantine: &Path,
    updates: &[RefUpdate<'_>],
    atomic: bool,
    options: &[OsString],
) -> io::Result<Option<Vec<Verdict>>> {
    // What is refused where it is not supported, and a ref without a lease, need upstream's word.
    let is_known = !atomic && options.is_empty() && !updates.iter().any(is_without_lease);
    let push = Push {
        quarantine,
        atomic,
        options,
    };
    let known = is_known.then(|| known_refs(updates)).transpose()?;
    let Some(mut verdicts) = push.send(updates, known, Shown::OfUpstream)? else {
        return Ok(None);
    };
    if is_known {
        let (moved, again): (Vec<_>, Vec<_>) = verdicts
            .iter_mut()
            .zip(updates.iter().cloned())
            .filter(|(verdict, _)| may_have_moved(verdict))
            .unzip();
        // What upstream says of these has been shown. Where they cannot be sent again the verdicts stay: others may be done.
        if !again.is_empty()
            && let Ok(Some(outcomes)) = push.send(&again, None, Shown::Nothing)
        {
            for (verdict, outcome) in moved.into_iter().zip(outcomes) {
                *verdict = outcome;
            }
        }
    }
    Ok(Some(verdicts))
}

struct Push<'p> {
    quarantine: &'p Path,
    atomic: bool,
    options: &'p [OsString],
}

impl Push<'_> {
    /// Sends the updates, once. Upstream is asked for its refs where they are not `known`.
    fn send(
        &self,
        updates: &[RefUpdate<'_>],
        known: Option<Vec<u8>>,
        shown: Shown,
    ) -> io::Result<Option<Vec<Verdict>>> {
        let quarantine = self.quarantine;
        if are_leases_too_long(updates, false) {
            return Ok(None);
        }
        let advertisement = markers::advertisement(quarantine);
        match known {
            Some(known) => fs::write(advertisement, known)?,
            None if advertisement.exists() => fs::remove_file(advertisement)?,
            None => {}
        }
        let scratch = Scratch::new(quarantine, ADDRESS, updates, false)?;
        let mut push = git_push::command(&scratch, quarantine);
        push.env_remove("GIT_SSH_COMMAND")
            .env(
                "GIT_SSH",
                markers::hooks_dir(quarantine).join(names::CONNECTION),
            )
            .env("GIT_SSH_VARIANT", "simple")
            .env("GIT_ALLOW_PROTOCOL", "ssh")
            .env(
                names::PUSH_ID,
                env::var_os(names::PUSH_ID).unwrap_or_default(),
            );
        let settings = git_push::write_settings(&scratch, &[], self.options)?;
        settings.include_in(&mut push);
        let shows_progress = env::var_os(names::PROGRESS).is_some();
        git_push::add_args(&mut push, updates, false, self.atomic, shows_progress);
        push.arg("--no-verify").arg("upstream");
        // The daemon gives upstream up when it makes no progress.
        let (events, _unwatched) = mpsc::channel();
        let sent = git_push::run(push, shown, &events, |git| git.wait().ok())?;
        drop(settings);
        match markers::take_not_taken(quarantine) {
            Some(None) => return Ok(None),
            Some(Some(reason)) => return Ok(Some(vec![Err(reason); updates.len()])),
            None => {}
        }
        let outcomes = Outcomes::new(&sent.report, &sent.stderr, markers::may_be_sent(quarantine));
        let verdicts = updates
            .iter()
            .map(|update| outcomes.verdict(update, &scratch));
        Ok(Some(verdicts.collect()))
    }
}

/// Whether this verdict may mean that the ref has changed since upstream was asked.
fn may_have_moved(verdict: &Verdict) -> bool {
    matches!(verdict, Err(reason) if HAS_MOVED.contains(&reason.as_str()))
}

fn is_without_lease(update: &RefUpdate<'_>) -> bool {
    update.lease == Lease::None
}

/// The refs that upstream has, in lines of an object and a name: those that the mirror has recorded, so that git sends no
/// object that upstream has, and those that are pushed.
fn known_refs(updates: &[RefUpdate<'_>]) -> io::Result<Vec<u8>> {
    let git_dir = env::var_os(names::GIT_DIR).unwrap_or_default();
    let packed = match fs::read(Path::new(&git_dir).join(packed_refs::FILE)) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Vec::new(),
        packed => packed?,
    };
    let pushed: HashSet<&[u8]> = updates.iter().map(|update| &*update.name).collect();
    let mut lines = Vec::new();
    let mut add = |object: &[u8], name: &[u8]| {
        lines.extend([object, b" ", name, b"\n"].concat());
    };
    for packed in PackedRefs::parse(&packed)? {
        let packed = packed?;
        let Some(name) = packed.name.strip_prefix(RECORDS.as_bytes()) else {
            continue;
        };
        let name = [b"refs/", name].concat();
        if !pushed.contains(&*name) {
            add(packed.object, &name);
        }
    }
    for RefUpdate { name, lease, .. } in updates {
        if let Lease::Value(object) = lease {
            add(object.as_bytes(), name);
        }
    }
    Ok(lines)
}
