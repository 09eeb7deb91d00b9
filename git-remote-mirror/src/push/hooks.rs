//! The hooks of a push. Two run inside the `git receive-pack` on the mirror: `pre-receive` counts the commands, and
//! `proc-receive` carries them out. It reserves the refs ([`reservation`](super::reservation)), sends to upstream
//! ([`send`]), lets the daemon settle, and reports. `pre-push` runs inside a `git push` that asks upstream itself, and only
//! records that git begins.

use std::{
    env,
    io::{self, BufRead, Read},
    path::{Path, PathBuf},
};

use common::{
    client::Client,
    paths::Paths,
    progress::tell,
    protocol::{ATOMIC_PUSH_FAILURE, Command, Failure, Lease, OrFailure},
    text::masked,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    git_push,
    hook_protocol::{self, PushCommands},
    markers,
    ref_update::{RefUpdate, Verdict, find_stale},
    reservation::{LocalUpdate, Reserved, reserve, settle},
    send, sign_in,
};
use crate::{daemon::runtime, names};

/// Local refs that are named one by one.
const MAX_NAMED: usize = 20;

/// Records how many commands there are.
pub(crate) fn pre_receive() -> Result<(), Failure> {
    let count = io::stdin().lock().split(b'\n').count();
    markers::record_commands(&quarantine()?, count)
        .or_failure("cannot record the commands of the push")
}

/// Records that git begins to send: it has read upstream's refs, and from now on nobody can be sure what reached
/// upstream. Before, it checks the leases that are too many for git's arguments.
pub(crate) fn pre_push() -> Result<(), Failure> {
    let unchecked = "cannot check what upstream has";
    let leases = markers::leases(&quarantine()?).or_failure(unchecked)?;
    let mut pushed = Vec::new();
    io::stdin().read_to_end(&mut pushed).or_failure(unchecked)?;
    if let Some(name) = find_stale(&leases, &pushed) {
        return Err(Failure::here(format!(
            "stale info: '{}' has changed at upstream, and nothing is pushed",
            masked(name)
        )));
    }
    markers::record_sent(&quarantine()?).or_failure("cannot record that the push begins")
}

/// Carries out the commands that git sends. Each is reported, whatever happens.
pub(crate) fn proc_receive() -> Result<(), Failure> {
    let quarantine = quarantine()?;
    let _lock = markers::lock(&quarantine)?;
    let _working = markers::begin_work(&quarantine).or_failure("cannot begin")?;
    let push = PushCommands::receive().or_failure("cannot hear git")?;
    let verdicts = runtime()?
        .block_on(carry_out(&push, &quarantine))
        .unwrap_or_else(|failure| {
            if let Some(hint) = &failure.hint {
                tell(&format!("hint: {hint}"));
            }
            vec![Err(failure.message); push.commands.len()]
        });
    hook_protocol::report(&push.commands, &verdicts).or_failure("cannot answer git")?;
    // Without the record the person is told that the push may have been interrupted, and pushes again.
    let _ = markers::record_reported(&quarantine);
    Ok(())
}

fn quarantine() -> Result<PathBuf, Failure> {
    env::var_os(names::QUARANTINE)
        .map(PathBuf::from)
        .ok_or_else(|| Failure::here("this is a hook of the mirror's own pushes"))
}

/// Whether `git receive-pack` is still there to read the report.
fn is_awaited() -> bool {
    let stdout = io::stdout();
    let mut stdout = [PollFd::new(&stdout, PollFlags::empty())];
    let broken = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
    let polled = poll(&mut stdout, Some(&Timespec::default()));
    polled.is_ok() && !stdout[0].revents().intersects(broken)
}

