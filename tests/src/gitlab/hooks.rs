//! The hooks of projects, by GitLab's own API; see its `doc/api/project_webhooks.md` and `app/services/web_hook_service.rb`.

use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::{Method, StatusCode, header::CONTENT_TYPE, http::request::Parts};
use parking_lot::MutexGuard;
use serde_json::{Value, json};

use super::{
    GitLab,
    answer::{Answer, Input},
    log::Entry,
    server::Shared,
};
use crate::delivery::{self, Delivery};

/// The number of failures in a row after which GitLab switches a hook off for a while.
const MAX_FAILURES: u64 = 4;

/// The fields that can be set and are shown. Tokens are set and not shown.
const FIELDS: [&str; 7] = [
    "url",
    "name",
    "push_events",
    "tag_push_events",
    "push_events_branch_filter",
    "branch_filter_strategy",
    "enable_ssl_verification",
];

/// The hooks of all projects.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    maintainers: Vec<(String, String)>,
    hooks: Vec<Hook>,
    next: u64,
    deliveries: u64,
    never_signs: bool,
    refuses_local: bool,
}

#[derive(Debug)]
struct Hook {
    id: u64,
    project: String,
    /// The fields of its form, with the tokens.
    fields: Value,
    failures: u64,
    events: Vec<Value>,
}

/// The status and the body of an answer.
type Response = (StatusCode, Value);

/// The status and the body of the answer to a refused request.
type Refusal = (StatusCode, Value);

impl GitLab {
    /// Lets whoever has this token see and change the hooks of a project.
    pub fn maintainer(&self, project: &str, token: &str) {
        let maintainer = (project.into(), token.into());
        self.hooks().maintainers.push(maintainer);
    }

    /// Makes this a GitLab that cannot sign deliveries, as before version 19.
    pub fn without_signing(&self) {
        self.hooks().never_signs = true;
    }

    /// Refuses hooks that lead into the local network, as GitLab does unless it is told otherwise.
    pub fn refuse_local_hooks(&self) {
        self.hooks().refuses_local = true;
    }

    /// Returns the hooks of a project as its own form shows them, with what is secret in them.
    pub fn hooks_of(&self, project: &str) -> Vec<Value> {
        let hooks = self.hooks();
        let hooks = hooks.hooks.iter().filter(|hook| hook.project == project);
        hooks.map(|hook| hook.fields.clone()).collect()
    }

    /// Changes a field of all hooks of a project, as somebody does in the form, or GitLab itself.
    pub fn change_hooks(&self, project: &str, field: &str, value: Value) {
        self.hooks().change(project, field, &value);
    }

    /// Sends the deliveries of a project's hooks for a push of `main`; returns the status of each answer.
    #[track_caller]
    pub fn deliver(&self, project: &str) -> Vec<u16> {
        let deliveries = self.hooks().push_deliveries(project);
        let answers = deliveries.into_iter().map(|(id, delivery)| {
            let answer = delivery.send();
            self.hooks().record(id, &answer);
            answer.status
        });
        answers.collect()
    }

    fn hooks(&self) -> MutexGuard<'_, Hooks> {
        self.shared.hooks.lock()
    }
}

impl Hooks {
    fn change(&mut self, project: &str, field: &str, value: &Value) {
        let hooks = self.hooks.iter_mut().filter(|hook| hook.project == project);
        hooks.for_each(|hook| hook.fields[field] = value.clone());
    }

    /// Returns what each hook of a project sends after a push.
    fn push_deliveries(&mut self, project: &str) -> Vec<(u64, Delivery)> {
        let ids: Vec<_> = self
            .hooks
            .iter()
            .filter(|hook| hook.project == project && hook.fields["push_events"] == json!(true))
            .filter(|hook| hook.fields["alert_status"] == json!("executable"))
            .map(|hook| hook.id)
            .collect();
        ids.into_iter()
            .map(|id| (id, self.delivery(id).expect("it is one of ours")))
            .collect()
    }

