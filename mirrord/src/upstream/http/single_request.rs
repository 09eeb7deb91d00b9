//! The requests of `mirrord test` beside those of git's protocol: one request, one answer, no redirect.

use reqwest::{
    Method, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
    tls::TlsInfo,
};

use super::HttpSession;
use crate::upstream::Trouble;

/// How much of a body is read: more than the longest pkt-line, and than any error page.
const MAX_BODY_BYTES: usize = 128 << 10;

/// The answer to one request.
pub(crate) struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The value of `Content-Type`.
    pub content_type: String,
    /// The beginning of the body.
    pub body: Vec<u8>,
}

impl HttpSession {
    /// Returns the certificate of upstream's host, if syncs would trust it. No secret is sent for that.
    pub(crate) fn certificate(&self) -> Result<Option<Vec<u8>>, Trouble> {
        let origin = format!("{}/", self.0.url.origin());
        self.watch().asking();
        self.progressed();
        let response = self.wait(self.0.client.head(origin).send())?;
        let info = response.extensions().get::<TlsInfo>();
        Ok(info.and_then(TlsInfo::peer_certificate).map(<[u8]>::to_vec))
    }

    /// Gets a path below upstream's URL, with the same login as a sync.
    pub(crate) fn get_below(&self, below: &str) -> Result<Answer, Trouble> {
        self.request(Method::GET, &format!("{}{below}", self.0.url), None)
    }

    /// Posts JSON of this content type.
    pub(crate) fn post_json(
        &self,
        url: &str,
        kind: &'static str,
        body: &str,
    ) -> Result<Answer, Trouble> {
        self.request(Method::POST, url, Some((kind, body)))
    }

    fn request(
        &self,
        method: Method,
        url: &str,
        question: Option<(&'static str, &str)>,
    ) -> Result<Answer, Trouble> {
        let lines = question.iter().map(|(kind, _)| format!("Accept: {kind}"));
        let mut headers = self.headers(&self.0.url, lines);
        if let Some((kind, _)) = question {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        let body = question.map(|(_, body)| body.as_bytes().to_vec());
        let mut response = self.send(method, &self.0.url, url, headers, body)?;
        let kind = response.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let mut answer = Answer {
            status: response.status(),
            content_type: kind.to_owned(),
            body: Vec::new(),
        };
        while answer.body.len() < MAX_BODY_BYTES
            && let Some(piece) = self.wait(response.chunk())?
        {
            answer.body.extend_from_slice(&piece);
        }
        Ok(answer)
    }
}
