//! Work that blocks (files, children, keyrings), on tokio's threads for it.

use std::io;

use common::protocol::Failure;
use tokio::task::{JoinError, spawn_blocking};
use tracing::Span;

/// Runs the work of a request that blocks.
///
/// # Errors
/// Fails as the work does, and with [`panicked`] if it panics.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let span = Span::current();
    spawn_blocking(move || span.in_scope(work))
        .await
        .unwrap_or_else(|panic| Err(panicked("the request", &panic)))
}

/// Runs work that blocks and has no other errors than those of files.
///
/// # Errors
/// Fails as the work does, and with the panic's message if it panics.
pub(crate) async fn blocking_io<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let span = Span::current();
    spawn_blocking(move || span.in_scope(work))
        .await
        .unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

/// Logs that some work panicked, and returns what its client is told.
pub(crate) fn panicked(work: &str, panic: &JoinError) -> Failure {
    tracing::error!("{work} broke: {panic}");
    Failure::here(format!("{work} broke; the daemon's log says how"))
}
