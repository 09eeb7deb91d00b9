//! Refuses a password in the URL behind `mirror::`. git hides a login only in URLs that it understands. It would write this
//! one as it is into the messages of merges, `FETCH_HEAD` and reflogs.

use common::{
    address::upstream_url::{Address, Login, UpstreamUrl},
    git::client_context::UserConfig,
    protocol::{Failure, FailureKind},
};

/// The setting that allows such a password all the same.
const ALLOW: &str = "mirror.allowLoginInUrl";

/// Fails where the URL that git has for this remote has a password that git does not hide. `mirror://host/path` is a URL
/// that git understands. A password that comes from `url.<base>.insteadOf` is no part of the URL that git has.
pub(crate) fn refuse(remote: &str, typed: &str, config: &UserConfig) -> Result<(), Failure> {
    let Ok(Address::Url(url, Some(Login { password, .. }))) = Address::parse(typed) else {
        return Ok(());
    };
    let has_password = password.is_some_and(|password| !password.is_empty());
    let git_hides_it = typed.to_ascii_lowercase().starts_with("mirror://");
    if !has_password || git_hides_it || config.is_true(&ALLOW.to_ascii_lowercase()) {
        return Ok(());
    }
    let failure = Failure::new(
        FailureKind::Usage,
        format!(
            "cannot use the password in the URL 'mirror::{url}': git would write it into merge commits, FETCH_HEAD and \
             reflogs"
        ),
    );
    Err(failure.hinted(hints(remote, typed, &url, config).join("\n")))
}

/// The hints, one line each. None of them shows the login.
fn hints(remote: &str, typed: &str, url: &UpstreamUrl, config: &UserConfig) -> Vec<String> {
    let mut hints = Vec::new();
    let rest = url.as_str().strip_prefix("https://");
    let hidden = rest.map(|rest| format!("mirror://USER:TOKEN@{rest}"));
    if let Some(hidden) = &hidden {
        hints.push(format!("git hides the login in this form: {hidden}"));
    }
    let plain = format!("mirror::{url}");
    let better = hidden.as_ref().unwrap_or(&plain);
    let address = format!("mirror::{typed}");
    let has = |variable: &str, value: Option<&str>| {
        let key = format!("remote.{remote}.{variable}");
        let mut entries = config.entries().iter();
        entries.any(|(name, set)| *name == key && value.is_none_or(|value| value == set))
    };
    if has("pushurl", Some(&address)) {
        hints.push(format!("git remote set-url --push {remote} {better}"));
    } else if has("url", Some(&address)) {
        // An unfinished clone has no refspecs yet, and git removes it when this fails.
        if has("fetch", None) {
            hints.push(format!("git remote set-url {remote} {better}"));
        }
    } else if has("url", None) {
        let show = "git config --show-origin --get-regexp '^url\\..*insteadof$'";
        hints.push(format!("a rule has put it there: {show}"));
    }
    hints.push(format!(
        "or use '{plain}', with the login in a credential helper or in ~/.netrc"
    ));
    hints.push(format!(
        "or give the mirror the token: mirrord add NAME {url} --username USER"
    ));
    hints.push(format!("'git config {ALLOW} true' allows it as it is"));
    hints
}
