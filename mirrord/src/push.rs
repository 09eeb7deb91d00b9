//! The daemon's side of a push: opens it, tells where each command goes and reserves those refs, and makes the mirror
//! what upstream accepted.

use std::{collections::BTreeSet, io, sync::Arc};

use common::{
    protocol::{
        Answer, Command, Failure, Fetch, Lease, OfferedLogin, Open, Reply, Reserve, Route, Stale,
    },
    refspec::{self, is_ours},
    wire::{WireError, batches},
};
use gix::{
    ObjectId,
    bstr::{BStr, BString},
};
use tokio::sync::broadcast;

use crate::{
    fetch::{self, Fetched},
    plan::{Accepted, Plan},
    publish,
    pushes::{Opened, Reservation},
    quarantine::{self, Quarantine},
    refs::{self, Refs},
    registry::Mirror,
    server::Conversation,
    sync::Engine,
    upstream::random_id,
};

/// Makes the mirror fresh and opens a push, which stays open until the client has gone.
///
/// # Errors
/// Fails when the client has gone early.
pub(crate) async fn open(
    engine: &Arc<Engine>,
    conversation: &mut Conversation,
    request: Fetch,
) -> Result<(), WireError> {
    // What upstream has now decides what a push may do; an old answer would decide wrongly.
    let request = Fetch {
        stale: Some(Stale::Fail),
        ..request
    };
    let fetched = match fetch::fetch(engine, conversation, request).await? {
        Ok(fetched) => fetched,
        Err(failure) => return conversation.say(&Reply::Failed(failure)).await,
    };
    let (id, open) = match prepare(engine, fetched) {
        Ok(prepared) => prepared,
        Err(err) => {
            let failure = Failure::io("cannot prepare the push", &err);
            return conversation.say(&Reply::Failed(failure)).await;
        }
    };
    let login = open.login.as_ref().map(|login| login.id.clone());
    let said = conversation.say(&Reply::Open(open)).await;
    if said.is_ok() {
        conversation.end().await;
    }
    engine.pushes.close(&id);
    if let Some(login) = login {
        engine.upstreams.logins.withdraw(&login);
    }
    said
}

fn prepare(engine: &Engine, fetched: Fetched) -> io::Result<(String, Open)> {
    let Fetched {
        ready,
        mirror,
        login,
        typed,
    } = fetched;
    // Those of pushes that outlived whoever opened them.
    quarantine::sweep(&mirror.git_dir)?;
    let quarantine = Quarantine::new(&mirror.git_dir)?;
    let login = match login {
        Some(login) => {
            let id = engine
                .upstreams
                .logins
                .offer(&mirror.settings.url.origin(), &login)?;
            Some(OfferedLogin { id, typed })
        }
        None => None,
    };
    let id = random_id()?;
    let open = Open {
        ready,
        id: id.clone(),
        quarantine: quarantine.path().to_owned(),
        login,
    };
    engine.pushes.open(&id, Opened { mirror, quarantine });
    Ok((id, open))
}

/// Carries out an open push: reserve, wait for what upstream says, settle.
///
/// # Errors
/// Fails when the client has gone; what it held is free again then, and the next sync tells what upstream has.
pub(crate) async fn carry_out(
    engine: &Arc<Engine>,
    conversation: &mut Conversation,
    request: Reserve,
) -> Result<(), WireError> {
    let commands = |answer| match answer {
        Answer::Commands(batch) => Some(batch),
        _ => None,
    };
    let Some(commands) = hear_all(conversation, commands).await? else {
        return Ok(());
    };
    let Some(opened) = engine.pushes.opened(&request.id) else {
        let failure = Failure::here("mirrord was started anew in the middle of the push")
            .hinted("the same push again starts it anew");
        return conversation.say(&Reply::Failed(failure)).await;
    };
    let names = commands
        .iter()
        .map(|command| BString::from(command.name.clone()))
        .collect();
    let reserving = engine.pushes.of(&opened.mirror.git_dir);
    // Nothing of a sync is news here; the client only hears that we are alive.
    let (_, mut silence) = broadcast::channel(1);
    let host = opened
        .mirror
        .settings
        .url
        .host()
        .unwrap_or("upstream")
        .to_owned();
    let reservation = conversation
        .wait(&host, &mut silence, reserving.reserve(names))
        .await?;
    let routes = match routes(&opened.mirror, &commands, &request) {
        Ok(routes) => routes,
        Err(err) => {
            let failure = Failure::io("cannot read the mirror's refs", &err);
            return conversation.say(&Reply::Failed(failure)).await;
        }
    };
    let size = |route: &Route| match route {
        Route::Upstream { name, .. } => name.len() + 20,
        Route::Refused(reason) => reason.len() + 20,
    };
    for batch in batches(routes.clone(), size) {
        conversation.say(&Reply::Routed(batch)).await?;
    }
    if routes
        .iter()
        .all(|route| matches!(route, Route::Refused(_)))
    {
        return Ok(());
    }
    let accepted = |answer| match answer {
        Answer::Accepted(batch) => Some(batch),
        _ => None,
    };
    let Some(accepted) = hear_all(conversation, accepted).await? else {
        return Ok(());
    };
    let accepted: BTreeSet<_> = accepted.into_iter().collect();
    let url = &opened.mirror.settings.url;
    tracing::info!(
        "push to '{url}': {} of {} refs accepted",
        accepted.len(),
        commands.len()
    );
    // Also what receive-pack refused by itself came along.
    let all = !request.incomplete && accepted.len() == commands.len() && routes.iter().all(is_kept);
    let accepted: Vec<_> = commands
        .into_iter()
        .zip(routes)
        .enumerate()
        .filter(|(at, _)| u32::try_from(*at).is_ok_and(|at| accepted.contains(&at)))
        .filter_map(|(_, (command, route))| kept(&command, route))
        .collect();
    let settling =
        tokio::task::spawn_blocking(move || settle(&opened, reservation, &accepted, all));
    let reply = match conversation.wait(&host, &mut silence, settling).await? {
        Ok(Ok(warnings)) => Reply::Settled(warnings),
        Ok(Err(err)) => Reply::Failed(Failure::io("cannot write it down", &err)),
        Err(panic) => {
            tracing::error!("settling a push broke: {panic}");
            Reply::Failed(Failure::here("it broke; the daemon's log says how"))
        }
    };
    conversation.say(&reply).await
}

