//! One sync, from the question to the published refs. Blocking code, in the order of design: ask, fetch, vet, publish.

use std::{collections::BTreeSet, io, path::Path, time::SystemTime};

use common::{
    protocol::{Failure, FailureKind},
    refspec,
    upstream_url::UpstreamUrl,
};

use gix::{ObjectId, bstr::BString};

use super::{Engine, Outcome, write_synced};
use crate::{
    plan::{Advertisement, Head, Plan},
    publish,
    quarantine::{self, Quarantine},
    refs::{self, Refs},
    registry::{Mirror, Unborn},
    upstream::{Access, Asked, Session, Trouble},
    watch::Watch,
};

/// A sync that somebody's push overtook runs again, but not for ever.
const MOST_RUNS: usize = 5;

/// Refs that are named one by one when they are not shown.
const MOST_NAMED: usize = 20;

/// Conversations that one mirror keeps open, one per login.
const MOST_SESSIONS: usize = 4;

/// What a mirror's task remembers between syncs. Losing it costs a request, never data.
#[derive(Default)]
pub(super) struct Memory {
    sessions: Vec<Session>,
    /// Whether the objects that the refs name have been looked for in this daemon's life.
    checked: bool,
    applied: Option<Applied>,
}

/// An advertisement that was applied in full: nothing was held back.
#[derive(PartialEq, Eq)]
struct Applied {
    advertisement: Advertisement,
    mirror: Mirror,
    refs: refs::Stamp,
}

/// One sync, from the question to the published refs.
pub(super) fn sync(
    engine: &Engine,
    url: &UpstreamUrl,
    access: &Access,
    watch: &Watch,
    memory: &mut Memory,
) -> Result<Outcome, Trouble> {
    for _ in 0..MOST_RUNS {
        if let Some(outcome) = run(engine, url, access, watch, memory)? {
            return Ok(outcome);
        }
    }
    Err(Failure::here("the mirror's refs change faster than it can be brought in step").into())
}

/// `None` when refs moved under it and it should run again.
fn run(
    engine: &Engine,
    url: &UpstreamUrl,
    access: &Access,
    watch: &Watch,
    memory: &mut Memory,
) -> Result<Option<Outcome>, Trouble> {
    let cannot = |what: &'static str| {
        move |err: io::Error| Trouble::from(Failure::io(&format!("cannot {what}"), &err))
    };
    let mirror = engine
        .registry
        .find(url)
        .map_err(cannot("read the mirror"))?;
    if let Some(mirror) = &mirror
        && mirror.settings.url != *url
    {
        // Somebody has just found out that upstream redirects this URL; the mirror has one task, and it is not this.
        return Ok(Some(Outcome::Moved(mirror.settings.url.clone())));
    }
    let beside = mirror
        .as_ref()
        .map(|mirror| engine.pushes.of(&mirror.git_dir));
    if let (Some(mirror), Some(beside)) = (&mirror, &beside) {
        let sweep = || {
            quarantine::sweep(&mirror.git_dir)?;
            publish::sweep(&mirror.git_dir)
        };
        let swept = beside.sweep_once(sweep);
        swept.map_err(cannot("clean up the mirror"))?;
    }
    let _running = beside.map(|pushes| pushes.begin_sync());
    // What was recorded is read before upstream is asked: a push in between must not look like old news.
    let before = match &mirror {
        Some(mirror) => {
            refs::Snapshot::take(&mirror.git_dir).map_err(cannot("read the mirror's refs"))?
        }
        None => refs::Snapshot::default(),
    };
    let track = mirror
        .as_ref()
        .map_or_else(refspec::Refspecs::everything, |mirror| {
            mirror.settings.track.clone()
        });
    let asked_at = SystemTime::now();
    let (mut session, asked) = ask(engine, url, access, &track, watch, memory)?;
    let signed_in_by_git = session.signed_in_by_git();
    if let Some(moved) = session.moved_to() {
        return match mirror {
            None => Ok(Some(Outcome::Moved(moved))),
            Some(_) => {
                let failure = Failure::new(FailureKind::Refused, format!("'{url}' has moved"));
                Err(failure.hinted(format!("it redirects to '{moved}'")).into())
            }
        };
    }
    let advertisement = asked.advertisement;
    let mut warnings = Vec::new();
    if asked.invalid > 0 {
        warnings.push(format!(
            "{} refs of '{url}' have names that git does not allow, and are not shown",
            asked.invalid
        ));
    }
    if let Some(mirror) = &mirror
        && memory.applied.as_ref().is_some_and(|applied| {
            applied.advertisement == advertisement
                && applied.mirror == *mirror
                && applied.refs == *before.stamp()
        })
    {
        memory.keep(session);
        return Ok(Some(Outcome::InStep {
            mirror: Box::new(mirror.clone()),
            warnings,
            changed: false,
            signed_in_by_git,
            asked: asked_at,
        }));
    }
    memory.applied = None;
    if let Some(mirror) = &mirror
        && !advertisement.refs.is_empty()
        && refs::open(&mirror.git_dir).is_ok_and(|repo| repo.object_hash() != asked.format)
    {
        let message = format!("'{url}' has become a repository of another object format");
        return Err(Failure::new(FailureKind::Unusable, message).into());
    }
    let place = match mirror {
        Some(mirror) => Where::Mirror(mirror),
        None => Where::Unborn(
            engine
                .registry
                .begin(url, asked.format)
                .map_err(cannot("make a mirror"))?,
        ),
    };
    let git_dir = place.git_dir();
    let refs = before
        .refs(git_dir)
        .map_err(cannot("read the mirror's refs"))?;
    let plan = Plan::new(&refs, &advertisement, &track);
    let mut tips = plan.tips();
    if !memory.checked {
        tips.extend(lost(git_dir, &refs, &advertisement).map_err(cannot("read the mirror"))?);
        memory.checked = true;
    }
    receive(&mut session, git_dir, &advertisement, &refs, &tips, watch)?;
    let published = publish::publish(git_dir, &plan, Some(&advertisement), &track)
        .map_err(cannot("publish what upstream has"))?;
    let changed = !plan.edits.is_empty();
    let mirror = match place {
        Where::Mirror(mirror) => mirror,
        Where::Unborn(unborn) => engine
            .registry
            .settle(unborn)
            .map_err(cannot("make a mirror"))?,
    };
    memory.keep(session);
    if published.again {
        return Ok(None);
    }
    if changed {
        write_synced(&mirror.git_dir, asked_at).map_err(cannot("note the sync"))?;
    }
    if plan.held.is_empty() {
        let refs = refs::Stamp::of(&mirror.git_dir);
        memory.applied = Some(Applied {
            advertisement,
            mirror: mirror.clone(),
            refs,
        });
    }
    let more = plan.held.len().saturating_sub(MOST_NAMED);
    warnings.extend(plan.held.into_iter().take(MOST_NAMED));
    if more > 0 {
        warnings.push(format!(
            "{more} more refs of upstream are not shown for such reasons"
        ));
    }
    Ok(Some(Outcome::InStep {
        mirror: Box::new(mirror),
        warnings,
        changed,
        signed_in_by_git,
        asked: asked_at,
    }))
}