    /// A delivery of a push, with the secrets of the hook.
    fn delivery(&mut self, id: u64) -> Option<Delivery> {
        self.deliveries += 1;
        let key = format!("{:08x}-1c7e-4c1f-9c1e-000000000000", self.deliveries);
        let hook = self.hooks.iter().find(|hook| hook.id == id)?;
        let text = |field: &str| hook.fields[field].as_str().unwrap_or_default();
        let body = json!({
            "object_kind": "push",
            "event_name": "push",
            "before": "95790bf891e76fee5e1747ab589903a6a1f80f22",
            "after": "da1560886d4f094c3e6c9ef40349f7d38b5d27d7",
            "ref": "refs/heads/main",
            "project": { "path_with_namespace": hook.project },
        });
        let mut delivery = Delivery::of_gitlab(text("url"), "Push Hook", body.to_string());
        delivery = match text("token") {
            "" => delivery,
            token => delivery.token(token),
        };
        Some(match text("signing_token") {
            "" => delivery.header("Idempotency-Key", &key),
            token => delivery.signed(token, &key, Delivery::now()),
        })
    }

    /// Records the answer to a delivery, and switches the hook off if it fails again and again.
    fn record(&mut self, id: u64, answer: &delivery::Answer) {
        let Some(hook) = self.hooks.iter_mut().find(|hook| hook.id == id) else {
            return;
        };
        let is_fine = (200..400).contains(&answer.status);
        hook.failures = if is_fine { 0 } else { hook.failures + 1 };
        let (status, until) = match hook.failures < MAX_FAILURES {
            true => ("executable", Value::Null),
            false => ("temporarily_disabled", json!("2026-11-26T03:00:00.000Z")),
        };
        hook.fields["alert_status"] = json!(status);
        hook.fields["disabled_until"] = until;
        let event = json!({
            "id": hook.events.len() + 1,
            "url": hook.fields["url"],
            "trigger": "push_hooks",
            "request_headers": { "X-Gitlab-Token": "[REDACTED]" },
            "response_headers": { "Date": answer.header("date") },
            "response_body": answer.body,
            "execution_duration": 0.012,
            "response_status": answer.status.to_string(),
        });
        hook.events.insert(0, event);
    }

    /// Checks that a token belongs to a maintainer of the project.
    fn authorize(&self, project: &str, token: Option<&str>) -> Result<(), Refusal> {
        let refuse = |status, message: &str| Err((status, json!({ "message": message })));
        let known = |(_, one): &&(String, String)| Some(one.as_str()) == token;
        let mut of_token = self.maintainers.iter().filter(known).peekable();
        if of_token.peek().is_none() {
            return refuse(StatusCode::UNAUTHORIZED, "401 Unauthorized");
        }
        match of_token.any(|(one, _)| one == project) {
            true => Ok(()),
            false => refuse(StatusCode::NOT_FOUND, "404 Project Not Found"),
        }
    }

    /// Sets the fields that the request names.
    fn set(&self, hook: &mut Value, wanted: &Value) -> Result<(), Refusal> {
        let url = wanted["url"].as_str().unwrap_or_default();
        if !url.starts_with("http") {
            let message = json!({ "error": "Invalid url given" });
            return Err((StatusCode::UNPROCESSABLE_ENTITY, message));
        }
        if self.refuses_local && url.contains("://127.") {
            let message = "Invalid url given: Requests to localhost are not allowed";
            return Err((
                StatusCode::UNPROCESSABLE_ENTITY,
                json!({ "error": message }),
            ));
        }
        if hook["url"] != wanted["url"] {
            hook["token"] = Value::Null;
        }
        let secret = match self.never_signs {
            true => &["token"][..],
            false => &["token", "signing_token"],
        };
        for field in FIELDS.iter().chain(secret) {
            if let Some(value) = wanted.get(field) {
                hook[field] = value.clone();
            }
        }
        Ok(())
    }

    /// A hook as the API shows it.
    fn to_json(&self, hook: &Hook) -> Value {
        let mut object = hook.fields.clone();
        let is_there = |field: &str| json!(hook.fields[field].is_string());
        object["id"] = json!(hook.id);
        object["token_present"] = is_there("token");
        if !self.never_signs {
            object["signing_token_present"] = is_there("signing_token");
        }
        let fields = object.as_object_mut().expect("it is an object");
        fields.remove("token");
        fields.remove("signing_token");
        object
    }

    /// Returns the index of a hook.
    fn find(&mut self, project: &str, id: &str) -> Result<usize, Refusal> {
        let is_wanted = |hook: &Hook| hook.project == project && hook.id.to_string() == id;
        let missing = json!({ "message": "404 Not found" });
        let found = self.hooks.iter().position(is_wanted);
        found.ok_or((StatusCode::NOT_FOUND, missing))
    }

