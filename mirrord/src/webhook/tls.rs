//! The webhook's own certificate. Those that are good for three months are renewed while the daemon runs, so it is read
//! again when the files have changed.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use common::protocol::{Failure, words};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(60);

/// A certificate and its key, in files.
#[derive(Debug)]
pub(super) struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    read: Mutex<Read>,
}

#[derive(Debug)]
struct Read {
    config: Arc<ServerConfig>,
    stamp: Option<(SystemTime, SystemTime)>,
    looked: Instant,
}

impl Tls {
    /// With what is in these files. Blocks.
    pub(super) fn read(certificate: &Path, key: &Path) -> Result<Self, Failure> {
        let stamp = stamp(certificate, key);
        let config = config(certificate, key)?;
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            read: Mutex::new(Read {
                config,
                stamp,
                looked: Instant::now(),
            }),
        })
    }

    /// What speaks TLS with the certificate as it is now; where it cannot be read, as it was.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.looked.elapsed() >= RELOAD_INTERVAL {
            read.looked = Instant::now();
            let stamp = stamp(&self.certificate, &self.key);
            if stamp != read.stamp {
                match config(&self.certificate, &self.key) {
                    Ok(config) => {
                        (read.config, read.stamp) = (config, stamp);
                        tracing::info!("the webhook has a new certificate");
                    }
                    // It may be half written; the next look tells.
                    Err(failure) => tracing::warn!("{failure}"),
                }
            }
        }
        read.config.clone().into()
    }
}

fn stamp(certificate: &Path, key: &Path) -> Option<(SystemTime, SystemTime)> {
    let modified = |path| fs::metadata(path).ok()?.modified().ok();
    Some((modified(certificate)?, modified(key)?))
}

fn config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, Failure> {
    let bad = |what: &str, path: &Path, why: String| {
        Failure::here(format!("cannot use the {what} '{}': {why}", path.display()))
    };
    let of_pem = |err: pem::Error| match err {
        pem::Error::Io(err) => words(&err),
        _ => "it is not a PEM file of that".to_owned(),
    };
    let chain =
        CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|err| bad("certificate", certificate, of_pem(err)))?;
    if chain.is_empty() {
        let why = "it is not a PEM file of that".to_owned();
        return Err(bad("certificate", certificate, why));
    }
    let secret = PrivateKeyDer::from_pem_file(key);
    let secret = secret.map_err(|err| bad("key", key, of_pem(err)))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, secret));
    let mut config = config.map_err(|err| match err {
        rustls::Error::InconsistentKeys(_) => {
            let why = "it is not the one of the certificate".to_owned();
            bad("key", key, why)
        }
        err => bad("certificate", certificate, err.to_string()),
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
