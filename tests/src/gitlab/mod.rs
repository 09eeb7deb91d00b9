//! A GitLab to talk to: real `git http-backend` behind HTTP, with GitLab's own answers to
//! wrong logins and unknown projects, and with every fault a network can have, on request.
//!
//! A request passes, in this order: the log ([`Request`]), the pauses ([`Paused`]), the
//! [`Fault`]s, the redirect to `.git`, the login, `git http-backend`.

mod access;
mod answer;
pub(crate) mod certificate;
mod cgi;
mod faults;
mod hooks;
mod lfs;
mod log;
mod memory;
mod pauses;
mod pour;
mod server;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    thread,
};

use parking_lot::Mutex;
use rustls::ServerConfig;
use tempfile::TempDir;
use tokio::{
    net::TcpSocket,
    runtime::{self, Runtime},
};

use crate::Project;
use access::Access;
use certificate::Certificate;
pub use faults::{Fault, On};
pub use log::Request;
use pauses::Moment;
pub use pauses::Paused;
use server::{Deaf, Listening, Shared};

/// The configuration that GitLab sets on each repository, see its `internal/git/gitcmd/command_description.go`.
const LIKE_GITLAB: &str = "
[http]
	receivepack = true
[uploadpack]
	allowFilter = true
	allowAnySHA1InWant = true
[receive]
	advertisePushOptions = true
	fsckObjects = true
	autogc = false
	hideRefs = refs/environments/
	hideRefs = refs/merge-requests/
	hideRefs = refs/pipelines/
