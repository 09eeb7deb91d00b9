//! Where everything lies.
//!
//! ```text
//! MIRROR_HOME                    otherwise the platform's directories
//! ├── config                     the daemon's own settings, when there are any           config
//! ├── daemon.lock                held for life by the daemon; holds its process id      data
//! ├── daemon.record              where the daemon's socket is, while it listens          data
//! ├── start.lock                 held by the helper that starts a daemon                data
//! ├── socket                     mode 0600                                              runtime, or else state
//! ├── ssh/                       sockets of the ssh connections that are kept            runtime
//! ├── log/                       the log of a daemon that a helper started              state
//! ├── journal, journal.old       what syncs and pushes did                               state
//! ├── ssh.d/                     ssh configurations of mirrors with a key of their own     state
//! ├── settings.d/                settings for children of the daemon, while they run       state
//! ├── refused                    which logins upstream has refused, hashed               data
//! ├── rests                      which hosts are left alone for a while                  data
//! ├── secrets/                   passwords and passphrases, where there is no keyring    data
//! ├── bundles/                   the local branches of mirrors that were removed        data
//! └── mirrors/                   one bare repository per mirror                         data
//! ```

mod home;

use std::{
    env,
    ffi::OsString,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::{
    daemon_process, private_dir,
    protocol::Failure,
    text::{io_message, masked},
};

pub use home::Untrusted;

/// The variable that moves everything we own to one folder.
pub const MIRROR_HOME: &str = "MIRROR_HOME";

/// The file in a quarantine on which every user of the quarantine has a shared lock. Quarantines without a lock are removed.
pub const LOCK: &str = "lock";

/// A socket's address has room for about 107 bytes; this leaves some for platforms with fewer.
const MAX_SOCKET_BYTES: usize = 100;

/// The longest path of the folder of ssh's sockets: a name of 16 characters follows, and 17 more that ssh appends for as
/// long as it makes one.
const MAX_SSH_DIR_BYTES: usize = MAX_SOCKET_BYTES - 34;

/// The paths of all files of the programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    config: PathBuf,
    data: PathBuf,
    state: PathBuf,
    runtime: PathBuf,
    short_runtime: Option<PathBuf>,
}

/// Why the directories cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NoPlace {
    /// Neither `MIRROR_HOME` nor a home directory is set.
    #[error("there is no home directory: set HOME or {MIRROR_HOME}")]
    NoHome,
    /// `MIRROR_HOME` is not an absolute path.
    #[error("{MIRROR_HOME} is not an absolute path: '{}'", .0.display())]
    Relative(PathBuf),
    /// Others decide what lies at `MIRROR_HOME`.
    #[error("cannot use {MIRROR_HOME} '{path}': {why}", path = .0.display(), why = .1)]
    Untrusted(PathBuf, Untrusted),
    /// A directory could not be made, or is not ours alone.
    #[error("cannot use '{path}': {error}", path = .0.display(), error = io_message(.1))]
    Unusable(PathBuf, io::Error),
    /// git, ssh and our own files write paths into lines, and some take nothing but text.
    #[error("cannot use '{}': it has a control character or is not UTF-8", masked(.0.as_os_str().as_bytes()))]
    NotText(PathBuf),
    /// The socket's path does not fit into a socket's address, and there is no runtime directory for a shorter one.
    #[error("the path of the socket is too long: '{}'", .0.display())]
    TooLong(PathBuf),
}

impl From<NoPlace> for Failure {
    fn from(error: NoPlace) -> Self {
        let failure = Self::here(error.to_string());
        match error {
            NoPlace::TooLong(_) => failure.hinted(format!(
                "set a shorter {MIRROR_HOME}, or XDG_RUNTIME_DIR to a directory that is yours alone"
            )),
            NoPlace::NotText(_) => {
                failure.hinted(format!("set {MIRROR_HOME} to another directory"))
            }
            NoPlace::Untrusted(_, Untrusted::Link(link)) => failure.hinted(format!(
                "set {MIRROR_HOME} to where '{}' leads, if you trust its owner",
                link.display()
            )),
            NoPlace::Untrusted(_, Untrusted::Writable(dir)) => failure.hinted(format!(
                "close it (chmod go-w '{}'), or set {MIRROR_HOME} to a directory elsewhere",
                dir.display()
            )),
            NoPlace::NoHome | NoPlace::Relative(_) | NoPlace::Unusable(..) => failure,
        }
    }
}

