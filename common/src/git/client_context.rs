//! Reads what git itself would read where the user stands, so that the daemon can act as if it stood there.
//!
//! The daemon never runs with the user's configuration. A client reads it, in its own directory and environment, and
//! sends the few settings that bear on talking to an upstream, together with a fingerprint of the place: two requests
//! of the same place would be given the same credentials by the same credential helpers.

use std::{
    env,
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt,
    path::Path,
    process::{Command, Output},
};

use sha2::{Digest, Sha256};

use crate::{
    git::{self, child_log, reading_config::ReadingConfig},
    protocol::ClientContext,
};

/// Everything that `git config` says where the user stands, in reading order.
#[derive(Clone, Default)]
pub struct UserConfig {
    pub(super) entries: Vec<(String, String)>,
}

/// The variables that git, libcurl and ssh obey when they talk to an upstream.
const VARIABLES: [&str; 24] = [
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "GIT_HTTP_PROXY_AUTHMETHOD",
    "GIT_HTTP_LOW_SPEED_LIMIT",
    "GIT_HTTP_LOW_SPEED_TIME",
    "GIT_HTTP_USER_AGENT",
    "GIT_SSL_NO_VERIFY",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GIT_SSL_CERT",
    "GIT_SSL_KEY",
    "GIT_SSL_CERT_PASSWORD_PROTECTED",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "KRB5CCNAME",
    "GIT_SSH_COMMAND",
    "GIT_SSH",
    "GIT_SSH_VARIANT",
    "SSH_AUTH_SOCK",
];

/// Those of them that have a path, which libcurl takes as relative to the current directory.
const PATH_VARIABLES: [&str; 5] = [
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GIT_SSL_CERT",
    "GIT_SSL_KEY",
    "SSL_CERT_FILE",
];

/// Has git list its configuration.
pub(super) const LIST: [&str; 3] = ["config", "-z", "--list"];

/// Variables that change from command to command and decide nothing.
const VOLATILE: [&str; 16] = [
    "_",
    "SHLVL",
    "PWD",
    "OLDPWD",
    "TERM",
    "COLUMNS",
    "LINES",
    "WINDOWID",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_PREFIX",
    "GIT_INDEX_FILE",
    "GIT_REFLOG_ACTION",
    "GIT_CONFIG_PARAMETERS",
    "GIT_PROTOCOL_FROM_USER",
    "GIT_COMMON_DIR",
];

impl UserConfig {
    /// Reads the configuration as git does here: system, global with its includes, the repository's own, `-c`.
    ///
    /// # Errors
    /// Fails when git cannot be run or cannot read its configuration; git's own message are the error.
    pub fn read() -> io::Result<Self> {
        ReadingConfig::begin()?.finish()
    }

    /// Reads the configuration that the user has wherever they stand: system, and global with its includes.
    ///
    /// # Errors
    /// Fails as [`UserConfig::read`] does.
    pub fn read_at_large() -> io::Result<Self> {
        Self::list(git::of_user_at_large(), &["--includes".as_ref()])
    }

    /// Reads one file of configuration, without those that it includes.
    ///
    /// # Errors
    /// Fails as [`UserConfig::read`] does.
    pub fn read_file(path: &Path) -> io::Result<Self> {
        Self::list(git::fenced(), &["--file".as_ref(), path.as_ref()])
    }

    fn list(mut git: Command, args: &[&OsStr]) -> io::Result<Self> {
        Self::of_output(child_log::output(git.args(LIST).args(args))?)
    }

