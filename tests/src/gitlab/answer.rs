//! The way of one request, from the log to the answer.

use std::{io, sync::Arc};

use http_body_util::BodyExt;
use hyper::{
    HeaderMap, Method, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_LENGTH, LOCATION},
    http::{HeaderName, HeaderValue, request::Parts},
};

use super::{
    access::{AccessRequest, Refusal},
    cgi::{self, Call},
    faults::ReceivedBody,
    hooks, lfs,
    log::{Entry, Request},
    pauses::Moment,
    pour::{Pour, Source, pour},
    server::Shared,
};

/// An answer whose body has yet to be sent.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) source: Source,
}

impl Answer {
    pub(super) fn new(status: StatusCode, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self {
            status,
            headers: HeaderMap::from_iter([(CONTENT_LENGTH, body.len().into())]),
            source: Source::Ready(body),
        }
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a test knows its headers");
        let value = HeaderValue::from_str(value).expect("a test knows its headers");
        self.headers.append(name, value);
        self
    }
}

/// A request's body: what asks upload-pack is read at once, because faults and gates look at
/// the command in it; a push is streamed.
pub(super) enum Input {
    Whole(Bytes),
    Stream(Incoming),
}

/// Answers one request. An error closes the connection without a word.
pub(super) async fn answer(
    shared: Arc<Shared>,
    connection: u64,
    request: hyper::Request<Incoming>,
) -> io::Result<Response<Pour>> {
    // A release counts from here on, since a test may release as soon as it sees the request.
    let released = shared.faults.released();
    let (mut parts, body) = request.into_parts();
    let mut request = Request::new(connection, &parts);
    let input = if parts.uri.path().ends_with("/git-upload-pack") {
        let (body, text) = cgi::read_whole(&parts.headers, body).await?;
        request.body = text;
        Input::Whole(body)
    } else {
        Input::Stream(body)
    };
    let entry = Arc::new(shared.log.add(request.clone()));

    if let Some(gate) = shared.pauses.take(&request, Moment::Asked) {
        gate.wait().await;
    }
    let plan = shared.faults.plan(&request);
    if plan.hang_before_headers {
        released.clone().wait().await;
    }
    if plan.hang_up {
        entry.cut();
        return Err(io::Error::other("a fault hangs up"));
    }
    let (input, cut_request) = hear(plan.request, input, &mut parts, &entry).await?;
    let mut answer = match plan.instead {
        Some(answer) => answer,
        None => {
            let old = plan.old_protocol;
            real_answer(&shared, &parts, &request, input, old, &entry).await
        }
    };
    let gate = shared.pauses.take(&request, Moment::Answered);
    if gate.is_some() || plan.work_first || cut_request {
        answer.source = answer.source.read_all().await?;
    }
    if let Some(gate) = gate {
        gate.wait().await;
    }
    if plan.cut_answer || cut_request {
        entry.cut();
        return Err(io::Error::other("a fault cuts the line"));
    }

    entry.answered(answer.status.as_u16());
    let mut response = Response::new(pour(answer.source, plan.body, released, entry));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    Ok(response)
}

/// Hears as much of a request as a fault allows; tells whether the line is to be cut for it.
async fn hear(
    heard: ReceivedBody,
    input: Input,
    parts: &mut Parts,
    entry: &Entry,
) -> io::Result<(Input, bool)> {
    let bytes = match (heard, input) {
        (ReceivedBody::All, input) => return Ok((input, false)),
        (_, Input::Whole(bytes)) => bytes,
        (_, Input::Stream(body)) => {
            let body = body.collect().await.map_err(io::Error::other)?;
            let bytes = body.to_bytes();
            entry.read(&bytes);
            bytes
        }
    };
    match heard {
        ReceivedBody::UpTo(most) if (bytes.len() as u64) > most => {
            // git http-backend would wait for ever for the rest of what was announced.
            if let Some(length) = parts.headers.get_mut(CONTENT_LENGTH) {
                *length = most.into();
            }
            let most = usize::try_from(most).expect("it is less than a length");
            Ok((Input::Whole(bytes.slice(..most)), true))
        }
        ReceivedBody::InVain => {
            entry.cut();
            Err(io::Error::other("a fault cuts the line"))
        }
        ReceivedBody::All | ReceivedBody::UpTo(_) => Ok((Input::Whole(bytes), false)),
    }
}

