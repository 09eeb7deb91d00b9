//! The service as units of the systemd user manager: a socket that it listens at, and the daemon behind it.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use common::{client, protocol::Failure};
use directories::BaseDirs;

use super::{MARK, Setup, State, manage, read, remove, write};

const SOCKET: &str = "mirrord.socket";
const SERVICE: &str = "mirrord.service";

/// Where 'enable' puts a link to each of them.
const WANTED_BY: [(&str, &str); 2] = [
    ("sockets.target.wants", SOCKET),
    ("default.target.wants", SERVICE),
];

/// The socket's unit. Its file is removed with it: what nobody listens at would look like a daemon that was killed.
fn socket_unit(setup: &Setup) -> String {
    format!(
        "# {MARK}, which writes it anew.
# What you want otherwise goes into 'systemctl --user edit {SOCKET}'.
[Unit]
Description=Mirrors of git projects: where git finds the daemon

[Socket]
ListenStream={socket}
SocketMode=0600
DirectoryMode=0700
RemoveOnStop=yes

[Install]
WantedBy=sockets.target
",
        socket = setup.socket.to_string_lossy().replace('%', "%%"),
    )
}

/// The daemon's unit.
fn service_unit(setup: &Setup) -> String {
    let environment = setup.environment.iter().map(|(name, value)| {
        let value = quoted(&format!("{name}={}", value.to_string_lossy()));
        format!("Environment={value}\n")
    });
    let (name, number) = client::MALLOC_ARENAS;
    format!(
        "# {MARK}, which writes it anew.
# What you want otherwise goes into 'systemctl --user edit {SERVICE}'.
[Unit]
Description=Mirrors of git projects
Requires={SOCKET}
After={SOCKET}
StartLimitIntervalSec=60
StartLimitBurst=5

[Service]
Type=notify
ExecStart={program} run --service
{environment}Environment={few_heaps}
WorkingDirectory=/

# It may wait for a daemon that git has started, and that still serves somebody.
TimeoutStartSec=90
# It goes on serving for a quarter of a minute, and lets those who read finish for half of one.
TimeoutStopSec=60
# The ssh and git of a sync are its own to stop; what is left of them when it has ended goes.
KillMode=mixed
Restart=on-failure
RestartSec=1
# Fed while somebody who connects is greeted. What does not answer leaves nothing that a kill could harm.
WatchdogSec=30
WatchdogSignal=SIGKILL
# The kernel may end a child that wants too much memory; the daemon goes on.
OOMPolicy=continue

# What it writes is for nobody else, and its memory, which knows logins, is not written down.
UMask=0077
LimitCORE=0
# No more than that. ssh, credential helpers and ProxyCommands are programs of yours: they may need their home, their
# agent's socket in /tmp, another user's rights (snap, sudo, ssh-keysign) or namespaces. In a user manager any filter of
# system calls and any private view of the file system takes one of these away.

[Install]
WantedBy=default.target
",
        program = quoted(&setup.program.to_string_lossy()),
        environment = environment.collect::<String>(),
        few_heaps = quoted(&format!("{name}={number}")),
    )
}

