//! What the processes of one push leave for each other in its quarantine: the hooks, how far it is, and who still works.

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

use crate::push::hooks::PRE_PUSH;

/// In a quarantine: how many commands git sent. receive-pack keeps from `proc-receive` what it has refused itself.
const COMMANDS: &str = "commands";
/// In a quarantine: git has begun to send to upstream.
const SENT: &str = "sent";
/// In a quarantine: locked while the hook works.
const WORKING: &str = "working";
/// In a quarantine: git was told what became of it.
const REPORTED: &str = "reported";

/// Where the hooks of a push are.
pub(crate) fn hooks(quarantine: &Path) -> PathBuf {
    quarantine.join("hooks")
}

/// The setting that makes git run them, and no others.
pub(crate) fn hooks_setting(quarantine: &Path) -> OsString {
    let mut setting = OsString::from("core.hooksPath=");
    setting.push(hooks(quarantine));
    setting
}

/// Whether a push has begun to send. Where the hook that notes it is gone, nobody knows.
pub(crate) fn has_begun(quarantine: &Path) -> bool {
    quarantine.join(SENT).exists() || !hooks(quarantine).join(PRE_PUSH).exists()
}

/// Notes how many commands git sent.
pub(crate) fn note_commands(quarantine: &Path, count: usize) -> io::Result<()> {
    fs::write(quarantine.join(COMMANDS), count.to_string())
}

/// Whether git sent so many commands and no more.
pub(crate) fn had_commands(quarantine: &Path, count: usize) -> bool {
    fs::read_to_string(quarantine.join(COMMANDS)).is_ok_and(|text| text == count.to_string())
}

/// Notes that git begins to send.
pub(crate) fn note_begun(quarantine: &Path) -> io::Result<()> {
    fs::write(quarantine.join(SENT), "")
}

/// Notes that git has been told how it went.
pub(crate) fn note_reported(quarantine: &Path) -> io::Result<()> {
    fs::write(quarantine.join(REPORTED), "")
}

/// Keeps the daemon, and the one after it, from sweeping a quarantine for as long as the returned file is open.
pub(crate) fn hold(quarantine: &Path) -> Result<File, Failure> {
    File::open(quarantine.join(LOCK))
        .and_then(|lock| {
            lock.lock_shared()?;
            Ok(lock)
        })
        .or_failure("cannot keep what is pushed")
}

/// Says for as long as the returned file is open that the hook works.
pub(crate) fn work(quarantine: &Path) -> io::Result<File> {
    let working = File::create(quarantine.join(WORKING))?;
    working.lock()?;
    Ok(working)
}

/// Waits until the hook of a push has ended, if it ever began; says whether it has in time.
pub(crate) fn has_ended(quarantine: &Path, in_time: Duration) -> bool {
    let Ok(working) = File::open(quarantine.join(WORKING)) else {
        return true;
    };
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(working.lock().is_ok()));
    told.recv_timeout(in_time).unwrap_or(false)
}

/// Whether a push ended after it was sent to upstream and before git was told how it went. `whole` says whether the
/// server program, which hears it from the hook, came to its end.
pub(crate) fn was_interrupted(quarantine: &Path, whole: bool) -> bool {
    let was_reported = whole && quarantine.join(REPORTED).exists();
    quarantine.join(SENT).exists() && !was_reported
}
