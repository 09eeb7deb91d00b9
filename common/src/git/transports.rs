//! Whether git's own rules allow a transport: `protocol.<name>.allow`, `GIT_ALLOW_PROTOCOL`, and the difference between
//! what a person typed and what a submodule names (`GIT_PROTOCOL_FROM_USER=0`).
//!
//! git has applied them to `mirror`; what is behind it is held to the rules that it would be held to by itself.

use std::env;

use crate::{address::upstream_url::Scheme, git::client_context::UserConfig, protocol::Failure};

/// Fails as git does when the transport is not allowed.
///
/// # Errors
/// Fails when the transport is not allowed.
pub fn check(scheme: Scheme, config: &UserConfig) -> Result<(), Failure> {
    let name = scheme.to_string();
    if allowed(config).contains(&name) {
        return Ok(());
    }
    let failure = Failure::here(format!("transport '{name}' not allowed"));
    Err(if scheme == Scheme::File && !from_user() {
        failure.hinted("a submodule may name a path on this machine only with: git config --global protocol.file.allow always")
    } else {
        failure.hinted(format!("see protocol.{name}.allow in 'git help config'"))
    })
}

/// The transports that are allowed here; a mirror's name does not say which one is behind it.
#[must_use]
pub fn allowed(config: &UserConfig) -> Vec<String> {
    let listed = env::var("GIT_ALLOW_PROTOCOL").ok();
    let get = |key: &str| config.get(key).map(str::to_owned);
    let names =
        [Scheme::Https, Scheme::Http, Scheme::Ssh, Scheme::File].map(|scheme| scheme.to_string());
    let mut names = names.to_vec();
    names.retain(|name| is_allowed(name, listed.as_deref(), from_user(), get));
    names
}

/// The transports to which a redirect may lead: nobody typed what it names (`get_curl_allowed_protocols()` in git's http.c).
#[must_use]
pub fn allowed_for_redirects(config: &UserConfig) -> Vec<String> {
    let listed = env::var("GIT_ALLOW_PROTOCOL").ok();
    let get = |key: &str| config.get(key).map(str::to_owned);
    let mut names = [Scheme::Https, Scheme::Http]
        .map(|scheme| scheme.to_string())
        .to_vec();
    names.retain(|name| is_allowed(name, listed.as_deref(), false, get));
    names
}

fn from_user() -> bool {
    env::var("GIT_PROTOCOL_FROM_USER").map_or(true, |value| value != "0")
}

fn is_allowed(
    name: &str,
    listed: Option<&str>,
    from_user: bool,
    config: impl Fn(&str) -> Option<String>,
) -> bool {
    if let Some(listed) = listed {
        return listed.split(':').any(|allowed| allowed == name);
    }
    let rule = config(&format!("protocol.{name}.allow")).or_else(|| config("protocol.allow"));
    // git's own defaults: the network's transports always, a path only when a person typed it.
    let rule = rule.unwrap_or_else(|| {
        if name == "file" {
            "user".into()
        } else {
            "always".into()
        }
    });
    match rule.as_str() {
        "always" => true,
        "user" => from_user,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(name: &str, listed: Option<&str>, from_user: bool, config: &[(&str, &str)]) -> bool {
        is_allowed(name, listed, from_user, |key| {
            config
                .iter()
                .find(|(name, _)| *name == key)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_submodule_may_name_the_network_and_not_this_machine() {
        for name in ["https", "http", "ssh"] {
            assert!(judged(name, None, false, &[]), "{name}");
        }
        assert!(!judged("file", None, false, &[]) && judged("file", None, true, &[]));
        assert!(judged(
            "file",
            None,
            false,
            &[("protocol.file.allow", "always")]
        ));
    }

    #[test]
    fn the_users_rules_hold_behind_the_mirror_too() {
        assert!(!judged(
            "http",
            None,
            true,
            &[("protocol.http.allow", "never")]
        ));
        assert!(!judged("https", None, true, &[("protocol.allow", "never")]));
        assert!(judged(
            "https",
            None,
            true,
            &[
                ("protocol.allow", "never"),
                ("protocol.https.allow", "always")
            ]
        ));
        assert!(
            !judged("http", Some("https:mirror"), true, &[])
                && judged("https", Some("https:mirror"), true, &[])
        );
    }
}
