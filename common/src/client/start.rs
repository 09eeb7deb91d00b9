//! Starts the daemon.

use std::{
    env, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tokio::{io::AsyncReadExt, time::timeout};

use super::{MALLOC_ARENAS, START_TIMEOUT, no_daemon};
use crate::{git, protocol::Failure, text::io_message};

/// The daemon that was installed with this program, otherwise the one on PATH.
pub(super) fn program() -> PathBuf {
    let beside = env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.join("mirrord")));
    beside
        .filter(|path| path.is_file())
        .unwrap_or_else(|| PathBuf::from("mirrord"))
}

/// Starts the daemon and waits until it says that it is ready, or why it is not.
pub(super) async fn start(program: &Path) -> Result<(), Failure> {
    let failed = |err: io::Error| {
        let message = format!("cannot start '{}': {}", program.display(), io_message(&err));
        no_daemon(message).hinted("install mirrord beside git-remote-mirror, or on PATH")
    };
    // A descriptor that leaked into this process, such as the pipe of a CI runner, must not live on in the daemon.
    close_fds::set_fds_cloexec(3, &[]);
    let mut child = Command::new(program)
        .args(["run", "--autostarted"])
        .env_clear()
        .envs(git::environment())
        .env(MALLOC_ARENAS.0, MALLOC_ARENAS.1)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let words = match child.stdout.take() {
        Some(stdout) => {
            let mut words = String::new();
            let mut stdout =
                tokio::net::unix::pipe::Receiver::from_owned_fd(stdout.into()).map_err(failed)?;
            timeout(START_TIMEOUT, stdout.read_to_string(&mut words))
                .await
                .map_err(|_| {
                    no_daemon(format!(
                        "mirrord was not ready after {} seconds",
                        START_TIMEOUT.as_secs()
                    ))
                })?
                .map_err(failed)?;
            words
        }
        None => String::new(),
    };
    let line = |prefix: &str| {
        words
            .lines()
            .find_map(|line| line.strip_prefix(prefix))
            .map(str::to_owned)
    };
    if words.trim() == "ready" {
        return Ok(());
    }
    let _ = child.wait();
    let failure =
        no_daemon(line("error: ").unwrap_or_else(|| "mirrord ended before it was ready".into()));
    Err(match line("hint: ") {
        Some(hint) => failure.hinted(hint),
        None => failure,
    })
}