/// Carries out a push. Returns the verdict on each command.
async fn carry_out(push: &PushCommands, quarantine: &Path) -> Result<Vec<Verdict>, Failure> {
    let mut client = Client::connect(&Paths::from_env()?).await?;
    let Reserved {
        mut verdicts,
        updates,
        local,
        atomic,
        name,
    } = reserve(&mut client, push, quarantine).await?;
    if updates.is_empty() && local.is_empty() {
        return Ok(verdicts);
    }
    if !is_awaited() {
        // The client has been told already that the push failed.
        return Err(Failure::here("git receive-pack was ended"));
    }
    let (mut at_upstream, mut accepted) = (Vec::new(), Vec::new());
    if !updates.is_empty() {
        let proxy = sign_in::proxy().await;
        let outcomes = send::send(quarantine, &updates, atomic, &push.options, proxy)
            .or_failure("cannot prepare the push to upstream")?;
        for (update, verdict) in updates.iter().zip(outcomes) {
            match &verdict {
                Ok(rewrites) => {
                    at_upstream.push(update.at);
                    // Upstream has another value than was pushed, or another ref: the next sync brings it.
                    if rewrites.is_empty() || update.lease == Lease::None {
                        accepted.push(update.at);
                    }
                }
                Err(reason) => {
                    print_hint(update, reason, (atomic && !push.atomic).then_some(&*name));
                }
            }
            verdicts[update.at] = verdict;
        }
    }
    let count = accepted.len();
    if push.atomic && at_upstream.len() < updates.len() {
        for LocalUpdate { at, .. } in &local {
            verdicts[*at] = Err(ATOMIC_PUSH_FAILURE.to_owned());
        }
    } else {
        accepted.extend(local.iter().map(|update| update.at));
    }
    let has_local = accepted.len() > count;
    match settle(&mut client, &accepted).await {
        Ok(()) if has_local => name_local(&local, &push.commands),
        Ok(()) => {}
        Err(failure) => {
            if !at_upstream.is_empty() {
                // The verdict on these stays: 'ok' means that upstream has it.
                tell(&format!(
                    "warning: upstream has it, and the mirror not yet: {failure}"
                ));
                tell("hint: the next fetch brings it");
            }
            for at in accepted.iter().filter(|at| !at_upstream.contains(at)) {
                verdicts[*at] = Err(failure.message.clone());
            }
        }
    }
    Ok(verdicts)
}

/// Prints what to do about a refusal by upstream, where git cannot know. `atomic_by` is the name of a mirror that made the
/// push atomic.
fn print_hint(update: &RefUpdate<'_>, reason: &str, atomic_by: Option<&str>) {
    // The client's git did not see the ref, so it did not ask for force.
    let wants_force = ["non-fast-forward", "fetch first", "needs force"];
    if update.lease == Lease::None && wants_force.contains(&reason) {
        let name = masked(&update.command.name);
        tell(&format!(
            "hint: the mirror does not keep '{name}', and cannot force it"
        ));
        tell("hint: push it to the upstream itself");
    }
    if let Some(name) = atomic_by.filter(|_| reason.contains("does not support --atomic")) {
        tell(
            "hint: this mirror is set to push all or nothing; to leave that to 'git push --atomic':",
        );
        tell(&format!(
            "hint: mirrord set {} --atomic auto",
            masked(name.as_bytes())
        ));
    }
}

/// Names the refs that did not go to upstream.
fn name_local(local: &[LocalUpdate], commands: &[Command]) {
    let host = git_push::upstream_host();
    for LocalUpdate { at, reveals } in local.iter().take(MAX_NAMED) {
        let command = &commands[*at];
        let name = &command.name;
        let short = name.strip_prefix(b"refs/heads/");
        let short = short.or_else(|| name.strip_prefix(b"refs/tags/"));
        let name = masked(short.unwrap_or(name));
        if *reveals {
            tell(&format!(
                "{name} was local to this mirror; the next fetch shows what {host} has"
            ));
        } else if command.new.is_some() {
            tell(&format!(
                "{name} is local to this mirror; not sent to {host}"
            ));
        }
    }
    if local.len() > MAX_NAMED {
        let more = local.len() - MAX_NAMED;
        tell(&format!("{more} more are local to this mirror, too"));
    }
}
