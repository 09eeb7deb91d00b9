//! git's own ways to an upstream, with a git of the user's at our end.
//!
//! Over ssh that is the user's ssh, as git would run it. Over http, what git says to `git upload-pack` is what it says to a
//! web server, but that there each of its requests is one of HTTP's, and each answer has an end. So its own helper for http
//! is asked for a `stateless-connect`, as gitremote-helpers(7) has it, and what it says goes through without those ends.

use std::{
    env,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    process::{Child, ChildStderr, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::Duration,
};

use common::{
    git,
    progress::{masked, tell},
    ssh::{self, Variant},
    upstream_url::{Scheme, UpstreamUrl},
    url_config,
};
use rustix::process::{Pid, Signal, kill_process};

use super::patience::{Asked, Hearing};
use crate::{
    helper::Errand,
    pkt_line,
    silence::{Event, family},
};

/// How the protocol begins in which a client is told only what it asks for.
const VERSION_2: &[u8] = b"000eversion 2\n";

/// The child that has reached upstream.
pub(super) struct Upstream {
    child: Child,
    ask: ChildStdin,
    hear: BufReader<Hearing>,
    /// What has been heard already, and is git's.
    heard: &'static [u8],
    /// What it says to people, in lines, of what went wrong. The daemon says that, too, where it has not reached upstream.
    words: Receiver<Vec<u8>>,
}

/// For how long upstream may say nothing.
pub(super) fn limit(errand: &Errand, url: &UpstreamUrl) -> Duration {
    let http = url_config::matching("http", errand.config.entries(), url);
    let variable = env::var("GIT_HTTP_LOW_SPEED_TIME").ok();
    url_config::no_progress(&http, variable.as_deref())
}

impl Upstream {
    /// Reaches it; None where that fails, or it does not speak the protocol.
    ///
    /// # Errors
    /// Fails when the child cannot be run, and as timed out when upstream does not answer.
    pub(super) fn reach(errand: &Errand, url: &UpstreamUrl) -> io::Result<Option<Self>> {
        let is_ssh = url.scheme() == Scheme::Ssh;
        let child = if is_ssh {
            over_ssh(errand, url)
        } else {
            Some(over_http(errand, url))
        };
        let Some(mut child) = child else {
            return Ok(None);
        };
        let child = child
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = child.spawn()?;
        let ends = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(ask), Some(pipe), Some(stderr)) = ends else {
            return Ok(None);
        };
        let (say, words) = mpsc::channel();
        let asked = Asked::default();
        let hear = BufReader::new(Hearing {
            pipe,
            asked: asked.clone(),
            limit: limit(errand, url),
        });
        let mut upstream = Self {
            child,
            ask,
            hear,
            heard: if is_ssh { VERSION_2 } else { b"" },
            words,
        };
        if is_ssh {
            asked.now();
        }
        let is_held = if is_ssh { |_: &[u8]| true } else { is_of_git };
        thread::spawn(move || listen(stderr, &asked, &say, is_held));
        let reached = match is_ssh {
            true => upstream.hears(VERSION_2),
            false => upstream
                .ask
                .write_all(b"stateless-connect git-upload-pack\n")
                .and_then(|()| upstream.hears(b"\n")),
        };
        if let Ok(true) = reached {
            return Ok(Some(upstream));
        }
        end(&mut upstream.child)?;
        match reached {
            Err(err) if err.kind() == io::ErrorKind::TimedOut => Err(err),
            _ => Ok(None),
        }
    }

    /// Whether this is what comes next.
    fn hears(&mut self, words: &[u8]) -> io::Result<bool> {
        let mut heard = vec![0; words.len()];
        self.hear.read_exact(&mut heard)?;
        Ok(heard == words)
    }

    /// Lets git talk to it until git is done. Returns what it has asked for, in hexadecimal, and has been given; None
    /// where it did not come to that.
    ///
    /// # Errors
    /// Fails when this process is refused something, and as timed out when upstream says nothing for too long.
    pub(super) fn serve(self) -> io::Result<Option<Vec<String>>> {
        let Self {
            mut child,
            mut ask,
            mut hear,
            heard,
            words,
        } = self;
        let teller = thread::spawn(move || words.iter().for_each(|line| tell(&masked(&line))));
        let (say, wanted) = mpsc::channel();
        // Over http, curl has a limit of its own for what comes from now on.
        let asked = (!heard.is_empty()).then(|| hear.get_ref().asked.clone());
        let asks = asked.clone();
        thread::spawn(move || {
            let mut wants = Vec::new();
            let mut from = BufReader::new(io::stdin());
            let relayed = pkt_line::relay(&mut from, &mut ask, |line| match line {
                Some(line) => {
                    let want = line.strip_prefix(b"want ").map(<[u8]>::trim_ascii);
                    wants.extend(want.map(|want| String::from_utf8_lossy(want).into_owned()));
                }
                None => asks.iter().for_each(Asked::now),
            });
            // git closes its end when it has all that it wants, and upstream's end closes after that.
            relayed.map(|()| say.send(wants))
        });
        let mut to = BufWriter::new(File::from(rustix::stdio::stdout().try_clone_to_owned()?));
        let told = to.write_all(heard).and_then(|()| {
            pkt_line::relay(&mut hear, &mut to, |line| {
                if line.is_none() {
                    asked.iter().for_each(Asked::no_more);
                }
            })
        });
        // Else it would wait for ever for somebody to read, and we for its end.
        drop(hear);
        if let Err(err) = &told
            && err.kind() != io::ErrorKind::UnexpectedEof
        {
            // Nobody listens to it any more, or it says nothing any more.
            end(&mut child)?;
            return match err.kind() {
                io::ErrorKind::TimedOut => told.map(|()| None),
                _ => Ok(None),
            };
        }
        // What has broken off says why.
        let ended = child.wait()?;
        let _ = teller.join();
        if told.is_err() || !ended.success() {
            return Ok(None);
        }
        // Whoever has ended before git did has failed it, and git hears of that when we end.
        Ok(wanted.try_recv().ok())
    }
}

