//! Reads `http.<url>.*` and `url.<base>.insteadOf` as git does.
//!
//! The helper hands over the user's configuration as `git config -z --list` prints it, and the daemon
//! speaks HTTP by other means than git's; a proxy or a header set for one host must reach that host and
//! no other. The rules are those of git-config(1) under `http.<url>.*`.

use std::collections::HashMap;

use crate::address::upstream_url::{UpstreamUrl, percent_decode};

#[cfg(test)]
mod tests;

/// Variables of which http.c keeps every value; an empty one forgets those before it.
const LISTS: [&str; 2] = ["extraheader", "curloptresolve"];

/// The values of `section.*` that apply to `url`, in the order of `config`, with the lower-case name of
/// the variable.
///
/// Of a variable with one value it is the best match, the later of equals. Of a list it is every value
/// that was no worse a match than those before it. Entries for a user never match, see `matching_for`.
pub fn matching(
    section: &str,
    config: &[(String, String)],
    url: &UpstreamUrl,
) -> Vec<(String, String)> {
    matching_for(section, config, url, None)
}

/// Like `matching`, for a URL that was typed with this (decoded) user name.
pub fn matching_for(
    section: &str,
    config: &[(String, String)],
    url: &UpstreamUrl,
    user: Option<&str>,
) -> Vec<(String, String)> {
    let Some(url) = Pattern::parse(url.as_str()) else {
        return Vec::new();
    };
    let url = Pattern {
        user: user.map(str::to_owned),
        ..url
    };
    let mut kept: HashMap<String, Kept> = HashMap::new();
    for (at, (key, value)) in config.iter().enumerate() {
        let Some((variable, rank)) = applies(section, key, &url) else {
            continue;
        };
        let is_list = LISTS.contains(&variable.as_str());
        let entry = kept.entry(variable).or_insert_with(|| Kept {
            rank,
            at: Vec::new(),
        });
        if rank < entry.rank {
            continue;
        }
        entry.rank = rank;
        if !is_list || value.is_empty() {
            entry.at.clear();
        }
        if !is_list || !value.is_empty() {
            entry.at.push(at);
        }
    }
    let mut found: Vec<_> = kept
        .iter()
        .flat_map(|(name, kept)| kept.at.iter().map(move |&at| (at, name)))
        .collect();
    found.sort_unstable();
    found
        .into_iter()
        .map(|(at, name)| (name.clone(), config[at].1.clone()))
        .collect()
}

/// Whether a git that asks this URL may be redirected to another host: where the user has set `http.followRedirects`, and
/// no `http.extraHeader`, which git would send along to the place that is reached.
///
/// Without that setting, whoever is redirected elsewhere decides whether that is the same project.
pub fn may_be_redirected(config: &[(String, String)], url: &UpstreamUrl) -> bool {
    let http = matching("http", config, url);
    let is_set = |name: &str| http.iter().any(|(key, _)| key == name);
    is_set("followredirects") && !is_set("extraheader")
}

/// Rewrites `url` as the longest matching `url.<base>.insteadOf` says; None if none matches.
///
/// A rule that leads back to us is passed over: with `url.mirror::https://.insteadOf=https://`, which is
/// how a user sends everything through mirror, an upstream would otherwise be a mirror of itself.
pub fn instead_of(config: &[(String, String)], url: &str) -> Option<String> {
    let rules = config.iter().filter_map(|(key, prefix)| {
        let (base, variable) = key.strip_prefix("url.")?.rsplit_once('.')?;
        variable
            .eq_ignore_ascii_case("insteadof")
            .then_some((base, prefix.as_str()))
    });
    // Of two bases with the same prefix the one that was named first wins, whatever it was named for.
    let mut bases: Vec<(&str, Vec<&str>)> = Vec::new();
    for (base, prefix) in rules {
        match bases.iter_mut().find(|(known, _)| *known == base) {
            Some((_, prefixes)) => prefixes.push(prefix),
            None => bases.push((base, vec![prefix])),
        }
    }
    let mut best: Option<(usize, String)> = None;
    for (base, prefix) in bases
        .iter()
        .flat_map(|(base, prefixes)| prefixes.iter().map(move |prefix| (base, prefix)))
    {
        let Some(rest) = url.strip_prefix(prefix) else {
            continue;
        };
        let rewritten = format!("{base}{rest}");
        let leads_back = rewritten
            .get(..7)
            .is_some_and(|start| start.eq_ignore_ascii_case("mirror:"));
        if !leads_back
            && best
                .as_ref()
                .is_none_or(|(length, _)| *length < prefix.len())
        {
            best = Some((prefix.len(), rewritten));
        }
    }
    best.map(|(_, rewritten)| rewritten)
}

/// The values of one variable that apply.
struct Kept {
    /// The rank of the last value that was accepted.
    rank: Rank,
    /// The positions of the values in the configuration.
    at: Vec<usize>,
}

/// The rank of a match, compared as git does (`urlmatch_select_fn`): length of the host and of the path as the entry has
/// them, and whether it names the user. Zeros for an entry without a URL.
type Rank = (usize, usize, bool);

