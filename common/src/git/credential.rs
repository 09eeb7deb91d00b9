//! Asks for logins in git's credential protocol (gitcredentials(7)): `git credential` asks the user's helpers, their askpass
//! program, and them.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Command, Stdio},
    thread,
};

use crate::{
    git::{self, child_log::ChildLog, netrc, terminal},
    progress::tell,
    protocol::{Answer, Ask, FilledLogin, Login, Secret},
    text::masked,
};

/// What git ≥ 2.46 tells its helpers that it understands: other schemes than Basic, and sign-in by steps. An older one
/// ignores these lines.
const CAPABILITIES: &str = "capability[]=authtype\ncapability[]=state\n";

/// The beginning of the last line of `git credential fill` when it has no answer. The lines before it give the reason.
const NO_ANSWER: &str = "could not read ";

/// Whom a login is asked of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Programs, and the person.
    Person,
    /// Only programs: nobody waits.
    Programs,
}

/// The logins that were found in one conversation. Each is to be approved or rejected when it was tried.
#[derive(Default)]
pub struct FoundLogins(Vec<Found>);

/// A login that git's credential helpers or the person gave.
struct Found {
    url: String,
    /// Everything that `git credential fill` printed: the helpers want it back, with fields that we do not know. Empty
    /// when it was not they who knew.
    description: String,
}

impl FoundLogins {
    /// Asks `~/.netrc`, the user's credential helpers, their askpass program, and them, in the order of plain git.
    #[must_use]
    pub fn ask(&mut self, question: &Ask, asked: Asked) -> Answer {
        let Ask::Login {
            url,
            username,
            challenges,
            is_proxy,
        } = question
        else {
            return Answer::Nothing(None);
        };
        let username = username.as_ref().map(|Secret(name)| name.as_str());
        let Some(mut input) = describe(url, username) else {
            return Answer::Nothing(None);
        };
        let before = self.take(url);
        if !is_proxy && let Some(login) = of_netrc(url, username) {
            self.keep(url, String::new());
            return Answer::Login(FilledLogin {
                login,
                continues: false,
                ephemeral: false,
                expires: None,
            });
        }
        input.insert_str(0, CAPABILITIES);
        // The helper that has begun to sign in by steps goes on by its state.
        let before = before.as_ref().map_or("", |found| &found.description);
        if field(before, "continue").is_some() {
            let lines = before.lines();
            let goes_on = |line: &&str| {
                ["authtype=", "state[]="]
                    .iter()
                    .any(|key| line.starts_with(key))
            };
            lines.filter(goes_on).for_each(|line| add(&mut input, line));
        }
        challenge_lines(challenges).for_each(|line| add(&mut input, &line));
        let filled = match fill(credential("fill", asked), &input) {
            Ok(filled) => filled,
            Err(err) => return Answer::Nothing(Some(format!("cannot run git credential: {err}"))),
        };
        let Some(login) = login(&filled.output).filter(|_| filled.success) else {
            return Answer::Nothing(filled.why);
        };
        let answer = Answer::Login(FilledLogin {
            login,
            continues: field(&filled.output, "continue") == Some("1"),
            ephemeral: field(&filled.output, "ephemeral") == Some("1"),
            expires: field(&filled.output, "password_expiry_utc")
                .and_then(|time| time.parse().ok()),
        });
        self.keep(url, filled.output);
        answer
    }

    /// Runs `git credential approve` for the login of a URL, so that the helpers may store it.
    pub fn approve(&self, url: &str) {
        if let Some(found) = self.0.iter().find(|found| found.url == url) {
            report("approve", &found.report(&[]));
        }
    }

    /// Runs `git credential reject` for the login of a URL, so that the helpers forget it.
    pub fn reject(&self, url: &str, challenges: &[String]) {
        if let Some(found) = self.0.iter().find(|found| found.url == url) {
            report("reject", &found.report(challenges));
        }
    }

    fn take(&mut self, url: &str) -> Option<Found> {
        let at = self.0.iter().position(|found| found.url == url)?;
        Some(self.0.swap_remove(at))
    }

    fn keep(&mut self, url: &str, description: String) {
        let url = url.to_owned();
        self.0.push(Found { url, description });
    }
}

impl Found {
    /// Returns what the helpers are told of the login when it was tried: with the challenges of the answer to it.
    fn report(&self, challenges: &[String]) -> String {
        let mut report = String::new();
        let lines = self.description.lines();
        let lines = lines.filter(|line| !line.starts_with("wwwauth[]="));
        lines.for_each(|line| add(&mut report, line));
        if !report.is_empty() {
            challenge_lines(challenges).for_each(|line| add(&mut report, &line));
        }
        report
    }
}

fn add(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn challenge_lines(challenges: &[String]) -> impl Iterator<Item = String> {
    let is_one_line = |challenge: &&String| !challenge.contains(['\n', '\r', '\0']);
    let lines = challenges.iter().filter(is_one_line);
    lines.map(|challenge| format!("wwwauth[]={challenge}"))
}

/// The last value of a field.
fn field<'d>(description: &'d str, name: &str) -> Option<&'d str> {
    let value = |line: &'d str| line.strip_prefix(name)?.strip_prefix('=');
    description.lines().rev().find_map(value)
}

/// The login in the output of `git credential fill`.
fn login(output: &str) -> Option<Login> {
    let username = field(output, "username");
    if let (Some(authtype), Some(credential)) =
        (field(output, "authtype"), field(output, "credential"))
    {
        return Some(Login {
            username: username.unwrap_or_default().to_owned(),
            password: credential.to_owned(),
            authtype: Some(authtype.to_owned()),
        });
    }
    Some(Login::basic(username?, field(output, "password")?))
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
    let mut description = format!("protocol={protocol}\nhost={host}\n");
    if !path.is_empty() {
        description.push_str(&format!("path={path}\n"));
    }
    if let Some(username) = username {
        description.push_str(&format!("username={username}\n"));
    }
    Some(description)
}

/// The result of `git credential fill`.
struct Filled {
    success: bool,
    output: String,
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
    let mut output = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut output)?;
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

/// Reports to the user's helpers whether a login of theirs was accepted.
fn report(action: &str, description: &str) {
    if description.is_empty() {
        return;
    }
    let mut git = credential(action, Asked::Person);
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
        let _ = stdin.write_all(description.as_bytes());
    }
    if let Ok(status) = child.wait() {
        log.ended(status);
    }
}

/// Returns a `git credential` that asks no more than these.
fn credential(action: &str, asked: Asked) -> Command {
    if asked == Asked::Programs {
        let mut command = git::of_user_at_large();
        command
            .args(["-c", "core.askPass=", "credential", action])
            .env_remove("GIT_ASKPASS")
            .env_remove("SSH_ASKPASS")
            .env("GIT_TERMINAL_PROMPT", "0")
            // Git Credential Manager has a word of its own for that.
            .env("GCM_INTERACTIVE", "never");
        return command;
    }
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
