//! The first step of a sync: asks upstream what it has, and stops where the last sync has dealt with just that.

use std::time::SystemTime;

use common::{protocol::OrFailure, refspec::Refspecs};

use super::{
    job::Outcome,
    run::{Run, Start, Stop},
    usage::Download,
};
use crate::{
    repository::{damage, plan::Advertisement},
    upstream::{Advertised, Session, Trouble, moved_to},
};

/// What upstream answered.
pub(super) struct Answer {
    /// The session on which upstream answered, and is asked for objects next.
    pub session: Session,
    /// What upstream has of what is tracked.
    pub advertisement: Advertisement,
    /// The hash that upstream names objects by.
    pub format: gix::hash::Kind,
    /// When upstream was asked.
    pub asked_at: SystemTime,
    /// What the person should know, one line each.
    pub warnings: Vec<String>,
    /// Whether everything has to be downloaded again, because the mirror is damaged.
    pub needs_all: bool,
}

/// The refs that upstream listed, and the session on which it did.
struct Listing {
    session: Session,
    advertised: Advertised,
}

impl Run<'_> {
    /// Asks upstream what it has.
    pub(super) fn ask(&mut self, start: &Start) -> Result<Answer, Stop> {
        let url = &self.target.url;
        let asked_at = SystemTime::now();
        let listed = self.list_refs(&start.settings.rules.track);
        let Listing {
            session,
            mut advertised,
        } = match (listed, &start.mirror) {
            // A mirror of what is redirected to asks for the login that is for that.
            (
                Err(Trouble {
                    asked_at: Some(to), ..
                }),
                None,
            ) => {
                return Err(Stop::Done(Box::new(Outcome::Moved(*to))));
            }
            (listed, _) => listed?,
        };
        self.on_demand = std::mem::take(&mut advertised.on_demand);
        self.reached = session.moved_to();
        if let Some(moved) = &self.reached {
            let moved = moved.clone();
            match start.mirror {
                None => return Err(Stop::Done(Box::new(Outcome::Moved(moved)))),
                Some(_) if self.access.follows_anywhere() => {}
                Some(_) => return Err(moved_to(url, moved).into()),
            }
        }
        let mut warnings = Vec::new();
        if advertised.invalid > 0 {
            warnings.push(format!(
                "{} refs of '{url}' have names that git does not allow, and are not shown",
                advertised.invalid
            ));
        }
        let needs_all = match &start.mirror {
            Some(mirror) => {
                damage::needs_full_fetch(&mirror.git_dir).or_failure("cannot read the mirror")?
            }
            None => false,
        };
        let answer = Answer {
            session,
            advertisement: advertised.advertisement,
            format: advertised.format,
            asked_at,
            warnings,
            needs_all,
        };
        self.compare_with_last(start, answer)
    }

    /// Stops where the last sync has applied this very advertisement, or the wipe guard has refused it.
    fn compare_with_last(&mut self, start: &Start, answer: Answer) -> Result<Answer, Stop> {
        let Some(mirror) = &start.mirror else {
            self.memory.applied = None;
            return Ok(answer);
        };
        let is_applied = self.memory.applied.as_ref().is_some_and(|applied| {
            applied.advertisement == answer.advertisement
                && applied.mirror == *mirror
                && applied.refs == *start.refs.stamp()
        });
        if is_applied && !answer.needs_all {
            if let Some(running) = &start.running {
                running.record_caught_up();
            }
            let signed_in_by_git = answer.session.signed_in_by_git();
            self.memory.keep_session(answer.session);
            return Err(Stop::Done(Box::new(Outcome::InStep {
                mirror: Box::new(mirror.clone()),
                warnings: answer.warnings,
                changed_refs: 0,
                changed: false,
                signed_in_by_git,
                download: Download::default(),
                asked_at: answer.asked_at,
                reached: self.reached.clone(),
            })));
        }
        self.memory.applied = None;
        if let Some(refused) = &self.memory.refused
            && !self.options.accept
            && start.settings.rules.wipe_guard
            && refused.advertisement == answer.advertisement
            && refused.mirror == *mirror
        {
            let failure = refused.failure.clone();
            self.memory.keep_session(answer.session);
            return Err(failure.into());
        }
        Ok(answer)
    }

    /// Lists upstream's refs, with a login that upstream has not refused too often.
    fn list_refs(&mut self, track: &Refspecs) -> Result<Listing, Trouble> {
        let trials = &self.engine.upstreams.trials;
        let attempt = trials.begin(&self.target.url, self.access, self.watch)?;
        let listed = self.connect_and_list(track);
        // A redirect that is not followed says nothing of the login.
        let is_redirect = matches!(&listed, Ok(listing) if listing.session.moved_to().is_some())
            && !self.access.follows_anywhere();
        if !is_redirect {
            attempt.ended(listed.as_ref().err());
        }
        listed
    }

    /// Lists upstream's refs on the session that is open, or on a new one when that has gone stale.
    fn connect_and_list(&mut self, track: &Refspecs) -> Result<Listing, Trouble> {
        let (url, access, watch) = (&self.target.url, self.access, self.watch);
        let on_demand = &self.options.on_demand;
        if let Some(mut session) = self.memory.take_session(url, access) {
            match session.list_refs(track, on_demand, watch) {
                Ok(advertised) => {
                    return Ok(Listing {
                        session,
                        advertised,
                    });
                }
                // Upstream would only refuse another session as well.
                Err(trouble)
                    if !trouble.retry_on_new_session
                        || trouble.login_refused
                        || watch.is_cancelled() =>
                {
                    return Err(trouble);
                }
                Err(_) => {}
            }
        }
        let mut session = Session::open(url, access, &self.engine.upstreams, watch)?;
        let advertised = session.list_refs(track, on_demand, watch)?;
        Ok(Listing {
            session,
            advertised,
        })
    }
}