/// The variable and the rank of an entry, if it is one of `section` and applies to `url`.
fn applies(section: &str, key: &str, url: &Pattern) -> Option<(String, Rank)> {
    let key = key.strip_prefix(section)?.strip_prefix('.')?;
    match key.rsplit_once('.') {
        None => Some((key.to_ascii_lowercase(), Rank::default())),
        Some((pattern, variable)) => {
            let rank = Pattern::parse(pattern)?.matches(url)?;
            Some((variable.to_ascii_lowercase(), rank))
        }
    }
}

/// A URL, or the `<url>` of an entry, as git normalizes both before it compares them.
#[derive(Debug, PartialEq, Eq)]
struct Pattern {
    scheme: String,
    /// Decoded; without the password, which takes no part.
    user: Option<String>,
    /// May have `*` for a label.
    host: String,
    /// Empty where it is the scheme's own.
    port: String,
    /// The path from its `/` on, with a query or fragment if there is one.
    path: String,
}

impl Pattern {
    /// Reads a URL as git does; None for a text that is none to git. An entry with such a text applies to nothing.
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let is_scheme_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte);
        if !scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            || !scheme.bytes().all(is_scheme_byte)
        {
            return None;
        }
        let scheme = scheme.to_ascii_lowercase();
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        // The first '@', unlike `upstream_url`: this is git's reading of what the user wrote for git.
        let (user, host_and_port) = match authority.split_once('@') {
            Some((userinfo, host)) => (Some(user_of(userinfo)?), host),
            None => (None, authority),
        };
        let (host, port) = match host_and_port.rfind([':', ']']) {
            Some(at) if host_and_port[at..].starts_with(':') => {
                (&host_and_port[..at], &host_and_port[at + 1..])
            }
            _ => (host_and_port, ""),
        };
        if host.is_empty() && (scheme != "file" || !port.is_empty()) {
            return None;
        }
        if !host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_[:]*".contains(&byte))
        {
            return None;
        }
        let port = normalize_port(&scheme, port)?;
        Some(Self {
            scheme,
            user,
            host: host.to_ascii_lowercase(),
            port,
            path: normalize_path(path)?,
        })
    }

    /// Returns the rank of this entry's match with `url`, if it matches.
    fn matches(&self, url: &Self) -> Option<Rank> {
        let is_named = self.user.is_some();
        if self.scheme != url.scheme || self.port != url.port || is_named && self.user != url.user {
            return None;
        }
        let (mine, its) = (self.host.split('.'), url.host.split('.'));
        if mine.clone().count() != its.clone().count()
            || mine.zip(its).any(|(mine, its)| mine != "*" && mine != its)
        {
            return None;
        }
        let prefix = self.path.strip_suffix('/').unwrap_or(&self.path);
        let rest = url.path.strip_prefix(prefix)?;
        let at_boundary = rest.is_empty() || rest.starts_with('/');
        at_boundary.then_some((self.host.len(), prefix.len() + 1, is_named))
    }
}

fn user_of(userinfo: &str) -> Option<String> {
    // A bad escape in the password spoils the URL too.
    percent_decode(userinfo)?;
    let user = userinfo.split(':').next().unwrap_or_default();
    String::from_utf8(percent_decode(user)?).ok()
}

/// Drops leading zeros and the port that the scheme has anyway; None if it is no port.
fn normalize_port(scheme: &str, port: &str) -> Option<String> {
    if port.is_empty() {
        return Some(String::new());
    }
    let number: u16 = port
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| port.parse().ok())??;
    match (scheme, number) {
        (_, 0) => None,
        ("http", 80) | ("https", 443) => Some(String::new()),
        _ => Some(number.to_string()),
    }
}

/// Resolves `.` and `..`, and leaves percent-encoded only what must be or was and is a delimiter.
fn normalize_path(path: &str) -> Option<String> {
    let (path, query) = path.split_at(path.find(['?', '#']).unwrap_or(path.len()));
    let mut parts: Vec<String> = Vec::new();
    for part in path.strip_prefix('/').unwrap_or(path).split('/') {
        let part = normalize_escapes(part)?;
        match part.as_str() {
            "." => {}
            ".." => drop(parts.pop()?),
            _ => parts.push(part),
        }
    }
    Some(format!("/{}{}", parts.join("/"), normalize_escapes(query)?))
}

fn normalize_escapes(text: &str) -> Option<String> {
    let mut normal = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_escape = first == '%';
        let (one, after) = rest.split_at_checked(if is_escape { 3 } else { first.len_utf8() })?;
        rest = after;
        for byte in percent_decode(one)? {
            let is_unsafe = !(b' '..0x7f).contains(&byte) || b" <>\"%{}|\\^`".contains(&byte);
            if is_unsafe || is_escape && b":/?#[]@!$&'()*+,;=".contains(&byte) {
                normal.push_str(&format!("%{byte:02X}"));
            } else {
                normal.push(char::from(byte));
            }
        }
    }
    Some(normal)
}
