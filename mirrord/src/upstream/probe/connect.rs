//! The way to upstream's door: the name, the connection, and whether who answers is who it should be.

use crate::{
    process::watch::cancelled,
    upstream::{Access, access, answers, http, ssh},
};
use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use common::{
    address::upstream_url::{Scheme, UpstreamUrl},
    protocol::{Check, Failure, FailureKind},
    text::masked,
};
use hyper_util::client::proxy::matcher::Matcher;
use tokio::{
    net::{TcpStream, lookup_host},
    runtime::Handle,
    time::timeout,
};
use x509_cert::{Certificate, der::Decode};

use super::{Probe, is_end, reason, timed};

/// More addresses than this of one name are only counted.
const MAX_ADDRESSES: usize = 3;

/// Where the way out leads first: to upstream's host, or to the proxy before it.
struct Door {
    host: String,
    port: u16,
    /// The setting that names a proxy.
    proxy: Option<&'static str>,
}

impl Door {
    /// Where our client would connect to, found as it finds it.
    fn to(url: &UpstreamUrl, http: &access::Http) -> Self {
        let proxy = http.proxy_url().and_then(|proxy| {
            let exceptions = http.no_proxy.as_deref().unwrap_or_default();
            let matcher = Matcher::builder().all(proxy).no(exceptions).build();
            let proxy = matcher.intercept(&url.origin().parse().ok()?)?;
            let uri = proxy.uri();
            let usual = match uri.scheme_str() {
                Some("http") => 80,
                Some("https") => 443,
                _ => 1080,
            };
            Some((uri.host()?.to_owned(), uri.port_u16().unwrap_or(usual)))
        });
        let (host, port, proxy) = match proxy {
            Some((host, port)) => (host, port, http.proxy_setting),
            None => (
                url.host().unwrap_or_default().to_owned(),
                url.port().unwrap_or_default(),
                None,
            ),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Self {
            host: host.to_owned(),
            port,
            proxy,
        }
    }

    /// What to know of a proxy that may be the reason.
    fn hint(&self) -> Option<String> {
        let (host, port, setting) = (self.shown_host(), self.port, self.proxy?);
        Some(format!("the proxy {host}:{port} is that of '{setting}'"))
    }

    /// What every line says where it is not upstream itself.
    fn through(&self) -> String {
        match self.proxy {
            Some(_) => format!(", through the proxy {}:{}", self.shown_host(), self.port),
            None => String::new(),
        }
    }

    fn shown_host(&self) -> String {
        let host = masked(self.host.as_bytes());
        if host.contains(':') {
            format!("[{host}]")
        } else {
            host
        }
    }
}

impl Probe<'_> {
    /// Goes as far as upstream's door.
    pub(crate) fn connect(&self) -> Result<(), Failure> {
        match self.url.scheme() {
            Scheme::File => Ok(()),
            Scheme::Ssh => self.connect_by_ssh(),
            Scheme::Http | Scheme::Https => self.connect_by_http(),
        }
    }

    fn connect_by_http(&self) -> Result<(), Failure> {
        if let Some(setting) = &self.access.http.needs_git {
            let words = format!("left to git, which alone knows '{setting}'");
            self.unknown(Check::Connect, Duration::ZERO, words);
            return Ok(());
        }
        let door = Door::to(self.url, &self.access.http);
        let through = door.through();
        let (found, took) = timed(|| {
            let looking = lookup_host((door.host.as_str(), door.port));
            let addresses: Vec<_> = self.patiently(looking)?.collect();
            Ok(addresses)
        });
        let addresses = match found {
            Ok(addresses) if !addresses.is_empty() => addresses,
            found => {
                let failure = found.err().unwrap_or_else(|| self.unreachable(UNKNOWN));
                // Whatever the resolver says, it comes to this.
                let failure = match failure.kind {
                    FailureKind::Cancelled => failure,
                    _ => self.unreachable(UNKNOWN),
                };
                return Err(self.failed(Check::Resolve, took, hinted(failure, &door)));
            }
        };
        let words = format!("{}{through}", listed(&addresses));
        self.passed(Check::Resolve, took, words);
        let (connected, took) = timed(|| self.patiently(connect_to_any(&addresses)));
        match connected {
            Ok(address) => self.passed(Check::Connect, took, format!("{address}{through}")),
            Err(failure) => {
                return Err(self.failed(Check::Connect, took, hinted(failure, &door)));
            }
        }
        if self.url.scheme() == Scheme::Https {
            self.certificate()?;
        }
        Ok(())
    }

    /// Waits as long as upstream may be silent, and while somebody waits for us.
    fn patiently<T>(&self, future: impl Future<Output = io::Result<T>>) -> Result<T, Failure> {
        let budget = self.access.http.no_progress;
        Handle::current().block_on(async {
            tokio::select! {
                result = timeout(budget, future) => match result {
                    Ok(result) => result.map_err(|err| self.unreachable(&answers::cause(&err))),
                    Err(_) => Err(self.unreachable("connection timed out")),
                },
                () = self.watch.cancelled() => Err(cancelled()),
            }
        })
    }

    fn unreachable(&self, cause: &str) -> Failure {
        let message = format!("cannot reach '{}': {cause}", self.url);
        Failure::new(FailureKind::Unreachable, message)
    }

