//! Accepts connections, speaks TLS if it has a certificate, and gives each request to the router. Nobody holds it up:
//! headers have five seconds and 16 KiB, and there are places for few.

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

use super::{
    slots::{Slot, Slots},
    tls::Tls,
};

/// How long headers may take, and the start of TLS.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long headers may be, in bytes, and how many.
const MAX_HEADER_BYTES: usize = 16 << 10;
const MAX_HEADERS: usize = 64;

/// Those that are being answered at the end have so long.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// An open door.
#[derive(Debug)]
pub(super) struct Door {
    /// Where it is.
    pub address: SocketAddr,
    closing: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Door {
    /// Lets requests in from now on.
    pub(super) fn open(
        listener: TcpListener,
        tls: Option<Arc<Tls>>,
        router: Router,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (closing, closed) = watch::channel(false);
        let task = tokio::spawn(accept(listener, tls, router, closed));
        Ok(Self {
            address,
            closing,
            task,
        })
    }

    /// Lets nobody in any more, and answers those who are inside.
    pub(super) async fn close(self) {
        let _ = self.closing.send(true);
        // Nothing but a bug fails here.
        let _ = self.task.await;
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    router: Router,
    mut closed: watch::Receiver<bool>,
) {
    let slots = Slots::default();
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = closed.changed() => break,
        };
        let stream = match stream {
            Ok((stream, _)) => stream,
            Err(err) => {
                // Out of descriptors, most likely.
                tracing::warn!("the webhook cannot accept a connection: {err}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let slot = slots.take().await;
        let number = slot.number();
        let (tls, router, closed) = (tls.clone(), router.clone(), closed.clone());
        let connection = connections.spawn(converse(stream, tls, router, slot, closed));
        slots.can_end(number, connection);
    }
    drop(listener);
    let _ = timeout(SHUTDOWN_TIMEOUT, async {
        while connections.join_next().await.is_some() {}
    })
    .await;
    connections.shutdown().await;
}

async fn converse(
    stream: TcpStream,
    tls: Option<Arc<Tls>>,
    router: Router,
    slot: Slot,
    closed: watch::Receiver<bool>,
) {
    // An answer is one small packet.
    let _ = stream.set_nodelay(true);
    match tls {
        None => speak(stream, router, slot, closed).await,
        Some(tls) => {
            if let Ok(Ok(stream)) = timeout(HEADER_TIMEOUT, tls.acceptor().accept(stream)).await {
                speak(stream, router, slot, closed).await;
            }
        }
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    slot: Slot,
    mut closed: watch::Receiver<bool>,
) {
    let slot = Arc::new(slot);
    let router = TowerToHyperService::new(router);
    let answering = hyper::service::service_fn(|request: hyper::Request<_>| {
        slot.awaits_body();
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(slot.clone());
        let (answer, slot) = (router.call(request), slot.clone());
        async move {
            let answer = answer.await;
            slot.awaits_headers();
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), answering);
    tokio::pin!(connection);
    tokio::select! {
        // An error is a client that went away, or does not speak http.
        _ = connection.as_mut() => return,
        _ = closed.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
