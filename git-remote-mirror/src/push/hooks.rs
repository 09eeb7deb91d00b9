//! The hooks of a push. Two run inside `git receive-pack` on the mirror: `pre-receive` counts the commands, and
//! `proc-receive` carries them out. It reserves with the daemon, sends to upstream, lets the daemon settle, and reports.
//! `pre-push` runs inside the `git push` that sends, and only notes that it begins.

use std::{
    env,
    ffi::OsString,
    io::{self, BufRead},
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use common::{
    client::{Client, something_else},
    paths::Paths,
    progress::tell,
    protocol::{
        ATOMIC_PUSH_FAILURE, Answer, Command, Failure, Lease, OrFailure, Reply, Request, Reserve,
        Route, wire::batches,
    },
    text::masked,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{
    fetch::stream::runtime,
    pkt_line,
    push::{quarantine, send},
};

/// The names of the hooks.
pub(crate) const PRE_RECEIVE: &str = "pre-receive";
/// See [`PRE_RECEIVE`].
pub(crate) const PROC_RECEIVE: &str = "proc-receive";

/// See [`PRE_RECEIVE`].
pub(crate) const PRE_PUSH: &str = "pre-push";

/// The id of the push, for the hooks.
pub(crate) const PUSH: &str = "MIRROR_PUSH";
/// Its quarantine.
pub(crate) const QUARANTINE: &str = "MIRROR_QUARANTINE";

/// Refs that are named one by one when they stay here.
const MAX_NAMED: usize = 20;

/// What the commands became: `None` is done, otherwise the reason why not.
type Verdicts = Vec<Option<String>>;

/// Notes how many commands there are.
pub(crate) fn pre_receive() -> Result<(), Failure> {
    let count = io::stdin().lock().split(b'\n').count();
    quarantine::note_commands(&quarantine()?, count)
        .or_failure("cannot note the commands of the push")
}

/// Notes that git begins to send: it has heard what upstream has, and from now on nobody can be sure what reached it.
pub(crate) fn pre_push() -> Result<(), Failure> {
    quarantine::note_begun(&quarantine()?).or_failure("cannot note that the push begins")
}

/// Carries out the commands that git sends. Each is reported, whatever happens.
pub(crate) fn proc_receive() -> Result<(), Failure> {
    let quarantine = quarantine()?;
    let _hold = quarantine::hold(&quarantine)?;
    let _working = quarantine::work(&quarantine).or_failure("cannot begin")?;
    let asked = PushCommands::read().or_failure("cannot hear git")?;
    let verdicts = runtime()?
        .block_on(carry_out(&asked, &quarantine))
        .unwrap_or_else(|failure| {
            failure
                .hint
                .iter()
                .for_each(|hint| tell(&format!("hint: {hint}")));
            vec![Some(failure.message); asked.commands.len()]
        });
    report(&asked.commands, &verdicts).or_failure("cannot answer git")?;
    // What could not be noted only makes somebody push again.
    let _ = quarantine::note_reported(&quarantine);
    Ok(())
}

/// Whether somebody is still there to hear the outcome.
fn is_heard() -> bool {
    let stdout = io::stdout();
    let mut stdout = [PollFd::new(&stdout, PollFlags::empty())];
    let broken = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
    let polled = poll(&mut stdout, Some(&Timespec::default()));
    polled.is_ok() && !stdout[0].revents().intersects(broken)
}

fn quarantine() -> Result<PathBuf, Failure> {
    env::var_os(QUARANTINE)
        .map(PathBuf::from)
        .ok_or_else(|| Failure::here("this is a hook of the mirror's own pushes"))
}

/// What git asks of the hook.
struct PushCommands {
    commands: Vec<Command>,
    atomic: bool,
    options: Vec<OsString>,
}

impl PushCommands {
    /// Reads `proc-receive`'s protocol, version 1; see `git help githooks`.
    fn read() -> io::Result<Self> {
        let mut stdin = io::stdin().lock();
        let greeting = pkt_line::read_section(&mut stdin)?;
        let offered = greeting.first().map(Vec::as_slice).unwrap_or_default();
        let (version, features) = match offered.iter().position(|byte| *byte == 0) {
            Some(end) => (&offered[..end], &offered[end + 1..]),
            None => (offered, &b""[..]),
        };
        if version != b"version=1" {
            return Err(io::Error::other(
                "it speaks an unknown version of the hook's protocol",
            ));
        }
        let offers = |name: &[u8]| {
            features
                .split(|byte| *byte == b' ')
                .any(|word| word == name)
        };
        let (options, atomic) = (offers(b"push-options"), offers(b"atomic"));
        let ours: &[u8] = if options {
            b"version=1\0push-options"
        } else {
            b"version=1"
        };
        pkt_line::write(&mut io::stdout(), ours)?;
        pkt_line::end(&mut io::stdout())?;
        let commands = pkt_line::read_section(&mut stdin)?
            .iter()
            .map(|line| command(line))
            .collect::<Option<_>>();
        let commands = commands.ok_or_else(|| io::Error::other("a command is not one"))?;
        let options = if options {
            pkt_line::read_section(&mut stdin)?
        } else {
            Vec::new()
        };
        Ok(Self {
            commands,
            atomic,
            options: options.into_iter().map(OsString::from_vec).collect(),
        })
    }
}

/// Reads `<old> <new> <ref>`.
fn command(line: &[u8]) -> Option<Command> {
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let mut oid = || {
        let hex = String::from_utf8(words.next()?.to_vec()).ok()?;
        Some(Some(hex).filter(|hex| hex.bytes().any(|byte| byte != b'0')))
    };
    let (old, new) = (oid()?, oid()?);
    let name = words.next()?.to_vec();
    Some(Command { name, old, new })
}

/// Tells git what became of each command.
fn report(commands: &[Command], verdicts: &Verdicts) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout());
    for (command, verdict) in commands.iter().zip(verdicts) {
        let line = match verdict {
            None => [b"ok ", command.name.as_slice()].concat(),
            Some(reason) => [
                b"ng ",
                command.name.as_slice(),
                b" ",
                masked(reason.as_bytes()).as_bytes(),
            ]
            .concat(),
        };
        pkt_line::write(&mut out, &line)?;
    }
    pkt_line::end(&mut out)
}

