//! `webhook register` and `webhook check`: create, correct and inspect the hook of a mirror through its GitLab's API.

use common::protocol::{self, AtGitLab, Failure, FailureKind, Found, Secret, WebhookReply};
use serde_json::json;

use super::{
    Webhook,
    hooks::{Hook, new_signing_token},
};
use crate::{
    mirrors::registry::Mirror,
    requests::resolve::existing_mirror,
    upstream::{ProjectHook, ProjectHooks},
};

/// The `alert_status` that GitLab gives a hook that works.
const WORKING_STATUS: &str = "executable";

/// A conversation with the API of a mirror's GitLab.
struct Session {
    api: ProjectHooks,
    mirror: Mirror,
    /// The hook as the mirror has it.
    hook: Hook,
    /// The hook as GitLab should have it.
    wanted: protocol::Hook,
}

impl Webhook {
    /// Creates the hook of a mirror at its GitLab, or corrects the one that is there.
    pub(super) async fn register(&self, at: AtGitLab) -> Result<WebhookReply, Failure> {
        let Session {
            api,
            mirror,
            hook,
            wanted,
        } = self.open_session(&at).await?;
        let old = find_ours(api.list().await?, &wanted, &hook);
        let was_signed = old.as_ref().and_then(|old| old.is_signed);
        let signing = match &hook.signing {
            Some(signing) => signing.clone(),
            None => new_signing_token()?,
        };
        let (Secret(token), Secret(signing_token)) = (&hook.token, &signing);
        let mut fields = json!({
            "url": wanted.url,
            "push_events": true,
            "tag_push_events": true,
            "push_events_branch_filter": "",
            "branch_filter_strategy": "all_branches",
            // GitLab drops the token when the URL changes.
            "token": token,
            "signing_token": signing_token,
        });
        let is_new = old.is_none();
        let mut now = match old {
            Some(old) => api.edit(old.id, &fields).await?,
            None => {
                fields["name"] = json!("mirror");
                fields["enable_ssl_verification"] = json!(true);
                api.create(&fields).await?
            }
        };
        // The signing token counts only if GitLab says that it has one now and had none before.
        let has_taken = now.is_signed == Some(true) && was_signed != Some(true);
        let agreed_signing = match now.is_signed {
            Some(false) => None,
            _ if has_taken => Some(signing),
            _ => hook.signing.clone(),
        };
        let has_dropped = hook.signing.is_some() && agreed_signing.is_none();
        let hook = self
            .update_hook(&mirror, move |hook| {
                hook.signing = agreed_signing;
                Ok(())
            })
            .await?;
        if now.status != WORKING_STATUS {
            // GitLab switches a hook on again when a test delivery has been answered.
            api.test(now.id).await?;
            let id = now.id;
            let tested = api.list().await?.into_iter().find(|hook| hook.id == id);
            now = tested.unwrap_or(now);
        }
        let mut hook = self.listen_config().await?.hook(&mirror, &hook);
        if has_dropped {
            hook.warnings.push(
                "GitLab does not sign what this hook sends: the secret token is what counts now"
                    .to_owned(),
            );
        }
        let found = Box::new(report(now, &hook, None));
        Ok(WebhookReply::Registered {
            hook,
            is_new,
            found,
        })
    }

    /// Reports how the hook of a mirror is at its GitLab.
    pub(super) async fn check(&self, at: AtGitLab) -> Result<WebhookReply, Failure> {
        let Session {
            api,
            mirror,
            hook,
            wanted,
        } = self.open_session(&at).await?;
        let Some(actual) = find_ours(api.list().await?, &wanted, &hook) else {
            let name = &mirror.settings.name;
            let message = format!("GitLab has no hook for '{name}'");
            return Err(Failure::new(FailureKind::Refused, message)
                .hinted(format!("'mirrord webhook register {name}' makes it")));
        };
        let deliveries = api.deliveries(actual.id).await?;
        Ok(WebhookReply::Found(Box::new(report(
            actual, &wanted, deliveries,
        ))))
    }

    /// Prepares access to the API, and the hook as it should be there.
    async fn open_session(&self, at: &AtGitLab) -> Result<Session, Failure> {
        let config = self.listen_config().await?;
        let mirror = existing_mirror(&self.engine, &at.fetch.mirror)?;
        let upstreams = &self.engine.upstreams;
        let api = upstreams.project_hooks(&mirror.settings.url, &at.fetch.context, &at.token)?;
        let hook = self.update_hook(&mirror, |_| Ok(())).await?;
        let wanted = config.hook(&mirror, &hook);
        Ok(Session {
            api,
            mirror,
            hook,
            wanted,
        })
    }
}

