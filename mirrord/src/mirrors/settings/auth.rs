//! The credential with which a mirror signs in at its upstream, as its configuration has it. The secret itself is in a
//! store (see `credentials::secrets`).

use std::path::PathBuf;

use common::{
    address::upstream_url::{Scheme, UpstreamUrl},
    protocol::{Failure, FailureKind},
};

use super::{SecretId, entries::full_key, file::ConfigFile};

const AUTH: &str = "auth";
const USERNAME: &str = "username";
const SSH_KEY: &str = "ssh-key";
const SECRET: &str = "secret";

/// The credential of a mirror, whoever uses the mirror.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) enum Auth {
    /// The one that the user's git would use.
    #[default]
    AsGit,
    /// None, even if the user's git knows one.
    Anonymous,
    /// A password or token.
    Password {
        /// The user name.
        username: String,
        /// The name of the password or token in its store; None until it is stored.
        secret: Option<SecretId>,
    },
    /// An ssh key, and no other key.
    SshKey {
        /// The file of the private key, which is not copied.
        file: PathBuf,
        /// The name of its passphrase in the store, if that is stored.
        passphrase: Option<SecretId>,
    },
}

impl Auth {
    /// Returns the name of the secret that goes with it.
    pub(crate) fn secret(&self) -> Option<&SecretId> {
        match self {
            Self::AsGit | Self::Anonymous => None,
            Self::Password { secret, .. } => secret.as_ref(),
            Self::SshKey { passphrase, .. } => passphrase.as_ref(),
        }
    }

    /// Checks that the credential fits the scheme of an upstream.
    ///
    /// # Errors
    /// Fails if it does not, with a hint at what does.
    pub(crate) fn check(&self, url: &UpstreamUrl) -> Result<(), Failure> {
        let is_ssh = url.scheme() == Scheme::Ssh;
        let is_http = matches!(url.scheme(), Scheme::Http | Scheme::Https);
        let (option, fits, hint) = match self {
            Self::AsGit => return Ok(()),
            Self::Anonymous => (
                "--anonymous",
                !is_ssh,
                "ssh knows nobody who is anonymous: --ssh-key names the key to sign in with",
            ),
            Self::Password { .. } if is_ssh => (
                "--username",
                false,
                "who signs in over ssh stands in the address; --ssh-key names the key to sign in with",
            ),
            Self::Password { .. } => (
                "--username",
                is_http,
                "only https and http sign in with a name and a password",
            ),
            Self::SshKey { .. } => (
                "--ssh-key",
                is_ssh,
                "only ssh signs in with a key: ssh://git@HOST/GROUP/PROJECT.git",
            ),
        };
        if fits {
            return Ok(());
        }
        let failure = format!("{option} is not for '{url}'");
        Err(Failure::new(FailureKind::Usage, failure).hinted(hint))
    }

    /// Whether the secret belongs to one scheme, host and port, and must not be sent to another.
    pub(crate) fn is_for_one_origin(&self) -> bool {
        matches!(self, Self::Password { .. })
    }

    /// Reads the credential from a mirror's configuration.
    ///
    /// # Errors
    /// Fails when a key is missing or has a bad value, with the key and the reason.
    pub(super) fn read(file: &ConfigFile) -> Result<Self, String> {
        let last = |key| file.values(&full_key(key)).pop();
        let secret = match last(SECRET) {
            Some(text) => Some(
                SecretId::parse(&text)
                    .ok_or_else(|| format!("mirror.{SECRET}: '{text}' names no secret"))?,
            ),
            None => None,
        };
        let missing = |key: &str| format!("mirror.{AUTH}: there is no mirror.{key} for it");
        Ok(match last(AUTH).as_deref() {
            None | Some("git") => Self::AsGit,
            Some("anonymous") => Self::Anonymous,
            Some("password") => Self::Password {
                username: last(USERNAME).ok_or_else(|| missing(USERNAME))?,
                secret: Some(secret.ok_or_else(|| missing(SECRET))?),
            },
            Some("ssh-key") => Self::SshKey {
                file: last(SSH_KEY).ok_or_else(|| missing(SSH_KEY))?.into(),
                passphrase: secret,
            },
            Some(other) => {
                return Err(format!(
                    "mirror.{AUTH}: '{other}' is none of git, anonymous, password, ssh-key"
                ));
            }
        })
    }

    /// Returns its keys and values; a key without a value is absent in the configuration.
    pub(super) fn lines(&self) -> [(&'static str, Option<String>); 4] {
        let (auth, username, key) = match self {
            Self::AsGit => ("git", None, None),
            Self::Anonymous => ("anonymous", None, None),
            Self::Password { username, .. } => ("password", Some(username.clone()), None),
            Self::SshKey { file, .. } => {
                let file = file.to_string_lossy().into_owned();
                ("ssh-key", None, Some(file))
            }
        };
        let secret = self.secret().map(ToString::to_string);
        [
            (AUTH, Some(auth.to_owned())),
            (USERNAME, username),
            (SSH_KEY, key),
            (SECRET, secret),
        ]
    }

    /// Returns the keys and values that are shown to people: of the secret only its store.
    pub(super) fn shown(&self) -> impl Iterator<Item = (&'static str, String)> {
        let store = self.secret().map(|secret| secret.store().place());
        self.lines().into_iter().filter_map(move |(key, value)| {
            let value = if key == SECRET {
                store.map(str::to_owned)
            } else {
                value
            };
            Some((key, value?))
        })
    }
}

#[cfg(test)]
mod tests {
    use common::address::upstream_url::Address;

    use super::*;

    fn url(text: &str) -> UpstreamUrl {
        match Address::parse(text) {
            Ok(Address::Url(url, _)) => url,
            other => panic!("'{text}' is no URL: {other:?}"),
        }
    }

    #[test]
    fn a_credential_that_the_scheme_does_not_know_is_refused_with_one_that_it_knows() {
        let password = || Auth::Password {
            username: "me".to_owned(),
            secret: None,
        };
        let key = || Auth::SshKey {
            file: "/key".into(),
            passphrase: None,
        };
        let (ssh, https, path) = ("git@h:p", "https://h/p", "file:///srv/p.git");
        let refused = [
            (ssh, password(), "--username", "--ssh-key"),
            (ssh, Auth::Anonymous, "--anonymous", "--ssh-key"),
            (https, key(), "--ssh-key", "only ssh signs in with a key"),
            (path, key(), "--ssh-key", "only ssh signs in with a key"),
            (path, password(), "--username", "only https and http"),
        ];
        for (address, auth, option, hint) in refused {
            let failure = auth.check(&url(address)).expect_err(address);
            assert_eq!(failure.message, format!("{option} is not for '{address}'"));
            let found = failure.hint.unwrap_or_default();
            assert!(found.contains(hint), "{address}: {found}");
        }
        let fitting = [
            (ssh, key()),
            (https, password()),
            (https, Auth::Anonymous),
            (path, Auth::Anonymous),
            (ssh, Auth::AsGit),
        ];
        for (address, auth) in fitting {
            assert!(auth.check(&url(address)).is_ok(), "{address}: {auth:?}");
        }
    }
}
