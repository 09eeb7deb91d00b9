//! The URLs of the submodules of a clone with `--recurse-submodules`. git resolves a relative one against the remote's URL,
//! which leads nowhere where that is a mirror's name, and refuses `mirror::` in it where the user's settings do not allow it.
//! So the clone gets the URLs before git makes them, resolved against upstream's.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use common::{
    address::upstream_url::{Address, UpstreamUrl},
    git::child_log,
};

use crate::local_repo::set_config;

/// The most submodules that get their URLs.
const MAX_SUBMODULES: usize = 500;

/// Writes the URLs of the submodules that the file `.gitmodules` in `tip` names relative to this upstream into a
/// configuration file: `mirror::` ones where these are allowed, or else upstream's own. Returns whether there are submodules.
/// A clone does not fail where a URL cannot be written: git then makes its own.
pub(super) fn write_urls(
    mut git_at_tip: Command,
    tip: &str,
    upstream: &UpstreamUrl,
    is_mirror_allowed: bool,
    config: &Path,
) -> bool {
    git_at_tip
        .arg("config")
        .arg(format!("--blob={tip}:.gitmodules"))
        .args(["-z", "--get-regexp", r"^submodule\..*\.url$"])
        .env("GIT_NO_LAZY_FETCH", "1");
    let Ok(listed) = child_log::output(git_at_tip.stderr(Stdio::null())) else {
        return false;
    };
    let listed = String::from_utf8_lossy(&listed.stdout);
    let entries = listed
        .split('\0')
        .filter_map(|entry| entry.split_once('\n'));
    let mut has_any = false;
    for (key, url) in entries.take(MAX_SUBMODULES) {
        has_any = true;
        let Some(url) = resolve(upstream.as_str(), url) else {
            continue;
        };
        let url = match is_mirror_allowed {
            true => format!("mirror::{url}"),
            false => url.to_string(),
        };
        set_config(config, key, &url);
    }
    has_any
}

/// Resolves a relative URL of a submodule as git does: `relative_url()` in git's remote.c. None where it is not relative, and
/// where nothing comes of it.
fn resolve(upstream: &str, relative: &str) -> Option<UpstreamUrl> {
    if !relative.starts_with("./") && !relative.starts_with("../") {
        return None;
    }
    let (mut base, mut rest, mut separator) = (upstream.trim_end_matches('/'), relative, '/');
    loop {
        if let Some(below) = rest.strip_prefix("./") {
            rest = below;
        } else if let Some(above) = rest.strip_prefix("../") {
            let at = base.rfind('/').or_else(|| {
                separator = ':';
                base.rfind(':')
            })?;
            (base, rest) = (&base[..at], above);
        } else {
            break;
        }
    }
    match Address::parse(&format!("{base}{separator}{}", rest.trim_end_matches('/'))) {
        Ok(Address::Url(url, None)) => Some(url),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_url_is_resolved_as_git_does() {
        let table = [
            ("https://h/g/p.git", "../sub.git", "https://h/g/sub.git"),
            (
                "https://h/g/p.git",
                "../../o/sub.git/",
                "https://h/o/sub.git",
            ),
            ("https://h/g/p.git", "./sub", "https://h/g/p.git/sub"),
            ("file:///up/p.git", "../sub.git", "file:///up/sub.git"),
            ("git@h:g/p.git", "../sub.git", "git@h:g/sub.git"),
            ("git@h:p.git", "../sub.git", "git@h:sub.git"),
            ("ssh://h:22/g/p", ".././sub", "ssh://h/g/sub"),
        ];
        for (upstream, relative, url) in table {
            let resolved = resolve(upstream, relative);
            let resolved = resolved.as_ref().map(UpstreamUrl::as_str);
            assert_eq!(resolved, Some(url), "{relative} of {upstream}");
        }
        for relative in ["https://h/x", "/x", "x", "../../../../../../x", ".."] {
            assert_eq!(resolve("https://h/g/p.git", relative), None, "{relative}");
        }
    }
}
