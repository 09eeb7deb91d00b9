//! git's own ways to an upstream, with a git of the user's at our end.
//!
//! Over ssh that is the user's ssh, as git would run it. Over http, what git says to `git upload-pack` is what it says to a
//! web server, but that there each of its requests is one of HTTP's, and each answer has an end. So its own helper for http
//! is asked for a `stateless-connect`, as gitremote-helpers(7) has it, and what it says goes through without those ends.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    ops::ControlFlow,
    os::fd::AsRawFd,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use common::{
    address::{
        upstream_url::{Scheme, UpstreamUrl},
        url_config,
    },
    git::{
        self,
        ssh::{self, Variant},
    },
    no_progress::{SIGN_IN_TIMEOUT, limit_of_process},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::{FdFlags, fcntl_setfd, retry_on_intr},
    pipe::pipe,
    process::{Pid, Signal},
};

use super::{
    talk::Talk,
    timed_pipe::{Clock, TimedPipe},
    words::Words,
};
use crate::{
    children::{
        family,
        trace::{self, Event},
    },
    helper::Invocation,
    pkt_line,
};

/// How the protocol begins in which a client is told only what it asks for.
const VERSION_2: &[u8] = b"000eversion 2\n";

/// The child that has reached upstream.
pub(super) struct Upstream {
    child: Child,
    ask: ChildStdin,
    hear: BufReader<TimedPipe>,
    /// What has been heard already, and is git's.
    heard: &'static [u8],
    words: Words,
}

