//! Protocol v2 over any transport of gix: `ls-refs` and `fetch`, from the public parts of gix-protocol.

use std::{collections::BTreeSet, io, ops::ControlFlow};

use common::{
    protocol::{Failure, FailureKind},
    refspec::{OnDemand, Refspecs, UpstreamRef},
};
use gix::{
    ObjectId,
    bstr::{BString, ByteSlice},
    error::ErrorExt,
    protocol::{
        Command,
        fetch::{Arguments, Response, negotiate},
    },
    revwalk::Graph,
};
use gix_transport::{
    Protocol,
    client::{
        Capabilities, MessageKind,
        blocking_io::{ExtendedBufRead, Transport, TransportV2Ext},
    },
};
use parking_lot::Mutex;

use crate::{
    process::watch::Watch,
    repository::{
        ancestry,
        objects::Commits,
        quarantine::{Completeness, Quarantine},
        refs::{MANY_REFS, Refs, UpstreamRefs},
    },
};

/// Returns the hash by which upstream names objects.
pub(super) fn object_format(capabilities: &Capabilities) -> gix::hash::Kind {
    let named = capabilities
        .capability("object-format")
        .and_then(|format| format.value()?.to_str().ok()?.parse().ok());
    named.unwrap_or(gix::hash::Kind::Sha1)
}

/// The capability `agent`, by which servers count clients.
fn agent() -> (&'static str, Option<String>) {
    (
        "agent",
        Some(concat!("git/mirrord-", env!("CARGO_PKG_VERSION")).into()),
    )
}

/// The longest list of refs: no project comes near it, and a list without end would fill the memory.
const MAX_REFS: usize = 2_000_000;

/// One line of an `ls-refs` answer.
pub(super) struct ListedRef {
    pub(super) name: BString,
    /// `None` for an unborn HEAD.
    pub(super) oid: Option<ObjectId>,
    /// The target of a symbolic ref.
    pub(super) target: Option<BString>,
}

/// Lists refs by the `ls-refs` of protocol v2. gix's own `ls_refs` reads names as text, and they are bytes.
pub(super) fn list_refs<T: Transport>(
    transport: &mut T,
    capabilities: &Capabilities,
    track: &Refspecs,
    on_demand: &OnDemand,
) -> gix::Result<Vec<ListedRef>> {
    let mut features = Command::LsRefs.default_features(Protocol::V2, capabilities);
    features.push(agent());
    let unborn = capabilities
        .capability("ls-refs")
        .and_then(|ls_refs| ls_refs.supports("unborn"));
    let mut arguments = vec![BString::from("symrefs"), "ref-prefix HEAD".into()];
    if unborn == Some(true) {
        arguments.push("unborn".into());
    }
    let prefixes = track.prefixes().map(str::to_owned);
    let prefixes = prefixes.chain(on_demand.prefixes());
    let prefixes = prefixes.map(|prefix| format!("ref-prefix {prefix}").into());
    arguments.extend(prefixes);
    let mut reader = transport
        .invoke(
            "ls-refs",
            features.into_iter(),
            Some(arguments.into_iter()),
            false,
        )
        .map_err(|err| err.raise())?;
    let mut listed = Vec::new();
    while let Some(line) = reader.readline() {
        let line = line.map_err(|err| err.raise())??;
        let Some(line) = line.as_slice() else { break };
        let garbled = || io::Error::other("its list of refs cannot be understood").raise();
        listed.push(parse_ref(line).ok_or_else(garbled)?);
        if listed.len() > MAX_REFS {
            return Err(io::Error::other("its list of refs has no end").raise());
        }
    }
    // Without the flush packet the list may be half of the refs, and the other half must not count as deleted.
    if reader.stopped_at() != Some(MessageKind::Flush) {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).raise());
    }
    Ok(listed)
}

/// Parses `<oid> <name>` or `unborn <name>`, and ` symref-target:<name>` after it.
fn parse_ref(line: &[u8]) -> Option<ListedRef> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut fields = line.split(|byte| *byte == b' ');
    let (value, name) = (fields.next()?, fields.next()?);
    let oid = match value {
        b"unborn" => None,
        hex => Some(ObjectId::from_hex(hex).ok()?),
    };
    let target = fields.find_map(|field| field.strip_prefix(b"symref-target:"));
    Some(ListedRef {
        name: name.into(),
        oid,
        target: target.map(Into::into),
    })
}

