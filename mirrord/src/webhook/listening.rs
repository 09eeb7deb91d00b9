//! Where the webhook listens, and by which URL it is reached: from what was typed to what is told.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use common::protocol::{self, Failure, FailureKind, Listen};
use reqwest::Url;
use tokio::net::{TcpListener, TcpSocket};

use super::{hooks::Hook, tls::Tls};
use crate::mirrors::{
    config::{self, Config},
    registry::Mirror,
};

/// How many may wait to be let in; the system may have a limit of its own.
const BACKLOG: u32 = 4096;

/// How the webhook listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listening(config::Webhook);

impl config::Webhook {
    /// The same after a change.
    pub(super) fn changed(mut self, listen: Listen) -> Result<Self, Failure> {
        let old = self.listen;
        if let Some(typed) = listen.at {
            self.set("webhook-listen", &typed)?;
            // Any port will do, and the one that hosts have been told is the best.
            if self.listen.port() == 0 && self.listen.ip() == old.ip() {
                self.listen.set_port(old.port());
            }
        }
        if let Some(url) = listen.public_url {
            self.set("webhook-public-url", &url)?;
        }
        if let Some((certificate, key)) = listen.tls {
            self.tls_cert = text(certificate)?;
            self.tls_key = text(key)?;
        }
        self.on = true;
        Ok(self)
    }
}

fn text(path: PathBuf) -> Result<String, Failure> {
    path.into_os_string()
        .into_string()
        .ok()
        .filter(|path| !path.contains(char::is_control))
        .ok_or_else(|| Failure::new(FailureKind::Usage, "the path of a file is not plain text"))
}

/// Reads the certificate, when there is to be one.
pub(super) async fn prepare(
    wanted: config::Webhook,
) -> Result<(Option<Arc<Tls>>, Listening), Failure> {
    let files = match (wanted.tls_cert.as_str(), wanted.tls_key.as_str()) {
        ("", "") => None,
        (certificate, key) if certificate.is_empty() || key.is_empty() => {
            let message = "a certificate is of no use without its key, nor a key without it";
            let failure = Failure::new(FailureKind::Usage, message);
            return Err(failure.hinted("give both: --tls-cert FILE --tls-key FILE"));
        }
        (certificate, key) => Some((PathBuf::from(certificate), PathBuf::from(key))),
    };
    let tls = match files {
        None => None,
        Some((certificate, key)) => {
            let reading = move || Tls::read(&certificate, &key);
            let read = tokio::task::spawn_blocking(reading).await;
            let broke = || Failure::here("reading the certificate broke");
            Some(Arc::new(read.map_err(|_| broke())??))
        }
    };
    Ok((tls, Listening(wanted)))
}

/// Listens, with room for those who come all at once and have to wait to be let in.
fn listen(at: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match at {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    socket.listen(BACKLOG)
}

impl Listening {
    /// Listens. From then on the port is known.
    pub(super) fn bind(&mut self) -> Result<TcpListener, Failure> {
        let failed = |err: &std::io::Error, at: SocketAddr| {
            let failure = Failure::io(format_args!("cannot listen at '{at}'"), err);
            match err.kind() {
                std::io::ErrorKind::AddrInUse => failure.hinted(format!(
                    "another program has the port; --listen {} takes one that is free",
                    SocketAddr::new(at.ip(), 0)
                )),
                _ => failure.hinted("--listen ADDRESS:PORT names another place"),
            }
        };
        let at = self.0.listen;
        let listener = listen(at).map_err(|err| failed(&err, at))?;
        self.0.listen = listener.local_addr().map_err(|err| failed(&err, at))?;
        Ok(listener)
    }

    /// The address and port.
    pub(super) fn at(&self) -> SocketAddr {
        self.0.listen
    }

    /// Writes it down for the next daemon.
    pub(super) fn write(&self, file: &Path) -> Result<(), Failure> {
        Config::set_webhook(file, &self.0)
    }

    /// Scheme, address and port.
    pub(super) fn address(&self) -> String {
        format!("{}://{}", self.scheme(), self.0.listen)
    }

    /// What the URLs of all hooks begin with.
    pub(super) fn base(&self) -> String {
        let public = self.0.public_url.as_str();
        let base = match public {
            "" => self.address(),
            public => public.trim_end_matches('/').to_owned(),
        };
        format!("{base}/hooks/")
    }

    /// The host by which others reach it.
    pub(super) fn public_host(&self) -> Option<String> {
        let url = Url::parse(self.0.public_url.as_str()).ok()?;
        url.host_str().map(str::to_owned)
    }

    /// What the host of a mirror must be told.
    pub(super) fn told(&self, mirror: &Mirror, hook: &Hook) -> protocol::Hook {
        protocol::Hook {
            name: mirror.settings.name.to_string(),
            url: format!("{}{}", self.base(), hook.id),
            secret_token: hook.token.clone(),
            is_signed: hook.signing.is_some(),
            warnings: self.warnings(),
        }
    }

    /// What the person should know of it.
    pub(super) fn warnings(&self) -> Vec<String> {
        let ip = self.0.listen.ip();
        let mut warnings = Vec::new();
        if self.0.public_url.as_str().is_empty() {
            if ip.is_unspecified() {
                warnings.push(format!(
                    "'{}' is no address that anybody can reach: --public-url says which one is",
                    self.address()
                ));
            } else if ip.is_loopback() {
                warnings.push(format!(
                    "only this machine reaches '{}': --public-url says how others do, through a proxy or a tunnel",
                    self.address()
                ));
            }
        }
        if !ip.is_loopback() && self.scheme() == "http" {
            warnings.push(
                "without a certificate whoever can listen on the way can read the secret token"
                    .to_owned(),
            );
        }
        warnings
    }

    fn scheme(&self) -> &'static str {
        match self.0.tls_cert.is_empty() {
            true => "http",
            false => "https",
        }
    }
}
