//! An answer whose status is not 200, and what it means.

use std::time::Duration;

use common::{
    address::upstream_url::UpstreamUrl,
    protocol::{Failure, FailureKind},
    text::{masked, time_span},
};
use reqwest::StatusCode;

use super::{proxy_wants_login, server_message};
use crate::upstream::{Access, Trouble};

/// GitLab takes no account password where two-factor or single sign-on is in force, and says so at length.
const TOKEN: &str = "GitLab takes a personal access token (scopes read_repository, write_repository) as the password; \
                     accounts with two-factor or single sign-on need one";

/// The longest quotation of what a server said.
const MAX_MESSAGE_CHARS: usize = 200;

/// How many lines of a text are shown.
const MAX_LINES: usize = 100;

/// An answer whose status is not 200.
pub(crate) struct Refusal {
    pub status: StatusCode,
    /// The body, where it is plain text.
    pub text: String,
    /// The values of `WWW-Authenticate`.
    pub challenges: Vec<String>,
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// Returns what the refusal of a request to `url` means for whoever asked with `access`.
    pub(crate) fn explain(self, url: &UpstreamUrl, access: &Access) -> Trouble {
        if let Some(trouble) = server_message::moved(url, &self.text) {
            return trouble;
        }
        let remote = match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND => self.lines(),
            // The reason has them all where there is one.
            StatusCode::FORBIDDEN if self.lines().len() > 1 => self.lines(),
            _ => Vec::new(),
        };
        let mut trouble = match self.status {
            StatusCode::UNAUTHORIZED if access.is_anonymous() => self.login_needed(url),
            StatusCode::UNAUTHORIZED => self.login_refused(url),
            StatusCode::FORBIDDEN => self.returned_error(url).hinted(
                "this login may not read it, or too many failed ones have closed the door for a while",
            ).into(),
            StatusCode::PROXY_AUTHENTICATION_REQUIRED if access.http.proxy.is_some() => {
                return proxy_wants_login(url);
            }
            StatusCode::NOT_FOUND => {
                let message = format!("repository '{url}' not found");
                let hint = match access.is_anonymous() {
                    true => "check the address; a private project needs a login",
                    false => "check the address; a login without permission is told the same",
                };
                Failure::new(FailureKind::Refused, message).hinted(hint).into()
            }
            StatusCode::TOO_MANY_REQUESTS => {
                return self.busy(format!("'{url}' asks for patience (error 429)"));
            }
            status if status.is_server_error() => {
                let number = status.as_u16();
                return self.busy(format!("cannot reach '{url}': the server answered with error {number}"));
            }
            _ => self.returned_error(url).into(),
        };
        // git says nothing where it goes on to ask for a login.
        if trouble.failure.kind != FailureKind::LoginNeeded {
            trouble.failure.remote = remote;
        }
        Trouble {
            retry_on_new_session: true,
            ..trouble
        }
    }

    /// The lines of the text, as git shows them (`show_http_message()` in its remote-curl.c).
    fn lines(&self) -> Vec<String> {
        let lines = self.text.trim().lines().take(MAX_LINES);
        lines.map(str::to_owned).collect()
    }

    /// The first line of the text, behind a colon.
    fn reason(&self) -> String {
        let line = self
            .text
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty());
        let line = masked(line.unwrap_or_default().as_bytes());
        let line = line.trim_start_matches("remote: ").chars();
        match line.take(MAX_MESSAGE_CHARS).collect::<String>() {
            line if line.is_empty() => line,
            line => format!(": {line}"),
        }
    }

    fn is_of_gitlab(&self) -> bool {
        self.reason().contains("HTTP Basic: Access denied")
            || self
                .challenges
                .iter()
                .any(|line| line.contains("\"GitLab\""))
    }

    /// The failure in the words of git's http.c.
    fn returned_error(&self, url: &UpstreamUrl) -> Failure {
        let (number, reason) = (self.status.as_u16(), self.reason());
        let message =
            format!("cannot read '{url}': the requested URL returned error: {number}{reason}");
        Failure::new(FailureKind::Refused, message)
    }

    fn login_needed(self, url: &UpstreamUrl) -> Trouble {
        let origin = url.origin();
        let message = format!("could not read Username for '{origin}': terminal prompts disabled");
        let hint = match self.is_of_gitlab() {
            true => format!("store a login with a credential helper; {TOKEN}"),
            false => {
                "store a login with a credential helper, see 'git help credentials'".to_owned()
            }
        };
        Trouble {
            challenges: self.challenges,
            ..Failure::new(FailureKind::LoginNeeded, message)
                .hinted(hint)
                .into()
        }
    }

    fn login_refused(self, url: &UpstreamUrl) -> Trouble {
        let message = format!("Authentication failed for '{url}'");
        let hint = match self.is_of_gitlab() {
            true => TOKEN,
            false => "the login was refused; store another one",
        };
        Trouble {
            challenges: self.challenges,
            login_refused: true,
            ..Failure::new(FailureKind::Refused, message)
                .hinted(hint)
                .into()
        }
    }

    /// A server that may be able to answer later.
    fn busy(&self, message: String) -> Trouble {
        let wants = self.retry_after.map(|time| {
            format!(
                "; it wants to be left alone for {}",
                time_span(time.as_secs())
            )
        });
        let message = format!("{message}{}{}", self.reason(), wants.unwrap_or_default());
        Trouble {
            retry_after: self.retry_after,
            ..Failure::new(FailureKind::Unreachable, message).into()
        }
    }
}
