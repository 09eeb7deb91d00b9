//! The second step of a sync: brings the objects that upstream has and the mirror does not into the mirror, checked. Refs
//! do not change yet. `download` fetches the packs.

use std::{collections::BTreeSet, io, path::Path};

use common::{
    protocol::{Failure, FailureKind, OrFailure},
    refspec::{self, OnDemand, UpstreamRef},
};
use gix::{ObjectId, bstr::BString};

use super::{
    ask::Answer,
    download::{Downloaded, PackDownload},
    run::{Destination, Run, Start, Stop},
    siblings,
};
use crate::{
    mirrors::{gate::RunningSync, settings::Settings},
    repository::{
        connected::{self, Trust},
        plan::{Advertisement, Head, Plan},
        refs::{self, Refs, UpstreamRefs},
        unserved::{self, Unserved},
    },
    upstream::Trouble,
};

/// What has been received, and how the refs are to change.
pub(super) struct Received {
    /// What upstream answered.
    pub answer: Answer,
    /// The repository that has the objects now.
    pub destination: Destination,
    /// Keeps the mirror from being changed while this sync runs.
    pub running: Option<RunningSync>,
    /// The mirror's settings, or those that it will have.
    pub settings: Settings,
    /// The refs before upstream was asked.
    pub before: Refs,
    /// How they are to change.
    pub plan: Plan,
    /// The packs that came.
    pub packs: Vec<String>,
    /// The refs that upstream advertises and cannot serve.
    pub unserved: Vec<Unserved>,
    /// The advertisement without these, when there are some.
    pub served: Option<Advertisement>,
    /// Public refs that pushes through this mirror change, or have just changed.
    pub pushed: BTreeSet<BString>,
    /// Whether upstream was told of the objects of the records, and of nothing else.
    pub is_from_records: bool,
}

impl Received {
    /// What upstream advertises and can serve.
    pub(super) fn served(&self) -> &Advertisement {
        self.served.as_ref().unwrap_or(&self.answer.advertisement)
    }
}

impl Run<'_> {
    /// Receives what the mirror needs in order to have what upstream has.
    pub(super) fn receive(&mut self, start: Start, mut answer: Answer) -> Result<Received, Stop> {
        // What the wipe guard refused has been received: it need not be received again.
        let refused = self.memory.refused.take();
        let refused = refused.map(|refused| refused.advertisement.refs);
        check_format(&start, &answer)?;
        let Start {
            mirror,
            running,
            refs,
            settings,
        } = start;
        let destination = match mirror {
            Some(mirror) => Destination::Mirror(mirror),
            None => {
                let new = self
                    .engine
                    .registry
                    .begin_mirror(settings.clone(), answer.format);
                Destination::New(new.or_failure("cannot make a mirror")?)
            }
        };
        let git_dir = destination.git_dir();
        let before = refs
            .refs(git_dir)
            .or_failure("cannot read the mirror's refs")?;
        let mut plan = Plan::of_sync(&before, &answer.advertisement, &settings.rules.track);
        let tips = self.tips(git_dir, &before, &plan, &answer)?;
        let is_first = !before.keys().any(|name| refs::is_record(name));
        let taken = match is_first && !answer.needs_all && !tips.is_empty() {
            true => siblings::take_packs(
                self.engine,
                &self.target.url,
                git_dir,
                &answer.advertisement.refs,
                self.watch,
            ),
            false => Refs::new(),
        };
        let pushed = match running {
            Some(_) => self.engine.gates.gate(git_dir).refs_of_pushes(),
            None => BTreeSet::new(),
        };
        let is_from_records = !answer.needs_all && taken.is_empty() && refused.is_none();
        let known = Known {
            before: &before,
            taken: &taken,
            refused: refused.as_ref(),
        };
        let downloaded = self.fetch_missing(&mut answer, git_dir, &settings, &tips, &known)?;
        if !downloaded.moved.is_empty() {
            answer.advertisement.refs.extend(downloaded.moved);
            plan = Plan::of_sync(&before, &answer.advertisement, &settings.rules.track);
        }
        let mut received = Received {
            answer,
            running,
            before,
            plan,
            packs: downloaded.packs,
            unserved: Vec::new(),
            served: None,
            pushed,
            is_from_records,
            destination,
            settings,
        };
        received.leave_out(&downloaded.unserved);
        Ok(received)
    }

    /// The objects that have to be there before the refs can change.
    fn tips(
        &mut self,
        git_dir: &Path,
        before: &Refs,
        plan: &Plan,
        answer: &Answer,
    ) -> Result<BTreeSet<ObjectId>, Stop> {
        let mut tips = plan.tips();
        if answer.needs_all {
            tips.extend(answer.advertisement.refs.values().copied());
        }
        if !self.memory.has_checked_objects {
            let lost = lost_objects(git_dir, before, &answer.advertisement);
            tips.extend(lost.or_failure("cannot read the mirror")?);
            self.memory.has_checked_objects = true;
        }
        Ok(tips)
    }

    /// Fetches what `tips` need and the mirror does not have, but for what upstream cannot serve.
    fn fetch_missing(
        &mut self,
        answer: &mut Answer,
        git_dir: &Path,
        settings: &Settings,
        tips: &BTreeSet<ObjectId>,
        known: &Known<'_>,
    ) -> Result<Downloaded, Stop> {
        let taken: BTreeSet<ObjectId> = known.taken.values().copied().collect();
        let trust = match answer.needs_all {
            true => Trust::Nothing,
            false if taken.is_empty() => Trust::Refs,
            false => Trust::RefsAnd(&taken),
        };
        if tips.is_empty() || connected::is_complete(git_dir, tips, trust, self.watch)? {
            return Ok(Downloaded::default());
        }
        let unserved_last_time = unserved::reasons(git_dir);
        let download = PackDownload {
            session: &mut answer.session,
            upstreams: &self.engine.upstreams,
            url: &self.target.url,
            access: self.access,
            git_dir,
            fsck: settings.rules.fsck,
            trust,
            known: match trust {
                Trust::Nothing => Refs::new(),
                Trust::Refs | Trust::RefsAnd(_) | Trust::Commits(_) => known.refs(),
            },
            watch: self.watch,
        };
        let wants = wants(&answer.advertisement, tips);
        let downloaded = download.fetch(&wants, &unserved_last_time)?;
        let mut unserved = downloaded.unserved.keys();
        // What upstream refuses now may have moved since it was advertised.
        if unserved.any(|oid| !unserved_last_time.contains_key(oid))
            && self.list_again(answer, settings)? != answer.advertisement
        {
            return Err(Stop::RunAgain);
        }
        Ok(downloaded)
    }

    fn list_again(
        &self,
        answer: &mut Answer,
        settings: &Settings,
    ) -> Result<Advertisement, Trouble> {
        let listed =
            answer
                .session
                .list_refs(&settings.rules.track, &OnDemand::default(), self.watch)?;
        Ok(listed.advertisement)
    }
}

