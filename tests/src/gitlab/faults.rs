//! Faults of the network and of GitLab, on request of a test.

use std::mem;

use hyper::StatusCode;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{answer::Answer, lfs, log::Request, pour::BodyFaults};

/// The requests that a fault or a pause is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum On {
    /// Every request.
    Any,
    /// `GET info/refs`, for fetches and pushes.
    InfoRefs,
    /// `GET info/refs` of a push.
    PushInfoRefs,
    /// `POST git-upload-pack` with `command=ls-refs`.
    LsRefs,
    /// `POST git-upload-pack` that asks for objects, in any protocol version.
    Fetch,
    /// `POST git-receive-pack`.
    Push,
    /// `POST git-receive-pack` of a git, and not of the daemon.
    PushOfGit,
    /// The question of git-lfs after files.
    Lfs,
}

impl On {
    pub(super) fn fits(self, request: &Request) -> bool {
        let body = request.body_text();
        let command = |name| body.contains(name);
        let asks = request.path.ends_with("/git-upload-pack");
        let advertises = request.path.ends_with("/info/refs");
        match self {
            Self::Any => true,
            Self::InfoRefs => advertises,
            Self::PushInfoRefs => advertises && request.query.contains("git-receive-pack"),
            Self::LsRefs => asks && command("command=ls-refs"),
            Self::Fetch => asks && (command("command=fetch") || !command("command=")),
            Self::Push => request.path.ends_with("/git-receive-pack"),
            Self::PushOfGit => {
                let is_daemon = |(name, value): &(String, String)| {
                    name == "user-agent" && value.contains("mirrord")
                };
                Self::Push.fits(request) && !request.headers.iter().any(is_daemon)
            }
            Self::Lfs => request.path.ends_with(lfs::BATCH),
        }
    }
}

/// Something that goes wrong: on every request and until
/// [`clear_faults`](crate::GitLab::clear_faults), unless narrowed.
#[must_use = "hand it to GitLab::fault()"]
#[derive(Clone, Debug)]
pub struct Fault {
    what: What,
    on: On,
    project: Option<String>,
    times: Option<usize>,
}

#[derive(Clone, Debug)]
enum What {
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    HangUp,
    HangOnAccept,
    ResetOnAccept,
    HangBeforeHeaders,
    HangAfter(u64),
    CutAfter(u64),
    CutRequestAfter(u64),
    CutAfterRequest,
    CutAfterWork(Option<u64>),
    FlipAt(u64),
    OldProtocol,
    RateLimit(u64),
}

impl Fault {
    /// A push that the daemon sends is refused once, because it has no length or for another such reason. The client's git
    /// sends it then.
    pub fn leaves_push_to_git() -> Self {
        Self::status(411).on(On::Push).times(1)
    }

    fn new(what: What) -> Self {
        Self {
            what,
            on: On::Any,
            project: None,
            times: None,
        }
    }

    /// Answers this status and nothing else.
    pub fn status(status: u16) -> Self {
        Self::new(What::Answer {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        })
    }

