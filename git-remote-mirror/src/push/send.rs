//! Sends a push to upstream: over the daemon's connection where that can be ([`over_daemon`]), or else by one `git push` in
//! the user's environment, so that their credentials, their ssh-agent and their prompts are those of any other push.
//! [`settings`] tells that git how to talk to upstream.
//!
//! The git runs in a scratch repository whose refs are the push ([`scratch`](super::scratch)). So neither the number nor
//! the names of the mirror's other refs matter, and no rule of the user's rewrites the address. Each ref is changed only
//! from the value that the client's git decided by: `--force-with-lease`, and no `+`, which would override it. Where the
//! leases are too long for arguments, the hook `pre-push` checks them, and what has one is forced.

use std::{env, ffi::OsString, io, path::Path};

use common::git::client_context::UserConfig;

use super::{
    git_push, markers,
    outcome::Outcomes,
    over_daemon,
    ref_update::{RefUpdate, Verdict, are_leases_too_long, lease_lines},
    scratch::Scratch,
    settings, sign_in,
    stderr::Shown,
    watch::{PushWatch, Transport},
};
use crate::names;

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
    if Transport::of_url(&url) == Transport::Http
        && let Some(verdicts) = over_daemon::send(quarantine, updates, atomic, options)?
    {
        return Ok(verdicts);
    }
    send_by_git(quarantine, &url, updates, atomic, options, proxy)
}

/// Sends the updates by a git that talks to upstream itself.
fn send_by_git(
    quarantine: &Path,
    url: &str,
    updates: &[RefUpdate<'_>],
    atomic: bool,
    options: &[OsString],
    proxy: Option<String>,
) -> io::Result<Vec<Verdict>> {
    let transport = Transport::of_url(url);
    let hook_checks = are_leases_too_long(updates, transport == Transport::Http);
    if hook_checks {
        markers::record_leases(quarantine, &lease_lines(updates))?;
    }
    let scratch = Scratch::new(quarantine, url, updates, hook_checks)?;
    let mut config = UserConfig::read()?;
    if let Ok(remote) = env::var(names::REMOTE) {
        config.use_proxy_of(&remote);
    }
    let context = config.client_context();
    let limit = settings::no_progress_limit(url, &context);
    let mut push = git_push::command(&scratch, quarantine);
    push.env(
        "GIT_CONFIG_GLOBAL",
        scratch.write_safe_directories(&context.config)?,
    )
    .env("GIT_ALLOW_PROTOCOL", settings::allowed_transports(url));
    let settings = settings::settings(&mut push, url, &context, limit, proxy)?;
    sign_in::apply(&mut push)?;
    let settings = git_push::write_settings(&scratch, &settings, options)?;
    settings.include_in(&mut push);

    let shows_progress = env::var_os(names::PROGRESS).is_some();
    // Progress is for the watch, too. Over http curl has a limit of its own, and the watch needs no progress.
    let has_progress = shows_progress || transport != Transport::Http;
    git_push::add_args(&mut push, updates, hook_checks, atomic, has_progress);
    push.arg("upstream");
    let has_pack = updates.iter().any(|update| update.command.new.is_some());
    let watch = PushWatch::new(quarantine, transport, limit, has_pack)?;
    push.envs(watch.trace_variables());
    let events = watch.sender();
    let mut sent = git_push::run(push, Shown::All, &events, |git| watch.wait(git))?;
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
