//! A part of a project that has no mirror yet comes straight from upstream, so that its first bytes do not wait for a whole
//! download. The daemon makes the mirror afterwards.

use std::{io, process::Stdio};

use common::{
    address::upstream_url::{Address, Scheme, UpstreamUrl},
    client::{resolve, something_else},
    git::{self, child_log},
    protocol::{Failure, FailureKind, Mirror, Reply, Request},
};

use super::{relay, upstream::Upstream};
use crate::{
    daemon::start_and_ask, fetch::new_remote::NewRemote, git_line::answer, invocation::Invocation,
};

/// The tips in which the settings of a new remote are looked for.
const MAX_TIPS: usize = 20;

/// Passes a fetch through, where that is allowed and works. Otherwise it returns false and has not answered git.
///
/// # Errors
/// Fails with what the person should read.
pub(crate) fn run(invocation: &Invocation) -> Result<bool, Failure> {
    let Some(url) = find_url(invocation) else {
        return Ok(false);
    };
    if !may_pass_through(url)? {
        return Ok(false);
    }
    let unreachable = |err: &io::Error| {
        Failure::new(
            FailureKind::Unreachable,
            format!("cannot reach '{url}': {err}"),
        )
    };
    let upstream = match Upstream::connect(invocation, url) {
        Ok(Some(upstream)) => upstream,
        Err(err) if err.kind() == io::ErrorKind::TimedOut => return Err(unreachable(&err)),
        // The daemon finds out why, and says it.
        _ => return Ok(false),
    };
    tracing::debug!("decision: passed through, there is no mirror yet");
    let remote = NewRemote::find(invocation, url.as_str());
    answer("\n")?;
    let objects = relay::run(upstream).map_err(|err| match err.kind() {
        io::ErrorKind::TimedOut => unreachable(&err),
        _ => Failure::io("cannot pass upstream's answers on", &err),
    })?;
    // git's helper for HTTP ends with success even where upstream has failed, so look for an object.
    if let Some(objects) = objects
        && objects.first().is_some_and(|object| has_object(object))
    {
        if let Some(remote) = remote {
            remote.configure(git::of_user, &objects[..objects.len().min(MAX_TIPS)]);
        }
        // The fetch is complete without a mirror, too.
        let _ = request_mirror(invocation);
    }
    Ok(true)
}

/// Whether the client's repository has an object that git was sent.
fn has_object(object: &str) -> bool {
    let mut git = git::of_user();
    git.args(["cat-file", "-e", object])
        .env("GIT_NO_LAZY_FETCH", "1")
        .stderr(Stdio::null());
    child_log::status(&mut git).is_ok_and(|status| status.success())
}

/// The URL to fetch from, where a part of a project is wanted in a repository without objects, or a lazy fetch adds to one.
fn find_url(invocation: &Invocation) -> Option<&UpstreamUrl> {
    let options = &invocation.options;
    let is_part = options.depth.is_some() || options.follow_tags;
    let may_be = is_part && invocation.has_no_objects() || invocation.is_lazy_fetch();
    if !may_be || options.is_relative {
        return None;
    }
    match &invocation.address {
        // A login would be an argument of a process, which others can see. An upstream on this machine is quick anyway.
        Address::Url(url, None) if url.scheme() != Scheme::File => Some(url),
        _ => None,
    }
}

/// Asks the daemon whether there is no mirror of the URL, and the settings allow to pass through.
fn may_pass_through(url: &UpstreamUrl) -> Result<bool, Failure> {
    let request = Request::PassesThrough(Mirror::Url(url.to_string()));
    match start_and_ask(&request)? {
        Reply::PassesThrough(may) => Ok(may),
        _ => Err(something_else()),
    }
}

/// Has the daemon make the mirror in the background.
fn request_mirror(invocation: &Invocation) -> Result<(), Failure> {
    let request = resolve::request(&invocation.address, &invocation.config)?;
    start_and_ask(&Request::Download(request)).map(drop)
}
