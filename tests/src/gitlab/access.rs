//! The logins of projects, and GitLab's answers to those that may not read or push.

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, WWW_AUTHENTICATE};

use super::answer::Answer;

/// GitLab's answer to a wrong password, which users see in git's `remote:` lines.
const DENIED: &str = "HTTP Basic: Access denied. If a password was provided for Git \
authentication, the password was incorrect or you're required to use a token instead of a \
password. If a token was provided, it was either incorrect, expired, or improperly scoped.";

const NOT_FOUND: &str = "The project you were looking for could not be found or you don't have \
permission to view it.";

const MAY_NOT_PUSH: &str = "You are not allowed to push code to this project.";

/// The logins of every project.
#[derive(Debug, Default)]
pub(super) struct Access {
    logins: Vec<Login>,
    forbidden: Vec<String>,
    hide_unknown: bool,
    /// Tokens that may ask about themselves, and when each expires.
    expiries: Vec<(String, Option<String>)>,
}

#[derive(Debug)]
struct Login {
    project: String,
    user: String,
    token: Option<String>,
    /// The project asks for a login to read, too.
    private: bool,
}

/// A request for access.
pub(super) struct AccessRequest<'a> {
    pub(super) project: &'a str,
    pub(super) exists: bool,
    pub(super) push: bool,
    /// `user:password`.
    pub(super) login: Option<&'a str>,
}

impl Access {
    pub(super) fn allow(&mut self, project: &str, user: &str, token: &str, private: bool) {
        self.logins.push(Login {
            project: project.to_owned(),
            user: user.to_owned(),
            token: Some(token.to_owned()),
            private,
        });
    }

    pub(super) fn revoke(&mut self, user: &str) {
        for login in self.logins.iter_mut().filter(|login| login.user == user) {
            login.token = None;
        }
    }

    pub(super) fn forbid(&mut self, user: &str) {
        self.forbidden.push(user.to_owned());
    }

    pub(super) fn expires(&mut self, token: &str, date: Option<&str>) {
        let date = date.map(str::to_owned);
        self.expiries.push((token.to_owned(), date));
    }

    /// Answers `GET /api/v4/personal_access_tokens/self`, see GitLab's `doc/api/personal_access_tokens.md`.
    pub(super) fn about_itself(&self, token: Option<&str>) -> Answer {
        let found = self
            .expiries
            .iter()
            .find(|(known, _)| Some(known.as_str()) == token);
        let (status, body) = match found {
            None => (
                StatusCode::UNAUTHORIZED,
                r#"{"message":"401 Unauthorized"}"#.to_owned(),
            ),
            Some((_, date)) => {
                let date = date
                    .as_ref()
                    .map_or("null".to_owned(), |date| format!("\"{date}\""));
                let token = r#""id":4,"name":"mirror","revoked":false,"scopes":["read_repository"],"active":true"#;
                (
                    StatusCode::OK,
                    format!(r#"{{{token},"expires_at":{date}}}"#),
                )
            }
        };
        Answer::new(status, body).header(CONTENT_TYPE.as_str(), "application/json")
    }

    pub(super) fn hide_unknown(&mut self) {
        self.hide_unknown = true;
    }

    /// Returns the user, if one signed in, or the refusal.
    ///
    /// A wrong login is refused even where none is needed, and a right one sees 404 where it
    /// may not read: GitLab does both.
    pub(super) fn admit(&self, wish: &AccessRequest<'_>) -> Result<Option<String>, Refusal> {
        let user = match wish.login {
            None => None,
            Some(login) => Some(self.user(login).ok_or(Refusal::Denied)?),
        };
        if user.is_some_and(|user| self.forbidden.iter().any(|name| name == user)) {
            return Err(Refusal::Blocked);
        }
        let of_project = || self.logins.iter().filter(|one| one.project == wish.project);
        let private = of_project().any(|login| login.private);
        let asks_login = private || (wish.push && of_project().next().is_some());
        let listed = user.is_some_and(|user| of_project().any(|login| login.user == user));
        match user {
            None if asks_login || (!wish.exists && self.hide_unknown) => Err(Refusal::Denied),
            Some(_) if private && !listed => Err(Refusal::NotFound),
            _ if !wish.exists => Err(Refusal::NotFound),
            Some(_) if asks_login && !listed => Err(Refusal::MayNotPush),
            user => Ok(user.map(str::to_owned)),
        }
    }

    fn user(&self, login: &str) -> Option<&str> {
        let (user, token) = login.split_once(':')?;
        self.logins
            .iter()
            .find(|known| known.user == user && known.token.as_deref() == Some(token))
            .map(|known| known.user.as_str())
    }
}

/// GitLab's ways to say no.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal {
    Denied,
    Blocked,
    NotFound,
    MayNotPush,
}

impl Refusal {
    pub(super) fn answer(self) -> Answer {
        let (status, text) = match self {
            Self::Denied => (StatusCode::UNAUTHORIZED, DENIED),
            Self::Blocked => (StatusCode::FORBIDDEN, "Your account has been blocked."),
            Self::NotFound => (StatusCode::NOT_FOUND, NOT_FOUND),
            Self::MayNotPush => (StatusCode::FORBIDDEN, MAY_NOT_PUSH),
        };
        let answer =
            Answer::new(status, text).header(CONTENT_TYPE.as_str(), "text/plain; charset=utf-8");
        match self {
            Self::Denied => answer.header(WWW_AUTHENTICATE.as_str(), "Basic realm=\"GitLab\""),
            _ => answer,
        }
    }
}
