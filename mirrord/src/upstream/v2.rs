//! Protocol v2 over any transport of gix: `ls-refs`, and `fetch` from its public parts.

use std::{
    collections::BTreeSet,
    io,
    ops::ControlFlow,
    sync::{Mutex, PoisonError},
};

use common::refspec::Refspecs;
use gix::{
    bstr::{BString, ByteSlice},
    error::ErrorExt,
    progress::Discard,
    protocol::{
        Command, LsRefsCommand,
        fetch::{Arguments, Response, negotiate},
        handshake::Ref,
        ls_refs::RefPrefixes,
    },
};
use gix_transport::{
    Protocol,
    client::{Capabilities, blocking_io::Transport},
};

use crate::{quarantine::Quarantine, refs::Refs, watch::Watch};

pub(super) fn format(capabilities: &Capabilities) -> gix::hash::Kind {
    let named = capabilities
        .capability("object-format")
        .and_then(|format| format.value()?.to_str().ok()?.parse().ok());
    named.unwrap_or(gix::hash::Kind::Sha1)
}

fn agent() -> (&'static str, Option<String>) {
    (
        "agent",
        Some(concat!("git/mirrord-", env!("CARGO_PKG_VERSION")).into()),
    )
}

pub(super) fn list<T: Transport>(
    transport: &mut T,
    capabilities: &Capabilities,
    track: &Refspecs,
) -> gix::Result<Vec<Ref>> {
    let mut prefixes = RefPrefixes::new();
    prefixes.extend(
        ["HEAD"]
            .into_iter()
            .chain(track.prefixes())
            .map(BString::from),
    );
    LsRefsCommand::new(Some(prefixes), capabilities, agent()).invoke_blocking(
        transport,
        &mut Discard,
        false,
    )
}

/// The fetch of protocol v2, from its public parts: gix's own loop shows upstream's words mangled.
pub(super) fn receive<T: Transport>(
    transport: &mut T,
    capabilities: &Capabilities,
    wants: &Refs,
    records: &Refs,
    quarantine: &Quarantine,
    watch: &Watch,
    said: &mut Option<String>,
) -> gix::Result<()> {
    let heard = Mutex::new(None);
    let repo = quarantine.repository().map_err(|err| err.raise())?;
    let mut negotiator = gix::negotiate::Algorithm::Consecutive.into_negotiator();
    let mut graph = repo.revision_graph(None);
    for oid in records.values().collect::<BTreeSet<_>>() {
        // A record that does not resolve to a commit has nothing to say to upstream.
        let commit = repo
            .try_find_object(*oid)?
            .and_then(|object| object.peel_to_commit().ok());
        if let Some(commit) = commit {
            negotiator.add_tip(commit.id, &mut graph)?;
        }
    }
    let mut features = Command::Fetch.default_features(Protocol::V2, capabilities);
    features.retain(|(name, _)| *name != "sideband-all");
    features.push(agent());
    let mut arguments = Arguments::new(Protocol::V2, features, false);
    wants
        .values()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .for_each(|oid| arguments.want(oid));
    let mut state = negotiate::one_round::State::new(true);
    let mut previous: Option<Response> = None;
    loop {
        let (_, done) = negotiate::one_round(
            &mut *negotiator,
            &mut graph,
            &mut state,
            &mut arguments,
            previous.as_ref(),
        )?;
        let mut reader = arguments.send(transport, done).map_err(|err| err.raise())?;
        let response = Response::from_line_reader(Protocol::V2, &mut reader, done, !done)?;
        if !response.has_pack() {
            previous = Some(response);
            continue;
        }
        if !response.shallow_updates().is_empty() {
            return Err(
                io::Error::other("upstream is a shallow clone, which cannot be mirrored").raise(),
            );
        }
        watch.receiving();
        // What upstream says is overheard on the wire; only a failure has to be caught here.
        reader.set_progress_handler(Some(Box::new(|is_error, words| {
            if is_error {
                *heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(words.to_vec());
            }
            if watch.is_cancelled() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })));
        let result = quarantine.receive(&mut reader, watch);
        if result.is_ok() {
            io::copy(&mut reader, &mut io::sink()).map_err(|err| err.raise())?;
        }
        drop(reader);
        let words = heard.lock().unwrap_or_else(PoisonError::into_inner).take();
        *said = words.map(|words: Vec<u8>| String::from_utf8_lossy(&words).trim().to_owned());
        watch.finish();
        return result;
    }
}
