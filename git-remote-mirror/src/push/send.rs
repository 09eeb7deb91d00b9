//! Sends a push to upstream by one `git push` in the user's environment, so that their credentials, their ssh-agent and
//! their prompts are those of any other push. [`settings`] tells that git how to talk to upstream.
//!
//! The git runs in a scratch repository whose refs are the push ([`scratch`](super::scratch)). So neither the number nor
//! the names of the mirror's other refs matter, and no rule of the user's rewrites the address. Each ref is changed only
//! from the value that the client's git decided by: `--force-with-lease`, and no `+`, which would override it. Where the
//! leases are too long for arguments, the hook `pre-push` checks them, and what has one is forced.

use std::{
    env,
    ffi::OsString,
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use common::{
    address::upstream_url::Address,
    git::{self, child_log::ChildLog, client_context::UserConfig, config_file::ConfigFile},
};

use super::{
    markers,
    outcome::Outcomes,
    ref_update::{RefUpdate, Verdict, are_leases_too_long, lease_args, lease_lines},
    scratch::Scratch,
    settings, sign_in,
    stderr::Stderr,
    watch::{PushWatch, Transport},
};
use crate::names;

/// How long to wait for the rest of git's output when git has ended. What git has printed is there at once; a child of
/// git's, such as an ssh that keeps its connection, may hold the pipes open.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(2);

/// Sends the updates, and returns the verdict on each: accepted, or the reason why upstream does not have it.
///
/// # Errors
/// Fails when git cannot be run; nothing was sent then.
pub(crate) fn send(
    quarantine: &Path,
    updates: &[RefUpdate<'_>],
    atomic: bool,
    options: &[OsString],
    proxy: Option<String>,
) -> io::Result<Vec<Verdict>> {
    let url = env::var(names::UPSTREAM_URL).map_err(io::Error::other)?;
    let transport = Transport::of_url(&url);
    let hook_checks = are_leases_too_long(updates, transport == Transport::Http);
    if hook_checks {
        markers::record_leases(quarantine, &lease_lines(updates))?;
    }
    let scratch = Scratch::new(quarantine, &url, updates, hook_checks)?;
    let mut config = UserConfig::read()?;
    if let Ok(remote) = env::var(names::REMOTE) {
        config.use_proxy_of(&remote);
    }
    let context = config.client_context();
    let limit = settings::no_progress_limit(&url, &context);
    let mut push = git::to_upstream(scratch.path());
    for name in ["GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"] {
        push.env(name, env::var_os(name).unwrap_or_default());
    }
    push.env(
        "GIT_CONFIG_GLOBAL",
        scratch.write_safe_directories(&context.config)?,
    )
    .env("GIT_ALLOW_PROTOCOL", settings::allowed_transports(&url))
    .env(names::QUARANTINE, quarantine);
    let settings = settings::settings(&mut push, &url, &context, limit, proxy)?;
    sign_in::apply(&mut push)?;
    let settings = settings.iter();
    let settings = settings.map(|(key, value)| (key.as_str(), value.as_bytes()));
    // A push option may be a secret for a pipeline, so it goes by a file. An empty one would take back those before it.
    let options = options.iter().filter(|option| !option.is_empty());
    let options = options.map(|option| ("push.pushOption", option.as_bytes()));
    // The file is there until git has ended.
    let settings = ConfigFile::create(scratch.path(), settings.chain(options))?;
    settings.include_in(&mut push);

    let shows_progress = env::var_os(names::PROGRESS).is_some();
    // Progress is for the watch, too. Over http curl has a limit of its own, and the watch needs no progress.
    let has_progress = shows_progress || transport != Transport::Http;
    push.arg("-c")
        .arg(markers::hooks_setting(quarantine))
        .args(["push", "--porcelain", "--no-follow-tags"])
        .args(["--recurse-submodules=no", "--no-signed"])
        .args(match hook_checks {
            true => Vec::new(),
            false => lease_args(updates),
        })
        .arg(match has_progress {
            true => "--progress",
            false => "--no-progress",
        })
        .args(atomic.then_some("--atomic"))
        .arg("upstream");
    let has_pack = updates.iter().any(|update| update.command.new.is_some());
    let watch = PushWatch::new(quarantine, transport, limit, has_pack)?;
    let mut sent = run(push, watch, host(&url), shows_progress)?;
    drop(settings);
    if sent.status.is_none() {
        sent.stderr.give_up(limit);
    }
    let may_be_sent = markers::may_be_sent(quarantine);
    let outcomes = Outcomes::new(&sent.report, &sent.stderr, may_be_sent);
    let verdicts = updates
        .iter()
        .map(|update| outcomes.verdict(update, &scratch));
    Ok(verdicts.collect())
}

/// What a `git push` left.
struct Sent {
    /// How it ended; None when it was ended because upstream sent nothing for too long.
    status: Option<ExitStatus>,
    /// Its stdout, as far as it came.
    report: Vec<u8>,
    stderr: Stderr,
}

/// Runs a `git push` to its end. Once it has started this does not fail: what was sent cannot be taken back.
fn run(
    mut push: Command,
    watch: PushWatch,
    host: String,
    shows_progress: bool,
) -> io::Result<Sent> {
    push.envs(watch.trace_variables())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let log = ChildLog::begin(&push);
    let mut child = push.spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let events = watch.sender();
    let stderr = in_background(move || Stderr::relay(stderr, &host, shows_progress, &events));
    let report = in_background(move || {
        let mut report = Vec::new();
        if let Some(mut stdout) = stdout {
            // What was read before an error still counts.
            let _ = stdout.read_to_end(&mut report);
        }
        report
    });
    let status = watch.wait(&mut child);
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