/// What upstream had once and the mirror has.
struct Known<'k> {
    /// The refs before upstream was asked.
    before: &'k Refs,
    /// The records of other mirrors, whose packs this one has taken.
    taken: &'k Refs,
    /// What upstream was last seen to have, and the wipe guard refused.
    refused: Option<&'k UpstreamRefs>,
}

impl Known<'_> {
    /// All of it, by the names of the records or below one of them.
    fn refs(&self) -> Refs {
        let records = self.before.iter().chain(self.taken);
        let records = records.filter(|(name, _)| refspec::recorded(name).is_some());
        let records = records.map(|(name, oid)| (name.clone(), *oid));
        let refused = self.refused.into_iter().flatten();
        let refused = refused.map(|(name, oid)| (name.record_below("doubted"), *oid));
        records.chain(refused).collect()
    }
}

impl Received {
    /// Plans without what upstream cannot serve.
    fn leave_out(&mut self, reasons: &unserved::Reasons) {
        if reasons.is_empty() {
            return;
        }
        let track = &self.settings.rules.track;
        let advertisement = &self.answer.advertisement;
        self.unserved = Unserved::list(advertisement, reasons);
        let served = advertisement.without_unserved(reasons, &self.before);
        self.plan = Plan::of_sync(&self.before, &served, track);
        let lines = self.unserved.iter();
        let lines = lines.filter_map(|unserved| unserved.line(&self.before, track));
        self.plan.withheld.extend(lines);
        self.served = Some(served);
    }
}

/// Compares the object format of the mirror with upstream's. A mirror without refs takes over upstream's.
fn check_format(start: &Start, answer: &Answer) -> Result<(), Stop> {
    let Some(mirror) = &start.mirror else {
        return Ok(());
    };
    let git_dir = &mirror.git_dir;
    let is_other = || refs::open(git_dir).is_ok_and(|repo| repo.object_hash() != answer.format);
    if answer.advertisement.refs.is_empty() || !is_other() {
        return Ok(());
    }
    let has_no_refs = start.refs.refs(git_dir).is_ok_and(|refs| refs.is_empty());
    if has_no_refs && answer.format == gix::hash::Kind::Sha256 {
        Settings::use_sha256(git_dir).or_failure("cannot set up the mirror")?;
        return Err(Stop::RunAgain);
    }
    let url = &mirror.settings.url;
    let message = format!("'{url}' has become a repository of another object format");
    Err(Failure::new(FailureKind::Unusable, message).into())
}

/// Objects that upstream has, the mirror has recorded, and has lost: somebody removed a pack, or a disk did.
fn lost_objects(
    git_dir: &Path,
    before: &Refs,
    upstream: &Advertisement,
) -> io::Result<BTreeSet<ObjectId>> {
    let repo = refs::open(git_dir)?;
    let is_recorded = |name: &UpstreamRef| before.contains_key(&*name.record());
    let lost = upstream
        .refs
        .iter()
        .filter(|(name, oid)| is_recorded(name) && !repo.has_object(*oid));
    Ok(lost.map(|(_, oid)| *oid).collect())
}

/// What upstream is asked for: the refs that name these objects.
fn wants(upstream: &Advertisement, tips: &BTreeSet<ObjectId>) -> UpstreamRefs {
    let mut wants: UpstreamRefs = upstream
        .refs
        .iter()
        .filter(|(_, oid)| tips.contains(*oid))
        .map(|(name, oid)| (name.clone(), *oid))
        .collect();
    if let Head::Detached(oid) = upstream.head {
        wants.insert(UpstreamRef::head(), oid);
    }
    wants
}
