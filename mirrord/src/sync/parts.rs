//! Receives what a sync wants, in one part or in several: what upstream cannot serve is left out, and the rest is
//! received without it.

use std::{collections::BTreeSet, path::Path};

use common::protocol::{Failure, OrFailure};
use gix::ObjectId;

use super::receive::Source;
use crate::{
    process::{memory, watch::Watch},
    repository::{
        connected,
        quarantine::{Origin, Quarantine, Received},
        refs::{Refs, UpstreamRefs},
        unserved::Reasons,
    },
    upstream::{Session, Trouble, Upstreams},
};

/// After so many requests a sync fails as its last request did. Each finds at least one object that upstream cannot
/// serve, or halves the refs among which one is.
const MAX_REQUESTS: usize = 64;

/// So many of them are about what could not be served the last time: the client that waits has all else by then.
const MAX_RETRIES: usize = 8;

/// What came of what a sync wants.
#[derive(Default)]
pub(super) struct Parts {
    /// The packs that came.
    pub packs: Vec<String>,
    /// What upstream advertises and cannot serve.
    pub unserved: Reasons,
}

/// A download in the making.
pub(super) struct Download<'d> {
    pub session: &'d mut Session,
    pub upstreams: &'d Upstreams,
    pub git_dir: &'d Path,
    pub source: &'d Source<'d>,
    /// What upstream had and is here.
    pub known: Refs,
    pub watch: &'d Watch,
}

/// What a failed request says of the objects that were wanted.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    /// Upstream does not have this one.
    Of(ObjectId),
    /// Something is wrong with one of them.
    OfSome,
    /// Nothing.
    None,
}

impl Download<'_> {
    /// Receives these, but for what upstream cannot serve. What it could not serve the last time is wanted after all else.
    pub(super) fn receive(
        mut self,
        wants: &UpstreamRefs,
        last_time: &Reasons,
    ) -> Result<Parts, Trouble> {
        let (last, first): (UpstreamRefs, UpstreamRefs) = wants
            .iter()
            .map(|(name, oid)| (name.clone(), *oid))
            .partition(|(_, oid)| last_time.contains_key(oid));
        let mut queue = vec![last, first];
        queue.retain(|part| !part.is_empty());
        let mut parts = Parts::default();
        let (mut requests, mut retries) = (0, 0);
        let mut trouble = None;
        while let Some(part) = queue.pop() {
            requests += 1;
            let known: Option<Reasons> = part
                .values()
                .map(|oid| Some((*oid, last_time.get(oid)?.clone())))
                .collect();
            if let Some(known) = known {
                retries += 1;
                if retries > MAX_RETRIES {
                    parts.unserved.extend(known);
                    continue;
                }
            }
            let failed = match self.receive_part(&part) {
                Ok(packs) => {
                    parts.packs.extend(packs);
                    let served = part
                        .iter()
                        .map(|(name, oid)| (name.record_below("served"), *oid));
                    self.known.extend(served);
                    continue;
                }
                Err(failed) => failed,
            };
            let fault = fault(&failed, &part);
            if fault == Fault::None || requests == MAX_REQUESTS || self.watch.is_cancelled() {
                return Err(failed);
            }
            let objects: BTreeSet<ObjectId> = part.values().copied().collect();
            let faulty = match fault {
                Fault::Of(oid) => Some(oid),
                _ => objects.first().copied().filter(|_| objects.len() == 1),
            };
            match faulty {
                Some(oid) => {
                    let rest: UpstreamRefs = part
                        .into_iter()
                        .filter(|(_, other)| *other != oid)
                        .collect();
                    queue.extend(Some(rest).filter(|rest| !rest.is_empty()));
                    parts.unserved.insert(oid, reason(&failed.failure, &fault));
                }
                None => {
                    let middle = objects.iter().nth(objects.len() / 2).copied();
                    let (one, other) = part.into_iter().partition(|(_, oid)| Some(*oid) < middle);
                    queue.extend([other, one]);
                }
            }
            // Upstream may have ended this conversation.
            let Source { url, access, .. } = self.source;
            *self.session = Session::open(url, access, self.upstreams, self.watch)?;
            trouble = Some(failed);
        }
        match trouble {
            // Nobody has an answer in an empty repository.
            Some(trouble) if parts.packs.is_empty() && self.known.is_empty() => Err(trouble),
            _ => Ok(parts),
        }
    }

    /// Receives these into a quarantine of their own, and lets them into the mirror.
    fn receive_part(&mut self, wants: &UpstreamRefs) -> Result<Vec<String>, Trouble> {
        let Source {
            url, trust, fsck, ..
        } = *self.source;
        let context = "cannot store what upstream sent";
        let tips: BTreeSet<ObjectId> = wants.values().copied().collect();
        let quarantine = Quarantine::new(self.git_dir).or_failure(context)?;
        let received = self
            .session
            .fetch_pack(wants, &self.known, &quarantine, self.watch)?;
        self.watch.checking();
        if fsck {
            quarantine.fsck(url, self.watch)?;
        }
        if received == Received::Unchecked || !quarantine.has_all(&tips).or_failure(context)? {
            quarantine.check_connected(&tips, trust, self.watch)?;
        }
        let packs = quarantine.packs().or_failure(context)?;
        quarantine.release(Origin::Upstream).or_failure(context)?;
        Ok(packs)
    }
}

/// What upstream answers when it is asked for an object that it does not have, or that nobody may ask for.
const NOT_OURS: &str = "not our ref ";

/// What upstream says when its own git finds an object missing or damaged.
const CORRUPT: &str = "repository corruption";

fn fault(trouble: &Trouble, wants: &UpstreamRefs) -> Fault {
    let message = &trouble.failure.message;
    if let Some((_, rest)) = message.split_once(NOT_OURS) {
        let hex = rest.split(|c: char| !c.is_ascii_hexdigit()).next();
        let oid = hex.and_then(|hex| ObjectId::from_hex(hex.as_bytes()).ok());
        return match oid.filter(|oid| wants.values().any(|want| want == oid)) {
            Some(oid) => Fault::Of(oid),
            None => Fault::None,
        };
    }
    let of_some = [CORRUPT, connected::INCOMPLETE, memory::TOO_LARGE];
    match of_some.iter().any(|text| message.contains(text)) {
        true => Fault::OfSome,
        false => Fault::None,
    }
}

fn reason(failure: &Failure, fault: &Fault) -> String {
    match fault {
        Fault::Of(oid) => format!("upstream advertises {oid} and does not have it"),
        _ => failure.message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use common::protocol::FailureKind;

    use super::*;

    #[test]
    fn only_what_is_about_wanted_objects_leaves_them_out() {
        let oid = ObjectId::from_hex(&[b'1'; 40]).expect("hex");
        let wants = UpstreamRefs::from([("refs/heads/main".into(), oid)]);
        let of =
            |message: String| fault(&Failure::new(FailureKind::Refused, message).into(), &wants);
        let answer = format!("cannot read 'u': upload-pack: not our ref {oid}");
        assert_eq!(of(answer), Fault::Of(oid));
        let other = "2".repeat(40);
        assert_eq!(of(format!("upload-pack: not our ref {other}")), Fault::None);
        let corrupt = "aborting due to possible repository corruption on the remote side.";
        assert_eq!(of(format!("'u' gave up: {corrupt}")), Fault::OfSome);
        assert_eq!(
            of("cannot reach 'u': connection refused".into()),
            Fault::None
        );
    }
}
