//! A credential that came with `mirrord add`, `set` or `test`, on its way to where it is stored.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use common::{
    address::upstream_url::UpstreamUrl,
    protocol::{Credential, Failure, FailureKind, Login, Secret},
};

use crate::{
    credentials,
    mirrors::settings::{Auth, SecretId, Store},
    process::questions::Passphrase,
    sync::Engine,
};

/// A credential that came with a command, with which a mirror will sign in.
#[derive(Clone)]
pub(crate) struct SuppliedCredential {
    /// The credential as the mirror's settings will name it.
    pub auth: Auth,
    /// The password, or the key's passphrase.
    secret: Option<Secret>,
    /// The scheme, host and port that the secret is for.
    origin: String,
}

impl SuppliedCredential {
    /// Takes a credential for an upstream.
    ///
    /// # Errors
    /// Fails where the upstream cannot be signed in to with it.
    pub(crate) fn new(credential: Credential, url: &UpstreamUrl) -> Result<Self, Failure> {
        let (auth, secret) = match credential {
            Credential::AsGit => (Auth::AsGit, None),
            Credential::Anonymous => (Auth::Anonymous, None),
            Credential::Password(login) => {
                let (username, password) = login.into_parts();
                let secret = None;
                (Auth::Password { username, secret }, Some(Secret(password)))
            }
            Credential::SshKey { file, passphrase } => (
                Auth::SshKey {
                    file: absolute(file)?,
                    passphrase: None,
                },
                passphrase,
            ),
        };
        auth.check(url)?;
        Ok(Self {
            auth,
            secret,
            origin: url.origin(),
        })
    }

    /// The secret, for the host that it is meant for.
    ///
    /// # Errors
    /// Fails for another scheme, host or port.
    pub(crate) fn secret_for(&self, url: &UpstreamUrl) -> Result<Option<Secret>, Failure> {
        if self.secret.is_none() || self.origin == url.origin() {
            return Ok(self.secret.clone());
        }
        let message = format!(
            "'{}' redirects to '{url}', and what signs in at the one is not told to the other",
            self.origin
        );
        let hint = format!("name that address: mirrord add NAME {url} --username USER");
        Err(Failure::new(FailureKind::Refused, message).hinted(hint))
    }

    /// Replaces a wrong passphrase by the one that was typed when ssh asked, and with which the key has signed in.
    pub(crate) fn correct(&mut self, passphrase: Option<&Passphrase>) {
        if let (Auth::SshKey { file, .. }, Some(secret), Some(passphrase)) =
            (&self.auth, &mut self.secret, passphrase)
            && passphrase.is_of(file)
        {
            *secret = passphrase.answer.clone();
        }
    }

    /// The warning that the secret is stored in a file.
    pub(crate) fn warning(&self) -> Option<String> {
        let store = self.auth.secret()?.store();
        let warning =
            "there is no keyring: the secret is in a file that only you can read, in plain text";
        (store == Store::File).then(|| warning.to_owned())
    }

    /// Stores the secret, in the keyring or in a file.
    ///
    /// # Errors
    /// Fails where it cannot be stored.
    pub(crate) async fn store(mut self, engine: &Arc<Engine>) -> Result<Self, Failure> {
        let Some(Secret(secret)) = &self.secret else {
            return Ok(self);
        };
        match &mut self.auth {
            Auth::Password {
                username,
                secret: id,
            } => {
                let label = format!("mirror: {username} at {}", self.origin);
                let text = credentials::bind_secret(&self.origin, secret);
                *id = Some(engine.credentials.secrets.put(&label, &text).await?);
                // The person says that the password is right, whatever upstream said of it before.
                let login = Login::basic(username.clone(), secret.clone());
                let (engine, origin) = (engine.clone(), self.origin.clone());
                let forgetting = move || engine.upstreams.trials.forget_refusals(&origin, &login);
                // Only a bug fails here, and is no reason to refuse the credential.
                let _ = tokio::task::spawn_blocking(forgetting).await;
            }
            Auth::SshKey { file, passphrase } => {
                let label = format!("mirror: passphrase of {}", file.display());
                let text = credentials::bind_secret(&file.to_string_lossy(), secret);
                *passphrase = Some(engine.credentials.secrets.put(&label, &text).await?);
            }
            Auth::AsGit | Auth::Anonymous => {}
        }
        Ok(self)
    }
}

/// Refuses a relative path: the daemon's working directory is `/`, and not the person's.
fn absolute(file: PathBuf) -> Result<PathBuf, Failure> {
    if file.is_absolute() {
        return Ok(file);
    }
    let message = format!("the path of the key '{}' is not absolute", file.display());
    Err(Failure::new(FailureKind::Usage, message))
}

/// The secrets that a change of a mirror adds or replaces. Those that no mirror's settings name after the change are
/// removed, also when the client goes before its end.
pub(crate) struct UnnamedSecrets {
    engine: Arc<Engine>,
    mirror: UpstreamUrl,
    git_dir: Option<PathBuf>,
    ids: Vec<SecretId>,
}

/// No event tells when a sync without a client has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A change that takes longer has gone wrong, and the next start of the daemon removes its secrets.
const MAX_WAIT: Duration = Duration::from_secs(120);