    /// Answers with a redirect to this location.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::status(status).header("Location", location)
    }

    /// Answers 200 with a page to sign in, as a captive portal does.
    pub fn html() -> Self {
        Self::status(200)
            .header("Content-Type", "text/html; charset=utf-8")
            .body("<!DOCTYPE html>\n<title>Welcome</title>\n<p>Please sign in to the network.\n")
    }

    /// Answers such a request with an `ERR` line of git's protocol and status 200.
    pub fn err_line(on: On, message: &str) -> Self {
        let line = |text: &str| format!("{:04x}{text}", text.len() + 4);
        let answer = line(&format!("ERR {message}"));
        let (kind, body) = match on {
            On::InfoRefs => {
                let service = line("# service=git-upload-pack\n");
                (
                    "upload-pack-advertisement",
                    format!("{service}0000{answer}"),
                )
            }
            _ => ("upload-pack-result", answer),
        };
        Self::status(200)
            .header("Content-Type", &format!("application/x-git-{kind}"))
            .body(body)
            .on(on)
    }

    /// Closes the connection without an answer.
    pub fn hang_up() -> Self {
        Self::new(What::HangUp)
    }

    /// Accepts the connection and reads nothing, not even the TLS greeting. It looks at no
    /// request, so [`on`](Self::on) and [`project`](Self::project) mean nothing here.
    pub fn hang_on_accept() -> Self {
        Self::new(What::HangOnAccept)
    }

    /// Accepts the connection and resets it. It looks at no request, either.
    pub fn reset_on_accept() -> Self {
        Self::new(What::ResetOnAccept)
    }

    /// Reads the request and says nothing.
    pub fn hang_before_headers() -> Self {
        Self::new(What::HangBeforeHeaders)
    }

    /// Sends the headers and no body.
    pub fn hang_after_headers() -> Self {
        Self::hang_after(0)
    }

    /// Sends this much of the body and no more.
    pub fn hang_after(bytes: u64) -> Self {
        Self::new(What::HangAfter(bytes))
    }

    /// Closes the connection after this much of the body.
    pub fn cut_after(bytes: u64) -> Self {
        Self::new(What::CutAfter(bytes))
    }

    /// Closes the connection after this much of the request's body; the server works with what it
    /// got, and nobody hears how that went. A request that is not longer is let through.
    pub fn cut_request_after(bytes: u64) -> Self {
        Self::new(What::CutRequestAfter(bytes))
    }

    /// Reads the whole request, does nothing about it, and closes the connection.
    pub fn cut_after_request() -> Self {
        Self::new(What::CutAfterRequest)
    }

    /// Does all that was asked, and closes the connection without an answer.
    pub fn cut_after_work() -> Self {
        Self::new(What::CutAfterWork(None))
    }

    /// Does all that was asked, and closes the connection after this much of the answer's body.
    pub fn cut_answer_after(bytes: u64) -> Self {
        Self::new(What::CutAfterWork(Some(bytes)))
    }

    /// Flips the lowest bit of one byte of the body, counted from 0.
    pub fn flip_at(byte: u64) -> Self {
        Self::new(What::FlipAt(byte))
    }

    /// Ignores `Git-Protocol`, as a server does that knows only version 0.
    pub fn old_protocol() -> Self {
        Self::new(What::OldProtocol)
    }

    /// Sends no more than this many bytes of a body in a second.
    pub fn rate_limit(bytes_per_second: u64) -> Self {
        Self::new(What::RateLimit(bytes_per_second))
    }

    /// Adds a header to the answer.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let What::Answer { headers, .. } = &mut self.what {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Gives the answer a body.
    pub fn body(mut self, bytes: impl AsRef<[u8]>) -> Self {
        if let What::Answer { body, .. } = &mut self.what {
            bytes.as_ref().clone_into(body);
        }
        self
    }

    /// Narrows it to some requests.
    pub fn on(mut self, on: On) -> Self {
        self.on = on;
        self
    }

    /// Narrows it to one project.
    pub fn project(mut self, path: &str) -> Self {
        self.project = Some(format!("/{path}.git/"));
        self
    }

    /// Narrows it to the next `n` requests that fit.
    pub fn times(mut self, n: usize) -> Self {
        self.times = Some(n);
        self
    }

    fn fits(&self, request: &Request) -> bool {
        let project = self.project.as_ref();
        !matches!(self.what, What::HangOnAccept | What::ResetOnAccept)
            && project.is_none_or(|path| request.path.starts_with(path.as_str()))
            && self.on.fits(request)
    }

    /// Tells whether it only colours an answer, so that another fault may apply as well.
    fn joins_others(&self) -> bool {
        matches!(self.what, What::OldProtocol | What::RateLimit(_))
    }

    /// Takes one of its times; `false` when there is none left.
    fn spend(&mut self) -> bool {
        match &mut self.times {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

/// The faults of one request.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) hang_before_headers: bool,
    pub(super) hang_up: bool,
    pub(super) instead: Option<Answer>,
    pub(super) old_protocol: bool,
    pub(super) request: ReceivedBody,
    /// The server's work is done before anything of its answer is sent.
    pub(super) work_first: bool,
    /// Nothing of the answer is sent.
    pub(super) cut_answer: bool,
    pub(super) body: BodyFaults,
}

/// How much of a request's body the server receives before the connection is cut.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum ReceivedBody {
    /// All of it; the connection stays.
    #[default]
    All,
    /// This many bytes, if there are more.
    UpTo(u64),
    /// All of it, and the server receives nothing.
    InVain,
}

