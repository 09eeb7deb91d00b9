//! Connects to upstream's host, or to a proxy before it: the name, the connection, the certificate or host key.

use crate::{
    process::watch::cancelled,
    upstream::{Access, answers, http, http_settings::Http, ssh},
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

use super::{Probe, is_cancelled, reason, timed};

/// How many addresses of one name are shown; the others are counted.
const MAX_ADDRESSES: usize = 3;

/// The host to connect to: upstream's, or that of a proxy before it.
struct FirstHop {
    host: String,
    port: u16,
    /// The setting that names a proxy.
    proxy: Option<&'static str>,
}

impl FirstHop {
    /// Finds the host as our http client finds it.
    fn new(url: &UpstreamUrl, http: &Http) -> Self {
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

    /// Returns a hint that a proxy may be the reason.
    fn hint(&self) -> Option<String> {
        let (host, port, setting) = (self.shown_host(), self.port, self.proxy?);
        Some(format!("the proxy {host}:{port} is that of '{setting}'"))
    }

    /// Returns what each line adds where the host is a proxy.
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
    /// Tests the connection, as far as it is possible without asking for refs.
    pub(crate) fn connect(&self) -> Result<(), Failure> {
        match self.url.scheme() {
            Scheme::File => Ok(()),
            Scheme::Ssh => self.connect_by_ssh(),
            Scheme::Http | Scheme::Https => self.connect_by_http(),
        }
    }

    fn connect_by_http(&self) -> Result<(), Failure> {
        if let Some(setting) = &self.access.http.needs_git {
            let text = format!("left to git, which alone knows '{setting}'");
            self.unknown(Check::Connect, Duration::ZERO, text);
            return Ok(());
        }
        let first_hop = FirstHop::new(self.url, &self.access.http);
        let through = first_hop.through();
        let (found, took) = timed(|| {
            let looking = lookup_host((first_hop.host.as_str(), first_hop.port));
            let addresses: Vec<_> = self.with_limit(looking)?.collect();
            Ok(addresses)
        });
        let addresses = match found {
            Ok(addresses) if !addresses.is_empty() => addresses,
            found => {
                let failure = found
                    .err()
                    .unwrap_or_else(|| self.unreachable(UNKNOWN_HOST));
                // The resolver's own messages differ from system to system.
                let failure = match failure.kind {
                    FailureKind::Cancelled => failure,
                    _ => self.unreachable(UNKNOWN_HOST),
                };
                return Err(self.failed(Check::Resolve, took, hinted(failure, &first_hop)));
            }
        };
        let text = format!("{}{through}", listed(&addresses));
        self.passed(Check::Resolve, took, text);
        let (connected, took) = timed(|| self.with_limit(connect_to_any(&addresses)));
        match connected {
            Ok(address) => self.passed(Check::Connect, took, format!("{address}{through}")),
            Err(failure) => {
                return Err(self.failed(Check::Connect, took, hinted(failure, &first_hop)));
            }
        }
        if self.url.scheme() == Scheme::Https {
            self.certificate()?;
        }
        Ok(())
    }

    /// Waits until the limit for no progress, or until the test is cancelled.
    fn with_limit<T>(&self, future: impl Future<Output = io::Result<T>>) -> Result<T, Failure> {
        let limit = self.access.http.no_progress;
        Handle::current().block_on(async {
            tokio::select! {
                result = timeout(limit, future) => match result {
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

    /// Tests the certificate, with the client that syncs use.
    fn certificate(&self) -> Result<(), Failure> {
        let (found, took) = timed(|| {
            let clients = &self.upstreams.clients;
            http::HttpSession::new(self.url, self.access, clients, self.watch)?.certificate()
        });
        match found {
            Ok(Some(der)) => {
                let mut text = described(&der);
                if !self.access.http.verify {
                    text.push_str(", not checked (http.sslVerify)");
                }
                self.passed(Check::Certificate, took, text);
                Ok(())
            }
            Ok(None) => {
                self.unknown(Check::Certificate, took, "not seen");
                Ok(())
            }
            Err(trouble) if is_cancelled(&trouble) => Err(*trouble.failure),
            // Another fault may concern this request alone; if not, the next step finds it, too.
            Err(trouble)
                if trouble.failure.kind == FailureKind::Unreachable
                    && !trouble.failure.message.contains("TLS failed") =>
            {
                let text = format!("not seen: {}", reason(self.url, &trouble.failure));
                self.unknown(Check::Certificate, took, text);
                Ok(())
            }
            Err(trouble) => Err(self.failed(Check::Certificate, took, *trouble.failure)),
        }
    }

    fn connect_by_ssh(&self) -> Result<(), Failure> {
        let began = Instant::now();
        let log = match self
            .upstreams
            .ssh
            .sign_in(self.url, self.access, self.watch)
        {
            Ok(Some(log)) => log,
            Ok(None) => {
                let text = "left to git, for this ssh is not OpenSSH";
                self.unknown(Check::Connect, Duration::ZERO, text);
                return Ok(());
            }
            Err(trouble) => {
                return Err(self.failed(Check::Connect, began.elapsed(), *trouble.failure));
            }
        };
        let fault = log.trouble.as_ref().map(|_| failed_step(&log));
        let steps = [
            (Check::Resolve, &log.resolved),
            (Check::Connect, &log.connected),
            (Check::HostKey, &log.host_key),
            (Check::SignIn, &log.signed_in),
        ];
        let mut before = Duration::ZERO;
        for (check, seen) in steps {
            let took = match seen {
                Some(seen) => seen.at.saturating_sub(before),
                None => began.elapsed().saturating_sub(before),
            };
            if fault == Some(check)
                && let Some(trouble) = log.trouble
            {
                let failure = *trouble.failure;
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

/// The cause where a name is not known.
const UNKNOWN_HOST: &str = "could not resolve host";

/// Returns the step at which ssh stopped.
fn failed_step(log: &ssh::SignInLog) -> Check {
    let why = log.trouble.as_ref();
    let why = why.map(|trouble| trouble.failure.message.as_str());
    let why = why.unwrap_or_default();
    if why.contains(UNKNOWN_HOST) {
        Check::Resolve
    } else if why.contains("host key") || (log.connected.is_some() && log.host_key.is_none()) {
        Check::HostKey
    } else if log.connected.is_none() {
        Check::Connect
    } else {
        Check::SignIn
    }
}

/// Adds the key that the server showed to a failure, for the person who has to judge it.
fn shown_key(failure: &Failure, key: Option<&ssh::LogEntry>) -> Failure {
    let mut shown = failure.clone();
    // A changed one is in the message already, beside the one that was known.
    if let Some(key) = key.filter(|_| !failure.message.contains("SHA256:")) {
        shown.message = format!("{}: {}", failure.message, key.text);
    }
    shown
}

fn hinted(failure: Failure, first_hop: &FirstHop) -> Failure {
    match first_hop.hint() {
        Some(hint) => failure.hinted(hint),
        None => failure,
    }
}

/// Returns a hint that names the proxy before upstream, if there is one.
pub(super) fn proxy_hint(url: &UpstreamUrl, access: &Access) -> Option<String> {
    let is_http = matches!(url.scheme(), Scheme::Http | Scheme::Https);
    is_http.then(|| FirstHop::new(url, &access.http).hint())?
}

async fn connect_to_any(addresses: &[SocketAddr]) -> io::Result<SocketAddr> {
    let mut last = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(_) => return Ok(*address),
            Err(err) => last = Some(err),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other(UNKNOWN_HOST)))
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

/// Describes a certificate: who signed it, and for how long it is good.
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
