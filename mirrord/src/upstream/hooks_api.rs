//! The hooks of a project, by GitLab's own API (`/api/v4/projects/:id/hooks`). The token goes to the scheme, host and port
//! of the mirror's upstream and nowhere else: no redirect is followed.

use std::time::Duration;

use common::{
    address::upstream_url::{Scheme, UpstreamUrl},
    protocol::{ClientContext, Delivery, Failure, FailureKind, Secret},
};
use reqwest::{
    Method, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};
use serde_json::Value;

use super::{Access, Upstreams, answers};
use crate::mirrors::settings::Auth;

/// How long one answer may take: a slower host is down.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest answer: a list of deliveries holds all that was sent with each.
const MAX_BODY_BYTES: usize = 32 << 20;

/// How many pages of the list of hooks are read. GitLab lets a project have a hundred hooks.
const MAX_PAGES: u32 = 10;

/// How many deliveries are listed.
const MAX_DELIVERIES: u32 = 5;

/// The hooks of one project.
pub(crate) struct ProjectHooks {
    client: reqwest::Client,
    url: UpstreamUrl,
    token: HeaderValue,
}

/// One hook of a project, with the fields of GitLab's API that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProjectHook {
    /// The `id`.
    pub id: u64,
    /// The URL to which GitLab sends deliveries.
    pub url: String,
    /// Whether pushes of branches are delivered (`push_events`).
    pub push: bool,
    /// Whether pushes of tags are delivered (`tag_push_events`).
    pub tag_push: bool,
    /// The filter of branches (`push_events_branch_filter`).
    pub branches: String,
    /// GitLab's `alert_status`.
    pub status: String,
    /// The time until which GitLab has disabled the hook.
    pub disabled_until: Option<String>,
    /// Whether the hook has a secret token; `None` from a GitLab that does not say.
    pub has_token: Option<bool>,
    /// Whether the hook has a signing token; `None` from a GitLab that does not say.
    pub is_signed: Option<bool>,
}

impl Upstreams {
    /// Returns the API for the hooks of the project behind `url`, used with this token.
    pub(crate) fn project_hooks(
        &self,
        url: &UpstreamUrl,
        context: &ClientContext,
        Secret(token): &Secret,
    ) -> Result<ProjectHooks, Failure> {
        if !matches!(url.scheme(), Scheme::Http | Scheme::Https) {
            let message = format!("where the API of '{url}' is cannot be told from its address");
            return Err(Failure::new(FailureKind::Usage, message)
                .hinted("'mirrord webhook show' prints what to paste into GitLab's form"));
        }
        let mut token = HeaderValue::from_str(token)
            .map_err(|_| Failure::new(FailureKind::Usage, "that is not a token"))?;
        token.set_sensitive(true);
        // No other credential of the user's is sent beside the token.
        let access = Access::new(url, &Auth::Anonymous, None, context);
        Ok(ProjectHooks {
            client: self.clients.get(&access.http)?,
            url: url.clone(),
            token,
        })
    }
}

impl ProjectHooks {
    /// Lists the hooks.
    pub(crate) async fn list(&self) -> Result<Vec<ProjectHook>, Failure> {
        let mut all = Vec::new();
        for page in 1..=MAX_PAGES {
            let path = format!("hooks?per_page=100&page={page}");
            let (headers, answer) = self.request(Method::GET, &path, None).await?;
            let Value::Array(hooks) = answer else {
                return Err(self.not_gitlab());
            };
            all.extend(hooks.iter().filter_map(ProjectHook::parse));
            let next = headers.get("x-next-page");
            if next.is_none_or(HeaderValue::is_empty) {
                break;
            }
        }
        Ok(all)
    }

    /// Creates a hook.
    pub(crate) async fn create(&self, fields: &Value) -> Result<ProjectHook, Failure> {
        let (_, answer) = self.request(Method::POST, "hooks", Some(fields)).await?;
        ProjectHook::parse(&answer).ok_or_else(|| self.not_gitlab())
    }

