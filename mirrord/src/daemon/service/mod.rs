//! The user service: the person's service manager (systemd on Linux, launchd on macOS) starts the daemon at login, listens
//! for it, and starts it again when it has failed.
//!
//! Without the service, a client that finds no daemon starts one. In both cases the lock decides which process is the
//! daemon; one that the service manager starts asks another to stop, and takes its place.

mod launchd;
mod systemd;

use std::{
    env,
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use common::{
    daemon_process::{self, FileId},
    paths::{MIRROR_HOME, Paths},
    protocol::{Failure, OrFailure},
    text::io_message,
};

use crate::process::durable;

/// The command with which the service manager stops listening, as a hint for a person.
pub(crate) const HOW_TO_STOP: &str =
    "'systemctl --user stop mirrord.socket mirrord.service' stops it until it is started again";

/// The environment variables of 'mirrord service install' that the daemon gets as well, so that it finds the same home and
/// the same git as clients do.
const ENVIRONMENT: [&str; 6] = [
    MIRROR_HOME,
    "HOME",
    "PATH",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
];

/// The mark of a file that mirrord has written; one without it is left alone.
const MARK: &str = "Written by 'mirrord service install'";

/// What is written into the files of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Setup {
    program: PathBuf,
    environment: Vec<(&'static str, OsString)>,
    socket: PathBuf,
    /// The program that the daemon runs, by its own record.
    running: Option<FileId>,
}

/// How the service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// The service manager.
    pub manager: &'static str,
    /// The files of the service that are there.
    pub files: Vec<PathBuf>,
    /// Whether the files are those that would be written now.
    pub up_to_date: bool,
    /// Why the service manager could not be asked.
    pub unknown: Option<String>,
    /// Whether the service manager listens for the daemon.
    pub listening: bool,
    /// The process that the service manager has started.
    pub pid: Option<u32>,
    /// Why the service manager has no process although it tried.
    pub failed: Option<String>,
    /// How often the service manager has started the daemon again after a failure.
    pub restarts: u64,
    /// The process of the daemon that runs, by the service manager or not.
    pub daemon: Option<u32>,
}

impl State {
    /// Whether the service is installed.
    pub(crate) fn is_installed(&self) -> bool {
        !self.files.is_empty()
    }

    /// Whether the daemon is there when it is needed, or started by the service manager.
    pub(crate) fn serves(&self) -> bool {
        self.listening || self.pid.is_some()
    }
}

/// Installs the service, or brings it up to date. Returns whether anything has changed.
///
/// # Errors
/// Fails where the service manager cannot be reached, and where it does not start the daemon.
pub(crate) fn install(paths: &Paths) -> Result<bool, Failure> {
    let setup = Setup::from_env(paths)?;
    if cfg!(target_os = "macos") {
        launchd::install(&setup)
    } else {
        systemd::install(&setup)
    }
}

/// Removes the service, and stops its daemon. Returns whether the service was installed.
///
/// # Errors
/// Fails where a file cannot be removed, or was not written by mirrord.
pub(crate) fn uninstall() -> Result<bool, Failure> {
    if cfg!(target_os = "macos") {
        launchd::uninstall()
    } else {
        systemd::uninstall()
    }
}

/// Returns how the service is.
///
/// # Errors
/// Fails where its files or the lock cannot be read.
pub(crate) fn state(paths: &Paths) -> Result<State, Failure> {
    let setup = Setup::from_env(paths)?;
    let mut state = if cfg!(target_os = "macos") {
        launchd::state(&setup)?
    } else {
        systemd::state(&setup)?
    };
    state.daemon =
        daemon_process::lock_holder(&paths.lock()).or_failure("cannot look at the lock")?;
    Ok(state)
}

/// Whether the service is installed for this home, by its files alone.
pub(crate) fn is_installed(paths: &Paths) -> bool {
    let recorded = || {
        daemon_process::read_record(&paths.daemon_record())
            .is_some_and(|record| systemd::is_for(&record.socket))
    };
    !cfg!(target_os = "macos") && (systemd::is_for(&paths.socket()) || recorded())
}

/// Whether the service manager listens at the socket of this home.
pub(crate) fn listens(paths: &Paths) -> bool {
    is_installed(paths) && systemd::is_listening()
}

