//! The command loop of a remote helper (gitremote-helpers(7)). For a fetch, git sends `connect`, `list`, `connect` again, and
//! `fetch`; for a push, `connect`. [`crate::fetch`] and [`crate::push`] carry them out. Where the mirror cannot serve, they
//! go to upstream by git's own transport ([`crate::through`]).

use std::{collections::BTreeSet, io, process};

use common::{
    address::upstream_url::Address,
    client::{local_path, resolve},
    git::reading_config::ReadingConfig,
    protocol::{Failure, Lack},
    refspec::OnDemand,
    text::masked,
};

use crate::{
    daemon,
    fetch::{Fetch, Listed, leased_mirror::LeasedMirror, new_remote, upload_pack},
    git_line::{answer, not_understood, read_command, read_command_alone},
    invocation::Invocation,
    options::Options,
    push,
    through::{
        self, Way,
        bundle::Bundle,
        first_part,
        http::Commands,
        signed::{self, Signed},
    },
};

/// The exit code of a server program of git's when it dies.
const EXIT_DIED: i32 = 128;

/// Obeys git's commands until git is done.
///
/// # Errors
/// Fails with what the person should read; git dies with this program.
pub(crate) fn run(remote: &str, address: &str) -> Result<(), Failure> {
    // Nothing can be asked without it, and to read it takes longer than to start this program.
    let mut config = Some(ReadingConfig::begin());
    let mut options = Options::new();
    let mut listed: Option<Listed> = None;
    loop {
        let command = match listed {
            None => read_command_alone()?,
            Some(_) => read_command()?,
        };
        match command.split(' ').collect::<Vec<_>>().as_slice() {
            ["capabilities"] => {
                answer("connect\nfetch\npush\noption\ncheck-connectivity\nobject-format\n\n")?;
            }
            ["option", name, value @ ..] => answer(options.set(name, value))?,
            ["connect", service] => match (*service, &mut listed) {
                // git asks for it a second time, before it fetches anything.
                ("git-upload-pack", Some(listed)) => {
                    listed.prepare(&options)?;
                    answer("fallback\n")?;
                }
                _ => {
                    let mut new = || {
                        let config = config.take().unwrap_or_else(ReadingConfig::begin);
                        invocation(remote, address, config, options.clone())
                    };
                    let connected = match connect(service, new()?) {
                        Err(failure) => through::instead(&new()?, service, failure)?.into(),
                        Ok(connected) => connected,
                    };
                    match connected {
                        Connected::Done => return Ok(()),
                        Connected::Commands(commands) => return pass_on(*commands, &new()?),
                        Connected::Bundle(bundle) => return read_bundle(&bundle, options),
                        Connected::Listed(begun) => {
                            listed = Some(*begun);
                            answer("fallback\n")?;
                        }
                    }
                }
            },
            ["list"] => {
                let Some(listed) = &listed else {
                    return Err(not_understood(&command));
                };
                let mut lines = listed.ref_lines();
                lines.push(b'\n');
                answer(lines)?;
            }
            ["fetch", first, ..] => {
                let Some(listed) = &mut listed else {
                    return Err(not_understood(&command));
                };
                let wants = read_wants(first)?;
                answer(listed.fetch(&wants, &options)?)?;
            }
            // git closes its end, or sends an empty line, when it is done.
            [""] => return listed.map_or(Ok(()), |mut listed| listed.confirm()),
            _ => return Err(not_understood(&command)),
        }
    }
}

/// Finds out what this run is about. A name that no mirror has is a path, if there is such a one in the current directory.
fn invocation(
    remote: &str,
    address: &str,
    config: io::Result<ReadingConfig>,
    options: Options,
) -> Result<Invocation, Failure> {
    let mut invocation = Invocation::new(remote, address, config, options)?;
    if let Address::Name(name) = &invocation.address
        && let Some(path) = local_path::existing(name.as_ref())
        && !daemon::has_mirror(name)?
    {
        invocation.address = resolve::resolve(&path, &invocation.config)?;
    }
    new_remote::write_absolute_path(&invocation, address);
    Ok(invocation)
}

