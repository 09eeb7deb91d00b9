//! A credential that a person gives to a mirror, on its way from them to where it is kept.

use std::{path::PathBuf, sync::Arc};

use common::{
    protocol::{Credential, Failure, FailureKind, Login, Secret},
    upstream_url::UpstreamUrl,
};

use crate::{settings::Auth, sync::Engine};

/// What a mirror will sign in with.
#[derive(Clone)]
pub(crate) struct Given {
    /// As the mirror will have it.
    pub auth: Auth,
    /// Its password, or its key's passphrase.
    secret: Option<Secret>,
    /// The scheme, host and port that it is for.
    origin: String,
}

impl Given {
    /// What was given for an upstream.
    ///
    /// # Errors
    /// Fails when it makes no sense there.
    pub(crate) fn new(credential: Credential, url: &UpstreamUrl) -> Result<Self, Failure> {
        let (auth, secret) = match credential {
            Credential::AsGit => (Auth::AsGit, None),
            Credential::Anonymous => (Auth::Anonymous, None),
            Credential::Password(Login { username, password }) => {
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
        Err(Failure::new(FailureKind::Refused, message).hinted(format!("say it for '{url}'")))
    }

    /// Stores its secret.
    ///
    /// # Errors
    /// Fails when no store takes it.
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
                *id = Some(engine.credentials.secrets.put(&label, secret).await?);
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
                *passphrase = Some(engine.credentials.secrets.put(&label, secret).await?);
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

/// Removes a secret that a mirror has no more.
pub(crate) async fn forget(engine: &Engine, auth: &Auth) {
    if let Some(id) = auth.secret() {
        engine.credentials.remove(id).await;
    }
}
