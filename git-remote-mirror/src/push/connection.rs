//! The connection of the `git push` that sends over the daemon ([`over_daemon`](super::over_daemon)): git starts it in the
//! place of an ssh. It gives git the advertisement, passes git's request to the daemon, and the answer back.

use std::{
    env, fs,
    io::{self, BufRead, Read, Write},
    path::{Path, PathBuf},
};

use common::{
    client::{Client, something_else},
    packs::pkt_line,
    paths::Paths,
    progress::tell,
    protocol::{Answer, Failure, OrFailure, Reply, Request, SendPush},
    text::masked,
};

use super::markers;
use crate::{daemon::runtime, names};

/// How much of a pack is passed on at once.
const PART_BYTES: usize = 64 << 10;

/// The name that stands for no ref in the advertisement of an empty repository.
const NO_REF: &[u8] = b"capabilities^{}";

/// Carries git's request to upstream, and the answer to git.
///
/// # Errors
/// Fails where nobody knows whether upstream has what was sent.
pub(crate) fn run() -> Result<(), Failure> {
    let quarantine = env::var_os(names::QUARANTINE).map(PathBuf::from);
    let quarantine =
        quarantine.ok_or_else(|| Failure::here("this is a part of the mirror's own pushes"))?;
    runtime()?.block_on(carry(&quarantine))
}

async fn carry(quarantine: &Path) -> Result<(), Failure> {
    // What has moved is sent once more, after the rest of the push.
    let was_sent = markers::is_sent(quarantine);
    let begun = match begin(quarantine).await {
        Ok(begun) => begun,
        // Nothing has been sent: where the daemon has gone, git can do without it.
        Err(_) => Begun::NotTaken(None),
    };
    let mut client = match begun {
        Begun::Advertised(client) => client,
        Begun::NotTaken(reason) => {
            record_not_taken(quarantine, reason, was_sent)?;
            // git waits for the advertisement. Whoever has run that git does not read it.
            let _ = pkt_line::write(&mut io::stdout(), b"ERR the push is not sent in this way");
            return Ok(());
        }
    };
    let broken = "cannot talk to git";
    let mut stdin = io::stdin().lock();
    let Some((commands, has_pack)) = read_commands(&mut stdin).or_failure(broken)? else {
        return Ok(());
    };
    // From now on nobody can be sure what reaches upstream.
    markers::record_sent(quarantine).or_failure("cannot record that the push begins")?;
    for part in commands.chunks(PART_BYTES) {
        client.answer(&Answer::Bytes(part.to_vec())).await?;
    }
    let mut part = vec![0; PART_BYTES];
    while let length @ 1.. = match has_pack {
        true => stdin.read(&mut part).or_failure(broken)?,
        false => 0,
    } {
        let part = part[..length].to_vec();
        client.answer(&Answer::Bytes(part)).await?;
    }
    client.answer(&Answer::Bytes(Vec::new())).await?;
    match copy_to_git(&mut client).await? {
        Copied::ToItsEnd => Ok(()),
        Copied::NotTaken(reason) => record_not_taken(quarantine, reason, was_sent),
    }
}

/// What became of the beginning of a push.
enum Begun {
    /// git knows what upstream has and can do.
    Advertised(Client),
    /// Upstream refuses pushes for this reason; where none is given, a git is to ask it.
    NotTaken(Option<Failure>),
}

/// Gives git the advertisement.
async fn begin(quarantine: &Path) -> Result<Begun, Failure> {
    let broken = "cannot talk to git";
    let mut client = Client::connect(&Paths::from_env()?).await?;
    let known = fs::read(markers::advertisement(quarantine)).ok();
    let request = SendPush {
        id: env::var(names::PUSH_ID).unwrap_or_default(),
        asks: known.is_none(),
    };
    client.send_request(&Request::SendPush(request)).await?;
    let copied = match receive(&mut client).await? {
        Reply::Capabilities(capabilities) => {
            advertise(&known.unwrap_or_default(), &capabilities).or_failure(broken)?;
            Copied::ToItsEnd
        }
        Reply::Bytes(part) => {
            print(&part).or_failure(broken)?;
            copy_to_git(&mut client).await?
        }
        Reply::NotTaken(reason) => Copied::NotTaken(reason),
        _ => return Err(something_else()),
    };
    Ok(match copied {
        Copied::ToItsEnd => Begun::Advertised(client),
        Copied::NotTaken(reason) => Begun::NotTaken(reason),
    })
}

/// What of an answer of upstream's was copied.
enum Copied {
    ToItsEnd,
    /// Upstream has not taken the request.
    NotTaken(Option<Failure>),
}

