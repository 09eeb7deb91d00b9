//! Relays packets between the git that runs the helper, on stdin and stdout, and a connected upstream, until git has all
//! that it wants.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, ErrorKind, Write},
    process::ChildStdin,
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    thread,
};

use common::packs::pkt_line;
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::retry_on_intr,
};

use super::{exchange::Exchange, timed_pipe::TimedPipe, upstream::Upstream};
use crate::process_tree;

/// Relays until git is done. Returns the objects that git has asked for and got, in hexadecimal; None where it got less.
///
/// # Errors
/// Fails with [`ErrorKind::TimedOut`] when upstream sends nothing for too long.
pub(super) fn run(upstream: Upstream) -> io::Result<Option<Vec<String>>> {
    let Upstream {
        mut child,
        log,
        stdin,
        mut stdout,
        greeting,
        stderr,
    } = upstream;
    // Without a greeting this is HTTP, and curl has a limit of its own for what comes from now on.
    let clock = (!greeting.is_empty()).then(|| stdout.get_ref().clock.clone());
    let exchange = Arc::new(Exchange::new(clock));
    let wants = relay_requests(stdin, exchange.clone());
    let mut refs = WantedRefs::default();
    let answered = relay_answers(greeting, &mut stdout, &exchange, &mut refs);
    // A child that still writes would wait for a reader for ever, and this process for the child.
    drop(stdout);
    let is_complete = exchange.is_complete();
    match answered {
        Err(err) if err.kind() != ErrorKind::UnexpectedEof => {
            // git has closed its stdout, or upstream is out of time.
            process_tree::kill(&mut child)?;
            match err.kind() {
                ErrorKind::TimedOut if is_complete => {}
                ErrorKind::TimedOut => return Err(err),
                _ => return Ok(None),
            }
        }
        answered => {
            // A child that broke off has said why.
            let status = child.wait()?;
            log.ended(status);
            stderr.finish();
            if answered.is_err() || !status.success() {
                return Ok(None);
            }
        }
    }
    if !is_complete {
        // git finds out that it has not got everything when this process ends.
        return Ok(None);
    }
    // git has yet to write the last that it was sent; it closes its end when it has.
    let stdout = rustix::stdio::stdout();
    let mut stdout = [PollFd::from_borrowed_fd(stdout, PollFlags::HUP)];
    retry_on_intr(|| poll(&mut stdout, None))?;
    let wants = wants.try_recv().ok();
    Ok(wants.map(|wants| [wants, refs.objects].concat()))
}

/// Relays git's requests to upstream in a thread. The receiver gets the wanted objects once git has closed its end.
fn relay_requests(mut upstream: ChildStdin, exchange: Arc<Exchange>) -> Receiver<Vec<String>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut wants = Vec::new();
        let mut git = BufReader::new(io::stdin());
        let relayed = pkt_line::relay(&mut git, &mut upstream, |packet| {
            let want = packet.and_then(|line| line.strip_prefix(b"want "));
            wants.extend(want.and_then(parse_object));
            exchange.add_from_git(packet)
        });
        // git closes its end when it has made all requests. Upstream closes its own when it has answered them.
        relayed.map(|()| {
            let sent = sender.send(wants);
            exchange.end_requests();
            sent
        })
    });
    receiver
}

/// Relays upstream's answers to git, the greeting first.
fn relay_answers(
    greeting: &[u8],
    upstream: &mut BufReader<TimedPipe>,
    exchange: &Exchange,
    refs: &mut WantedRefs,
) -> io::Result<()> {
    let mut git = BufWriter::new(File::from(rustix::stdio::stdout().try_clone_to_owned()?));
    git.write_all(greeting)?;
    pkt_line::relay(upstream, &mut git, |packet| {
        exchange.add_from_upstream(packet);
        if let Some(line) = packet {
            refs.add_line(line);
        }
        true
    })
}

/// The objects that git has asked for by the names of refs: upstream answers which they are in a section `wanted-refs`
/// (gitprotocol-v2(5)).
#[derive(Default)]
struct WantedRefs {
    in_section: bool,
    objects: Vec<String>,
}

impl WantedRefs {
    fn add_line(&mut self, line: &[u8]) {
        match line {
            b"wanted-refs\n" => self.in_section = true,
            b"packfile\n" | b"shallow-info\n" | b"packfile-uris\n" => self.in_section = false,
            line if self.in_section => self.objects.extend(parse_object(line)),
            _ => {}
        }
    }
}

/// Reads the object that a line begins with. Anything else in its place must not become an argument for git.
fn parse_object(line: &[u8]) -> Option<String> {
    let word = line.split(u8::is_ascii_whitespace).next()?;
    let is_object = matches!(word.len(), 40 | 64) && word.iter().all(u8::is_ascii_hexdigit);
    is_object.then(|| String::from_utf8_lossy(word).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_of_an_object_is_read_as_one() {
        let name = "0123456789abcdef0123456789abcdef01234567";
        let line = format!("{name} refs/heads/main\n");
        assert_eq!(parse_object(line.as_bytes()).as_deref(), Some(name));
        for other in ["", "\n", "--batch-all-objects x", "0123", "packfile\n"] {
            assert_eq!(parse_object(other.as_bytes()), None, "{other}");
        }
    }
}
