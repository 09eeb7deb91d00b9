//! Why a request comes to nothing: it fails, or its client has gone.

use common::protocol::{Failure, wire::WireError};

/// Why a request comes to nothing.
#[derive(Debug)]
pub(crate) enum RequestError {
    /// The request has failed, and the client is to be told why.
    Failed(Failure),
    /// The connection to the client is closed, or broken.
    Disconnected(WireError),
}

impl From<Failure> for RequestError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<WireError> for RequestError {
    fn from(err: WireError) -> Self {
        Self::Disconnected(err)
    }
}