impl Setup {
    /// The service that would be installed in this environment.
    fn from_env(paths: &Paths) -> Result<Self, Failure> {
        let program = program().or_failure("cannot find this program")?;
        let environment = ENVIRONMENT.into_iter();
        let environment = environment.filter_map(|name| {
            Some((name, env::var_os(name)?)).filter(|(_, value)| !value.is_empty())
        });
        let setup = Self {
            program,
            environment: environment.collect(),
            socket: paths.socket(),
            running: daemon_process::read_record(&paths.daemon_record())
                .map(|record| record.program),
        };
        let values = setup.environment.iter().map(|(_, value)| value.as_os_str());
        let written = [setup.program.as_os_str(), setup.socket.as_os_str()];
        for value in values.chain(written) {
            if value.as_bytes().iter().any(u8::is_ascii_control) || value.to_str().is_none() {
                let value = value.to_string_lossy().into_owned();
                return Err(Failure::here(format!(
                    "'{value}' cannot be written into the files of a service"
                )));
            }
        }
        Ok(setup)
    }

    /// Whether the daemon runs the program that is installed now, and not one that was replaced since.
    fn is_running(&self) -> bool {
        let installed = fs::metadata(&self.program).ok();
        let installed = installed.map(|found| FileId::of(&found));
        installed.is_some() && installed == self.running
    }
}

/// The path of this program that still leads to it after an upgrade: the one in PATH, rather than the file to which that
/// links today.
fn program() -> io::Result<PathBuf> {
    let exe = env::current_exe()?;
    let real = exe.canonicalize()?;
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join("mirrord"))
        .find(|found| found.canonicalize().is_ok_and(|found| found == real));
    Ok(found.unwrap_or(exe))
}

/// Writes a file of the service. Returns whether it was different.
fn write(path: &Path, text: &str) -> Result<bool, Failure> {
    match read(path)? {
        Some(old) if old == text => return Ok(false),
        Some(_) | None => {}
    }
    let dir = path.parent().unwrap_or(Path::new("/"));
    durable::make_dir(dir).or_failure(format_args!("cannot write '{}'", path.display()))?;
    durable::replace(path, text.as_bytes())
        .or_failure(format_args!("cannot write '{}'", path.display()))?;
    Ok(true)
}

/// Reads a file of the service; `None` when there is none.
fn read(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) if text.contains(MARK) => Ok(Some(text)),
        Ok(_) => {
            let failure = Failure::here(format!("'{}' was not written by mirrord", path.display()));
            Err(failure.hinted("move it out of the way"))
        }
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(Failure::io(
            format_args!("cannot read '{}'", path.display()),
            &err,
        )),
    }
}

/// Removes a file, or a link; none is no error.
fn remove(path: &Path) -> Result<bool, Failure> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(err) => Err(Failure::io(
            format_args!("cannot remove '{}'", path.display()),
            &err,
        )),
    }
}

/// Runs a command of the service manager, and returns its output.
///
/// # Errors
/// Fails with the first line of its stderr.
fn run_manager<A: AsRef<OsStr>>(
    program: &str,
    args: impl IntoIterator<Item = A>,
) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(args).env("LC_ALL", "C").stdin(Stdio::null());
    let output = command
        .output()
        .map_err(|err| format!("cannot run '{program}': {}", io_message(&err)))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let message = stderr.lines().map(str::trim).find(|line| !line.is_empty());
    Err(message.map_or_else(
        || format!("'{program}' failed"),
        |message| message.trim_end_matches('.').to_owned(),
    ))
}

/// The service of a person whose home of mirrord has an odd name.
#[cfg(test)]
fn sample() -> Setup {
    let environment = [
        (MIRROR_HOME, "/home/me/50% & more"),
        ("HOME", "/home/me"),
        ("PATH", "/home/me/.cargo/bin:/usr/bin:/bin"),
    ];
    Setup {
        program: "/home/me/.cargo/bin/mirrord".into(),
        environment: environment.map(|(name, value)| (name, value.into())).into(),
        socket: "/home/me/50% & more/socket".into(),
        running: None,
    }
}
