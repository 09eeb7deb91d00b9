//! How to sign in to an upstream, and the http and ssh settings for it, as they are where the request comes from.

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

/// The variable that says how to sign in to a proxy.
const PROXY_AUTH_METHOD: &str = "GIT_HTTP_PROXY_AUTHMETHOD";

/// The credentials and settings for one upstream. Two requests with equal access may share an answer. `Debug` shows
/// nothing, because headers and proxies hold secrets.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Access {
    /// With what the mirror is set to sign in.
    pub auth: Auth,
    /// The login to sign in with; `None` is anonymous.
    pub login: Option<Login>,
    /// Whether the login is one step of several, each of which upstream answers with a challenge.
    pub is_step: bool,
    /// The stored passphrase of the mirror's own key.
    pub passphrase: Option<Passphrase>,
    /// `http.*` and its environment.
    pub http: Http,
    /// The ssh to run; `None` for another transport.
    pub ssh: Option<Client>,
    /// `safe.directory`, for upstreams on this machine that belong to somebody else.
    pub safe_directories: Vec<String>,
    /// The settings `http.*`, for upstreams that only git can talk to.
    pub settings: Vec<(String, String)>,
    /// The environment variables for such a git, or for ssh.
    pub environment: Vec<(String, String)>,
}

/// With what scheme the first request signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ProactiveAuth {
    /// `Basic`.
    Basic,
    /// That of the credential helper.
    Auto,
}

/// The http settings for one upstream.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Http {
    /// A proxy's URL; `None` is a direct connection.
    pub proxy: Option<String>,
    /// The login of the proxy that a credential helper or the person gave.
    pub proxy_login: Option<Login>,
    /// The setting or variable that names the proxy.
    pub proxy_setting: Option<&'static str>,
    /// Hosts to which no proxy leads, in curl's syntax.
    pub no_proxy: Option<String>,
    /// Certificate authorities that replace the system's.
    pub ca_file: Option<PathBuf>,
    /// The size and the time of that file: with a changed one a client is made anew.
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
    /// Whether the first request signs in, though upstream may not want that (`http.proactiveAuth`).
    pub proactive_auth: Option<ProactiveAuth>,
    /// How long there may be no progress.
    pub no_progress: Duration,
    /// A setting that only git's own client implements.
    pub needs_git: Option<String>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access(…)")
    }
}

impl Access {
    /// Collects what applies to `url` where the request comes from, for a mirror that signs in with `auth`.
    pub(crate) fn new(
        url: &UpstreamUrl,
        auth: &Auth,
        login: Option<Login>,
        context: &ClientContext,
    ) -> Self {
        let all = |key: &str| {
            let values = context.config.iter().filter(|(name, _)| name == key);
            values.map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        let is_ssh = url.scheme() == Scheme::Ssh;
        let is_wanted = |name: &str| match name {
            "KRB5CCNAME" => *auth == Auth::AsGit,
            "SSH_AUTH_SOCK" => is_ssh,
            name => !is_ssh && !name.starts_with("GIT_SSH_") && name != "GIT_SSH",
        };
        let own_credential = match auth {
            Auth::AsGit => None,
            Auth::Anonymous => Some(OwnCredential::Anonymous),
            Auth::Password { .. } | Auth::SshKey { .. } => Some(OwnCredential::Given),
        };
        let may_be_sent = |key: &str, value: &str| {
            own_credential.is_none_or(|own_credential| own_credential.allows(key, value))
        };
        let config = context.config.iter();
        let config: Vec<_> = config
            .filter(|(key, value)| key.starts_with("http.") && may_be_sent(key, value))
            .cloned()
            .collect();
        let certificate = |name: &str| name == "GIT_SSL_CERT" || name == "GIT_SSL_KEY";
        let env = context.env.iter();
        let env = env.filter(|(name, _)| *auth != Auth::Anonymous || !certificate(name));
        let env: Vec<_> = env.cloned().collect();
        Self {
            auth: auth.clone(),
            login: login.filter(|_| *auth != Auth::Anonymous),
            is_step: false,
            passphrase: None,
            http: Http::new(url, &config, &env),
            ssh: is_ssh.then(|| match auth {
                Auth::SshKey { file, .. } => Client::with_key(file),
                _ => Client::new(context),
            }),
            safe_directories: all("safe.directory"),
            settings: config,
            environment: env
                .into_iter()
                .filter(|(name, _)| is_wanted(name))
                .collect(),
        }
    }

    /// Whether nothing tells upstream who asks, so that it would give anybody the same answer.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.login.is_none()
            && self.ssh.is_none()
            && self.http.headers.is_empty()
            && self.http.needs_git.is_none()
    }