impl Plan {
    fn apply(&mut self, what: &What) {
        match what {
            What::Answer {
                status,
                headers,
                body,
            } => {
                let status = StatusCode::from_u16(*status).expect("a test knows its status");
                let answer = Answer::new(status, body.clone());
                let with =
                    |answer: Answer, (name, value): &(String, String)| answer.header(name, value);
                self.instead = Some(headers.iter().fold(answer, with));
            }
            What::HangUp => self.hang_up = true,
            What::HangOnAccept | What::ResetOnAccept => {}
            What::HangBeforeHeaders => self.hang_before_headers = true,
            What::HangAfter(bytes) => self.body.hang_after = Some(*bytes),
            What::CutAfter(bytes) => self.body.cut_after = Some(*bytes),
            What::CutRequestAfter(bytes) => self.request = ReceivedBody::UpTo(*bytes),
            What::CutAfterRequest => self.request = ReceivedBody::InVain,
            What::CutAfterWork(bytes) => {
                self.work_first = true;
                self.body.cut_after = *bytes;
                self.cut_answer = bytes.is_none();
            }
            What::FlipAt(byte) => self.body.flip_at = Some(*byte),
            What::OldProtocol => self.old_protocol = true,
            What::RateLimit(rate) => self.body.bytes_per_second = Some(*rate),
        }
    }
}

/// The faults in force, and the bell that frees what hangs.
#[derive(Debug, Default)]
pub(super) struct Faults {
    inner: Mutex<Vec<Fault>>,
    release: watch::Sender<u64>,
}

impl Faults {
    pub(super) fn add(&self, fault: Fault) {
        self.inner.lock().push(fault);
    }

    pub(super) fn clear(&self) {
        drop(mem::take(&mut *self.inner.lock()));
        self.release();
    }

    pub(super) fn release(&self) {
        self.release.send_modify(|count| *count += 1);
    }

    /// Returns a handle that is free as soon as there is a release after this call.
    pub(super) fn released(&self) -> Released {
        Released(self.release.subscribe())
    }

    pub(super) fn hangs_on_accept(&self) -> bool {
        self.inner
            .lock()
            .iter_mut()
            .any(|fault| matches!(fault.what, What::HangOnAccept) && fault.spend())
    }

    pub(super) fn resets_on_accept(&self) -> bool {
        self.inner
            .lock()
            .iter_mut()
            .any(|fault| matches!(fault.what, What::ResetOnAccept) && fault.spend())
    }

    /// Decides about one request, and counts it where a fault counts.
    pub(super) fn plan(&self, request: &Request) -> Plan {
        let mut plan = Plan::default();
        let mut spoiled = false;
        for fault in &mut *self.inner.lock() {
            if fault.fits(request) && (fault.joins_others() || !spoiled) && fault.spend() {
                spoiled |= !fault.joins_others();
                plan.apply(&fault.what);
            }
        }
        plan
    }
}

/// Waits for the release of what hangs.
#[derive(Clone, Debug)]
pub(super) struct Released(watch::Receiver<u64>);

impl Released {
    pub(super) async fn wait(mut self) {
        // An error means that GitLab is gone; nothing hangs longer than that.
        let _ = self.0.changed().await;
    }
}