impl Paths {
    /// Reads the environment and makes sure that the directories exist and are ours alone.
    ///
    /// # Errors
    /// Fails when there is no home, others decide what lies there, or a directory cannot be made private.
    pub fn from_env() -> Result<Self, NoPlace> {
        let paths = match env::var_os(MIRROR_HOME).filter(|home| !home.is_empty()) {
            Some(home) => {
                let paths = Self::at(home)?;
                home::check(&paths.data)
                    .map_err(|why| NoPlace::Untrusted(paths.data.clone(), why))?;
                paths
            }
            None => Self::of_platform()?,
        };
        let dirs = [&paths.config, &paths.data, &paths.state, &paths.runtime];
        if let Some(dir) = dirs.into_iter().find(|dir| !is_text(dir)) {
            return Err(NoPlace::NotText(dir.clone()));
        }
        for dir in [&paths.data, &paths.state, &paths.runtime, &paths.mirrors()] {
            private_dir::make(dir).map_err(|err| NoPlace::Unusable(dir.clone(), err))?;
        }
        if paths.sockets().is_empty()
            && daemon_process::recorded_socket(&paths.daemon_record()).is_none()
        {
            return Err(NoPlace::TooLong(paths.socket()));
        }
        Ok(paths)
    }

    fn at(home: OsString) -> Result<Self, NoPlace> {
        let home = PathBuf::from(home);
        if !home.is_absolute() {
            return Err(NoPlace::Relative(home));
        }
        Ok(Self {
            config: home.clone(),
            data: home.clone(),
            state: home.clone(),
            runtime: home,
            short_runtime: runtime_dir(),
        })
    }

    fn of_platform() -> Result<Self, NoPlace> {
        let dirs = directories::ProjectDirs::from("", "", "mirror").ok_or(NoPlace::NoHome)?;
        let data = dirs.data_local_dir().to_path_buf();
        let state = dirs
            .state_dir()
            .map_or_else(|| data.clone(), Path::to_path_buf);
        let runtime = runtime_dir().map_or_else(|| state.clone(), |dir| dir.join("mirror"));
        Ok(Self {
            config: dirs.config_dir().to_path_buf(),
            data,
            state,
            runtime,
            short_runtime: runtime_dir(),
        })
    }

    /// The file of the daemon's own settings. Its directory is made by whoever writes it.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.config.join("config")
    }

    /// The daemon's lock: whoever holds it is the daemon.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.data.join("daemon.lock")
    }

    /// The file in which the daemon records where its socket is.
    #[must_use]
    pub fn daemon_record(&self) -> PathBuf {
        self.data.join("daemon.record")
    }

    /// The lock of those who are about to start a daemon.
    #[must_use]
    pub fn start_lock(&self) -> PathBuf {
        self.data.join("start.lock")
    }

    /// The daemon's socket; a short, hashed name in the runtime directory when its own would be too long.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        let own = self.runtime.join("socket");
        match &self.short_runtime {
            Some(runtime) if own.as_os_str().len() > MAX_SOCKET_BYTES => short(runtime, &own),
            _ => own,
        }
    }

    /// The paths at which the daemon may have its socket, the preferred one first. The second outlives every runtime directory.
    #[must_use]
    pub fn sockets(&self) -> Vec<PathBuf> {
        let mut all = vec![self.socket(), self.state.join("socket")];
        all.dedup();
        all.retain(|socket| socket.as_os_str().len() <= MAX_SOCKET_BYTES);
        all
    }

    /// The folder for the sockets of ssh connections that are kept; none where it cannot be short enough for them.
    #[must_use]
    pub fn ssh(&self) -> Option<PathBuf> {
        let own = self.runtime.join("ssh");
        let runtime = self.short_runtime.as_ref();
        let shorter = runtime.map(|runtime| short(runtime, &own));
        [Some(own), shorter]
            .into_iter()
            .flatten()
            .find(|dir| dir.as_os_str().len() <= MAX_SSH_DIR_BYTES)
    }

    /// The folder of the ssh configurations of mirrors with a key of their own.
    #[must_use]
    pub fn ssh_configurations(&self) -> PathBuf {
        self.state.join("ssh.d")
    }

    /// The directory of the settings that children of the daemon read, each for as long as it runs. Not in the runtime
    /// directory, which may go while the daemon runs.
    #[must_use]
    pub fn child_settings(&self) -> PathBuf {
        self.state.join("settings.d")
    }

    /// The file of the logins that upstream has refused.
    #[must_use]
    pub fn refused(&self) -> PathBuf {
        self.data.join("refused")
    }

    /// The file of the hosts that are not contacted for a while.
    #[must_use]
    pub fn rests(&self) -> PathBuf {
        self.data.join("rests")
    }

    /// The folder of the secrets that no keyring has. It is made by whoever writes the first.
    #[must_use]
    pub fn secrets(&self) -> PathBuf {
        self.data.join("secrets")
    }

    /// The folder of the mirrors.
    #[must_use]
    pub fn mirrors(&self) -> PathBuf {
        self.data.join("mirrors")
    }

    /// The folder of the local branches of removed mirrors.
    #[must_use]
    pub fn bundles(&self) -> PathBuf {
        self.data.join("bundles")
    }

    /// The journal of syncs and pushes. The older part is in a file beside it.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.state.join("journal")
    }

    /// The folder of the logs.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.state.join("log")
    }
}

