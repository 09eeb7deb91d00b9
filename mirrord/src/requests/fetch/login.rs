//! With which login a request is made: one that is kept, one that a client is asked for, and who has proved what.

use super::{Request, Source};
use tokio::sync::broadcast;

use crate::{
    credentials::CredentialKey,
    mirrors::{registry::Mirror, settings::Auth},
    process::questions::Passphrase,
    requests::expiry,
    upstream::{Access, Trouble},
};
use common::{
    address::upstream_url::{Scheme, UpstreamUrl},
    protocol::{Answer, Ask, Failure, FailureKind, Login, Reply, wire::WireError},
};

/// Where a token comes from.
const MAKE_A_TOKEN: &str = "GitLab makes tokens under Preferences, Access tokens (scopes read_repository, write_repository)";

impl Request<'_> {
    /// Upstream answered to this login: keep it, and note who may read what is here.
    pub(super) async fn worked(
        &mut self,
        mirror: &Mirror,
        access: &Access,
        changed: bool,
        signed_in_by_git: bool,
    ) -> Result<(), WireError> {
        self.accepted().await?;
        expiry::ask(self.engine, mirror, access);
        self.engine
            .credentials
            .note_place(&mirror.git_dir, self.place());
        let (engine, git_dir, access) =
            (self.engine.clone(), mirror.git_dir.clone(), access.clone());
        // Slow by design, but only once in this daemon's life for each login and mirror.
        let noting = tokio::task::spawn_blocking(move || {
            // Of what a login has brought nobody knows whether anybody may read it.
            if signed_in_by_git || (changed && !access.is_anonymous()) {
                engine.credentials.note_private(&git_dir)?;
            }
            if signed_in_by_git {
                // A ticket that we have not seen proves nothing that we could recognise later.
                return Ok(());
            }
            engine.credentials.note_read(&git_dir, &access.identity())
        });
        if let Ok(Err(err)) = noting.await {
            tracing::warn!(
                "cannot note who has read '{}': {err}",
                mirror.git_dir.display()
            );
        }
        Ok(())
    }

    /// Upstream has answered, and what it said is not believed; but whoever asked may read it.
    pub(super) async fn has_read_just_now(&mut self, access: &Access) -> Result<(), WireError> {
        let found = self.engine.registry.at(&self.target.git_dir);
        if let Ok(Some(mirror)) = found {
            self.worked(&mirror, access, false, false).await?;
            self.has_read = true;
        }
        Ok(())
    }

    /// Upstream took the login: keep it, and tell the client that it was asked for it.
    pub(super) async fn accepted(&mut self) -> Result<(), WireError> {
        if let (Some(login), Source::Advertised { .. }) = (&self.login, &self.source) {
            self.engine.credentials.keep(&self.place(), login);
            self.conversation.say(&Reply::LoginAccepted).await?;
        }
        self.source = Source::Nowhere;
        Ok(())
    }

    /// Begins with what was typed, or else with what is known. A login that was typed goes before what the mirror has of
    /// its own; a mirror that signs in with nothing does so whatever was typed.
    pub(super) fn begin_as_typed(&mut self) {
        // It is for where the URL points, not for where its upstream once redirected to.
        let is_here = self.typed.origin() == self.target.url.origin();
        let typed = self.fetch.login.clone();
        if let Some(login) = typed.filter(|_| is_here && self.auth != Auth::Anonymous) {
            self.auth = Auth::AsGit;
            (self.login, self.source) = (Some(login), Source::Url);
        }
        self.begin_with_a_login();
    }

    /// Fetches what the mirror has of its own, before upstream is asked. Fails where the store that has it does not give
    /// it.
    pub(super) async fn fetch_own(&mut self) -> Result<Result<(), Failure>, WireError> {
        if self.login.is_some() || self.passphrase.is_some() {
            return Ok(Ok(()));
        }
        let given = match &self.given {
            Some(given) => given.secret_for(&self.target.url),
            None => Ok(None),
        };
        let secret = match (given, self.auth.secret().cloned()) {
            (Ok(None), None) => return Ok(Ok(())),
            (Ok(None), Some(id)) => {
                let place = match &self.auth {
                    Auth::SshKey { file, .. } => file.to_string_lossy().into_owned(),
                    _ => self.target.url.origin(),
                };
                let (engine, conversation) = (self.engine, &mut *self.conversation);
                let (_, mut silence) = broadcast::channel(1);
                let reading = engine.credentials.stored(&id, &place);
                conversation
                    .wait("the keyring", &mut silence, reading)
                    .await?
            }
            (Ok(Some(secret)), _) => Ok(secret),
            (Err(failure), _) => Err(failure),
        };
        let secret = match secret {
            Ok(secret) => secret,
            Err(mut failure) => {
                // Whatever keeps it away, it is somebody's to mend.
                if failure.kind == FailureKind::Here {
                    failure.kind = FailureKind::LoginNeeded;
                }
                if failure.hint.is_none() {
                    failure.hint = self.stored_anew();
                }
                if self.given.is_none() {
                    let access = self.access();
                    self.engine
                        .note_failure(&self.target, &access, &failure)
                        .await;
                }
                return Ok(Err(failure));
            }
        };
        match &self.auth {
            Auth::Password { username, .. } => {
                let password = secret.into_inner();
                let username = username.clone();
                (self.login, self.source) = (Some(Login { username, password }), Source::Own);
            }
            Auth::SshKey { file, .. } => self.passphrase = Some(Passphrase::of_key(file, secret)),
            Auth::AsGit | Auth::Anonymous => {}
        }
        Ok(Ok(()))
    }

    /// What stores anew what the mirror has of its own.
    fn stored_anew(&self) -> Option<String> {
        let mirror = self.engine.registry.at(&self.target.git_dir).ok()??;
        let what = match &self.auth {
            Auth::Password { username, .. } => format!("--username {username}"),
            Auth::SshKey { file, .. } => format!("--ssh-key {}", file.display()),
            Auth::AsGit | Auth::Anonymous => return None,
        };
        let name = mirror.settings.name;
        Some(format!("'mirrord set {name} {what}' stores it anew"))
    }

    /// What a failure means for whoever asked: what they could do about the mirror's own credential, and why nobody was
    /// asked for theirs.
    pub(super) fn explained(&self, trouble: Trouble) -> Failure {
        let (refused, mut failure) = (trouble.login_refused, trouble.failure);
        let wants = failure.kind == FailureKind::LoginNeeded;
        let name = self.engine.registry.at(&self.target.git_dir).ok().flatten();
        let name = name.map(|mirror| mirror.settings.name);
        if let (Some(to), Some(name)) = (trouble.moved_to, &name) {
            return failure.hinted(format!("'mirrord set {name} --url {to}' follows it"));
        }
        match (&self.auth, name) {
            (Auth::Password { username, .. }, Some(name)) if refused => failure.hinted(format!(
                "'mirrord set {name} --username {username}' gives the mirror another password or token; {MAKE_A_TOKEN}"
            )),
            (Auth::SshKey { .. }, Some(_)) if wants => {
                failure.hint = self.stored_anew().or(failure.hint);
                failure
            }
            (Auth::Anonymous, name) if wants => {
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
            (Auth::AsGit, name) if wants => {
                if let Some(words) = &self.unanswered {
                    failure.message.clone_from(words);
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

    /// A login that is kept is sent at once. Otherwise it begins as git does, with none: nobody is asked for what
    /// anybody may read.
    pub(super) fn begin_with_a_login(&mut self) {
        if self.login.is_none()
            && self.may_ask()
            && let Some(login) = self.engine.credentials.kept(&self.place())
        {
            (self.login, self.source) = (Some(login), Source::Kept);
        }
    }

    /// Whether a login could make a difference: not for a path, nor where ssh, a header, a certificate or a ticket signs
    /// in.
    pub(super) fn may_ask(&self) -> bool {
        let Request {
            target,
            auth,
            fetch,
            ..
        } = self;
        matches!(target.url.scheme(), Scheme::Http | Scheme::Https)
            && *auth == Auth::AsGit
            && Access::new(&target.url, auth, None, &fetch.standing).is_anonymous()
    }

    /// After a refusal: whether there is another login to try.
    pub(super) async fn try_another_login(&mut self, trouble: &Trouble) -> Result<bool, WireError> {
        let wants = trouble.failure.kind == FailureKind::LoginNeeded;
        // Of a key's passphrase the person has been asked by ssh.
        let is_key = matches!(self.auth, Auth::SshKey { .. });
        if is_key || !(wants || trouble.login_refused) {
            return Ok(false);
        }
        // What is only tried out, or was not even asked for, says nothing of who may read.
        if self.given.is_none() && !trouble.unasked {
            self.note_private().await;
        }
        if let Ok(Some(mirror)) = self.engine.registry.at(&self.target.git_dir)
            && self.login.is_some()
        {
            // Before it is dropped: what it could read, it has proved.
            self.has_read |= self.has_read(&mirror).await;
        }
        match std::mem::replace(&mut self.source, Source::Nowhere) {
            Source::Nowhere if wants && self.login.is_none() && self.auth == Auth::AsGit => {
                self.ask(trouble.challenges.clone()).await
            }
            Source::Kept => {
                let refused = self.login.take();
                self.engine.credentials.forget(&self.place());
                if !self.ask(trouble.challenges.clone()).await? {
                    return Ok(false);
                }
                // The helpers may know a newer one; the same again would only count against us.
                if self.login == refused {
                    self.conversation.say(&Reply::LoginRefused).await?;
                    return Ok(false);
                }
                Ok(true)
            }
            Source::Advertised { .. } => {
                self.conversation.say(&Reply::LoginRefused).await?;
                Ok(false)
            }
            Source::Nowhere | Source::Url | Source::Own => Ok(false),
        }
    }

    /// Upstream turned somebody away: what anybody could read, it may no longer be that anybody can.
    async fn note_private(&self) {
        let Ok(Some(mirror)) = self.engine.registry.at(&self.target.git_dir) else {
            return;
        };
        let engine = self.engine.clone();
        let noting = move || engine.credentials.note_private(&mirror.git_dir);
        if let Ok(Err(err)) = tokio::task::spawn_blocking(noting).await {
            tracing::warn!("cannot note that '{}' is private: {err}", self.target.url);
        }
    }

    /// Asks this client for a login, unless somebody in the same place has just found one. Says whether there is one.
    pub(super) async fn ask(&mut self, challenges: Vec<String>) -> Result<bool, WireError> {
        let place = self.place();
        let can_ask = self.fetch.can_ask;
        let question = self.engine.credentials.question(&place, can_ask);
        let mut progress = self.engine.listen(&self.target);
        let turn = self
            .conversation
            .wait(&self.host(), &mut progress, question.lock_owned())
            .await?;
        if let Some(login) = self.engine.credentials.kept(&place) {
            (self.login, self.source) = (Some(login), Source::Kept);
            return Ok(true);
        }
        let question = Ask::Login {
            url: self.target.url.to_string(),
            username: self.fetch.username.clone(),
            challenges,
        };
        match self.conversation.ask(question).await? {
            Answer::Login(login) => {
                (self.login, self.source) = (Some(login), Source::Advertised { _turn: turn });
                Ok(true)
            }
            Answer::Nothing(why) => {
                self.unanswered = why;
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    /// Whether what this request signs in with has read the upstream of a mirror before.
    pub(super) async fn has_read(&self, mirror: &Mirror) -> bool {
        let access = self.access();
        let (engine, git_dir) = (self.engine.clone(), mirror.git_dir.clone());
        let reading = move || engine.credentials.has_read(&git_dir, &access.identity());
        tokio::task::spawn_blocking(reading).await.unwrap_or(false)
    }

    pub(super) fn place(&self) -> CredentialKey {
        CredentialKey {
            url: self.target.url.clone(),
            username: self.fetch.username.clone(),
            standing: self.fetch.standing.place,
        }
    }
}

/// Somebody else is asked something for the same mirror, and nobody can be asked here.
pub(super) fn elsewhere(url: &UpstreamUrl) -> Failure {
    let message = format!("cannot sign in to '{url}': somebody is being asked at another terminal");
    Failure::new(FailureKind::Refused, message)
        .hinted("the same again works when they have answered; a key in an agent needs nobody")
}
