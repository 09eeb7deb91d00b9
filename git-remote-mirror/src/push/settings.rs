//! The settings of the git that sends a push.

use std::{env, io, process::Command, time::Duration};

use common::{
    address::{upstream_url::Address, url_config},
    git, no_progress,
    protocol::{ClientContext, LOGIN_ID},
    text::shell_quoted,
};

use super::sign_in::own_credential;
use crate::names;

/// Returns how long upstream may make no progress. A server at work on a push sends something every five seconds: git's
/// `receive.keepAlive`.
pub(crate) fn no_progress_limit(url: &str, context: &ClientContext) -> Duration {
    match Address::parse(url) {
        Ok(Address::Url(url, _)) => no_progress::limit_of_process(&url, &context.config),
        _ => no_progress::limit(&[], env::var("GIT_HTTP_LOW_SPEED_TIME").ok().as_deref()),
    }
}

/// The transports that a push may take, wherever a redirect points: its own, and the safer one.
pub(crate) fn allowed_transports(url: &str) -> &str {
    match url.split_once("://") {
        Some(("http", _)) => "http:https",
        Some((scheme @ ("https" | "file"), _)) => scheme,
        _ => "ssh",
    }
}

/// The settings that say how to talk to this upstream: those of the user's configuration that do, and our own. `proxy` is
/// the URL of the proxy with its login, where the daemon knows it.
///
/// # Errors
/// Fails when the path of this program is unknown.
pub(crate) fn settings(
    push: &mut Command,
    url: &str,
    context: &ClientContext,
    limit: Duration,
    proxy: Option<String>,
) -> io::Result<Vec<(String, String)>> {
    let mut settings = vec![
        ("http.lowSpeedLimit".to_owned(), "1".to_owned()),
        ("http.lowSpeedTime".to_owned(), limit.as_secs().to_string()),
        ("http.followRedirects".to_owned(), "false".to_owned()),
    ];
    let own_credential = own_credential();
    // A redirect would take the login along: git sends it to wherever the first answer led. The daemon has just asked
    // upstream at this very address, and was not redirected.
    let is_redirects = |key: &str| key.to_ascii_lowercase().ends_with(".followredirects");
    let matters = |key: &str, value: &str| match own_credential {
        _ if is_redirects(key) => false,
        _ if proxy.is_some() && key.starts_with("http.") && key.ends_with(".proxy") => false,
        None => !key.starts_with("url.") && !key.starts_with("safe."),
        Some(own_credential) => key.starts_with("http.") && own_credential.allows(key, value),
    };
    let of_user = context.config.iter();
    let of_user = of_user.filter(|(key, value)| matters(key, value));
    settings.extend(of_user.cloned());
    settings.extend(proxy.map(|proxy| ("http.proxy".to_owned(), proxy)));
    if let (Ok(username), None) = (env::var(names::USERNAME), own_credential) {
        settings.push(("credential.username".into(), username));
    }
    // The mirror's own credential is nobody's in `~/.netrc`.
    let home = match own_credential {
        Some(_) => git::hide_netrc(push),
        None => String::new(),
    };
    let has_login = env::var_os(LOGIN_ID).is_some();
    if own_credential.is_some() || has_login {
        // An empty helper takes back those before it.
        settings.push(("credential.helper".into(), String::new()));
    }
    if has_login {
        let program = env::current_exe()?;
        let program = shell_quoted(&program.to_string_lossy());
        let helper = format!("!{home}{program} login");
        settings.push(("credential.helper".into(), helper));
        if own_credential.is_some() {
            settings.push(("http.proactiveAuth".into(), "basic".into()));
        } else {
            // Where upstream refuses the login that the daemon knows, git asks the user's helpers.
            settings.extend(credential_helpers(url, &context.config));
        }
    }
    Ok(settings)
}

/// The user's credential helpers for this upstream, in the order in which git asks them.
fn credential_helpers(url: &str, config: &[(String, String)]) -> Vec<(String, String)> {
    let Ok(Address::Url(url, _)) = Address::parse(url) else {
        return Vec::new();
    };
    let mut helpers = Vec::new();
    for (key, value) in url_config::matching("credential", config, &url) {
        match (key.as_str(), value.as_str()) {
            ("helper", "") => helpers.clear(),
            ("helper", _) => helpers.push(("credential.helper".to_owned(), value)),
            _ => {}
        }
    }
    helpers
}
