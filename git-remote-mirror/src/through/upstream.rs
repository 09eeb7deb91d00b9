//! Connects to upstream by a child of the user's: their ssh as git would run it, or git's own helper for HTTP.
//!
//! git's helper for HTTP gets a `stateless-connect` (gitremote-helpers(7)). From then on it takes what `git upload-pack`
//! would take, and makes an HTTP request of each request; its answers have response-end packets, which
//! [`pkt_line::relay`](common::packs::pkt_line::relay) leaves out.

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    ops::ControlFlow,
    os::fd::AsRawFd,
    process::{Child, ChildStdin, Command, Stdio},
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
        child_log::ChildLog,
        ssh::{self, Variant},
    },
    no_progress::{SIGN_IN_TIMEOUT, limit_of_process},
};
use rustix::{
    io::{FdFlags, fcntl_setfd},
    pipe::pipe,
};

use super::{
    stderr::Stderr,
    timed_pipe::{Clock, TimedPipe},
};
use crate::{
    invocation::Invocation,
    process_tree,
    trace::{self, TraceEvent},
};

/// The packet by which a server greets that speaks version 2 of git's protocol.
const VERSION_2: &[u8] = b"000eversion 2\n";

/// A child that is connected to upstream.
pub(super) struct Upstream {
    pub(super) child: Child,
    pub(super) log: ChildLog,
    pub(super) stdin: ChildStdin,
    pub(super) stdout: BufReader<TimedPipe>,
    /// What has been read of upstream's output, and is for git. It is empty over HTTP.
    pub(super) greeting: &'static [u8],
    pub(super) stderr: Stderr,
}

impl Upstream {
    /// Connects; None where that fails, or upstream does not speak version 2 of git's protocol.
    ///
    /// # Errors
    /// Fails with [`io::ErrorKind::TimedOut`] when upstream sends nothing for too long, and when no child can be started.
    pub(super) fn connect(invocation: &Invocation, url: &UpstreamUrl) -> io::Result<Option<Self>> {
        let limit = limit_of_process(url, invocation.config.entries());
        let clock = Clock::new(limit);
        let ((mut child, log), greeting) = match url.scheme() {
            Scheme::Ssh => {
                let Some(ssh) = over_ssh(invocation, url, limit) else {
                    return Ok(None);
                };
                // BatchMode asks no person at the terminal, but one may be at a hardware token or in a browser.
                clock.restart(SIGN_IN_TIMEOUT);
                (spawn(ssh)?, VERSION_2)
            }
            _ => (over_http(invocation, url, limit, &clock)?, &b""[..]),
        };
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(pipe), Some(stderr)) = pipes else {
            return Ok(None);
        };
        let mut upstream = Self {
            child,
            log,
            stdin,
            stdout: BufReader::new(TimedPipe { pipe, clock }),
            greeting,
            stderr: Stderr::read(stderr),
        };
        let connected = match greeting {
            VERSION_2 => upstream.expect(VERSION_2),
            _ => upstream
                .stdin
                .write_all(b"stateless-connect git-upload-pack\n")
                .and_then(|()| upstream.expect(b"\n")),
        };
        if let Ok(true) = connected {
            if !greeting.is_empty() {
                // The time for signing in is over.
                upstream.stdout.get_ref().clock.restart(Duration::ZERO);
            }
            upstream.stderr.connected();
            return Ok(Some(upstream));
        }
        process_tree::kill(&mut upstream.child)?;
        upstream.stderr.failed();
        match connected {
            Err(err) if err.kind() == io::ErrorKind::TimedOut => Err(err),
            _ => Ok(None),
        }
    }

    /// Starts git's own helper for HTTP as git would, which asks whomever git would ask. Its stderr is shown as it comes.
    ///
    /// # Errors
    /// Fails when it cannot be started.
    pub(super) fn start_http(invocation: &Invocation, url: &UpstreamUrl) -> io::Result<Self> {
        let mut git = git::of_user();
        git.arg(format!("remote-{}", url.scheme()))
            .args([&invocation.remote, url.as_str()]);
        let (mut child, log) = spawn(git)?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(pipe), Some(stderr)) = pipes else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let limit = limit_of_process(url, invocation.config.entries());
        // The clock does not run: as without a mirror, the limit is git's own.
        let clock = Clock::new(limit);
        let upstream = Self {
            child,
            log,
            stdin,
            stdout: BufReader::new(TimedPipe { pipe, clock }),
            greeting: b"",
            stderr: Stderr::read(stderr),
        };
        upstream.stderr.connected();
        Ok(upstream)
    }

    /// Reads from upstream as long as it sends the expected bytes. Returns whether it has sent all of them.
    fn expect(&mut self, expected: &[u8]) -> io::Result<bool> {
        let mut byte = [0];
        for expected in expected {
            // One byte at a time: a shorter answer may be all there is.
            self.stdout.read_exact(&mut byte)?;
            if byte[0] != *expected {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Starts git's own helper for HTTP. It takes logins from credential helpers and from no person at the terminal: a login
/// that is typed is one that the mirror is to be made with.
fn over_http(
    invocation: &Invocation,
    url: &UpstreamUrl,
    limit: Duration,
    clock: &Clock,
) -> io::Result<(Child, ChildLog)> {
    let mut git = git::of_user();
    git.env("GIT_TERMINAL_PROMPT", "0")
        .env_remove("SSH_ASKPASS");
    if !url_config::may_be_redirected(invocation.config.entries(), url) {
        git.args(["-c", "http.followRedirects=false"]);
    }
    let http = url_config::matching("http", invocation.config.entries(), url);
    if !http.iter().any(|(key, _)| key == "lowspeedlimit") {
        let time = format!("http.lowSpeedTime={}", limit.as_secs());
        git.args(["-c", "http.lowSpeedLimit=1", "-c", &time]);
    }
    git.arg(format!("remote-{}", url.scheme()))
        .args([&invocation.remote, url.as_str()]);
    // The trace tells when curl waits for a connection.
    let (trace, writer) = pipe()?;
    fcntl_setfd(&trace, FdFlags::CLOEXEC)?;
    // In a trace variable git takes a number of one digit for a descriptor (`get_trace_fd()` in git's trace.c), and 1 and 2
    // mean something else.
    if let number @ 3..=9 = writer.as_raw_fd() {
        git.env("GIT_TRACE_CURL", number.to_string())
            .env("GIT_TRACE_CURL_NO_DATA", "1");
    }
    let child = spawn(git)?;
    drop(writer);
    let clock = clock.clone();
    thread::spawn(move || {
        trace::read(File::from(trace), |event| {
            match event {
                TraceEvent::Connecting => clock.resume(),
                TraceEvent::Connected => clock.stop(),
                _ => {}
            }
            ControlFlow::Continue(())
        });
    });
    Ok(child)
}

/// The user's ssh, with `git upload-pack` on the other side. It asks nothing at the terminal. None where the program is
/// not OpenSSH: only git itself knows the arguments of another.
fn over_ssh(invocation: &Invocation, url: &UpstreamUrl, limit: Duration) -> Option<Command> {
    let client = ssh::Client::new(&invocation.config.client_context());
    let timeout = format!("ConnectTimeout={}", limit.as_secs());
    let options = ["-o", "BatchMode=yes", "-o", &timeout].map(str::to_owned);
    let args = options.into_iter().chain(ssh::args(url, "git-upload-pack"));
    (client.variant == Variant::OpenSsh).then(|| client.of_user(args))
}

fn spawn(mut command: Command) -> io::Result<(Child, ChildLog)> {
    let log = ChildLog::begin(&command);
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    Ok((child, log))
}
