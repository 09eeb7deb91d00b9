//! The `git push` that sends: how it is called, and what it leaves. [`send`](super::send) and
//! [`over_daemon`](super::over_daemon) say with what it talks.

use std::{
    env,
    ffi::OsString,
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::Duration,
};

use common::{
    address::upstream_url::Address,
    git::{self, child_log::ChildLog, config_file::ConfigFile},
};

use super::{
    markers,
    ref_update::{RefUpdate, lease_args},
    scratch::Scratch,
    stderr::{Shown, Stderr},
    watch::Event,
};
use crate::names;

/// How long to wait for the rest of git's output when git has ended. What git has printed is there at once; a child of
/// git's, such as an ssh that keeps its connection, may hold the pipes open.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(2);

/// A git in the scratch repository of a push, with the push's objects.
pub(super) fn command(scratch: &Scratch, quarantine: &Path) -> Command {
    let mut push = git::to_upstream(scratch.path());
    for name in ["GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"] {
        push.env(name, env::var_os(name).unwrap_or_default());
    }
    push.env(names::QUARANTINE, quarantine)
        .arg("-c")
        .arg(markers::hooks_setting(quarantine));
    push
}

/// Writes the settings and the push options to a file, which is there until the returned value is dropped.
pub(super) fn write_settings(
    scratch: &Scratch,
    settings: &[(String, String)],
    options: &[OsString],
) -> io::Result<ConfigFile> {
    let settings = settings.iter();
    let settings = settings.map(|(key, value)| (key.as_str(), value.as_bytes()));
    // A push option may be a secret for a pipeline, so it goes by a file. An empty one would take back those before it.
    let options = options.iter().filter(|option| !option.is_empty());
    let options = options.map(|option| ("push.pushOption", option.as_bytes()));
    ConfigFile::create(scratch.path(), settings.chain(options))
}

/// Adds the command to push, up to its address.
pub(super) fn add_args(
    push: &mut Command,
    updates: &[RefUpdate<'_>],
    hook_checks: bool,
    atomic: bool,
    has_progress: bool,
) {
    push.args(["push", "--porcelain", "--no-follow-tags"])
        .args(["--recurse-submodules=no", "--no-signed"])
        .args(match hook_checks {
            true => Vec::new(),
            false => lease_args(updates),
        })
        .arg(match has_progress {
            true => "--progress",
            false => "--no-progress",
        })
        .args(atomic.then_some("--atomic"));
}

/// What a `git push` left.
pub(super) struct Sent {
    /// How it ended; None when it was ended because upstream sent nothing for too long.
    pub status: Option<ExitStatus>,
    /// Its stdout, as far as it came.
    pub report: Vec<u8>,
    pub stderr: Stderr,
}

/// Runs a `git push` to its end, for which `wait` waits. Once it has started this does not fail: what was sent cannot be
/// taken back.
pub(super) fn run(
    mut push: Command,
    shown: Shown,
    events: &Sender<Event>,
    wait: impl FnOnce(&mut Child) -> Option<ExitStatus>,
) -> io::Result<Sent> {
    push.stdout(Stdio::piped()).stderr(Stdio::piped());
    let log = ChildLog::begin(&push);
    let mut child = push.spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (events, host) = (events.clone(), upstream_host());
    let shows_progress = env::var_os(names::PROGRESS).is_some();
    let stderr =
        in_background(move || Stderr::relay(stderr, &host, shown, shows_progress, &events));
    let report = in_background(move || {
        let mut report = Vec::new();
        if let Some(mut stdout) = stdout {
            // What was read before an error still counts.
            let _ = stdout.read_to_end(&mut report);
        }
        report
    });
    let status = wait(&mut child);
    if let Some(status) = status {
        log.ended(status);
    }
    Ok(Sent {
        status,
        report: report.recv_timeout(OUTPUT_TIMEOUT).unwrap_or_default(),
        stderr: stderr.recv_timeout(OUTPUT_TIMEOUT).unwrap_or_default(),
    })
}

/// Runs `read` in a thread, and returns the receiver of its result.
fn in_background<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (sender, result) = mpsc::channel();
    thread::spawn(move || sender.send(read()));
    result
}

/// The host of the upstream that this push goes to, for messages.
pub(crate) fn upstream_host() -> String {
    host(&env::var(names::UPSTREAM_URL).unwrap_or_default())
}

fn host(url: &str) -> String {
    match Address::parse(url) {
        Ok(Address::Url(url, _)) => url.host().unwrap_or("upstream").to_owned(),
        _ => "upstream".to_owned(),
    }
}
