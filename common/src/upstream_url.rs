//! The one parser of upstream URLs.
//!
//! Whatever follows `mirror::` comes here before anything is spawned, written or sent: it is the name of
//! a mirror, or a URL of a scheme on our list, or it is refused in one line. An accepted URL has one
//! canonical form and holds no userinfo; a login typed into it comes back beside it, so that what is
//! stored, logged or handed to a child cannot contain it.
//!
//! Where git, curl and WHATWG parsers read one text differently (`\`, `@` in a path, `..`, odd IPv4
//! forms, an empty port), the text is refused: two readers of one URL must never see two hosts.

use std::fmt;
use std::path::{Path, PathBuf};

mod parse;
mod redact;
#[cfg(test)]
mod tests;

pub(crate) use parse::percent_decode;
use parse::{CONTROL, DASH};
use redact::quoted;
pub use redact::redact;

/// What follows `mirror::`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A URL, and the login that was typed into it.
    Url(UpstreamUrl, Option<Login>),
    /// The name of a mirror, as typed.
    Name(String),
}

/// The URL of an upstream in canonical form: scheme and host in lower case, no default port, no
/// userinfo, no trailing slash. The rest of an http path is kept byte for byte, `.git` included, since
/// only upstream knows whether two spellings are one repository.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UpstreamUrl {
    scheme: Scheme,
    /// Empty for a file.
    host: String,
    /// None where it is the scheme's own.
    port: Option<u16>,
    path: String,
    /// `path` without its percent-encoding, for a file.
    file: Option<PathBuf>,
    canonical: String,
}

/// A login that stood in a URL, percent-decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Empty in `https://:token@host`.
    pub username: String,
    /// None where the URL had no `:` before its `@`.
    pub password: Option<String>,
}

/// The schemes that an upstream may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `https://`
    Https,
    /// `http://`
    Http,
    /// `file://`, and absolute paths
    File,
}

/// Why an address was refused. No message contains a password: URLs in them are redacted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// Nothing, or only white space, was typed.
    #[error("the address of the upstream is empty")]
    Empty,
    /// A path that would mean another directory wherever the daemon stands.
    #[error("'{0}' is a relative path: use an absolute one")]
    Relative(String),
    /// Any ssh form.
    #[error("cannot mirror '{0}': ssh is not built yet, use its https address")]
    SshNotYet(String),
    /// `ext::`, `fd::`, a second `mirror::`: git would run another helper for these.
    #[error("transport '{0}' is not allowed in the address of a mirror")]
    Transport(String),
    /// A scheme that is not on our list.
    #[error("cannot mirror '{url}': scheme '{scheme}' is not one of https, http, file")]
    Scheme {
        /// As typed.
        scheme: String,
        /// Redacted.
        url: String,
    },
    /// A part of the address breaks a rule.
    #[error("invalid {part} in '{url}': {rule}")]
    Part {
        /// Which part: user, password, host, port, path, name, address.
        part: &'static str,
        /// What it should have been.
        rule: &'static str,
        /// Redacted.
        url: String,
    },
}

impl Address {
    /// Tells a URL from a name: what contains `://`, has a `:` before the first `/`, or starts with `/`
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
            url: quoted(address),
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
            return Err(BadUrl::Relative(quoted(address)));
        }
        if address.split('/').any(|part| part == "..") {
            return Err(bad("name", "'..' is not allowed in it"));
        }
        if address.ends_with('/') {
            return Err(bad("name", "it ends with '/'"));
        }
        Ok(Self::Name(address.to_owned()))
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

    /// The path: a leading `/`, no trailing one, percent-encoding as typed (see `file_path` for a file).
    pub fn path(&self) -> &str {
        &self.path
    }

    /// `https://host[:port]`, the unit of which a redirect or a credential must not leave; `file://`.
    pub fn origin(&self) -> String {
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
    /// `gitlab.example+8443/…`, `http+gitlab.example/…`, `file/abs/path`.
    ///
    /// A name must never read as a URL, and two URLs must not share one. So a host called `file` gets its
    /// scheme, an IPv6 address is written with `-`, and `://` within a path with `@`, which no http path
    /// of ours contains. (`http+80/…` is a host called `http`, since no host of ours is a mere number.)
    pub fn mirror_name(&self) -> String {
        let stem = self
            .path
            .strip_suffix(".git")
            .filter(|stem| !stem.ends_with('/'));
        let path = stem.unwrap_or(&self.path);
        if self.scheme == Scheme::File {
            return format!("file{path}");
        }
        let scheme = match self.scheme {
            Scheme::Https if self.host != "file" => String::new(),
            scheme => format!("{scheme}+"),
        };
        let port = self.port.map(|port| format!("+{port}")).unwrap_or_default();
        format!(
            "{scheme}{}{port}{}",
            self.host.replace(':', "-"),
            path.replace("://", "@//")
        )
    }
}

impl Scheme {
    fn default_port(self) -> Option<u16> {
        match self {
            Self::Https => Some(443),
            Self::Http => Some(80),
            Self::File => None,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Https => "https",
            Self::Http => "http",
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

/// What follows `scheme://`, in whatever case it is written.
fn without_scheme<'a>(url: &'a str, scheme: &str) -> Option<&'a str> {
    url.split_once("://")
        .filter(|(typed, _)| typed.eq_ignore_ascii_case(scheme))
        .map(|(_, rest)| rest)
}
