//! Which ssh the user has chosen, found as git finds it, and how it is run: fenced, or where the user stands.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{address::upstream_url::UpstreamUrl, git, protocol::ClientContext, text::shell_quoted};

/// The default port of ssh. It is not passed to ssh, so that the user's configuration of ssh may say another one.
const PORT: u16 = 22;

/// The user's ssh.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Client {
    program: Program,
    /// The mirror's own key; with it no other signs in, and it is always OpenSSH that runs.
    pub key: Option<PathBuf>,
    /// The kind of the program.
    pub variant: Variant,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Program {
    /// A line for the shell: `GIT_SSH_COMMAND`, `core.sshCommand`.
    Line(String),
    /// A program and no arguments: `GIT_SSH`, or just `ssh`.
    Name(String),
}

/// The kinds of ssh that git tells apart.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Takes OpenSSH's options.
    OpenSsh,
    /// The kind is not known before the program runs.
    Unknown,
    /// Takes other ones, which git knows under this name.
    Other(String),
}

impl Client {
    /// Finds the ssh of the client that sent a request, in the order of git (`get_ssh_command`).
    #[must_use]
    pub fn new(context: &ClientContext) -> Self {
        let last = |list: &[(String, String)], key: &str| {
            let mut found = list.iter().rev().filter(|(name, _)| name == key);
            found.next().map(|(_, value)| value.clone())
        };
        let env = |name: &str| last(&context.env, name).filter(|value| !value.is_empty());
        let line = env("GIT_SSH_COMMAND").or_else(|| last(&context.config, "core.sshcommand"));
        let program = match line {
            Some(line) => Program::Line(line),
            None => Program::Name(env("GIT_SSH").unwrap_or_else(|| "ssh".into())),
        };
        let variant = env("GIT_SSH_VARIANT").or_else(|| last(&context.config, "ssh.variant"));
        let variant = match variant.as_deref() {
            None => match &program {
                Program::Line(line) => Variant::of_program(&first_word(line)),
                Program::Name(name) => Variant::of_program(name),
            },
            Some("auto") => Variant::Unknown,
            Some(name @ ("plink" | "putty" | "tortoiseplink" | "simple")) => {
                Variant::Other(name.to_owned())
            }
            Some(_) => Variant::OpenSsh,
        };
        Self {
            program,
            key: None,
            variant,
        }
    }

    /// The ssh of a mirror that has a key of its own. What the user's git runs in its place may have another.
    #[must_use]
    pub fn with_key(key: &Path) -> Self {
        Self {
            program: Program::Name("ssh".into()),
            key: Some(key.to_owned()),
            variant: Variant::OpenSsh,
        }
    }

    /// Returns the identity of this ssh: another one may sign in as somebody else.
    #[must_use]
    pub fn identity(&self) -> [&str; 2] {
        match &self.program {
            Program::Line(line) => ["line", line],
            Program::Name(name) => ["name", name],
        }
    }

    /// The command of this client with `args` behind the user's own arguments, in the environment of a fenced git.
    pub fn fenced(
        &self,
        args: impl IntoIterator<Item = String>,
        environment: &[(String, String)],
    ) -> Command {
        let mut command = self.command(args, |program| Command::new(git::found(program)));
        command
            .env_clear()
            .envs(git::environment())
            // Not the agent of whoever happened to start the daemon.
            .env_remove("SSH_AUTH_SOCK")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .env(git::GUARD, "1")
            .env("LC_ALL", "C")
            .env("GIT_PROTOCOL", "version=2")
            .stdin(Stdio::null())
            .current_dir("/");
        command
    }

    /// Returns the command in the user's directory, as their git runs it.
    pub fn of_user(&self, args: impl IntoIterator<Item = String>) -> Command {
        let mut command = self.command(args, |program| git::as_user(program));
        git::leave_repository(&mut command).env("GIT_PROTOCOL", "version=2");
        command
    }

    fn command(
        &self,
        args: impl IntoIterator<Item = String>,
        run: impl Fn(&str) -> Command,
    ) -> Command {
        let mut command = match &self.program {
            Program::Line(line) => {
                let mut shell = run("sh");
                shell.args(["-c", &format!("{line} \"$@\""), line]);
                shell
            }
            Program::Name(name) => run(name),
        };
        command.args(args);
        command
    }

    /// Returns the program with these options, as a line for the shell.
    #[must_use]
    pub fn line(&self, options: &[String]) -> String {
        let mut line = match &self.program {
            Program::Line(line) => line.clone(),
            Program::Name(name) => shell_quoted(name),
        };
        for option in options {
            line.push(' ');
            line.push_str(&shell_quoted(option));
        }
        line
    }

