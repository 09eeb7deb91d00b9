//! Why a connection or a request failed, in few words.

use std::{error::Error, io};

use common::address::redact;

/// The cause where a proxy wants a login before it connects.
pub(super) const PROXY_WANTS_LOGIN: &str = "the proxy wants a login (error 407)";

/// The cause where nobody has answered in time.
pub(super) const TIMED_OUT: &str = "connection timed out";

/// Returns the innermost cause in few words.
pub(crate) fn cause(error: &(dyn Error + 'static)) -> String {
    let mut chain = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        chain.push(error);
        // An io::Error hides the error it was made from behind its own text.
        next = match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    for error in &chain {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return match error {
                rustls::Error::InvalidCertificate(why) => {
                    format!("certificate refused: {}", certificate(why))
                }
                error => format!("TLS failed: {error}"),
            };
        }
    }
    let texts: Vec<String> = chain.iter().map(ToString::to_string).collect();
    if texts
        .iter()
        .any(|text| text.contains("dns error") || text.contains("failed to lookup"))
    {
        return "could not resolve host".into();
    }
    // The answer to a CONNECT, which reqwest puts into words.
    if texts
        .iter()
        .any(|text| text.contains("proxy authorization required"))
    {
        return PROXY_WANTS_LOGIN.into();
    }
    if let Some(error) = chain
        .iter()
        .rev()
        .find_map(|error| error.downcast_ref::<io::Error>())
    {
        return match error.kind() {
            io::ErrorKind::ConnectionRefused => "connection refused".into(),
            io::ErrorKind::ConnectionReset => "connection reset by peer".into(),
            io::ErrorKind::UnexpectedEof => "the connection was cut".into(),
            io::ErrorKind::TimedOut => TIMED_OUT.into(),
            _ => redact(&error.to_string()).trim_end_matches('.').to_owned(),
        };
    }
    if chain.iter().any(|error| {
        error
            .downcast_ref::<reqwest::Error>()
            .is_some_and(reqwest::Error::is_timeout)
    }) {
        return TIMED_OUT.into();
    }
    let last = texts.last().map(String::as_str).unwrap_or_default();
    match last {
        text if text.contains("connection closed before message completed") => {
            "the connection was cut".into()
        }
        text => redact(text),
    }
}

fn certificate(why: &rustls::CertificateError) -> String {
    use rustls::CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, UnknownIssuer,
    };
    match why {
        UnknownIssuer => "it is signed by nobody who is trusted here".into(),
        Expired | ExpiredContext { .. } => "it has expired".into(),
        NotValidForName | NotValidForNameContext { .. } => "it is for another host".into(),
        why => format!("{why}"),
    }
}
