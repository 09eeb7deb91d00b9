//! The login that a request signs in with: one that was typed, one that is kept, the mirror's own, or one that the
//! client is asked for (`ask`). What each login has read is recorded in `credentials`.

use super::{MirrorRequest, request::LoginSource};
use tokio::sync::broadcast;

use crate::{
    mirrors::{registry::Mirror, settings::Auth},
    process::questions::Passphrase,
    requests::{error::RequestError, expiry},
    upstream::{Access, Trouble},
};
use common::{
    address::upstream_url::{Scheme, UpstreamUrl},
    protocol::{Failure, FailureKind, Login, Mirror as Wanted, wire::WireError},
};

/// Where GitLab makes the token that is asked for.
const MAKE_A_TOKEN: &str = "GitLab makes tokens under Preferences, Access tokens (scopes read_repository, write_repository)";

/// How many steps a sign-in by steps may take after the first, as in git (`http_request_reauth()` in its http.c).
const MAX_STEPS: u8 = 1;

impl MirrorRequest<'_> {
    /// Records that upstream has answered to this login: the login is kept, and may read the copy from now on.
    pub(super) async fn record_reader(
        &mut self,
        mirror: &Mirror,
        access: &Access,
        changed: bool,
        signed_in_by_git: bool,
    ) -> Result<(), WireError> {
        self.keep_login().await?;
        expiry::ask_if_due(self.engine, mirror, access);
        self.engine
            .credentials
            .record_reader_key(&mirror.git_dir, self.credential_key());
        let (engine, git_dir, access) =
            (self.engine.clone(), mirror.git_dir.clone(), access.clone());
        // The hash is slow by design, but is made once in this daemon's life for each login and mirror.
        let recording = tokio::task::spawn_blocking(move || {
            // Whether anybody may read what this login has fetched is unknown.
            if signed_in_by_git || (changed && !access.is_anonymous()) {
                engine.credentials.record_private(&git_dir)?;
            }
            if signed_in_by_git {
                // The daemon has not seen git's ticket (Kerberos), and cannot recognise it later.
                return Ok(());
            }
            engine
                .credentials
                .record_reader(&git_dir, &access.identity())
        });
        if let Ok(Err(err)) = recording.await {
            tracing::warn!(
                "cannot record who has read '{}': {err}",
                mirror.git_dir.display()
            );
        }
        Ok(())
    }

    /// Records that this login has read an upstream that looks wiped: the answer is not published, but the login may read
    /// the copy.
    pub(super) async fn record_reader_of_wiped(
        &mut self,
        access: &Access,
    ) -> Result<(), WireError> {
        let found = self.engine.registry.mirror_at(&self.target.git_dir);
        if let Ok(Some(mirror)) = found {
            self.record_reader(&mirror, access, false, false).await?;
            self.has_read = true;
        }
        Ok(())
    }

    /// Signs in with the login in the typed URL, or else with a kept one. The login in a URL goes before the mirror's own
    /// credential; a mirror that is anonymous stays so.
    pub(super) fn use_typed_login(&mut self) {
        // The login is for the host in the URL, not for one to which upstream once redirected.
        let is_its_host = self.typed.origin() == self.target.url.origin();
        let typed = self.fetch.login.clone();
        if let Some(login) = typed.filter(|_| is_its_host && self.auth != Auth::Anonymous) {
            self.auth = Auth::AsGit;
            (self.login, self.source) = (Some(login), LoginSource::Url);
        }
        self.use_kept_login();
    }

    /// Reads the mirror's own credential from where it is stored, before upstream is asked.
    ///
    /// # Errors
    /// Fails where the keyring or the file does not give it.
    pub(super) async fn load_own_credential(&mut self) -> Result<(), RequestError> {
        if self.login.is_some() || self.passphrase.is_some() {
            return Ok(());
        }
        let supplied = match &self.supplied {
            Some(supplied) => supplied.secret_for(&self.target.url),
            None => Ok(None),
        };
        let secret = match (supplied, self.auth.secret().cloned()) {
            (Ok(None), None) => return Ok(()),
            (Ok(None), Some(id)) => {
                let bound_to = match &self.auth {
                    Auth::SshKey { file, .. } => file.to_string_lossy().into_owned(),
                    _ => self.target.url.origin(),
                };
                let (engine, conversation) = (self.engine, &mut *self.conversation);
                let (_, mut no_progress) = broadcast::channel(1);
                let reading = engine.credentials.stored_secret(&id, &bound_to);
                conversation
                    .wait("the keyring", &mut no_progress, reading)
                    .await?
            }
            (Ok(Some(secret)), _) => Ok(secret),
            (Err(failure), _) => Err(failure),
        };
        let secret = match secret {
            Ok(secret) => secret,
            Err(mut failure) => {
                // A keyring that is locked or gone needs a person, as a refused login does.
                if failure.kind == FailureKind::Here {
                    failure.kind = FailureKind::LoginNeeded;
                }
                if failure.hint.is_none() {
                    failure.hint = self.store_again_hint();
                }
                if self.supplied.is_none() {
                    let access = self.access();
                    self.engine
                        .record_failure(&self.target, &access, &failure)
                        .await;
                }
                return Err(failure.into());
            }
        };
        match &self.auth {
            Auth::Password { username, .. } => {
                let login = Login::basic(username.clone(), secret.into_inner());
                (self.login, self.source) = (Some(login), LoginSource::Own);
            }
            Auth::SshKey { file, .. } => self.passphrase = Some(Passphrase::of_key(file, secret)),
            Auth::AsGit | Auth::Anonymous => {}
        }
        Ok(())
    }

    /// Says which command stores the mirror's own credential again.
    fn store_again_hint(&self) -> Option<String> {
        let mirror = self
            .engine
            .registry
            .mirror_at(&self.target.git_dir)
            .ok()??;
        let options = match &self.auth {
            Auth::Password { username, .. } => format!("--username {username}"),
            Auth::SshKey { file, .. } => format!("--ssh-key {}", file.display()),
            Auth::AsGit | Auth::Anonymous => return None,
        };
        let name = mirror.settings.name;
        Some(format!("'mirrord set {name} {options}' stores it anew"))
    }

    /// Adds to the failure of git's command what the person can do: that of [`explain`](Self::explain), and what to type
    /// where there is no mirror yet that could follow a redirect.
    pub(super) fn explain_to_git(&self, trouble: Trouble) -> Failure {
        let moved_to = trouble.moved_to.clone();
        let failure = self.explain(trouble);
        let is_new = matches!(self.fetch.mirror, Wanted::Url(_)) && !self.target.git_dir.exists();
        match moved_to {
            Some(to) if is_new => failure.hinted(format!(
                "it redirects to '{to}'; to clone that: git clone mirror::{to}"
            )),
            _ => failure,
        }
    }

    /// Adds to a failure what the person can do: about the mirror's own credential, a redirect, or a login that nobody
    /// could be asked for.
    pub(super) fn explain(&self, trouble: Trouble) -> Failure {
        if trouble.proxy_refused {
            return *trouble.failure;
        }
        let (refused, mut failure) = (trouble.login_refused, *trouble.failure);
        let wants_login = failure.kind == FailureKind::LoginNeeded;
        let name = self
            .engine
            .registry
            .mirror_at(&self.target.git_dir)
            .ok()
            .flatten();
        let name = name.map(|mirror| mirror.settings.name);
        if let (Some(to), Some(name)) = (trouble.moved_to, &name) {
            return failure.hinted(format!("'mirrord set {name} --url {to}' follows it"));
        }
        match (&self.auth, name) {
            (Auth::Password { username, .. }, Some(name)) if refused => failure.hinted(format!(
                "'mirrord set {name} --username {username}' gives the mirror another password or token; {MAKE_A_TOKEN}"
            )),
            (Auth::SshKey { .. }, Some(_)) if wants_login => {
                failure.hint = self.store_again_hint().or(failure.hint);
                failure
            }
            (Auth::Anonymous, name) if wants_login => {
                let url = &self.target.url;
                let message = format!("'{url}' wants a login, and the mirror is anonymous");
                let failure = Failure::new(FailureKind::LoginNeeded, message);
                match name {
                    Some(name) => failure.hinted(format!(
                        "'mirrord set {name} --username USER' gives it one; --forget-credential lets git look for one"
                    )),
                    None => failure.hinted("--username USER gives it one"),
                }
            }
            (Auth::AsGit, name) if wants_login => {
                if let Some(message) = &self.ask_failure {
                    failure.message.clone_from(message);
                }
                let command = match name {
                    Some(name) => format!("mirrord set {name} --username USER"),
                    None => format!("mirrord add NAME {} --username USER", self.target.url),
                };
                let own = format!("give the mirror a login of its own: {command}");
                let hint = match failure.hint.take() {
                    Some(hint) => format!("{hint}; or {own}"),
                    None => own,
                };
                failure.hinted(hint)
            }
            _ => failure,
        }
    }

    /// Signs in with a kept login, if there is one. Without one the request begins as git does, anonymously: nobody is
    /// asked for the login of a public project.
    pub(super) fn use_kept_login(&mut self) {
        if self.login.is_none()
            && self.login_may_help()
            && let Some(login) = self.engine.credentials.cached_login(&self.credential_key())
        {
            (self.login, self.source) = (Some(login), LoginSource::Kept);
        }
    }

    /// Whether a login could make a difference: not for a path, nor where ssh, a header, a certificate or a ticket signs
    /// in.
    pub(super) fn login_may_help(&self) -> bool {
        let Self {
            target,
            auth,
            fetch,
            ..
        } = self;
        matches!(target.url.scheme(), Scheme::Http | Scheme::Https)
            && *auth == Auth::AsGit
            && Access::new(&target.url, auth, None, &fetch.context).is_anonymous()
    }

    /// Finds another login after a refusal, and says whether there is one to try.
    pub(super) async fn try_another_login(&mut self, trouble: &Trouble) -> Result<bool, WireError> {
        if trouble.proxy_refused {
            return self.try_another_proxy_login().await;
        }
        if let Some(asked_at) = &trouble.asked_at
            && self.asked_at.as_ref() != Some(asked_at)
        {
            // What signed in before is for where the request began.
            self.asked_at = Some((**asked_at).clone());
            if asked_at.origin() != self.target.url.origin() || self.login.is_none() {
                self.forget_login();
            }
        }
        let wants_login = trouble.failure.kind == FailureKind::LoginNeeded;
        // ssh itself has asked the person for the key's passphrase.
        let is_key = matches!(self.auth, Auth::SshKey { .. });
        if is_key || !(wants_login || trouble.login_refused) {
            return Ok(false);
        }
        // A supplied credential is only tried, and a refusal that was already known did not come from upstream: neither says that the
        // upstream is private.
        if self.supplied.is_none() && !trouble.known_refusal {
            self.record_private().await;
        }
        if let Ok(Some(mirror)) = self.engine.registry.mirror_at(&self.target.git_dir)
            && self.login.is_some()
        {
            // Before the login is dropped: a login that has read the mirror may still read the copy.
            self.has_read |= self.has_read(&mirror).await;
        }
        match std::mem::replace(&mut self.source, LoginSource::None) {
            LoginSource::None
                if wants_login && self.login.is_none() && self.auth == Auth::AsGit =>
            {
                self.ask_for_login(trouble.challenges.clone()).await
            }
            LoginSource::Kept => {
                let refused = self.login.take();
                self.engine.credentials.forget_login(&self.credential_key());
                if !self.ask_for_login(trouble.challenges.clone()).await? {
                    return Ok(false);
                }
                // The helpers may know a newer login. The same one again would only count as another failed attempt.
                if self.login == refused {
                    self.refuse_login(trouble.challenges.clone()).await?;
                    return Ok(false);
                }
                Ok(true)
            }
            LoginSource::Client(asked) if asked.continues && self.steps < MAX_STEPS => {
                drop(asked);
                self.steps += 1;
                self.ask_for_login(trouble.challenges.clone()).await
            }
            LoginSource::Client(_) => {
                self.refuse_login(trouble.challenges.clone()).await?;
                Ok(false)
            }
            LoginSource::None | LoginSource::Url | LoginSource::Own => Ok(false),
        }
    }

    /// Records that upstream has refused a request: the project may be private by now, so that not everybody may read the
    /// copy.
    async fn record_private(&self) {
        let Ok(Some(mirror)) = self.engine.registry.mirror_at(&self.target.git_dir) else {
            return;
        };
        let engine = self.engine.clone();
        let recording = move || engine.credentials.record_private(&mirror.git_dir);
        if let Ok(Err(err)) = tokio::task::spawn_blocking(recording).await {
            tracing::warn!("cannot record that '{}' is private: {err}", self.target.url);
        }
    }

    /// Whether the login of this request has read the upstream of a mirror before.
    pub(super) async fn has_read(&self, mirror: &Mirror) -> bool {
        let access = self.access();
        let (engine, git_dir) = (self.engine.clone(), mirror.git_dir.clone());
        let checking = move || engine.credentials.has_read(&git_dir, &access.identity());
        tokio::task::spawn_blocking(checking).await.unwrap_or(false)
    }
}

/// The failure of a client that cannot be asked, while another one is asked something for the same mirror.
pub(super) fn asked_at_another_terminal(url: &UpstreamUrl) -> Failure {
    let message = format!("cannot sign in to '{url}': somebody is being asked at another terminal");
    Failure::new(FailureKind::Refused, message)
        .hinted("the same again works when they have answered; a key in an agent needs nobody")
}
