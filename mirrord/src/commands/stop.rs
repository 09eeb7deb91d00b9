//! `mirrord stop`: ask the daemon to end, and wait until it has.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use common::{
    paths::Paths,
    protocol::{Failure, Request},
    running,
};
use tokio::time::{sleep, timeout};

use super::{
    ask, converse,
    print::{advise, print},
};
use crate::daemon::{lock, service};

/// A daemon that has not answered by then is ended by signals.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// And one that has not ended by then: it serves for half a minute at most.
const END_TIMEOUT: Duration = Duration::from_secs(40);

/// Nothing tells when a lock becomes free.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

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
    /// Asks for the end, and waits for it.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        if !converse(stopped(paths))? {
            print("mirrord does not run\n")?;
            return Ok(ExitCode::SUCCESS);
        }
        print("mirrord has stopped\n")?;
        if service::is_installed(paths) {
            let how = service::HOW_TO_STOP;
            advise(&format!("its next use starts it again; {how}"));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Stops the daemon; `false` when there is none. One that cannot be asked, or does not do it, is ended by signals: it may
/// be of another version, hang, or be about to end.
async fn stopped(paths: &Paths) -> anyhow::Result<bool> {
    let holder = running::holder(&paths.lock())?;
    let asked = timeout(ANSWER_TIMEOUT, ask(paths, &Request::Stop)).await;
    if let Ok(Ok(Some((client, _)))) = asked {
        let ended = async {
            client.wait_for_end().await;
            // The system may close its connections before it gives back its lock.
            while holder.is_some() && running::holder(&paths.lock())? == holder {
                sleep(POLL_INTERVAL).await;
            }
            anyhow::Ok(true)
        };
        if let Ok(ended) = timeout(END_TIMEOUT, ended).await {
            return ended;
        }
    } else if running::holder(&paths.lock())?.is_none() {
        return match asked {
            Ok(asked) => asked.map(|_| false),
            Err(_) => Err(Failure::here(format!(
                "nothing answers at '{}', and mirrord does not run",
                paths.socket().display()
            ))
            .into()),
        };
    }
    lock::end_holder(&paths.lock())?;
    Ok(true)
}
