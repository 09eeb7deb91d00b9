//! The line that the log has of a child: the command, how it ended and how long it ran. The lines are of the level
//! `debug`, and without that nothing is written down.

use std::{
    fmt::Write as _,
    io,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Command, ExitStatus, Output},
    time::Instant,
};

use tracing::{Level, Span, debug, enabled};

use crate::{address::redact, text::masked};

/// A longer command is cut off in the log.
const MAX_COMMAND_BYTES: usize = 400;

/// The log line of a child that runs. When it is dropped before [`ChildLog::ended`], the line says that nobody waited.
pub struct ChildLog(Option<Running>);

struct Running {
    command: String,
    began: Instant,
    span: Span,
}

impl ChildLog {
    /// Begins with the command of a child that is about to be started. Its arguments have no secrets, since every user of
    /// the machine can read them; a login in a URL is left out all the same, and so are the settings of `-c`.
    #[must_use]
    pub fn begin(command: &Command) -> Self {
        Self(enabled!(Level::DEBUG).then(|| Running {
            command: shown(command),
            began: Instant::now(),
            span: Span::current(),
        }))
    }

    /// Writes the line of a child that has ended.
    pub fn ended(mut self, status: ExitStatus) {
        let end = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => status.to_string(),
        };
        self.write(&end);
    }

    fn write(&mut self, end: &str) {
        if let Some(Running {
            command,
            began,
            span,
        }) = self.0.take()
        {
            let time = began.elapsed().as_millis();
            span.in_scope(|| debug!("child: {command}: {end}, {time} ms"));
        }
    }
}

impl Drop for ChildLog {
    fn drop(&mut self) {
        self.write("not waited for");
    }
}

/// [`Command::output`], with a line in the log.
///
/// # Errors
/// As `output`.
pub fn output(command: &mut Command) -> io::Result<Output> {
    let log = ChildLog::begin(command);
    let output = command.output()?;
    log.ended(output.status);
    Ok(output)
}

/// [`Command::status`], with a line in the log.
///
/// # Errors
/// As `status`.
pub fn status(command: &mut Command) -> io::Result<ExitStatus> {
    let log = ChildLog::begin(command);
    let status = command.status()?;
    log.ended(status);
    Ok(status)
}

/// A command as the log shows it.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    let mut shown = program.to_string_lossy().into_owned();
    let mut args = command.get_args();
    while let Some(arg) = args.next() {
        if arg == "-c" {
            args.next();
            continue;
        }
        let _ = write!(shown, " {}", arg.to_string_lossy());
        if shown.len() > MAX_COMMAND_BYTES {
            shown.truncate(shown.floor_char_boundary(MAX_COMMAND_BYTES));
            shown.push('…');
            break;
        }
    }
    masked(redact(&shown).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_without_settings_and_logins_and_cut_off_when_it_is_long() {
        let mut command = Command::new("/usr/bin/git");
        command.args(["-c", "http.extraHeader=X: secret", "ls-remote"]);
        command.arg("https://me:secret@gitlab.example/a.git");
        assert_eq!(
            shown(&command),
            "git ls-remote https://gitlab.example/a.git"
        );
        command.arg("ä".repeat(MAX_COMMAND_BYTES));
        let long = shown(&command);
        assert!(
            long.len() < MAX_COMMAND_BYTES + 4 && long.ends_with("ä…"),
            "{long}"
        );
    }
}
