//! `mirrord run`: the daemon itself.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::net::UnixListener,
    process::ExitCode,
};

use anyhow::Context;
use clap::Args;
use common::{
    log_level::{LOG_LEVELS, log_level_from_env},
    paths::Paths,
};
use rustix::fs::Mode;
use tracing_appender::{
    non_blocking::WorkerGuard,
    rolling::{self, InitError, RollingFileAppender, Rotation},
};
use tracing_subscriber::EnvFilter;

use super::{hint_of, print_error};
use crate::daemon::{self, Starter, activation, server::Ending};

/// The number of log files that are kept, one a day.
const MAX_LOG_FILES: usize = 7;

/// Run the daemon in the foreground, its log on stderr
///
/// git and the commands start it by themselves when it is needed; this is for seeing what
/// it does, when none runs yet. Ctrl-C or 'mirrord stop' stops it.
///
///     mirrord run --log-level debug
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Run {
    /// How much to log: error, warn, info, debug or trace [default: $MIRROR_LOG, or info]
    #[arg(long, value_parser = LOG_LEVELS)]
    log_level: Option<String>,
    /// Started by a client: leave its session, log to a file, and say on stdout when ready
    #[arg(long, hide = true)]
    autostarted: bool,
    /// Started by the service manager: log to a file, and tell it how the daemon is
    #[arg(long, hide = true, conflicts_with = "autostarted")]
    service: bool,
}

impl Run {
    /// Serves until stopped.
    pub(crate) fn execute(&self, paths: Paths) -> anyhow::Result<ExitCode> {
        let result = self.serve(paths);
        if let (true, Err(error)) = (self.autostarted, &result) {
            // The client that started the daemon reads this stdout, and prints the error itself.
            let mut stdout = io::stdout();
            let _ = writeln!(stdout, "error: {error:#}");
            if let Some(hint) = hint_of(error) {
                let _ = writeln!(stdout, "hint: {hint}");
            }
            print_error(error);
            return Ok(ExitCode::FAILURE);
        }
        result.map(|()| ExitCode::SUCCESS)
    }

    fn serve(&self, paths: Paths) -> anyhow::Result<()> {
        if self.autostarted {
            // A Ctrl-C in the terminal of that client must not end the daemon.
            rustix::process::setsid().context("cannot leave the session of the starter")?;
        }
        restrict_access();
        // The socket is taken from the environment before the thread of the log is started.
        let socket = self.service.then(|| activation::socket(&paths));
        let _flush = self.init_log(&paths);
        let result = match socket.transpose() {
            Ok(socket) => self.run_daemon(paths, socket),
            Err(error) => Err(error),
        };
        if let (true, Err(error)) = (self.service, &result) {
            activation::notify_failed(&format!("{error:#}"));
            tracing::error!("{error:#}");
        }
        result
    }

    fn run_daemon(
        &self,
        paths: Paths,
        service: Option<Option<UnixListener>>,
    ) -> anyhow::Result<()> {
        let (starter, on_signal) = match service {
            Some(socket) => (Starter::Service(socket), Ending::MakeWay),
            None if self.autostarted => (Starter::Client, Ending::Stop),
            None => (Starter::Person, Ending::Stop),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let ready = match starter {
            Starter::Person => || Ok(()),
            Starter::Client => write_ready,
            Starter::Service(_) => activation::notify_ready,
        };
        runtime.block_on(async {
            let shutdown = async {
                if let Err(err) = daemon::stopped_by_signal().await {
                    tracing::error!("cannot wait for signals: {err}");
                    std::future::pending::<()>().await;
                }
                on_signal
            };
            daemon::run(paths, starter, shutdown, ready).await
        })?;
        // A sync that is still blocked in a read has been cancelled and has nothing to save.
        runtime.shutdown_background();
        Ok(())
    }

    /// Sets up the log: on stderr, or in files if the daemon was not started by a person. A line that cannot be written is
    /// lost, and the daemon goes on.
    fn init_log(&self, paths: &Paths) -> WorkerGuard {
        // Libraries log little that helps, and might log what came over the network.
        let level = self.log_level.as_deref().or(log_level_from_env());
        let level = level.unwrap_or("info");
        let filter = EnvFilter::new(format!("off,mirrord={level},common={level}"));
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_target(false)
            .with_ansi(false)
            // Reporting the loss of a line on a broken stderr would panic.
            .log_internal_errors(false);
        // The log is written by its own thread: a pipe that nobody reads blocks nothing else.
        let (files, failure) = match self.autostarted || self.service {
            true => {
                log_files(paths).map_or_else(|err| (None, Some(err)), |files| (Some(files), None))
            }
            false => (None, None),
        };
        let (writer, flush) = match files {
            Some(files) => tracing_appender::non_blocking(files),
            None => tracing_appender::non_blocking(io::stderr()),
        };
        builder.with_writer(writer).init();
        if let Some(err) = failure {
            tracing::warn!("cannot log to '{}': {err}", paths.log().display());
        }
        flush
    }
}

/// Opens the files of the log, one a day.
fn log_files(paths: &Paths) -> Result<RollingFileAppender, InitError> {
    rolling::Builder::new()
        .rotation(Rotation::DAILY)
        .filename_prefix("mirrord")
        .filename_suffix("log")
        .max_log_files(MAX_LOG_FILES)
        .build(paths.log())
}

/// Keeps files and memory of the daemon from other users, whatever umask it was started with.
fn restrict_access() {
    rustix::process::umask(Mode::from_raw_mode(0o077));
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        // If the system refuses, core dumps stay as they were.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

/// Writes `ready` and closes the pipe: the client that started the daemon reads to its end.
fn write_ready() -> io::Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "ready")?;
    stdout.flush()?;
    let dev_null = File::options().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&dev_null)?;
    Ok(())
}
