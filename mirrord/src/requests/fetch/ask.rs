//! Asks the client for a login: that of upstream, or that of the proxy before it. git's credential helpers and the person
//! are where the client is.

use common::address::upstream_url::UpstreamUrl;
use common::protocol::{
    Answer, Ask, Failure, FailureKind, FilledLogin, Login, Reply, Secret, wire::WireError,
};

use super::{
    MirrorRequest,
    request::{AskedLogin, LoginSource},
};
use crate::{
    credentials::CredentialKey,
    upstream::{Access, ProactiveAuth, ProxyQuestion},
};

/// A question for a login.
struct Question {
    url: String,
    username: Option<Secret>,
    challenges: Vec<String>,
    is_proxy: bool,
}

impl MirrorRequest<'_> {
    /// Asks this client for upstream's login, unless another client with the same key has just been asked for one. Says
    /// whether there is a login.
    pub(super) async fn ask_for_login(
        &mut self,
        challenges: Vec<String>,
    ) -> Result<bool, WireError> {
        let question = Question {
            url: self.login_url().to_string(),
            username: self.fetch.username.clone(),
            challenges,
            is_proxy: false,
        };
        let Some((login, source)) = self.ask(question).await? else {
            return Ok(false);
        };
        (self.login, self.source) = (Some(login), source);
        Ok(true)
    }

    /// Signs in before upstream wants it, where the user has set that (`http.proactiveAuth`).
    pub(super) async fn sign_in_proactively(&mut self) -> Result<(), WireError> {
        if self.login.is_some() || !self.login_may_help() {
            return Ok(());
        }
        // What git tells its helpers then (`init_curl_http_auth()` in its http.c).
        let challenges = match self.access().http.proactive_auth {
            Some(ProactiveAuth::Basic) => vec!["Basic".to_owned()],
            Some(ProactiveAuth::Auto) => Vec::new(),
            None => return Ok(()),
        };
        self.ask_for_login(challenges).await?;
        Ok(())
    }

    /// Finds the login of the proxy before upstream, where its URL has a user name and no password: a kept one, or one
    /// that the client is asked for. Returns why there is none.
    pub(super) async fn find_proxy_login(&mut self) -> Result<Option<Failure>, WireError> {
        let Some(question) = self.proxy_question() else {
            return Ok(None);
        };
        if self.proxy_login.is_some() {
            return Ok(None);
        }
        let key = self.key(&question.url, Some(&question.username));
        if let Some(login) = self.engine.credentials.cached_login(&key) {
            (self.proxy_login, self.proxy_source) = (Some(login), LoginSource::Kept);
            return Ok(None);
        }
        let ProxyQuestion { url, username } = question;
        let failure = Failure::new(
            FailureKind::LoginNeeded,
            format!("could not read Password for the proxy '{url}'"),
        );
        let question = Question {
            url,
            username: Some(username),
            challenges: Vec::new(),
            is_proxy: true,
        };
        let Some((login, source)) = self.ask(question).await? else {
            let why = self.ask_failure.take();
            return Ok(Some(Failure {
                message: why.unwrap_or(failure.message),
                ..failure
            }));
        };
        (self.proxy_login, self.proxy_source) = (Some(login), source);
        Ok(None)
    }

    /// Finds another login for the proxy after a refusal, and says whether there is one to try.
    pub(super) async fn try_another_proxy_login(&mut self) -> Result<bool, WireError> {
        let Some(question) = self.proxy_question() else {
            return Ok(false);
        };
        let key = self.key(&question.url, Some(&question.username));
        let refused = self.proxy_login.take();
        match std::mem::replace(&mut self.proxy_source, LoginSource::None) {
            LoginSource::Kept => {
                self.engine.credentials.forget_login(&key);
                // The helpers may know a newer one.
                let found = self.find_proxy_login().await?.is_none();
                if found && self.proxy_login != refused {
                    return Ok(true);
                }
            }
            LoginSource::Client(_) => {}
            _ => return Ok(false),
        }
        self.send_refusal(question.url, Vec::new()).await?;
        Ok(false)
    }

    /// Keeps the logins that the client was asked for, and tells it that they were taken.
    pub(super) async fn keep_login(&mut self) -> Result<(), WireError> {
        let source = std::mem::replace(&mut self.proxy_source, LoginSource::None);
        if let (Some(login), LoginSource::Client(asked), Some(question)) =
            (self.proxy_login.clone(), source, self.proxy_question())
        {
            let key = self.key(&question.url, Some(&question.username));
            self.keep(key, &login, &asked).await?;
        }
        let source = std::mem::replace(&mut self.source, LoginSource::None);
        if let (Some(login), LoginSource::Client(asked)) = (self.login.clone(), source) {
            let key = self.credential_key();
            self.keep(key, &login, &asked).await?;
        }
        Ok(())
    }

    async fn keep(
        &mut self,
        key: CredentialKey,
        login: &Login,
        asked: &AskedLogin,
    ) -> Result<(), WireError> {
        if !asked.ephemeral {
            let credentials = &self.engine.credentials;
            credentials.cache_login(&key, login, asked.expires);
        }
        let url = key.url;
        self.conversation.send(&Reply::LoginAccepted { url }).await
    }

    /// Tells the client that upstream has refused its login.
    pub(super) async fn refuse_login(&mut self, challenges: Vec<String>) -> Result<(), WireError> {
        self.send_refusal(self.login_url().to_string(), challenges)
            .await
    }

    async fn send_refusal(
        &mut self,
        url: String,
        challenges: Vec<String>,
    ) -> Result<(), WireError> {
        let refused = Reply::LoginRefused { url, challenges };
        self.conversation.send(&refused).await
    }

    /// Asks this client, unless another client with the same key has just been asked.
    async fn ask(&mut self, question: Question) -> Result<Option<(Login, LoginSource)>, WireError> {
        let key = self.key(&question.url, question.username.as_ref());
        let can_ask = self.fetch.can_ask;
        let lock = self.engine.credentials.question_lock(&key, can_ask);
        let mut progress = self.engine.subscribe_progress(&self.target);
        let turn = self
            .conversation
            .wait(&self.host(), &mut progress, lock.lock_owned())
            .await?;
        if let Some(login) = self.engine.credentials.cached_login(&key) {
            return Ok(Some((login, LoginSource::Kept)));
        }
        let Question {
            url,
            username,
            challenges,
            is_proxy,
        } = question;
        let question = Ask::Login {
            url,
            username,
            challenges,
            is_proxy,
        };
        match self.conversation.ask(question).await? {
            Answer::Login(filled) => {
                let FilledLogin {
                    login,
                    continues,
                    ephemeral,
                    expires,
                } = filled;
                let asked = AskedLogin {
                    continues,
                    ephemeral,
                    expires,
                    _turn: turn,
                };
                Ok(Some((login, LoginSource::Client(asked))))
            }
            Answer::Nothing(why) => {
                self.ask_failure = why;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// The question for the password of the proxy, if there is one to ask.
    fn proxy_question(&self) -> Option<ProxyQuestion> {
        let (url, auth, context) = (&self.target.url, &self.auth, &self.fetch.context);
        Access::new(url, auth, None, context).http.proxy_question()
    }

    /// The URL that the login is for.
    fn login_url(&self) -> &UpstreamUrl {
        self.asked_at.as_ref().unwrap_or(&self.target.url)
    }

    /// Under which a login of this client is kept.
    pub(super) fn credential_key(&self) -> CredentialKey {
        self.key(self.login_url().as_str(), self.fetch.username.as_ref())
    }

    fn key(&self, url: &str, username: Option<&Secret>) -> CredentialKey {
        CredentialKey {
            url: url.to_owned(),
            username: username.cloned(),
            context: self.fetch.context.credential_settings,
        }
    }
}