/// Copies what upstream sends to git, to its end.
async fn copy_to_git(client: &mut Client) -> Result<Copied, Failure> {
    loop {
        match receive(client).await? {
            Reply::Bytes(part) if part.is_empty() => return Ok(Copied::ToItsEnd),
            Reply::Bytes(part) => print(&part).or_failure("cannot talk to git")?,
            Reply::NotTaken(reason) => return Ok(Copied::NotTaken(reason)),
            _ => return Err(something_else()),
        }
    }
}

async fn receive(client: &mut Client) -> Result<Reply, Failure> {
    loop {
        match client.receive().await? {
            Reply::Progress(_) => {}
            Reply::Failed(failure) => return Err(failure),
            reply => return Ok(reply),
        }
    }
}

fn record_not_taken(
    quarantine: &Path,
    reason: Option<Failure>,
    was_sent: bool,
) -> Result<(), Failure> {
    for line in reason.iter().flat_map(|failure| &failure.remote) {
        tell(&format!("remote: {}", masked(line.as_bytes())));
    }
    let reason = reason.map(|failure| failure.message);
    markers::record_not_taken(quarantine, reason.as_deref(), was_sent)
        .or_failure("cannot record that nothing was sent")
}

fn print(part: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(part)?;
    stdout.flush()
}

/// Gives git the refs of these lines as upstream's, with these capabilities.
fn advertise(refs: &[u8], capabilities: &[u8]) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut lines = refs
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    let first = match lines.next() {
        Some(first) => first.to_vec(),
        None => {
            let is_sha256 = capabilities
                .split(|byte| *byte == b' ')
                .any(|one| one == b"object-format=sha256");
            let digits = if is_sha256 { 64 } else { 40 };
            [&vec![b'0'; digits], &b" "[..], NO_REF].concat()
        }
    };
    pkt_line::write(&mut out, &[&*first, b"\0", capabilities, b"\n"].concat())?;
    for line in lines {
        pkt_line::write(&mut out, &[line, b"\n"].concat())?;
    }
    pkt_line::end(&mut out)
}

/// Reads the commands of a request, and the push options behind them (gitprotocol-pack(5)). Returns them as they came, and
/// whether a pack follows; None where git asks for nothing.
fn read_commands(stdin: &mut impl BufRead) -> io::Result<Option<(Vec<u8>, bool)>> {
    if stdin.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let mut request = Vec::new();
    pkt_line::copy_section(stdin, &mut request)?;
    let commands = pkt_line::read_section(&mut &*request)?;
    let Some(first) = commands.iter().find(|line| line.contains(&0)) else {
        return Ok(None);
    };
    let capabilities = first.splitn(2, |byte| *byte == 0).nth(1);
    let capabilities = capabilities.unwrap_or_default();
    let has_options = capabilities
        .split(|byte| *byte == b' ')
        .any(|one| one == b"push-options");
    if has_options {
        pkt_line::copy_section(stdin, &mut request)?;
    }
    let has_pack = commands.iter().any(|line| !is_deletion(line));
    Ok(Some((request, has_pack)))
}

/// Whether a command, `<old> <new> <ref>`, deletes its ref. The line of a shallow commit is none.
fn is_deletion(command: &[u8]) -> bool {
    let new = command.split(|byte| *byte == b' ').nth(1);
    command.starts_with(b"shallow ") || new.is_some_and(|new| new.iter().all(|byte| *byte == b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &[&[u8]], rest: &[u8]) -> Vec<u8> {
        let mut request = Vec::new();
        for line in lines {
            pkt_line::write(&mut request, line).expect("written");
        }
        pkt_line::end(&mut request).expect("written");
        request.extend_from_slice(rest);
        request
    }

    #[test]
    fn a_request_is_read_up_to_its_pack() {
        let (zero, one) = ("0".repeat(40), "1".repeat(40));
        let made = format!("{zero} {one} refs/heads/a\0 report-status agent=git/2");
        let gone = format!("{one} {zero} refs/heads/b");
        let with_pack = request(&[made.as_bytes(), gone.as_bytes()], b"PACK");
        let mut stdin = &*with_pack;
        let (commands, has_pack) = read_commands(&mut stdin)
            .expect("sound")
            .expect("there are commands");
        assert!(has_pack && stdin == b"PACK" && commands.ends_with(b"0000"));

        let deletion = format!("{gone}\0report-status push-options");
        let options = request(&[b"ci.skip"], b"");
        let without = request(&[deletion.as_bytes()], &options);
        let (commands, has_pack) = read_commands(&mut &*without)
            .expect("sound")
            .expect("there is a command");
        assert!(!has_pack && commands == without);

        for nothing in [&b""[..], b"0000"] {
            assert!(read_commands(&mut &*nothing).expect("sound").is_none());
        }
    }
}
