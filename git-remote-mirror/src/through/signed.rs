//! Signed pushes. The certificate is the user's and names what upstream has said, so the push goes to upstream's own
//! `git receive-pack` as it is, and the mirror is brought in step after it. A ref that stays in the mirror cannot be in it.

use std::{
    io::{self, Read, Write},
    process::{Command, Stdio},
    thread,
};

use common::{
    address::upstream_url::{Address, Scheme},
    git::child_log::ChildLog,
    packs::pkt_line,
    progress::tell,
    protocol::{Failure, FailureKind, Lack, OrFailure},
    text::masked,
};

use super::{Way, http, on_disk::OnDisk, server, stderr::Stderr};
use crate::{
    daemon, fetch::leased_mirror::LeasedMirror, git_line::answer, invocation::Invocation,
    process_tree,
};

const SERVICE: &str = "git-receive-pack";

/// How many bytes of a report go into one packet of a side band.
const MAX_BAND_BYTES: usize = 1 << 15;

/// What a push says of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signed {
    /// It is to be signed.
    Yes,
    /// It is to be signed if upstream asks for that.
    IfAsked,
}

impl Signed {
    /// Reads it from the arguments of the push, else from `push.gpgSign`.
    pub(crate) fn find(invocation: &Invocation) -> Option<Self> {
        let caller = invocation.caller.as_ref();
        let typed = caller.and_then(|caller| caller.last_of(&["--signed", "--no-signed"]));
        let value = match typed {
            Some(("--no-signed", _)) => return None,
            Some((_, "")) => "true",
            Some((_, value)) => value,
            None => invocation.config.get("push.gpgsign")?,
        };
        match value {
            "if-asked" => Some(Self::IfAsked),
            value => common::git::client_context::truth(value).then_some(Self::Yes),
        }
    }
}

/// Takes a signed push to upstream. Returns None, and has not answered git, where the push goes the mirror's own way.
///
/// # Errors
/// Fails with what the person should read.
pub(crate) fn push(invocation: &Invocation, signed: Signed) -> Result<Option<Way>, Failure> {
    let ready = LeasedMirror::sync(invocation, Lack::News)?.ready;
    let mirror = OnDisk::at(&ready.git_dir).or_failure("cannot read the mirror")?;
    let refused = |why: &str| {
        let failure = Failure::new(FailureKind::Refused, format!("cannot push signed: {why}"));
        Err(failure.hinted("git push --no-signed"))
    };
    if !mirror.takes_pushes() {
        // The daemon refuses it, and says what to do.
        return Ok(None);
    }
    let Ok(Address::Url(url, None)) = Address::parse(&ready.url) else {
        return refused("the mirror's upstream is not known");
    };
    let has_login = matches!(&invocation.address, Address::Url(_, Some(_)));
    if has_login || !mirror.signs_in_as_git() {
        return match signed {
            Signed::IfAsked => Ok(None),
            Signed::Yes => refused("the mirror's own login is not given to git"),
        };
    }
    if matches!(url.scheme(), Scheme::Http | Scheme::Https) {
        return http::push(invocation, &url, mirror).map(Some);
    }
    let program = server::command(invocation, &url, SERVICE)?;
    let Some(()) = relay(program, signed, &mirror)? else {
        return Ok(None);
    };
    bring_in_step(invocation);
    Ok(Some(Way::Done))
}

/// Relays between git and upstream's `git receive-pack`, once the commands of the push are known to be upstream's. Returns
/// None, and has not answered git, where upstream does not ask for a certificate and the push needs none.
fn relay(mut program: Command, signed: Signed, mirror: &OnDisk) -> Result<Option<()>, Failure> {
    let context = "cannot run git-receive-pack at upstream";
    program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let log = ChildLog::begin(&program);
    let mut child = program.spawn().or_failure(context)?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut stdin), Some(mut stdout), Some(stderr)) = pipes else {
        return Err(Failure::here(context));
    };
    let stderr = Stderr::read(stderr);
    stderr.connected();
    let mut advertisement = Vec::new();
    let advertised = pkt_line::copy_section(&mut stdout, &mut advertisement);
    let asks = |advertisement: &[u8]| {
        let wanted = b" push-cert=";
        let mut windows = advertisement.windows(wanted.len());
        windows.any(|window| window == wanted)
    };
    if advertised.is_ok() && signed == Signed::IfAsked && !asks(&advertisement) {
        // Killed before its input ends: it would complain of that.
        let _ = process_tree::kill(&mut child);
        return Ok(None);
    }
    answer("\n")?;
    answer(&advertisement)?;
    if advertised.is_ok() {
        let mut git = io::stdin();
        let mut commands = Vec::new();
        match pkt_line::copy_section(&mut git, &mut commands) {
            // git has ended, and has said why: upstream hears no more than its end.
            Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => commands.clear(),
            heard => heard.or_failure("cannot hear git")?,
        }
        let names = match commands.is_empty() {
            true => Ok(Vec::new()),
            false => names(&commands).or_failure("cannot read the push"),
        };
        if let Err(failure) = names.and_then(|names| require_upstream(names, mirror)) {
            // Killed before its input ends: it would complain of that.
            let _ = process_tree::kill(&mut child);
            return refuse(&commands, &failure).map(Some);
        }
        // Upstream may refuse it and end before it has read all.
        let sent = stdin.write_all(&commands).and_then(|()| stdin.flush());
        if sent.is_ok() {
            thread::spawn(move || io::copy(&mut git, &mut stdin));
        }
    }
    copy_as_it_comes(&mut stdout)?;
    let status = child.wait().or_failure(context)?;
    log.ended(status);
    stderr.finish();
    Ok(Some(()))
}

