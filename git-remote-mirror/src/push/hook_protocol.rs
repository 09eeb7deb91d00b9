//! The protocol of the hook `proc-receive`, version 1, as githooks(5) has it: the commands that git sends, and the report
//! that it gets.

use std::{ffi::OsString, io, os::unix::ffi::OsStringExt};

use common::{packs::pkt_line, protocol::Command, text::masked};

use super::ref_update::Verdict;

/// The length of an object's name in SHA-1, in hexadecimal.
const SHA1_DIGITS: usize = 40;

/// The commands of a push, as the client sent them.
pub(crate) struct PushCommands {
    pub commands: Vec<Command>,
    /// Whether the client wants all of them done or none.
    pub atomic: bool,
    /// The client's push options.
    pub options: Vec<OsString>,
}

impl PushCommands {
    /// Greets git, and reads the commands.
    ///
    /// # Errors
    /// Fails when the pipes break, and when git speaks another version.
    pub(crate) fn receive() -> io::Result<Self> {
        let mut stdin = io::stdin().lock();
        let greeting = pkt_line::read_section(&mut stdin)?;
        let greeting = greeting.first().map(Vec::as_slice).unwrap_or_default();
        let (version, features) = match greeting.iter().position(|byte| *byte == 0) {
            Some(end) => (&greeting[..end], &greeting[end + 1..]),
            None => (greeting, &b""[..]),
        };
        if version != b"version=1" {
            return Err(io::Error::other(
                "it speaks an unknown version of the hook's protocol",
            ));
        }
        let offers = |name: &[u8]| {
            let mut features = features.split(|byte| *byte == b' ');
            features.any(|feature| feature == name)
        };
        let (has_options, atomic) = (offers(b"push-options"), offers(b"atomic"));
        let reply: &[u8] = match has_options {
            true => b"version=1\0push-options",
            false => b"version=1",
        };
        pkt_line::write(&mut io::stdout(), reply)?;
        pkt_line::end(&mut io::stdout())?;
        let commands = pkt_line::read_section(&mut stdin)?
            .iter()
            .map(|line| parse_command(line))
            .collect::<Option<_>>();
        let commands = commands.ok_or_else(|| io::Error::other("a command is not one"))?;
        let options = match has_options {
            true => pkt_line::read_section(&mut stdin)?,
            false => Vec::new(),
        };
        Ok(Self {
            commands,
            atomic,
            options: options.into_iter().map(OsString::from_vec).collect(),
        })
    }
}

/// Reads `<old> <new> <ref>`.
fn parse_command(line: &[u8]) -> Option<Command> {
    let mut fields = line.splitn(3, |byte| *byte == b' ');
    let mut oid = || {
        let hex = String::from_utf8(fields.next()?.to_vec()).ok()?;
        Some(Some(hex).filter(|hex| hex.bytes().any(|byte| byte != b'0')))
    };
    let (old, new) = (oid()?, oid()?);
    let name = fields.next()?.to_vec();
    Some(Command { name, old, new })
}

/// The object name of zeros that stands for none, of the length that a command has.
fn zero(command: &Command) -> String {
    let object = command.new.as_ref().or(command.old.as_ref());
    "0".repeat(object.map_or(SHA1_DIGITS, String::len))
}

/// Tells git what became of each command.
///
/// # Errors
/// Fails when the pipe breaks.
pub(crate) fn report(commands: &[Command], verdicts: &[Verdict]) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout());
    for (command, verdict) in commands.iter().zip(verdicts) {
        let name = command.name.as_slice();
        let mut write = |parts: &[&[u8]]| pkt_line::write(&mut out, &parts.concat());
        match verdict {
            Err(reason) => write(&[b"ng ", name, b" ", masked(reason.as_bytes()).as_bytes()])?,
            Ok(rewrites) if rewrites.is_empty() => write(&[b"ok ", name])?,
            Ok(rewrites) => {
                for rewrite in rewrites {
                    write(&[b"ok ", name])?;
                    let zero = zero(command);
                    let value = |value: &Option<String>| value.clone().unwrap_or(zero.clone());
                    let (old, new) = (value(&rewrite.old), value(&rewrite.new));
                    write(&[b"option refname ", &rewrite.name])?;
                    write(&[b"option old-oid ", old.as_bytes()])?;
                    write(&[b"option new-oid ", new.as_bytes()])?;
                    if rewrite.forced {
                        write(&[b"option forced-update"])?;
                    }
                }
            }
        }
    }
    pkt_line::end(&mut out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_read_as_git_writes_it() {
        let (zero, one) = ("0".repeat(40), "1".repeat(40));
        let read = |old: &str, new: &str, name: &str| {
            parse_command(format!("{old} {new} {name}").as_bytes())
        };
        let created = read(&zero, &one, "refs/heads/a b").expect("a command");
        assert_eq!((created.old, created.new), (None, Some(one.clone())));
        assert_eq!(created.name, b"refs/heads/a b");
        let deleted = read(&one, &zero, "refs/heads/main").expect("a command");
        assert_eq!((deleted.old, deleted.new), (Some(one), None));
        assert!(parse_command(b"0000 1111").is_none());
    }
}
