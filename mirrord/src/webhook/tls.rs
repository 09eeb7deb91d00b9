//! The webhook's TLS certificate. Certificates with a short life are renewed while the daemon runs, so the files are read
//! again when they have changed.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use common::{protocol::Failure, text::io_message};
use parking_lot::Mutex;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// How often it is checked whether the files have changed.
const RELOAD_INTERVAL: Duration = Duration::from_secs(60);

/// A certificate and its key, in files.
#[derive(Debug)]
pub(super) struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    loaded: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    modified: Option<Modified>,
    checked: Instant,
}

/// When the two files were last changed.
#[derive(Debug, PartialEq, Eq)]
struct Modified {
    certificate: SystemTime,
    key: SystemTime,
}

impl Tls {
    /// Reads the certificate and its key from two files. Blocks.
    pub(super) fn read(certificate: &Path, key: &Path) -> Result<Self, Failure> {
        let modified = modified(certificate, key);
        let config = load(certificate, key)?;
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            loaded: Mutex::new(Loaded {
                config,
                modified,
                checked: Instant::now(),
            }),
        })
    }

    /// Returns an acceptor with the certificate as it is now; if that cannot be read, with the last one that could.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut loaded = self.loaded.lock();
        if loaded.checked.elapsed() >= RELOAD_INTERVAL {
            loaded.checked = Instant::now();
            let modified = modified(&self.certificate, &self.key);
            if modified != loaded.modified {
                match load(&self.certificate, &self.key) {
                    Ok(config) => {
                        (loaded.config, loaded.modified) = (config, modified);
                        tracing::info!("the webhook has a new certificate");
                    }
                    // The files may be half written; the next check reads them again.
                    Err(failure) => tracing::warn!("{failure}"),
                }
            }
        }
        loaded.config.clone().into()
    }
}

fn modified(certificate: &Path, key: &Path) -> Option<Modified> {
    let modified = |path| fs::metadata(path).ok()?.modified().ok();
    Some(Modified {
        certificate: modified(certificate)?,
        key: modified(key)?,
    })
}

fn load(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, Failure> {
    let bad = |what: &str, path: &Path, why: String| {
        Failure::here(format!("cannot use the {what} '{}': {why}", path.display()))
    };
    let pem_error = |err: pem::Error| match err {
        pem::Error::Io(err) => io_message(&err),
        _ => "it is not a PEM file of that".to_owned(),
    };
    let chain =
        CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|err| bad("certificate", certificate, pem_error(err)))?;
    if chain.is_empty() {
        let why = "it is not a PEM file of that".to_owned();
        return Err(bad("certificate", certificate, why));
    }
    let secret = PrivateKeyDer::from_pem_file(key);
    let secret = secret.map_err(|err| bad("key", key, pem_error(err)))?;
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
