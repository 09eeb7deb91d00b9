//! Signs in and does nothing else, and reads what ssh prints of each step (`ssh -v`).

use crate::{
    process::watch::{Watch, cancelled},
    upstream::{Access, Trouble, answers},
};
use std::{
    io,
    os::unix::process::CommandExt,
    process::Stdio,
    time::{Duration, Instant},
};

use common::{
    address::{redact, upstream_url::UpstreamUrl},
    git::child_log::ChildLog,
    no_progress::SIGN_IN_TIMEOUT,
    protocol::Failure,
    text::masked,
};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    runtime::Handle,
    time::timeout,
};

use super::{ConnectionKey, Ssh, explain_refusal, stderr};

/// A step that ssh has printed, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::upstream) struct LogEntry {
    /// A description for people.
    pub text: String,
    /// The time since the start.
    pub at: Duration,
}

/// The steps of signing in, as far as ssh got.
#[derive(Debug, Default)]
pub(in crate::upstream) struct SignInLog {
    /// The address that the name stands for, or the program that connects instead.
    pub resolved: Option<LogEntry>,
    /// The address and port at which somebody listens.
    pub connected: Option<LogEntry>,
    /// The fingerprint of the key that the server showed.
    pub host_key: Option<LogEntry>,
    /// The user, and with what they signed in.
    pub signed_in: Option<LogEntry>,
    /// Why it got no further.
    pub trouble: Option<Trouble>,
    address: String,
    user: Option<String>,
    key: Option<String>,
    /// Hosts through which ssh jumps, each of which is signed in to first.
    jumps: usize,
    /// The lines that are no debug output.
    rest: String,
}

impl Ssh {
    /// Signs in on a new connection; `None` where the user's ssh is not OpenSSH.
    pub(in crate::upstream) fn sign_in(
        &self,
        url: &UpstreamUrl,
        access: &Access,
        watch: &Watch,
    ) -> Result<Option<SignInLog>, Trouble> {
        let connection = ConnectionKey::new(url, access)?;
        let config = self.client_config(&connection, watch)?;
        if !config.is_openssh {
            return Ok(None);
        }
        let mut args = vec!["-v".to_owned(), "-N".into()];
        // On a kept connection no step would be taken, and no port is to be forwarded for a test.
        for option in [
            "ControlMaster=no",
            "ControlPath=none",
            "ClearAllForwardings=yes",
        ] {
            args.extend(["-o".into(), option.into()]);
        }
        let can_ask = !watch.askable().is_empty();
        args.extend(self.options(&connection, &config, access, can_ask)?);
        args.extend(connection.port().chain([connection.destination.clone()]));
        let mut command = connection.client.fenced(args, &connection.environment);
        let (variables, asking) = self.allow_questions(access, watch)?;
        command
            .envs(variables)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0);
        // ssh has a limit of its own for connecting; this one is for all that comes after.
        let mut limit = access.http.no_progress * 2;
        if can_ask {
            limit += SIGN_IN_TIMEOUT;
        }
        let mut log = SignInLog::default();
        let running = run_until_signed_in(command.into(), &mut log, limit, watch);
        match Handle::current().block_on(running) {
            Err(err) => return Err(Failure::io("cannot run ssh", &err).into()),
            Ok(_) if watch.is_cancelled() => return Err(cancelled().into()),
            Ok(_) if log.signed_in.is_some() => {}
            Ok(Some(status)) => {
                let ended = stderr::explain(url, &log.rest, status.code());
                let unknown = || Failure::here("ssh ended and did not say why").into();
                let trouble = ended.unwrap_or_else(unknown);
                log.trouble = Some(explain_refusal(url, access, asking.as_ref(), trouble));
            }
            Ok(None) => log.trouble = Some(answers::timed_out(url, limit)),
        }
        Ok(Some(log))
    }
}

/// Runs ssh until it is signed in, or ends; returns the status if it has ended.
async fn run_until_signed_in(
    mut command: tokio::process::Command,
    log: &mut SignInLog,
    limit: Duration,
    watch: &Watch,
) -> io::Result<Option<std::process::ExitStatus>> {
    let began = Instant::now();
    let child_log = ChildLog::begin(command.as_std());
    let mut child = command.kill_on_drop(true).spawn()?;
    let pid = child.id().and_then(|pid| pid.try_into().ok());
    let group = pid.and_then(Pid::from_raw);
    let Some(stderr) = child.stderr.take() else {
        return Err(io::Error::other("it has no stderr"));
    };
    let reading = async {
        let mut lines = BufReader::new(stderr).split(b'\n');
        while let Some(line) = lines.next_segment().await? {
            log.read_line(&String::from_utf8_lossy(&line), began.elapsed());
            if log.signed_in.is_some() {
                return Ok(None);
            }
        }
        child.wait().await.map(Some)
    };
    let ended = tokio::select! {
        ended = timeout(limit, reading) => ended.unwrap_or(Ok(None)),
        () = watch.cancelled() => Ok(None),
    };
    // A ProxyCommand is in the same group.
    if let (Ok(None), Some(group)) = (&ended, group) {
        let _ = kill_process_group(group, Signal::KILL);
        let _ = child.wait().await;
    }
    if let Ok(Some(status)) = &ended {
        child_log.ended(*status);
    }
    ended
}

