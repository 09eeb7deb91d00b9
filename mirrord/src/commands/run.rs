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

use crate::{
    commands::complain,
    daemon::{self, Starter, activation, server::Ending},
};

/// Log files that are kept, one a day.
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
            // Whoever started us reads our stdout, and prints it in its own name.
            let mut stdout = io::stdout();
            let _ = writeln!(stdout, "error: {error:#}");
            if let Some(hint) = super::hint(error) {
                let _ = writeln!(stdout, "hint: {hint}");
            }
            complain(error);
            return Ok(ExitCode::FAILURE);
        }
        result.map(|()| ExitCode::SUCCESS)
    }

    fn serve(&self, paths: Paths) -> anyhow::Result<()> {
        if self.autostarted {
            // The Ctrl-C of the terminal that we were started from is not for us.
            rustix::process::setsid().context("cannot leave the session of the starter")?;
        }
        keep_to_itself();
        // The log has a thread.
        let socket = self.service.then(|| activation::socket(&paths));
        let _flush = self.log(&paths);
        let result = match socket.transpose() {
            Ok(socket) => self.live(paths, socket),
            Err(error) => Err(error),
        };
        if let (true, Err(error)) = (self.service, &result) {
            activation::say_failed(&format!("{error:#}"));
            tracing::error!("{error:#}");
        }
        result
    }

    fn live(&self, paths: Paths, service: Option<Option<UnixListener>>) -> anyhow::Result<()> {
        let (starter, at_a_signal) = match service {
            Some(socket) => (Starter::Service(socket), Ending::MakeWay),
            None if self.autostarted => (Starter::Client, Ending::Stop),
            None => (Starter::Person, Ending::Stop),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let ready = match starter {
            Starter::Person => || Ok(()),
            Starter::Client => say_ready,
            Starter::Service(_) => activation::say_ready,
        };
        runtime.block_on(async {
            let shutdown = async {
                if let Err(err) = daemon::stopped_by_signal().await {
                    tracing::error!("cannot wait for signals: {err}");
                    std::future::pending::<()>().await;
                }
                at_a_signal
            };
            daemon::run(paths, starter, shutdown, ready).await
        })?;
        // A sync that is still blocked in a read has been told to stop and has nothing that must be saved.
        runtime.shutdown_background();
        Ok(())
    }

    /// Sets up the log: in files, where nobody watches. What cannot be written is lost, and stops nothing.
    fn log(&self, paths: &Paths) -> WorkerGuard {
        // Libraries say little that helps, and may say what came over the wire.
        let level = self.log_level.as_deref().or(log_level_from_env());
        let level = level.unwrap_or("info");
        let filter = EnvFilter::new(format!("off,mirrord={level},common={level}"));
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_target(false)
            .with_ansi(false)
            // A line that cannot be written is lost; saying so on a broken stderr would be a panic.
            .log_internal_errors(false);
        // In a thread of its own: a pipe that nobody reads holds up nothing else.
        let (files, failure) = match self.autostarted || self.service {
            true => files(paths).map_or_else(|err| (None, Some(err)), |files| (Some(files), None)),
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

/// The files of the log, one a day.
fn files(paths: &Paths) -> Result<RollingFileAppender, InitError> {
    rolling::Builder::new()
        .rotation(Rotation::DAILY)
        .filename_prefix("mirrord")
        .filename_suffix("log")
        .max_log_files(MAX_LOG_FILES)
        .build(paths.log())
}

/// Sees to it that what the daemon writes and knows is for nobody else, whatever it was started with.
fn keep_to_itself() {
    rustix::process::umask(Mode::from_raw_mode(0o077));
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        // Where the system refuses, it is as it was.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

/// Says `ready` and lets go of the pipe: whoever reads it waits for its end.
fn say_ready() -> io::Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "ready")?;
    stdout.flush()?;
    let nowhere = File::options().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&nowhere)?;
    Ok(())
}
