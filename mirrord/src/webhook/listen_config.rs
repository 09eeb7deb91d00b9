//! The settings of the listener: the address, the certificate, and the public URL; and the URLs of hooks that follow from
//! them.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use common::protocol::{self, Failure, FailureKind, Listen};
use reqwest::Url;
use tokio::net::{TcpListener, TcpSocket};

use super::{hooks::Hook, tls::Tls};
use crate::{
    mirrors::{
        config::{self, Config},
        registry::Mirror,
    },
    process::blocking::blocking,
};

/// The number of connections that may wait to be accepted, as for listen(2). The system may have a lower limit.
const BACKLOG: u32 = 4096;

/// The settings of the listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenConfig(config::Webhook);

impl config::Webhook {
    /// Returns the settings with those of a `webhook on` command.
    pub(super) fn with(mut self, listen: Listen) -> Result<Self, Failure> {
        let old = self.listen;
        if let Some(typed) = listen.at {
            self.set("webhook-listen", &typed)?;
            // Port 0 means any port, and the old one is in the hooks that hosts already have.
            if self.listen.port() == 0 && self.listen.ip() == old.ip() {
                self.listen.set_port(old.port());
            }
        }
        if let Some(url) = listen.public_url {
            self.set("webhook-public-url", &url)?;
        }
        if let Some((certificate, key)) = listen.tls {
            self.tls_cert = path_text(certificate)?;
            self.tls_key = path_text(key)?;
        }
        self.on = true;
        Ok(self)
    }
}

/// The path as a line of the config file.
fn path_text(path: PathBuf) -> Result<String, Failure> {
    path.into_os_string()
        .into_string()
        .ok()
        .filter(|path| !path.contains(char::is_control))
        .ok_or_else(|| Failure::new(FailureKind::Usage, "the path of a file is not plain text"))
}

/// Reads the certificate, if the settings have one.
pub(super) async fn prepare(
    wanted: config::Webhook,
) -> Result<(Option<Arc<Tls>>, ListenConfig), Failure> {
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
            let tls = blocking(move || Tls::read(&certificate, &key)).await?;
            Some(Arc::new(tls))
        }
    };
    Ok((tls, ListenConfig(wanted)))
}

/// Binds a socket with a backlog that holds a burst of deliveries.
fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl ListenConfig {
    /// Binds the socket, and replaces port 0 by the port that the system has chosen.
    pub(super) fn bind(&mut self) -> Result<TcpListener, Failure> {
        let failed = |err: &std::io::Error, address: SocketAddr| {
            let failure = Failure::io(format_args!("cannot listen at '{address}'"), err);
            match err.kind() {
                std::io::ErrorKind::AddrInUse => failure.hinted(format!(
                    "another program has the port; --listen {} takes one that is free",
                    SocketAddr::new(address.ip(), 0)
                )),
                _ => failure.hinted("--listen ADDRESS:PORT names another place"),
            }
        };
        let wanted = self.0.listen;
        let socket = bind(wanted).map_err(|err| failed(&err, wanted))?;
        self.0.listen = socket.local_addr().map_err(|err| failed(&err, wanted))?;
        Ok(socket)
    }

    /// The address and port.
    pub(super) fn socket_address(&self) -> SocketAddr {
        self.0.listen
    }

    /// Saves the settings in the config file, for the next daemon.
    pub(super) fn save(&self, file: &Path) -> Result<(), Failure> {
        Config::set_webhook(file, &self.0)
    }

    /// The scheme, address and port, as a URL.
    pub(super) fn url(&self) -> String {
        format!("{}://{}", self.scheme(), self.0.listen)
    }

    /// The beginning of the URLs of all hooks.
    pub(super) fn hooks_url(&self) -> String {
        let public = self.0.public_url.as_str();
        let base = match public {
            "" => self.url(),
            public => public.trim_end_matches('/').to_owned(),
        };
        format!("{base}/hooks/")
    }

    /// The host of the public URL.
    pub(super) fn public_host(&self) -> Option<String> {
        let url = Url::parse(self.0.public_url.as_str()).ok()?;
        url.host_str().map(str::to_owned)
    }

    /// What the host of a mirror needs to send deliveries: the URL and the secrets.
    pub(super) fn hook(&self, mirror: &Mirror, hook: &Hook) -> protocol::Hook {
        protocol::Hook {
            name: mirror.settings.name.to_string(),
            url: format!("{}{}", self.hooks_url(), hook.id),
            secret_token: hook.token.clone(),
            is_signed: hook.signing.is_some(),
            warnings: self.warnings(),
        }
    }

    /// What the user should know about these settings.
    pub(super) fn warnings(&self) -> Vec<String> {
        let ip = self.0.listen.ip();
        let mut warnings = Vec::new();
        if self.0.public_url.as_str().is_empty() {
            if ip.is_unspecified() {
                warnings.push(format!(
                    "'{}' is no address that anybody can reach: --public-url says which one is",
                    self.url()
                ));
            } else if ip.is_loopback() {
                warnings.push(format!(
                    "only this machine reaches '{}': --public-url says how others do, through a proxy or a tunnel",
                    self.url()
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