    pub(super) fn of_output(output: Output) -> io::Result<Self> {
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(
                message.trim().trim_start_matches("fatal: ").to_owned(),
            ));
        }
        Ok(Self::parse(&String::from_utf8_lossy(&output.stdout)))
    }

    /// `git config -z --list` ends each entry with NUL and puts a newline between key and value; a key alone is true.
    pub(super) fn parse(list: &str) -> Self {
        let entry = |entry: &str| match entry.split_once('\n') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None => (entry.to_owned(), "true".to_owned()),
        };
        Self {
            entries: list
                .split('\0')
                .filter(|text| !text.is_empty())
                .map(entry)
                .collect(),
        }
    }

    /// The value of a key, the last one as in git.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries
            .iter()
            .rev()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// Whether a key is set to true, as git reads a boolean.
    #[must_use]
    pub fn is_true(&self, key: &str) -> bool {
        self.get(key).is_some_and(truth)
    }

    /// All entries, in reading order.
    #[must_use]
    pub fn entries(&self) -> &[(String, String)] {
        &self.entries
    }

    /// Returns what the daemon is told of the configuration and the environment.
    #[must_use]
    pub fn client_context(&self) -> ClientContext {
        let config: Vec<_> = self
            .entries
            .iter()
            .filter(|(key, _)| bears_on_upstream(key))
            .map(|(key, value)| (key.clone(), from_anywhere(key, value)))
            .collect();
        let env = VARIABLES
            .iter()
            .filter_map(|name| Some((*name, env::var(name).ok()?)))
            .map(|(name, value)| match PATH_VARIABLES.contains(&name) {
                true => (name.to_owned(), absolute(value)),
                false => (name.to_owned(), value),
            })
            .collect();
        let mut digest = Sha256::new();
        let mut add = |name: &[u8], value: &[u8]| {
            for part in [name, value] {
                digest.update((part.len() as u64).to_be_bytes());
                digest.update(part);
            }
        };
        for (key, value) in &config {
            add(key.as_bytes(), value.as_bytes());
        }
        let mut variables: Vec<_> = env::vars_os().collect();
        variables.sort();
        for (name, value) in variables {
            let steady = name
                .to_str()
                .is_none_or(|name| !VOLATILE.contains(&name) && !name.starts_with("GIT_TRACE"));
            if steady {
                add(name.as_bytes(), value.as_bytes());
            }
        }
        ClientContext {
            config,
            env,
            credential_settings: digest.finalize().into(),
        }
    }
}

/// A boolean as git's configuration writes it.
#[must_use]
pub fn truth(value: &str) -> bool {
    !matches!(
        value.to_ascii_lowercase().as_str(),
        "false" | "no" | "off" | "0" | ""
    )
}

/// The credential of a request that does not sign in as the user's git would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnCredential {
    /// A credential that the request or the mirror has.
    Given,
    /// No credential.
    Anonymous,
}

impl OwnCredential {
    /// Whether an `http.*` setting of the user's may have a part in what is sent: one that could tell who they are, beside
    /// the credential or in its place, has none.
    #[must_use]
    pub fn allows(self, key: &str, value: &str) -> bool {
        let variable = key.rsplit('.').next().unwrap_or_default();
        let is = |names: &[&str]| names.iter().any(|name| variable.eq_ignore_ascii_case(name));
        if is(&["cookiefile", "emptyauth", "proactiveauth", "delegation"]) {
            return false;
        }
        match self {
            // A proxy in front of upstream may want a certificate or a header as well.
            Self::Given => {
                let name = value.split(':').next().unwrap_or_default().trim();
                let signs_in = [
                    "authorization",
                    "cookie",
                    "private-token",
                    "job-token",
                    "deploy-token",
                ]
                .iter()
                .any(|header| name.eq_ignore_ascii_case(header));
                !(is(&["extraheader"]) && signs_in)
            }
            // What a header is for only its owner knows.
            Self::Anonymous => !is(&["extraheader", "sslcert", "sslkey"]),
        }
    }
}

/// A value that means the same file wherever it is read: with the home in it spelled out as git does, and absolute. git's
/// own http helper opens a relative path in the directory in which git runs it, and that is where this program runs.
fn from_anywhere(key: &str, value: &str) -> String {
    const PATHS: [&str; 9] = [
        "sslcainfo",
        "sslcapath",
        "sslcert",
        "sslkey",
        "cookiefile",
        "proxysslcainfo",
        "proxysslcert",
        "proxysslkey",
        "pinnedpubkey",
    ];
    let variable = key.rsplit('.').next().unwrap_or_default();
    let is_path = PATHS.iter().any(|path| variable.eq_ignore_ascii_case(path));
    let is_digest = value.starts_with("sha256//");
    if !key.starts_with("http.") || !is_path || is_digest {
        return value.to_owned();
    }
    match (value.strip_prefix("~/"), env::var("HOME")) {
        (Some(rest), Ok(home)) => format!("{home}/{rest}"),
        _ if value.starts_with('~') => value.to_owned(),
        _ => absolute(value.to_owned()),
    }
}