[receive \"fsck\"]
	badTimezone = ignore
	missingSpaceBeforeDate = ignore
	zeroPaddedFilemode = ignore
[transfer]
	hideRefs = refs/keep-around/
	hideRefs = refs/remotes/
	hideRefs = refs/tmp/
";

/// A GitLab on a port of its own. Dropping it stops it; a failing test prints its log.
#[derive(Debug)]
pub struct GitLab {
    listening: Mutex<Option<Listening>>,
    deaf: Mutex<Option<Deaf>>,
    shared: Arc<Shared>,
    runtime: Runtime,
    tls: Option<Arc<ServerConfig>>,
    ca_file: PathBuf,
    /// Bound for life but never listening: keeps the port ours while GitLab is down.
    port: TcpSocket,
    /// Another such socket: an address that refuses every connection.
    refused: TcpSocket,
    /// Outside the world, so that the world's search for left-over processes spares ours.
    dir: TempDir,
}

impl GitLab {
    /// Starts one that speaks plain http.
    pub fn http() -> Self {
        Self::begin(None)
    }

    /// Starts one that speaks https under a CA of its own.
    pub fn https() -> Self {
        Self::begin(Some(Certificate::valid()))
    }

    /// Starts one whose certificate expired long ago.
    pub fn expired() -> Self {
        Self::begin(Some(Certificate::expired()))
    }

    fn begin(certificate: Option<Certificate>) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("mgl")
            .tempdir_in(crate::world::dir())
            .expect("a directory in /tmp can be made");
        let ca_file = dir.path().join("ca.pem");
        if let Some(certificate) = &certificate {
            fs::write(&ca_file, &certificate.ca_pem).expect("our directory is writable");
        }
        let port = reserved_port();
        let scheme = certificate.as_ref().map_or("http", |_| "https");
        let base = format!("{scheme}://{}", address(&port));
        let gitlab = Self {
            listening: Mutex::default(),
            deaf: Mutex::default(),
            shared: Arc::new(Shared::new(dir.path(), base)),
            runtime: runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .expect("a thread can be started"),
            tls: certificate.map(Certificate::into_config),
            ca_file,
            port,
            refused: reserved_port(),
            dir,
        };
        gitlab.start();
        gitlab
    }

    /// Creates a public project; anyone may read it, and push to it as long as it has no
    /// login.
    #[track_caller]
    pub fn project(&self, path: &str) -> Project {
        like_gitlab(Project::new(self.project_dir(path)))
    }

    /// Creates a public project with SHA-256 object ids.
    #[track_caller]
    pub fn sha256_project(&self, path: &str) -> Project {
        like_gitlab(Project::sha256(self.project_dir(path)))
    }

    /// Deletes a project, as its owner may at any time.
    #[track_caller]
    pub fn delete_project(&self, path: &str) {
        fs::remove_dir_all(self.project_dir(path)).expect("the project exists");
    }

    /// Returns the directory of all its projects.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn project_dir(&self, path: &str) -> PathBuf {
        self.dir.path().join(format!("{path}.git"))
    }

    /// Returns a project's clone URL, whether or not the project exists.
    pub fn url(&self, path: &str) -> String {
        format!("{}/{path}.git", self.shared.base)
    }

    /// Returns host and port.
    pub fn host(&self) -> String {
        address(&self.port)
    }

    /// Returns the PEM file of the CA that signed the certificate, for `http.sslCAInfo`.
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// Returns the URL of a project where nobody listens: connection refused.
    pub fn refused_address(&self) -> String {
        format!("http://{}/group/project.git", address(&self.refused))
    }

    /// Goes down: closes every connection and refuses new ones. The port stays reserved.
    pub fn stop(&self) {
        if let Some(listening) = self.listening.lock().take() {
            self.runtime.block_on(listening.stop());
        }
    }

    /// Vanishes: closes every connection, and never answers a new one, as behind a firewall that drops packets.
    pub fn vanish(&self) {
        self.stop();
        let address = self.port.local_addr().expect("the port is bound");
        *self.deaf.lock() = Some(self.runtime.block_on(Deaf::new(address)));
    }

    /// Comes back at the same address after [`stop`](Self::stop) or [`vanish`](Self::vanish).
    #[track_caller]
    pub fn start(&self) {
        let mut listening = self.listening.lock();
        assert!(listening.is_none(), "GitLab is already up");
        self.deaf.lock().take();
        let _context = self.runtime.enter();
        let address = self.port.local_addr().expect("the port is bound");
        *listening = Some(Listening::start(address, self.tls.clone(), &self.shared));
    }

    /// Closes every open connection, as a server or a NAT does with idle ones.
    pub fn close_connections(&self) {
        if let Some(listening) = &*self.listening.lock() {
            self.runtime.block_on(listening.close_connections());
        }
    }

    /// Makes a project private and lets this login in. May be called for several logins.
    pub fn require_login(&self, project: &str, user: &str, token: &str) {
        self.access(|access| access.allow(project, user, token, true));
    }

    /// Keeps a project public to read, and asks for this login to push.
    pub fn require_login_to_push(&self, project: &str, user: &str, token: &str) {
        self.access(|access| access.allow(project, user, token, false));
    }

    /// Makes every token of a user unknown from now on; what was private stays private.
    pub fn revoke(&self, user: &str) {
        self.access(|access| access.revoke(user));
    }

    /// Sets when a token expires: on this date, or never. Other tokens may not ask.
    pub fn expires(&self, token: &str, date: Option<&str>) {
        self.access(|access| access.expires(token, date));
    }

    /// Answers 403 to this user's right token, as GitLab does to the blocked and the banned.
    pub fn forbid(&self, user: &str) {
        self.access(|access| access.forbid(user));
    }

    /// Switches large files off, as an administrator may for all projects.
    pub fn switch_lfs_off(&self) {
        self.shared.without_lfs.store(true, Ordering::Relaxed);
    }

    /// Answers 401 instead of 404 to those who ask for an unknown project without a login,
    /// as GitLab does, so that nobody learns which projects exist.
    pub fn hide_unknown(&self) {
        self.access(Access::hide_unknown);
    }

    fn access<T>(&self, change: impl FnOnce(&mut Access) -> T) -> T {
        change(&mut self.shared.access.lock())
    }

    /// Returns every request since the start or the last
    /// [`forget_requests`](Self::forget_requests), in order of arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.log.requests()
    }

    /// Forgets the requests and the count of connections.
    pub fn forget_requests(&self) {
        self.shared.log.forget();
    }

    /// Returns how many connections were accepted; see [`Request::connection`] for who used
    /// which.
    pub fn connections(&self) -> usize {
        self.shared.log.connections()
    }

    /// Waits until the requests are as the test needs them; panics after 30 s.
    #[track_caller]
    pub fn wait_for(&self, until: impl Fn(&[Request]) -> bool) {
        self.shared.log.wait_for(until);
    }

    /// Waits until this many connections were accepted; panics after 30 s.
    #[track_caller]
    pub fn wait_for_connections(&self, count: usize) {
        self.shared.log.wait_for_connections(count);
    }

    /// Adds a fault for the requests that follow. Of several faults the first that fits a request
    /// applies, so that `times(1)` makes a sequence; old protocol and rate limit join any other.
    pub fn fault(&self, fault: Fault) {
        self.shared.faults.add(fault);
    }

    /// Ends all faults, and releases all requests that hang.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// Releases all requests that hang by now; later ones hang again.
    pub fn release(&self) {
        self.shared.faults.release();
    }

    /// Pauses the next matching request on arrival: its answer has what the project is when it is
    /// released.
    pub fn pause(&self, on: On) -> Paused {
        self.shared.pauses.add(on, Moment::Asked)
    }

    /// Pauses the answer to the next matching request when it is complete: the answer has what the
    /// project was before.
    pub fn pause_answer(&self, on: On) -> Paused {
        self.shared.pauses.add(on, Moment::Answered)
    }
}

impl Drop for GitLab {
    #[allow(clippy::print_stderr, reason = "a failing test shows what GitLab saw")]
    fn drop(&mut self) {
        self.stop();
        if thread::panicking() {
            let backend = fs::read(cgi::stderr_file(self.dir.path())).unwrap_or_default();
            eprintln!(
                "--- GitLab saw\n{}--- git http-backend said\n{}---",
                self.shared.log.summary(),
                String::from_utf8_lossy(&backend)
            );
        }
    }
}

fn like_gitlab(project: Project) -> Project {
    fs::OpenOptions::new()
        .append(true)
        .open(project.dir().join("config"))
        .and_then(|mut config| config.write_all(LIKE_GITLAB.as_bytes()))
        .expect("a new repository has a config");
    project
}

/// Binds a port that nobody else gets and that refuses connections until another socket,
/// which may share it because neither listens yet, does listen.
fn reserved_port() -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket can be made");
    socket.set_reuseaddr(true).expect("a new socket can be set");
    socket
        .bind(([127, 0, 0, 1], 0).into())
        .expect("a port is free");
    socket
}

fn address(socket: &TcpSocket) -> String {
    socket.local_addr().expect("the port is bound").to_string()
}
