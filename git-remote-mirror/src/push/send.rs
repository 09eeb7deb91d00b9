//! Sends what was pushed to upstream: one `git push` where the user stands, so that their credentials, their ssh-agent
//! and their prompts are those of any other push.
//!
//! It runs in a scratch repository whose refs are the push: `refs/new/*` what is to be, `refs/old/*` what upstream must
//! have for that. So neither the number of refs nor the names of others in the mirror play a part, no rule of the user's
//! can rewrite the address, and each ref is changed only from the value that the client's git decided by
//! (`--force-with-lease`, and no `+`, which would override it).

use std::{
    env,
    ffi::OsString,
    io::{self, Read},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
    process::Stdio,
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use common::{
    address::{upstream_url::Address, url_config},
    git::{
        self,
        child_log::ChildLog,
        client_context::{OwnCredential, UserConfig},
        config_file::ConfigFile,
    },
    no_progress,
    protocol::{ClientContext, Command, Lease, OneTimeId, SignIn},
    text::shell_quoted,
};

use crate::{
    children::askpass::QUESTION,
    push::{
        hooks,
        no_progress::{Transport, Watch},
        outcome::{Outcomes, Words},
        quarantine,
        scratch::Scratch,
    },
};

/// The URL of the upstream, for the hooks.
pub(crate) const UPSTREAM: &str = "MIRROR_UPSTREAM";
/// The one-time id of the login that upstream took when it was asked what it has.
pub(crate) const LOGIN: &str = "MIRROR_LOGIN";
/// Set when that login, or none at all, is for this push alone: nobody else is asked, nor told.
pub(crate) const ALONE: &str = "MIRROR_ALONE";
/// How ssh is run, where the daemon knows it.
pub(crate) const SSH: &str = "MIRROR_SSH";
/// The user name that stood in the URL.
pub(crate) const USERNAME: &str = "MIRROR_USERNAME";
/// Set when the person wants to see how far it is.
pub(crate) const PROGRESS: &str = "MIRROR_PROGRESS";

/// What git has said is there at once when it has ended.
const STDERR_TIMEOUT: Duration = Duration::from_secs(2);

/// One ref that goes to upstream.
pub(crate) struct Order<'c> {
    /// The command's place in the push.
    pub at: usize,
    /// The command.
    pub command: &'c Command,
    /// The ref's name at upstream.
    pub name: Vec<u8>,
    /// The value that it must have there.
    pub lease: Lease,
}