async fn carry_out(asked: &PushCommands, quarantine: &Path) -> Result<Verdicts, Failure> {
    let mut client = Client::connect(&Paths::from_env()?).await?;
    let Reserved {
        mut verdicts,
        orders,
        here,
        atomic,
        name,
    } = reserve(&mut client, asked, quarantine).await?;
    if orders.is_empty() && here.is_empty() {
        return Ok(verdicts);
    }
    if !is_heard() {
        // Whoever waits for the outcome has been told already that there is none.
        return Err(Failure::here("git receive-pack was ended"));
    }
    let mut accepted = Vec::new();
    if !orders.is_empty() {
        let outcomes = send::send(quarantine, &orders, atomic, &asked.options)
            .or_failure("cannot prepare the push to upstream")?;
        for (order, outcome) in orders.iter().zip(outcomes) {
            match outcome {
                None => accepted.push(order.at),
                Some(reason) => {
                    explain(order, &reason, (atomic && !asked.atomic).then_some(&*name));
                    verdicts[order.at] = Some(reason);
                }
            }
        }
    }
    let upstream_has = accepted.clone();
    if asked.atomic && upstream_has.len() < orders.len() {
        for (at, _) in &here {
            verdicts[*at] = Some(ATOMIC_PUSH_FAILURE.to_owned());
        }
    } else {
        accepted.extend(here.iter().map(|(at, _)| at));
    }
    let kept = accepted.len() > upstream_has.len();
    match settle(&mut client, &accepted).await {
        Ok(()) if kept => say_what_stayed(&here, &asked.commands),
        Ok(()) => {}
        Err(failure) => {
            if !upstream_has.is_empty() {
                // Upstream has it, and that is what ok means.
                tell(&format!(
                    "warning: upstream has it, and the mirror not yet: {failure}"
                ));
                tell("hint: the next fetch brings it");
            }
            for at in accepted.iter().filter(|at| !upstream_has.contains(at)) {
                verdicts[*at] = Some(failure.message.clone());
            }
        }
    }
    Ok(verdicts)
}

