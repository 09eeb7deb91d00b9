//! The options that say what a mirror signs in with. Secrets are read from stdin or the terminal, never from the command
//! line.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use clap::Args;
use common::{
    git::{ask, client_context::UserConfig},
    protocol::{self, Failure, FailureKind, Login, OrFailure, Secret},
    text::{io_message, masked},
};

/// The length of a secret on stdin, far above that of any password, token or passphrase.
const MAX_INPUT_BYTES: u64 = 1 << 16;

/// The options that say what a mirror signs in with.
#[derive(Args)]
#[command(next_help_heading = "Signing in")]
pub(crate) struct CredentialOptions {
    /// Sign in with nothing, even if your git knows a login
    #[arg(long, conflicts_with_all = ["username", "ssh_key"])]
    anonymous: bool,
    /// Sign in with this name and a password or token, which is asked for
    ///
    /// It is kept in your keyring, or where there is none in a file that only you can read,
    /// in plain text. GitLab takes a personal access token (scopes read_repository,
    /// write_repository), with any name.
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "ssh_key",
        verbatim_doc_comment
    )]
    username: Option<String>,
    /// Read the password or token from stdin
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// Sign in with this private ssh key alone, which is used where it lies
    ///
    /// Its passphrase, if it has one, is asked for and kept as a password is.
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    ssh_key: Option<PathBuf>,
    /// Read the key's passphrase from stdin
    #[arg(long, requires = "ssh_key")]
    passphrase_stdin: bool,
}

impl CredentialOptions {
    /// Returns the credential of these options, and asks for what is secret in it; `None` if there is none of them. `at`
    /// returns what the question names: the origin of the upstream, or the mirror.
    pub(super) fn read(
        &self,
        at: impl FnOnce() -> Result<String, Failure>,
        config: &UserConfig,
    ) -> Result<Option<protocol::Credential>, Failure> {
        if self.anonymous {
            return Ok(Some(protocol::Credential::Anonymous));
        }
        if let Some(username) = &self.username {
            let password = self.password(username, at, config)?.into_inner();
            let login = Login::basic(username.clone(), password);
            return Ok(Some(protocol::Credential::Password(login)));
        }
        let Some(file) = &self.ssh_key else {
            return Ok(None);
        };
        let file = private_key(file)?;
        let passphrase = if self.passphrase_stdin {
            Some(secret_from_stdin("passphrase")?)
        } else if has_passphrase(&file) {
            // If nobody can be asked here, ssh asks during a sync, or its agent has the key.
            let prompt = format!("Enter passphrase for key '{}': ", display_path(&file));
            ask_secret(&prompt, config)?.filter(|Secret(text)| !text.is_empty())
        } else {
            None
        };
        Ok(Some(protocol::Credential::SshKey { file, passphrase }))
    }

    fn password(
        &self,
        username: &str,
        at: impl FnOnce() -> Result<String, Failure>,
        config: &UserConfig,
    ) -> Result<Secret, Failure> {
        // In Basic authentication the first colon ends the name (RFC 7617).
        if username.contains(|c: char| c == ':' || c.is_control()) {
            let failure = format!("'{}' is not a user name", masked(username.as_bytes()));
            return Err(Failure::new(FailureKind::Usage, failure)
                .hinted("it has no colon, and no control characters"));
        }
        if self.password_stdin {
            return secret_from_stdin("password");
        }
        let name = masked(username.as_bytes());
        let at = at()?;
        let password = ask_secret(&format!("Password for '{name}' at '{at}': "), config)?;
        password
            .filter(|Secret(text)| !text.is_empty())
            .ok_or_else(|| {
                let failure =
                    format!("could not read the password for '{name}': nobody can be asked");
                Failure::here(failure).hinted("give it on stdin: --password-stdin")
            })
    }
}

/// Asks a question on the terminal without echo; `None` if nobody can be asked.
pub(super) fn ask_secret(prompt: &str, config: &UserConfig) -> Result<Option<Secret>, Failure> {
    ask::secret(prompt, config).or_failure("cannot ask")
}

/// Reads a secret from stdin: one line, without its end.
pub(super) fn secret_from_stdin(what: &str) -> Result<Secret, Failure> {
    let mut text = String::new();
    io::stdin()
        .lock()
        .take(MAX_INPUT_BYTES)
        .read_to_string(&mut text)
        .or_failure(format_args!("cannot read the {what} from stdin"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.contains(['\n', '\r', '\0']) {
        let failure = Failure::new(
            FailureKind::Usage,
            format!("the {what} on stdin is not one line"),
        );
        return Err(failure);
    }
    Ok(Secret(line.to_owned()))
}

/// Checks that a file looks like a private key, and returns its absolute path.
fn private_key(file: &Path) -> Result<PathBuf, Failure> {
    let bad = |why: String| {
        Failure::new(
            FailureKind::Usage,
            format!("cannot use the key '{}': {why}", display_path(file)),
        )
    };
    let path = std::path::absolute(file).map_err(|err| bad(io_message(&err)))?;
    let text = fs::read(&path).map_err(|err| bad(io_message(&err)))?;
    if ["ssh-", "ecdsa-", "sk-"]
        .iter()
        .any(|kind| text.starts_with(kind.as_bytes()))
    {
        return Err(bad("it is a public one".into()).hinted("name the file of the private key"));
    }
    if !text.starts_with(b"-----BEGIN ") {
        return Err(bad("it is not a private key".into()));
    }
    if path
        .to_str()
        .is_none_or(|path| path.contains(char::is_control))
    {
        return Err(bad("its path is not plain text".into()));
    }
    Ok(path)
}

/// Whether ssh-keygen needs a passphrase to read a key.
fn has_passphrase(key: &Path) -> bool {
    let read = Command::new("ssh-keygen")
        .args(["-y", "-P", "", "-f"])
        .arg(key)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    read.is_ok_and(|status| !status.success())
}

fn display_path(path: &Path) -> String {
    masked(path.to_string_lossy().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_private_key_is_refused_with_the_reason() {
        let dir = tempfile::tempdir().expect("temp dir");
        for (name, content, reason) in [
            ("missing", None, "No such file or directory"),
            (
                "public",
                Some("ssh-ed25519 AAAA me@host\n"),
                "it is a public one",
            ),
            ("text", Some("hello\n"), "it is not a private key"),
        ] {
            let file = dir.path().join(name);
            if let Some(content) = content {
                fs::write(&file, content).expect("written");
            }
            let failure = private_key(&file).expect_err(name);
            let message = format!("cannot use the key '{}': ", file.display());
            assert_eq!(failure.message, message + reason);
        }
        let file = dir.path().join("private");
        fs::write(&file, "-----BEGIN OPENSSH PRIVATE KEY-----\n").expect("written");
        assert_eq!(private_key(&file).expect("a key"), file);
    }
}
