//! The one parser of upstream URLs.
//!
//! Whatever follows `mirror::` comes here before anything is spawned, written or sent: it is the name of
//! a mirror, or a URL of a scheme on our list, or it is refused in one line. An accepted URL has one
//! canonical form and holds no login; one typed into it comes back beside it, so that what is
//! stored, logged or handed to a child cannot contain it. The user of an ssh address is no secret but part
//! of the address: who signs in as another reads another repository.
//!
//! Where git, curl and WHATWG parsers read one text differently (`\`, `%2e%2e`, an empty port), or where a part of a login
//! may stand in the path (`@`), the text is refused: two readers of one URL must never see two hosts.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

mod parse;
mod ssh;
#[cfg(test)]
mod tests;

use crate::{
    address::{
        name::{BadName, Name},
        redact::without_login,
    },
    text::is_invisible,
};

use parse::{CONTROL, DASH};
pub use parse::{escaped, percent_decode};

/// The address after `mirror::`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A URL, and the login that was typed into it.
    Url(UpstreamUrl, Option<Login>),
    /// The name of a mirror.
    Name(Name),
}

/// The URL of an upstream in canonical form: scheme and host in lower case, no default port, no
/// userinfo but the user of ssh, no trailing slash. The rest of an http path is kept byte for byte, `.git`
/// included, since only upstream knows whether two spellings are one repository.
///
/// An ssh address whose path is relative to where the login begins stays in scp's form, `git@host:path`, or
/// `[git@host:2222]:path` with a port: on most servers `ssh://git@host/path` is another repository.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UpstreamUrl {
    scheme: Scheme,
    /// The user as whom ssh signs in.
    user: Option<String>,
    /// Empty for a file.
    host: String,
    /// The port; None for the scheme's default.
    port: Option<u16>,
    path: String,
    /// `path` without its percent-encoding, for a file.
    file: Option<PathBuf>,
    /// The path that ssh's other side is asked for.
    sent: Option<String>,
    canonical: String,
}

/// A login that stood in a URL, percent-decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Empty in `https://:token@host`.
    pub username: String,
    /// The password; None if the URL had no `:` before its `@`.
    pub password: Option<String>,
}

/// The schemes that an upstream may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `https://`
    Https,
    /// `http://`
    Http,
    /// `ssh://`, and scp's `host:path`
    Ssh,
    /// `file://`, and absolute paths
    File,
}

/// Why an address was refused. No message contains a password: URLs in them are redacted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// The address is empty, or only white space.
    #[error("the address of the upstream is empty")]
    Empty,
    /// A path that would mean another directory wherever the daemon stands.
    #[error("'{0}' is a relative path: use an absolute one, or one that begins with './'")]
    Relative(String),
    /// `ext::`, `fd::`, a second `mirror::`: git would run another helper for these.
    #[error("transport '{0}' is not allowed in the address of a mirror")]
    Transport(String),
    /// A scheme that is not on our list.
    #[error("cannot mirror '{url}': scheme '{scheme}' is not one of https, http, ssh, file")]
    Scheme {
        /// The scheme as typed.
        scheme: String,
        /// The URL, redacted.
        url: String,
    },
    /// A part of the address breaks a rule.
    #[error("invalid {part} in '{url}': {rule}")]
    Part {
        /// The part: user, password, host, port, path or address.
        part: &'static str,
        /// The rule that it breaks.
        rule: &'static str,
        /// The URL, redacted.
        url: String,
    },
    /// The text is neither a URL nor a name.
    #[error(transparent)]
    Name(#[from] BadName),
}

impl Address {
    /// Reads an address. A text that contains `://`, has a `:` before the first `/`, or starts with `/`
    /// is a URL. `mirror://host/path`, which git hands over whole, is `https://host/path`.
    pub fn parse(typed: &str) -> Result<Self, BadUrl> {
        if typed.trim().is_empty() {
            return Err(BadUrl::Empty);
        }
        let https = without_scheme(typed, "mirror").map(|rest| format!("https://{rest}"));
        let address = https.as_deref().unwrap_or(typed);
        let bad = |part, rule| BadUrl::Part {
            part,
            rule,
            url: without_login(address),
        };
        if address.contains(char::is_control) {
            return Err(bad("address", CONTROL));
        }
        if address.starts_with('-') {
            return Err(bad("address", DASH));
        }
        let head = address.split('/').next().unwrap_or_default();
        if address.starts_with('/') || address.contains("://") || head.contains(':') {
            let (url, login) = UpstreamUrl::parse(address)?;
            return Ok(Self::Url(url, login));
        }
        if matches!(head, "." | ".." | "~") {
            return Err(BadUrl::Relative(without_login(address)));
        }
        Ok(Self::Name(Name::parse(address)?))
    }
}

impl UpstreamUrl {
    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host, an IPv6 address in brackets; None for a file.
    pub fn host(&self) -> Option<&str> {
        Some(self.host.as_str()).filter(|host| !host.is_empty())
    }

