//! The service as two units of the systemd user manager: the socket at which it listens, and the daemon.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use common::{client, protocol::Failure};
use directories::BaseDirs;

use super::{MARK, Setup, State, read, remove, run_manager, write};

const SOCKET: &str = "mirrord.socket";
const SERVICE: &str = "mirrord.service";

/// The directories in which 'systemctl enable' links each unit.
const WANTED_BY: [(&str, &str); 2] = [
    ("sockets.target.wants", SOCKET),
    ("default.target.wants", SERVICE),
];

/// The socket's unit. `RemoveOnStop`: a socket file without a listener would look like that of a killed daemon.
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

/// Text without control characters, quoted for a unit file.
fn quoted(text: &str) -> String {
    let text = text.replace('\\', r"\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace('%', "%%"))
}

/// Installs both units, and starts the daemon by them.
pub(super) fn install(setup: &Setup) -> Result<bool, Failure> {
    require_manager()?;
    let dir = unit_dir()?;
    let is_same_socket = read(&dir.join(SOCKET))?.as_ref() == Some(&socket_unit(setup));
    let listens = is_listening();
    let keeps_listening = listens && is_same_socket && setup.socket.exists();
    if listens && !keeps_listening {
        // The user manager removes the socket of the old unit only while it still has that unit.
        systemctl(["stop", SOCKET, SERVICE])?;
    }
    write(&dir.join(SOCKET), &socket_unit(setup))?;
    let new_service = write(&dir.join(SERVICE), &service_unit(setup))?;
    systemctl(["daemon-reload"])?;
    for unit in [SOCKET, SERVICE] {
        let (path, found) = (dir.join(unit), properties(unit)?);
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
    systemctl(["--quiet", "enable", SOCKET, SERVICE])?;
    // From here on clients no longer find a daemon that git has started; the one that is started next takes its place.
    systemctl(["start", SOCKET])?;
    let pid = main_pid(&properties(SERVICE)?);
    let up_to_date = pid.is_some() && setup.is_running();
    let changed = new_service || !keeps_listening || !up_to_date;
    if changed {
        restart()?;
    }
    Ok(changed)
}

/// Starts the daemon, after the end of the one that the service runs. Clients that come meanwhile wait at the socket.
fn restart() -> Result<(), Failure> {
    // Failures of earlier starts no longer count for `StartLimitBurst`.
    let _ = query(["reset-failed", SOCKET, SERVICE]);
    let Err(message) = query(["restart", SERVICE]) else {
        return Ok(());
    };
    let reason = properties(SERVICE)
        .ok()
        .and_then(|found| failure_reason(&found))
        .unwrap_or(message);
    Err(
        Failure::here(format!("the service does not start: {reason}")).hinted(format!(
            "'journalctl --user --unit {SERVICE}' and the daemon's log know more"
        )),
    )
}

/// Stops both units and removes their files.
pub(super) fn uninstall() -> Result<bool, Failure> {
    let dir = unit_dir()?;
    let units = [SOCKET, SERVICE].map(|unit| dir.join(unit));
    let links = WANTED_BY.map(|(target, unit)| dir.join(target).join(unit));
    for unit in &units {
        // Fails for a unit that mirrord has not written.
        read(unit)?;
    }
    let is_there = |path: &&PathBuf| path.symlink_metadata().is_ok();
    if !units.iter().chain(&links).any(|path| is_there(&path)) {
        return Ok(false);
    }
    let managed = query(["show", "--property=Version"]).is_ok();
    if managed {
        // The socket first, so that no client starts another daemon.
        for unit in [SOCKET, SERVICE] {
            if properties(unit)?.get("LoadState").map(String::as_str) == Some("loaded") {
                systemctl(["stop", unit])?;
            }
        }
    }
    for path in links.iter().chain(&units) {
        remove(path)?;
    }
    let dirs = WANTED_BY.map(|(target, _)| dir.join(target));
    for dir in dirs.iter().map(PathBuf::as_path).chain([&*dir]) {
        // A directory that is not empty stays.
        let _ = std::fs::remove_dir(dir);
    }
    if managed {
        systemctl(["daemon-reload"])?;
        // An error says that no unit has failed.
        let _ = query(["reset-failed", SOCKET, SERVICE]);
    }
    Ok(true)
}

/// Returns how the service is.
pub(super) fn state(setup: &Setup) -> Result<State, Failure> {
    let dir = unit_dir()?;
    let expected = [
        (dir.join(SOCKET), socket_unit(setup)),
        (dir.join(SERVICE), service_unit(setup)),
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
        state.up_to_date &= found
            .as_ref()
            .is_some_and(|found| is_same_unit(found, &text));
        state.files.extend(found.map(|_| path));
    }
    if !state.is_installed() {
        return Ok(state);
    }
    match query(["show", "--property=Version"]) {
        Err(message) => state.unknown = Some(message),
        Ok(_) => {
            let service = properties(SERVICE)?;
            state.listening = is_listening();
            state.pid = main_pid(&service);
            state.failed = failure_reason(&service);
            state.restarts = number(&service, "NRestarts").unwrap_or_default();
        }
    }
    Ok(state)
}

/// Whether two units are the same but for PATH, which differs from shell to shell.
fn is_same_unit(one: &str, other: &str) -> bool {
    let lines = |unit: &str| {
        let lines = unit.lines().map(str::to_owned);
        lines
            .filter(|line| !line.starts_with("Environment=\"PATH="))
            .collect::<Vec<_>>()
    };
    lines(one) == lines(other)
}

/// Whether the socket's unit is installed, and listens at this path.
pub(super) fn is_for(socket: &Path) -> bool {
    let unit = unit_dir().ok().and_then(|dir| read(&dir.join(SOCKET)).ok());
    let socket = socket.to_string_lossy().replace('%', "%%");
    unit.flatten().is_some_and(|unit| {
        let listens = |line: &str| line.strip_prefix("ListenStream=") == Some(&*socket);
        unit.lines().any(listens)
    })
}

/// Whether the user manager listens at the socket.
pub(super) fn is_listening() -> bool {
    let state = query(["show", "--property=ActiveState", SOCKET]);
    state.is_ok_and(|state| state.trim() == "ActiveState=active")
}

/// The directory of the user's units.
fn unit_dir() -> Result<PathBuf, Failure> {
    let dirs = BaseDirs::new().ok_or_else(|| Failure::here("there is no home directory"))?;
    Ok(dirs.config_dir().join("systemd/user"))
}

fn require_manager() -> Result<(), Failure> {
    let Err(message) = query(["show", "--property=Version"]) else {
        return Ok(());
    };
    Err(
        Failure::here(format!("there is no systemd user manager: {message}")).hinted(
            "log in as yourself ('su' and 'sudo' start none), or do without: git starts the daemon by itself",
        ),
    )
}

/// The properties of a unit, as `systemctl show` prints them.
fn properties(unit: &str) -> Result<HashMap<String, String>, Failure> {
    let wanted = "--property=LoadState,FragmentPath,ActiveState,SubState,Result,MainPID,StatusText,NRestarts";
    let text = query(["show", wanted, unit]).map_err(as_failure)?;
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
fn failure_reason(found: &HashMap<String, String>) -> Option<String> {
    let field = |name: &str| found.get(name).map_or("", String::as_str);
    let result = field("Result");
    let is_over = field("ActiveState") == "failed" || field("SubState") == "auto-restart";
    if !is_over || result == "success" {
        return None;
    }
    let status = field("StatusText");
    Some(match (status, result) {
        ("" | "serving" | "stopping", "exit-code") => "it ended at once".to_owned(),
        ("" | "serving" | "stopping", result) => format!("systemd says '{result}'"),
        (reason, _) => reason.to_owned(),
    })
}

/// Runs a command of `systemctl --user`.
fn systemctl<const N: usize>(args: [&str; N]) -> Result<(), Failure> {
    query(args).map(drop).map_err(as_failure)
}

fn as_failure(message: String) -> Failure {
    Failure::here(format!("systemd: {message}"))
}

/// Runs a command of `systemctl --user`, and returns its output.
fn query<const N: usize>(args: [&str; N]) -> Result<String, String> {
    run_manager("systemctl", ["--user"].into_iter().chain(args))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::service::sample;

    #[test]
    fn the_unit_files() {
        insta::assert_snapshot!("socket", socket_unit(&sample()));
        insta::assert_snapshot!("service", service_unit(&sample()));
    }

    #[test]
    fn the_example_units_are_those_of_a_usual_home() {
        let mut setup = sample();
        setup.socket = "/run/user/1000/mirror/socket".into();
        setup.environment.retain(|(name, _)| *name != "MIRROR_HOME");
        let example = include_str!("../../../../examples/systemd/mirrord.socket");
        assert_eq!(socket_unit(&setup), example);
        let example = include_str!("../../../../examples/systemd/mirrord.service");
        assert_eq!(service_unit(&setup), example);
    }

    #[test]
    fn odd_characters_reach_systemd_as_they_are() {
        assert_eq!(quoted(r#"A=50% "b" \c $d e"#), r#""A=50%% \"b\" \\c $d e""#);
    }

    #[test]
    fn only_a_service_that_has_failed_has_a_reason() {
        let reason = |state: &str, result: &str, status: &str| {
            failure_reason(&HashMap::from([
                ("ActiveState".into(), state.into()),
                ("Result".into(), result.into()),
                ("StatusText".into(), status.into()),
            ]))
        };
        assert_eq!(reason("active", "success", "serving"), None);
        assert_eq!(reason("inactive", "success", ""), None);
        assert_eq!(
            reason("failed", "exit-code", "no room").as_deref(),
            Some("no room")
        );
        assert_eq!(
            reason("failed", "start-limit-hit", "").as_deref(),
            Some("systemd says 'start-limit-hit'")
        );
    }
}