/// Reports each command of a push as refused, as `git receive-pack` would, and takes in the pack that git still sends.
fn refuse(commands: &[u8], failure: &Failure) -> Result<(), Failure> {
    tell(&format!("error: {failure}"));
    failure
        .hint
        .iter()
        .for_each(|hint| tell(&format!("hint: {hint}")));
    let has = |capability: &[u8]| {
        let mut windows = commands.windows(capability.len());
        windows.any(|window| window == capability)
    };
    let mut report = Vec::new();
    let context = "cannot answer git";
    pkt_line::write(&mut report, b"unpack ok\n").or_failure(context)?;
    for name in names(commands).unwrap_or_default() {
        let line = [b"ng ", &*name, b" not sent to upstream\n"].concat();
        pkt_line::write(&mut report, &line).or_failure(context)?;
    }
    pkt_line::end(&mut report).or_failure(context)?;
    if has(b" side-band-64k") {
        let mut banded = Vec::new();
        for piece in report.chunks(MAX_BAND_BYTES) {
            pkt_line::write(&mut banded, &[b"\x01", piece].concat()).or_failure(context)?;
        }
        pkt_line::end(&mut banded).or_failure(context)?;
        report = banded;
    }
    answer(report)?;
    // git reads the report when it has sent all.
    io::copy(&mut io::stdin(), &mut io::sink())
        .map(drop)
        .or_failure("cannot hear git")
}

fn copy_as_it_comes(stdout: &mut impl Read) -> Result<(), Failure> {
    let mut buffer = [0; 1 << 16];
    loop {
        match stdout.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => answer(&buffer[..length])?,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(Failure::io("cannot hear upstream", &err)),
        }
    }
}

/// The names of the refs in the commands of a push: `OLD NEW NAME` lines, in a certificate or by themselves
/// (gitprotocol-pack(5)).
fn names(section: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let mut lines = section;
    let lines = pkt_line::read_section(&mut lines)?;
    let is_object =
        |word: &[u8]| matches!(word.len(), 40 | 64) && word.iter().all(u8::is_ascii_hexdigit);
    let name = |line: &Vec<u8>| {
        let line = line.split(|byte| *byte == 0).next()?;
        let mut words = line.trim_ascii_end().splitn(3, |byte| *byte == b' ');
        let (old, new) = (words.next()?, words.next()?);
        let name = words.next()?.to_vec();
        (is_object(old) && is_object(new)).then_some(name)
    };
    Ok(lines.iter().filter_map(name).collect())
}

/// Fails where one of the refs stays in the mirror, or has another name at upstream.
pub(super) fn require_upstream(
    names: impl IntoIterator<Item = Vec<u8>>,
    mirror: &OnDisk,
) -> Result<(), Failure> {
    for name in names {
        let goes = mirror.goes_upstream(&name);
        if !goes.or_failure("cannot read the mirror's refs")? {
            let (name, of) = (masked(&name), masked(mirror.name().as_bytes()));
            let message = format!(
                "cannot push '{name}' signed: it does not go to upstream as it is, by the settings of the mirror '{of}'"
            );
            let failure = Failure::new(FailureKind::Refused, message);
            return Err(failure.hinted(
                "nothing was pushed; push it apart with --no-signed, and then the others signed",
            ));
        }
    }
    Ok(())
}

/// Has the mirror follow what the push has done at upstream.
pub(crate) fn bring_in_step(invocation: &Invocation) {
    if let Err(failure) = daemon::sync(invocation) {
        tell(&format!(
            "warning: the mirror has not followed yet: {failure}"
        ));
        tell("hint: the next fetch brings it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_found_in_commands_and_in_a_certificate() {
        let (zero, one) = ("0".repeat(40), "1".repeat(40));
        let packet = |text: &str| format!("{:04x}{text}", text.len() + 4);
        let plain = [
            packet(&format!("{zero} {one} refs/heads/a\0 report-status")),
            packet(&format!("{one} {zero} refs/heads/b")),
            "0000".to_owned(),
        ];
        let expected = [b"refs/heads/a".to_vec(), b"refs/heads/b".to_vec()];
        let names = |section: &str| names(section.as_bytes()).expect("a section");
        assert_eq!(names(&plain.concat()), expected);
        let certificate = [
            packet("push-cert\0 report-status\n"),
            packet("certificate version 0.1\n"),
            packet("nonce 1-2\n"),
            packet("\n"),
            packet(&format!("{zero} {one} refs/heads/a\n")),
            packet(&format!("{one} {zero} refs/heads/b\n")),
            packet("-----BEGIN PGP SIGNATURE-----\n"),
            packet("push-cert-end\n"),
            "0000".to_owned(),
        ];
        assert_eq!(names(&certificate.concat()), expected);
    }

    #[test]
    fn commands_that_cannot_be_read_name_nothing_that_could_be_sent() {
        let (zero, one) = ("0".repeat(40), "1".repeat(40));
        let command = format!("{zero} {one} refs/heads/a\0 report-status");
        let line = format!("{:04x}{command}", command.len() + 4);
        assert!(names(format!("{line}0000").as_bytes()).is_ok());
        for end in ["", "00010000", "0002", "0003", "zzzz", "00ff"] {
            let section = format!("{line}{end}");
            assert!(names(section.as_bytes()).is_err(), "{end}");
        }
    }
}