/// Says what git cannot, of a refusal by upstream.
fn explain(order: &send::Order<'_>, reason: &str, atomic_by: Option<&str>) {
    // git said nothing of force, because it saw nothing that it would have to overwrite.
    let wants_force = ["non-fast-forward", "fetch first", "needs force"];
    if order.lease == Lease::None && wants_force.contains(&reason) {
        let name = masked(&order.command.name);
        tell(&format!(
            "hint: the mirror does not keep '{name}', and cannot force it"
        ));
        tell("hint: push it to the upstream itself");
    }
    if let Some(name) = atomic_by.filter(|_| reason.contains("does not support --atomic")) {
        tell(
            "hint: this mirror is set to push all or nothing; to leave that to 'git push --atomic':",
        );
        tell(&format!(
            "hint: mirrord set {} --atomic auto",
            masked(name.as_bytes())
        ));
    }
}

/// Says of each ref that it went no further than the mirror.
fn say_what_stayed(here: &[(usize, bool)], commands: &[Command]) {
    let host = send::upstream_host();
    for (at, reveals) in here.iter().take(MAX_NAMED) {
        let command = &commands[*at];
        let name = &command.name;
        let short = name.strip_prefix(b"refs/heads/");
        let short = short.or_else(|| name.strip_prefix(b"refs/tags/"));
        let name = masked(short.unwrap_or(name));
        if *reveals {
            tell(&format!(
                "{name} was local to this mirror; the next fetch shows what {host} has"
            ));
        } else if command.new.is_some() {
            tell(&format!(
                "{name} is local to this mirror; not sent to {host}"
            ));
        }
    }
    if here.len() > MAX_NAMED {
        let more = here.len() - MAX_NAMED;
        tell(&format!("{more} more are local to this mirror, too"));
    }
}

/// What the daemon says of each command, before anything has happened.
struct Reserved<'c> {
    /// Those that are refused.
    verdicts: Verdicts,
    /// Those that go to upstream.
    orders: Vec<send::Order<'c>>,
    /// Those that stay here: their places, and whether they make room for upstream's.
    here: Vec<(usize, bool)>,
    /// Whether upstream is to take all or nothing.
    atomic: bool,
    /// What the mirror is called.
    name: String,
}

/// Asks the daemon where each command goes, and to keep everybody else from those refs until it is settled.
async fn reserve<'c>(
    client: &mut Client,
    asked: &'c PushCommands,
    quarantine: &Path,
) -> Result<Reserved<'c>, Failure> {
    let commands = &asked.commands;
    let reserve = Reserve {
        id: env::var(PUSH).unwrap_or_default(),
        atomic: asked.atomic,
        incomplete: !quarantine::had_commands(quarantine, commands.len()),
    };
    client.say(&Request::Reserve(reserve)).await?;
    let size = |command: &Command| command.name.len() + 200;
    for batch in batches(commands.clone(), size) {
        client.answer(&Answer::Commands(batch)).await?;
    }
    let (mut routes, mut waits) = (Vec::new(), false);
    let (atomic, name) = loop {
        match client.hear().await? {
            Reply::Progress(_) if !waits => {
                waits = true;
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
        verdicts: vec![None; commands.len()],
        orders: Vec::new(),
        here: Vec::new(),
        atomic,
        name,
    };
    for (at, (command, route)) in commands.iter().zip(routes).enumerate() {
        match route {
            Route::Refused(reason) => reserved.verdicts[at] = Some(reason),
            Route::Local { reveals } => reserved.here.push((at, reveals)),
            Route::Upstream { name, lease } => reserved.orders.push(send::Order {
                at,
                command,
                name,
                lease,
            }),
        }
    }
    Ok(reserved)
}

/// Tells the daemon what is to be, and waits until the mirror has it for good.
async fn settle(client: &mut Client, accepted: &[usize]) -> Result<(), Failure> {
    let places = accepted.iter().filter_map(|at| u32::try_from(*at).ok());
    for batch in batches(places.collect(), |_| 5) {
        client.answer(&Answer::Accepted(batch)).await?;
    }
    loop {
        match client.hear().await? {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_read_as_git_writes_it() {
        let (zero, one) = ("0".repeat(40), "1".repeat(40));
        let read =
            |old: &str, new: &str, name: &str| command(format!("{old} {new} {name}").as_bytes());
        let created = read(&zero, &one, "refs/heads/a b").expect("a command");
        assert_eq!((created.old, created.new), (None, Some(one.clone())));
        assert_eq!(created.name, b"refs/heads/a b");
        let deleted = read(&one, &zero, "refs/heads/main").expect("a command");
        assert_eq!((deleted.old, deleted.new), (Some(one), None));
        assert!(command(b"0000 1111").is_none());
    }
}