/// A pack that upstream is asked for, and where it goes.
#[derive(Clone, Copy)]
pub(crate) struct PackRequest<'r> {
    /// The refs whose objects are wanted.
    pub wants: &'r UpstreamRefs,
    /// Whether they are asked for by name, whatever they are now: `ref-in-want` of gitprotocol-v2(5).
    pub by_name: bool,
    /// The refs that the mirror has had from upstream before.
    pub records: &'r Refs,
    /// Where the pack is stored.
    pub quarantine: &'r Quarantine,
    /// Shows progress to those who wait, and cancels.
    pub watch: &'r Watch,
}

/// A pack that was stored.
pub(crate) struct StoredPack {
    /// Whether its objects are known to be complete.
    pub completeness: Completeness,
    /// What the refs are that were asked for by name.
    pub named: UpstreamRefs,
}

/// Why no pack was stored.
pub(super) struct FetchError {
    pub error: gix::Error,
    /// The message on the error band of the side band.
    pub server_message: Option<String>,
}

/// The `fetch` of protocol v2, from its public parts: gix's own loop (`gix_protocol::fetch`) hands on upstream's messages
/// without their line ends.
pub(super) fn fetch_pack<T: Transport>(
    transport: &mut T,
    capabilities: &Capabilities,
    request: PackRequest<'_>,
) -> Result<StoredPack, FetchError> {
    let server_message = Mutex::new(None);
    let received = negotiate_and_receive(transport, capabilities, request, &server_message);
    received.map_err(|error| FetchError {
        error,
        server_message: server_message.into_inner(),
    })
}

fn negotiate_and_receive<T: Transport>(
    transport: &mut T,
    capabilities: &Capabilities,
    request: PackRequest<'_>,
    server_message: &Mutex<Option<String>>,
) -> gix::Result<StoredPack> {
    let repo = request.quarantine.repository().map_err(|err| err.raise())?;
    let mut negotiator = gix::negotiate::Algorithm::Consecutive.into_negotiator();
    let mut graph = Graph::new(Commits::new(&repo), None);
    let first = first_offer(request);
    let mut rest = first.is_some().then(|| all_records(request));
    let mut offer = first.unwrap_or_else(|| all_records(request));
    let mut arguments = fetch_arguments(capabilities, request);
    let mut state = negotiate::one_round::State::new(true);
    let mut previous: Option<Response> = None;
    loop {
        for oid in std::mem::take(&mut offer) {
            // Negotiation is about commits: a record that leads to none has nothing to offer.
            if let Some(commit) = ancestry::peel_to_commit(&repo, oid) {
                negotiator.add_tip(commit, &mut graph)?;
            }
        }
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
            offer = rest.take().unwrap_or_default();
            continue;
        }
        if !response.shallow_updates().is_empty() {
            let failure = Failure::new(
                FailureKind::CannotMirror,
                "upstream is a shallow clone, which cannot be mirrored",
            );
            return Err(failure
                .hinted("mirror the repository that it was cloned from")
                .raise());
        }
        let named = named_refs(&response, request.wants);
        let completeness = receive_pack(reader, request, server_message)?;
        return Ok(StoredPack {
            completeness,
            named,
        });
    }
}

/// What upstream is told of first, where the mirror has many records and one of each wanted ref: what these refs were, and the
/// usual branches. To read the commits of all records takes time, and upstream most often needs no others.
fn first_offer(request: PackRequest<'_>) -> Option<BTreeSet<ObjectId>> {
    let records = request.records;
    if records.len() < MANY_REFS {
        return None;
    }
    let record = |name: &UpstreamRef| records.get(&*name.record()).copied();
    let wanted = request.wants.keys().map(record);
    let mut offer: BTreeSet<ObjectId> = wanted.collect::<Option<_>>()?;
    offer.extend(
        ["refs/heads/main", "refs/heads/master"]
            .map(UpstreamRef::from)
            .iter()
            .filter_map(record),
    );
    Some(offer)
}