/// Finds the mirror's hook among those of its project: by its URL, or else by the id in it, because the base of the URLs
/// may have changed.
fn find_ours(hooks: Vec<ProjectHook>, wanted: &protocol::Hook, hook: &Hook) -> Option<ProjectHook> {
    let path = format!("/hooks/{}", hook.id);
    let rank = |actual: &ProjectHook| (actual.url != wanted.url, actual.id);
    let ours = hooks
        .into_iter()
        .filter(|actual| actual.url.ends_with(&path));
    ours.min_by_key(rank)
}

/// Compares the hook at GitLab with the wanted one.
fn report(
    actual: ProjectHook,
    wanted: &protocol::Hook,
    deliveries: Option<Vec<protocol::Delivery>>,
) -> Found {
    Found {
        name: wanted.name.clone(),
        wrong: problems(&actual, wanted),
        id: actual.id,
        url: actual.url,
        status: actual.status,
        disabled_until: actual.disabled_until,
        push: actual.push,
        tag_push: actual.tag_push,
        deliveries,
    }
}

/// What is wrong with a hook at GitLab, one line for each problem.
fn problems(actual: &ProjectHook, wanted: &protocol::Hook) -> Vec<String> {
    let mut problems = Vec::new();
    let mut check = |is_wrong: bool, problem: String| {
        if is_wrong {
            problems.push(problem);
        }
    };
    check(
        actual.status != WORKING_STATUS,
        match &actual.disabled_until {
            Some(until) => format!("GitLab has switched it off until {until}: deliveries failed"),
            None => "GitLab has switched it off: too many deliveries failed".to_owned(),
        },
    );
    check(
        actual.url != wanted.url,
        format!(
            "it sends to '{}', and it should send to '{}'",
            actual.url, wanted.url
        ),
    );
    check(!actual.push, "push events are not ticked".to_owned());
    check(
        !actual.tag_push,
        "tag push events are not ticked".to_owned(),
    );
    check(
        !actual.branches.is_empty(),
        format!("it tells only of branches like '{}'", actual.branches),
    );
    let unsigned = actual.is_signed == Some(false);
    check(
        wanted.is_signed && unsigned,
        "it has no signing token, and only signed deliveries are taken".to_owned(),
    );
    check(
        !wanted.is_signed && actual.has_token == Some(false),
        "it has no secret token".to_owned(),
    );
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(id: &str) -> protocol::Hook {
        protocol::Hook {
            name: "project".into(),
            url: format!("https://hooks.example/hooks/{id}"),
            secret_token: Secret("secret".into()),
            is_signed: false,
            warnings: Vec::new(),
        }
    }

    fn actual(id: u64, url: &str) -> ProjectHook {
        ProjectHook {
            id,
            url: url.into(),
            push: true,
            tag_push: true,
            branches: String::new(),
            status: WORKING_STATUS.into(),
            disabled_until: None,
            has_token: Some(true),
            is_signed: None,
        }
    }

    #[test]
    fn our_hook_is_found_under_another_url_and_no_other_hook_is() {
        let hook = Hook {
            id: "0123".into(),
            token: Secret("secret".into()),
            signing: None,
        };
        let wanted = wanted("0123");
        let found = |urls: &[&str]| {
            let hooks = urls.iter().zip(1..).map(|(url, id)| actual(id, url));
            find_ours(hooks.collect(), &wanted, &hook).map(|hook| hook.id)
        };
        let (other, old) = (
            "https://ci.example/hooks/4567",
            "http://1.2.3.4:5/hooks/0123",
        );
        assert_eq!(found(&[other]), None);
        assert_eq!(found(&[other, old]), Some(2));
        assert_eq!(found(&[other, old, &wanted.url]), Some(3));
    }

    #[test]
    fn every_problem_of_a_hook_is_reported() {
        let wanted = wanted("0123");
        assert_eq!(problems(&actual(1, &wanted.url), &wanted), [""; 0]);
        let odd = ProjectHook {
            push: false,
            tag_push: false,
            branches: "release/*".into(),
            status: "disabled".into(),
            has_token: Some(false),
            ..actual(1, "http://1.2.3.4:5/hooks/0123")
        };
        assert_eq!(problems(&odd, &wanted).len(), 6);
        let signed = protocol::Hook {
            is_signed: true,
            ..wanted
        };
        let unsigned = ProjectHook {
            is_signed: Some(false),
            ..actual(1, &signed.url)
        };
        assert_eq!(problems(&unsigned, &signed).len(), 1);
    }
}
