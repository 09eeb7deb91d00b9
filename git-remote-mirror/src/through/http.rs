//! git's own helper for http, `git remote-https`, in the place of this one. Where upstream speaks version 2 of git's protocol,
//! it connects and packets are relayed. Everything else goes by git's commands `list`, `fetch` and `push`, which are passed
//! on to it with their answers.

use std::io::{self, BufRead, Write};

use common::{
    address::upstream_url::UpstreamUrl,
    protocol::{Failure, OrFailure},
};

use super::{Way, fall_back, on_disk::OnDisk, relay, signed, upstream::Upstream};
use crate::{git_line::answer, invocation::Invocation, process_tree};

/// The longest line that git's helper answers with. None comes near it.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// Goes through to upstream, until git is done or goes on by commands.
///
/// # Errors
/// Fails where git's helper cannot be run, and where it has ended: it has then said why.
pub(super) fn run(
    invocation: &Invocation,
    url: &UpstreamUrl,
    service: &str,
) -> Result<Way, Failure> {
    let upstream = Upstream::start_http(invocation, url).or_failure("cannot run git's helper")?;
    let mut commands = Commands {
        upstream,
        signed_for: None,
    };
    let connected = commands.pass_on_options(&invocation.options.lines);
    // Of pushes git's helper knows only the commands.
    let connected = connected.and_then(|()| match service {
        "git-receive-pack" => Ok(false),
        _ => Ok(commands
            .ask(&format!("stateless-connect {service}"))?
            .is_empty()),
    });
    match connected {
        Ok(true) => {
            answer("\n")?;
            relay::run(commands.upstream)
                .map(drop)
                .or_failure("cannot pass upstream's answers on")?;
            Ok(Way::Done)
        }
        Ok(false) => {
            fall_back()?;
            Ok(Way::Commands(Box::new(commands)))
        }
        Err(err) => commands.give_up(&err).map(|()| Way::Done),
    }
}

/// Goes through to upstream with a signed push to this mirror.
///
/// # Errors
/// Fails as [`run`] does.
pub(super) fn push(
    invocation: &Invocation,
    url: &UpstreamUrl,
    mirror: OnDisk,
) -> Result<Way, Failure> {
    let mut way = run(invocation, url, "git-receive-pack")?;
    if let Way::Commands(commands) = &mut way {
        commands.signed_for = Some(mirror);
    }
    Ok(way)
}

/// git's helper, which carries out git's commands.
pub(crate) struct Commands {
    upstream: Upstream,
    /// The mirror to which a signed push belongs.
    signed_for: Option<OnDisk>,
}

impl Commands {
    fn pass_on_options(&mut self, lines: &[String]) -> io::Result<()> {
        lines.iter().try_for_each(|line| self.ask(line).map(drop))
    }

    /// Passes an option on, and the answer to git.
    ///
    /// # Errors
    /// Fails when git's helper has ended.
    pub(crate) fn pass_on_option(&mut self, line: &str) -> io::Result<()> {
        let answer = self.ask(line)?;
        answer_git(format!("{answer}\n").as_bytes())
    }

    /// Passes a command on, with all lines that belong to it, and its answer to git.
    ///
    /// # Errors
    /// Fails when git's helper has ended.
    pub(crate) fn pass_on(&mut self, lines: &[String]) -> io::Result<()> {
        self.write(&lines.join("\n"))?;
        loop {
            let line = self.read_line()?;
            answer_git(&line)?;
            if line == b"\n" {
                return Ok(());
            }
        }
    }

    /// Fails where a push in these lines is signed, and names a ref that does not go to upstream as it is.
    ///
    /// # Errors
    /// Fails with what the person should read.
    pub(crate) fn check_push(&self, lines: &[String]) -> Result<(), Failure> {
        let Some(mirror) = &self.signed_for else {
            return Ok(());
        };
        let pushed = lines.iter().filter_map(|line| line.strip_prefix("push "));
        let names = pushed.filter_map(|refspec| refspec.rsplit_once(':'));
        let names = names.map(|(_, name)| name.as_bytes().to_vec());
        signed::require_upstream(names, mirror)
    }

    /// Ends git's helper when it cannot be talked to. One that has ended by itself has said why, and git ends as it does
    /// with its own helper.
    ///
    /// # Errors
    /// Fails where git's helper has not ended.
    pub(crate) fn give_up(self, err: &io::Error) -> Result<(), Failure> {
        let has_ended = matches!(
            err.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe
        );
        let Upstream {
            mut child, stderr, ..
        } = self.upstream;
        // What still runs may wait for an answer.
        let _ = match has_ended {
            true => child.wait().map(drop),
            false => process_tree::kill(&mut child),
        };
        stderr.finish();
        match has_ended {
            true => Ok(()),
            false => Err(Failure::io("cannot talk to git's helper for http", err)),
        }
    }

    /// Waits for git's helper, which ends when it has no more to do. Then the mirror follows a signed push.
    ///
    /// # Errors
    /// Fails when it cannot be waited for.
    pub(crate) fn finish(self, invocation: &Invocation) -> Result<(), Failure> {
        let Upstream {
            mut child,
            log,
            stdin,
            stderr,
            ..
        } = self.upstream;
        drop(stdin);
        let status = child.wait().or_failure("cannot wait for git's helper")?;
        log.ended(status);
        stderr.finish();
        if self.signed_for.is_some() {
            signed::bring_in_step(invocation);
        }
        Ok(())
    }

    /// Sends one line, and returns the line that comes back.
    fn ask(&mut self, line: &str) -> io::Result<String> {
        self.write(line)?;
        let line = self.read_line()?;
        Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned())
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.upstream
            .stdin
            .write_all(format!("{text}\n").as_bytes())
    }

    /// Reads one line with its end.
    fn read_line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let mut limited = io::Read::take(&mut self.upstream.stdout, MAX_LINE_BYTES);
        limited.read_until(b'\n', &mut line)?;
        match line.ends_with(b"\n") {
            true => Ok(line),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn answer_git(line: &[u8]) -> io::Result<()> {
    answer(line).map_err(|failure| io::Error::other(failure.message))
}
