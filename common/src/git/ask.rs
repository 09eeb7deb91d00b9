//! Puts a question to the person, as ssh and our own commands do where they stand: by their askpass program or at the
//! terminal. Logins are asked for in [`credential`](super::credential).

use std::{env, ffi::OsString, io, process::Stdio};

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::{
    git::{self, child_log, client_context::UserConfig, terminal},
    protocol::{Answer, Secret},
    text::masked,
};

/// Asks what ssh wants to know, where ssh itself would ask: `SSH_ASKPASS` as its rules say, the terminal, and where there
/// is none also what git's own questions go to.
#[must_use]
pub fn question(prompt: &str, echo: bool) -> Answer {
    let prompt = shown(prompt);
    let (first, last) = programs(UserConfig::read().ok().as_ref());
    let answered = match (first, last) {
        (Some(program), _) => run_askpass(&program, &prompt),
        (None, _) if terminal::is_there() => terminal::ask(&prompt, echo),
        (None, Some(program)) => run_askpass(&program, &prompt),
        (None, None) => Ok(None),
    };
    match answered {
        Ok(Some(answer)) => Answer::Text(Secret(answer)),
        Ok(None) => Answer::Nothing(None),
        Err(err) => Answer::Nothing(Some(format!("cannot ask: {err}"))),
    }
}

/// Asks for a password or a passphrase that a person gives to a command of ours.
///
/// # Errors
/// Fails when their askpass program or their terminal cannot be used.
pub fn secret(prompt: &str, config: &UserConfig) -> io::Result<Option<Secret>> {
    let program = env::var_os("GIT_ASKPASS").filter(|program| !program.is_empty());
    let program = program.or_else(|| config.get("core.askpass").map(OsString::from));
    let program = program.or_else(|| env::var_os("SSH_ASKPASS").filter(|it| !it.is_empty()));
    let answer = match program {
        Some(program) => run_askpass(&program, prompt)?,
        None if terminal::is_there() => terminal::ask(prompt, false)?,
        None => None,
    };
    Ok(answer.map(Secret))
}

/// Sees to it that no core file is ever written of this process, nor of its children: what was asked for would be in it.
pub fn forbid_core_dumps() {
    let nothing = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Where the system refuses, it is as it was.
    let _ = setrlimit(Resource::Core, nothing);
}

/// Whether somebody, or a program of theirs, can be asked what ssh wants to know.
#[must_use]
pub fn can_ask(config: &UserConfig) -> bool {
    let (first, last) = programs(Some(config));
    first.is_some() || last.is_some() || terminal::is_there()
}

/// The askpass programs that come before the terminal, and where there is none.
fn programs(config: Option<&UserConfig>) -> (Option<OsString>, Option<OsString>) {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    let (of_ssh, require) = (set("SSH_ASKPASS"), set("SSH_ASKPASS_REQUIRE"));
    let has_display = set("DISPLAY").is_some() || set("WAYLAND_DISPLAY").is_some();
    let is = |word: &str| require.as_ref().is_some_and(|require| require == word);
    if is("force") || is("prefer") && has_display {
        return (of_ssh, None);
    }
    let of_ssh = of_ssh.filter(|_| has_display && !is("never"));
    let of_git = || {
        let of_config = || Some(OsString::from(config?.get("core.askpass")?));
        set("GIT_ASKPASS").or_else(of_config)
    };
    (None, of_ssh.or_else(of_git))
}

/// Runs a program that asks on its own. The first line of what it prints is the answer; failing is none.
fn run_askpass(program: &OsString, prompt: &str) -> io::Result<Option<String>> {
    let mut askpass = git::as_user(program);
    let output = child_log::output(askpass.arg(prompt).stderr(Stdio::inherit()))?;
    let answer = String::from_utf8_lossy(&output.stdout);
    let line = answer.lines().next().unwrap_or_default();
    Ok(output.status.success().then(|| line.to_owned()))
}

/// A prompt that comes from elsewhere, line by line fit for a terminal.
fn shown(prompt: &str) -> String {
    let lines = prompt.split('\n').map(|line| masked(line.as_bytes()));
    lines.collect::<Vec<_>>().join("\n")
}
