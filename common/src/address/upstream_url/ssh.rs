//! The two forms of an ssh address, a URL and scp's `host:path`, as git's connect.c reads them. What it reads in a way
//! that surprises is refused: nobody may be sent to another host, path or option than the one that they see.

use std::net::Ipv6Addr;

use super::{
    Scheme, UpstreamUrl,
    parse::{
        Broken, CONTROL, DASH, EMPTY, PERCENT, UTF8, canonical_host, escaped, percent_decode,
        split_port,
    },
};
use crate::address::redact::is_ssh_user;

/// The user, host and port of an ssh address.
struct Authority {
    user: Option<String>,
    host: String,
    port: Option<u16>,
}

impl UpstreamUrl {
    /// Reads the part after `ssh://`.
    pub(super) fn ssh_url(rest: &str) -> Result<Self, Broken> {
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        // Without a user the host is then not what the user meant by it.
        if path.contains('@') && !authority.contains('@') {
            return Err((
                "path",
                "write '@' as '%40'; an ssh address takes no password",
            ));
        }
        let authority = Authority::parse(authority)?;
        if path.contains(['?', '#']) {
            return Err(("path", "write '?' as '%3F' and '#' as '%23'"));
        }
        let path = percent_decode(path).ok_or(("path", PERCENT))?;
        authority.at(&String::from_utf8(path).map_err(|_| ("path", UTF8))?)
    }

    /// `[user@]host:path`, where brackets hold an IPv6 address or a port.
    pub(super) fn scp(address: &str) -> Result<Self, Broken> {
        let brackets = match address.find("@[") {
            Some(at) => Some(at + 1),
            None => address.starts_with('[').then_some(0),
        };
        // A colon before the brackets ends the host, and they belong to the path.
        let brackets = brackets.filter(|at| !address[..*at].contains(':'));
        let end = match brackets.map(|at| address[at..].find(']').map(|end| at + end)) {
            None => 0,
            Some(Some(end)) => end,
            Some(None) => return Err(("host", "a bracket is not closed")),
        };
        let (authority, path) = address[end..]
            .find(':')
            .map(|colon| (&address[..end + colon], &address[end + colon + 1..]))
            .ok_or(("path", EMPTY))?;
        if path.contains('@') && !authority.contains('@') {
            return Err((
                "path",
                "'@' is not allowed in it; an ssh address takes no password",
            ));
        }
        let authority = Authority::parse(authority)?;
        if path.starts_with('/') {
            return authority.at(path);
        }
        if path.starts_with('~') {
            return authority.at(&format!("/{path}"));
        }
        authority.at_home(path)
    }
}

impl Authority {
    fn parse(text: &str) -> Result<Self, Broken> {
        let (mut user, rest) = match text.find("@[") {
            Some(at) => (Some(&text[..at]), &text[at + 1..]),
            None if text.starts_with('[') => (None, text),
            None => split_user(text),
        };
        let (host, port) = match rest.strip_prefix('[') {
            None => {
                let (host, port) = split_port(rest)?;
                (host_or_alias(host)?, port)
            }
            Some(inner) => {
                let (inner, after) = inner
                    .split_once(']')
                    .ok_or(("host", "a bracket is not closed"))?;
                let (inner_user, inner) = split_user(inner);
                if inner_user.is_some() && user.is_some() {
                    return Err(("user", "it stands there twice"));
                }
                user = user.or(inner_user);
                if !(after.is_empty() || after.starts_with(':')) {
                    return Err(("host", "something stands behind its bracket"));
                }
                let behind = split_port(after)?.1;
                if inner.parse::<Ipv6Addr>().is_ok() {
                    (canonical_host(&format!("[{inner}]"))?, behind)
                } else {
                    let (host, within) = split_port(inner)?;
                    if within.is_some() && behind.is_some() {
                        return Err(("port", "it stands there twice"));
                    }
                    (host_or_alias(host)?, within.or(behind))
                }
            }
        };
        Ok(Self {
            user: user.map(checked_user).transpose()?,
            host,
            port: port.filter(|&port| Some(port) != Scheme::Ssh.default_port()),
        })
    }