    /// The port that is connected to; None for a file.
    pub fn port(&self) -> Option<u16> {
        self.port.or(self.scheme.default_port())
    }

    /// The user as whom ssh signs in, if the address has one.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The path as `git-upload-pack` is to be given it; None unless this is ssh.
    pub fn ssh_path(&self) -> Option<&str> {
        self.sent.as_deref()
    }

    /// The path: a leading `/` (except in scp's form), no trailing one, percent-encoding as typed (see `file_path`
    /// for a file, `ssh_path` for ssh).
    pub fn path(&self) -> &str {
        &self.path
    }

    /// `https://host[:port]`, the unit of which a redirect or a credential must not leave; `ssh://[user@]host[:port]`,
    /// `file://`.
    pub fn origin(&self) -> String {
        if self.scheme == Scheme::Ssh {
            let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
            return format!("ssh://{}{}{port}", self.user_at(), self.host);
        }
        self.canonical[..self.canonical.len() - self.path.len()].to_owned()
    }

    /// The canonical form.
    pub fn as_str(&self) -> &str {
        &self.canonical
    }

    /// The path in the file system; None unless this is a file.
    pub fn file_path(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The name that a mirror made from this URL gets, without `.git`: `gitlab.example/group/project`,
    /// `gitlab.example+8443/…`, `http+gitlab.example/…`, `ssh+git@gitlab.example/…`, `scp+git@gitlab.example/…`,
    /// `file/abs/path`.
    ///
    /// A name must never read as a URL, and two URLs must not share one. So a host called `file` gets its
    /// scheme, an IPv6 address is written with `-`, and an empty part of a path as `@`, which no http or
    /// ssh path of ours contains. (`http+80/…` is a host called `http`, since no host of ours is a mere number.)
    /// What is too long for a name, or holds what nobody sees or a part `.` or `..`, is `long+HASH/…` with its last parts.
    pub fn mirror_name(&self) -> Name {
        let last = self.path.rsplit('/').next().unwrap_or_default();
        // Without its `.git`, `/a/.git` would be another path, and then `/a/.git.git` must not be called by its name.
        let path = match last.trim_end_matches(".git") {
            "" | "." | ".." => &self.path,
            _ => self.path.strip_suffix(".git").unwrap_or(&self.path),
        };
        let port = self.port.map(|port| format!("+{port}")).unwrap_or_default();
        let scheme = match self.scheme {
            Scheme::File => "file".to_owned(),
            Scheme::Https if self.host != "file" => String::new(),
            Scheme::Ssh if !path.starts_with('/') => "scp+".to_owned(),
            scheme => format!("{scheme}+"),
        };
        let host = self.host.replace(':', "-");
        let mut name = format!("{scheme}{}{host}{port}", self.user_at());
        for part in path.strip_prefix('/').unwrap_or(path).split('/') {
            name.push('/');
            name.push_str(if part.is_empty() { "@" } else { part });
        }
        Name::parse(&shortened(name))
            .expect("a path of ours has no white space, no control character")
    }

    fn user_at(&self) -> String {
        let user = self.user.as_ref();
        user.map(|user| format!("{user}@")).unwrap_or_default()
    }
}

impl Scheme {
    fn default_port(self) -> Option<u16> {
        match self {
            Self::Https => Some(443),
            Self::Http => Some(80),
            Self::Ssh => Some(22),
            Self::File => None,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Https => "https",
            Self::Http => "http",
            Self::Ssh => "ssh",
            Self::File => "file",
        })
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical)
    }
}

impl fmt::Debug for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UpstreamUrl({:?})", self.canonical)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "<redacted>");
        f.debug_struct("Login")
            .field("username", &self.username)
            .field("password", &password)
            .finish()
    }
}

/// A text of a name's length that a person sees: itself, or a hash of it and as many of its last parts as fit, with
/// `-` for what nobody sees and for `.` and `..`. No other text begins as the hash does: what follows a host and `+` is a port.
fn shortened(name: String) -> String {
    let is_dots = |part: &str| matches!(part, "." | "..");
    if name.len() <= Name::MAX_BYTES
        && !name.contains(is_invisible)
        && !name.split('/').any(is_dots)
    {
        return name;
    }
    let hash = Sha256::digest(name.as_bytes());
    let long = format!("long+{}/", hex::encode(&hash[..16]));
    let name = name.replace(is_invisible, "-");
    let parts = name
        .split('/')
        .map(|part| if is_dots(part) { "-" } else { part });
    let name = parts.collect::<Vec<_>>().join("/");
    let excess = (name.len() + long.len()).saturating_sub(Name::MAX_BYTES);
    let end = &name[name.ceil_char_boundary(excess)..];
    long + end.split_once('/').map_or(end, |(_, parts)| parts)
}

/// Returns the part after `scheme://`, whose case does not matter.
fn without_scheme<'a>(url: &'a str, scheme: &str) -> Option<&'a str> {
    url.split_once("://")
        .filter(|(typed, _)| typed.eq_ignore_ascii_case(scheme))
        .map(|(_, rest)| rest)
}
