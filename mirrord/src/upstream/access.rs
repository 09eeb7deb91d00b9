//! With what an upstream is talked to: a login, and the http and ssh settings that hold where the user stands.

use std::{
    fmt, fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use common::{
    address::{
        upstream_url::{Scheme, UpstreamUrl},
        url_config,
    },
    git::{
        client_context::{OwnCredential, truth},
        ssh::Client,
    },
    no_progress,
    protocol::{ClientContext, Login},
};

use crate::{mirrors::settings::Auth, process::questions::Passphrase};

/// Two requests with equal access may share an answer. Its `Debug` shows nothing: headers and proxies hold secrets.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Access {
    /// What the mirror is told to sign in with.
    pub auth: Auth,
    /// The login to sign in with; `None` is anonymous.
    pub login: Option<Login>,
    /// A passphrase that is known.
    pub passphrase: Option<Passphrase>,
    /// `http.*` and its environment.
    pub http: Http,
    /// The user's ssh; None where it is of no use.
    pub ssh: Option<Client>,
    /// `safe.directory`, for upstreams on this machine that belong to somebody else.
    pub safe_directories: Vec<String>,
    /// All settings that git itself would need, for upstreams that only git can talk to.
    pub settings: Vec<(String, String)>,
    /// The variables that go with them.
    pub environment: Vec<(String, String)>,
}

/// How http is spoken.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Http {
    /// A proxy's URL; `None` is a direct connection.
    pub proxy: Option<String>,
    /// The setting or variable that names it.
    pub proxy_setting: Option<&'static str>,
    /// Hosts to which no proxy leads, in curl's syntax.
    pub no_proxy: Option<String>,
    /// Certificate authorities that replace the system's.
    pub ca_file: Option<PathBuf>,
    /// The size and the time of that file: one that was mended is another.
    pub ca_stamp: Option<(u64, SystemTime)>,
    /// Whether certificates are checked.
    pub verify: bool,
    /// `Name: value` lines to send along, to upstream's own origin only.
    pub headers: Vec<String>,
    /// The user agent, when the user chose one.
    pub user_agent: Option<String>,
    /// Whether a redirect of the first request is followed.
    pub follow_redirects: bool,
    /// Whether HTTP/2 may be spoken.
    pub http2: bool,
    /// How long upstream may be silent.
    pub no_progress: Duration,
    /// A setting that changes what goes over the wire in a way that only git's own client knows.
    pub needs_git: Option<String>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access(…)")
    }
}

impl Access {
    /// What holds for `url` where the request comes from, for a mirror that is told to sign in with `auth`.
    pub(crate) fn new(
        url: &UpstreamUrl,
        auth: &Auth,
        login: Option<Login>,
        standing: &ClientContext,
    ) -> Self {
        let all = |key: &str| {
            let values = standing.config.iter().filter(|(name, _)| name == key);
            values.map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        let is_ssh = url.scheme() == Scheme::Ssh;
        let is_wanted = |name: &str| match name {
            "KRB5CCNAME" => *auth == Auth::AsGit,
            "SSH_AUTH_SOCK" => is_ssh,
            name => !is_ssh && !name.starts_with("GIT_SSH_") && name != "GIT_SSH",
        };
        let alone = match auth {
            Auth::AsGit => None,
            Auth::Anonymous => Some(OwnCredential::Anonymous),
            Auth::Password { .. } | Auth::SshKey { .. } => Some(OwnCredential::Given),
        };
        let may_be_sent =
            |key: &str, value: &str| alone.is_none_or(|alone| alone.allows(key, value));
        let config = standing.config.iter();
        let config: Vec<_> = config
            .filter(|(key, value)| key.starts_with("http.") && may_be_sent(key, value))
            .cloned()
            .collect();
        let certificate = |name: &str| name == "GIT_SSL_CERT" || name == "GIT_SSL_KEY";
        let env = standing.env.iter();
        let env = env.filter(|(name, _)| *auth != Auth::Anonymous || !certificate(name));
        let env: Vec<_> = env.cloned().collect();
        Self {
            auth: auth.clone(),
            login: login.filter(|_| *auth != Auth::Anonymous),
            passphrase: None,
            http: Http::new(url, &config, &env),
            ssh: is_ssh.then(|| match auth {
                Auth::SshKey { file, .. } => Client::with_key(file),
                _ => Client::new(standing),
            }),
            safe_directories: all("safe.directory"),
            settings: config,
            environment: env
                .into_iter()
                .filter(|(name, _)| is_wanted(name))
                .collect(),
        }
    }

    /// Whether nothing here could tell upstream who asks: what it then answers, it would answer anybody.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.login.is_none()
            && self.ssh.is_none()
            && self.http.headers.is_empty()
            && self.http.needs_git.is_none()
    }