impl UnnamedSecrets {
    /// Begins with no secrets, for a change of a mirror, or for one that is to be made of an upstream.
    pub(crate) fn new(engine: &Arc<Engine>, mirror: &UpstreamUrl, git_dir: Option<&Path>) -> Self {
        Self {
            engine: engine.clone(),
            mirror: mirror.clone(),
            git_dir: git_dir.map(Path::to_owned),
            ids: Vec::new(),
        }
    }

    /// Adds the secret of a credential, which the change may leave without a mirror.
    pub(crate) fn add(&mut self, auth: &Auth) {
        self.ids.extend(auth.secret().cloned());
    }

    /// Removes the secrets that no mirror names, when the change is over. Returns a warning for each that is still there.
    pub(crate) async fn remove(mut self) -> Vec<String> {
        let ids = std::mem::take(&mut self.ids);
        remove_unnamed(&self.engine, &ids).await
    }
}

impl Drop for UnnamedSecrets {
    fn drop(&mut self) {
        let ids = std::mem::take(&mut self.ids);
        if ids.is_empty() {
            return;
        }
        let (engine, mirror) = (self.engine.clone(), self.mirror.clone());
        let git_dir = self.git_dir.clone();
        tokio::spawn(async move {
            let change_ends = async {
                if let Some(git_dir) = git_dir {
                    // Another change that is under way may name one of them.
                    drop(engine.gates.gate(&git_dir).begin_change(false).await);
                }
                while engine.syncing_upstreams().contains(&mirror) {
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
            };
            if tokio::time::timeout(MAX_WAIT, change_ends).await.is_ok() {
                remove_unnamed(&engine, &ids).await;
            }
        });
    }
}

async fn remove_unnamed(engine: &Arc<Engine>, ids: &[SecretId]) -> Vec<String> {
    let mut warnings = Vec::new();
    let Ok(mirrors) = engine.registry.mirrors() else {
        return warnings;
    };
    let named = |id| {
        let mut secrets = mirrors.iter().map(|mirror| mirror.settings.auth.secret());
        secrets.any(|secret| secret == Some(id))
    };
    for id in ids.iter().filter(|id| !named(id)) {
        if let Err(failure) = engine.credentials.remove(id).await {
            let location = id.store().place();
            let warning =
                format!("a secret that nothing uses any more is still {location}: {failure}");
            tracing::warn!("{warning}");
            warnings.push(warning);
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use common::address::upstream_url::Address;
    use proptest::prelude::*;

    use super::*;

    fn url(text: &str) -> Option<UpstreamUrl> {
        match Address::parse(text) {
            Ok(Address::Url(url, _)) => Some(url),
            _ => None,
        }
    }

    fn password(url: &UpstreamUrl) -> SuppliedCredential {
        let login = Login::basic("me", "secret");
        SuppliedCredential::new(Credential::Password(login), url).expect("for http")
    }

    /// URLs that look alike: hosts that begin, end or look like others, with and without a port, a login, a path.
    fn similar_url() -> impl Strategy<Value = String> {
        let scheme = prop_oneof![Just("http"), Just("https")];
        let login = prop_oneof![Just(""), Just("me@"), Just("me:x@"), Just("a.example@")];
        let host = "(a|b|a\\.a|A|a-)\\.(example|example\\.b|exampl)";
        let port = prop_oneof![Just(""), Just(":80"), Just(":443"), Just(":8443")];
        let path = "(/[a-b@:.]{0,4}){1,3}";
        (scheme, login, host, port, path).prop_map(|(scheme, login, host, port, path)| {
            format!("{scheme}://{login}{host}{port}{path}")
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn a_secret_is_for_one_scheme_host_and_port(own in similar_url(), other in similar_url()) {
            let (Some(own), Some(other)) = (url(&own), url(&other)) else {
                return Ok(());
            };
            let is_same = (own.scheme(), own.host(), own.port())
                == (other.scheme(), other.host(), other.port());
            let secret = password(&own).secret_for(&other);
            let is_given = secret.is_ok_and(|secret| secret.is_some());
            prop_assert_eq!(is_given, is_same, "{} {}", own, other);
        }
    }

    #[test]
    fn no_text_makes_a_secret_go_to_another_host() {
        let Some(own) = url("https://gitlab.example/g/p.git") else {
            panic!("it is a URL");
        };
        // What git's own tests of its credential helpers try, and what others have been caught by.
        for text in [
            "https://gitlab.example%0ahost=evil.example/g/p.git",
            "https://evil.example%0d%0ahost=gitlab.example/g/p.git",
            "https://evil.example\nhost=gitlab.example/g/p.git",
            "https://evil.example?@gitlab.example/g/p.git",
            "https://evil.example#@gitlab.example/g/p.git",
            "https://evil.example\\@gitlab.example/g/p.git",
            "https://gitlab.example@evil.example/g/p.git",
            "https://gitlab.example.evil.example/g/p.git",
            "https://gitlab.exampleevil/g/p.git",
            "https://gitlab.example:444/g/p.git",
            "http://gitlab.example/g/p.git",
            "https://:x@/g/p.git",
            "https:///g/p.git",
        ] {
            let secret = url(text).map(|other| password(&own).secret_for(&other));
            assert!(!matches!(secret, Some(Ok(Some(_)))), "'{text}'");
        }
    }
}