/// What git has got in answer to `connect`.
enum Connected {
    /// A server program, which has served it.
    Done,
    /// `fallback`: it goes on by commands that git's own helper carries out.
    Commands(Box<Commands>),
    /// Nothing yet: it goes on by the commands of a fetch from a bundle.
    Bundle(Bundle),
    /// Nothing yet: it goes on by the commands of a fetch from the mirror.
    Listed(Box<Listed>),
}

impl From<Way> for Connected {
    fn from(way: Way) -> Self {
        match way {
            Way::Done => Self::Done,
            Way::Commands(commands) => Self::Commands(commands),
        }
    }
}

/// Connects git to a server program, or says how git is to go on. Where this fails git has not been answered.
fn connect(service: &str, invocation: Invocation) -> Result<Connected, Failure> {
    if let Some(bundle) = Bundle::find(&invocation, service)? {
        return Ok(Connected::Bundle(bundle));
    }
    if let Some(reason) = through::wanted_by(&invocation, service) {
        return Ok(through::as_wanted(&invocation, service, reason)?.into());
    }
    match service {
        "git-upload-pack" => {
            // A clone of a part, or a lazy fetch, where there is no mirror yet.
            if first_part::run(&invocation)? {
                return Ok(Connected::Done);
            }
            match Fetch::begin(invocation)? {
                Fetch::Listed(begun) => return Ok(Connected::Listed(begun)),
                Fetch::Streamed(mirror, wanted) => upload_pack::run(&mirror, service, &wanted)?,
            }
        }
        "git-upload-archive" => {
            let mirror = LeasedMirror::sync(&invocation, Lack::News)?;
            upload_pack::run(&mirror, service, &OnDemand::default())?;
        }
        "git-receive-pack" => {
            if let Some(signed) = Signed::find(&invocation)
                && let Some(way) = signed::push(&invocation, signed)?
            {
                return Ok(way.into());
            }
            if !push::run(&invocation)? {
                // git fails where the server program does.
                process::exit(EXIT_DIED);
            }
        }
        _ => {
            return Err(Failure::here(format!(
                "git wants '{}', which is not served",
                masked(service.as_bytes())
            )));
        }
    }
    Ok(Connected::Done)
}

/// Passes git's commands on to git's own helper until git is done.
fn pass_on(mut commands: Commands, invocation: &Invocation) -> Result<(), Failure> {
    loop {
        let command = read_command()?;
        let passed_on = match command.split(' ').collect::<Vec<_>>().as_slice() {
            [""] => return commands.finish(invocation),
            ["option", ..] => commands.pass_on_option(&command),
            // git asks again whether it can connect.
            ["connect", _] => {
                answer("fallback\n")?;
                continue;
            }
            ["list", ..] => commands.pass_on(&[command]),
            ["fetch" | "push", ..] => {
                let mut lines = vec![command];
                while lines.last().is_some_and(|line| !line.is_empty()) {
                    lines.push(read_command()?);
                }
                commands.check_push(&lines)?;
                commands.pass_on(&lines)
            }
            _ => return Err(not_understood(&command)),
        };
        if let Err(err) = passed_on {
            return commands.give_up(&err);
        }
    }
}

/// Obeys git's commands for a fetch from a bundle.
fn read_bundle(bundle: &Bundle, mut options: Options) -> Result<(), Failure> {
    answer("fallback\n")?;
    loop {
        let command = read_command()?;
        match command.split(' ').collect::<Vec<_>>().as_slice() {
            [""] => return Ok(()),
            ["option", name, value @ ..] => answer(options.set(name, value))?,
            // git asks again whether it can connect.
            ["connect", _] => answer("fallback\n")?,
            ["list"] => answer(bundle.ref_lines()?)?,
            ["fetch", first, ..] => {
                bundle.fetch(&read_wants(first)?, &options)?;
                answer("\n")?;
            }
            _ => return Err(not_understood(&command)),
        }
    }
}

/// Reads the objects that git wants, in hexadecimal, up to the blank line at their end.
fn read_wants(first: &str) -> Result<BTreeSet<Vec<u8>>, Failure> {
    let mut wants = BTreeSet::from([first.as_bytes().to_vec()]);
    loop {
        let command = read_command()?;
        match command.split(' ').collect::<Vec<_>>().as_slice() {
            [""] => return Ok(wants),
            ["fetch", object, ..] => drop(wants.insert(object.as_bytes().to_vec())),
            _ => return Err(not_understood(&command)),
        }
    }
}
