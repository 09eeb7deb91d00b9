//! The way through: git's own transport to upstream, whole, where the mirror cannot serve. Over http git's own helper
//! speaks ([`http`]), over ssh and on this machine the server program itself ([`server`]).
//!
//! [`first_part`] is the one case in which a mirror follows. [`instead`] decides about the others: an upstream that cannot be
//! mirrored, and a daemon that is not there ([`without_daemon`]). [`signed`] takes signed pushes. A [`bundle`] is read by git.

pub(crate) mod bundle;
mod exchange;
pub(crate) mod first_part;
pub(crate) mod http;
mod on_disk;
mod relay;
mod server;
pub(crate) mod signed;
mod stderr;
mod timed_pipe;
mod upstream;
mod without_daemon;

use std::{env, process};

use common::{
    address::upstream_url::{Address, Scheme, UpstreamUrl},
    client::something_else,
    progress::tell,
    protocol::{Failure, FailureKind, Lack},
};

use self::http::Commands;
use crate::{
    caller::Caller, fetch::leased_mirror::LeasedMirror, git_line::answer, invocation::Invocation,
    local_repo::set_config, on_demand,
};

/// The exit code for a server program that was ended by a signal.
const ENDED_BY_SIGNAL: i32 = 128;

/// What has become of a connection that git asked for.
pub(crate) enum Way {
    /// git has been served, and is done.
    Done,
    /// git goes on by its commands `list`, `fetch` and `push`.
    Commands(Box<Commands>),
}

/// Why git is to reach upstream past the mirror, where its options say so: the mirror would not heed them.
pub(crate) fn wanted_by(invocation: &Invocation, service: &str) -> Option<&'static str> {
    let Invocation {
        remote,
        config,
        caller,
        options,
        ..
    } = invocation;
    let has_server_option = || {
        let typed = caller.as_ref().is_some_and(Caller::has_server_option);
        typed
            || config
                .get(&format!("remote.{remote}.serveroption"))
                .is_some()
    };
    // The server programs of this machine obey it.
    let has_namespace = || {
        let is_here =
            matches!(&invocation.address, Address::Url(url, _) if url.scheme() == Scheme::File);
        is_here && env::var_os("GIT_NAMESPACE").is_some_and(|name| !name.is_empty())
    };
    if options.server_program.is_some() {
        Some("another program is to run there")
    } else if options.family.is_some() {
        Some("the version of the internet protocol is given")
    } else if service == "git-upload-pack" && has_server_option() {
        Some("the server options are for it")
    } else if caller.as_ref().is_some_and(on_demand::lists_by_pattern) {
        Some("it lists what no mirror has all of")
    } else if has_namespace() {
        Some("a namespace is set")
    } else {
        None
    }
}

/// Goes through, as the options of git want it.
///
/// # Errors
/// Fails with what the person should read.
pub(crate) fn as_wanted(
    invocation: &Invocation,
    service: &str,
    reason: &str,
) -> Result<Way, Failure> {
    let url = match &invocation.address {
        Address::Url(url, None) => url.clone(),
        Address::Url(url, Some(_)) => {
            let message = format!("cannot ask '{url}' without its mirror: the URL has a login");
            return Err(Failure::new(FailureKind::Usage, message));
        }
        Address::Name(_) => {
            let ready = LeasedMirror::sync(invocation, Lack::News)?.ready;
            match Address::parse(&ready.url) {
                Ok(Address::Url(url, _)) => url,
                _ => return Err(something_else()),
            }
        }
    };
    let caller = invocation.caller.as_ref();
    // A list costs upstream one request in any case.
    let costs_nothing = caller.is_some_and(on_demand::lists_by_pattern);
    if invocation.options.verbosity > 0 && !costs_nothing {
        tell(&format!(
            "hint: '{url}' is asked without its mirror: {reason}"
        ));
    }
    tracing::debug!("decision: passed through, {reason}");
    run(invocation, &url, service)
}

/// Goes through, where that is right after this failure of the mirror. git has not been answered yet.
///
/// # Errors
/// Fails with the failure where it is not right, and with what the person should read.
pub(crate) fn instead(
    invocation: &Invocation,
    service: &str,
    failure: Failure,
) -> Result<Way, Failure> {
    // A login would be an argument of a process, which others can see.
    let Address::Url(url, None) = &invocation.address else {
        return Err(failure);
    };
    match failure.kind {
        FailureKind::CannotMirror => tell_once(invocation, &failure),
        FailureKind::NoDaemon if without_daemon::is_allowed(invocation, url, service) => {
            tell(&format!(
                "warning: '{url}' is asked without its mirror: {}",
                failure.message
            ));
            for line in failure.hint.iter().flat_map(|hint| hint.lines()) {
                tell(&format!("hint: {line}"));
            }
        }
        _ => return Err(failure),
    }
    tracing::debug!("decision: passed through, {}", failure.message);
    run(invocation, url, service)
}

/// Goes through to upstream.
///
/// # Errors
/// Fails with what the person should read.
pub(crate) fn run(
    invocation: &Invocation,
    url: &UpstreamUrl,
    service: &str,
) -> Result<Way, Failure> {
    match url.scheme() {
        Scheme::Http | Scheme::Https => http::run(invocation, url, service),
        Scheme::Ssh | Scheme::File => {
            let program = server::command(invocation, url, service)?;
            let status = crate::server_program::serve(program, service, server::show_line)?;
            if !status.success() {
                // It has said why, and git fails with it.
                process::exit(status.code().unwrap_or(ENDED_BY_SIGNAL));
            }
            Ok(Way::Done)
        }
    }
}

/// Says once for each clone why its upstream has no mirror. The clone's configuration records what was said.
fn tell_once(invocation: &Invocation, failure: &Failure) {
    let key = format!("remote.{}.unmirrored", invocation.remote);
    if invocation.config.get(&key.to_lowercase()) == Some(&failure.message)
        || invocation.config.get(&key) == Some(&failure.message)
    {
        return;
    }
    tell(&format!(
        "hint: this upstream cannot be mirrored: {}",
        failure.message
    ));
    tell("hint: git itself fetches from it and pushes to it");
    let url = format!("remote.{}.url", invocation.remote);
    if let (Some(_), Some(local_repo)) = (invocation.config.get(&url), &invocation.local_repo) {
        set_config(&local_repo.config(), &key, &failure.message);
    }
}

/// Answers git that it is to go on by commands.
fn fall_back() -> Result<(), Failure> {
    answer("fallback\n")
}