/// A word as systemd takes it, of text without control characters.
fn quoted(text: &str) -> String {
    let text = text.replace('\\', r"\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace('%', "%%"))
}

/// Installs both units, and has the daemon run as they say.
pub(super) fn install(setup: &Setup) -> Result<bool, Failure> {
    require_manager()?;
    let folder = folder()?;
    let is_as_it_was = read(&folder.join(SOCKET))?.as_ref() == Some(&socket_unit(setup));
    let listens = is_listening();
    let listened = listens && is_as_it_was && setup.socket.exists();
    if listens && !listened {
        // It listens where the old unit says, and removes that socket only as long as it knows it.
        act(["stop", SOCKET, SERVICE])?;
    }
    write(&folder.join(SOCKET), &socket_unit(setup))?;
    let new_service = write(&folder.join(SERVICE), &service_unit(setup))?;
    act(["daemon-reload"])?;
    for unit in [SOCKET, SERVICE] {
        let (path, found) = (folder.join(unit), shown(unit)?);
        let found = found.get("FragmentPath").map_or("", String::as_str);
        if Path::new(found) != path {
            return Err(Failure::here(format!(
                "the user manager does not read '{}'",
                path.display()
            ))
            .hinted(match found {
                "" => "it has another HOME or XDG_CONFIG_HOME than you have here".to_owned(),
                found => format!("it has '{found}' instead"),
            }));
        }
    }
    act(["--quiet", "enable", SOCKET, SERVICE])?;
    // A daemon that git has started and that listens there is not found any more from here on; the one that is started
    // next takes its place.
    act(["start", SOCKET])?;
    let pid = main_pid(&shown(SERVICE)?);
    let up_to_date = pid.is_some() && setup.is_running();
    let changed = new_service || !listened || !up_to_date;
    if changed {
        restart()?;
    }
    Ok(changed)
}

/// Starts the daemon, after the end of the one that the service has. Whoever comes meanwhile waits at the socket.
fn restart() -> Result<(), Failure> {
    // What failed before is over; a limit of attempts counts from here.
    let _ = call(["reset-failed", SOCKET, SERVICE]);
    let Err(said) = call(["restart", SERVICE]) else {
        return Ok(());
    };
    let why = shown(SERVICE)
        .ok()
        .and_then(|found| failure(&found))
        .unwrap_or(said);
    Err(
        Failure::here(format!("the service does not start: {why}")).hinted(format!(
            "'journalctl --user --unit {SERVICE}' and the daemon's log know more"
        )),
    )
}

/// Stops what runs and removes what is there of both units.
pub(super) fn uninstall() -> Result<bool, Failure> {
    let folder = folder()?;
    let units = [SOCKET, SERVICE].map(|unit| folder.join(unit));
    let links = WANTED_BY.map(|(target, unit)| folder.join(target).join(unit));
    for unit in &units {
        // Somebody else's is not for us to remove.
        read(unit)?;
    }
    let is_there = |path: &&PathBuf| path.symlink_metadata().is_ok();
    if !units.iter().chain(&links).any(|path| is_there(&path)) {
        return Ok(false);
    }
    let managed = call(["show", "--property=Version"]).is_ok();
    if managed {
        // The socket goes first: nobody is to start another daemon.
        for unit in [SOCKET, SERVICE] {
            if shown(unit)?.get("LoadState").map(String::as_str) == Some("loaded") {
                act(["stop", unit])?;
            }
        }
    }
    for path in links.iter().chain(&units) {
        remove(path)?;
    }
    let folders = WANTED_BY.map(|(target, _)| folder.join(target));
    for folder in folders.iter().map(PathBuf::as_path).chain([&*folder]) {
        // It stays where others use it.
        let _ = std::fs::remove_dir(folder);
    }
    if managed {
        act(["daemon-reload"])?;
        // Only what has failed can be forgotten.
        let _ = call(["reset-failed", SOCKET, SERVICE]);
    }
    Ok(true)
}

/// How the service is.
pub(super) fn state(setup: &Setup) -> Result<State, Failure> {
    let folder = folder()?;
    let expected = [
        (folder.join(SOCKET), socket_unit(setup)),
        (folder.join(SERVICE), service_unit(setup)),
    ];
    let mut state = State {
        manager: "systemd",
        files: Vec::new(),
        up_to_date: true,
        unknown: None,
        listening: false,
        pid: None,
        failed: None,
        restarts: 0,
        daemon: None,
    };
    for (path, text) in expected {
        let found = read(&path)?;
        state.up_to_date &= found.as_ref().is_some_and(|found| is_like(found, &text));
        state.files.extend(found.map(|_| path));
    }
    if !state.is_installed() {
        return Ok(state);
    }
    match call(["show", "--property=Version"]) {
        Err(why) => state.unknown = Some(why),
        Ok(_) => {
            let service = shown(SERVICE)?;
            state.listening = is_listening();
            state.pid = main_pid(&service);
            state.failed = failure(&service);
            state.restarts = number(&service, "NRestarts").unwrap_or_default();
        }
    }
    Ok(state)
}

/// Whether two units say the same; where programs are found differs from shell to shell.
fn is_like(one: &str, other: &str) -> bool {
    let lines = |unit: &str| {
        let lines = unit.lines().map(str::to_owned);
        lines
            .filter(|line| !line.starts_with("Environment=\"PATH="))
            .collect::<Vec<_>>()
    };
    lines(one) == lines(other)
}

/// Whether the socket's unit is there, and for this socket.
pub(super) fn is_for(socket: &Path) -> bool {
    let unit = folder()
        .ok()
        .and_then(|folder| read(&folder.join(SOCKET)).ok());
    let socket = socket.to_string_lossy().replace('%', "%%");
    unit.flatten().is_some_and(|unit| {
        let listens = |line: &str| line.strip_prefix("ListenStream=") == Some(&*socket);
        unit.lines().any(listens)
    })
}

/// Whether the user manager listens at the socket.
pub(super) fn is_listening() -> bool {
    let state = call(["show", "--property=ActiveState", SOCKET]);
    state.is_ok_and(|state| state.trim() == "ActiveState=active")
}

/// Where the units of a user are.
fn folder() -> Result<PathBuf, Failure> {
    let dirs = BaseDirs::new().ok_or_else(|| Failure::here("there is no home directory"))?;
    Ok(dirs.config_dir().join("systemd/user"))
}

fn require_manager() -> Result<(), Failure> {
    let Err(why) = call(["show", "--property=Version"]) else {
        return Ok(());
    };
    Err(
        Failure::here(format!("there is no systemd user manager: {why}")).hinted(
            "log in as yourself ('su' and 'sudo' start none), or do without: git starts the daemon by itself",
        ),
    )
}

/// What systemd knows of a unit.
fn shown(unit: &str) -> Result<HashMap<String, String>, Failure> {
    let properties = "--property=LoadState,FragmentPath,ActiveState,SubState,Result,MainPID,StatusText,NRestarts";
    let text = call(["show", properties, unit]).map_err(failed)?;
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    Ok(pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

fn number(found: &HashMap<String, String>, name: &str) -> Option<u64> {
    found.get(name)?.parse().ok()
}

fn main_pid(found: &HashMap<String, String>) -> Option<u32> {
    let pid = number(found, "MainPID")?.try_into().ok();
    pid.filter(|pid| *pid != 0)
}

/// Why the daemon does not run although systemd has tried.
fn failure(found: &HashMap<String, String>) -> Option<String> {
    let field = |name: &str| found.get(name).map_or("", String::as_str);
    let result = field("Result");
    let is_over = field("ActiveState") == "failed" || field("SubState") == "auto-restart";
    if !is_over || result == "success" {
        return None;
    }
    let said = field("StatusText");
    Some(match (said, result) {
        ("" | "serving" | "stopping", "exit-code") => "it ended at once".to_owned(),
        ("" | "serving" | "stopping", result) => format!("systemd says '{result}'"),
        (said, _) => said.to_owned(),
    })
}

/// Has systemd do something.
fn act<const N: usize>(words: [&str; N]) -> Result<(), Failure> {
    call(words).map(drop).map_err(failed)
}

fn failed(said: String) -> Failure {
    Failure::here(format!("systemd: {said}"))
}

fn call<const N: usize>(words: [&str; N]) -> Result<String, String> {
    manage("systemctl", ["--user"].into_iter().chain(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::service::sample;

    #[test]
    fn the_units() {
        insta::assert_snapshot!("socket", socket_unit(&sample()));
        insta::assert_snapshot!("service", service_unit(&sample()));
    }

    #[test]
    fn words_with_odd_characters_reach_systemd_as_they_are() {
        assert_eq!(quoted(r#"A=50% "b" \c $d e"#), r#""A=50%% \"b\" \\c $d e""#);
    }

    #[test]
    fn only_what_has_failed_says_why() {
        let found = |state: &str, result: &str, said: &str| {
            failure(&HashMap::from([
                ("ActiveState".into(), state.into()),
                ("Result".into(), result.into()),
                ("StatusText".into(), said.into()),
            ]))
        };
        assert_eq!(found("active", "success", "serving"), None);
        assert_eq!(found("inactive", "success", ""), None);
        assert_eq!(
            found("failed", "exit-code", "no room").as_deref(),
            Some("no room")
        );
        assert_eq!(
            found("failed", "start-limit-hit", "").as_deref(),
            Some("systemd says 'start-limit-hit'")
        );
    }
}
