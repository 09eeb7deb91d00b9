//! The third step of a sync: judges whether upstream looks wiped. Then nothing is applied until somebody accepts it.
//! `guard` has the rules.

use common::{
    git,
    protocol::{Failure, FailureKind, OrFailure},
    refspec::{OnDemand, Refspecs, WITHHELD},
};
use gix::bstr::BString;

use super::{
    guard,
    memory::Refused,
    receive::Received,
    run::{Destination, Run, Stop},
};
use crate::{
    repository::{
        plan::Head,
        refs::{self, MANY_REFS, UpstreamRefs},
    },
    upstream::Trouble,
};

impl Run<'_> {
    /// Hands on what was received, unless upstream looks wiped.
    pub(super) fn judge(&mut self, mut received: Received) -> Result<Received, Stop> {
        if self.options.accept || !received.settings.rules.wipe_guard {
            return Ok(received);
        }
        let Some(message) = self.suspicion(&mut received)? else {
            return Ok(received);
        };
        let hint = format!(
            "the mirror keeps what it has; 'mirrord accept {}' takes upstream as it is now",
            received.settings.name
        );
        let failure = Failure::new(FailureKind::Wiped, message).hinted(hint);
        self.memory.keep_session(received.answer.session);
        if let Destination::Mirror(mirror) = received.destination {
            self.memory.refused = Some(Refused {
                advertisement: received.answer.advertisement,
                mirror,
                failure: failure.clone(),
            });
        }
        Err(failure.into())
    }

    /// Why upstream looks wiped, when it does.
    fn suspicion(&self, received: &mut Received) -> Result<Option<String>, Trouble> {
        if received.changes_few_of_many() {
            return Ok(None);
        }
        let before = received.believed_before();
        let now = &received.served().refs;
        if before.is_empty() || before == *now {
            return Ok(None);
        }
        // The refspecs may track one branch that is gone, of many that are not.
        let is_empty = now.is_empty() && {
            let session = &mut received.answer.session;
            let all = session
                .list_refs(&Refspecs::everything(), &OnDemand::default(), self.watch)?
                .advertisement;
            all.refs.is_empty() && !matches!(all.head, Head::Detached(_))
        };
        let git_dir = received.destination.git_dir();
        let repo = refs::open(git_dir).or_failure("cannot open the mirror")?;
        let now = &received.served().refs;
        let reason =
            guard::wipe_reason(&before, now, is_empty, &repo, git::at(git_dir), self.watch)?;
        let url = &self.target.url;
        Ok(reason.map(|reason| format!("'{url}' looks wiped: {reason}")))
    }
}

impl Received {
    /// Whether there are many refs and far more than half of them stay as they are. Then no rule of the guard applies, and
    /// it takes time to compare them all.
    fn changes_few_of_many(&self) -> bool {
        let records = self.before.keys().filter(|name| refs::is_record(name));
        let changes = self.plan.edits.keys().filter(|name| refs::is_record(name));
        let (records, changes) = (records.count(), changes.count());
        let withheld = self.before.range(BString::from(WITHHELD)..).next();
        // Those that were pushed do not count, and nor does the record of HEAD.
        let changes = changes + self.pushed.len() + 1;
        records >= MANY_REFS
            && changes * 2 < records
            && !withheld.is_some_and(|(name, _)| name.starts_with(WITHHELD.as_bytes()))
    }

    /// What upstream had before. A withheld ref counts with its withheld value. Refs that were pushed through this mirror
    /// are left out: their change is no surprise.
    fn believed_before(&self) -> UpstreamRefs {
        let track = &self.settings.rules.track;
        let mut before = refs::records(&self.before, track);
        before.retain(|name, oid| {
            if let Some(withheld) = self.before.get(&name.withheld()) {
                *oid = *withheld;
            }
            let public = track.public(name);
            !public.is_some_and(|public| self.pushed.contains(&*public))
        });
        before
    }
}
