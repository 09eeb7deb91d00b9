//! The command loop of a remote helper, in the order in which git sends.

use std::{
    collections::BTreeSet,
    env,
    io::{self, Write},
};

use common::{
    address::upstream_url::Address,
    client::resolve,
    git::client_context::UserConfig,
    protocol::{Failure, Lack, OrFailure},
    text::masked,
};

use crate::{
    fetch::{Listed, local_repo::LocalRepo, pass_through, serving::Serving, stream},
    login_in_url,
    options::Options,
    push,
};

/// No line that git sends comes near this.
const MAX_LINE_BYTES: usize = 1 << 16;

/// What a person asked for, and from where.
pub(crate) struct Invocation {
    /// The remote's name, or its URL when it has none.
    pub remote: String,
    /// The mirror that is meant.
    pub address: Address,
    /// What git would read here.
    pub config: UserConfig,
    /// The repository that git runs us in.
    pub place: Option<LocalRepo>,
    /// How to behave.
    pub options: Options,
}

impl Invocation {
    /// The user name that was typed into the URL.
    pub(crate) fn username(&self) -> Option<&str> {
        match &self.address {
            Address::Url(_, Some(login)) => Some(login.username.as_str()),
            _ => None,
        }
    }

    /// Whether git fetches by itself what was left out of what is there, because it is needed now.
    pub(crate) fn fetches_what_was_left_out(&self) -> bool {
        let options = &self.options;
        // git says so to itself then, and to nobody else: not in a file.
        let said = env::var("GIT_CONFIG_PARAMETERS").unwrap_or_default();
        let said = said.to_ascii_lowercase();
        let is_by_itself = said.contains("fetch.negotiationalgorithm")
            && self.config.get("fetch.negotiationalgorithm") == Some("noop");
        let promised = options.filter.is_some() && options.from_promisor;
        is_by_itself && promised && options.depth.is_none() && self.is_partial()
    }

    /// Whether the repository names its objects by SHA-256.
    pub(crate) fn is_sha256(&self) -> bool {
        let format = self.config.get("extensions.objectformat");
        format.is_some_and(|format| format.eq_ignore_ascii_case("sha256"))
    }

    /// Whether some of what the repository has the history or the objects of is not there on purpose.
    pub(crate) fn is_partial(&self) -> bool {
        let place = self.place.as_ref();
        place.is_some_and(|place| place.is_partial(&self.config))
    }
}

/// Obeys git until it is done.
///
/// # Errors
/// Fails with what the person should read; git dies with us.
pub(crate) fn run(remote: &str, address: &str) -> Result<(), Failure> {
    let mut options = Options::new();
    let mut listed: Option<Listed> = None;
    loop {
        let line = read_line().or_failure("cannot hear git")?;
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["capabilities"] => {
                answer("connect\nfetch\noption\ncheck-connectivity\nobject-format\n\n")?;
            }
            ["option", name, value @ ..] => answer(options.set(name, value))?,
            ["connect", service] => match (*service, &mut listed) {
                // It is asked once more, before anything is fetched.
                ("git-upload-pack", Some(listed)) => {
                    listed.prepare(&options)?;
                    answer("fallback\n")?;
                }
                ("git-upload-pack", None) => {
                    let invocation = invocation(remote, address, options.clone())?;
                    if pass_through::run(&invocation)? {
                        return Ok(());
                    }
                    match Listed::begin(invocation)? {
                        Ok(begun) => listed = Some(begun),
                        Err(serving) => return stream::run(&serving, service),
                    }
                    answer("fallback\n")?;
                }
                _ => return connect(service, remote, address, options),
            },
            ["list"] => {
                let Some(listed) = &listed else {
                    return Err(not_understood(&line));
                };
                let mut lines = listed.lines();
                lines.push(b'\n');
                write(&lines)?;
            }
            ["fetch", first, ..] => {
                let Some(listed) = &mut listed else {
                    return Err(not_understood(&line));
                };
                let wants = read_wants(first)?;
                write(&listed.fetch(&wants, &options)?)?;
            }
            // git closes its end, or sends an empty line, when it is done.
            [""] => return listed.map_or(Ok(()), |mut listed| listed.confirm()),
            _ => return Err(not_understood(&line)),
        }
    }
}

fn not_understood(line: &str) -> Failure {
    Failure::here(format!(
        "git sent '{}', which is not understood",
        masked(line.as_bytes())
    ))
}

/// Becomes the other end of git's line.
fn connect(service: &str, remote: &str, typed: &str, options: Options) -> Result<(), Failure> {
    let invocation = invocation(remote, typed, options)?;
    match service {
        "git-upload-archive" => stream::run(&Serving::begin(&invocation, Lack::News)?, service),
        "git-receive-pack" => push::run(&invocation),
        _ => Err(Failure::here(format!(
            "git wants '{}', which is not served",
            masked(service.as_bytes())
        ))),
    }
}

fn invocation(remote: &str, typed: &str, options: Options) -> Result<Invocation, Failure> {
    let config = UserConfig::read().or_failure("cannot read git's configuration")?;
    login_in_url::refuse(remote, typed, &config)?;
    let place = LocalRepo::find().or_failure("cannot look at the repository")?;
    Ok(Invocation {
        place,
        remote: remote.to_owned(),
        address: resolve::resolve(typed, &config)?,
        config,
        options,
    })
}

/// Reads what is wanted, until a blank line: objects, in hexadecimal.
fn read_wants(first: &str) -> Result<BTreeSet<Vec<u8>>, Failure> {
    let mut wants = BTreeSet::from([first.as_bytes().to_vec()]);
    loop {
        let line = read_line().or_failure("cannot hear git")?;
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            [""] => return Ok(wants),
            ["fetch", object, ..] => drop(wants.insert(object.as_bytes().to_vec())),
            _ => return Err(not_understood(&line)),
        }
    }
}

/// Reads one line and not a byte more: what follows a `connect` belongs to the program that we become.
fn read_line() -> io::Result<String> {
    let stdin = rustix::stdio::stdin();
    let mut line = Vec::new();
    let mut byte = [0];
    while rustix::io::retry_on_intr(|| rustix::io::read(stdin, &mut byte))? == 1 && byte != *b"\n" {
        if line.len() == MAX_LINE_BYTES {
            return Err(io::Error::other("a line without end"));
        }
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// Says something to git.
pub(crate) fn answer(words: &str) -> Result<(), Failure> {
    write(words.as_bytes())
}

fn write(words: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout();
    stdout
        .write_all(words)
        .and_then(|()| stdout.flush())
        .or_failure("cannot answer git")
}
