//! Upstreams that gix's layer cannot speak to: `git ls-remote` lists their refs, and `git fetch` fetches into the same
//! quarantine.
//!
//! The child is fenced like every other. Its settings are in a file that is removed with the child. Its login comes from a
//! credential helper of ours, which asks this daemon with a one-time id. Neither is in an argument or in the environment.

use std::{
    io,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};

use common::{
    address::{
        redact,
        upstream_url::{Address, Scheme, UpstreamUrl},
    },
    git::{self, config_file::ConfigFile},
    protocol::{Failure, FailureKind, LOGIN_ID, OrFailure},
    refspec::{OnDemand, Refspecs},
    text::masked,
};
use gix::{ObjectId, bstr::BString};

use super::{
    Access, Advertised, OneTimeLogins, Trouble, Upstreams,
    answers::{self, server_message},
    http_settings::Redirects,
    ssh,
};
use crate::{
    mirrors::settings::Auth,
    process::{
        child::{self, Ended},
        durable, memory,
        relay::Relay,
        watch::Watch,
    },
    repository::{
        quarantine::{Completeness, Quarantine},
        refs::{Refs, UpstreamRefs},
    },
};

/// The URL that the child is given. `url.*.insteadOf` rewrites it to upstream's, once: so no rule of the user's applies, and
/// none can lead back to a mirror.
const ALIAS: &str = "mirror-upstream:";

/// How many times the limit a git may be silent before it is ended. Over http git has the limit itself
/// (`http.lowSpeedTime`). Connecting and ssh are limited only here, and `git ls-remote` prints nothing before it has the
/// whole list.
const SILENT_LIMITS: u32 = 4;

/// The variables that name a proxy. `http.proxy` comes before them.
const PROXY_VARIABLES: [&str; 5] = [
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
];

/// An upstream that git reaches for us.
pub(crate) struct Git {
    url: UpstreamUrl,
    access: Access,
    logins: Arc<OneTimeLogins>,
    /// The directory for the file with the settings.
    settings: PathBuf,
    /// The variables that describe the user's ssh, for an upstream behind ssh.
    ssh: Vec<(String, String)>,
    /// Where upstream has redirected the list of refs to.
    reached: Option<UpstreamUrl>,
}

impl Git {
    /// Prepares the access to an upstream; nothing is run yet.
    pub(crate) fn new(url: &UpstreamUrl, access: &Access, upstreams: &Upstreams) -> Self {
        Self {
            url: url.clone(),
            access: access.clone(),
            logins: upstreams.logins.clone(),
            settings: upstreams.child_settings.clone(),
            ssh: Vec::new(),
            reached: None,
        }
    }

    /// The same upstream, by an ssh that these variables describe.
    pub(crate) fn over_ssh(self, ssh: Vec<(String, String)>) -> Self {
        Self { ssh, ..self }
    }

    /// Where upstream has redirected the list of refs to.
    pub(crate) fn moved_to(&self) -> Option<UpstreamUrl> {
        self.reached.clone().filter(|reached| *reached != self.url)
    }

    /// Lists refs with `git ls-remote`.
    pub(crate) fn list_refs(
        &mut self,
        track: &Refspecs,
        on_demand: &OnDemand,
        watch: &Watch,
    ) -> Result<Advertised, Trouble> {
        let mut command = git::fenced();
        command
            .args(["ls-remote", "--symref", ALIAS])
            .stdout(Stdio::piped());
        let Ended { stdout, stderr, .. } = self.run(command, Vec::new(), watch)?;
        self.reached = redirect(&String::from_utf8_lossy(&stderr));
        let (mut refs, mut symrefs) = (Vec::new(), Vec::new());
        for line in stdout.split(|byte| *byte == b'\n') {
            let mut fields = line.splitn(2, |byte| *byte == b'\t');
            let (Some(value), Some(name)) = (fields.next(), fields.next()) else {
                continue;
            };
            match (value.strip_prefix(b"ref: "), ObjectId::from_hex(value)) {
                (Some(target), _) => symrefs.push((name.into(), target.into())),
                (None, Ok(oid)) if !name.ends_with(b"^{}") => refs.push((BString::from(name), oid)),
                _ => {}
            }
        }
        let format = refs
            .first()
            .map_or(gix::hash::Kind::Sha1, |(_, oid)| oid.kind());
        Advertised::from_refs(&self.url, refs, symrefs, format, track, on_demand)
    }

