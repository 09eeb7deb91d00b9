//! The hooks of projects, by GitLab's own API; see its `doc/api/project_webhooks.md` and `app/services/web_hook_service.rb`.

use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::{Method, StatusCode, header::CONTENT_TYPE, http::request::Parts};
use serde_json::{Value, json};

use super::{
    answer::{Answer, Input},
    log::Entry,
    server::Shared,
};
use crate::delivery::{self, Delivery};

/// Failures in a row after which a hook is switched off for a while.
const MOST_FAILURES: u64 = 4;

/// What can be set, and what is shown of it; tokens are not.
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
    /// As its form has it, with the tokens.
    fields: Value,
    failures: u64,
    events: Vec<Value>,
}

/// A refusal, with what is said.
type No = (StatusCode, Value);

impl Hooks {
    pub(super) fn maintainer(&mut self, project: &str, token: &str) {
        self.maintainers.push((project.into(), token.into()));
    }

    pub(super) fn never_signs(&mut self) {
        self.never_signs = true;
    }

    pub(super) fn refuse_local(&mut self) {
        self.refuses_local = true;
    }

    pub(super) fn of(&self, project: &str) -> Vec<Value> {
        let hooks = self.hooks.iter().filter(|hook| hook.project == project);
        hooks.map(|hook| hook.fields.clone()).collect()
    }

    pub(super) fn change(&mut self, project: &str, field: &str, value: &Value) {
        let hooks = self.hooks.iter_mut().filter(|hook| hook.project == project);
        hooks.for_each(|hook| hook.fields[field] = value.clone());
    }

    /// What each hook of a project sends after a push.
    pub(super) fn after_a_push(&mut self, project: &str) -> Vec<(u64, Delivery)> {
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

    /// Notes what was answered, and switches the hook off when it fails again and again.
    pub(super) fn note(&mut self, id: u64, answer: &delivery::Answer) {
        let Some(hook) = self.hooks.iter_mut().find(|hook| hook.id == id) else {
            return;
        };
        let is_fine = (200..400).contains(&answer.status);
        hook.failures = if is_fine { 0 } else { hook.failures + 1 };
        let (status, until) = match hook.failures < MOST_FAILURES {
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

    fn may(&self, project: &str, token: Option<&str>) -> Result<(), No> {
        let say = |status, words: &str| Err((status, json!({ "message": words })));
        let known = |(_, one): &&(String, String)| Some(one.as_str()) == token;
        let mut of_token = self.maintainers.iter().filter(known).peekable();
        if of_token.peek().is_none() {
            return say(StatusCode::UNAUTHORIZED, "401 Unauthorized");
        }
        match of_token.any(|(one, _)| one == project) {
            true => Ok(()),
            false => say(StatusCode::NOT_FOUND, "404 Project Not Found"),
        }
    }

    /// Takes what is asked for, and leaves the rest.
    fn set(&self, hook: &mut Value, wanted: &Value) -> Result<(), No> {
        let url = wanted["url"].as_str().unwrap_or_default();
        if !url.starts_with("http") {
            let words = json!({ "error": "Invalid url given" });
            return Err((StatusCode::UNPROCESSABLE_ENTITY, words));
        }
        if self.refuses_local && url.contains("://127.") {
            let words = "Invalid url given: Requests to localhost are not allowed";
            return Err((StatusCode::UNPROCESSABLE_ENTITY, json!({ "error": words })));
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

    fn shown(&self, hook: &Hook) -> Value {
        let mut shown = hook.fields.clone();
        let is_there = |field: &str| json!(hook.fields[field].is_string());
        shown["id"] = json!(hook.id);
        shown["token_present"] = is_there("token");
        if !self.never_signs {
            shown["signing_token_present"] = is_there("signing_token");
        }
        let shown_fields = shown.as_object_mut().expect("it is an object");
        shown_fields.remove("token");
        shown_fields.remove("signing_token");
        shown
    }

    fn find(&mut self, project: &str, id: &str) -> Result<usize, No> {
        let is = |hook: &Hook| hook.project == project && hook.id.to_string() == id;
        let missing = json!({ "message": "404 Not found" });
        let found = self.hooks.iter().position(is);
        found.ok_or((StatusCode::NOT_FOUND, missing))
    }

    fn do_it(
        &mut self,
        method: &Method,
        project: &str,
        steps: &[&str],
        wanted: &Value,
    ) -> Result<No, No> {
        match (method, steps) {
            (&Method::GET, []) => {
                let hooks = self.hooks.iter().filter(|hook| hook.project == project);
                Ok((StatusCode::OK, hooks.map(|hook| self.shown(hook)).collect()))
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
                let shown = self.shown(&hook);
                self.hooks.push(hook);
                Ok((StatusCode::CREATED, shown))
            }
            (&Method::PUT, [id]) => {
                let at = self.find(project, id)?;
                let mut fields = self.hooks[at].fields.clone();
                self.set(&mut fields, wanted)?;
                self.hooks[at].fields = fields;
                Ok((StatusCode::OK, self.shown(&self.hooks[at])))
            }
            (&Method::GET, [id, "events"]) => {
                let at = self.find(project, id)?;
                Ok((StatusCode::OK, json!(self.hooks[at].events)))
            }
            _ => Err((StatusCode::NOT_FOUND, json!({ "error": "404 Not Found" }))),
        }
    }
}

/// Answers a question of the API; `path` begins with the project.
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
            let may = hooks.may(&project, token);
            may.and_then(|()| hooks.do_it(&parts.method, &project, rest, &wanted))
        }
        _ => Err((StatusCode::NOT_FOUND, json!({ "error": "404 Not Found" }))),
    };
    let (Ok((status, words)) | Err((status, words))) = done;
    Answer::new(status, words.to_string()).header(CONTENT_TYPE.as_str(), "application/json")
}

/// Sends a test, which switches a hook on again that answers it.
async fn test(shared: &Shared, project: &str, id: &str, token: Option<&str>) -> Result<No, No> {
    let (id, delivery) = {
        let mut hooks = shared.hooks.lock();
        hooks.may(project, token)?;
        let at = hooks.find(project, id)?;
        let id = hooks.hooks[at].id;
        (id, hooks.delivery(id).expect("it was just found"))
    };
    let sending = tokio::task::spawn_blocking(move || delivery.try_send()).await;
    let failed = |words: String| {
        (
            StatusCode::UNPROCESSABLE_ENTITY,
            json!({ "message": words }),
        )
    };
    let answer = sending.expect("a delivery does not panic");
    let answer = answer.map_err(|error| failed(error.to_string()))?;
    shared.hooks.lock().note(id, &answer);
    match answer.status {
        200..400 => Ok((StatusCode::CREATED, json!({ "message": "201 Created" }))),
        _ => Err(failed(answer.body)),
    }
}
