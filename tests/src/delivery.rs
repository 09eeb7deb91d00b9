//! Deliveries of hosts to webhooks, byte by byte: a blocking HTTP client that sends exactly what it is given, and
//! signatures that are made without the daemon's library, so that they test it.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use sha2::Sha256;

/// How long an answer may take; GitLab itself waits ten seconds.
const DEADLINE: Duration = Duration::from_secs(30);

/// A request to a webhook, not sent yet.
#[derive(Clone, Debug)]
pub struct Delivery {
    url: String,
    method: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    authority: Option<PathBuf>,
}

/// The answer to a delivery.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, with their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// Everything that can be read and written.
trait Line: Read + Write {}
impl<T: Read + Write> Line for T {}

/// Signs as GitLab does (Standard Webhooks): the key is what the token decodes to.
pub fn signature(token: &str, id: &str, at: u64, body: &[u8]) -> String {
    let key = token.strip_prefix("whsec_").expect("a signing token");
    let key = BASE64_STANDARD.decode(key).expect("a signing token");
    format!("v1,{}", signed(&key, id, at, body))
}

fn signed(key: &[u8], id: &str, at: u64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key will do");
    mac.update(format!("{id}.{at}.").as_bytes());
    mac.update(body);
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

impl Delivery {
    /// Prepares what GitLab sends to this URL, save what it proves itself with.
    pub fn of_gitlab(url: &str, event: &str, body: impl Into<Vec<u8>>) -> Self {
        let new = Self {
            url: url.to_owned(),
            method: "POST".to_owned(),
            headers: Vec::new(),
            body: body.into(),
            authority: None,
        };
        new.header("Content-Type", "application/json")
            .header("User-Agent", "GitLab/19.0.0")
            .header("X-Gitlab-Event", event)
            .header("X-Gitlab-Instance", "https://gitlab.example")
    }

    /// Sets a header, in place of one of that name.
    pub fn header(self, name: &str, value: &str) -> Self {
        let mut this = self.without(name);
        this.headers.push((name.to_owned(), value.to_owned()));
        this
    }

    /// Leaves a header out.
    pub fn without(mut self, name: &str) -> Self {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// Adds the secret token.
    pub fn token(self, token: &str) -> Self {
        self.header("X-Gitlab-Token", token)
    }

    /// Signs it as GitLab does.
    pub fn signed(self, token: &str, id: &str, at: u64) -> Self {
        let signature = signature(token, id, at, &self.body);
        self.with_signature(id, at, &signature)
    }

    /// Signs it with the token as it is, which is a mistake that receivers have made.
    pub fn signed_undecoded(self, token: &str, id: &str, at: u64) -> Self {
        let signature = format!("v1,{}", signed(token.as_bytes(), id, at, &self.body));
        self.with_signature(id, at, &signature)
    }

    /// Adds a signature, right or wrong.
    pub fn with_signature(self, id: &str, at: u64, signature: &str) -> Self {
        self.header("webhook-id", id)
            .header("Idempotency-Key", id)
            .header("webhook-timestamp", &at.to_string())
            .header("webhook-signature", signature)
    }

    /// Adds a signature over the body alone, in hexadecimal, as GitHub, Gitea and Forgejo do.
    pub fn signed_body(self, header: &str, prefix: &str, token: &str) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(token.as_bytes()).expect("any key will do");
        mac.update(&self.body);
        let digits = hex::encode(mac.finalize().into_bytes());
        self.header(header, &format!("{prefix}{digits}"))
    }

    /// Sends it with another method.
    pub fn method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    /// Sends it to another address.
    pub fn to(mut self, url: &str) -> Self {
        url.clone_into(&mut self.url);
        self
    }

    /// Believes this authority, for https.
    pub fn trusting(mut self, authority: &Path) -> Self {
        self.authority = Some(authority.to_owned());
        self
    }

    /// Returns the time now, as it is signed.
    pub fn now() -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.expect("it is after 1970").as_secs()
    }

    /// Returns its headers as they are sent, the blank line included.
    pub fn head(&self) -> String {
        let (_, host, path) = parts(&self.url);
        let mut head = format!("{} {path} HTTP/1.1\r\n", self.method);
        let has = |name: &str| {
            let mut names = self.headers.iter();
            names.any(|(known, _)| known.eq_ignore_ascii_case(name))
        };
        if !has("host") {
            head += &format!("Host: {host}\r\n");
        }
        if !has("content-length") && !has("transfer-encoding") {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head + "\r\n"
    }

    /// Returns its body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Sends it and returns what is answered.
    #[track_caller]
    pub fn send(&self) -> Answer {
        let answer = self.try_send();
        answer.unwrap_or_else(|error| panic!("no answer of '{}': {error}", self.url))
    }

    /// Sends it.
    ///
    /// # Errors
    /// Fails when nothing is answered.
    pub fn try_send(&self) -> io::Result<Answer> {
        let mut line = self.connect()?;
        // Who is refused need not be heard to the end.
        let sent = line
            .write_all(self.head().as_bytes())
            .and_then(|()| line.write_all(&self.body));
        match (read(&mut line), sent) {
            (Ok(answer), _) => Ok(answer),
            (Err(_), Err(error)) | (Err(error), Ok(())) => Err(error),
        }
    }

    fn connect(&self) -> io::Result<Box<dyn Line>> {
        let (scheme, host, _) = parts(&self.url);
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        if scheme == "http" {
            return Ok(Box::new(stream));
        }
        let mut roots = RootCertStore::empty();
        let authority = self.authority.as_ref().expect("https needs an authority");
        let pem = fs::read(authority)?;
        let authority = CertificateDer::from_pem_slice(&pem).map_err(io::Error::other)?;
        roots.add(authority).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let session = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        Ok(Box::new(StreamOwned::new(session, stream)))
    }
}

impl Answer {
    /// Returns a header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Reads one answer to its end.
fn read(line: &mut (impl Read + ?Sized)) -> io::Result<Answer> {
    let mut line = BufReader::new(line);
    let mut status = String::new();
    line.read_line(&mut status)?;
    let number = status.split(' ').nth(1).and_then(|it| it.parse().ok());
    let status = number.ok_or_else(|| io::Error::other(format!("no status: '{status}'")))?;
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        line.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, length)| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    line.read_exact(&mut body)?;
    Ok(Answer {
        status,
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// Scheme, host with port, and path.
fn parts(url: &str) -> (&str, &str, &str) {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let at = rest.find('/').unwrap_or(rest.len());
    let (host, path) = rest.split_at(at);
    (scheme, host, if path.is_empty() { "/" } else { path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_golden_vector_of_standard_webhooks_is_what_is_signed() {
        let signature = signature(
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            1_649_367_553,
            br#"{"email":"test@example.com","username":"test_user"}"#,
        );
        assert_eq!(signature, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    }
}