/// Hears a list that travels in batches; nothing when something else comes.
async fn hear_all<T>(
    conversation: &mut Conversation,
    batch: impl Fn(Answer) -> Option<Vec<T>>,
) -> Result<Option<Vec<T>>, WireError> {
    let mut all = Vec::new();
    loop {
        match batch(conversation.hear().await?) {
            Some(batch) if batch.is_empty() => return Ok(Some(all)),
            Some(batch) => all.extend(batch),
            None => return Ok(None),
        }
    }
}

/// Whether the mirror keeps what goes there.
fn is_kept(route: &Route) -> bool {
    matches!(route, Route::Upstream { lease, .. } if *lease != Lease::None)
}

/// What upstream accepted, where the mirror keeps it.
fn kept(command: &Command, route: Route) -> Option<Accepted> {
    let oid = |hex: &str| ObjectId::from_hex(hex.as_bytes()).ok();
    let Route::Upstream { name, lease } = route else {
        return None;
    };
    let old = match lease {
        Lease::None => return None,
        Lease::Absent => None,
        Lease::Value(old) => oid(&old),
    };
    Some(Accepted {
        name: name.into(),
        seen: command.old.as_deref().and_then(oid),
        old,
        new: command.new.as_deref().and_then(oid),
    })
}

/// Where each command goes. What is refused here has not reached upstream.
fn routes(mirror: &Mirror, commands: &[Command], request: &Reserve) -> io::Result<Vec<Route>> {
    let refs = refs::read(&mirror.git_dir)?;
    let mut seen = BTreeSet::new();
    let mut routes: Vec<_> = commands
        .iter()
        .map(|command| {
            let refused = |reason: &str| Route::Refused(reason.to_owned());
            let route = route(mirror, &refs, command);
            match route {
                Ok(_) if !seen.insert(&command.name) => refused("the push names it twice"),
                Ok(route) => route,
                Err(reason) => refused(&reason),
            }
        })
        .collect();
    let refused = |route: &Route| matches!(route, Route::Refused(_));
    if request.atomic && (request.incomplete || routes.iter().any(refused)) {
        for route in routes.iter_mut().filter(|route| !refused(route)) {
            *route = Route::Refused("atomic push failure".to_owned());
        }
    }
    Ok(routes)
}

fn route(mirror: &Mirror, refs: &Refs, command: &Command) -> Result<Route, String> {
    if gix::validate::reference::name(BStr::new(&command.name)).is_err() {
        return Err("funny refname".to_owned());
    }
    match mirror.settings.track.route(&command.name) {
        refspec::Route::Tracked(upstream) => {
            let value = |name: &[u8]| refs.get(BStr::new(name)).map(ToString::to_string);
            let here = value(&command.name);
            let is_there_already = here.is_some() && here == command.new;
            if here != command.old && !is_there_already {
                // Somebody was faster: the client decided by what was there before.
                return Err("stale info".to_owned());
            }
            // Where the public ref is the user's own, upstream has nothing under this name. Where it has something else,
            // the client decided without having seen that.
            let record = value(&refspec::record(&upstream));
            if record.is_some() && record != here {
                return Err("stale info".to_owned());
            }
            Ok(Route::Upstream {
                name: upstream,
                lease: record.map_or(Lease::Absent, Lease::Value),
            })
        }
        refspec::Route::Through => Ok(Route::Upstream {
            name: command.name.clone(),
            lease: Lease::None,
        }),
        refspec::Route::Local => Err("this mirror does not track it".to_owned()),
        refspec::Route::Forbidden if is_ours(&command.name) => {
            Err("the name is kept for the mirror's own records".to_owned())
        }
        refspec::Route::Forbidden => Err("funny refname".to_owned()),
    }
}

/// Makes the mirror what upstream has accepted; it lasts when this returns. Returns what the person should know.
fn settle(
    opened: &Opened,
    reservation: Reservation,
    accepted: &[Accepted],
    all: bool,
) -> io::Result<Vec<String>> {
    let Opened { mirror, quarantine } = opened;
    let track = &mirror.settings.track;
    reservation.settle(|known| {
        let tips: BTreeSet<ObjectId> = accepted.iter().filter_map(|ref_| ref_.new).collect();
        if !tips.is_empty() {
            // What a refused ref brought goes with the quarantine.
            if all {
                quarantine.release()?;
            } else {
                quarantine.release_only(&tips)?;
            }
        }
        if !known {
            return Ok(Vec::new());
        }
        let repo = refs::open(&mirror.git_dir)?;
        if let Some(missing) = tips.iter().find(|tip| !repo.has_object(*tip)) {
            return Err(io::Error::other(format!("object {missing} is not here")));
        }
        let refs = refs::read(&mirror.git_dir)?;
        let plan = Plan::of_push(&refs, accepted, track);
        publish::publish(&mirror.git_dir, &plan, None, track)?;
        Ok(plan.held)
    })
}