    /// The variables that make git run it; with options for OpenSSH where it is that.
    #[must_use]
    pub fn for_git(&self, options: Option<&[String]>) -> Vec<(String, String)> {
        let mut variables = vec![("GIT_ALLOW_PROTOCOL", "ssh".to_owned())];
        match (&self.program, options) {
            (Program::Line(line), None) => variables.push(("GIT_SSH_COMMAND", line.clone())),
            (Program::Name(name), None) => variables.push(("GIT_SSH", name.clone())),
            (_, Some(options)) => variables.push(("GIT_SSH_COMMAND", self.line(options))),
        }
        let variant = match (&self.variant, options) {
            (_, Some(_)) => "ssh",
            (Variant::Other(name), None) => name,
            // It did not understand an option of OpenSSH's.
            (Variant::OpenSsh | Variant::Unknown, None) => "simple",
        };
        variables.push(("GIT_SSH_VARIANT", variant.to_owned()));
        let owned = variables.into_iter();
        owned
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

impl Variant {
    fn of_program(program: &str) -> Self {
        let name = program.rsplit('/').next().unwrap_or(program);
        let name = name.to_ascii_lowercase();
        match name.strip_suffix(".exe").unwrap_or(&name) {
            "ssh" => Self::OpenSsh,
            name @ ("plink" | "tortoiseplink") => Self::Other(name.to_owned()),
            _ => Self::Unknown,
        }
    }
}

/// The first word of a line for the shell, without its quotes.
fn first_word(line: &str) -> String {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = line.trim_start().chars();
    while let Some(char) = chars.next() {
        match (char, quote) {
            ('\'' | '"', None) => quote = Some(char),
            (char, Some(open)) if char == open => quote = None,
            ('\\', None | Some('"')) => word.extend(chars.next()),
            (char, None) if char.is_whitespace() => break,
            (char, _) => word.push(char),
        }
    }
    word
}

/// Returns the arguments of ssh after its options: the host, and the program of git to run there.
pub fn args(url: &UpstreamUrl, program: &str) -> impl Iterator<Item = String> + use<> {
    let path = shell_quoted(url.ssh_path().unwrap_or_default());
    let protocol = ["-o".into(), "SendEnv=GIT_PROTOCOL".into()];
    let port = port(url).into_iter();
    let port = port.flat_map(|port| ["-p".to_owned(), port.to_string()]);
    let rest = [destination(url), format!("{program} {path}")];
    protocol.into_iter().chain(port).chain(rest)
}

/// Returns `user@host`, or the host alone.
#[must_use]
pub fn destination(url: &UpstreamUrl) -> String {
    let host = url.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match url.user() {
        Some(user) => format!("{user}@{host}"),
        None => host.to_owned(),
    }
}

/// The port, where that is to be said.
#[must_use]
pub fn port(url: &UpstreamUrl) -> Option<u16> {
    url.port().filter(|port| *port != PORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(env: &[(&str, &str)], config: &[(&str, &str)]) -> Client {
        let owned = |list: &[(&str, &str)]| {
            let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            list.iter().map(pair).collect()
        };
        Client::new(&ClientContext {
            config: owned(config),
            env: owned(env),
            credential_settings: [0; 32],
        })
    }

    #[test]
    fn the_users_ssh_is_found_in_the_order_of_git() {
        let (command, config) = (("GIT_SSH_COMMAND", "a -v"), ("core.sshcommand", "b"));
        let program = ("GIT_SSH", "c");
        let all = client(&[program, command], &[config]);
        assert_eq!(all.identity(), ["line", "a -v"]);
        assert_eq!(client(&[program], &[config]).identity(), ["line", "b"]);
        assert_eq!(client(&[program], &[]).identity(), ["name", "c"]);
        assert_eq!(client(&[], &[]).identity(), ["name", "ssh"]);
    }

    #[test]
    fn the_kind_of_ssh_is_told_as_git_tells_it() {
        let other = |name: &str| Variant::Other(name.to_owned());
        let of_line = |line: &str| client(&[("GIT_SSH_COMMAND", line)], &[]).variant;
        for line in [
            "ssh",
            "/usr/bin/ssh -v",
            "'/a b/SSH.EXE' -4",
            "\"/a b\"/ssh",
            "/a\\ b/ssh",
        ] {
            assert!(of_line(line) == Variant::OpenSsh, "{line}");
        }
        assert!(of_line("plink -batch") == other("plink"));
        assert!(of_line("TortoisePlink.exe") == other("tortoiseplink"));
        assert!(of_line("env A=b ssh") == Variant::Unknown);
        let variant =
            |variant: &str| client(&[("GIT_SSH", "ssh")], &[("ssh.variant", variant)]).variant;
        assert!(variant("simple") == other("simple") && variant("auto") == Variant::Unknown);
        assert!(variant("whatever") == Variant::OpenSsh);
        let env = [("GIT_SSH_VARIANT", "putty")];
        assert!(client(&env, &[("ssh.variant", "ssh")]).variant == other("putty"));
    }
}