    /// Fetches with `git fetch`. If a ref has moved since it was listed, the check of the pack fails, and the next sync
    /// succeeds.
    pub(crate) fn fetch_pack(
        &self,
        wants: &UpstreamRefs,
        records: &Refs,
        quarantine: &Quarantine,
        watch: &Watch,
    ) -> Result<Completeness, Trouble> {
        let mut command = quarantine
            .git_with_refs(records)
            .or_failure("cannot prepare a fetch")?;
        command.args(["-c", "fetch.unpackLimit=1", "-c", "fetch.fsckObjects=false"]);
        if records.is_empty() {
            command.args(["-c", "fetch.negotiationAlgorithm=noop"]);
            // git's check for missing objects reads the pack alone then, and no commit-graph speeds that up.
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
            return Ok(Completeness::Connected);
        }
        Ok(Completeness::Unchecked)
    }

    /// Whether git may follow a redirect. It would take the user's headers along, which may hold a login, and a mirror's own
    /// login goes nowhere else.
    fn may_be_redirected(&self) -> bool {
        let Access { auth, http, .. } = &self.access;
        let is_http = matches!(self.url.scheme(), Scheme::Http | Scheme::Https);
        is_http && *auth == Auth::AsGit && http.headers.is_empty()
    }

    /// Which redirects git is to follow.
    fn redirects(&self) -> &'static str {
        match self.access.http.redirects {
            Redirects::Initial if self.may_be_redirected() => "initial",
            Redirects::Always if self.may_be_redirected() => "true",
            _ => "false",
        }
    }

    /// git's own rules for redirects: upstream's own URL counts as typed by the user, and one that a redirect names does not.
    fn rules_for_transports(&self) -> impl Iterator<Item = (String, String)> {
        let may_lead_to = &self.access.http.redirect_transports;
        let transports = [Scheme::Http, Scheme::Https].map(|scheme| scheme.to_string());
        let rules = transports.into_iter().map(|transport| {
            let rule = match may_lead_to.contains(&transport) {
                true => "always",
                false => "user",
            };
            (format!("protocol.{transport}.allow"), rule.to_owned())
        });
        rules.chain([("protocol.allow".to_owned(), "never".to_owned())])
    }

    fn run(&self, mut command: Command, input: Vec<u8>, watch: &Watch) -> Result<Ended, Trouble> {
        let context = "cannot run git";
        let mut settings = self.access.settings.clone();
        settings.retain(|(key, _)| !key.to_ascii_lowercase().ends_with(".followredirects"));
        let redirects = self.redirects();
        settings.push(("http.followRedirects".into(), redirects.into()));
        if redirects != "false" {
            settings.extend(self.rules_for_transports());
            // It comes before the rules, and knows no difference between a URL and where that redirects.
            command.env_remove("GIT_ALLOW_PROTOCOL");
        }
        // Where a login is missing, git says for which repository.
        settings.push(("credential.useHttpPath".into(), "true".into()));
        settings.push((format!("url.{}.insteadOf", self.url), ALIAS.into()));
        settings.push(("http.lowSpeedLimit".into(), "1".into()));
        settings.push((
            "http.lowSpeedTime".into(),
            self.access.http.no_progress.as_secs().to_string(),
        ));
        settings.push(("credential.helper".into(), String::new()));
        // A mirror with a credential of its own uses no other: `~/.netrc` is hidden.
        let home = match self.access.auth {
            Auth::AsGit => String::new(),
            _ => git::hide_netrc(&mut command),
        };
        let mut id = None;
        if let Some(login) = &self.access.login {
            let offered = self
                .logins
                .offer(&self.access.login_origin(&self.url), login, false, None)
                .or_failure(context)?;
            let helper = sibling_program("git-remote-mirror").or_failure(context)?;
            let helper = format!("!{home}'{helper}' login");
            settings.push(("credential.helper".into(), helper));
            if self.access.auth != Auth::AsGit {
                settings.push(("http.proactiveAuth".into(), "basic".into()));
            }
            command.env(LOGIN_ID, &offered.0);
            id = Some(offered);
        }
        if let Some(proxy) = &self.access.http.proxy {
            // It was chosen among the user's settings of it, and may have a login now.
            settings.retain(|(key, _)| !key.to_ascii_lowercase().ends_with(".proxy"));
            settings.push(("http.proxy".into(), proxy.clone()));
        }
        // The URL of a proxy may hold a password, so it is in the file, too.
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
        let no_progress_limit = self.access.http.no_progress * SILENT_LIMITS;
        let ended = child::run_reading(command, input, Some(no_progress_limit), watch, |piece| {
            watch.record_progress();
            relay.read(piece, watch);
        });
        drop(settings);
        if let Some(id) = id {
            self.logins.withdraw(&id);
        }
        let ended = ended.or_failure(context)?;
        if ended.was_silent {
            Err(answers::timed_out(&self.url, no_progress_limit))
        } else if ended.status.success() {
            Ok(ended)
        } else {
            Err(self.explain(&String::from_utf8_lossy(&ended.stderr)))
        }
    }

    /// Returns what git's stderr means.
    fn explain(&self, stderr: &str) -> Trouble {
        if self.url.scheme() == Scheme::Ssh
            && let Some(trouble) = ssh::explain(&self.url, stderr, None)
        {
            return trouble;
        }
        if let Some(trouble) = server_message::meaning(&self.url, stderr) {
            return trouble;
        }
        if let Some(failure) = memory::exhausted(stderr) {
            return failure.into();
        }
        let fatal = stderr
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("fatal: "))
            .unwrap_or("git ended without a word");
        let fatal = masked(redact(fatal).as_bytes());
        let any = |texts: &[&str]| texts.iter().any(|text| fatal.contains(text));
        // `returned error: 407`, and of CONNECT `response 407` or `HTTP code 407 from proxy`.
        if self.access.http.proxy.is_some() && fatal.contains(" 407") {
            return match self.access.http.has_proxy_login() {
                true => answers::proxy_login_refused(&self.url),
                false => answers::proxy_wants_login(&self.url),
            };
        }
        let message = format!("cannot read '{}': {fatal}", self.url);
        let kind = if any(&["could not read Username", "could not read Password"]) {
            FailureKind::LoginNeeded
        } else if any(&[
            "Authentication failed",
            "not found",
            "returned error: 30",
            "returned error: 40",
            // A fault that stays: somebody may be in the middle.
            "certificate",
            "protocol",
        ]) {
            FailureKind::Refused
        } else {
            FailureKind::Unreachable
        };
        let mut failure = Failure::new(kind, message);
        let would_follow = self.may_be_redirected() && !self.access.follows_anywhere();
        if would_follow && any(&["returned error: 30"]) {
            failure = failure.hinted(
                "it redirects; to follow that: git config --global http.followRedirects initial",
            );
        }
        let asked_at = login_wanted_at(&fatal).filter(|url| *url != self.url);
        Trouble {
            login_refused: any(&["Authentication failed"]),
            asked_at: asked_at.map(Box::new),
            ..failure.into()
        }
    }
}

