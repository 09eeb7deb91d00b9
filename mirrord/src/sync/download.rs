//! Fetches the packs of a sync, in one request or in several: what upstream cannot serve is left out, and the rest is
//! fetched without it.

use std::{collections::BTreeSet, path::Path};

use common::{
    address::upstream_url::UpstreamUrl,
    protocol::{Failure, OrFailure},
    refspec::UpstreamRef,
};
use gix::ObjectId;

use crate::{
    process::{memory, watch::Watch},
    repository::{
        connected::{self, Trust},
        quarantine::{Completeness, Origin, Quarantine},
        refs::{Refs, UpstreamRefs},
        unserved::Reasons,
    },
    upstream::{Access, PackRequest, Session, Trouble, Upstreams},
};

/// How many requests one sync makes. Each that fails finds an object that upstream cannot serve, or splits the refs in two.
/// After so many, the next failure is the sync's.
const MAX_REQUESTS: usize = 64;

/// How many of the requests are only about objects that upstream could not serve last time. The client that waits has
/// everything else by then.
const MAX_RETRIES: usize = 8;

/// What was fetched.
#[derive(Default)]
pub(super) struct Downloaded {
    /// The names of the packs.
    pub packs: Vec<String>,
    /// What upstream advertises and cannot serve.
    pub unserved: Reasons,
    /// Refs that have turned out to be something else than what was advertised, where several servers answer for upstream
    /// and are not in step.
    pub moved: UpstreamRefs,
}

/// A download from upstream into a mirror.
pub(super) struct PackDownload<'d> {
    /// The session on which upstream is asked.
    pub session: &'d mut Session,
    /// Where another one is opened when upstream ends that.
    pub upstreams: &'d Upstreams,
    /// Upstream.
    pub url: &'d UpstreamUrl,
    /// How to sign in there.
    pub access: &'d Access,
    /// The mirror's repository.
    pub git_dir: &'d Path,
    /// Whether git checks what comes for faults.
    pub fsck: bool,
    /// What the mirror has for sure.
    pub trust: Trust<'d>,
    /// What upstream is told that the mirror has: refs that upstream had once.
    pub known: Refs,
    /// Receives the progress, and cancels.
    pub watch: &'d Watch,
}

/// Which of the wanted objects made a request fail.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    /// The object that upstream does not have.
    Of(ObjectId),
    /// One or more of the objects; which, upstream does not say.
    OfSome,
    /// None of them: the failure has another cause.
    None,
}