    /// The certificate, judged by the client that syncs use.
    fn certificate(&self) -> Result<(), Failure> {
        let (found, took) = timed(|| {
            let clients = &self.upstreams.clients;
            http::HttpSession::new(self.url, self.access, clients, self.watch)?.certificate()
        });
        match found {
            Ok(Some(der)) => {
                let mut words = described(&der);
                if !self.access.http.verify {
                    words.push_str(", not checked (http.sslVerify)");
                }
                self.passed(Check::Certificate, took, words);
                Ok(())
            }
            Ok(None) => {
                self.unknown(Check::Certificate, took, "not seen");
                Ok(())
            }
            Err(trouble) if is_end(&trouble) => Err(trouble.failure),
            // Another fault may be one of this question alone; if not, the next step finds it too.
            Err(trouble)
                if trouble.failure.kind == FailureKind::Unreachable
                    && !trouble.failure.message.contains("TLS failed") =>
            {
                let words = format!("not seen: {}", reason(self.url, &trouble.failure));
                self.unknown(Check::Certificate, took, words);
                Ok(())
            }
            Err(trouble) => Err(self.failed(Check::Certificate, took, trouble.failure)),
        }
    }

    fn connect_by_ssh(&self) -> Result<(), Failure> {
        let began = Instant::now();
        let heard = match self
            .upstreams
            .ssh
            .sign_in(self.url, self.access, self.watch)
        {
            Ok(Some(heard)) => heard,
            Ok(None) => {
                let words = "left to git, for this ssh is not OpenSSH";
                self.unknown(Check::Connect, Duration::ZERO, words);
                return Ok(());
            }
            Err(trouble) => {
                return Err(self.failed(Check::Connect, began.elapsed(), trouble.failure));
            }
        };
        let fault = heard.trouble.as_ref().map(|_| faulty(&heard));
        let steps = [
            (Check::Resolve, &heard.resolved),
            (Check::Connect, &heard.connected),
            (Check::HostKey, &heard.host_key),
            (Check::SignIn, &heard.signed_in),
        ];
        let mut before = Duration::ZERO;
        for (check, seen) in steps {
            let took = match seen {
                Some(seen) => seen.at.saturating_sub(before),
                None => began.elapsed().saturating_sub(before),
            };
            if fault == Some(check)
                && let Some(trouble) = heard.trouble
            {
                let failure = trouble.failure;
                self.failed(check, took, shown_key(&failure, seen.as_ref()));
                return Err(failure);
            }
            if let Some(ssh::LogEntry { text, at }) = seen {
                self.passed(check, took, text);
                before = *at;
            }
        }
        Ok(())
    }
}

/// What it comes to when nobody knows a name.
const UNKNOWN: &str = "could not resolve host";

/// The step at which ssh stopped.
fn faulty(heard: &ssh::SignInLog) -> Check {
    let why = heard.trouble.as_ref();
    let why = why.map(|trouble| trouble.failure.message.as_str());
    let why = why.unwrap_or_default();
    if why.contains(UNKNOWN) {
        Check::Resolve
    } else if why.contains("host key") || (heard.connected.is_some() && heard.host_key.is_none()) {
        Check::HostKey
    } else if heard.connected.is_none() {
        Check::Connect
    } else {
        Check::SignIn
    }
}

/// The failure with the key that the server showed, for whoever has to judge it.
fn shown_key(failure: &Failure, key: Option<&ssh::LogEntry>) -> Failure {
    let mut shown = failure.clone();
    // A changed one is in the message already, beside the one that was known.
    if let Some(key) = key.filter(|_| !failure.message.contains("SHA256:")) {
        shown.message = format!("{}: {}", failure.message, key.text);
    }
    shown
}

fn hinted(failure: Failure, door: &Door) -> Failure {
    match door.hint() {
        Some(hint) => failure.hinted(hint),
        None => failure,
    }
}

/// What to know of a proxy before upstream, where there is one.
pub(super) fn proxy_hint(url: &UpstreamUrl, access: &Access) -> Option<String> {
    let is_http = matches!(url.scheme(), Scheme::Http | Scheme::Https);
    is_http.then(|| Door::to(url, &access.http).hint())?
}

async fn connect_to_any(addresses: &[SocketAddr]) -> io::Result<SocketAddr> {
    let mut last = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(_) => return Ok(*address),
            Err(err) => last = Some(err),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other(UNKNOWN)))
}

fn listed(addresses: &[SocketAddr]) -> String {
    let mut shown: Vec<_> = addresses
        .iter()
        .take(MAX_ADDRESSES)
        .map(|address| address.ip().to_string())
        .collect();
    if addresses.len() > MAX_ADDRESSES {
        shown.push(format!("and {} more", addresses.len() - MAX_ADDRESSES));
    }
    shown.join(", ")
}

/// Who signed a certificate, and for how long it is good.
fn described(der: &[u8]) -> String {
    let Ok(certificate) = Certificate::from_der(der) else {
        return "seen, and not understood".to_owned();
    };
    let certificate = certificate.tbs_certificate();
    let name = certificate.issuer();
    let issuer = match (name.common_name(), name.organization()) {
        (Ok(Some(common)), _) => common.value().into_owned(),
        (_, Ok(Some(organization))) => organization.value().into_owned(),
        _ => name.to_string(),
    };
    let end = certificate.validity().not_after.to_unix_duration();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.unwrap_or_default();
    let days = |span: Duration| span.as_secs() / 86_400;
    let left = match end.checked_sub(now) {
        Some(left) => format!("{} days left", days(left)),
        None => format!("expired {} days ago", days(now.saturating_sub(end))),
    };
    format!("issued by '{}', {left}", masked(issuer.as_bytes()))
}
