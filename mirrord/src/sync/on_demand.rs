//! What clients want beside what is tracked: fetched after the rest, in the same session, and kept for a while.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use common::{
    protocol::{FailureKind, OrFailure},
    refspec::{self, KeptName, UpstreamRef},
};
use gix::{ObjectId, bstr::ByteSlice};

use super::{
    download::PackDownload,
    job::Outcome,
    memory::Applied,
    run::{Run, Stop},
};
use crate::{
    mirrors::registry::Mirror,
    repository::{
        connected::{self, Trust},
        on_demand::{self, Found},
        publish,
        refs::{self, Refs, Snapshot, UpstreamRefs},
        unserved::Reasons,
    },
    upstream::{Session, Trouble},
};

impl Run<'_> {
    /// Fetches what is wanted beside what is tracked, and keeps it. Returns the outcome of the sync.
    pub(super) fn keep_on_demand(&mut self, outcome: Outcome) -> Result<Outcome, Stop> {
        let Outcome::InStep {
            mirror, changed, ..
        } = &outcome
        else {
            return Ok(outcome);
        };
        if self.options.on_demand.is_empty() {
            return Ok(outcome);
        }
        let has_changed = self.update_on_demand(mirror)?;
        let is_changed = *changed || has_changed;
        Ok(match outcome {
            Outcome::InStep {
                mirror,
                warnings,
                changed_refs,
                signed_in_by_git,
                download,
                asked_at,
                reached,
                ..
            } => Outcome::InStep {
                mirror,
                warnings,
                changed_refs,
                changed: is_changed,
                signed_in_by_git,
                download,
                asked_at,
                reached,
            },
            outcome => outcome,
        })
    }

    /// Returns whether the mirror has changed.
    fn update_on_demand(&mut self, mirror: &Mirror) -> Result<bool, Stop> {
        let context = "cannot keep what is wanted beside what is tracked";
        let (git_dir, wanted, now) = (&*mirror.git_dir, &self.options.on_demand, SystemTime::now());
        on_demand::record_asked(git_dir, wanted, now).or_failure(context)?;
        let snapshot = Snapshot::take(git_dir).or_failure(context)?;
        let may_keep = || snapshot.bytes().contains_str(refspec::ON_DEMAND);
        if self.on_demand.is_empty() && wanted.objects().next().is_none() && !may_keep() {
            return Ok(false);
        }
        // Until the end, nobody moves or removes the mirror.
        let _running = self.engine.gates.gate(git_dir).begin_sync();
        if !git_dir.exists() {
            return Err(Stop::RunAgain);
        }
        let refs = Snapshot::take(git_dir).and_then(|snapshot| snapshot.refs(git_dir));
        let refs = refs.or_failure(context)?;
        let found = self.fetch_on_demand(mirror, &refs)?;
        let plan = on_demand::plan(&refs, &self.options.on_demand, &found, now);
        if plan.edits.is_empty() {
            return Ok(false);
        }
        let stamp = refs::Stamp::of(git_dir);
        let track = &mirror.settings.rules.track;
        let published = publish::publish(git_dir, &plan, None, track).or_failure(context)?;
        if published.again {
            return Err(Stop::RunAgain);
        }
        // No ref that is tracked has changed.
        if let Some(Applied { refs, .. }) = &mut self.memory.applied
            && *refs == stamp
        {
            *refs = refs::Stamp::of(git_dir);
        }
        Ok(true)
    }

    /// Fetches what upstream has of what is wanted and the mirror does not have. Returns what is to be kept.
    fn fetch_on_demand(&mut self, mirror: &Mirror, refs: &Refs) -> Result<Found, Trouble> {
        let git_dir = &*mirror.git_dir;
        let context = "cannot look at the mirror's objects";
        let mut found: Found = std::mem::take(&mut self.on_demand)
            .into_iter()
            .map(|(name, oid)| (KeptName::Ref(name), oid))
            .collect();
        let kept: BTreeMap<_, _> = on_demand::kept(refs)
            .map(|(_, kept, oid)| (kept.what, oid))
            .collect();
        let known: BTreeSet<ObjectId> = refs.values().copied().collect();
        let repo = refs::open(git_dir).or_failure(context)?;
        let is_whole = |oid: ObjectId| known.contains(&oid) && repo.has_object(oid);
        let missing = found.iter().filter(|(_, oid)| !is_whole(**oid));
        let missing: UpstreamRefs = missing
            .filter_map(|(name, oid)| match name {
                KeptName::Ref(name) => Some((name.clone(), *oid)),
                KeptName::Object(_) => None,
            })
            .collect();
        let unserved = self.fetch_missing_of(mirror, refs, &missing)?;
        found.retain(|_, oid| !unserved.contains_key(oid));
        let objects: Vec<String> = self
            .options
            .on_demand
            .objects()
            .map(str::to_owned)
            .collect();
        for object in objects {
            let Ok(oid) = ObjectId::from_hex(object.as_bytes()) else {
                continue;
            };
            let name = KeptName::Object(object.clone());
            if kept.contains_key(&name) {
                found.insert(name, oid);
            }
            if oid.kind() != repo.object_hash() || is_whole(oid) {
                continue;
            }
            if let Some(name) = self.fetch_object(mirror, refs, object, oid)? {
                found.insert(name, oid);
            }
        }
        Ok(found)
    }

    /// Fetches an object that upstream may give although no ref names it. Returns what is to be kept.
    fn fetch_object(
        &mut self,
        mirror: &Mirror,
        refs: &Refs,
        object: String,
        oid: ObjectId,
    ) -> Result<Option<KeptName>, Trouble> {
        let tips = BTreeSet::from([oid]);
        if connected::is_complete(&mirror.git_dir, &tips, Trust::Refs, self.watch)? {
            return Ok(None);
        }
        // `git fetch` takes an object in the place of a ref's name.
        let want = UpstreamRefs::from([(UpstreamRef::new(object.as_str()), oid)]);
        match self.fetch_missing_of(mirror, refs, &want) {
            Ok(unserved) if unserved.is_empty() => Ok(Some(KeptName::Object(object))),
            // Git's own server on the mirror says that the object is not there.
            Ok(_) => Ok(None),
            Err(trouble) if trouble.failure.kind == FailureKind::Unreachable => Err(trouble),
            Err(trouble) if self.watch.is_cancelled() => Err(trouble),
            Err(trouble) => {
                let url = &self.target.url;
                tracing::debug!("'{url}' does not give '{object}': {}", trouble.failure);
                Ok(None)
            }
        }
    }

    /// Fetches these refs' objects where the mirror lacks some. Returns what upstream cannot serve.
    fn fetch_missing_of(
        &mut self,
        mirror: &Mirror,
        refs: &Refs,
        missing: &UpstreamRefs,
    ) -> Result<Reasons, Trouble> {
        let git_dir = &*mirror.git_dir;
        let tips: BTreeSet<ObjectId> = missing.values().copied().collect();
        if tips.is_empty() || connected::is_complete(git_dir, &tips, Trust::Refs, self.watch)? {
            return Ok(Reasons::new());
        }
        let (url, access) = (&self.target.url, self.access);
        let session = self.memory.take_session(url, access);
        let mut session = match session {
            Some(session) => session,
            None => Session::open(url, access, &self.engine.upstreams, self.watch)?,
        };
        let download = PackDownload {
            session: &mut session,
            upstreams: &self.engine.upstreams,
            url,
            access,
            git_dir,
            fsck: mirror.settings.rules.fsck,
            trust: Trust::Refs,
            known: once_upstreams(refs),
            watch: self.watch,
        };
        let downloaded = download.fetch(missing, &Reasons::new())?;
        self.memory.keep_session(session);
        Ok(downloaded.unserved)
    }
}

/// What upstream had once and the mirror has, by names of records.
fn once_upstreams(refs: &Refs) -> Refs {
    let records = refs.iter().filter(|(name, _)| refs::is_record(name));
    let records = records.map(|(name, oid)| (name.clone(), *oid));
    let kept = on_demand::kept(refs).enumerate().map(|(at, (_, _, oid))| {
        let name = UpstreamRef::new(at.to_string());
        (name.record_below("on-demand"), oid)
    });
    records.chain(kept).collect()
}
