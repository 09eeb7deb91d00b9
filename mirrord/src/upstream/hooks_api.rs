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

/// A host that takes longer for one answer is down.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Deliveries come with all that was sent, so an answer may be long.
const MAX_BODY_BYTES: usize = 32 << 20;

/// Pages of a list that are asked for. GitLab lets a project have a hundred hooks.
const MAX_PAGES: u32 = 10;

/// The deliveries that are asked for.
const MAX_DELIVERIES: u32 = 5;

/// The hooks of one project.
pub(crate) struct ProjectHooks {
    client: reqwest::Client,
    url: UpstreamUrl,
    token: HeaderValue,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProjectHook {
    /// Its number.
    pub id: u64,
    /// Where it sends deliveries.
    pub url: String,
    /// Whether pushes of branches are told.
    pub push: bool,
    /// Whether pushes of tags are told.
    pub tag_push: bool,
    /// Which branches alone are told of.
    pub branches: String,
    /// GitLab's own word for how it is.
    pub status: String,
    /// Until when it is switched off.
    pub disabled_until: Option<String>,
    /// Whether it has a secret token, where GitLab tells.
    pub has_token: Option<bool>,
    /// Whether it has a signing token, where GitLab tells.
    pub is_signed: Option<bool>,
}

impl Upstreams {
    /// The hooks of the project that an upstream is.
    pub(crate) fn project_hooks(
        &self,
        url: &UpstreamUrl,
        standing: &ClientContext,
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
        // Nothing else of the user's signs in beside the token.
        let access = Access::new(url, &Auth::Anonymous, None, standing);
        Ok(ProjectHooks {
            client: self.clients.get(&access.http)?,
            url: url.clone(),
            token,
        })
    }
}

impl ProjectHooks {
    /// All of them.
    ///
    /// # Errors
    /// Fails with what the person should read.
    pub(crate) async fn list(&self) -> Result<Vec<ProjectHook>, Failure> {
        let mut all = Vec::new();
        for page in 1..=MAX_PAGES {
            let path = format!("hooks?per_page=100&page={page}");
            let (headers, answer) = self.ask(Method::GET, &path, None).await?;
            let Value::Array(hooks) = answer else {
                return Err(self.strange());
            };
            all.extend(hooks.iter().filter_map(ProjectHook::of));
            let next = headers.get("x-next-page");
            if next.is_none_or(HeaderValue::is_empty) {
                break;
            }
        }
        Ok(all)
    }

    /// Makes one.
    ///
    /// # Errors
    /// Fails with what the person should read.
    pub(crate) async fn create(&self, fields: &Value) -> Result<ProjectHook, Failure> {
        let (_, answer) = self.ask(Method::POST, "hooks", Some(fields)).await?;
        ProjectHook::of(&answer).ok_or_else(|| self.strange())
    }

    /// Changes one.
    ///
    /// # Errors
    /// Fails with what the person should read.
    pub(crate) async fn edit(&self, id: u64, fields: &Value) -> Result<ProjectHook, Failure> {
        let path = format!("hooks/{id}");
        let (_, answer) = self.ask(Method::PUT, &path, Some(fields)).await?;
        ProjectHook::of(&answer).ok_or_else(|| self.strange())
    }

    /// Has GitLab send a test, after which one that was switched off is on again if it arrives.
    ///
    /// # Errors
    /// Fails with what the person should read.
    pub(crate) async fn test(&self, id: u64) -> Result<(), Failure> {
        let path = format!("hooks/{id}/test/push_events");
        self.ask(Method::POST, &path, None).await.map(drop)
    }

