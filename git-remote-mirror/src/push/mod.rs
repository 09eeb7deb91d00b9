//! A push: `git receive-pack` on the mirror talks to the git that runs the helper. Its hooks are this program again
//! ([`hooks`]): they reserve the refs, send to upstream, have the daemon settle the push, and report.

pub(crate) mod connection;
mod git_push;
mod hook_protocol;
pub(crate) mod hooks;
mod markers;
mod outcome;
mod over_daemon;
mod ref_update;
mod reservation;
mod scratch;
mod send;
mod settings;
mod sign_in;
mod stderr;
mod watch;

use std::{
    env, fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use common::{
    git,
    packs::lease,
    progress::tell,
    protocol::{Failure, OrFailure, REQUEST_ID, RequestId},
};

use crate::{
    daemon::{self, runtime},
    invocation::Invocation,
    names, on_demand,
    server_program::{serve, show_line},
    view::View,
};

/// How long to wait for the hook when `git receive-pack` was killed: the hook ends at once, unless it has begun to send.
const HOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// What receive-pack says of a git that ends before it has sent anything.
const HUNG_UP: &[u8] = b"fatal: the remote end hung up unexpectedly";

/// Has the daemon sync the mirror, so that git checks the push against what upstream has now, and receives the push.
/// Returns whether `git receive-pack` came to its end; otherwise it has printed why not.
///
/// # Errors
/// Fails with what the person should read.
pub(crate) fn run(invocation: &Invocation) -> Result<bool, Failure> {
    let runtime = runtime()?;
    let (_client, open) = runtime.block_on(daemon::open_push(invocation))?;
    let _lease =
        lease::share(&open.ready.git_dir).or_failure("cannot share the lease of the mirror")?;
    let _lock = markers::lock(&open.quarantine)?;
    install_hooks(&markers::hooks_dir(&open.quarantine)).or_failure("cannot prepare the push")?;
    // git decides by what upstream has also where the mirror does not track it.
    let view = View::new(&open.ready.git_dir, &on_demand::of_push(invocation))
        .or_failure("cannot prepare the push")?;
    let mut server = git::fenced();
    server
        .arg("-c")
        .arg(markers::hooks_setting(&open.quarantine))
        // Every command goes to the hook `proc-receive`, and receive-pack itself changes no ref.
        .args(["-c", "receive.procReceiveRefs=refs"])
        .args(["-c", "receive.advertisePushOptions=true"])
        .args(["-c", "receive.shallowUpdate=false"])
        // The daemon syncs the files to disk when it lets them into the mirror, before git is told 'ok'.
        .args(["-c", "core.fsync=none"])
        .arg("-c")
        .arg(format!("receive.fsckObjects={}", open.fsck))
        .args(
            git::TOLERATED
                .iter()
                .flat_map(|fault| ["-c".to_owned(), format!("receive.fsck.{fault}=ignore")]),
        )
        // Where `objects_without_refs` returns the mirror's own directory.
        .args(["-c", "core.alternateRefsCommand=true"])
        .arg("receive-pack")
        .arg(view.as_ref().map_or(&*open.ready.git_dir, View::path))
        // The objects stay in the quarantine until upstream has accepted them.
        .env("GIT_OBJECT_DIRECTORY", &open.quarantine)
        .env(names::PUSH_ID, &open.id)
        .env(REQUEST_ID, RequestId::of_process().to_string())
        .env(names::QUARANTINE, &open.quarantine)
        .env(names::GIT_DIR, &open.ready.git_dir)
        .env(names::UPSTREAM_URL, &open.upstream);
    let objects = objects_without_refs(&open.ready.git_dir.join("objects"), &open.quarantine)
        .or_failure("cannot prepare the push")?;
    git::add_alternate(&mut server, &objects);
    for (name, value) in sign_in::variables(&open.sign_in) {
        server.env(name, value);
    }
    if let Some(proxy) = &open.proxy {
        server
            .env(names::PROXY, &proxy.url)
            .env(names::PROXY_LOGIN, &proxy.login.0);
    }
    if let Some(username) = invocation.username() {
        server.env(names::USERNAME, username);
    }
    if invocation.options.shows_progress() {
        server.env(names::PROGRESS, "1");
    }
    let remote = &invocation.remote;
    if invocation
        .config
        .get(&format!("remote.{remote}.url"))
        .is_some()
    {
        server.env(names::REMOTE, remote);
    }
    git::carry_user(&mut server).or_failure("cannot tell where we are")?;
    let is_atomic = invocation.caller.as_ref();
    let is_atomic = is_atomic.is_some_and(|caller| caller.has("--atomic"));
    let status = serve(server, "git-receive-pack", |line| {
        // git refuses an atomic push by itself, says so, and sends nothing.
        if !(is_atomic && line == HUNG_UP) {
            show_line(line, &open.ready.url);
        }
    })?;
    let is_served = status.success();
    let has_ended = is_served || markers::wait_for_work(&open.quarantine, HOOK_TIMEOUT);
    if !has_ended || markers::was_interrupted(&open.quarantine, is_served) {
        warn_of_interruption(&open.ready.url);
    }
    Ok(is_served)
}

/// The mirror's objects, for git to read. The client has seen the mirror's refs, so git need not ask for the refs of an
/// alternate. It runs a program for them, twice in a push, where the directory is called `objects`
/// (`refs_from_alternate_cb()` in git's object-store); so it gets another one with the same packs.
fn objects_without_refs(objects: &Path, quarantine: &Path) -> io::Result<PathBuf> {
    let only_packs = fs::read_dir(objects)?.all(|entry| {
        // Loose objects are in directories of two digits.
        entry.is_ok_and(|entry| entry.file_name().len() > 2)
    });
    if !only_packs {
        return Ok(objects.to_owned());
    }
    let dir = quarantine.join("mirror");
    fs::create_dir(&dir)?;
    for name in ["pack", "info"] {
        symlink(objects.join(name), dir.join(name))?;
    }
    Ok(dir)
}

/// Links the hooks, and what the sending git runs, to this program.
fn install_hooks(dir: &Path) -> io::Result<()> {
    let program = env::current_exe()?;
    fs::create_dir(dir)?;
    for name in [
        names::PRE_RECEIVE,
        names::PROC_RECEIVE,
        names::PRE_PUSH,
        names::CONNECTION,
    ] {
        symlink(&program, dir.join(name))?;
    }
    Ok(())
}

/// Warns of a push whose processes were killed after it was sent and before its outcome was known.
fn warn_of_interruption(url: &str) {
    tell(&format!(
        "warning: the push was interrupted and may have reached '{url}'"
    ));
    tell("hint: the same push again tells, and does no harm");
}