impl PackDownload<'_> {
    /// Fetches these refs' objects, but for those that upstream cannot serve. What it could not serve last time is
    /// requested after everything else.
    pub(super) fn fetch(
        mut self,
        wants: &UpstreamRefs,
        last_time: &Reasons,
    ) -> Result<Downloaded, Trouble> {
        let (last, first): (UpstreamRefs, UpstreamRefs) = wants
            .iter()
            .map(|(name, oid)| (name.clone(), *oid))
            .partition(|(_, oid)| last_time.contains_key(oid));
        let mut queue = vec![last, first];
        queue.retain(|part| !part.is_empty());
        let mut downloaded = Downloaded::default();
        let (mut requests, mut retries) = (0, 0);
        let mut last_trouble = None;
        while let Some(part) = queue.pop() {
            requests += 1;
            let known_reasons: Option<Reasons> = part
                .values()
                .map(|oid| Some((*oid, last_time.get(oid)?.clone())))
                .collect();
            if let Some(reasons) = known_reasons {
                retries += 1;
                if retries > MAX_RETRIES {
                    downloaded.unserved.extend(reasons);
                    continue;
                }
            }
            let trouble = match self.fetch_part(&part, false) {
                Ok((packs, _)) => {
                    downloaded.packs.extend(packs);
                    self.add_known(&part);
                    continue;
                }
                Err(trouble) => trouble,
            };
            let fault = fault(&trouble, &part);
            if fault == Fault::None || requests == MAX_REQUESTS || self.watch.is_cancelled() {
                return Err(trouble);
            }
            // Upstream may have ended the session.
            self.reopen()?;
            match faulty_object(&part, &fault) {
                Some(oid) => {
                    let (faulty, rest): (UpstreamRefs, UpstreamRefs) =
                        part.into_iter().partition(|(_, other)| *other == oid);
                    queue.extend(Some(rest).filter(|rest| !rest.is_empty()));
                    let moved = match fault {
                        Fault::Of(_) => self.fetch_by_name(&faulty, &mut downloaded)?,
                        Fault::OfSome | Fault::None => UpstreamRefs::new(),
                    };
                    if !faulty.keys().all(|name| moved.contains_key(name)) {
                        let reason = reason(&trouble.failure, &fault);
                        downloaded.unserved.insert(oid, reason);
                    }
                    downloaded.moved.extend(moved);
                }
                None => queue.extend(halves(part)),
            }
            last_trouble = Some(trouble);
        }
        match last_trouble {
            // An empty repository has nothing to answer with.
            Some(trouble) if downloaded.packs.is_empty() && self.known.is_empty() => Err(trouble),
            _ => Ok(downloaded),
        }
    }

    fn reopen(&mut self) -> Result<(), Trouble> {
        *self.session = Session::open(self.url, self.access, self.upstreams, self.watch)?;
        Ok(())
    }

    /// Fetches refs whose object is gone by their names, and returns what they are: the servers that answer for an upstream
    /// may be out of step. Returns nothing where upstream takes no names, or does not know these.
    fn fetch_by_name(
        &mut self,
        refs: &UpstreamRefs,
        downloaded: &mut Downloaded,
    ) -> Result<UpstreamRefs, Trouble> {
        // A HEAD on no branch cannot be asked for by name: what it is, only the list says.
        let mut named = refs.clone();
        named.remove(&UpstreamRef::head());
        if named.is_empty() || !self.session.has_ref_in_want() {
            return Ok(UpstreamRefs::new());
        }
        match self.fetch_part(&named, true) {
            Ok((packs, named)) => {
                downloaded.packs.extend(packs);
                self.add_known(&named);
                Ok(named)
            }
            Err(_) => self.reopen().map(|()| UpstreamRefs::new()),
        }
    }

    /// Fetches one pack into a quarantine, checks it, and moves it into the mirror. Returns the packs' names, and what the refs
    /// are where they were asked for by name.
    fn fetch_part(
        &mut self,
        wants: &UpstreamRefs,
        by_name: bool,
    ) -> Result<(Vec<String>, UpstreamRefs), Trouble> {
        let context = "cannot store what upstream sent";
        let quarantine = Quarantine::new(self.git_dir).or_failure(context)?;
        let stored = self.session.fetch_pack(PackRequest {
            wants,
            by_name,
            records: &self.known,
            quarantine: &quarantine,
            watch: self.watch,
        })?;
        let tips = if by_name { &stored.named } else { wants };
        let tips: BTreeSet<ObjectId> = tips.values().copied().collect();
        self.watch.checking();
        if self.fsck {
            quarantine.fsck(self.url, self.watch)?;
        }
        if stored.completeness == Completeness::Unchecked
            || !quarantine.has_all(&tips).or_failure(context)?
        {
            quarantine.check_connected(&tips, self.trust, self.watch)?;
        }
        let packs = quarantine.packs().or_failure(context)?;
        quarantine.release(Origin::Upstream).or_failure(context)?;
        Ok((packs, stored.named))
    }

    /// Tells upstream from now on that the mirror has these refs, by names below those of the records.
    fn add_known(&mut self, refs: &UpstreamRefs) {
        let served = refs.iter();
        let served = served.map(|(name, oid)| (name.record_below("served"), *oid));
        self.known.extend(served);
    }
}

/// The one object that upstream cannot serve, where the failure or the request names only one.
fn faulty_object(part: &UpstreamRefs, fault: &Fault) -> Option<ObjectId> {
    let mut objects = part.values();
    match fault {
        Fault::Of(oid) => Some(*oid),
        Fault::OfSome | Fault::None => {
            let first = objects.next()?;
            objects.all(|oid| oid == first).then_some(*first)
        }
    }
}

/// The two halves of a request, by objects. The first half is requested first, and so is the last in the queue.
fn halves(part: UpstreamRefs) -> [UpstreamRefs; 2] {
    let objects: BTreeSet<ObjectId> = part.values().copied().collect();
    let middle = objects.iter().nth(objects.len() / 2).copied();
    let (first, second) = part.into_iter().partition(|(_, oid)| Some(*oid) < middle);
    [second, first]
}

/// How git's upload-pack refuses an object that it does not have, or that nobody may ask for (`upload-pack.c`).
const NOT_OURS: &str = "not our ref ";

/// In git's message when upload-pack finds an object missing or damaged (`die` in `create_pack_file`, `upload-pack.c`).
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
        let fault_of =
            |message: String| fault(&Failure::new(FailureKind::Refused, message).into(), &wants);
        let answer = format!("cannot read 'u': upload-pack: not our ref {oid}");
        assert_eq!(fault_of(answer), Fault::Of(oid));
        let other = "2".repeat(40);
        assert_eq!(
            fault_of(format!("upload-pack: not our ref {other}")),
            Fault::None
        );
        let corrupt = "aborting due to possible repository corruption on the remote side.";
        assert_eq!(fault_of(format!("'u' gave up: {corrupt}")), Fault::OfSome);
        assert_eq!(
            fault_of("cannot reach 'u': connection refused".into()),
            Fault::None
        );
    }
}