fn all_records(request: PackRequest<'_>) -> BTreeSet<ObjectId> {
    request.records.values().copied().collect()
}

/// Whether upstream takes refs by name in a request for a pack.
pub(super) fn has_ref_in_want(capabilities: &Capabilities) -> bool {
    let fetch = capabilities.capability("fetch");
    fetch.and_then(|fetch| fetch.supports("ref-in-want")) == Some(true)
}

/// What upstream says that these refs are. It may say nothing of a ref, and may say something of others.
fn named_refs(response: &Response, wants: &UpstreamRefs) -> UpstreamRefs {
    let named = response.wanted_refs().iter();
    let named = named.map(|wanted| (UpstreamRef::new(wanted.path.clone()), wanted.id));
    named.filter(|(name, _)| wants.contains_key(name)).collect()
}

fn fetch_arguments(capabilities: &Capabilities, request: PackRequest<'_>) -> Arguments {
    let mut features = Command::Fetch.default_features(Protocol::V2, capabilities);
    // With `sideband-all` every line of an answer has a band, which `sideband::Listener` does not expect.
    features.retain(|(name, _)| *name != "sideband-all");
    features.push(agent());
    let mut arguments = Arguments::new(Protocol::V2, features, false);
    if request.by_name {
        for name in request.wants.keys() {
            arguments.want_ref(name.as_bstr());
        }
        return arguments;
    }
    for oid in request.wants.values().collect::<BTreeSet<_>>() {
        arguments.want(oid);
    }
    arguments
}

/// Stores the pack that follows in `reader`, and keeps what upstream says on the error band.
fn receive_pack<'r>(
    mut reader: Box<dyn ExtendedBufRead<'r> + Unpin + 'r>,
    request: PackRequest<'r>,
    server_message: &'r Mutex<Option<String>>,
) -> gix::Result<Completeness> {
    let PackRequest {
        records,
        quarantine,
        watch,
        ..
    } = request;
    watch.receiving();
    // Progress is read from the wire (`sideband::Listener`); here only an error has to be caught.
    reader.set_progress_handler(Some(Box::new(|is_error, message| {
        if is_error {
            let message = String::from_utf8_lossy(message);
            *server_message.lock() = Some(message.trim().to_owned());
        }
        match watch.is_cancelled() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    })));
    let result = if records.is_empty() {
        let received = quarantine.index_self_contained(&mut reader, watch);
        received.map(|()| Completeness::Connected)
    } else {
        let received = quarantine.index_pack(&mut reader, watch);
        received.map(|()| Completeness::Unchecked)
    };
    if result.is_ok() {
        io::copy(&mut reader, &mut io::sink()).map_err(|err| err.raise())?;
    }
    drop(reader);
    watch.finish();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &[u8]) -> Option<(BString, bool, Option<BString>)> {
        parse_ref(line).map(|listed| (listed.name, listed.oid.is_some(), listed.target))
    }

    #[test]
    fn every_kind_of_ref_line_is_parsed_and_names_are_bytes() {
        let oid = "0123456789012345678901234567890123456789";
        let line = |rest: &[u8]| [oid.as_bytes(), b" ", rest].concat();
        let plain = parsed(&line(b"refs/heads/caf\xe9\n"));
        assert_eq!(plain, Some((b"refs/heads/caf\xe9".into(), true, None)));
        let head = parsed(&line(b"HEAD symref-target:refs/heads/main peeled:0123"));
        assert_eq!(
            head,
            Some(("HEAD".into(), true, Some("refs/heads/main".into())))
        );
        let unborn = parsed(b"unborn HEAD symref-target:refs/heads/main\n");
        assert_eq!(
            unborn,
            Some(("HEAD".into(), false, Some("refs/heads/main".into())))
        );
        for garbled in [
            &b""[..],
            b"HEAD",
            b"xyz refs/heads/main",
            b"0123 refs/heads/main",
        ] {
            assert_eq!(parsed(garbled), None);
        }
    }
}