/// Sends, and returns for each order `None`, or the reason why upstream does not have it.
pub(crate) fn send(
    quarantine: &Path,
    orders: &[Order<'_>],
    atomic: bool,
    options: &[OsString],
) -> io::Result<Vec<Option<String>>> {
    let url = env::var(UPSTREAM).map_err(io::Error::other)?;
    let scratch = Scratch::new(quarantine, &url, orders)?;
    let mut push = git::to_upstream(scratch.path());
    for name in ["GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"] {
        push.env(name, env::var_os(name).unwrap_or_default());
    }
    let standing = UserConfig::read()?.standing();
    let limit = limit(&url, &standing);
    let standing = standing.config;
    push.env("GIT_CONFIG_GLOBAL", scratch.trust(&standing)?);
    let home = match alone() {
        // What signs in on its own signs in as nobody else: `~/.netrc` is not for it.
        Some(_) => git::hide_netrc(&mut push),
        None => String::new(),
    };
    let settings = settings(&url, &standing, limit, &home)?;
    let settings = settings.iter();
    let settings = settings.map(|(key, value)| (key.as_str(), value.as_bytes()));
    // Some push options are secrets for pipelines. An empty one would take back those before it.
    let options = options.iter().filter(|option| !option.is_empty());
    let options = options.map(|option| ("push.pushOption", option.as_bytes()));
    // Until git has ended.
    let settings = ConfigFile::create(scratch.path(), settings.chain(options))?;
    settings.include_in(&mut push);
    push.env("GIT_ALLOW_PROTOCOL", transports(&url));
    sign_in(&mut push)?;
    push.env(hooks::QUARANTINE, quarantine)
        .arg("-c")
        .arg(quarantine::hooks_setting(quarantine))
        .args(["push", "--porcelain", "--no-follow-tags"])
        .args(["--recurse-submodules=no", "--no-signed"])
        .args(leases(orders));
    let progress = env::var_os(PROGRESS).is_some();
    let transport = Transport::of(&url);
    // We see how far it is, and upstream is told that nobody does. Over http curl has a limit of its own.
    let quiet = !progress && transport != Transport::Http;
    push.args(match (progress, quiet) {
        (true, _) => &["--progress"][..],
        (false, true) => &["--progress", "--quiet"],
        (false, false) => &["--no-progress"],
    });
    if atomic {
        push.arg("--atomic");
    }
    let brings = orders.iter().any(|order| order.command.new.is_some());
    let watch = Watch::new(quarantine, transport, limit, brings)?;
    push.envs(watch.variables());
    push.arg("upstream")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let log = ChildLog::begin(&push);
    let mut child = push.spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let told = watch.teller();
    let words = heard(move || Words::relay(stderr, &host(&url), progress, &told));
    let report = heard(move || {
        let mut report = Vec::new();
        if let Some(mut stdout) = stdout {
            // What was read before a break still counts.
            let _ = stdout.read_to_end(&mut report);
        }
        report
    });
    // What it has printed tells how it went; from here on nothing may be called never sent.
    let ended = watch.wait(&mut child);
    if let Some(status) = ended {
        log.ended(status);
    }
    drop(settings);
    // Whoever git left running, such as an ssh that keeps its connection, may hold the other ends.
    let report = report.recv_timeout(STDERR_TIMEOUT).unwrap_or_default();
    let mut words = words.recv_timeout(STDERR_TIMEOUT).unwrap_or_default();
    if ended.is_none() {
        words.give_up(limit);
    }
    let well = quiet && ended.is_some_and(|status| status.success());
    let outcomes = Outcomes::new(&report, &words, quarantine::has_begun(quarantine), well);
    Ok(orders
        .iter()
        .map(|order| outcomes.of(&order.name))
        .collect())
}

/// What the hooks are told of how to sign in.
pub(crate) fn variables(sign_in: &SignIn) -> Vec<(&'static str, String)> {
    let alone = (ALONE, "1".to_owned());
    match sign_in {
        SignIn::AsGit => Vec::new(),
        SignIn::LoginFirst(OneTimeId(id)) => vec![(LOGIN, id.clone())],
        SignIn::LoginAlone(OneTimeId(id)) => vec![(LOGIN, id.clone()), alone],
        SignIn::Anonymous => vec![alone],
        SignIn::Ssh {
            command,
            passphrase,
        } => {
            let passphrase = passphrase.iter();
            let passphrase = passphrase.map(|OneTimeId(id)| (QUESTION, id.clone()));
            passphrase.chain([(SSH, command.clone())]).collect()
        }
    }
}

/// How the git that sends signs in, beyond its settings.
fn sign_in(push: &mut std::process::Command) -> io::Result<()> {
    if let Some(command) = env::var_os(SSH) {
        push.env("GIT_SSH_COMMAND", command)
            .env("GIT_SSH_VARIANT", "ssh");
        if let Some(id) = env::var_os(QUESTION) {
            push.env("SSH_ASKPASS", env::current_exe()?)
                .env("SSH_ASKPASS_REQUIRE", "force")
                .env(QUESTION, id);
        }
    }
    if let Some(id) = env::var_os(LOGIN) {
        push.env(LOGIN, id);
    }
    // What is asked for by a child of ours belongs to this push.
    push.env(hooks::PUSH, env::var_os(hooks::PUSH).unwrap_or_default());
    if let Some(alone) = alone() {
        // Nobody is asked.
        push.env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "false")
            .env_remove("SSH_ASKPASS");
        if alone == OwnCredential::Anonymous {
            push.env_remove("GIT_SSL_CERT").env_remove("GIT_SSL_KEY");
        }
    }
    Ok(())
}

/// With what the push signs in, where that is not what the user's git would.
fn alone() -> Option<OwnCredential> {
    env::var_os(ALONE)?;
    Some(match env::var_os(LOGIN) {
        Some(_) => OwnCredential::Given,
        None => OwnCredential::Anonymous,
    })
}

/// Hears in the background, to be asked for it later.
fn heard<T: Send + 'static>(hear: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(hear()));
    told
}