/// Asks upstream what it has: on the conversation that is open, or on a new one when that has gone stale.
fn ask(
    engine: &Engine,
    url: &UpstreamUrl,
    access: &Access,
    track: &refspec::Refspecs,
    watch: &Watch,
    memory: &mut Memory,
) -> Result<(Session, Asked), Trouble> {
    let kept = memory
        .sessions
        .iter()
        .position(|session| session.is_for(url, access));
    if let Some(mut session) = kept.map(|at| memory.sessions.remove(at)) {
        match session.ask(track, watch) {
            Ok(asked) => return Ok((session, asked)),
            Err(trouble) if !trouble.surprise || watch.is_cancelled() => return Err(trouble),
            Err(_) => {}
        }
    }
    let mut session = Session::open(url, access, &engine.upstreams, watch)?;
    let asked = session.ask(track, watch)?;
    Ok((session, asked))
}

/// What upstream still has of what the mirror says it has, and has lost: somebody removed a pack, or a disk did.
fn lost(git_dir: &Path, refs: &Refs, upstream: &Advertisement) -> io::Result<BTreeSet<ObjectId>> {
    let repo = refs::open(git_dir)?;
    let recorded = |name: &BString| refs.contains_key(&BString::from(refspec::record(name)));
    let missing = upstream
        .refs
        .iter()
        .filter(|(name, oid)| recorded(name) && !repo.has_object(*oid));
    Ok(missing.map(|(_, oid)| *oid).collect())
}

/// Brings the objects that a plan needs into the mirror, checked. Nothing is downloaded that is already here.
fn receive(
    session: &mut Session,
    git_dir: &Path,
    advertisement: &Advertisement,
    refs: &Refs,
    tips: &BTreeSet<ObjectId>,
    watch: &Watch,
) -> Result<(), Trouble> {
    if tips.is_empty() || quarantine::is_complete(git_dir, tips, watch)? {
        return Ok(());
    }
    let mut wants: Refs = advertisement
        .refs
        .iter()
        .filter(|(_, oid)| tips.contains(*oid))
        .map(|(name, oid)| (name.clone(), *oid))
        .collect();
    if let Head::Detached(oid) = advertisement.head {
        wants.insert("HEAD".into(), oid);
    }
    let records: Refs = refs
        .iter()
        .filter(|(name, _)| refspec::recorded(name).is_some())
        .map(|(name, oid)| (name.clone(), *oid))
        .collect();
    let cannot = |err: io::Error| Failure::io("cannot store what upstream sent", &err);
    let quarantine = Quarantine::new(git_dir).map_err(cannot)?;
    session.fetch(&wants, &records, &quarantine, watch)?;
    watch.checking();
    quarantine.vet(tips, watch)?;
    Ok(quarantine.release().map_err(cannot)?)
}

enum Where {
    Mirror(Mirror),
    Unborn(Unborn),
}

impl Where {
    fn git_dir(&self) -> &Path {
        match self {
            Self::Mirror(mirror) => &mirror.git_dir,
            Self::Unborn(unborn) => unborn.git_dir(),
        }
    }
}

impl Memory {
    /// Ends the conversations that are open, and forgets the logins that they know.
    pub(super) fn hang_up(&mut self) {
        self.sessions.clear();
    }

    fn keep(&mut self, session: Session) {
        if session.can_be_kept() {
            self.sessions.push(session);
            let surplus = self.sessions.len().saturating_sub(MOST_SESSIONS);
            self.sessions.drain(..surplus);
        }
    }
}
