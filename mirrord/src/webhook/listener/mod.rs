//! The webhook's HTTP listener: accepts connections, speaks TLS if it has a certificate, and gives each request to the
//! router of `answer`. A slow client cannot block it: headers have five seconds and 16 KiB, and the number of open
//! connections has a limit (`connections`).

mod connections;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request};
use hyper::{server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use self::connections::Connections;
pub(super) use self::connections::Slot;
use super::tls::Tls;

/// How long a client may take to send the headers of a request, or for the TLS handshake.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// The size of the headers of one request, in bytes. Those of GitLab and GitHub are far smaller.
const MAX_HEADER_BYTES: usize = 16 << 10;

/// The number of headers of one request. A delivery of GitLab or GitHub has about 15.
const MAX_HEADERS: usize = 64;

/// How long `shutdown` waits for requests that are being answered.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause after a failed `accept`, which mostly means that the process has no free file descriptor.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// A running HTTP listener.
#[derive(Debug)]
pub(super) struct Listener {
    /// The address and port that it listens at.
    pub address: SocketAddr,
    shutdown: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Starts to accept connections on a bound socket.
    pub(super) fn start(
        socket: TcpListener,
        tls: Option<Arc<Tls>>,
        router: Router,
    ) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let (shutdown, is_shut_down) = watch::channel(false);
        let task = tokio::spawn(accept_loop(socket, tls, router, is_shut_down));
        Ok(Self {
            address,
            shutdown,
            task,
        })
    }

    /// Accepts no more connections, and returns when the open ones are answered.
    pub(super) async fn shutdown(self) {
        let _ = self.shutdown.send(true);
        // The task fails only if it panics.
        let _ = self.task.await;
    }
}

/// Accepts connections until `shutdown` changes, each served by a task of its own.
async fn accept_loop(
    socket: TcpListener,
    tls: Option<Arc<Tls>>,
    router: Router,
    mut shutdown: watch::Receiver<bool>,
) {
    let connections = Connections::default();
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            Some(_) = tasks.join_next() => continue,
            _ = shutdown.changed() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(err) => {
                tracing::warn!("the webhook cannot accept a connection: {err}");
                tokio::time::sleep(ACCEPT_RETRY_INTERVAL).await;
                continue;
            }
        };
        let slot = connections.acquire().await;
        let id = slot.id();
        let (tls, router, shutdown) = (tls.clone(), router.clone(), shutdown.clone());
        let task = tasks.spawn(serve_connection(stream, tls, router, slot, shutdown));
        connections.set_abort_handle(id, task);
    }
    drop(socket);
    let _ = timeout(SHUTDOWN_TIMEOUT, async {
        while tasks.join_next().await.is_some() {}
    })
    .await;
    tasks.shutdown().await;
}

/// Does the TLS handshake if there is a certificate, then serves HTTP.
async fn serve_connection(
    stream: TcpStream,
    tls: Option<Arc<Tls>>,
    router: Router,
    slot: Slot,
    shutdown: watch::Receiver<bool>,
) {
    // A response is one small packet.
    let _ = stream.set_nodelay(true);
    match tls {
        None => serve_http(stream, router, slot, shutdown).await,
        Some(tls) => {
            let handshake = timeout(HEADER_TIMEOUT, tls.acceptor().accept(stream));
            if let Ok(Ok(stream)) = handshake.await {
                serve_http(stream, router, slot, shutdown).await;
            }
        }
    }
}

/// Answers the requests of one connection, and keeps its slot informed of what it waits for.
async fn serve_http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    slot: Slot,
    mut shutdown: watch::Receiver<bool>,
) {
    let slot = Arc::new(slot);
    let router = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(|request: hyper::Request<_>| {
        slot.set_reading_body();
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(slot.clone());
        let (response, slot) = (router.call(request), slot.clone());
        async move {
            let response = response.await;
            slot.set_reading_headers();
            response
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        // An error is a client that went away, or does not speak HTTP.
        _ = connection.as_mut() => return,
        _ = shutdown.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