    /// Whether its login is one that a mirror has of its own, and not one that somebody brings.
    pub(crate) fn has_own_login(&self) -> bool {
        matches!(
            self.auth,
            Auth::Password {
                secret: Some(_),
                ..
            }
        )
    }

    /// What tells it from any other, while this process lives.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// What makes this requester who it is, for recognising it later; empty for anybody.
    pub(crate) fn identity(&self) -> Vec<u8> {
        let mut identity = Vec::new();
        let mut add = |part: &str| {
            identity.extend_from_slice(&(part.len() as u64).to_be_bytes());
            identity.extend_from_slice(part.as_bytes());
        };
        match &self.auth {
            // Recognised without the secret, which may be out of reach; its id is new with each secret.
            Auth::Password {
                secret: Some(secret),
                ..
            } => {
                let secret = secret.to_string();
                ["", "password", "of the mirror", &secret]
                    .into_iter()
                    .for_each(add);
                return identity;
            }
            Auth::SshKey { file, .. } => {
                let file = file.to_string_lossy();
                ["", "ssh key", "of the mirror", &file]
                    .into_iter()
                    .for_each(add);
                return identity;
            }
            Auth::AsGit | Auth::Anonymous | Auth::Password { secret: None, .. } => {}
        }
        if let Some(ssh) = &self.ssh {
            // Not the agent: its socket has another name in each session of the same person.
            ["ssh"].into_iter().chain(ssh.identity()).for_each(add);
            return identity;
        }
        if let Some(Login { username, password }) = &self.login {
            add(username);
            add(password);
        }
        self.http.headers.iter().for_each(|header| add(header));
        if let Some(setting) = &self.http.needs_git {
            add(setting);
            for (key, value) in &self.settings {
                add(key);
                add(value);
            }
        }
        identity
    }
}