    /// What it has delivered lately, newest first; `None` where GitLab is too old to tell.
    ///
    /// # Errors
    /// Fails with what the person should read.
    pub(crate) async fn deliveries(&self, id: u64) -> Result<Option<Vec<Delivery>>, Failure> {
        let path = format!("hooks/{id}/events?per_page={MAX_DELIVERIES}");
        match self.answer(Method::GET, &path, None).await? {
            (StatusCode::OK, _, Value::Array(events)) => {
                Ok(Some(events.iter().map(delivery).collect()))
            }
            (StatusCode::NOT_FOUND, ..) => Ok(None),
            (status, _, answer) => Err(self.refused(status, &answer)),
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        fields: Option<&Value>,
    ) -> Result<(HeaderMap, Value), Failure> {
        match self.answer(method, path, fields).await? {
            (status, headers, answer) if status.is_success() => Ok((headers, answer)),
            (status, _, answer) => Err(self.refused(status, &answer)),
        }
    }

    async fn answer(
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
            let unreachable = |err| answers::unreachable(&self.url, &err).failure;
            let mut response = request.send().await.map_err(unreachable)?;
            let (status, headers) = (response.status(), response.headers().clone());
            let mut body = Vec::new();
            while let Some(piece) = response.chunk().await.map_err(unreachable)? {
                body.extend_from_slice(&piece);
                if body.len() > MAX_BODY_BYTES {
                    return Err(self.strange());
                }
            }
            let answer = serde_json::from_slice(&body).unwrap_or(Value::Null);
            Ok((status, headers, answer))
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(answers::timed_out(&self.url, REQUEST_TIMEOUT).failure),
        }
    }

    /// The project's full path.
    fn project(&self) -> &str {
        let path = self.url.path().trim_matches('/');
        path.strip_suffix(".git").unwrap_or(path)
    }

    fn strange(&self) -> Failure {
        let message = format!("'{}' does not answer as GitLab does", self.url.origin());
        Failure::new(FailureKind::Unusable, message)
    }

    /// What an answer that is not what was asked for means.
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
                let words = words(answer);
                let failure = refused(format!("'{origin}' refuses the hook: {words}"));
                let blocked = ["blocked", "not allowed"];
                match blocked.iter().any(|word| words.contains(word)) {
                    true => failure.hinted(
                        "an administrator allows such addresses under Admin, Settings, Network, Outbound requests",
                    ),
                    false => failure,
                }
            }
            _ => self.strange(),
        }
    }
}

impl ProjectHook {
    fn of(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key)?.as_str().map(str::to_owned);
        let is = |key: &str| value.get(key)?.as_bool();
        Some(Self {
            id: value.get("id")?.as_u64()?,
            url: text("url")?,
            push: is("push_events").unwrap_or_default(),
            tag_push: is("tag_push_events").unwrap_or_default(),
            branches: text("push_events_branch_filter").unwrap_or_default(),
            // GitLab did not always tell.
            status: text("alert_status").unwrap_or_else(|| "executable".to_owned()),
            disabled_until: text("disabled_until"),
            has_token: is("token_present"),
            is_signed: is("signing_token_present"),
        })
    }
}

fn delivery(event: &Value) -> Delivery {
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

/// GitLab's words for why it refuses: a text, or texts by field.
fn words(answer: &Value) -> String {
    fn all(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::String(text) => into.push(text.clone()),
            Value::Array(values) => values.iter().for_each(|value| all(value, into)),
            Value::Object(fields) => fields.values().for_each(|value| all(value, into)),
            _ => {}
        }
    }
    let said = ["message", "error"].iter().find_map(|key| answer.get(key));
    let mut words = Vec::new();
    said.iter().for_each(|said| all(said, &mut words));
    match words.is_empty() {
        true => "it does not say why".to_owned(),
        false => words.join("; "),
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
        let hook = ProjectHook::of(&old).expect("a hook");
        assert!(hook.push && !hook.tag_push && hook.status == "executable");
        assert_eq!((hook.has_token, hook.is_signed), (None, None));
        let new = json!({ "id": 1, "url": "http://example.com/hook", "push_events": true,
            "tag_push_events": true, "alert_status": "temporarily_disabled",
            "disabled_until": "2026-11-26T01:00:00.000Z", "token_present": true,
            "signing_token_present": false });
        let hook = ProjectHook::of(&new).expect("a hook");
        assert_eq!(hook.status, "temporarily_disabled");
        assert_eq!((hook.has_token, hook.is_signed), (Some(true), Some(false)));
        assert_eq!(
            ProjectHook::of(&json!({ "message": "401 Unauthorized" })),
            None
        );
    }

    #[test]
    fn gitlabs_words_are_found_wherever_they_are() {
        let said =
            json!({ "message": { "url": ["is blocked: Requests to localhost are not allowed"] } });
        assert_eq!(
            words(&said),
            "is blocked: Requests to localhost are not allowed"
        );
        assert_eq!(
            words(&json!({ "error": "Invalid url given" })),
            "Invalid url given"
        );
        assert_eq!(words(&Value::Null), "it does not say why");
    }
}
