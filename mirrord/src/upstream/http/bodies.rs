//! The bodies and headers that gix reads and writes.

use std::{
    io::{self, BufRead, Cursor, Read, Write},
    sync::Arc,
};

use parking_lot::Mutex;
use reqwest::header::HeaderMap;

use super::HttpSession;
use crate::upstream::{answers, sideband::Listener};

/// The longest response without a pack, which is kept in memory: a list of two million refs fits.
const MAX_RESPONSE_BYTES: usize = 256 << 20;

/// The body of a request, kept until it is complete: wants and haves, a few hundred kilobytes at most.
pub(crate) struct Post(Arc<Mutex<Vec<u8>>>);

impl Write for Post {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the two ends of a POST: what gix writes, and the headers that come back after that.
pub(super) fn post(session: &HttpSession, url: &str, lines: Vec<String>) -> (Post, Head) {
    let body = Arc::new(Mutex::new(Vec::new()));
    let pending = Pending {
        session: session.clone(),
        url: url.to_owned(),
        lines,
        body: body.clone(),
    };
    (Post(body), Head(Cursor::default(), Some(pending)))
}

struct Pending {
    session: HttpSession,
    url: String,
    lines: Vec<String>,
    body: Arc<Mutex<Vec<u8>>>,
}

impl Pending {
    fn send(self) -> io::Result<Vec<u8>> {
        let body = std::mem::take(&mut *self.body.lock());
        let session = &self.session;
        let response = session
            .post_on(&self.url, self.lines, body)
            .map_err(|trouble| session.fail(trouble))?;
        answers::check_content_type(&session.0.url, response.headers(), "upload-pack-result")
            .map_err(|trouble| session.fail(trouble))?;
        let lines = header_lines(response.headers());
        session.state().response = Some(response);
        Ok(lines)
    }
}

/// The headers of a response. A POST is sent when they are first read: by then gix has written the request.
pub(crate) struct Head(Cursor<Vec<u8>>, Option<Pending>);

impl Head {
    /// The headers of a response that has come.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self(Cursor::new(header_lines(headers)), None)
    }
}

/// Returns the headers as the lines that gix reads.
fn header_lines(headers: &HeaderMap) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in headers {
        lines.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"].concat());
    }
    lines
}

impl Read for Head {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Head {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if let Some(pending) = self.1.take() {
            self.0 = Cursor::new(pending.send()?);
        }
        self.0.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.0.consume(amount);
    }
}

/// The body of the response in progress.
pub(crate) struct Body {
    session: HttpSession,
    piece: Cursor<Vec<u8>>,
    listener: Listener,
    /// The number of bytes that came and are no pack.
    bytes_beside_pack: usize,
}

impl Body {
    /// The body of the response in progress.
    pub(super) fn new(session: &HttpSession) -> Self {
        Self {
            session: session.clone(),
            piece: Cursor::default(),
            listener: Listener::default(),
            bytes_beside_pack: 0,
        }
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Body {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.piece.fill_buf()?.is_empty() {
            let response = self.session.state().response.take();
            let Some(mut response) = response else {
                return Ok(&[]);
            };
            match self.session.wait(response.chunk()) {
                Ok(Some(piece)) => {
                    if self.listener.follow(&piece, &self.session.watch()) {
                        self.session.progressed();
                    }
                    if let Some(message) = self.listener.take_refusal() {
                        let trouble =
                            answers::server_message::err_line(&self.session.0.url, &message);
                        return Err(self.session.fail(trouble));
                    }
                    self.bytes_beside_pack = if self.listener.is_in_pack() {
                        0
                    } else {
                        self.bytes_beside_pack + piece.len()
                    };
                    if self.bytes_beside_pack > MAX_RESPONSE_BYTES {
                        return Err(self.session.fail(answers::without_end(&self.session.0.url)));
                    }
                    self.piece = Cursor::new(piece.into());
                    self.session.state().response = Some(response);
                }
                Ok(None) => {}
                Err(trouble) => return Err(self.session.fail(trouble)),
            }
        }
        self.piece.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.piece.consume(amount);
    }
}
