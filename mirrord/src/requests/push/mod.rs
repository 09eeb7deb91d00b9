//! The daemon's side of a push. [`open()`] makes the mirror fresh for it. [`execute`] reserves its refs and says where each
//! command goes (`route`), waits for what upstream accepts, and writes that to the mirror (`settle`); [`send()`] sends it to
//! upstream where the daemon can.

mod journal;
mod login;
mod open;
mod route;
mod send;
mod settle;

use std::{collections::BTreeSet, io, sync::Arc};

use common::protocol::{
    Answer, CarryOutPush, Command, Failure, OrFailure, Outcome, Progress, Reply, Route,
    wire::{WireError, batches},
};
use gix::bstr::BString;
use tokio::{sync::broadcast, task::JoinError};

use self::{journal::JournalEntry, route::Routed};
pub(crate) use self::{login::record_login_tried, open::open, send::send};
use crate::{
    mirrors::gate::Reservation,
    process::blocking::panicked,
    requests::{conversation::Conversation, error::RequestError},
    sync::{Engine, open_pushes::OpenPush},
};

/// The bytes of a route in a reply beside its name or its reason, at most; the size of a batch is reckoned with it.
const ROUTE_SIZE: usize = 20;

/// An open push that is carried out.
struct Push<'c> {
    engine: &'c Arc<Engine>,
    conversation: &'c mut Conversation,
    opened: Arc<OpenPush>,
    entry: JournalEntry,
    /// The host that the client is told it waits for.
    host: String,
    /// A channel that stays empty, as the wait for a push needs one: a push shows no sync's progress.
    no_progress: broadcast::Receiver<Progress>,
}

/// The commands of a push with their routes, and the reservation of their refs.
struct Reserved {
    routed: Routed,
    reservation: Reservation,
    /// Bytes that the push has brought.
    bytes: u64,
}

/// Carries out an open push: reserves its refs, waits for what upstream accepts, settles.
///
/// # Errors
/// Fails where the push is no longer open, and where the mirror cannot be read or written.
pub(crate) async fn execute(
    engine: &Arc<Engine>,
    conversation: &mut Conversation,
    request: CarryOutPush,
) -> Result<Reply, RequestError> {
    let commands = |answer| match answer {
        Answer::Commands(batch) => Some(batch),
        _ => None,
    };
    let commands = receive_batches(conversation, commands).await?;
    let opened = engine.pushes.get(&request.id).ok_or_else(no_longer_open)?;
    let mut entry = JournalEntry::begin(engine, &opened.mirror);
    entry.outcome = Some(Outcome::Cancelled);
    let host = opened.mirror.settings.url.host();
    let mut push = Push {
        engine,
        conversation,
        entry,
        host: host.unwrap_or("upstream").to_owned(),
        no_progress: broadcast::channel(1).1,
        opened,
    };
    let executed = push.execute(commands, request).await;
    if let Err(RequestError::Failed(failure)) = &executed {
        push.entry.outcome = Some(Outcome::Failed(failure.message.clone()));
    }
    executed
}