    /// Answers a request of the API; `steps` is the path below `hooks`.
    fn answer(
        &mut self,
        method: &Method,
        project: &str,
        steps: &[&str],
        wanted: &Value,
    ) -> Result<Response, Refusal> {
        match (method, steps) {
            (&Method::GET, []) => {
                let hooks = self.hooks.iter().filter(|hook| hook.project == project);
                Ok((
                    StatusCode::OK,
                    hooks.map(|hook| self.to_json(hook)).collect(),
                ))
            }
            (&Method::POST, []) => {
                let mut fields = json!({
                    "push_events": true,
                    "tag_push_events": false,
                    "push_events_branch_filter": "",
                    "enable_ssl_verification": true,
                    "alert_status": "executable",
                    "disabled_until": null,
                });
                self.set(&mut fields, wanted)?;
                self.next += 1;
                let hook = Hook {
                    id: self.next,
                    project: project.to_owned(),
                    fields,
                    failures: 0,
                    events: Vec::new(),
                };
                let shown = self.to_json(&hook);
                self.hooks.push(hook);
                Ok((StatusCode::CREATED, shown))
            }
            (&Method::PUT, [id]) => {
                let at = self.find(project, id)?;
                let mut fields = self.hooks[at].fields.clone();
                self.set(&mut fields, wanted)?;
                self.hooks[at].fields = fields;
                Ok((StatusCode::OK, self.to_json(&self.hooks[at])))
            }
            (&Method::GET, [id, "events"]) => {
                let at = self.find(project, id)?;
                Ok((StatusCode::OK, json!(self.hooks[at].events)))
            }
            _ => Err((StatusCode::NOT_FOUND, json!({ "error": "404 Not Found" }))),
        }
    }
}

/// Answers a request of the API. The path begins with the project.
pub(super) async fn answer(
    shared: &Shared,
    parts: &Parts,
    path: &str,
    input: Input,
    entry: &Arc<Entry>,
) -> Answer {
    let body = match input {
        Input::Whole(bytes) => bytes,
        Input::Stream(body) => match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return Answer::new(StatusCode::BAD_REQUEST, error.to_string()),
        },
    };
    entry.read(&body);
    let wanted = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let token = parts.headers.get("private-token");
    let token = token.and_then(|token| token.to_str().ok());
    let mut steps = path.split('/');
    let project = steps.next().unwrap_or_default().replace("%2F", "/");
    let steps: Vec<_> = steps.collect();
    let done = match steps.as_slice() {
        ["hooks", id, "test", "push_events"] => test(shared, &project, id, token).await,
        ["hooks", rest @ ..] => {
            let mut hooks = shared.hooks.lock();
            let authorized = hooks.authorize(&project, token);
            authorized.and_then(|()| hooks.answer(&parts.method, &project, rest, &wanted))
        }
        _ => Err((StatusCode::NOT_FOUND, json!({ "error": "404 Not Found" }))),
    };
    let (Ok((status, message)) | Err((status, message))) = done;
    Answer::new(status, message.to_string()).header(CONTENT_TYPE.as_str(), "application/json")
}

/// Sends a test delivery. If it is answered, the hook is switched on again.
async fn test(
    shared: &Shared,
    project: &str,
    id: &str,
    token: Option<&str>,
) -> Result<Response, Refusal> {
    let (id, delivery) = {
        let mut hooks = shared.hooks.lock();
        hooks.authorize(project, token)?;
        let at = hooks.find(project, id)?;
        let id = hooks.hooks[at].id;
        (id, hooks.delivery(id).expect("it was just found"))
    };
    let sent = tokio::task::spawn_blocking(move || delivery.try_send()).await;
    let failed = |message: String| {
        (
            StatusCode::UNPROCESSABLE_ENTITY,
            json!({ "message": message }),
        )
    };
    let answer = sent.expect("a delivery does not panic");
    let answer = answer.map_err(|error| failed(error.to_string()))?;
    shared.hooks.lock().record(id, &answer);
    match answer.status {
        200..400 => Ok((StatusCode::CREATED, json!({ "message": "201 Created" }))),
        _ => Err(failed(answer.body)),
    }
}
