//! Upstreams that gix's layer cannot speak to: `git` itself asks and fetches, into the same quarantine.
//!
//! The child is fenced like every other. The settings that it needs come by a file that goes with it, the login by a
//! credential helper of ours that asks this daemon with an id that is good for one use: neither is in an argument or in
//! the environment.

use std::{
    io,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};

use common::{
    address::{
        redact,
        upstream_url::{Scheme, UpstreamUrl},
    },
    git::{self, config_file::ConfigFile},
    protocol::{Failure, FailureKind, OrFailure},
    refspec::{Refspecs, UpstreamRef},
    text::masked,
};
use gix::{ObjectId, bstr::BString};

use super::{
    Access, Advertised, OneTimeLogins, Trouble, Upstreams,
    answers::{self, server_message},
    ssh,
};
use crate::{
    mirrors::settings::Auth,
    process::{child, durable, memory, relay::Relay, watch::Watch},
    repository::{
        plan::Head,
        quarantine::{Quarantine, Received},
        refs::{Refs, UpstreamRefs},
    },
};

/// The name under which the child knows its upstream. No rule of the user's rewrites it, and the URL, rewritten from it
/// exactly once, cannot lead back to us.
const ALIAS: &str = "mirror-upstream:";

/// git gives up by itself what comes over http and is silent for the budget. What it does not look at, the connection
/// and what ssh brings, is given up by us, with room for a list of refs, of which it says nothing before it has it all.
const MAX_SILENT_INTERVALS: u32 = 4;

/// The variables that name a proxy. `http.proxy` comes before them.
const PROXY_VARIABLES: [&str; 5] = [
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
];

/// A conversation by way of git.
pub(crate) struct Git {
    url: UpstreamUrl,
    access: Access,
    logins: Arc<OneTimeLogins>,
    /// Where the settings of children lie.
    settings: PathBuf,
    /// What makes it run the user's ssh, where it must.
    ssh: Vec<(String, String)>,
}

impl Git {
    /// A conversation in which nothing has been said yet.
    pub(crate) fn new(url: &UpstreamUrl, access: &Access, upstreams: &Upstreams) -> Self {
        Self {
            url: url.clone(),
            access: access.clone(),
            logins: upstreams.logins.clone(),
            settings: upstreams.child_settings.clone(),
            ssh: Vec::new(),
        }
    }

    /// The same, by an ssh that these variables describe.
    pub(crate) fn over_ssh(self, ssh: Vec<(String, String)>) -> Self {
        Self { ssh, ..self }
    }

    /// Asks with `git ls-remote`.
    pub(crate) fn list_refs(&self, track: &Refspecs, watch: &Watch) -> Result<Advertised, Trouble> {
        let mut command = git::fenced();
        command
            .args(["ls-remote", "--symref", ALIAS])
            .stdout(Stdio::piped());
        let stdout = self.run(command, Vec::new(), watch)?;
        let mut refs = Vec::new();
        let mut head = Head::Unknown;
        for line in stdout.split(|byte| *byte == b'\n') {
            let mut words = line.splitn(2, |byte| *byte == b'\t');
            let (Some(value), Some(name)) = (words.next(), words.next()) else {
                continue;
            };
            match (value.strip_prefix(b"ref: "), ObjectId::from_hex(value)) {
                (Some(target), _) if name == b"HEAD" => {
                    head = Head::Branch(UpstreamRef::new(target));
                }
                (None, Ok(oid)) if !name.ends_with(b"^{}") => refs.push((BString::from(name), oid)),
                _ => {}
            }
        }
        let format = refs
            .first()
            .map_or(gix::hash::Kind::Sha1, |(_, oid)| oid.kind());
        Advertised::of(&self.url, refs, head, format, track)
    }

    /// Fetches with `git fetch`. A ref that moved since it was asked for makes the check that follows fail, and the
    /// next sync succeed.
    pub(crate) fn fetch_pack(
        &self,
        wants: &UpstreamRefs,
        records: &Refs,
        quarantine: &Quarantine,
        watch: &Watch,
    ) -> Result<Received, Trouble> {
        let mut command = quarantine
            .git_with_refs(records)
            .or_failure("cannot prepare a fetch")?;
        command.args(["-c", "fetch.unpackLimit=1", "-c", "fetch.fsckObjects=false"]);
        if records.is_empty() {
            command.args(["-c", "fetch.negotiationAlgorithm=noop"]);
            // Its own search for what is missing is then all that there is to do.
            command.args(["-c", "core.commitGraph=false"]);
        }
        command.args(["-c", memory::STREAM_BLOBS]);
        command.args(["fetch", "--progress", "--no-tags", "--no-auto-maintenance"]);
        command.args([
            "--no-recurse-submodules",
            "--negotiation-tip=refs/upstream/*",
            "--stdin",
            ALIAS,
        ]);
        let names: Vec<u8> = wants
            .keys()
            .flat_map(|name| name.as_bstr().iter().copied().chain([b'\n']))
            .collect();
        watch.receiving();
        self.run(command, names, watch)?;
        if records.is_empty()
            && quarantine
                .fetched_all(wants)
                .or_failure("cannot prepare a fetch")?
        {
            return Ok(Received::Connected);
        }
        Ok(Received::Unchecked)
    }