/// Ends it with all that it has started: git's helper for http is a child of git's, and would wait for its connection.
fn end(child: &mut Child) -> io::Result<()> {
    for process in family(Pid::from_child(child)) {
        // Some have ended with the others.
        let _ = kill_process(process, Signal::KILL);
    }
    child.wait().map(drop)
}

/// git's own helper for http.
fn over_http(errand: &Errand, url: &UpstreamUrl) -> Command {
    // A redirect would take the login along.
    let mut settings = vec!["http.followRedirects=false".to_owned()];
    let http = url_config::matching("http", errand.config.entries(), url);
    if !http.iter().any(|(key, _)| key == "lowspeedlimit") {
        let limit = limit(errand, url);
        settings.push("http.lowSpeedLimit=1".to_owned());
        settings.push(format!("http.lowSpeedTime={}", limit.as_secs()));
    }
    let mut git = git::of_user();
    for setting in settings {
        git.args(["-c", &setting]);
    }
    // curl waits for minutes for a connection; its trace tells when it does.
    git.env("GIT_TRACE_CURL", "2")
        .env("GIT_TRACE_CURL_NO_DATA", "1")
        .arg(format!("remote-{}", url.scheme()))
        .args([&errand.remote, url.as_str()]);
    git
}

/// The user's ssh, with git's server program on the other side. Where it would have to ask, and where only git itself
/// knows how it is told what it is told, the daemon has it run.
fn over_ssh(errand: &Errand, url: &UpstreamUrl) -> Option<Command> {
    let client = ssh::Client::new(&errand.config.standing());
    let options = ["-o", "BatchMode=yes"].map(str::to_owned);
    let words = options
        .into_iter()
        .chain(ssh::words(url, "git-upload-pack"));
    (client.variant == Variant::OpenSsh).then(|| client.of_user(words))
}

/// Tells the child's words from its traces, to their end. What is not held back a person may wait for: a credential
/// helper says where to sign in.
fn listen(stderr: ChildStderr, asked: &Asked, held: &Sender<Vec<u8>>, is_held: fn(&[u8]) -> bool) {
    let lines = BufReader::new(stderr).split(b'\n');
    for line in lines.map_while(Result::ok) {
        if is_traced(&line) {
            match Event::of_trace(&String::from_utf8_lossy(&line)) {
                Some(Event::Connects) => asked.now(),
                Some(Event::Connected) => asked.no_more(),
                _ => {}
            }
        } else if is_held(&line) {
            let _ = held.send(line);
        } else {
            tell(&masked(&line));
        }
    }
}

/// Whether git itself, or upstream, says what goes wrong.
fn is_of_git(line: &[u8]) -> bool {
    let begins: [&[u8]; 4] = [b"fatal:", b"error:", b"warning:", b"remote:"];
    begins.iter().any(|begins| line.starts_with(begins))
}

/// Whether a line begins as those of git's traces do: `16:44:58.012345 http.c:845`.
fn is_traced(line: &[u8]) -> bool {
    let begins = b"00:00:00.000000 http.c:";
    line.len() > begins.len()
        && begins.iter().zip(line).all(|(begins, byte)| match begins {
            b'0' => byte.is_ascii_digit(),
            begins => begins == byte,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_no_word_for_people() {
        let traced = b"16:44:58.012345 http.c:845              == Info:   Trying 127.0.0.1:80...";
        assert!(is_traced(traced));
        for words in [&b""[..], b"16:44:58", b"fatal: 16:44:58.012345 http.c:845"] {
            assert!(!is_traced(words));
        }
    }
}
