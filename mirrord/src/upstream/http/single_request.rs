//! What a test asks over http beside git's own questions: one request, one answer, no redirect.

use reqwest::{
    Method, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
    tls::TlsInfo,
};

use super::HttpSession;
use crate::upstream::Trouble;

/// More than the longest line of git's, and than any page that says no.
const MAX_BODY_BYTES: usize = 128 << 10;

/// The answer to one look.
pub(crate) struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// What kind of text follows.
    pub kind: String,
    /// The beginning of it.
    pub body: Vec<u8>,
}

impl HttpSession {
    /// The certificate of whoever answers for upstream's host, as syncs would judge it. No secret is sent for that.
    pub(crate) fn certificate(&self) -> Result<Option<Vec<u8>>, Trouble> {
        let origin = format!("{}/", self.0.url.origin());
        self.watch().asking();
        self.moved();
        let response = self.wait(self.0.client.head(origin).send())?;
        let info = response.extensions().get::<TlsInfo>();
        Ok(info.and_then(TlsInfo::peer_certificate).map(<[u8]>::to_vec))
    }

    /// Asks for something below upstream's URL, with the same login as everything else.
    pub(crate) fn get_below(&self, below: &str) -> Result<Answer, Trouble> {
        self.request(Method::GET, &format!("{}{below}", self.0.url), None)
    }

    /// Sends a question in JSON of this kind.
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
            kind: kind.to_owned(),
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
