//! A credential that a person gives to a mirror, on its way from them to where it is kept.

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

/// What a mirror will sign in with.
#[derive(Clone)]
pub(crate) struct SuppliedCredential {
    /// As the mirror will have it.
    pub auth: Auth,
    /// Its password, or its key's passphrase.
    secret: Option<Secret>,
    /// The scheme, host and port that it is for.
    origin: String,
}

impl SuppliedCredential {
    /// What was given for an upstream.
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

    /// Its secret, for where it is meant.
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

    /// Takes the passphrase with which the key has just signed in, where another was given.
    pub(crate) fn correct(&mut self, passphrase: Option<&Passphrase>) {
        if let (Auth::SshKey { file, .. }, Some(secret), Some(passphrase)) =
            (&self.auth, &mut self.secret, passphrase)
            && passphrase.is_of(file)
        {
            *secret = passphrase.answer.clone();
        }
    }

    /// What the person should know of where its secret is now.
    pub(crate) fn warning(&self) -> Option<String> {
        let store = self.auth.secret()?.store();
        let words =
            "there is no keyring: the secret is in a file that only you can read, in plain text";
        (store == Store::File).then(|| words.to_owned())
    }

    /// Stores its secret.
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
                let text = credentials::bound(&self.origin, secret);
                *id = Some(engine.credentials.secrets.put(&label, &text).await?);
                // Whoever gives it says that it is right, whatever upstream said before.
                let login = Login {
                    username: username.clone(),
                    password: secret.clone(),
                };
                let (engine, origin) = (engine.clone(), self.origin.clone());
                let forgetting = move || engine.upstreams.trials.forget(&origin, &login);
                // Nothing but a bug fails here, and that is no reason not to take it.
                let _ = tokio::task::spawn_blocking(forgetting).await;
            }
            Auth::SshKey { file, passphrase } => {
                let label = format!("mirror: passphrase of {}", file.display());
                let text = credentials::bound(&file.to_string_lossy(), secret);
                *passphrase = Some(engine.credentials.secrets.put(&label, &text).await?);
            }
            Auth::AsGit | Auth::Anonymous => {}
        }
        Ok(self)
    }
}

/// Where the daemon stands, no other path means anything.
fn absolute(file: PathBuf) -> Result<PathBuf, Failure> {
    if file.is_absolute() {
        return Ok(file);
    }
    let message = format!("the path of the key '{}' is not absolute", file.display());
    Err(Failure::new(FailureKind::Usage, message))
}

/// Secrets that a change makes or leaves behind. Those that no mirror names when it is over are removed, also when nobody
/// has waited for its end.
pub(crate) struct Loose {
    engine: Arc<Engine>,
    mirror: UpstreamUrl,
    git_dir: Option<PathBuf>,
    ids: Vec<SecretId>,
}

/// Nothing tells when a sync of a mirror that nobody wants any more has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A change that takes longer has gone wrong, and the daemon's next start cleans up after it.
const MAX_WAIT: Duration = Duration::from_secs(120);

impl Loose {
    /// For a change of a mirror, or of one that is to be made of an upstream.
    pub(crate) fn new(engine: &Arc<Engine>, mirror: &UpstreamUrl, git_dir: Option<&Path>) -> Self {
        Self {
            engine: engine.clone(),
            mirror: mirror.clone(),
            git_dir: git_dir.map(Path::to_owned),
            ids: Vec::new(),
        }
    }

    /// The secret of this, when it has one, may be left without a mirror.
    pub(crate) fn add(&mut self, auth: &Auth) {
        self.ids.extend(auth.secret().cloned());
    }

    /// The change is over. Returns what the person should know: what is still there and should not be.
    pub(crate) async fn settle(mut self) -> Vec<String> {
        let ids = std::mem::take(&mut self.ids);
        remove_unnamed(&self.engine, &ids).await
    }
}

impl Drop for Loose {
    fn drop(&mut self) {
        let ids = std::mem::take(&mut self.ids);
        if ids.is_empty() {
            return;
        }
        let (engine, mirror) = (self.engine.clone(), self.mirror.clone());
        let git_dir = self.git_dir.clone();
        tokio::spawn(async move {
            let over = async {
                if let Some(git_dir) = git_dir {
                    // Whoever changes it now may be about to name one of them.
                    drop(engine.gates.of(&git_dir).change(false).await);
                }
                while engine.syncing().contains(&mirror) {
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
            };
            if tokio::time::timeout(MAX_WAIT, over).await.is_ok() {
                remove_unnamed(&engine, &ids).await;
            }
        });
    }
}

async fn remove_unnamed(engine: &Arc<Engine>, ids: &[SecretId]) -> Vec<String> {
    let mut warnings = Vec::new();
    let Ok(mirrors) = engine.registry.all() else {
        return warnings;
    };
    let named = |id| {
        let mut secrets = mirrors.iter().map(|mirror| mirror.settings.auth.secret());
        secrets.any(|secret| secret == Some(id))
    };
    for id in ids.iter().filter(|id| !named(id)) {
        if let Err(failure) = engine.credentials.remove(id).await {
            let place = id.store().place();
            let warning =
                format!("a secret that nothing uses any more is still {place}: {failure}");
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
        let login = Login {
            username: "me".into(),
            password: "secret".into(),
        };
        SuppliedCredential::new(Credential::Password(login), url).expect("for http")
    }

    /// Addresses that are alike: hosts that begin, end or look like others, with and without a port, a login, a path.
    fn address() -> impl Strategy<Value = String> {
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
        fn a_secret_is_for_one_scheme_host_and_port(here in address(), there in address()) {
            let (Some(here), Some(there)) = (url(&here), url(&there)) else {
                return Ok(());
            };
            let same = (here.scheme(), here.host(), here.port())
                == (there.scheme(), there.host(), there.port());
            let told = password(&here).secret_for(&there);
            prop_assert_eq!(told.is_ok_and(|secret| secret.is_some()), same, "{} {}", here, there);
        }
    }

    #[test]
    fn no_text_makes_a_secret_go_to_another_host() {
        let Some(here) = url("https://gitlab.example/g/p.git") else {
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
            let told = url(text).map(|there| password(&here).secret_for(&there));
            assert!(!matches!(told, Some(Ok(Some(_)))), "'{text}'");
        }
    }
}
