//! `mirrord stop`: asks the daemon to end, and waits until it has ended.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use common::{
    daemon_process,
    paths::Paths,
    protocol::{Failure, Request},
};
use tokio::time::{sleep, timeout};

use super::{
    block_on, call_running_daemon,
    print::{print, print_hint},
};
use crate::daemon::{lock, service};

/// How long the daemon has to answer; after that it is ended by signals.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the daemon has to end after its answer; after that it is ended by signals. It goes on serving clients for
/// half a minute at most.
const END_TIMEOUT: Duration = Duration::from_secs(40);

/// How often the lock is checked. The system has no event for a lock that becomes free.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Stop the daemon, after what it is serving
///
/// The next command that needs it starts it again, also where it is a service. It is no error
/// that it does not run.
///
///     mirrord stop
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Stop {}

impl Stop {
    /// Stops the daemon, and prints the result.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        if !block_on(stop_daemon(paths))? {
            print("mirrord does not run\n")?;
            return Ok(ExitCode::SUCCESS);
        }
        print("mirrord has stopped\n")?;
        if service::is_installed(paths) {
            let how = service::HOW_TO_STOP;
            print_hint(&format!("its next use starts it again; {how}"));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Stops the daemon; returns `false` if none runs. A daemon that cannot be asked or does not end is ended by signals: it
/// may be of another version, hang, or be about to end.
async fn stop_daemon(paths: &Paths) -> anyhow::Result<bool> {
    let holder = daemon_process::lock_holder(&paths.lock())?;
    let answer = timeout(ANSWER_TIMEOUT, call_running_daemon(paths, &Request::Stop)).await;
    if let Ok(Ok(Some((client, _)))) = answer {
        let ended = async {
            client.wait_for_end().await;
            // When a process ends, the system may close its connections before it releases its lock.
            while holder.is_some() && daemon_process::lock_holder(&paths.lock())? == holder {
                sleep(LOCK_POLL_INTERVAL).await;
            }
            anyhow::Ok(true)
        };
        if let Ok(ended) = timeout(END_TIMEOUT, ended).await {
            return ended;
        }
    } else if daemon_process::lock_holder(&paths.lock())?.is_none() {
        return match answer {
            Ok(answer) => answer.map(|_| false),
            Err(_) => Err(Failure::here(format!(
                "nothing answers at '{}', and mirrord does not run",
                paths.socket().display()
            ))
            .into()),
        };
    }
    lock::end_daemon(&paths.lock())?;
    Ok(true)
}
