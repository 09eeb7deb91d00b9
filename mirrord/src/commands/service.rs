//! `mirrord service`: makes the daemon a service of the user's systemd or launchd, and undoes that.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use common::{paths::Paths, text::masked};
use serde_json::json;

use super::print::{print, print_hint, print_json};
use crate::daemon::service::{self, State};

/// The exit code of `service status` if the service does not run, as in systemctl(1).
const NOT_RUNNING: u8 = 3;

/// Have systemd (on macOS launchd) start the daemon
///
/// git starts the daemon when it needs it, so nothing has to be installed. As a service it
/// runs from your login on, also while nobody uses it, and again when it has failed.
///
///     mirrord service status
#[derive(Args)]
#[command(verbatim_doc_comment, arg_required_else_help = true)]
pub(crate) struct Service {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install the service, or bring it up to date after an upgrade
    ///
    /// A daemon that git has started stops, and the service's takes its place. What is being
    /// cloned or fetched meanwhile is served to its end.
    ///
    ///     mirrord service install
    #[command(verbatim_doc_comment)]
    Install,
    /// Remove the service, and stop its daemon
    ///
    /// Mirrors and settings stay. git starts the daemon by itself again.
    ///
    ///     mirrord service uninstall
    #[command(verbatim_doc_comment)]
    Uninstall,
    /// Say how the service is; exit code 3 when it is not there or does not work
    ///
    /// The daemon is not started for this.
    ///
    ///     mirrord service status --json
    #[command(verbatim_doc_comment)]
    Status {
        /// Print it as one JSON object
        #[arg(long)]
        json: bool,
    },
}

impl Service {
    /// Installs, removes or inspects the service, and prints the result.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Install => {
                let changed = service::install(paths)?;
                let state = service::state(paths)?;
                let verb = if changed { "now" } else { "already" };
                let manager = state.manager;
                print(&format!("mirrord is {verb} a service of your {manager}\n"))?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Uninstall => {
                if service::uninstall()? {
                    print("mirrord is no service any more\n")?;
                } else {
                    print("mirrord is no service\n")?;
                }
                Ok(ExitCode::SUCCESS)
            }
            Command::Status { json } => {
                let state = service::state(paths)?;
                if json {
                    print_state_json(&state)?;
                } else {
                    print_state(&state, paths)?;
                }
                Ok(match state.serves() {
                    true => ExitCode::SUCCESS,
                    false => ExitCode::from(NOT_RUNNING),
                })
            }
        }
    }
}

/// The state in one word, for scripts.
fn state_word(state: &State) -> &'static str {
    match state {
        state if !state.is_installed() => "not installed",
        State {
            unknown: Some(_), ..
        } => "unknown",
        State {
            pid: Some(_),
            failed: None,
            ..
        } => "running",
        State {
            failed: Some(_), ..
        } => "failed",
        State {
            listening: true, ..
        } => "listening",
        _ => "stopped",
    }
}

fn print_state_json(state: &State) -> anyhow::Result<()> {
    print_json(&json!({
        "state": state_word(state),
        "manager": state.manager,
        "files": state.files,
        "up_to_date": state.up_to_date,
        "listening": state.listening,
        "pid": state.pid,
        "restarts": state.restarts,
        "reason": state.failed.as_ref().or(state.unknown.as_ref()),
        "daemon_pid": state.daemon,
    }))
}

fn print_state(state: &State, paths: &Paths) -> anyhow::Result<()> {
    let manager = state.manager;
    let reason = |why: &Option<String>| masked(why.clone().unwrap_or_default().as_bytes());
    let mut text = match state_word(state) {
        "not installed" => "mirrord is no service".to_owned(),
        "unknown" => format!(
            "the service is installed, and {manager} does not say how it is: {}",
            reason(&state.unknown)
        ),
        "running" => format!(
            "the service runs as process {}",
            state.pid.unwrap_or_default()
        ),
        "failed" => format!("the service does not run: {}", reason(&state.failed)),
        "listening" => format!("{manager} listens, and starts mirrord when it is used"),
        _ => "the service is installed and stopped".to_owned(),
    };
    text.push('\n');
    match state.daemon {
        Some(pid) if state.pid != Some(pid) => {
            text.push_str(&format!(
                "daemon:   process {pid}, which the service has not started\n"
            ));
        }
        _ => {}
    }
    if state.is_installed() {
        text.push_str(&format!("socket:   {}\n", paths.socket().display()));
        text.push_str(&format!("log:      {}\n", paths.log().display()));
    }
    for file in &state.files {
        text.push_str(&format!("file:     {}\n", file.display()));
    }
    if state.restarts > 0 {
        text.push_str(&format!("restarts: {}\n", state.restarts));
    }
    print(&text)?;
    if state_word(state) == "failed" {
        print_hint("'mirrord service install' starts it again");
    }
    if state.is_installed() && !state.up_to_date {
        print_hint(
            "its files are not those of this program and place; 'mirrord service install' writes them anew",
        );
    }
    Ok(())
}
