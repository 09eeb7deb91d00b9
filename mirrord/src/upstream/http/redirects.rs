//! Redirects. git follows one of the first request to any host unless `http.followRedirects` is false, and those of later
//! requests where it is true. We follow as far where the user has set that, and otherwise on the same host: whoever is
//! redirected elsewhere decides whether that is the same project.

use common::{
    address::upstream_url::{Address, UpstreamUrl},
    protocol::{Failure, FailureKind},
};
use reqwest::{Method, Response, StatusCode, Url, header::LOCATION};

use super::HttpSession;
use crate::upstream::{Trouble, answers, http_settings::Redirects};

/// The longest chain of redirects: more than any host needs to find its own repository.
const MAX_REDIRECTS: usize = 5;

/// A request that is sent again to wherever it is redirected.
pub(super) struct Request {
    pub method: Method,
    /// The URL of the repository that is asked.
    pub base: UpstreamUrl,
    /// What is asked for below the URL.
    pub tail: String,
    /// The lines of the headers.
    pub lines: Vec<String>,
    pub body: Option<Vec<u8>>,
}

impl HttpSession {
    /// Sends the first request. Returns the answer, and the URL of the repository that has answered.
    pub(super) fn discover(
        &self,
        url: &str,
        lines: Vec<String>,
    ) -> Result<(Response, UpstreamUrl), Trouble> {
        let request = self.prepare(Method::GET, url, lines, None);
        let redirects = self.0.access.http.redirects;
        let (response, base) = self.send_on(request, redirects)?;
        if response.status() != StatusCode::OK {
            return Err(self.refused(response, &base));
        }
        Ok((response, base))
    }

    /// Sends a later request.
    pub(super) fn post_on(
        &self,
        url: &str,
        lines: Vec<String>,
        body: Vec<u8>,
    ) -> Result<Response, Trouble> {
        let request = self.prepare(Method::POST, url, lines, Some(body));
        let redirects = match self.0.access.http.redirects {
            Redirects::Always => Redirects::Always,
            _ => Redirects::Never,
        };
        let (response, base) = match redirects {
            Redirects::Always => self.send_on(request, redirects)?,
            _ => (self.send_once(&request)?, request.base),
        };
        if response.status() != StatusCode::OK {
            return Err(self.refused(response, &base));
        }
        Ok(response)
    }

    fn prepare(
        &self,
        method: Method,
        url: &str,
        lines: Vec<String>,
        body: Option<Vec<u8>>,
    ) -> Request {
        let base = self.state().base.clone();
        let tail = url.strip_prefix(base.as_str()).unwrap_or_default();
        Request {
            method,
            tail: tail.to_owned(),
            base,
            lines,
            body,
        }
    }

    fn send_once(&self, request: &Request) -> Result<Response, Trouble> {
        let Request {
            method,
            base,
            tail,
            lines,
            body,
        } = request;
        let headers = self.headers(base, lines);
        let url = format!("{base}{tail}");
        self.send(method.clone(), base, &url, headers, body.clone())
    }

    /// Sends a request, and follows redirects.
    fn send_on(
        &self,
        mut request: Request,
        redirects: Redirects,
    ) -> Result<(Response, UpstreamUrl), Trouble> {
        for _ in 0..MAX_REDIRECTS {
            let response = self.send_once(&request)?;
            let status = response.status();
            if !status.is_redirection() {
                return Ok((response, request.base));
            }
            let tail = &request.tail;
            let target = target(&request, &response);
            self.state().response = Some(response);
            self.drain();
            let stem = target
                .as_ref()
                .and_then(|target| target.as_str().strip_suffix(tail));
            let next = stem.and_then(|stem| match Address::parse(stem) {
                Ok(Address::Url(next, None)) => Some(next),
                _ => None,
            });
            match next {
                Some(next) if may_follow(&self.0.url, &next, redirects) => {
                    self.require_allowed(&next)?;
                    request.base = next;
                }
                _ => {
                    let target = target.as_ref().map(Url::as_str);
                    return Err(answers::moved(&self.0.url, status, target, tail));
                }
            }
        }
        let status = StatusCode::MOVED_PERMANENTLY;
        Err(answers::moved(&self.0.url, status, None, &request.tail))
    }

    /// Fails where git's own rules (`protocol.<name>.allow`) forbid to be redirected to a transport.
    fn require_allowed(&self, to: &UpstreamUrl) -> Result<(), Trouble> {
        let transport = to.scheme().to_string();
        if self.0.access.http.redirect_transports.contains(&transport) {
            return Ok(());
        }
        let message = format!(
            "'{}' redirects to '{to}': transport '{transport}' not allowed",
            self.0.url
        );
        let hint = format!("see protocol.{transport}.allow in 'git help config'");
        Err(Failure::new(FailureKind::Refused, message)
            .hinted(hint)
            .into())
    }
}

/// Where a request is redirected to.
fn target(request: &Request, response: &Response) -> Option<Url> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let asked = Url::parse(&format!("{}{}", request.base, request.tail)).ok()?;
    asked.join(location).ok()
}

/// Whether a redirect is followed. On the same host means: on the same port, or from http to https, each on its usual port.
fn may_follow(from: &UpstreamUrl, to: &UpstreamUrl, redirects: Redirects) -> bool {
    match redirects {
        Redirects::Never => false,
        Redirects::Initial | Redirects::Always => true,
        Redirects::OnHost => {
            let upgrade = from.origin().starts_with("http:")
                && from.port() == Some(80)
                && to.port() == Some(443);
            from.host() == to.host()
                && (from.origin() == to.origin() || (upgrade && to.origin().starts_with("https:")))
        }
    }
}