    /// Changes a hook.
    pub(crate) async fn edit(&self, id: u64, fields: &Value) -> Result<ProjectHook, Failure> {
        let path = format!("hooks/{id}");
        let (_, answer) = self.request(Method::PUT, &path, Some(fields)).await?;
        ProjectHook::parse(&answer).ok_or_else(|| self.not_gitlab())
    }

    /// Has GitLab send a test delivery. If it arrives, a disabled hook is enabled again.
    pub(crate) async fn test(&self, id: u64) -> Result<(), Failure> {
        let path = format!("hooks/{id}/test/push_events");
        self.request(Method::POST, &path, None).await.map(drop)
    }

    /// Lists the last deliveries, newest first; `None` where GitLab is too old for that.
    pub(crate) async fn deliveries(&self, id: u64) -> Result<Option<Vec<Delivery>>, Failure> {
        let path = format!("hooks/{id}/events?per_page={MAX_DELIVERIES}");
        match self.send(Method::GET, &path, None).await? {
            (StatusCode::OK, _, Value::Array(events)) => {
                Ok(Some(events.iter().map(parse_delivery).collect()))
            }
            (StatusCode::NOT_FOUND, ..) => Ok(None),
            (status, _, answer) => Err(self.refused(status, &answer)),
        }
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        fields: Option<&Value>,
    ) -> Result<(HeaderMap, Value), Failure> {
        match self.send(method, path, fields).await? {
            (status, headers, answer) if status.is_success() => Ok((headers, answer)),
            (status, _, answer) => Err(self.refused(status, &answer)),
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        fields: Option<&Value>,
    ) -> Result<(StatusCode, HeaderMap, Value), Failure> {
        let project = self.project().replace('/', "%2F");
        let address = format!("{}/api/v4/projects/{project}/{path}", self.url.origin());
        let mut request = self.client.request(method, address);
        request = request.header("PRIVATE-TOKEN", self.token.clone());
        if let Some(fields) = fields {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(fields.to_string());
        }
        let asking = async {
            let unreachable = |err| *answers::unreachable(&self.url, &err).failure;
            let mut response = request.send().await.map_err(unreachable)?;
            let (status, headers) = (response.status(), response.headers().clone());
            let mut body = Vec::new();
            while let Some(piece) = response.chunk().await.map_err(unreachable)? {
                body.extend_from_slice(&piece);
                if body.len() > MAX_BODY_BYTES {
                    return Err(self.not_gitlab());
                }
            }
            let answer = serde_json::from_slice(&body).unwrap_or(Value::Null);
            Ok((status, headers, answer))
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(*answers::timed_out(&self.url, REQUEST_TIMEOUT).failure),
        }
    }

    /// The project's full path.
    fn project(&self) -> &str {
        let path = self.url.path().trim_matches('/');
        path.strip_suffix(".git").unwrap_or(path)
    }

    fn not_gitlab(&self) -> Failure {
        let message = format!("'{}' does not answer as GitLab does", self.url.origin());
        Failure::new(FailureKind::Unusable, message)
    }

    /// Explains an answer whose status is an error.
    fn refused(&self, status: StatusCode, answer: &Value) -> Failure {
        let (origin, project) = (self.url.origin(), self.project());
        let refused = |message: String| Failure::new(FailureKind::Refused, message);
        let needs = "it must have the scope 'api', and its owner the role of a Maintainer";
        match status {
            StatusCode::UNAUTHORIZED => {
                refused(format!("'{origin}' does not take this token")).hinted(needs)
            }
            StatusCode::FORBIDDEN => refused(format!(
                "this token may not see or change the hooks of '{project}'"
            ))
            .hinted(needs),
            StatusCode::NOT_FOUND => refused(format!(
                "'{origin}' knows no project '{project}' whose hooks this token may see"
            ))
            .hinted(needs),
            StatusCode::TOO_MANY_REQUESTS => {
                let message = format!("'{origin}' is asked too often");
                Failure::new(FailureKind::Unreachable, message).hinted("try again in a minute")
            }
            status if status.is_redirection() => refused(format!(
                "'{origin}' redirects the question, and a token is told to nobody else"
            ))
            .hinted("'mirrord set NAME --url URL' gives the mirror its new address"),
            status if status.is_server_error() => Failure::new(
                FailureKind::Unreachable,
                format!("'{origin}' answers {}", status.as_u16()),
            ),
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
                let messages = error_message(answer);
                let failure = refused(format!("'{origin}' refuses the hook: {messages}"));
                let blocked = ["blocked", "not allowed"];
                match blocked.iter().any(|word| messages.contains(word)) {
                    true => failure.hinted(
                        "an administrator allows such addresses under Admin, Settings, Network, Outbound requests",
                    ),
                    false => failure,
                }
            }
            _ => self.not_gitlab(),
        }
    }
}

