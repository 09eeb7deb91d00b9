//! The daemon's side of a push: opens it, tells where each command goes and reserves those refs, and makes the mirror
//! what upstream accepted and what stays here.

mod noted;
mod route;
mod settle;

use std::{collections::BTreeSet, sync::Arc};

use common::{
    address::upstream_url::UpstreamUrl,
    protocol::{
        Answer, Failure, FailureKind, Fetch, OneTimeId, Open, OrFailure, Outcome as Came, Reply,
        Reserve, Route, SignIn,
        wire::{WireError, batches},
    },
};
use gix::bstr::BString;
use tokio::sync::broadcast;

use self::{noted::JournalEntry, route::Routed};
use crate::{
    mirrors::settings::Auth,
    process::{
        blocking::{blocking, panicked},
        id, questions,
        watch::Watch,
    },
    repository::quarantine::{self, Quarantine},
    requests::{
        conversation::Conversation,
        fetch::{self, Fetched, Purpose},
    },
    sync::{Engine, open_pushes::Opened},
    upstream::Access,
};

/// Makes the mirror fresh and opens a push, which stays open until the client has gone.
pub(crate) async fn open(
    engine: &Arc<Engine>,
    conversation: &mut Conversation,
    request: Fetch,
) -> Result<(), WireError> {
    let fetched = match fetch::fetch(engine, conversation, request, Purpose::Push).await? {
        Ok(fetched) => fetched,
        Err(failure) => return conversation.say(&Reply::Failed(failure)).await,
    };
    let noted = JournalEntry::begins(engine, &fetched.mirror);
    let preparing = engine.clone();
    let prepared = blocking(move || prepare(&preparing, fetched));
    let (open, _held) = match conversation.wait_quietly(prepared).await? {
        Ok(prepared) => prepared,
        Err(failure) => {
            noted.ended(Came::Failed(failure.message.clone()));
            return conversation.say(&Reply::Failed(failure)).await;
        }
    };
    let said = conversation.say(&Reply::Open(open)).await;
    if said.is_ok() {
        conversation.end().await;
    }
    said
}

/// What is there for as long as a push is open, however its conversation ends.
struct OpenedPush {
    engine: Arc<Engine>,
    id: String,
    login: Option<OneTimeId>,
    _asking: Option<questions::Open>,
}

impl Drop for OpenedPush {
    fn drop(&mut self) {
        self.engine.pushes.close(&self.id);
        if let Some(login) = &self.login {
            self.engine.upstreams.logins.withdraw(login);
        }
    }
}

/// The id under which a login waits for a push.
fn login_of(sign_in: &SignIn) -> Option<&OneTimeId> {
    match sign_in {
        SignIn::LoginFirst(id) | SignIn::LoginAlone(id) => Some(id),
        SignIn::AsGit | SignIn::Anonymous | SignIn::Ssh { .. } => None,
    }
}

/// Opens a push. Blocks.
fn prepare(engine: &Arc<Engine>, fetched: Fetched) -> Result<(Open, OpenedPush), Failure> {
    let Fetched {
        ready,
        mirror,
        access,
        typed,
        mut trouble,
        reading,
        ..
    } = fetched;
    if !mirror.settings.rules.push {
        let name = &mirror.settings.name;
        let message = format!("the mirror '{name}' takes no pushes");
        let failure = Failure::new(FailureKind::Refused, message);
        return Err(failure.hinted(format!("'mirrord set {name} --push yes' lets it take them")));
    }
    let context = "cannot prepare the push";
    // Those of pushes that outlived whoever opened them.
    quarantine::sweep(&mirror.git_dir).or_failure(context)?;
    let quarantine = Quarantine::new(&mirror.git_dir).or_failure(context)?;
    let id = id::random().or_failure(context)?;
    let signing_in = sign_in(engine, &mirror.settings.url, &access, typed, &id);
    let (sign_in, asking) = signing_in.unwrap_or_else(|failure| {
        // Nothing can go to upstream; what stays here needs nobody.
        trouble.get_or_insert(failure);
        (SignIn::Anonymous, None)
    });
    let held = OpenedPush {
        engine: engine.clone(),
        id: id.clone(),
        login: login_of(&sign_in).cloned(),
        _asking: asking,
    };
    let open = Open {
        ready,
        id: id.clone(),
        fsck: mirror.settings.rules.fsck,
        quarantine: quarantine.path().to_owned(),
        sign_in,
    };
    let opened = Opened {
        mirror,
        quarantine,
        trouble,
        _reading: reading,
    };
    engine.pushes.open(&id, opened);
    Ok((open, held))
}

