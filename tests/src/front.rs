//! An HTTP server of the tests' own that a request meets first: a forward proxy, or a gate before a GitLab. It sends what
//! hyper would not, such as folded headers, and passes everything else on.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use parking_lot::Mutex;

/// The first lines of a request.
#[derive(Clone, Debug)]
pub struct Head {
    /// The method.
    pub method: String,
    /// What is asked for: a path, and for a proxy a URL, or host and port.
    pub target: String,
    headers: Vec<(String, String)>,
}

impl Head {
    fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if from.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            lines.push(line.to_owned());
        }
        let mut words = lines[0].split(' ').map(str::to_owned);
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Ok(None);
        };
        let headers = lines[1..].iter().filter_map(|line| line.split_once(':'));
        let headers =
            headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        Ok(Some(Self {
            method,
            target,
            headers: headers.collect(),
        }))
    }

    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Passage {
    /// It is answered with this text: status line, headers, body.
    Answer(Vec<u8>),
    /// It is passed on to this host and port; a CONNECT is connected to it.
    To(String),
    /// It is passed on without its login, which was for the front.
    Admitted(String),
}

impl Passage {
    /// An answer with these lines in its head, and no body.
    pub fn head(lines: &[&str]) -> Self {
        let head = lines.join("\r\n");
        Self::Answer(format!("{head}\r\nContent-Length: 0\r\n\r\n").into_bytes())
    }
}

type Judge = dyn Fn(&Head) -> Passage + Send + Sync;

/// A running front. Dropping it stops it.
pub struct Front {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<Head>>>,
    stopped: Arc<AtomicBool>,
}

impl Front {
    /// Starts one that judges each request.
    pub fn new(judge: impl Fn(&Head) -> Passage + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let heads = Arc::<Mutex<Vec<Head>>>::default();
        let (judge, log): (Arc<Judge>, _) = (Arc::new(judge), heads.clone());
        let stopped = Arc::<AtomicBool>::default();
        let has_stopped = stopped.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if has_stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (judge, log) = (judge.clone(), log.clone());
                // A client that goes away is its own business.
                thread::spawn(move || drop(serve(&stream, &*judge, &log)));
            }
        });
        Self {
            address,
            heads,
            stopped,
        }
    }

    /// Starts a forward proxy that lets in whoever signs in by Basic with this `name:password`, encoded.
    pub fn proxy(login: &'static str) -> Self {
        Self::new(move |head| {
            if head.header("proxy-authorization") == Some(&format!("Basic {login}")) {
                return Self::forward(head);
            }
            let challenge = "Proxy-Authenticate: Basic realm=\"proxy\"";
            Passage::head(&["HTTP/1.1 407 Proxy Authentication Required", challenge])
        })
    }

    /// Passes a request for a proxy on to where it is meant to go.
    pub fn forward(head: &Head) -> Passage {
        let host = match head.target.split_once("://") {
            Some((_, rest)) => rest.split('/').next().unwrap_or_default(),
            None => &head.target,
        };
        Passage::To(host.to_owned())
    }

    /// Host and port.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The requests so far.
    pub fn heads(&self) -> Vec<Head> {
        self.heads.lock().clone()
    }
}

/// Serves a connection, one request after the other.
fn serve(stream: &TcpStream, judge: &Judge, log: &Mutex<Vec<Head>>) -> io::Result<()> {
    let mut client = BufReader::new(stream.try_clone()?);
    while let Some(head) = Head::read(&mut client)? {
        log.lock().push(head.clone());
        match judge(&head) {
            Passage::Answer(answer) => {
                let length = head.header("content-length");
                let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
                io::copy(&mut (&mut client).take(length), &mut io::sink())?;
                (&*stream).write_all(&answer)?;
            }
            Passage::To(to) => return pass(&head, &to, client, stream),
            Passage::Admitted(to) => {
                let mut head = head;
                head.headers.retain(|(name, _)| name != "authorization");
                return pass(&head, &to, client, stream);
            }
        }
    }
    Ok(())
}

/// Passes a request on, and everything behind it. The server closes the connection after its answer, so that the next
/// request is judged again.
fn pass(
    head: &Head,
    to: &str,
    mut client: BufReader<TcpStream>,
    stream: &TcpStream,
) -> io::Result<()> {
    let server = TcpStream::connect(to)?;
    if head.method == "CONNECT" {
        (&*stream).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    } else {
        let path = match head.target.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
            None => &head.target,
        };
        let mut lines = format!("{} {path} HTTP/1.1\r\nConnection: close\r\n", head.method);
        for (name, value) in &head.headers {
            if !["connection", "proxy-authorization", "proxy-connection"].contains(&name.as_str()) {
                lines.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        (&server).write_all(format!("{lines}\r\n").as_bytes())?;
    }
    let mut to_server = server.try_clone()?;
    thread::spawn(move || {
        let _ = io::copy(&mut client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let mut client = stream.try_clone()?;
    io::copy(&mut &server, &mut client)?;
    client.shutdown(Shutdown::Both)
}

impl Drop for Front {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}
