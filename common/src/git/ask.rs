//! Puts a question to the person, as git and ssh themselves would where they stand: `git credential` for a login, their
//! askpass program or the terminal for what ssh wants to know.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Command, Stdio},
    thread,
};

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::{
    git::{
        self,
        child_log::{self, ChildLog},
        client_context::UserConfig,
        netrc, terminal,
    },
    progress::tell,
    protocol::{Answer, Ask, Login, Secret},
    text::masked,
};

/// The beginning of the last line of `git credential fill` when it has no answer. The lines before it give the reason.
const NO_ANSWER: &str = "could not read ";

/// A login that git's credential helpers or the person gave, with the line in which they gave it.
pub struct Found {
    /// Everything that `git credential fill` printed: the helpers want it back, with fields that we do not know. Empty
    /// when it was not they who knew.
    description: Vec<u8>,
}

/// Asks `~/.netrc`, the user's credential helpers, their askpass program, and them, in the order of plain git.
///
/// What is found is to be approved or rejected when upstream has said what it thinks of it.
#[must_use]
pub fn login(question: &Ask) -> (Answer, Option<Found>) {
    found(question, credential)
}

/// Asks as [`login`] does, but only programs, for a sync that nobody waits for: no person is asked.
#[must_use]
pub fn login_of_programs(question: &Ask) -> (Answer, Option<Found>) {
    found(question, credential_of_programs)
}

fn found(question: &Ask, credential: fn(&str) -> Command) -> (Answer, Option<Found>) {
    let Ask::Login {
        url,
        username,
        challenges,
    } = question
    else {
        return (Answer::Nothing(None), None);
    };
    let username = username.as_ref().map(|Secret(name)| name.as_str());
    let Some(mut description) = describe(url, username) else {
        return (Answer::Nothing(None), None);
    };
    if let Some(login) = of_netrc(url, username) {
        let description = Vec::new();
        return (Answer::Login(login), Some(Found { description }));
    }
    for challenge in challenges
        .iter()
        .filter(|challenge| !challenge.contains(['\n', '\r', '\0']))
    {
        description.push_str(&format!("wwwauth[]={challenge}\n"));
    }
    let filled = match fill(credential("fill"), &description) {
        Ok(filled) => filled,
        Err(err) => {
            let why = format!("cannot run git credential: {err}");
            return (Answer::Nothing(Some(why)), None);
        }
    };
    let field = |name: &str| {
        let text = std::str::from_utf8(&filled.output).ok()?;
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(str::to_owned)
    };
    match (filled.success, field("username"), field("password")) {
        (true, Some(username), Some(password)) => (
            Answer::Login(Login { username, password }),
            Some(Found {
                description: filled.output,
            }),
        ),
        _ => (Answer::Nothing(filled.why), None),
    }
}

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

impl Found {
    /// Runs `git credential approve`, so that the helpers may store the login.
    pub fn approve(&self) {
        report("approve", &self.description);
    }

    /// Runs `git credential reject`, so that the helpers forget the login.
    pub fn reject(&self) {
        report("reject", &self.description);
    }
}

/// Looks a login up in `~/.netrc`, where git's http client looks before git asks any helper.
fn of_netrc(url: &str, username: Option<&str>) -> Option<Login> {
    let text = fs::read_to_string(PathBuf::from(env::var_os("HOME")?).join(".netrc")).ok()?;
    let authority = url.split_once("://")?.1.split('/').next()?;
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    netrc::login(&text, host, username)
}

/// The URL in the line of git's credential protocol; git itself drops the path where `credential.useHttpPath` is off.
fn describe(url: &str, username: Option<&str>) -> Option<String> {
    let (protocol, rest) = url.split_once("://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut description = format!("protocol={protocol}\nhost={host}\npath={path}\n");
    if let Some(username) = username {
        description.push_str(&format!("username={username}\n"));
    }
    Some(description)
}

/// The result of `git credential fill`.
struct Filled {
    success: bool,
    output: Vec<u8>,
    /// Why there is no answer, in git's line.
    why: Option<String>,
}

/// Asks, and repeats what the helpers say meanwhile: some tell there where to sign in.
fn fill(mut git: Command, description: &str) -> io::Result<Filled> {
    git.stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let log = ChildLog::begin(&git);
    let mut child = git.spawn()?;
    let stderr = child.stderr.take().map(BufReader::new);
    let listener = thread::spawn(|| stderr.and_then(repeat));
    if let Some(mut stdin) = child.stdin.take() {
        // git may have ended already, for example because a helper failed; its status tells.
        let _ = stdin.write_all(description.as_bytes());
    }
    let mut output = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_end(&mut output)?;
    }
    let status = child.wait()?;
    log.ended(status);
    let success = status.success();
    // A helper that stays behind, such as a cache, may hold the other end: what git said is there by now.
    let why = if success {
        None
    } else {
        listener.join().ok().flatten()
    };
    Ok(Filled {
        success,
        output,
        why,
    })
}

/// Repeats what is said, but for git's last word, which is returned.
fn repeat(stderr: impl BufRead) -> Option<String> {
    for line in stderr.split(b'\n').map_while(Result::ok) {
        let line = masked(&line);
        match line.strip_prefix("fatal: ") {
            Some(why) if why.starts_with(NO_ANSWER) => return Some(why.to_owned()),
            _ => tell(&line),
        }
    }
    None
}

/// Reports to the user's helpers whether upstream accepted a login of theirs.
fn report(action: &str, description: &[u8]) {
    if description.is_empty() {
        return;
    }
    let mut git = credential(action);
    git.stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let log = ChildLog::begin(&git);
    let child = git.spawn();
    // A helper that cannot store costs the next fetch a question; this one has what it came for.
    let Ok(mut child) = child else {
        return;
    };
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(description);
    }
    if let Ok(status) = child.wait() {
        log.ended(status);
    }
}

/// Returns a `git credential` that asks no person, neither at a terminal nor in a window.
fn credential_of_programs(action: &str) -> Command {
    let mut command = git::of_user_at_large();
    command
        .args(["-c", "core.askPass=", "credential", action])
        .env_remove("GIT_ASKPASS")
        .env_remove("SSH_ASKPASS")
        .env("GIT_TERMINAL_PROMPT", "0")
        // Git Credential Manager has a word of its own for that.
        .env("GCM_INTERACTIVE", "never");
    command
}

fn credential(action: &str) -> Command {
    let mut command = git::of_user();
    command.args(["credential", action]);
    if terminal::is_for_others() {
        // Asking there would stop a job in the background, and nobody would know why.
        command.env("GIT_TERMINAL_PROMPT", "0");
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_described_in_the_words_of_gits_credential_protocol() {
        let description = describe("https://gitlab.example:8443/group/project.git", Some("me"));
        let expected =
            "protocol=https\nhost=gitlab.example:8443\npath=group/project.git\nusername=me\n";
        assert_eq!(description.as_deref(), Some(expected));
    }
}