async fn real_answer(
    shared: &Shared,
    parts: &Parts,
    request: &Request,
    input: Input,
    old_protocol: bool,
    entry: &Arc<Entry>,
) -> Answer {
    if request.path == "/api/v4/personal_access_tokens/self" {
        let token = parts.headers.get("private-token");
        let token = token.and_then(|token| token.to_str().ok());
        return shared.access.lock().about_itself(token);
    }
    if let Some(path) = request.path.strip_prefix("/api/v4/projects/") {
        return hooks::answer(shared, parts, path, input, entry).await;
    }
    let Some((repository, service)) = route(&parts.method, &request.path) else {
        return Refusal::NotFound.answer();
    };
    let Some(project) = repository.strip_suffix(".git") else {
        return with_git_suffix(shared, repository, request);
    };
    let wish = AccessRequest {
        project,
        exists: shared.memory.is_on() || shared.dir.join(repository).is_dir(),
        push: service == "git-receive-pack" || request.query.contains("service=git-receive-pack"),
        login: request.authorization.as_deref(),
    };
    let admitted = shared.access.lock().admit(&wish);
    let user = match admitted {
        Ok(user) => user,
        Err(refusal) => return refusal.answer(),
    };
    if service == lfs::BATCH {
        return lfs::answer(shared, input, entry).await;
    }
    if shared.memory.is_on() {
        let from_memory = from_memory(shared, parts, request, (project, service), input, entry);
        return from_memory.await.unwrap_or_else(|error| {
            Answer::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        });
    }
    let call = Call {
        root: &shared.dir,
        parts,
        user: user.as_deref(),
        old_protocol,
    };
    match cgi::run(&call, input, Arc::clone(entry)).await {
        Ok(answer) => answer,
        Err(error) => Answer::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// Answers what was answered before, and asks git only once.
async fn from_memory(
    shared: &Shared,
    parts: &Parts,
    request: &Request,
    (project, service): (&str, &str),
    input: Input,
    entry: &Arc<Entry>,
) -> io::Result<Answer> {
    let (real, question) = shared.memory.question(project, service, request);
    shared.memory.wait_delay().await;
    if let Some(answer) = shared.memory.answer(&question) {
        return Ok(answer);
    }
    let mut parts = parts.clone();
    let uri = format!("/{real}.git/{service}?{}", request.query);
    parts.uri = uri.parse().map_err(io::Error::other)?;
    let call = Call {
        root: &shared.dir,
        parts: &parts,
        user: None,
        old_protocol: false,
    };
    let mut answer = cgi::run(&call, input, Arc::clone(entry)).await?;
    answer.source = answer.source.read_all().await?;
    shared.memory.keep(question, &answer);
    Ok(answer)
}

/// Splits `/group/project.git/info/refs` into the repository and what is asked of it.
fn route<'a>(method: &Method, path: &'a str) -> Option<(&'a str, &'a str)> {
    let services: &[&str] = match *method {
        Method::GET => &["info/refs"],
        Method::POST => &["git-upload-pack", "git-receive-pack", lfs::BATCH],
        _ => &[],
    };
    let path = path.strip_prefix('/')?;
    // No way out of our directory.
    if path.split('/').any(|step| step == "..") {
        return None;
    }
    services.iter().find_map(|service| {
        let repository = path.strip_suffix(service)?.strip_suffix('/')?;
        Some((repository, &path[repository.len() + 1..]))
    })
}

/// GitLab redirects `info/refs`, and nothing else, to the form with `.git`.
fn with_git_suffix(shared: &Shared, repository: &str, request: &Request) -> Answer {
    if request.method != "GET" {
        return Refusal::NotFound.answer();
    }
    let (base, query) = (&shared.base, &request.query);
    let location = format!("{base}/{repository}.git/info/refs?{query}");
    Answer::new(StatusCode::MOVED_PERMANENTLY, "").header(LOCATION.as_str(), &location)
}