    /// Whether there is a login by user name and password.
    pub(super) fn login_is_basic(&self) -> bool {
        let login = self.login.as_ref();
        login.is_some_and(|login| login.authtype.is_none())
    }

    /// Whether the login is a mirror's own, and not one of a person's git.
    pub(crate) fn has_own_login(&self) -> bool {
        matches!(
            self.auth,
            Auth::Password {
                secret: Some(_),
                ..
            }
        )
    }

    /// Returns a hash that differs for different accesses, while this process lives.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// Returns what identifies the requester to upstream, to recognise them later; empty for anybody.
    pub(crate) fn identity(&self) -> Vec<u8> {
        let mut identity = Vec::new();
        let mut add = |part: &str| {
            identity.extend_from_slice(&(part.len() as u64).to_be_bytes());
            identity.extend_from_slice(part.as_bytes());
        };
        match &self.auth {
            // The id stands for the secret, which may be out of reach: each new secret has a new id.
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
            // Without the agent: its socket has another name in each session of the same person.
            ["ssh"].into_iter().chain(ssh.identity()).for_each(add);
            return identity;
        }
        if let Some(login) = &self.login {
            add(&login.username);
            add(&login.password);
            login.authtype.iter().for_each(|authtype| add(authtype));
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
    /// Reads the settings `http.*` and the environment variables that git reads beside them.
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
            proxy_login: None,
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
            proactive_auth: match set("proactiveauth") {
                Some("basic") => Some(ProactiveAuth::Basic),
                Some("auto") => Some(ProactiveAuth::Auto),
                _ => None,
            },
            no_progress: no_progress::limit(&config, env("GIT_HTTP_LOW_SPEED_TIME")),
            needs_git: Self::needs_git(&set, &env),
        }
    }

    /// Returns the first setting that only git's client (libcurl) implements: client certificates, cookies, pinned keys,
    /// other ways to sign in to a proxy. To ignore one would be to talk to upstream in another way than the user has set.
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
        // Our own client signs in to a proxy by `basic`, and git's takes over where `anyauth` is to be another way.
        let is_ours = |value: &str| ["basic", "anyauth"].contains(&value);
        let matters = |name: &str, value: Option<&str>| {
            let is_method = name == "proxyauthmethod" || name == PROXY_AUTH_METHOD;
            value.is_some_and(|value| !(is_method && is_ours(value)))
        };
        let setting = SETTINGS
            .into_iter()
            .find(|name| matters(name, set(name)))
            .map(|name| format!("http.{name}"));
        let variables = ["GIT_SSL_CERT", "GIT_SSL_CAPATH", PROXY_AUTH_METHOD];
        let negotiates = || {
            set("emptyauth")
                .is_some_and(|value| value != "auto" && truth(value))
                .then(|| "http.emptyauth".to_owned())
        };
        setting
            .or_else(|| {
                variables
                    .into_iter()
                    .find(|name| matters(name, env(name)))
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
        let context = ClientContext {
            env: env.iter().map(pair).collect(),
            ..ClientContext::default()
        };
        Access::new(&url, &Auth::AsGit, None, &context)
    }

    #[test]
    fn a_requester_over_ssh_is_the_same_whatever_the_agents_socket_is_called() {
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
    fn variables_for_ssh_make_no_difference_to_http() {
        let plain = access("https://h/p", &[]);
        let env = [("SSH_AUTH_SOCK", "/agent"), ("GIT_SSH_COMMAND", "ssh -v")];
        assert!(access("https://h/p", &env) == plain);
        assert!(plain.is_anonymous());
    }
}
