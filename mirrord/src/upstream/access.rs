//! How to sign in to an upstream, and the http and ssh settings for it, as they are where the request comes from.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};

use common::{
    address::upstream_url::{Scheme, UpstreamUrl},
    git::{client_context::OwnCredential, ssh::Client},
    protocol::{ClientContext, Login},
};

use super::http_settings::{Http, Redirects};
use crate::{mirrors::settings::Auth, process::questions::Passphrase};

/// The credentials and settings for one upstream. Two requests with equal access may share an answer. `Debug` shows
/// nothing, because headers and proxies hold secrets.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Access {
    /// With what the mirror is set to sign in.
    pub auth: Auth,
    /// The login to sign in with; `None` is anonymous.
    pub login: Option<Login>,
    /// The scheme, host and port that the login is for, where upstream redirects to another.
    pub login_at: Option<String>,
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
            login_at: None,
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

    /// The scheme, host and port that the login is for.
    pub(super) fn login_origin(&self, url: &UpstreamUrl) -> String {
        self.login_at.clone().unwrap_or_else(|| url.origin())
    }

    /// Whether redirects are followed to other hosts: the user has set that.
    pub(crate) fn follows_anywhere(&self) -> bool {
        matches!(self.http.redirects, Redirects::Initial | Redirects::Always)
    }

    /// The access of a request that goes to where neither the login nor the user's headers belong.
    pub(super) fn without_login(&self) -> Self {
        let mut access = self.clone();
        access.login = None;
        access.http.headers.clear();
        access
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
