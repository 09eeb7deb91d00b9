//! The command loop of a remote helper, in the order in which git sends.

use std::io::{self, Write};

use common::{
    errand, progress::masked, protocol::Failure, standing::UserConfig, upstream_url::Address,
};

use crate::{push, stream};

/// No line that git sends comes near this.
const LONGEST_LINE: usize = 1 << 16;

/// What git said of how to behave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// `option progress`: git has looked at the terminal, at `--progress` and at `-q`.
    pub progress: bool,
    /// `option verbosity`: 0 is quiet, 1 the default.
    pub verbosity: u32,
}

/// What a person asked for, and from where.
pub(crate) struct Errand {
    /// The remote's name, or its URL when it has none.
    pub remote: String,
    /// The mirror that is meant.
    pub address: Address,
    /// What git would read here.
    pub config: UserConfig,
    /// How to behave.
    pub options: Options,
}

impl Errand {
    /// The user name that was typed into the URL.
    pub(crate) fn username(&self) -> Option<&str> {
        match &self.address {
            Address::Url(_, Some(login)) => Some(login.username.as_str()),
            _ => None,
        }
    }
}

/// Obeys git until it is done.
///
/// # Errors
/// Fails with what the person should read; git dies with us.
pub(crate) fn run(remote: &str, address: &str) -> Result<(), Failure> {
    let mut options = Options {
        progress: false,
        verbosity: 1,
    };
    loop {
        let line = read_line().map_err(|err| Failure::io("cannot hear git", &err))?;
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["capabilities"] => answer("connect\noption\n\n")?,
            ["option", "progress", value] => {
                options.progress = *value == "true";
                answer("ok\n")?;
            }
            ["option", "verbosity", value] => {
                options.verbosity = value.parse().unwrap_or(1);
                answer("ok\n")?;
            }
            // Depth, filter and the like travel in the protocol that `connect` carries.
            ["option", ..] => answer("unsupported\n")?,
            ["connect", service] => return connect(service, remote, address, options),
            // git closes its end, or sends an empty line, when it is done.
            [""] => return Ok(()),
            _ => {
                return Err(Failure::here(format!(
                    "git sent '{}', which is not understood",
                    masked(line.as_bytes())
                )));
            }
        }
    }
}

/// Becomes the other end of git's line.
fn connect(service: &str, remote: &str, typed: &str, options: Options) -> Result<(), Failure> {
    let config = UserConfig::read();
    let config = config.map_err(|err| Failure::io("cannot read git's configuration", &err))?;
    let errand = Errand {
        remote: remote.to_owned(),
        address: errand::resolve(typed, &config)?,
        config,
        options,
    };
    match service {
        "git-upload-pack" | "git-upload-archive" => stream::run(&errand, service),
        "git-receive-pack" => push::run(&errand),
        _ => Err(Failure::here(format!(
            "git wants '{}', which is not served",
            masked(service.as_bytes())
        ))),
    }
}

/// Reads one line and not a byte more: what follows a `connect` belongs to the program that we become.
fn read_line() -> io::Result<String> {
    let stdin = rustix::stdio::stdin();
    let mut line = Vec::new();
    let mut byte = [0];
    while rustix::io::retry_on_intr(|| rustix::io::read(stdin, &mut byte))? == 1 && byte != *b"\n" {
        if line.len() == LONGEST_LINE {
            return Err(io::Error::other("a line without end"));
        }
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// Says something to git.
///
/// # Errors
/// Fails when git has gone.
pub(crate) fn answer(words: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout();
    let said = stdout
        .write_all(words.as_bytes())
        .and_then(|()| stdout.flush());
    said.map_err(|err| Failure::io("cannot answer git", &err))
}