impl Push<'_> {
    async fn execute(
        &mut self,
        commands: Vec<Command>,
        request: CarryOutPush,
    ) -> Result<Reply, RequestError> {
        let Reserved {
            routed,
            reservation,
            bytes,
        } = self.reserve(commands, request).await?;
        self.entry.bytes = bytes;
        self.send_routes(&routed).await?;
        let reserved = Reply::Reserved {
            atomic: routed.atomic,
            name: self.opened.mirror.settings.name.to_string(),
        };
        if routed.are_all_refused() {
            self.entry.outcome = Some(routed.tally(&BTreeSet::new()));
            return Ok(reserved);
        }
        let goes_upstream = |route: &Route| matches!(route, Route::Upstream { .. });
        if routed.routes.iter().any(goes_upstream) {
            // The client may vanish before it reports what upstream accepted.
            let message = "interrupted, and it may have reached upstream";
            self.entry.outcome = Some(Outcome::Failed(message.to_owned()));
            let opened = self.opened.clone();
            tokio::task::spawn_blocking(move || opened.quarantine.begin_sync());
        }
        self.conversation.send(&reserved).await?;
        let accepted = |answer| match answer {
            Answer::Accepted(batch) => Some(batch),
            _ => None,
        };
        let accepted = receive_batches(self.conversation, accepted).await?;
        let accepted = accepted.into_iter().collect();
        let tally = routed.tally(&accepted);
        let warnings = self.settle(routed, reservation, &accepted).await?;
        self.entry.outcome = Some(tally);
        Ok(Reply::Settled(warnings))
    }

    /// Reserves the refs of all commands against syncs and other pushes, and decides where each command goes.
    async fn reserve(
        &mut self,
        commands: Vec<Command>,
        request: CarryOutPush,
    ) -> Result<Reserved, RequestError> {
        let names = commands
            .iter()
            .map(|command| BString::from(command.name.clone()))
            .collect();
        let gate = self.engine.gates.gate(&self.opened.mirror.git_dir);
        let mut reservation = self.wait(gate.reserve(names)).await?;
        let (engine, opened) = (self.engine.clone(), self.opened.clone());
        let routing = tokio::task::spawn_blocking(move || {
            let routed = Routed::new(&engine.registry, &opened, commands, &request)?;
            if routed.changes_kept_ref_upstream() {
                reservation.mark_in_doubt()?;
            }
            Ok(Reserved {
                routed,
                reservation,
                bytes: opened.quarantine.bytes(),
            })
        });
        let reserved: io::Result<_> = self.wait(routing).await?.map_err(push_panicked)?;
        Ok(reserved.or_failure("cannot prepare the push")?)
    }

    /// Tells the client where each command goes, in the order of the commands.
    async fn send_routes(&mut self, routed: &Routed) -> Result<(), WireError> {
        let size = |route: &Route| match route {
            Route::Upstream { name, .. } => name.len() + ROUTE_SIZE,
            Route::Refused(reason) => reason.len() + ROUTE_SIZE,
            Route::Local { .. } => ROUTE_SIZE,
        };
        for batch in batches(routed.routes.clone(), size) {
            self.conversation.send(&Reply::Routed(batch)).await?;
        }
        Ok(())
    }

    /// Writes to the mirror what upstream has accepted and what is local. Returns what the person should know. The upkeep
    /// of the mirror begins also when the client has gone by then.
    async fn settle(
        &mut self,
        routed: Routed,
        reservation: Reservation,
        accepted: &BTreeSet<u32>,
    ) -> Result<Vec<String>, RequestError> {
        let url = &self.opened.mirror.settings.url;
        tracing::info!(
            "push to '{url}': {} refs are written to the mirror",
            accepted.len()
        );
        let changes = routed.changes(accepted);
        let (engine, opened) = (self.engine.clone(), self.opened.clone());
        let settling = tokio::task::spawn_blocking(move || {
            let settled = settle::settle(&opened.quarantine, reservation, &changes);
            engine.upkeep.after_change(&engine.gates, &opened.mirror);
            settled
        });
        let settled = self.wait(settling).await?.map_err(push_panicked)?;
        Ok(settled.or_failure("cannot write it down")?)
    }

    async fn wait<T>(&mut self, future: impl Future<Output = T>) -> Result<T, WireError> {
        self.conversation
            .wait(&self.host, &mut self.no_progress, future)
            .await
    }
}

fn no_longer_open() -> Failure {
    Failure::here("mirrord was started anew in the middle of the push")
        .hinted("the same push again starts it anew")
}

fn push_panicked(panic: JoinError) -> Failure {
    panicked("the push", &panic)
}

/// Receives a list that travels in batches, the last one empty. A client that sends anything else ends the conversation.
async fn receive_batches<T>(
    conversation: &mut Conversation,
    batch: impl Fn(Answer) -> Option<Vec<T>>,
) -> Result<Vec<T>, WireError> {
    let mut all = Vec::new();
    loop {
        match batch(conversation.receive().await?) {
            Some(batch) if batch.is_empty() => return Ok(all),
            Some(batch) => all.extend(batch),
            None => return Err(WireError::Closed),
        }
    }
}
