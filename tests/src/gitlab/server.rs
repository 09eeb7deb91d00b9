//! Accepts connections, speaks TLS if asked to, and hands each request to `answer`.

use std::{
    io::ErrorKind,
    net::{self, Shutdown, SocketAddr},
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{mpsc, oneshot},
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::{
    access::Access, answer::answer, faults::Faults, hooks::Hooks, log::Log, memory::Memory,
    pauses::Pauses,
};

/// How long a connection on this machine may take. After that it is never answered.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a child may take from `fork` to `exec` on a busy machine; until then it has the listening socket.
const EXEC_TIMEOUT: Duration = Duration::from_secs(10);

/// The state that all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    /// Scheme, host and port.
    pub(super) base: String,
    pub(super) access: Mutex<Access>,
    pub(super) log: Log,
    pub(super) faults: Faults,
    pub(super) pauses: Pauses,
    pub(super) hooks: Mutex<Hooks>,
    pub(super) memory: Memory,
    /// Whether the administrator has switched large files off.
    pub(super) without_lfs: AtomicBool,
}

impl Shared {
    pub(super) fn new(dir: &Path, base: String) -> Self {
        Self {
            dir: dir.to_path_buf(),
            base,
            access: Mutex::default(),
            log: Log::default(),
            faults: Faults::default(),
            pauses: Pauses::default(),
            hooks: Mutex::default(),
            memory: Memory::default(),
            without_lfs: AtomicBool::default(),
        }
    }
}

/// A listening server: while it exists, connections are accepted.
#[derive(Debug)]
pub(super) struct Listening {
    task: JoinHandle<()>,
    close: mpsc::Sender<oneshot::Sender<()>>,
    /// A copy of the listening socket. The type is that which can be shut down.
    socket: net::TcpStream,
}

impl Listening {
    /// Listens at once, so that a connection is never refused after this returns.
    pub(super) fn start(
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        shared: &Arc<Shared>,
    ) -> Self {
        let listener = listen(address, 1024);
        let socket = listener.as_fd().try_clone_to_owned();
        let socket = socket.expect("there are enough files").into();
        let (close, closing) = mpsc::channel(1);
        let tls = tls.map(TlsAcceptor::from);
        let task = tokio::spawn(accept(listener, tls, Arc::clone(shared), closing));
        Self {
            task,
            close,
            socket,
        }
    }

    /// Closes the door and every connection; returns when that is done.
    pub(super) async fn stop(self) {
        // A program that another story is starting has a copy of every open file between `fork` and `exec`. Where the socket is
        // only closed, that copy listens for a moment longer, and resets who comes.
        let _ = self.socket.shutdown(Shutdown::Both);
        self.task.abort();
        let _ = self.task.await;
    }

    /// Closes every connection; returns when that is done.
    pub(super) async fn close_connections(&self) {
        let (done, closed) = oneshot::channel();
        let _ = self.close.send(done).await;
        let _ = closed.await;
    }
}

/// A door at which nobody gets an answer, not even that it is closed.
#[derive(Debug)]
pub(super) struct Deaf {
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl Deaf {
    /// Listens, and lets the queue of those who are to be accepted fill up: whoever comes now is not even refused.
    pub(super) async fn new(address: SocketAddr) -> Self {
        let listener = listen(address, 0);
        let mut queue = Vec::new();
        while let Ok(Ok(stream)) = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            queue.push(stream);
        }
        Self {
            _listener: listener,
            _queue: queue,
        }
    }
}

/// Listens at a port that is reserved for us.
///
/// The port may be in use for a moment longer than the listener that was closed last: a program that another story is
/// starting has a copy of every open file between `fork` and `exec`.
fn listen(address: SocketAddr, backlog: u32) -> TcpListener {
    let until = Instant::now() + EXEC_TIMEOUT;
    loop {
        let listener = TcpSocket::new_v4().and_then(|socket| {
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(backlog)
        });
        match listener {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(1));
            }
            listener => return listener.expect("the port is reserved for us"),
        }
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    mut closing: mpsc::Receiver<oneshot::Sender<()>>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(converse(stream, tls.clone(), Arc::clone(&shared)));
            }
            Some(done) = closing.recv() => {
                connections.shutdown().await;
                let _ = done.send(());
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn converse(stream: TcpStream, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    // Answers in several small writes must not wait for delayed acknowledgements.
    let _ = stream.set_nodelay(true);
    let released = shared.faults.released();
    let id = shared.log.connected();
    if shared.faults.resets_on_accept() {
        // Closed with something unread, a connection is reset.
        let _ = stream.readable().await;
        return;
    }
    if shared.faults.hangs_on_accept() {
        released.wait().await;
    }
    match tls {
        None => speak_http(stream, id, shared).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                speak_http(stream, id, shared).await;
            }
        }
    }
}

async fn speak_http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    connection: u64,
    shared: Arc<Shared>,
) {
    let service = service_fn(|request| answer(Arc::clone(&shared), connection, request));
    // An error is a client that went away, or a fault that cuts the line.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