fn is_text(path: &Path) -> bool {
    path.to_str()
        .is_some_and(|text| !text.contains(char::is_control))
}

/// A short name in the runtime directory for a path that is too long, and for no other.
fn short(runtime: &Path, own: &Path) -> PathBuf {
    let hash = Sha256::digest(own.as_os_str().as_bytes());
    runtime.join(format!("mirror-{}", hex::encode(&hash[..8])))
}

/// `XDG_RUNTIME_DIR`; for those whom nobody tells, such as cron's jobs, where systemd puts it.
fn runtime_dir() -> Option<PathBuf> {
    let uid = rustix::process::geteuid().as_raw();
    let usual = || Some(format!("/run/user/{uid}").into()).filter(|_| cfg!(target_os = "linux"));
    private_dir::checked(env::var_os("XDG_RUNTIME_DIR").or_else(usual)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_home_gets_a_short_socket_name_of_its_own() {
        let short_runtime = Some(PathBuf::from("/run/user/1000"));
        let socket = |home: &str| {
            let home = PathBuf::from(home);
            Paths {
                config: home.clone(),
                data: home.clone(),
                state: home.clone(),
                runtime: home,
                short_runtime: short_runtime.clone(),
            }
            .socket()
        };
        let (one, two) = (
            socket(&format!("/{}", "a".repeat(120))),
            socket(&format!("/{}", "b".repeat(120))),
        );
        assert!(one.starts_with("/run/user/1000") && one.as_os_str().len() < MAX_SOCKET_BYTES);
        assert_ne!(one, two, "two homes never share a socket");
        assert_eq!(socket("/home/me"), PathBuf::from("/home/me/socket"));
    }

    #[test]
    fn the_sockets_of_ssh_fit_or_there_are_none() {
        let folder = |home: String, short_runtime: Option<&str>| {
            let home = PathBuf::from(home);
            Paths {
                config: home.clone(),
                data: home.clone(),
                state: home.clone(),
                runtime: home,
                short_runtime: short_runtime.map(PathBuf::from),
            }
            .ssh()
        };
        let long = format!("/{}", "a".repeat(80));
        assert_eq!(folder("/m".into(), None), Some(PathBuf::from("/m/ssh")));
        assert_eq!(folder(long.clone(), None), None);
        let short = folder(long, Some("/run/user/1000")).expect("there is a shorter one");
        assert!(short.starts_with("/run/user/1000"), "{}", short.display());
    }

    #[test]
    fn one_variable_moves_the_configuration_too() {
        let paths = Paths::at("/there".into()).expect("absolute");
        assert_eq!(paths.config(), PathBuf::from("/there/config"));
    }

    #[test]
    fn a_relative_home_is_refused() {
        assert!(matches!(
            Paths::at("there".into()),
            Err(NoPlace::Relative(_))
        ));
    }
}