impl SignInLog {
    /// Reads one line of stderr.
    fn read_line(&mut self, line: &str, at: Duration) {
        let line = line.trim_end();
        let entry = |text: &str| {
            Some(LogEntry {
                text: masked(redact(text).as_bytes()),
                at,
            })
        };
        // Authenticated to gitlab.example ([192.0.2.1]:22) using "publickey".
        if let Some(rest) = line.strip_prefix("Authenticated to ") {
            if self.jumps > 0 {
                self.jumps -= 1;
                (self.host_key, self.user, self.key) = (None, None, None);
                return;
            }
            let method = rest.split('"').nth(1).unwrap_or("something");
            let with = self.key.clone().filter(|_| method == "publickey");
            let user = self.user.take();
            let user = user.map(|user| format!("as '{user}' ")).unwrap_or_default();
            self.signed_in = entry(&format!("{user}with {}", with.as_deref().unwrap_or(method)));
            return;
        }
        let Some(message) = line.strip_prefix("debug1: ") else {
            let is_noise = line.starts_with("debug") || line.starts_with("OpenSSH_");
            if !is_noise {
                self.rest.push_str(line);
                self.rest.push('\n');
            }
            return;
        };
        // Connecting to gitlab.example [192.0.2.1] port 22.
        if let Some(rest) = message.strip_prefix("Connecting to ") {
            let address = rest.split(['[', ']']).nth(1).unwrap_or(rest);
            let port = rest.rsplit(' ').next().unwrap_or_default();
            self.address = format!("{address}:{}", port.trim_end_matches('.'));
            self.resolved = self.resolved.take().or_else(|| entry(address));
        } else if message.starts_with("Executing proxy command: ") {
            // The command may hold secrets.
            self.resolved = entry("left to ProxyCommand");
            self.address = "by ProxyCommand".into();
        } else if message.starts_with("Setting implicit ProxyCommand from ProxyJump: ") {
            self.jumps += 1;
        } else if message.starts_with("Connection established")
            || message.starts_with("Remote protocol version ")
        {
            let address = self.address.clone();
            self.connected = self.connected.take().or_else(|| entry(&address));
        } else if let Some(key) = message.strip_prefix("Server host key: ") {
            self.host_key = entry(key);
        } else if let Some(rest) = message.strip_prefix("Authenticating to ") {
            // Authenticating to gitlab.example:22 as 'git'
            self.user = rest.split('\'').nth(1).map(str::to_owned);
        } else if let Some(key) = message.strip_prefix("Server accepts key: ") {
            // Server accepts key: /home/me/.ssh/id_ed25519 ED25519 SHA256:… agent
            let mut words: Vec<_> = key.split(' ').collect();
            let end = words.iter().position(|word| word.starts_with("SHA256:"));
            words.truncate(end.map_or(words.len(), |end| end + 1));
            self.key = Some(words.join(" "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(stderr: &str) -> SignInLog {
        let mut log = SignInLog::default();
        for line in stderr.lines() {
            log.read_line(line, Duration::ZERO);
        }
        log
    }

    fn text(entry: Option<&LogEntry>) -> &str {
        entry.map_or("", |entry| &entry.text)
    }

    #[test]
    fn each_step_is_read() {
        let log = log("OpenSSH_9.2p1 Debian-2, OpenSSL 3.0\n\
             debug1: Reading configuration data /home/me/.ssh/config\n\
             debug1: Connecting to gitlab.example [192.0.2.1] port 2222.\r\n\
             debug1: Connection established.\n\
             debug1: Authenticating to gitlab.example:2222 as 'git'\n\
             debug1: Server host key: ssh-ed25519 SHA256:abc\n\
             debug1: Server accepts key: /home/me/my key ED25519 SHA256:def agent\n\
             Welcome\n\
             Authenticated to gitlab.example ([192.0.2.1]:2222) using \"publickey\".\n");
        assert_eq!(text(log.resolved.as_ref()), "192.0.2.1");
        assert_eq!(text(log.connected.as_ref()), "192.0.2.1:2222");
        assert_eq!(text(log.host_key.as_ref()), "ssh-ed25519 SHA256:abc");
        let signed_in = "as 'git' with /home/me/my key ED25519 SHA256:def";
        assert_eq!(text(log.signed_in.as_ref()), signed_in);
        assert_eq!(log.rest, "Welcome\n", "the rest may say what went wrong");
    }

    #[test]
    fn a_host_on_the_way_is_not_the_end_of_it() {
        let log = log(
            "debug1: Setting implicit ProxyCommand from ProxyJump: ssh -v -W '[%h]:%p' jump\n\
             debug1: Executing proxy command: exec ssh -v -W '[gitlab.example]:22' jump\n\
             debug1: Connecting to jump [192.0.2.2] port 22.\n\
             debug1: Server host key: ssh-ed25519 SHA256:jump\n\
             debug1: Authenticating to jump:22 as 'me'\n\
             Authenticated to jump ([192.0.2.2]:22) using \"publickey\".\n\
             debug1: Remote protocol version 2.0, remote software version OpenSSH\n\
             debug1: Server host key: ssh-ed25519 SHA256:there\n\
             Authenticated to gitlab.example (via proxy) using \"none\".\n",
        );
        assert_eq!(text(log.resolved.as_ref()), "left to ProxyCommand");
        assert_eq!(text(log.host_key.as_ref()), "ssh-ed25519 SHA256:there");
        assert_eq!(text(log.signed_in.as_ref()), "with none");
    }
}