/// Where git says that it was redirected to: `warning: redirecting to https://gitlab.example/group/project.git/`.
fn redirect(stderr: &str) -> Option<UpstreamUrl> {
    let mut lines = stderr.lines();
    parse_url(lines.find_map(|line| line.strip_prefix("warning: redirecting to "))?)
}

/// The URL for which git has no login: `could not read Username for 'https://gitlab.example/group/project.git': …`.
fn login_wanted_at(fatal: &str) -> Option<UpstreamUrl> {
    let (_, rest) = fatal.split_once("could not read Username for '")?;
    parse_url(rest.split('\'').next()?)
}

fn parse_url(text: &str) -> Option<UpstreamUrl> {
    match Address::parse(text) {
        Ok(Address::Url(url, None)) => Some(url),
        _ => None,
    }
}

/// Returns the path of a program of ours that is installed beside this one.
pub(super) fn sibling_program(program: &str) -> io::Result<String> {
    let path = std::env::current_exe()?.with_file_name(program);
    let path = path
        .into_os_string()
        .into_string()
        .map_err(|_| io::Error::other("its path is not text"))?;
    // The path is put between single quotes in a line for the shell.
    if path.contains('\'') {
        Err(io::Error::other("its path has a quote"))
    } else {
        Ok(path)
    }
}
