//! A slow line to a server: each way takes half of [`ROUND_TRIP`], all connections share [`RATE`] in each direction, and
//! a connection is there after one round trip. No loss, no slow start, no TLS.
//!
//! A proxy in user space, because not every kernel has netem, and not everybody may use it. It wakes to the millisecond.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    runtime::{self, Runtime},
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};

/// From a question to its answer, of a server that need not think.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(20);

/// Bits per second, in each direction.
pub(crate) const RATE: u64 = 100_000_000;

/// What is sent in one piece.
const PIECE: usize = 16 * 1024;

/// Pieces on their way in a direction of a connection, at most, as a window of TCP: several times what the line holds.
const UNREAD: usize = 64;

/// What may wait for its turn on the line. Clocks here have milliseconds, and the line must not be idle between two.
const AHEAD: Duration = Duration::from_millis(5);

/// The line. Dropping it cuts all connections.
#[derive(Debug)]
pub(crate) struct Link {
    address: SocketAddr,
    line: Arc<Line>,
    _runtime: Runtime,
}

/// What has gone over the line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic {
    /// Bytes to the server.
    pub(crate) up: u64,
    /// Bytes from the server.
    pub(crate) down: u64,
}

#[derive(Debug, Default)]
struct Line {
    up: Direction,
    down: Direction,
}

#[derive(Debug, Default)]
struct Direction {
    /// When all that is on the line by now is through.
    free: Mutex<Option<Instant>>,
    bytes: AtomicU64,
}

impl Direction {
    /// Takes a place on the line; returns when the last byte is on it.
    fn send(&self, bytes: usize) -> Instant {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let takes = Duration::from_secs_f64(bytes as f64 * 8.0 / RATE as f64);
        let mut free = self.free.lock();
        let through = free.unwrap_or_else(Instant::now).max(Instant::now()) + takes;
        *free = Some(through);
        through
    }
}

impl Link {
    /// Lays a line to a server, `host:port`.
    pub(crate) fn to(server: &str) -> io::Result<Self> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
        let address = listener.local_addr()?;
        let line = Arc::new(Line::default());
        runtime.spawn(accept(listener, server.to_owned(), Arc::clone(&line)));
        Ok(Self {
            address,
            line,
            _runtime: runtime,
        })
    }

    /// Where it begins.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// All that has gone over it until now.
    pub(crate) fn traffic(&self) -> Traffic {
        let of = |direction: &Direction| direction.bytes.load(Ordering::Relaxed);
        Traffic {
            up: of(&self.line.up),
            down: of(&self.line.down),
        }
    }
}

async fn accept(listener: TcpListener, server: String, line: Arc<Line>) {
    while let Ok((client, _)) = listener.accept().await {
        let (server, line) = (server.clone(), Arc::clone(&line));
        tokio::spawn(async move {
            // An error is one of them that went away; the other sees its connection end.
            let _ = connect(client, &server, line).await;
        });
    }
}

async fn connect(client: TcpStream, server: &str, line: Arc<Line>) -> io::Result<()> {
    sleep(ROUND_TRIP).await;
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(
        carry(from_client, to_server, |bytes| line.up.send(bytes)),
        carry(from_server, to_client, |bytes| line.down.send(bytes)),
    );
    Ok(())
}

/// Carries one direction of a connection to its end.
async fn carry(from: OwnedReadHalf, to: OwnedWriteHalf, send: impl Fn(usize) -> Instant) {
    let (sender, arriving) = mpsc::channel(UNREAD);
    tokio::join!(read(from, sender, send), arrive(arriving, to));
}

async fn read(
    mut from: OwnedReadHalf,
    sender: mpsc::Sender<(Instant, Vec<u8>)>,
    send: impl Fn(usize) -> Instant,
) {
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        match from.read_buf(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let through = send(piece.len());
        if sender
            .send((through + ROUND_TRIP / 2, piece))
            .await
            .is_err()
        {
            return;
        }
        if let Some(early) = through.checked_sub(AHEAD) {
            sleep_until(early).await;
        }
    }
}

async fn arrive(mut arriving: mpsc::Receiver<(Instant, Vec<u8>)>, mut to: OwnedWriteHalf) {
    while let Some((at, piece)) = arriving.recv().await {
        sleep_until(at).await;
        if to.write_all(&piece).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
