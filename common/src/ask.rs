//! Puts a question to the person: what `git credential` knows where they stand.

use std::{
    env, fs,
    io::{self, Write},
    path::PathBuf,
    process::Stdio,
};

use crate::{
    git, netrc,
    protocol::{Ask, Login},
};

/// A login that git's credential helpers gave, with the words in which they gave it.
pub struct Found {
    /// What to sign in with.
    pub login: Login,
    /// Everything that `git credential fill` printed: the helpers want it back, with fields that we do not know. Empty
    /// when it was not they who knew.
    description: Vec<u8>,
}

/// Asks the user's credential helpers, without a terminal.
///
/// `None` when they know nothing: git then says itself on stderr what it missed, which is repeated by nobody.
///
/// # Errors
/// Fails when git cannot be run.
pub fn ask(question: &Ask) -> io::Result<Option<Found>> {
    let Ask::Login {
        url,
        username,
        challenges,
    } = question;
    let Some(mut description) = describe(url, username.as_deref()) else {
        return Ok(None);
    };
    if let Some(login) = of_netrc(url, username.as_deref()) {
        return Ok(Some(Found {
            login,
            description: Vec::new(),
        }));
    }
    for challenge in challenges
        .iter()
        .filter(|challenge| !challenge.contains(['\n', '\r', '\0']))
    {
        description.push_str(&format!("wwwauth[]={challenge}\n"));
    }
    let (success, output) = credential("fill", description.as_bytes())?;
    let field = |name: &str| {
        let text = std::str::from_utf8(&output).ok()?;
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(str::to_owned)
    };
    match (success, field("username"), field("password")) {
        (true, Some(username), Some(password)) => Ok(Some(Found {
            login: Login { username, password },
            description: output,
        })),
        _ => Ok(None),
    }
}

impl Found {
    /// Tells the helpers that the login worked, so that they may keep it.
    pub fn approve(&self) {
        // A helper that cannot store costs the next fetch a question; this one has what it came for.
        let _ = credential("approve", &self.description);
    }

    /// Tells the helpers that the login was refused, so that they do not give it again.
    pub fn reject(&self) {
        let _ = credential("reject", &self.description);
    }
}

/// What `~/.netrc` says; git's own http client looks there before any helper is asked.
fn of_netrc(url: &str, username: Option<&str>) -> Option<Login> {
    let text = fs::read_to_string(PathBuf::from(env::var_os("HOME")?).join(".netrc")).ok()?;
    let authority = url.split_once("://")?.1.split('/').next()?;
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    netrc::login(&text, host, username)
}

/// The URL in the words of git's credential protocol; git itself drops the path where `credential.useHttpPath` is off.
fn describe(url: &str, username: Option<&str>) -> Option<String> {
    let (protocol, rest) = url.split_once("://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut description = format!("protocol={protocol}\nhost={host}\npath={path}\n");
    if let Some(username) = username {
        description.push_str(&format!("username={username}\n"));
    }
    Some(description)
}

fn credential(action: &str, description: &[u8]) -> io::Result<(bool, Vec<u8>)> {
    if description.is_empty() {
        return Ok((true, Vec::new()));
    }
    let mut child = git::of_user()
        .args(["credential", action])
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // git may have ended already, for example because a helper failed; its status tells.
        let _ = stdin.write_all(description);
    }
    let output = child.wait_with_output()?;
    Ok((output.status.success(), output.stdout))
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