/// A path, absolute; a blank one stays blank.
fn absolute(path: String) -> String {
    if path.is_empty() || Path::new(&path).is_absolute() {
        return path;
    }
    let absolute = std::path::absolute(&path).ok();
    let absolute = absolute.and_then(|path| path.to_str().map(str::to_owned));
    absolute.unwrap_or(path)
}

/// The keys that bear on talking to an upstream; `safe.directory` counts because a local upstream may be another user's.
fn bears_on_upstream(key: &str) -> bool {
    let (section, rest) = key.split_once('.').unwrap_or((key, ""));
    match section {
        "http" | "credential" => true,
        "url" => rest.ends_with(".insteadof"),
        _ => [
            "core.sshcommand",
            "core.askpass",
            "ssh.variant",
            "safe.directory",
        ]
        .contains(&key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_do_not_bear_on_upstream_stay_behind() {
        let config = UserConfig::parse(
            "core.hookspath\n/evil\0http.proxy\nhttp://proxy:3128\0http.https://h/.extraHeader\nX: y\0user.name\nMe\0\
             url.https://other/.insteadof\nhttps://h/\0credential.helper\nstore\0http.sslverify\0",
        );
        let keys: Vec<_> = config
            .client_context()
            .config
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        let expected = [
            "http.proxy",
            "http.https://h/.extraHeader",
            "url.https://other/.insteadof",
            "credential.helper",
            "http.sslverify",
        ];
        assert_eq!(keys, expected);
        assert_eq!(
            config.get("http.sslverify"),
            Some("true"),
            "a key alone is true"
        );
        assert_eq!(config.get("user.name"), Some("Me"));
    }

    #[test]
    fn a_file_of_a_setting_is_the_same_from_anywhere() {
        let here = env::current_dir().expect("there is one");
        let here = here.to_str().expect("it is text");
        for (key, value, expected) in [
            ("http.cookiefile", "jar", format!("{here}/jar")),
            (
                "http.https://h/.sslCAInfo",
                "../ca",
                format!("{here}/../ca"),
            ),
            ("http.sslcert", "/c", "/c".to_owned()),
            ("http.cookiefile", "", String::new()),
            ("http.pinnedpubkey", "sha256//x=", "sha256//x=".to_owned()),
            ("http.useragent", "git/2", "git/2".to_owned()),
            ("credential.cookiefile", "jar", "jar".to_owned()),
        ] {
            assert_eq!(from_anywhere(key, value), expected, "{key} {value}");
        }
    }

    #[test]
    fn two_clients_with_other_credential_settings_differ() {
        let fingerprint = |list: &str| UserConfig::parse(list).client_context().credential_settings;
        assert_eq!(
            fingerprint("credential.helper\nstore\0"),
            fingerprint("credential.helper\nstore\0user.name\nMe\0")
        );
        assert_ne!(
            fingerprint("credential.helper\nstore\0"),
            fingerprint("credential.helper\ncache\0")
        );
    }

    #[test]
    fn who_signs_in_alone_sends_nothing_of_the_users_that_tells_who_they_are() {
        let (given, anonymous) = (OwnCredential::Given, OwnCredential::Anonymous);
        for credential in [given, anonymous] {
            assert!(credential.allows("http.proxy", "http://proxy:3128"));
            assert!(credential.allows("http.https://h/.sslCAInfo", "/ca"));
            assert!(!credential.allows("http.cookieFile", "/jar"));
            assert!(!credential.allows("http.https://h/.extraHeader", "authorization: Basic eA=="));
            assert!(!credential.allows("http.extraheader", "PRIVATE-TOKEN: x"));
        }
        let of_a_gate = ("http.extraheader", "X-Gate: x");
        assert!(given.allows(of_a_gate.0, of_a_gate.1) && given.allows("http.sslcert", "/c"));
        assert!(!anonymous.allows(of_a_gate.0, of_a_gate.1));
        assert!(!anonymous.allows("http.sslCert", "/c"));
    }

    #[test]
    fn debug_shows_no_value() {
        let context =
            UserConfig::parse("http.extraheader\nAuthorization: Basic c2VjcmV0\0").client_context();
        assert!(!format!("{context:?}").contains("c2VjcmV0"));
    }
}
