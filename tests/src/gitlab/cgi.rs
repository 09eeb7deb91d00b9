//! Runs `git http-backend` for one request, as a web server does (RFC 3875).

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, OnceLock};

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::http::request::Parts;
use hyper::http::{HeaderName, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::answer::{Answer, Input};
use super::log::Entry;
use super::pour::Source;

/// A request to the backend, without its body.
pub(super) struct Call<'a> {
    pub(super) root: &'a Path,
    pub(super) parts: &'a Parts,
    pub(super) user: Option<&'a str>,
    pub(super) old_protocol: bool,
}

/// The file with the backend's stderr, for tests that fail.
pub(super) fn stderr_file(root: &Path) -> PathBuf {
    root.join("http-backend.log")
}

/// Starts the backend and returns once it has said its headers.
pub(super) async fn run(call: &Call<'_>, input: Input, entry: Arc<Entry>) -> io::Result<Answer> {
    let mut child = command(call)?.spawn()?;
    let stdin = child.stdin.take().expect("stdin is piped");
    let stdout = child.stdout.take().expect("stdout is piped");
    tokio::spawn(feed(stdin, input, entry));
    let mut backend = Backend {
        child,
        stdout: BufReader::new(stdout),
    };
    let (status, headers) = backend.read_headers().await?;
    Ok(Answer {
        status,
        headers,
        source: Source::Backend(Box::new(backend)),
    })
}

fn command(call: &Call<'_>) -> io::Result<Command> {
    let Call { root, parts, .. } = call;
    let log = File::options()
        .create(true)
        .append(true)
        .open(stderr_file(root))?;
    let mut command = Command::new(http_backend());
    command
        .current_dir(root)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("HOME", root)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("LC_ALL", "C")
        .env("GIT_TEST_FSYNC", "0")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GATEWAY_INTERFACE", "CGI/1.1")
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("REMOTE_ADDR", "127.0.0.1")
        .envs(call.user.map(|user| ("REMOTE_USER", user)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .process_group(0)
        .kill_on_drop(true);
    for (header, variable) in [
        ("content-type", "CONTENT_TYPE"),
        ("content-length", "CONTENT_LENGTH"),
        ("content-encoding", "HTTP_CONTENT_ENCODING"),
        ("git-protocol", "GIT_PROTOCOL"),
    ] {
        if let Some(value) = parts.headers.get(header).and_then(|it| it.to_str().ok())
            && !(call.old_protocol && header == "git-protocol")
        {
            command.env(variable, value);
        }
    }
    Ok(command)
}

/// Finds the program itself: `git http-backend` would be one more process per request.
fn http_backend() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let git = std::process::Command::new("git")
            .arg("--exec-path")
            .output()
            .expect("git is installed");
        let dir = String::from_utf8(git.stdout).expect("git lives in a plain directory");
        Path::new(dir.trim()).join("git-http-backend")
    })
}

async fn feed(mut stdin: ChildStdin, input: Input, entry: Arc<Entry>) {
    match input {
        // A backend that does not read to the end has its reasons.
        Input::Whole(bytes) => {
            let _ = stdin.write_all(&bytes).await;
        }
        Input::Stream(mut body) => {
            while let Some(Ok(frame)) = body.frame().await {
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                entry.read(&data);
                if stdin.write_all(&data).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// A running backend. Dropped before its end, as when the client went away, it is killed
/// with its children.
#[derive(Debug)]
pub(super) struct Backend {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Backend {
    async fn read_headers(&mut self) -> io::Result<(StatusCode, HeaderMap)> {
        let mut status = StatusCode::OK;
        let mut headers = HeaderMap::new();
        loop {
            let mut line = String::new();
            if self.stdout.read_line(&mut line).await? == 0 {
                return Err(io::Error::other("git http-backend ended before its answer"));
            }
            let line = line.trim_end();
            if line.is_empty() {
                return Ok((status, headers));
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| io::Error::other(format!("not a header: '{line}'")))?;
            let value = value.trim();
            if name.eq_ignore_ascii_case("status") {
                // `Status: 404 Not Found`
                status = value
                    .get(..3)
                    .and_then(|code| code.parse().ok())
                    .ok_or_else(|| io::Error::other(format!("not a status: '{value}'")))?;
            } else {
                let name = HeaderName::from_bytes(name.as_bytes()).map_err(io::Error::other)?;
                headers.append(
                    name,
                    HeaderValue::from_str(value).map_err(io::Error::other)?,
                );
            }
        }
    }

    /// Returns the next piece of the body. At its end the program has ended, too, so that a
    /// client that has its answer never races with the rest of the server's work.
    pub(super) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut chunk = Vec::with_capacity(32 * 1024);
        if self.stdout.read_buf(&mut chunk).await? > 0 {
            return Ok(Some(chunk.into()));
        }
        // Its exit code repeats what the answer says already.
        self.child.wait().await?;
        Ok(None)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // Without an id the child was waited for.
        let pid = self
            .child
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(group) = pid {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Reads a body that asks upload-pack; returns it as it came, and uncompressed.
///
/// git compresses what is longer than a kilobyte.
pub(super) async fn read_whole(
    headers: &HeaderMap,
    body: Incoming,
) -> io::Result<(Bytes, Vec<u8>)> {
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let encoding = headers.get("content-encoding");
    if encoding.is_none_or(|encoding| encoding != "gzip") {
        let text = body.to_vec();
        return Ok((body, text));
    }
    let mut gzip = Command::new("gzip")
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = gzip.stdin.take().expect("stdin is piped");
    let compressed = body.clone();
    tokio::spawn(async move { stdin.write_all(&compressed).await });
    let text = gzip.wait_with_output().await?.stdout;
    Ok((body, text))
}
