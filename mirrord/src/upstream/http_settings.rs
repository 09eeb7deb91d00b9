//! The settings `http.*` for one upstream, and the environment variables that git reads beside them.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use common::{
    address::{upstream_url::UpstreamUrl, url_config},
    git::client_context::truth,
    no_progress,
    protocol::Login,
};

/// The variable that says how to sign in to a proxy.
const PROXY_AUTH_METHOD: &str = "GIT_HTTP_PROXY_AUTHMETHOD";

/// Which redirects are followed (`http.followRedirects`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Redirects {
    /// None.
    Never,
    /// Those of the first request that stay on its host: the user has not said anything.
    OnHost,
    /// Those of the first request.
    Initial,
    /// All.
    Always,
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
    /// Which redirects are followed.
    pub redirects: Redirects,
    /// The transports to which git's own rules allow to be redirected.
    pub redirect_transports: Vec<String>,
    /// Whether HTTP/2 may be spoken.
    pub http2: bool,
    /// Whether the first request signs in, though upstream may not want that (`http.proactiveAuth`).
    pub proactive_auth: Option<ProactiveAuth>,
    /// How long there may be no progress.
    pub no_progress: Duration,
    /// A setting that only git's own client implements.
    pub needs_git: Option<String>,
}

impl Http {
    /// Reads the settings `http.*` and the environment variables that git reads beside them.
    pub(super) fn new(
        url: &UpstreamUrl,
        config: &[(String, String)],
        env: &[(String, String)],
    ) -> Self {
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
            redirects: match get("followredirects") {
                None => Redirects::OnHost,
                Some("initial") => Redirects::Initial,
                Some(value) if truth(value) => Redirects::Always,
                Some(_) => Redirects::Never,
            },
            redirect_transports: ["http", "https"].map(str::to_owned).to_vec(),
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
