//! The hook's conversation with the daemon about one push: [`reserve`] asks where each command goes and reserves the refs,
//! and [`settle`] tells what upstream has accepted. The daemon's side is mirrord's `requests/push`.

use std::{env, path::Path};

use common::{
    client::{Client, something_else},
    progress::tell,
    protocol::{Answer, CarryOutPush, Command, Failure, Reply, Request, Route, wire::batches},
    text::masked,
};

use super::{
    hook_protocol::PushCommands,
    markers,
    ref_update::{RefUpdate, Verdict},
};
use crate::names;

/// The most bytes of a command on the wire, beside the name of its ref: two objects in hexadecimal, and lengths.
const MAX_COMMAND_BYTES: usize = 200;
/// The most bytes of a position on the wire.
const MAX_POSITION_BYTES: usize = 5;

/// Where each command of a push goes, before anything has happened.
pub(crate) struct Reserved<'c> {
    /// The verdict on each command: the reason where it is refused.
    pub verdicts: Vec<Verdict>,
    /// The commands that go to upstream.
    pub updates: Vec<RefUpdate<'c>>,
    /// The commands that change local refs.
    pub local: Vec<LocalUpdate>,
    /// Whether upstream is to accept all or nothing.
    pub atomic: bool,
    /// The mirror's name.
    pub name: String,
}

/// A command that changes a local ref: one that the mirror alone has.
pub(crate) struct LocalUpdate {
    /// The position of the command in the push.
    pub at: usize,
    /// Whether the command deletes a local ref that hides upstream's ref of the same name.
    pub reveals: bool,
}

/// Asks the daemon where each command goes. No other push changes these refs until this one is settled.
pub(crate) async fn reserve<'c>(
    client: &mut Client,
    push: &'c PushCommands,
    quarantine: &Path,
) -> Result<Reserved<'c>, Failure> {
    let commands = &push.commands;
    let reserve = CarryOutPush {
        id: env::var(names::PUSH_ID).unwrap_or_default(),
        atomic: push.atomic,
        incomplete: !markers::has_command_count(quarantine, commands.len()),
    };
    client.send_request(&Request::CarryOutPush(reserve)).await?;
    let size = |command: &Command| command.name.len() + MAX_COMMAND_BYTES;
    for batch in batches(commands.clone(), size) {
        client.answer(&Answer::Commands(batch)).await?;
    }
    let (mut routes, mut is_told) = (Vec::new(), false);
    let (atomic, name) = loop {
        match client.receive().await? {
            Reply::Progress(_) if !is_told => {
                is_told = true;
                tell("waiting for another push of the same refs");
            }
            Reply::Progress(_) => {}
            Reply::Routed(batch) => routes.extend(batch),
            Reply::Reserved { atomic, name } => break (atomic, name),
            Reply::Failed(failure) => return Err(failure),
            _ => return Err(something_else()),
        }
    };
    if routes.len() != commands.len() {
        return Err(something_else());
    }
    let mut reserved = Reserved {
        verdicts: vec![Ok(Vec::new()); commands.len()],
        updates: Vec::new(),
        local: Vec::new(),
        atomic,
        name,
    };
    for (at, (command, route)) in commands.iter().zip(routes).enumerate() {
        match route {
            Route::Refused(reason) => reserved.verdicts[at] = Err(reason),
            Route::Local { reveals } => reserved.local.push(LocalUpdate { at, reveals }),
            Route::Upstream { name, lease } => reserved.updates.push(RefUpdate {
                at,
                command,
                name,
                lease,
            }),
        }
    }
    Ok(reserved)
}

/// Tells the daemon which commands are accepted, by their positions, and waits until the mirror has them for good.
pub(crate) async fn settle(client: &mut Client, accepted: &[usize]) -> Result<(), Failure> {
    let positions = accepted.iter().filter_map(|at| u32::try_from(*at).ok());
    for batch in batches(positions.collect(), |_| MAX_POSITION_BYTES) {
        client.answer(&Answer::Accepted(batch)).await?;
    }
    loop {
        match client.receive().await? {
            Reply::Progress(_) => {}
            Reply::Settled(warnings) => {
                for warning in warnings {
                    tell(&format!("warning: {}", masked(warning.as_bytes())));
                }
                return Ok(());
            }
            Reply::Failed(failure) => return Err(failure),
            _ => return Err(something_else()),
        }
    }
}
