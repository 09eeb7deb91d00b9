//! One sync, from the question to the published refs. Blocking code, in the order of design: ask, fetch, vet, publish.

use std::{collections::BTreeSet, path::Path, time::SystemTime};

use common::protocol::{Failure, FailureKind, OrFailure};

use super::{
    Create, Download, Engine, Outcome, Wish,
    ask::ask,
    parts::Parts,
    receive::{Source, lost, receive, suspicion},
    state::write_synced,
};
use crate::{
    mirrors::{
        registry::{Mirror, NewMirror, Target},
        settings::{Settings, copy},
    },
    process::watch::Watch,
    repository::{
        ancestry::{self, Ancestry},
        connected::Trust,
        damage,
        history::Why,
        local_refs,
        plan::{Advertisement, Plan},
        publish,
        refs::{self, Refs},
        retrack, steps,
        unserved::{self, Unserved},
    },
    sync::beside,
    upstream::{Access, Session, Trouble, moved_to},
};

/// A sync that somebody's push overtook runs again, but not for ever.
const MAX_RUNS: usize = 5;

/// Conversations that one mirror keeps open, one per login.
const MAX_SESSIONS: usize = 4;

/// What a mirror's task remembers between syncs. Losing it costs a request, never data.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) sessions: Vec<Session>,
    /// An advertisement of which upstream must be asked what it means, and the words in which that was said.
    wiped: Option<(Advertisement, Mirror, Failure)>,
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
    target: &Target,
    wish: &Wish,
    access: &Access,
    watch: &Watch,
    memory: &mut Memory,
) -> Result<Outcome, Trouble> {
    for _ in 0..MAX_RUNS {
        if let Some(outcome) = run(engine, target, wish, access, watch, memory)? {
            return Ok(outcome);
        }
    }
    Err(Failure::here("the mirror's refs change faster than it can be brought in step").into())
}

