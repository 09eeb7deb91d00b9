//! The files by which the processes of one push tell each other how far it is, in its quarantine. [`crate::push`] runs
//! `git receive-pack`, and [`hooks`](super::hooks) run inside it.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use common::{
    paths::LOCK,
    protocol::{Failure, OrFailure},
};

use crate::names::PRE_PUSH;

/// How many commands git sent. `git receive-pack` withholds from `proc-receive` those that it has refused itself.
const COMMANDS: &str = "commands";
/// There once git has begun to send to upstream.
const SENT: &str = "sent";
/// There once it is known that nothing has reached upstream over the daemon.
const NOT_TAKEN: &str = "not-taken";
/// The leases of a push that has too many for the arguments of a git.
const LEASES: &str = "leases";
/// Locked while `proc-receive` works.
const WORKING: &str = "working";
/// There once git was told what became of the push.
const REPORTED: &str = "reported";

/// The directory with the hooks of a push.
pub(crate) fn hooks_dir(quarantine: &Path) -> PathBuf {
    quarantine.join("hooks")
}

/// The setting, as an argument of `-c`, that makes git run these hooks and no others.
pub(crate) fn hooks_setting(quarantine: &Path) -> OsString {
    let mut setting = OsString::from("core.hooksPath=");
    setting.push(hooks_dir(quarantine));
    setting
}

/// Whether git may have begun to send to upstream. Nobody can tell when the hook that records it is gone.
pub(crate) fn may_be_sent(quarantine: &Path) -> bool {
    quarantine.join(SENT).exists() || !hooks_dir(quarantine).join(PRE_PUSH).exists()
}

/// Records how many commands git sent.
pub(crate) fn record_commands(quarantine: &Path, count: usize) -> io::Result<()> {
    fs::write(quarantine.join(COMMANDS), count.to_string())
}

/// Whether `pre-receive` counted exactly `count` commands.
pub(crate) fn has_command_count(quarantine: &Path, count: usize) -> bool {
    fs::read_to_string(quarantine.join(COMMANDS)).is_ok_and(|text| text == count.to_string())
}

/// Whether something of the push may have been sent already.
pub(crate) fn is_sent(quarantine: &Path) -> bool {
    quarantine.join(SENT).exists()
}

/// Records that git begins to send to upstream.
pub(crate) fn record_sent(quarantine: &Path) -> io::Result<()> {
    fs::write(quarantine.join(SENT), "")
}

/// The file with the refs that upstream has, as far as it is known, in lines of an object and a name; there is none where
/// upstream is to be asked.
pub(crate) fn advertisement(quarantine: &Path) -> PathBuf {
    quarantine.join("advertisement")
}

/// Records that nothing has reached upstream over the daemon, and the reason if upstream refuses it; where none is given, a
/// git that asks upstream itself is to send. `was_sent` says whether something else of the push was sent before.
pub(crate) fn record_not_taken(
    quarantine: &Path,
    reason: Option<&str>,
    was_sent: bool,
) -> io::Result<()> {
    if !was_sent {
        match fs::remove_file(quarantine.join(SENT)) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            _ => {}
        }
    }
    fs::write(quarantine.join(NOT_TAKEN), reason.unwrap_or_default())
}

/// Takes what [`record_not_taken`] has recorded: nothing, no reason, or a reason.
pub(crate) fn take_not_taken(quarantine: &Path) -> Option<Option<String>> {
    let path = quarantine.join(NOT_TAKEN);
    let reason = fs::read_to_string(&path).ok()?;
    let _ = fs::remove_file(path);
    Some(Some(reason).filter(|reason| !reason.is_empty()))
}

/// Records the leases that the hook `pre-push` is to check.
pub(crate) fn record_leases(quarantine: &Path, lines: &[u8]) -> io::Result<()> {
    fs::write(quarantine.join(LEASES), lines)
}

/// The leases that the hook `pre-push` is to check; none where git checks them.
pub(crate) fn leases(quarantine: &Path) -> io::Result<Vec<u8>> {
    match fs::read(quarantine.join(LEASES)) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        leases => leases,
    }
}

/// Records that git has been told what became of the push.
pub(crate) fn record_reported(quarantine: &Path) -> io::Result<()> {
    fs::write(quarantine.join(REPORTED), "")
}

/// Locks a quarantine: no daemon sweeps it while the returned file is open.
pub(crate) fn lock(quarantine: &Path) -> Result<File, Failure> {
    File::open(quarantine.join(LOCK))
        .and_then(|lock| {
            lock.lock_shared()?;
            Ok(lock)
        })
        .or_failure("cannot keep what is pushed")
}

/// Records that `proc-receive` works, while the returned file is open.
pub(crate) fn begin_work(quarantine: &Path) -> io::Result<File> {
    let working = File::create(quarantine.join(WORKING))?;
    working.lock()?;
    Ok(working)
}

/// Waits until `proc-receive` has ended, if it ever began. Returns whether it has in time.
pub(crate) fn wait_for_work(quarantine: &Path, timeout: Duration) -> bool {
    let Ok(working) = File::open(quarantine.join(WORKING)) else {
        return true;
    };
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || sender.send(working.lock().is_ok()));
    ended.recv_timeout(timeout).unwrap_or(false)
}

/// Whether a push ended after git began to send to upstream and before the client was told what became of it. The hook's
/// report reaches the client through `git receive-pack`: `is_served` says whether that came to its end.
pub(crate) fn was_interrupted(quarantine: &Path, is_served: bool) -> bool {
    let was_reported = is_served && quarantine.join(REPORTED).exists();
    quarantine.join(SENT).exists() && !was_reported
}