impl Http {
    /// What `http.*` settings and the variables beside them make of it.
    fn new(url: &UpstreamUrl, config: &[(String, String)], env: &[(String, String)]) -> Self {
        let config = url_config::matching("http", config, url);
        let get = |name: &str| {
            config
                .iter()
                .rev()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_str())
        };
        let env = |name: &str| {
            env.iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_str())
        };
        let set = |name: &str| get(name).filter(|value| !value.is_empty());
        let variables: &[_] = if url.origin().starts_with("https:") {
            &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
        } else {
            &["http_proxy", "all_proxy", "ALL_PROXY"]
        };
        let named = |name: &&'static str| Some((*name, env(name)?));
        let proxy = get("proxy").map(|proxy| ("http.proxy", proxy));
        let proxy = proxy
            .or_else(|| variables.iter().find_map(named))
            .filter(|(_, proxy)| !proxy.is_empty());
        let ca_file = env("GIT_SSL_CAINFO")
            .or_else(|| set("sslcainfo"))
            .or_else(|| env("SSL_CERT_FILE"));
        Self {
            proxy: proxy.map(|(_, proxy)| proxy.to_owned()),
            proxy_setting: proxy.map(|(setting, _)| setting),
            no_proxy: env("no_proxy")
                .or_else(|| env("NO_PROXY"))
                .map(str::to_owned),
            ca_stamp: ca_file.and_then(|path| {
                let file = fs::metadata(path).ok()?;
                Some((file.len(), file.modified().ok()?))
            }),
            ca_file: ca_file.map(PathBuf::from),
            verify: env("GIT_SSL_NO_VERIFY").is_none() && get("sslverify").is_none_or(truth),
            headers: config
                .iter()
                .filter(|(key, _)| key == "extraheader")
                .map(|(_, value)| value.clone())
                .collect(),
            user_agent: env("GIT_HTTP_USER_AGENT")
                .or_else(|| set("useragent"))
                .map(str::to_owned),
            follow_redirects: get("followredirects")
                .is_none_or(|value| value == "initial" || truth(value)),
            http2: get("version") != Some("HTTP/1.1"),
            no_progress: no_progress::limit(&config, env("GIT_HTTP_LOW_SPEED_TIME")),
            needs_git: Self::needs_git(&set, &env),
        }
    }

    /// The proxy's URL in full: curl takes one without a scheme for an http one.
    pub(super) fn proxy_url(&self) -> Option<String> {
        let proxy = self.proxy.as_ref()?;
        Some(match proxy.contains("://") {
            true => proxy.clone(),
            false => format!("http://{proxy}"),
        })
    }

    /// Client certificates, cookies, pinned keys, other proxies' sign-in: git's client (libcurl) knows them, ours does
    /// not, and to pass over one in silence would talk to upstream in another way than the user said.
    fn needs_git<'a>(
        set: &impl Fn(&str) -> Option<&'a str>,
        env: &impl Fn(&str) -> Option<&'a str>,
    ) -> Option<String> {
        const SETTINGS: [&str; 9] = [
            "sslcert",
            "sslkey",
            "sslcapath",
            "pinnedpubkey",
            "cookiefile",
            "curloptresolve",
            "proxyauthmethod",
            "proxysslcert",
            "proxysslcainfo",
        ];
        let setting = SETTINGS
            .into_iter()
            .find(|name| set(name).is_some())
            .map(|name| format!("http.{name}"));
        let variables = [
            "GIT_SSL_CERT",
            "GIT_SSL_CAPATH",
            "GIT_HTTP_PROXY_AUTHMETHOD",
        ];
        let negotiates = || {
            set("emptyauth")
                .is_some_and(truth)
                .then(|| "http.emptyauth".to_owned())
        };
        setting
            .or_else(|| {
                variables
                    .into_iter()
                    .find(|name| env(name).is_some())
                    .map(str::to_owned)
            })
            .or_else(negotiates)
    }
}

#[cfg(test)]
mod tests {
    use common::address::upstream_url::Address;

    use super::*;

    fn access(url: &str, env: &[(&str, &str)]) -> Access {
        let Ok(Address::Url(url, _)) = Address::parse(url) else {
            panic!("'{url}' is a URL");
        };
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let standing = ClientContext {
            env: env.iter().map(pair).collect(),
            ..ClientContext::default()
        };
        Access::new(&url, &Auth::AsGit, None, &standing)
    }

    #[test]
    fn who_comes_by_ssh_is_somebody_whatever_their_agent_is_called() {
        let of = |agent: &str| access("git@h:p", &[("SSH_AUTH_SOCK", agent)]);
        let (one, two) = (of("/tmp/ssh-1/agent"), of("/tmp/ssh-2/agent"));
        assert!(!one.is_anonymous() && !one.identity().is_empty());
        assert_eq!(
            one.identity(),
            two.identity(),
            "a new session of the same person"
        );
        assert!(one != two, "and yet they share no sync");
        let other = access("git@h:p", &[("GIT_SSH_COMMAND", "ssh -i other")]);
        assert_ne!(one.identity(), other.identity());
    }

    #[test]
    fn what_is_for_ssh_makes_no_difference_to_http() {
        let plain = access("https://h/p", &[]);
        let env = [("SSH_AUTH_SOCK", "/agent"), ("GIT_SSH_COMMAND", "ssh -v")];
        assert!(access("https://h/p", &env) == plain);
        assert!(plain.is_anonymous());
    }
}