/// What the push signs in with at upstream: what upstream has just been read with, or would have been.
fn sign_in(
    engine: &Engine,
    url: &UpstreamUrl,
    access: &Access,
    typed: bool,
    push: &str,
) -> Result<(SignIn, Option<questions::Open>), Failure> {
    let upstreams = &engine.upstreams;
    if access.ssh.is_some() {
        let watch = Watch::new("ssh", broadcast::channel(1).0, Vec::new());
        let for_push = upstreams.ssh.for_push(url, access, push, &watch);
        return for_push.map_err(|trouble| trouble.failure);
    }
    let Some(login) = &access.login else {
        return Ok(match access.auth {
            Auth::AsGit => (SignIn::AsGit, None),
            // Without a login to give: it is known by now that it could not be had, or is refused.
            _ => (SignIn::Anonymous, None),
        });
    };
    let own = access.has_own_login();
    match upstreams.trials.may_push(url, login, own) {
        Err(failure) if typed || own => return Err(failure),
        // The user's git may know another one by now.
        Err(_) => return Ok((SignIn::AsGit, None)),
        Ok(()) => {}
    }
    let id = upstreams
        .logins
        .offer(&url.origin(), login, own, Some(push))
        .or_failure("cannot prepare the push")?;
    let alone = typed || access.auth != Auth::AsGit;
    Ok(match alone {
        true => (SignIn::LoginAlone(id), None),
        false => (SignIn::LoginFirst(id), None),
    })
}

/// Carries out an open push: reserve, wait for what upstream says, settle.
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
    let mut noted = JournalEntry::begins(engine, &opened.mirror);
    noted.outcome = Some(Came::Cancelled);
    let names = commands
        .iter()
        .map(|command| BString::from(command.name.clone()))
        .collect();
    let reserving = engine.gates.of(&opened.mirror.git_dir);
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
    let routing = {
        let (engine, opened) = (engine.clone(), opened.clone());
        let mut reservation = reservation;
        move || {
            let routed = Routed::new(&engine.registry, &opened, commands, &request)?;
            if routed.goes_upstream() {
                reservation.doubt()?;
            }
            Ok((routed, reservation, opened.quarantine.bytes()))
        }
    };
    let routing = tokio::task::spawn_blocking(routing);
    let routed = match conversation.wait(&host, &mut silence, routing).await? {
        Ok(routed) => routed.or_failure("cannot prepare the push"),
        Err(panic) => Err(panicked("the push", &panic)),
    };
    let (routed, reservation) = match routed {
        Ok((routed, reservation, bytes)) => {
            noted.bytes = bytes;
            (routed, reservation)
        }
        Err(failure) => {
            noted.ended(Came::Failed(failure.message.clone()));
            return conversation.say(&Reply::Failed(failure)).await;
        }
    };
    let size = |route: &Route| match route {
        Route::Upstream { name, .. } => name.len() + 20,
        Route::Refused(reason) => reason.len() + 20,
        Route::Local { .. } => 20,
    };
    for batch in batches(routed.routes.clone(), size) {
        conversation.say(&Reply::Routed(batch)).await?;
    }
    let reserved = Reply::Reserved {
        atomic: routed.atomic,
        name: opened.mirror.settings.name.to_string(),
    };
    if routed.are_all_refused() {
        noted.ended(routed.tally(&BTreeSet::new()));
        return conversation.say(&reserved).await;
    }
    let goes_up = |route: &Route| matches!(route, Route::Upstream { .. });
    if routed.routes.iter().any(goes_up) {
        // Whoever sends it may vanish before saying how that went.
        let words = "interrupted, and it may have reached upstream";
        noted.outcome = Some(Came::Failed(words.to_owned()));
    }
    conversation.say(&reserved).await?;
    let accepted = |answer| match answer {
        Answer::Accepted(batch) => Some(batch),
        _ => None,
    };
    let Some(accepted) = hear_all(conversation, accepted).await? else {
        return Ok(());
    };
    let accepted: BTreeSet<_> = accepted.into_iter().collect();
    let url = &opened.mirror.settings.url;
    tracing::info!("push to '{url}': {} refs are to be", accepted.len());
    let tally = routed.tally(&accepted);
    let outcome = routed.outcome(&accepted);
    let settling = {
        let (engine, opened) = (engine.clone(), opened.clone());
        tokio::task::spawn_blocking(move || {
            let settled = settle::settle(&opened.quarantine, reservation, &outcome);
            // Also when whoever pushed has gone by now.
            engine.upkeep.after_change(&engine.gates, &opened.mirror);
            settled
        })
    };
    let settled = match conversation.wait(&host, &mut silence, settling).await? {
        Ok(settled) => settled.or_failure("cannot write it down"),
        Err(panic) => Err(panicked("the push", &panic)),
    };
    noted.ended(match &settled {
        Ok(_) => tally,
        Err(failure) => Came::Failed(failure.message.clone()),
    });
    let reply = settled.map_or_else(Reply::Failed, Reply::Settled);
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