    fn run(&self, mut command: Command, input: Vec<u8>, watch: &Watch) -> Result<Vec<u8>, Trouble> {
        let context = "cannot run git";
        let mut settings = self.access.settings.clone();
        // A redirect would take the login to wherever it leads; whoever moved has to be named anew.
        settings.retain(|(key, _)| !key.to_ascii_lowercase().ends_with(".followredirects"));
        settings.push(("http.followRedirects".into(), "false".into()));
        settings.push((format!("url.{}.insteadOf", self.url), ALIAS.into()));
        settings.push(("http.lowSpeedLimit".into(), "1".into()));
        settings.push((
            "http.lowSpeedTime".into(),
            self.access.http.no_progress.as_secs().to_string(),
        ));
        settings.push(("credential.helper".into(), String::new()));
        // What signs in on its own signs in as nobody else: `~/.netrc` is not for it.
        let home = match self.access.auth {
            Auth::AsGit => String::new(),
            _ => git::hide_netrc(&mut command),
        };
        let mut id = None;
        if let Some(login) = &self.access.login {
            let offered = self
                .logins
                .offer(&self.url.origin(), login, false, None)
                .or_failure(context)?;
            let helper = sibling_program("git-remote-mirror").or_failure(context)?;
            let helper = format!("!{home}'{helper}' login");
            settings.push(("credential.helper".into(), helper));
            if self.access.auth != Auth::AsGit {
                settings.push(("http.proactiveAuth".into(), "basic".into()));
            }
            command.env("MIRROR_LOGIN", &offered.0);
            id = Some(offered);
        }
        if let Some(proxy) = &self.access.http.proxy {
            settings.push(("http.proxy".into(), proxy.clone()));
        }
        // A proxy's password is for the file, too.
        let environment = self.access.environment.iter();
        let environment = environment.filter(|(name, _)| !PROXY_VARIABLES.contains(&&**name));
        command.env_remove("SSH_AUTH_SOCK").envs(
            environment
                .chain(&self.ssh)
                .map(|(name, value)| (name, value)),
        );
        let settings = settings.iter();
        let settings = settings.map(|(key, value)| (key.as_str(), value.as_bytes()));
        let settings = durable::make_dir(&self.settings)
            .and_then(|()| ConfigFile::create(&self.settings, settings))
            .or_failure(context)?;
        settings.include_in(&mut command);
        let mut relay = Relay::default();
        let budget = self.access.http.no_progress * MAX_SILENT_INTERVALS;
        let ended = child::run_reading(command, input, Some(budget), watch, |piece| {
            watch.moved();
            relay.hear(piece, watch);
        });
        drop(settings);
        if let Some(id) = id {
            self.logins.withdraw(&id);
        }
        let ended = ended.or_failure(context)?;
        if ended.was_silent {
            Err(answers::silent(&self.url, budget))
        } else if ended.status.success() {
            Ok(ended.stdout)
        } else {
            Err(self.explain(&String::from_utf8_lossy(&ended.stderr)))
        }
    }

    /// What git's own last words mean.
    fn explain(&self, words: &str) -> Trouble {
        if self.url.scheme() == Scheme::Ssh
            && let Some(trouble) = ssh::explain(&self.url, words, None)
        {
            return trouble;
        }
        if let Some(trouble) = server_message::meaning(&self.url, words) {
            return trouble;
        }
        if let Some(failure) = memory::exhausted(words) {
            return failure.into();
        }
        let fatal = words
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("fatal: "))
            .unwrap_or("git ended without a word");
        let fatal = masked(redact(fatal).as_bytes());
        let any = |texts: &[&str]| texts.iter().any(|text| fatal.contains(text));
        let message = format!("cannot read '{}': {fatal}", self.url);
        let kind = if any(&["could not read Username", "could not read Password"]) {
            FailureKind::LoginNeeded
        } else if any(&[
            "Authentication failed",
            "not found",
            "returned error: 30",
            "returned error: 40",
            // Not a passing fault: it may be somebody in the middle.
            "certificate",
            "protocol",
        ]) {
            FailureKind::Refused
        } else {
            FailureKind::Unreachable
        };
        Trouble {
            login_refused: any(&["Authentication failed"]),
            ..Failure::new(kind, message).into()
        }
    }
}

/// A program of ours that was installed beside this one.
pub(super) fn sibling_program(program: &str) -> io::Result<String> {
    let path = std::env::current_exe()?.with_file_name(program);
    let path = path
        .into_os_string()
        .into_string()
        .map_err(|_| io::Error::other("its path is not text"))?;
    // It stands between single quotes in a line for the shell.
    if path.contains('\'') {
        Err(io::Error::other("its path has a quote"))
    } else {
        Ok(path)
    }
}