    fn user_at(&self) -> String {
        self.user
            .as_ref()
            .map(|user| format!("{user}@"))
            .unwrap_or_default()
    }

    /// An absolute path, or one that begins with `/~`. Not percent-encoded.
    fn at(self, path: &str) -> Result<UpstreamUrl, Broken> {
        let path = path.trim_end_matches('/');
        check_path(path)?;
        if path.trim_start_matches('/').starts_with('-') {
            return Err(("path", DASH));
        }
        let sent = path
            .strip_prefix('/')
            .filter(|path| path.starts_with('~'))
            .unwrap_or(path)
            .to_owned();
        let path = escaped(path, |c| c.is_whitespace() || "%?#@".contains(c));
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let canonical = format!("ssh://{}{}{port}{path}", self.user_at(), self.host);
        Ok(self.url(path, sent, canonical))
    }

    /// A path relative to where the login begins.
    fn at_home(self, path: &str) -> Result<UpstreamUrl, Broken> {
        let path = path.trim_end_matches('/');
        check_path(path)?;
        let rule = if path.starts_with('-') {
            Some(DASH)
        } else if path.starts_with(':') {
            Some("it starts with ':'")
        } else if path.contains(char::is_whitespace) {
            Some("use the form ssh://host/~/path, and write a space as '%20'")
        } else if path.chars().nth(1) == Some('~') {
            Some("git would drop what stands before its '~'")
        } else {
            None
        };
        if let Some(rule) = rule {
            return Err(("path", rule));
        }
        let (user, host) = (self.user_at(), &self.host);
        let canonical = match self.port {
            Some(port) => format!("[{user}{host}:{port}]:{path}"),
            None => format!("{user}{host}:{path}"),
        };
        let is_scheme = ["https", "http", "file", "ssh", "mirror"].contains(&host.as_str());
        if user.is_empty() && self.port.is_none() && is_scheme {
            return Err(("address", "'://' must follow the scheme"));
        }
        Ok(self.url(path.to_owned(), path.to_owned(), canonical))
    }

    fn url(self, path: String, sent: String, canonical: String) -> UpstreamUrl {
        UpstreamUrl {
            scheme: Scheme::Ssh,
            user: self.user,
            host: self.host,
            port: self.port,
            path,
            file: None,
            sent: Some(sent),
            canonical,
        }
    }
}

/// Splits off what stands before the last `@`.
fn split_user(text: &str) -> (Option<&str>, &str) {
    match text.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, text),
    }
}

fn checked_user(user: &str) -> Result<String, Broken> {
    if user.contains(':') {
        Err(("password", "an ssh address takes none"))
    } else if user.is_empty() {
        Err(("user", EMPTY))
    } else if user.starts_with('-') {
        Err(("user", DASH))
    } else if !is_ssh_user(user) {
        Err(("user", "only letters, digits and '._-+=' are allowed in it"))
    } else {
        Ok(user.to_owned())
    }
}

/// A name with a dot is a host's, in whatever case it is written. Any other may be an alias in the user's ssh
/// configuration, which tells upper from lower case.
fn host_or_alias(host: &str) -> Result<String, Broken> {
    let lower = canonical_host(host)?;
    Ok(if host.contains('.') {
        lower
    } else {
        host.to_owned()
    })
}

/// Checks a path as the server will have it.
fn check_path(path: &str) -> Result<(), Broken> {
    let bad = |rule| Err(("path", rule));
    if path.is_empty() {
        bad(EMPTY)
    } else if path.contains(char::is_control) {
        bad(CONTROL)
    } else if path.contains('\\') {
        bad("'\\' is not allowed in it")
    } else if path.contains("@[") {
        // git looks for the end of the host behind these two, wherever they stand.
        bad("'@[' is not allowed in it")
    } else {
        Ok(())
    }
}