/// Returns how long upstream may make no progress. A server at work on a push says something every five seconds
/// (`receive.keepAlive`).
fn limit(url: &str, standing: &ClientContext) -> Duration {
    match Address::parse(url) {
        Ok(Address::Url(url, _)) => no_progress::limit_of_process(&url, &standing.config),
        _ => no_progress::limit(&[], None),
    }
}

/// The transports that a push may take, wherever a redirect points: its own, and the safer one.
fn transports(url: &str) -> &str {
    match url.split_once("://") {
        Some(("http", _)) => "http:https",
        Some((scheme @ ("https" | "file"), _)) => scheme,
        _ => "ssh",
    }
}

/// How upstream is called in what we say of it.
pub(crate) fn upstream_host() -> String {
    host(&env::var(UPSTREAM).unwrap_or_default())
}

fn host(url: &str) -> String {
    match Address::parse(url) {
        Ok(Address::Url(url, _)) => url.host().unwrap_or("upstream").to_owned(),
        _ => "upstream".to_owned(),
    }
}

/// What git may only change from the value that the client's git decided by: all, or, where a ref has no such value, the
/// others.
fn leases(orders: &[Order<'_>]) -> Vec<OsString> {
    if orders.iter().all(|order| order.lease != Lease::None) {
        // git looks the values up in `refs/old/`, which stays fast where a list of thousands would not.
        return vec!["--force-with-lease".into()];
    }
    let lease = |order: &Order<'_>| {
        let old = match &order.lease {
            Lease::None => return None,
            Lease::Absent => "",
            Lease::Value(old) => old,
        };
        let parts = [b"--force-with-lease=", &*order.name, b":", old.as_bytes()];
        Some(OsString::from_vec(parts.concat()))
    };
    orders.iter().filter_map(lease).collect()
}

/// The settings of the user's that say how to talk to this upstream.
fn settings(
    url: &str,
    standing: &[(String, String)],
    limit: Duration,
    home: &str,
) -> io::Result<Vec<(String, String)>> {
    let mut settings = vec![
        ("http.lowSpeedLimit".to_owned(), "1".to_owned()),
        ("http.lowSpeedTime".to_owned(), limit.as_secs().to_string()),
        ("http.followRedirects".to_owned(), "false".to_owned()),
    ];
    let has_login = env::var_os(LOGIN).is_some();
    let alone = alone();
    // A redirect would take the login along: git sends it to wherever the first answer led. Upstream has just been asked
    // at this very address, and redirected nobody.
    let redirects = |key: &str| key.to_ascii_lowercase().ends_with(".followredirects");
    let bears = |key: &str, value: &str| match alone {
        _ if redirects(key) => false,
        None => !key.starts_with("url.") && !key.starts_with("safe."),
        Some(alone) => key.starts_with("http.") && alone.allows(key, value),
    };
    let bearing = standing.iter().filter(|(key, value)| bears(key, value));
    settings.extend(bearing.cloned());
    if let (Ok(username), None) = (env::var(USERNAME), alone) {
        settings.push(("credential.username".into(), username));
    }
    if alone.is_some() || has_login {
        settings.push(("credential.helper".into(), String::new()));
    }
    if has_login {
        // The login that is known already comes first; when it is refused, git asks whom it would have asked.
        let program = env::current_exe()?;
        let program = shell_quoted(&program.to_string_lossy());
        let helper = format!("!{home}{program} login");
        settings.push(("credential.helper".into(), helper));
        if alone.is_some() {
            settings.push(("http.proactiveAuth".into(), "basic".into()));
        } else {
            settings.extend(helpers(url, standing));
        }
    }
    Ok(settings)
}

/// The user's credential helpers for this upstream, in the order in which git asks them.
fn helpers(url: &str, standing: &[(String, String)]) -> Vec<(String, String)> {
    let Ok(Address::Url(url, _)) = Address::parse(url) else {
        return Vec::new();
    };
    let mut helpers = Vec::new();
    for (key, value) in url_config::matching("credential", standing, &url) {
        match (key.as_str(), value.as_str()) {
            ("helper", "") => helpers.clear(),
            ("helper", _) => helpers.push(("credential.helper".to_owned(), value)),
            _ => {}
        }
    }
    helpers
}