impl Upstream {
    /// Reaches it; None where that fails, or it does not speak the protocol.
    pub(super) fn reach(invocation: &Invocation, url: &UpstreamUrl) -> io::Result<Option<Self>> {
        let limit = limit_of_process(url, invocation.config.entries());
        let clock = Clock::new(limit);
        let (mut child, heard) = match url.scheme() {
            Scheme::Ssh => {
                let Some(ssh) = over_ssh(invocation, url, limit) else {
                    return Ok(None);
                };
                // A person may be at it all the same, at a token or in a browser.
                clock.restart(SIGN_IN_TIMEOUT);
                (spawn(ssh)?, VERSION_2)
            }
            _ => (over_http(invocation, url, limit, &clock)?, &b""[..]),
        };
        let ends = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(ask), Some(pipe), Some(stderr)) = ends else {
            return Ok(None);
        };
        let mut upstream = Self {
            child,
            ask,
            hear: BufReader::new(TimedPipe { pipe, clock }),
            heard,
            words: Words::of(stderr),
        };
        let reached = match heard {
            VERSION_2 => upstream.hears(VERSION_2),
            _ => upstream
                .ask
                .write_all(b"stateless-connect git-upload-pack\n")
                .and_then(|()| upstream.hears(b"\n")),
        };
        if let Ok(true) = reached {
            if !heard.is_empty() {
                // Nobody is signing in any more.
                upstream.hear.get_ref().clock.restart(Duration::ZERO);
            }
            upstream.words.reached();
            return Ok(Some(upstream));
        }
        end(&mut upstream.child)?;
        upstream.words.failed();
        match reached {
            Err(err) if err.kind() == io::ErrorKind::TimedOut => Err(err),
            _ => Ok(None),
        }
    }

    /// Whether this is what comes next.
    fn hears(&mut self, words: &[u8]) -> io::Result<bool> {
        let mut byte = [0];
        for expected in words {
            // No more than what is needed to tell: there may be no more.
            self.hear.read_exact(&mut byte)?;
            if byte[0] != *expected {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Lets git talk to it until git is done. Returns what it has asked for, in hexadecimal, and has been given; None
    /// where it did not come to that.
    pub(super) fn serve(self) -> io::Result<Option<Vec<String>>> {
        let Self {
            mut child,
            mut ask,
            mut hear,
            heard,
            words,
        } = self;
        // Over http, curl has a limit of its own for what comes from now on.
        let clock = (!heard.is_empty()).then(|| hear.get_ref().clock.clone());
        let talk = Arc::new(Talk::timed_by(clock));
        let (say, wanted) = mpsc::channel();
        let asks = talk.clone();
        thread::spawn(move || {
            let mut wants = Vec::new();
            let mut from = BufReader::new(io::stdin());
            let relayed = pkt_line::relay(&mut from, &mut ask, |line| {
                let want = line.and_then(|line| line.strip_prefix(b"want "));
                wants.extend(want.and_then(object));
                asks.git_says(line)
            });
            // git closes its end when it has asked for all that it wants, and upstream's end closes when that has come.
            relayed.map(|()| {
                let said = say.send(wants);
                asks.git_is_done();
                said
            })
        });
        let mut to = BufWriter::new(File::from(rustix::stdio::stdout().try_clone_to_owned()?));
        // What git has asked for by its name, and upstream says what that is.
        let mut named = Vec::new();
        let mut is_naming = false;
        let told = to.write_all(heard).and_then(|()| {
            pkt_line::relay(&mut hear, &mut to, |line| {
                talk.upstream_says(line);
                match line {
                    Some(b"wanted-refs\n") => is_naming = true,
                    Some(b"packfile\n" | b"shallow-info\n" | b"packfile-uris\n") => {
                        is_naming = false;
                    }
                    Some(line) if is_naming => named.extend(object(line)),
                    _ => {}
                }
                true
            })
        });
        // Else it would wait for ever for somebody to read, and we for its end.
        drop(hear);
        let is_over = talk.is_over();
        match &told {
            Err(err) if err.kind() != io::ErrorKind::UnexpectedEof => {
                // Nobody listens to it any more, or it says nothing any more.
                end(&mut child)?;
                match err.kind() {
                    io::ErrorKind::TimedOut if is_over => {}
                    io::ErrorKind::TimedOut => return told.map(|()| None),
                    _ => return Ok(None),
                }
            }
            _ => {
                // What has broken off says why.
                let ended = child.wait()?;
                words.finish();
                if told.is_err() || !ended.success() {
                    return Ok(None);
                }
            }
        }
        if !is_over {
            // Whoever has ended before git did has failed it, and git hears of that when we end.
            return Ok(None);
        }
        // git has yet to make something of the last that it was told.
        let mut stdout = [PollFd::new(to.get_ref(), PollFlags::HUP)];
        retry_on_intr(|| poll(&mut stdout, None))?;
        Ok(wanted
            .try_recv()
            .ok()
            .map(|wanted| [wanted, named].concat()))
    }
}

/// The object that a line begins with. Whatever else an upstream says in its place is no argument for a git of ours.
fn object(line: &[u8]) -> Option<String> {
    let word = line.split(u8::is_ascii_whitespace).next()?;
    let is_object = matches!(word.len(), 40 | 64) && word.iter().all(u8::is_ascii_hexdigit);
    is_object.then(|| String::from_utf8_lossy(word).into_owned())
}

/// Ends a child with all that it has started.
fn end(child: &mut Child) -> io::Result<()> {
    family::kill(Pid::from_child(child), Signal::KILL);
    child.wait().map(drop)
}

/// git's own helper for http, which asks those for a login who know one, and no person at the terminal: what they say there
/// the mirror is to be made with.
fn over_http(
    invocation: &Invocation,
    url: &UpstreamUrl,
    limit: Duration,
    clock: &Clock,
) -> io::Result<Child> {
    let mut git = git::of_user();
    git.env("GIT_TERMINAL_PROMPT", "0")
        .env_remove("SSH_ASKPASS")
        // A redirect would take the login along.
        .args(["-c", "http.followRedirects=false"]);
    let http = url_config::matching("http", invocation.config.entries(), url);
    if !http.iter().any(|(key, _)| key == "lowspeedlimit") {
        let time = format!("http.lowSpeedTime={}", limit.as_secs());
        git.args(["-c", "http.lowSpeedLimit=1", "-c", &time]);
    }
    git.arg(format!("remote-{}", url.scheme()))
        .args([&invocation.remote, url.as_str()]);
    // curl waits for minutes for a connection; its trace tells when it does.
    let (trace, end) = pipe()?;
    fcntl_setfd(&trace, FdFlags::CLOEXEC)?;
    // git takes no other number for one.
    if let number @ 3..=9 = end.as_raw_fd() {
        git.env("GIT_TRACE_CURL", number.to_string())
            .env("GIT_TRACE_CURL_NO_DATA", "1");
    }
    let child = spawn(git)?;
    drop(end);
    let clock = clock.clone();
    thread::spawn(move || {
        trace::read(File::from(trace), |event| {
            match event {
                Event::Connects => clock.resume(),
                Event::Connected => clock.stop(),
                _ => {}
            }
            ControlFlow::Continue(())
        });
    });
    Ok(child)
}

/// The user's ssh, with git's server program on the other side. Where it would have to ask, and where only git itself
/// knows how it is told what it is told, the daemon has it run.
fn over_ssh(invocation: &Invocation, url: &UpstreamUrl, limit: Duration) -> Option<Command> {
    let client = ssh::Client::new(&invocation.config.standing());
    let timeout = format!("ConnectTimeout={}", limit.as_secs());
    let options = ["-o", "BatchMode=yes", "-o", &timeout].map(str::to_owned);
    let words = options
        .into_iter()
        .chain(ssh::words(url, "git-upload-pack"));
    (client.variant == Variant::OpenSsh).then(|| client.of_user(words))
}

fn spawn(mut command: Command) -> io::Result<Child> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_of_an_object_is_one() {
        let name = "0123456789abcdef0123456789abcdef01234567";
        let line = format!("{name} refs/heads/main\n");
        assert_eq!(object(line.as_bytes()).as_deref(), Some(name));
        for other in ["", "\n", "--batch-all-objects x", "0123", "packfile\n"] {
            assert_eq!(object(other.as_bytes()), None, "{other}");
        }
    }
}
