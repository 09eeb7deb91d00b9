//! Upstreams behind ssh: the user's own ssh, run by us as git would run it, without questions.
//!
//! Another program than OpenSSH, and a server that speaks only the old protocol, are left to git itself. Of OpenSSH a
//! connection is kept for the next check, unless the user has arranged that in their own way.

mod client;
mod kept;
mod probe;
mod sign_in;
mod words;

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use common::{protocol::Failure, upstream_url::UpstreamUrl};

pub(crate) use self::client::Client;
use self::{client::quoted, kept::Kept, probe::Probe};
pub(super) use self::{
    sign_in::{Heard, Seen},
    words::explain,
};
use super::{Access, Trouble};
use crate::watch::Watch;

/// Where ssh connects to when nobody says otherwise; then it may be the user's configuration that does.
const PORT: u16 = 22;

/// How long an unused connection is kept, and for how long we rely on what ssh said of its configuration.
const KEEP: Duration = Duration::from_secs(60);

/// What all conversations over ssh share.
pub(crate) struct Ssh {
    kept: Kept,
    probes: Mutex<HashMap<Who, (Probe, Instant)>>,
    /// Servers that were found to speak only the old protocol, for as long as this daemon lives.
    old: Mutex<HashSet<String>>,
}

/// One end of a connection, and the other: nothing may be shared between two that differ.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Who {
    client: Client,
    /// The user's agent, their Kerberos tickets.
    environment: Vec<(String, String)>,
    destination: String,
    port: Option<u16>,
}

/// How to reach an upstream.
pub(super) struct Line {
    /// A child of our own; None where only git can do it.
    pub ours: Option<Command>,
    /// The variables with which git does.
    pub for_git: Vec<(String, String)>,
}

impl Who {
    fn new(url: &UpstreamUrl, access: &Access) -> Result<Self, Failure> {
        let Some(client) = &access.ssh else {
            return Err(Failure::here(format!("'{url}' is not for ssh")));
        };
        let host = url.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Ok(Self {
            client: client.clone(),
            environment: access.environment.clone(),
            destination: match url.user() {
                Some(user) => format!("{user}@{host}"),
                None => host.to_owned(),
            },
            port: url.port().filter(|port| *port != PORT),
        })
    }

    /// OpenSSH with these options, and a program of git's on the other side.
    fn run(&self, program: &str, url: &UpstreamUrl, options: Vec<String>) -> Command {
        let path = quoted(url.ssh_path().unwrap_or_default());
        let words = options
            .into_iter()
            .chain(["-o".into(), "SendEnv=GIT_PROTOCOL".into()])
            .chain(self.port())
            .chain([self.destination.clone(), format!("{program} {path}")]);
        self.client.command(words, &self.environment)
    }

    fn port(&self) -> impl Iterator<Item = String> {
        self.port
            .into_iter()
            .flat_map(|port| ["-p".to_owned(), port.to_string()])
    }
}

impl Ssh {
    /// With a folder for the sockets of kept connections. Ends those that a dead daemon has left there.
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        let kept = Kept::new(folder);
        kept.end();
        Self {
            kept,
            probes: Mutex::default(),
            old: Mutex::default(),
        }
    }

    /// Ends all connections that are kept. Blocks until they have ended.
    pub(crate) fn end(&self) {
        self.kept.end();
    }

    /// How to reach `url`. Asks the user's ssh for its configuration, once in a while.
    pub(super) fn line(
        &self,
        url: &UpstreamUrl,
        access: &Access,
        watch: &Watch,
    ) -> Result<Line, Trouble> {
        let who = Who::new(url, access)?;
        let probe = self.probe(&who, watch)?;
        if !probe.is_openssh {
            return Ok(Line {
                ours: None,
                for_git: who.client.for_git(None),
            });
        }
        let options = self.options(&who, probe, access);
        let for_git = who.client.for_git(Some(&options));
        let is_old = lock(&self.old).contains(&url.origin());
        let ours = (!is_old).then(|| who.run("git-upload-pack", url, options));
        Ok(Line { ours, for_git })
    }

    /// What would take a push to `url`; None where only git can run it.
    pub(super) fn receive_pack(
        &self,
        url: &UpstreamUrl,
        access: &Access,
        watch: &Watch,
    ) -> Result<Option<Command>, Trouble> {
        let who = Who::new(url, access)?;
        let probe = self.probe(&who, watch)?;
        let options = self.options(&who, probe, access);
        let ours = || who.run("git-receive-pack", url, options);
        Ok(probe.is_openssh.then(ours))
    }

    /// Remembers that a server speaks only the old protocol.
    pub(super) fn note_old(&self, url: &UpstreamUrl) {
        lock(&self.old).insert(url.origin());
    }

    fn probe(&self, who: &Who, watch: &Watch) -> Result<Probe, Trouble> {
        if let Some((probe, at)) = lock(&self.probes).get(who)
            && at.elapsed() < KEEP
        {
            return Ok(*probe);
        }
        let probe = probe::probe(who, watch)?;
        let mut probes = lock(&self.probes);
        probes.retain(|_, (_, at)| at.elapsed() < KEEP);
        probes.insert(who.clone(), (probe, Instant::now()));
        Ok(probe)
    }

    /// What OpenSSH is told beside what the user has told it. What stands in their command comes first, and so wins;
    /// what stands in their configuration would not, and is left alone.
    fn options(&self, who: &Who, probe: Probe, access: &Access) -> Vec<String> {
        let mut settings = vec!["BatchMode=yes".to_owned()];
        if !probe.sets_timeout {
            // As long as a server may be silent over http.
            let seconds = access.http.no_progress.as_secs();
            settings.push(format!("ConnectTimeout={seconds}"));
        }
        if !probe.sets_alive {
            settings.extend([
                "ServerAliveInterval=10".into(),
                "ServerAliveCountMax=3".into(),
            ]);
        }
        if !probe.sets_control
            && let Some(socket) = self.kept.socket(who)
        {
            settings.extend([
                "ControlMaster=auto".into(),
                format!("ControlPath={socket}"),
                format!("ControlPersist={}", KEEP.as_secs()),
                // A port that is forwarded for a person must not be held by a connection that is kept for us.
                "ClearAllForwardings=yes".into(),
            ]);
        }
        settings
            .into_iter()
            .flat_map(|setting| ["-o".to_owned(), setting])
            .collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