impl ProjectHook {
    fn parse(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key)?.as_str().map(str::to_owned);
        let is = |key: &str| value.get(key)?.as_bool();
        Some(Self {
            id: value.get("id")?.as_u64()?,
            url: text("url")?,
            push: is("push_events").unwrap_or_default(),
            tag_push: is("tag_push_events").unwrap_or_default(),
            branches: text("push_events_branch_filter").unwrap_or_default(),
            // An older GitLab does not say.
            status: text("alert_status").unwrap_or_else(|| "executable".to_owned()),
            disabled_until: text("disabled_until"),
            has_token: is("token_present"),
            is_signed: is("signing_token_present"),
        })
    }
}

fn parse_delivery(event: &Value) -> Delivery {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => "unknown".to_owned(),
    };
    let headers = event.get("response_headers");
    let date = headers.and_then(|headers| {
        let mut headers = headers.as_object()?.iter();
        headers.find(|(name, _)| name.eq_ignore_ascii_case("date"))
    });
    let took = event.get("execution_duration").and_then(Value::as_f64);
    Delivery {
        trigger: event.get("trigger").map(text).unwrap_or_default(),
        status: event.get("response_status").map(text).unwrap_or_default(),
        at: date.map(|(_, date)| text(date)),
        took: took.map(|seconds| (seconds * 1000.0).max(0.0) as u64),
    }
}

/// Returns why GitLab refuses: a text, or texts by field.
fn error_message(answer: &Value) -> String {
    fn all(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::String(text) => into.push(text.clone()),
            Value::Array(values) => values.iter().for_each(|value| all(value, into)),
            Value::Object(fields) => fields.values().for_each(|value| all(value, into)),
            _ => {}
        }
    }
    let found = ["message", "error"].iter().find_map(|key| answer.get(key));
    let mut messages = Vec::new();
    found.iter().for_each(|value| all(value, &mut messages));
    match messages.is_empty() {
        true => "it does not say why".to_owned(),
        false => messages.join("; "),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_hook_is_read_as_gitlab_writes_it_old_or_new() {
        let old = json!({ "id": 1, "url": "http://example.com/hook", "push_events": true,
            "tag_push_events": false, "push_events_branch_filter": "", "enable_ssl_verification": true });
        let hook = ProjectHook::parse(&old).expect("a hook");
        assert!(hook.push && !hook.tag_push && hook.status == "executable");
        assert_eq!((hook.has_token, hook.is_signed), (None, None));
        let new = json!({ "id": 1, "url": "http://example.com/hook", "push_events": true,
            "tag_push_events": true, "alert_status": "temporarily_disabled",
            "disabled_until": "2026-11-26T01:00:00.000Z", "token_present": true,
            "signing_token_present": false });
        let hook = ProjectHook::parse(&new).expect("a hook");
        assert_eq!(hook.status, "temporarily_disabled");
        assert_eq!((hook.has_token, hook.is_signed), (Some(true), Some(false)));
        assert_eq!(
            ProjectHook::parse(&json!({ "message": "401 Unauthorized" })),
            None
        );
    }

    #[test]
    fn gitlabs_error_message_is_found_wherever_it_is() {
        let explained =
            json!({ "message": { "url": ["is blocked: Requests to localhost are not allowed"] } });
        assert_eq!(
            error_message(&explained),
            "is blocked: Requests to localhost are not allowed"
        );
        assert_eq!(
            error_message(&json!({ "error": "Invalid url given" })),
            "Invalid url given"
        );
        assert_eq!(error_message(&Value::Null), "it does not say why");
    }
}
