//! The log of all requests and their results.

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::http::request::Parts;
use parking_lot::{Condvar, Mutex};

/// How long a test waits for a request.
const DEADLINE: Duration = Duration::from_secs(30);

/// The size of a request's body that is kept, in bytes.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// A request and its result.
#[derive(Clone, Debug)]
pub struct Request {
    /// The number of the connection it came by, from 1.
    pub connection: u64,
    /// `GET` or `POST`.
    pub method: String,
    /// The path, from the first `/`.
    pub path: String,
    /// The query after the `?`, or nothing.
    pub query: String,
    /// The headers in order, with their names in lower case.
    pub headers: Vec<(String, String)>,
    /// `user:password` of Basic authentication; any other header as it was.
    pub authorization: Option<String>,
    /// The `Git-Protocol` header, such as `version=2`.
    pub git_protocol: Option<String>,
    /// The first MiB of the body; one that asks upload-pack is uncompressed.
    pub body: Vec<u8>,
    /// The status of the answer once there is one.
    pub status: Option<u16>,
    /// The size of the answer's body that was sent, in bytes.
    pub response_bytes: u64,
    /// The whole answer was sent.
    pub finished: bool,
    /// The connection ended before that: the client went away, or GitLab went down.
    pub cancelled: bool,
}

impl Request {
    pub(super) fn new(connection: u64, parts: &Parts) -> Self {
        let header = |name| Some(parts.headers.get(name)?.to_str().ok()?.to_owned());
        Self {
            connection,
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts
                .headers
                .iter()
                .map(|(name, value)| {
                    let value = String::from_utf8_lossy(value.as_bytes());
                    (name.to_string(), value.into_owned())
                })
                .collect(),
            authorization: header("authorization").map(decoded),
            git_protocol: header("git-protocol"),
            body: Vec::new(),
            status: None,
            response_bytes: 0,
            finished: false,
            cancelled: false,
        }
    }

    /// Returns a header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns the body as text, for `contains("want ")` and the like.
    pub fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn summary(&self) -> String {
        let Self {
            connection,
            method,
            path,
            query,
            response_bytes,
            ..
        } = self;
        let login = self.authorization.as_deref().unwrap_or("anonymous");
        let status = self
            .status
            .map_or_else(|| "no answer".into(), |status| status.to_string());
        let end = match (self.finished, self.cancelled) {
            (true, _) => "",
            (_, true) => ", cancelled",
            _ => ", unfinished",
        };
        format!(
            "#{connection} {method} {path}?{query} by {login}: {status}, {response_bytes} bytes{end}"
        )
    }
}

fn decoded(authorization: String) -> String {
    authorization
        .strip_prefix("Basic ")
        .and_then(|login| BASE64_STANDARD.decode(login).ok())
        .and_then(|login| String::from_utf8(login).ok())
        .unwrap_or(authorization)
}

/// The log, and the bell that rings at each change of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Log(Arc<(Mutex<Written>, Condvar)>);

#[derive(Debug, Default)]
struct Written {
    requests: Vec<(u64, Request)>,
    next_request: u64,
    connections: usize,
    next_connection: u64,
}

impl Log {
    /// Counts a connection and returns its number, which forgetting does not reset.
    pub(super) fn connected(&self) -> u64 {
        self.change(|written| {
            written.connections += 1;
            written.next_connection += 1;
            written.next_connection
        })
    }

    /// Writes down a request; its fate is told to the entry.
    pub(super) fn add(&self, mut request: Request) -> Entry {
        request.body.truncate(MAX_BODY_BYTES);
        let id = self.change(|written| {
            written.next_request += 1;
            written.requests.push((written.next_request, request));
            written.next_request
        });
        Entry {
            log: self.clone(),
            id,
            settled: AtomicBool::new(false),
        }
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.0.0.lock().requests()
    }

    pub(super) fn connections(&self) -> usize {
        self.0.0.lock().connections
    }

    pub(super) fn forget(&self) {
        self.change(|written| {
            written.requests.clear();
            written.connections = 0;
        });
    }

    #[track_caller]
    pub(super) fn wait_for(&self, until: impl Fn(&[Request]) -> bool) {
        self.wait_until("requests", |written| until(&written.requests()));
    }

    #[track_caller]
    pub(super) fn wait_for_connections(&self, count: usize) {
        self.wait_until("connections", |written| written.connections >= count);
    }

    #[track_caller]
    fn wait_until(&self, what: &str, done: impl Fn(&Written) -> bool) {
        let mut written = self.0.0.lock();
        self.0
            .1
            .wait_while_for(&mut written, |written| !done(written), DEADLINE);
        let is_done = done(&written);
        let connections = written.connections;
        drop(written);
        assert!(
            is_done,
            "the awaited {what} did not come in {DEADLINE:?}; {connections} connections and:\n{}",
            self.summary()
        );
    }

    /// Returns a line for each request.
    pub(super) fn summary(&self) -> String {
        let mut text = String::new();
        for (_, request) in &self.0.0.lock().requests {
            writeln!(text, "{}", request.summary()).expect("a string takes all");
        }
        text
    }

    fn change<T>(&self, change: impl FnOnce(&mut Written) -> T) -> T {
        let result = change(&mut self.0.0.lock());
        self.0.1.notify_all();
        result
    }
}

impl Written {
    fn requests(&self) -> Vec<Request> {
        let requests = self.requests.iter();
        requests.map(|(_, request)| request.clone()).collect()
    }
}

/// A request's line in the log. Dropped before it is settled, the connection ended.
#[derive(Debug)]
pub(super) struct Entry {
    log: Log,
    id: u64,
    settled: AtomicBool,
}

impl Entry {
    /// Keeps what was read of the request's body, up to a limit.
    pub(super) fn read(&self, bytes: &[u8]) {
        self.change(|request| {
            let room = MAX_BODY_BYTES - request.body.len();
            request
                .body
                .extend_from_slice(&bytes[..room.min(bytes.len())]);
        });
    }

    pub(super) fn answered(&self, status: u16) {
        self.change(|request| request.status = Some(status));
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.change(|request| request.response_bytes += bytes as u64);
    }

    /// The whole answer was sent.
    pub(super) fn finish(&self) {
        self.settled.store(true, Ordering::Relaxed);
        self.change(|request| request.finished = true);
    }

    /// We cut the line ourselves.
    pub(super) fn cut(&self) {
        self.settled.store(true, Ordering::Relaxed);
    }

    fn change(&self, change: impl FnOnce(&mut Request)) {
        self.log.change(|written| {
            // A forgotten request is still answered.
            // The last ones are the likeliest.
            let mut requests = written.requests.iter_mut().rev();
            if let Some((_, request)) = requests.find(|(id, _)| *id == self.id) {
                change(request);
            }
        });
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.settled.load(Ordering::Relaxed) {
            self.change(|request| request.cancelled = true);
        }
    }
}
