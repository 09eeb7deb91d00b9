//! A push: `git receive-pack` on the mirror, its ends given to the git that runs us, and our own hooks in it, which do
//! nothing but take the commands to upstream ([`crate::push::hooks`]).

pub(crate) mod hooks;
pub(crate) mod no_progress;
pub(crate) mod outcome;
pub(crate) mod quarantine;
pub(crate) mod scratch;
pub(crate) mod send;

use std::{env, fs, io, os::unix::fs::symlink, path::Path, time::Duration};

use common::{
    git,
    packs::lease,
    progress::tell,
    protocol::{Failure, Open, OrFailure, REQUEST_ID, RequestId},
};

use crate::{
    daemon,
    fetch::stream::{relay, runtime, serve},
    helper::Invocation,
};

/// A hook whose server was killed ends at once, unless it has begun to send.
const STDERR_TIMEOUT: Duration = Duration::from_secs(2);

/// Brings the mirror in step, so that git's own checks are about what upstream has now, and receives from git.
pub(crate) fn run(invocation: &Invocation) -> Result<(), Failure> {
    let runtime = runtime()?;
    let (_client, open) = runtime.block_on(daemon::open_push(invocation))?;
    let _lease =
        lease::share(&open.ready.git_dir).or_failure("cannot share the lease of the mirror")?;
    let _hold = quarantine::hold(&open.quarantine)?;
    let hooks = quarantine::hooks(&open.quarantine);
    install(&hooks).or_failure("cannot prepare the push")?;
    let mut server = git::fenced();
    server
        .arg("-c")
        .arg(quarantine::hooks_setting(&open.quarantine))
        // Every command goes to the hook, which alone decides: receive-pack touches no ref.
        .args(["-c", "receive.procReceiveRefs=refs"])
        .args(["-c", "receive.advertisePushOptions=true"])
        .args(["-c", "receive.shallowUpdate=false"])
        // The daemon makes it last when it lets it into the mirror, before anybody hears 'ok'. Until then it may go.
        .args(["-c", "core.fsync=none"])
        .arg("-c")
        .arg(format!("receive.fsckObjects={}", open.fsck))
        .args(
            git::TOLERATED
                .iter()
                .flat_map(|fault| ["-c".to_owned(), format!("receive.fsck.{fault}=ignore")]),
        )
        // The mirror's own objects are no news to the client: it has seen the refs. This asks nobody for them, where
        // prefixes that fit none would start a git each time to find that out.
        .args(["-c", "core.alternateRefsCommand=true"])
        .arg("receive-pack")
        .arg(&open.ready.git_dir)
        // What comes lands here, and in the mirror only when upstream has accepted it.
        .env("GIT_OBJECT_DIRECTORY", &open.quarantine)
        .env(hooks::PUSH, &open.id)
        .env(REQUEST_ID, RequestId::of_process().to_string())
        .env(hooks::QUARANTINE, &open.quarantine)
        .env(send::UPSTREAM, &open.ready.url);
    git::add_alternate(&mut server, &open.ready.git_dir.join("objects"));
    for (name, value) in send::variables(&open.sign_in) {
        server.env(name, value);
    }
    if let Some(username) = invocation.username() {
        server.env(send::USERNAME, username);
    }
    if invocation.options.progress && invocation.options.verbosity > 0 {
        server.env(send::PROGRESS, "1");
    }
    git::carry_user(&mut server).or_failure("cannot tell where we are")?;
    let status = serve(server, "git-receive-pack", |line| {
        relay(line, &open.ready.url);
    })?;
    let whole = status.success();
    let is_over = whole || quarantine::has_ended(&open.quarantine, STDERR_TIMEOUT);
    if !is_over || quarantine::was_interrupted(&open.quarantine, whole) {
        interrupted(&open);
    }
    Ok(())
}

/// Puts this program in the place of the hooks that it also is.
fn install(hooks: &Path) -> io::Result<()> {
    let program = env::current_exe()?;
    fs::create_dir(hooks)?;
    for hook in [hooks::PRE_RECEIVE, hooks::PROC_RECEIVE, hooks::PRE_PUSH] {
        symlink(&program, hooks.join(hook))?;
    }
    Ok(())
}

/// Something of ours was killed after the push had been sent and before its outcome was known.
fn interrupted(open: &Open) {
    let url = &open.ready.url;
    tell(&format!(
        "warning: the push was interrupted and may have reached '{url}'"
    ));
    tell("hint: the same push again tells, and does no harm");
}