/// `None` when refs moved under it and it should run again.
fn run(
    engine: &Engine,
    target: &Target,
    wish: &Wish,
    access: &Access,
    watch: &Watch,
    memory: &mut Memory,
) -> Result<Option<Outcome>, Trouble> {
    let url = &target.url;
    let find = || engine.registry.mirror_at(&target.git_dir);
    let mut mirror = find().or_failure("cannot read the mirror")?;
    let running = match &mirror {
        Some(found) => {
            let gate = engine.gates.gate(&found.git_dir);
            let running = gate.begin_sync();
            // It may have been changed until now, and not from now on.
            mirror = find().or_failure("cannot read the mirror")?;
            if let Some(found) = &mut mirror {
                let repaired = gate.sweep_once(|| retrack::sweep(&found.git_dir));
                repaired
                    .and_then(|()| retrack::finish_change(found))
                    .or_failure("cannot clean up the mirror")?;
                if let Err(err) = copy::refresh(&found.git_dir) {
                    tracing::warn!(
                        "cannot copy the settings of '{}': {err}",
                        found.settings.name
                    );
                }
            }
            Some((gate, running))
        }
        None => None,
    };
    if let Some(mirror) = &mirror
        && mirror.settings.url != *url
    {
        // Somebody has just found out that upstream redirects this URL; the mirror has one task, and it is not this.
        return Ok(Some(Outcome::Moved(mirror.settings.url.clone())));
    }
    // What was recorded is read before upstream is asked: a push in between must not look like old news.
    let before = match &mirror {
        Some(mirror) => {
            refs::Snapshot::take(&mirror.git_dir).or_failure("cannot read the mirror's refs")?
        }
        None => refs::Snapshot::default(),
    };
    let settings = match (&mirror, &wish.create) {
        (Some(mirror), _) => mirror.settings.clone(),
        (None, Create::With(settings)) => (**settings).clone(),
        (None, Create::Auto) => engine.automatic(url)?,
        (None, Create::No) => return Ok(Some(Outcome::Gone)),
    };
    let track = settings.rules.track.clone();
    let asked_at = SystemTime::now();
    let (mut session, asked) = ask(engine, url, access, &track, watch, memory)?;
    let signed_in_by_git = session.signed_in_by_git();
    if let Some(moved) = session.moved_to() {
        return match mirror {
            None => Ok(Some(Outcome::Moved(moved))),
            Some(_) => Err(moved_to(url, moved)),
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
    let trust = match &mirror {
        Some(mirror)
            if damage::needs_full_fetch(&mirror.git_dir)
                .or_failure("cannot read the mirror")? =>
        {
            Trust::Nothing
        }
        _ => Trust::Refs,
    };
    if let Some(mirror) = &mirror
        && trust == Trust::Refs
        && memory.applied.as_ref().is_some_and(|applied| {
            applied.advertisement == advertisement
                && applied.mirror == *mirror
                && applied.refs == *before.stamp()
        })
    {
        memory.keep(session);
        if let Some((_, running)) = &running {
            running.record_caught_up();
        }
        return Ok(Some(Outcome::InStep {
            mirror: Box::new(mirror.clone()),
            warnings,
            moved: 0,
            changed: false,
            signed_in_by_git,
            download: Download::default(),
            asked: asked_at,
        }));
    }
    memory.applied = None;
    if let (Some(mirror), Some((wiped, as_set, failure))) = (&mirror, &memory.wiped)
        && !wish.accept
        && (wiped, as_set) == (&advertisement, mirror)
    {
        let failure = failure.clone();
        memory.keep(session);
        return Err(failure.into());
    }
    let doubted = memory.wiped.take().map(|(wiped, ..)| wiped.refs);
    if let Some(mirror) = &mirror
        && !advertisement.refs.is_empty()
        && refs::open(&mirror.git_dir).is_ok_and(|repo| repo.object_hash() != asked.format)
    {
        let is_new = before
            .refs(&mirror.git_dir)
            .is_ok_and(|refs| refs.is_empty());
        if is_new && asked.format == gix::hash::Kind::Sha256 {
            Settings::use_sha256(&mirror.git_dir).or_failure("cannot set up the mirror")?;
            return Ok(None);
        }
        let message = format!("'{url}' has become a repository of another object format");
        return Err(Failure::new(FailureKind::Unusable, message).into());
    }
    let place = match mirror {
        Some(mirror) => Where::Mirror(mirror),
        None => Where::NewMirror(
            engine
                .registry
                .begin_mirror(settings.clone(), asked.format)
                .or_failure("cannot make a mirror")?,
        ),
    };
    let git_dir = place.git_dir();
    let refs = before
        .refs(git_dir)
        .or_failure("cannot read the mirror's refs")?;
    let mut plan = Plan::of_sync(&refs, &advertisement, &track);
    let mut tips = plan.tips();
    if trust == Trust::Nothing {
        tips.extend(advertisement.refs.values().copied());
    }
    if !memory.checked {
        tips.extend(lost(git_dir, &refs, &advertisement).or_failure("cannot read the mirror")?);
        memory.checked = true;
    }
    let has_records = refs.keys().any(|name| refs::is_record(name));
    let taken = match trust == Trust::Refs && !has_records && !tips.is_empty() {
        true => beside::take_packs(engine, url, git_dir, &advertisement.refs, watch),
        false => Refs::new(),
    };
    let taken_tips: BTreeSet<_> = taken.values().copied().collect();
    let trust = match taken.is_empty() {
        true => trust,
        false => Trust::RefsAnd(&taken_tips),
    };
    let touched = running.as_ref().map(|(gate, _)| gate.refs_of_pushes());
    let touched = touched.unwrap_or_default();
    let mut source = Source {
        url,
        access,
        advertisement: &advertisement,
        refs: &refs,
        doubted: doubted.as_ref(),
        pushed: &touched,
        fsck: settings.rules.fsck,
        trust,
        taken: &taken,
    };
    let last_time = unserved::reasons(git_dir);
    let Parts {
        mut packs,
        unserved,
    } = receive(
        &mut session,
        &engine.upstreams,
        git_dir,
        &source,
        &tips,
        &last_time,
        watch,
    )?;
    // What is refused now may have moved since it was advertised.
    if unserved.keys().any(|oid| !last_time.contains_key(oid))
        && session.list_refs(&track, watch)?.advertisement != advertisement
    {
        return Ok(None);
    }
    let served = (!unserved.is_empty()).then(|| advertisement.without_unserved(&unserved, &refs));
    let unserved = Unserved::list(&advertisement, &unserved);
    if let Some(served) = &served {
        source.advertisement = served;
        plan = Plan::of_sync(&refs, served, &track);
        let lines = unserved.iter().filter_map(|it| it.line(&refs, &track));
        plan.withheld.extend(lines);
    }
    if !wish.accept
        && let Some(words) = suspicion(&mut session, git_dir, &source, &track, watch)?
    {
        let hint = format!(
            "the mirror keeps what it has; 'mirrord accept {}' takes upstream as it is now",
            settings.name
        );
        let failure = Failure::new(FailureKind::Wiped, words).hinted(hint);
        if let Where::Mirror(mirror) = place {
            memory.wiped = Some((advertisement, mirror, failure.clone()));
        }
        memory.keep(session);
        return Err(failure.into());
    }
    let repo = refs::open(git_dir).or_failure("cannot open the mirror")?;
    let mut ancestry = Ancestry::new(&repo);
    plan.withhold_non_commits(&track, |oid| {
        ancestry::peel_to_commit(&repo, oid) == Some(oid)
    });
    plan.withhold_rewrites(&refs, &track, |name, old, new| {
        ancestry.is_fast_forward(name, old, new)
    });
    plan = plan.with_history(
        &refs,
        &track,
        Why::Deleted,
        asked_at,
        settings.rules.keep_history,
        |name, old, new| ancestry.is_fast_forward(name, old, new),
    );
    let published = publish::publish(git_dir, &plan, Some(source.advertisement), &track)
        .or_failure("cannot publish what upstream has")?;
    let pack = packs.pop();
    // A first download goes to nobody who has something already, and what upstream was told beside the records is not
    // written down.
    if let Where::Mirror(_) = place
        && trust == Trust::Refs
        && doubted.is_none()
        && packs.is_empty()
        && !published.again
    {
        let noted = steps::record(git_dir, &refs, &plan, pack, |name, old, new| {
            ancestry.is_fast_forward(name, old, new)
        });
        if let Err(err) = noted {
            tracing::warn!("cannot note what came into '{}': {err}", settings.name);
        }
    }
    if trust == Trust::Nothing {
        damage::record_full_fetch(git_dir).or_failure("cannot note what was fetched")?;
    }
    unserved::write(git_dir, &unserved).or_failure("cannot note what upstream cannot serve")?;
    // What was broken before may be whole now.
    let changed = !plan.edits.is_empty() || trust == Trust::Nothing;
    // Once a new mirror is where it belongs, others come by it, and take for left over what is half written.
    if !published.again && (changed || !git_dir.join(refs::SYNCED).exists()) {
        write_synced(git_dir, asked_at).or_failure("cannot note the sync")?;
    }
    let mirror = match place {
        Where::Mirror(mirror) => mirror,
        Where::NewMirror(unborn) => match engine.registry.finish_mirror(unborn, &target.git_dir) {
            Ok(mirror) => {
                warnings.extend(beside::left_behind(&engine.registry, &mirror));
                mirror
            }
            // Somebody has just made one there.
            Err(_) if target.git_dir.exists() => return Ok(None),
            Err(err) => return Err(Failure::io("cannot make a mirror", &err).into()),
        },
    };
    memory.keep(session);
    if published.again {
        return Ok(None);
    }
    if let Some((_, running)) = &running {
        running.record_caught_up();
    }
    if plan.withheld.is_empty() {
        let refs = refs::Stamp::of(&mirror.git_dir);
        memory.applied = Some(Applied {
            advertisement,
            mirror: mirror.clone(),
            refs,
        });
    }
    warnings.extend(local_refs::shortened(plan.withheld));
    Ok(Some(Outcome::InStep {
        mirror: Box::new(mirror),
        warnings,
        moved: published.moved,
        changed,
        signed_in_by_git,
        // Only who runs this knows.
        download: Download::default(),
        asked: asked_at,
    }))
}

enum Where {
    Mirror(Mirror),
    NewMirror(NewMirror),
}

impl Where {
    fn git_dir(&self) -> &Path {
        match self {
            Self::Mirror(mirror) => &mirror.git_dir,
            Self::NewMirror(unborn) => unborn.git_dir(),
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
            let surplus = self.sessions.len().saturating_sub(MAX_SESSIONS);
            self.sessions.drain(..surplus);
        }
    }
}
