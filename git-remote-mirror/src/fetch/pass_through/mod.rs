//! First bytes first: a part of a project that has no mirror yet comes straight from upstream, by git's own transport, and
//! the mirror is made once it has come.

mod talk;
mod timed_pipe;
mod upstream;
mod words;

use std::{io, process::Stdio};

use common::{
    address::upstream_url::{Address, Scheme, UpstreamUrl},
    client::{Client, resolve, something_else},
    git::{self, child_log},
    paths::Paths,
    protocol::{Failure, FailureKind, Mirror, Reply, Request},
};

use self::upstream::Upstream;
use crate::{
    fetch::{local_repo::LocalRepo, new_remote::NewRemote, stream::runtime},
    helper::{Invocation, answer},
};

/// In so many tips it is looked whether the project says where its large files are.
const MAX_TIPS: usize = 20;

/// Brings a part from upstream if that is wanted of a project that has no mirror, and returns whether it has. Nothing has
/// been said to git before.
pub(crate) fn run(invocation: &Invocation) -> Result<bool, Failure> {
    let Some(url) = wanted(invocation) else {
        return Ok(false);
    };
    if !ask_leave(url)? {
        return Ok(false);
    }
    let silent = |err: &io::Error| {
        Failure::new(
            FailureKind::Unreachable,
            format!("cannot reach '{url}': {err}"),
        )
    };
    let upstream = match Upstream::reach(invocation, url) {
        Ok(Some(upstream)) => upstream,
        Err(err) if err.kind() == io::ErrorKind::TimedOut => return Err(silent(&err)),
        // In whatever way: the daemon finds out what it is, and says it.
        _ => return Ok(false),
    };
    tracing::debug!("decision: passed through, there is no mirror yet");
    let remote = NewRemote::look(invocation, url.as_str());
    answer("\n")?;
    let served = upstream.serve().map_err(|err| match err.kind() {
        io::ErrorKind::TimedOut => silent(&err),
        _ => Failure::io("cannot pass upstream's answers on", &err),
    })?;
    // git's helper for http ends well also when upstream has failed it, so what has come decides.
    if let Some(brought) = served
        && brought.first().is_some_and(|tip| is_in_place(tip))
    {
        if let Some(remote) = remote {
            remote.set_up(git::of_user, &brought[..brought.len().min(MAX_TIPS)]);
        }
        // The clone is there, whatever comes of this.
        let _ = make_mirror(invocation);
    }
    Ok(true)
}

/// Whether a tip that git was given can be found.
fn is_in_place(tip: &str) -> bool {
    let mut git = git::of_user();
    git.args(["cat-file", "-e", tip])
        .env("GIT_NO_LAZY_FETCH", "1")
        .stderr(Stdio::null());
    child_log::status(&mut git).is_ok_and(|status| status.success())
}

/// Where it would come from, if a part of it is wanted and nothing is there yet, or what was left out of such a part.
fn wanted(invocation: &Invocation) -> Option<&UpstreamUrl> {
    let options = &invocation.options;
    let is_part = options.depth.is_some() || options.follow_tags;
    let has_nothing = || {
        invocation
            .place
            .as_ref()
            .is_some_and(LocalRepo::has_nothing)
    };
    let is_wanted = is_part && has_nothing() || invocation.fetches_what_was_left_out();
    if !is_wanted || options.relative {
        return None;
    }
    match &invocation.address {
        // A login would be told to whoever looks at the arguments of processes; what is on this machine does not take long.
        Address::Url(url, None) if url.scheme() != Scheme::File => Some(url),
        _ => None,
    }
}

/// Whether there is no mirror of it, and the settings want it so.
fn ask_leave(url: &UpstreamUrl) -> Result<bool, Failure> {
    let request = Request::PassesThrough(Mirror::Url(url.to_string()));
    match converse(&request)? {
        Reply::PassesThrough(leave) => Ok(leave),
        _ => Err(something_else()),
    }
}

/// Has the daemon make the mirror, and does not wait for it.
fn make_mirror(invocation: &Invocation) -> Result<(), Failure> {
    let request = resolve::request(&invocation.address, &invocation.config)?;
    converse(&Request::Download(request)).map(drop)
}

fn converse(request: &Request) -> Result<Reply, Failure> {
    let paths = Paths::from_env()?;
    runtime()?.block_on(async {
        let mut client = Client::connect_or_start(&paths).await?;
        client.say(request).await?;
        match client.hear().await? {
            Reply::Failed(failure) => Err(failure),
            reply => Ok(reply),
        }
    })
}
