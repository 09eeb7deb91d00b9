//! The command loop of a remote helper (gitremote-helpers(7)). For a fetch, git sends `connect`, `list`, `connect` again, and
//! `fetch`; for a push, `connect`. [`crate::fetch`] and [`crate::push`] carry them out.

use std::collections::BTreeSet;

use common::{
    address::upstream_url::Address,
    client::{local_path, resolve},
    protocol::{Failure, Lack},
    refspec::OnDemand,
    text::masked,
};

use crate::{
    daemon,
    fetch::{Fetch, Listed, leased_mirror::LeasedMirror, new_remote, pass_through, upload_pack},
    git_line::{answer, not_understood, read_command},
    invocation::Invocation,
    options::Options,
    push,
};

/// Obeys git's commands until git is done.
///
/// # Errors
/// Fails with what the person should read; git dies with this program.
pub(crate) fn run(remote: &str, address: &str) -> Result<(), Failure> {
    let mut options = Options::new();
    let mut listed: Option<Listed> = None;
    loop {
        let command = read_command()?;
        match command.split(' ').collect::<Vec<_>>().as_slice() {
            ["capabilities"] => {
                answer("connect\nfetch\noption\ncheck-connectivity\nobject-format\n\n")?;
            }
            ["option", name, value @ ..] => answer(options.set(name, value))?,
            ["connect", service] => match (*service, &mut listed) {
                // git asks for it a second time, before it fetches anything.
                ("git-upload-pack", Some(listed)) => {
                    listed.prepare(&options)?;
                    answer("fallback\n")?;
                }
                ("git-upload-pack", None) => {
                    let invocation = invocation(remote, address, options.clone())?;
                    // Passes through only a clone of a part, or a lazy fetch, where there is no mirror yet.
                    if pass_through::run(&invocation)? {
                        return Ok(());
                    }
                    match Fetch::begin(invocation)? {
                        Fetch::Listed(begun) => listed = Some(*begun),
                        Fetch::Streamed(mirror, wanted) => {
                            return upload_pack::run(&mirror, service, &wanted);
                        }
                    }
                    answer("fallback\n")?;
                }
                _ => return connect(service, remote, address, options),
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
fn invocation(remote: &str, address: &str, options: Options) -> Result<Invocation, Failure> {
    let mut invocation = Invocation::new(remote, address, options)?;
    if let Address::Name(name) = &invocation.address
        && let Some(path) = local_path::existing(name.as_ref())
        && !daemon::has_mirror(name)?
    {
        invocation.address = resolve::resolve(&path, &invocation.config)?;
    }
    new_remote::write_absolute_path(&invocation, address);
    Ok(invocation)
}

/// Connects git to a server program: from here on git's pipes are that program's.
fn connect(service: &str, remote: &str, address: &str, options: Options) -> Result<(), Failure> {
    let invocation = invocation(remote, address, options)?;
    match service {
        "git-upload-archive" => {
            let mirror = LeasedMirror::sync(&invocation, Lack::News)?;
            upload_pack::run(&mirror, service, &OnDemand::default())
        }
        "git-receive-pack" => push::run(&invocation),
        _ => Err(Failure::here(format!(
            "git wants '{}', which is not served",
            masked(service.as_bytes())
        ))),
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
