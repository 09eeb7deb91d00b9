//! Makes the hook of a mirror at its GitLab, mends it, and looks how it is there.

use common::protocol::{self, AtGitLab, Failure, FailureKind, Found, Secret, WebhookSaid};
use serde_json::json;

use super::{
    Webhook,
    hooks::{Hook, new_signing},
};
use crate::{
    mirrors::registry::Mirror,
    requests::fetch::existing,
    upstream::{ProjectHook, ProjectHooks},
};

/// How GitLab calls a hook that works.
const WORKS: &str = "executable";

impl Webhook {
    /// Makes the hook of a mirror at its GitLab, or mends the one that is there.
    pub(super) async fn register(&self, at: AtGitLab) -> Result<WebhookSaid, Failure> {
        let (api, mirror, hook, told) = self.at_gitlab(&at).await?;
        let there = ours(api.list().await?, &told, &hook);
        let was_signed = there.as_ref().and_then(|there| there.is_signed);
        let signing = match &hook.signing {
            Some(signing) => signing.clone(),
            None => new_signing()?,
        };
        let (Secret(token), Secret(signed)) = (&hook.token, &signing);
        let mut fields = json!({
            "url": told.url,
            "push_events": true,
            "tag_push_events": true,
            "push_events_branch_filter": "",
            "branch_filter_strategy": "all_branches",
            // GitLab forgets it when the address changes.
            "token": token,
            "signing_token": signed,
        });
        let is_new = there.is_none();
        let mut now = match there {
            Some(there) => api.edit(there.id, &fields).await?,
            None => {
                fields["name"] = json!("mirror");
                fields["enable_ssl_verification"] = json!(true);
                api.create(&fields).await?
            }
        };
        // It counts only where GitLab says that it has taken this one.
        let has_taken = now.is_signed == Some(true) && was_signed != Some(true);
        let agreed = match now.is_signed {
            Some(false) => None,
            _ if has_taken => Some(signing),
            _ => hook.signing.clone(),
        };
        let has_dropped = hook.signing.is_some() && agreed.is_none();
        let hook = self
            .change(&mirror, move |hook| {
                hook.signing = agreed;
                Ok(())
            })
            .await?;
        if now.status != WORKS {
            // One that was switched off is on again when a test has arrived.
            api.test(now.id).await?;
            let id = now.id;
            let again = api.list().await?.into_iter().find(|hook| hook.id == id);
            now = again.unwrap_or(now);
        }
        let mut told = self.listening().await?.told(&mirror, &hook);
        if has_dropped {
            told.warnings.push(
                "GitLab does not sign what this hook sends: the secret token is what counts now"
                    .to_owned(),
            );
        }
        let found = Box::new(found(now, &told, None));
        Ok(WebhookSaid::Registered {
            hook: told,
            is_new,
            found,
        })
    }

    /// Looks how the hook of a mirror is at its GitLab.
    pub(super) async fn check(&self, at: AtGitLab) -> Result<WebhookSaid, Failure> {
        let (api, mirror, hook, told) = self.at_gitlab(&at).await?;
        let Some(there) = ours(api.list().await?, &told, &hook) else {
            let name = &mirror.settings.name;
            let message = format!("GitLab has no hook for '{name}'");
            return Err(Failure::new(FailureKind::Refused, message)
                .hinted(format!("'mirrord webhook register {name}' makes it")));
        };
        let deliveries = api.deliveries(there.id).await?;
        Ok(WebhookSaid::Found(Box::new(found(
            there, &told, deliveries,
        ))))
    }

    async fn at_gitlab(
        &self,
        at: &AtGitLab,
    ) -> Result<(ProjectHooks, Mirror, Hook, protocol::Hook), Failure> {
        let listening = self.listening().await?;
        let mirror = existing(&self.engine, &at.fetch.mirror)?;
        let upstreams = &self.engine.upstreams;
        let api = upstreams.hooks(&mirror.settings.url, &at.fetch.standing, &at.token)?;
        let hook = self.change(&mirror, |_| Ok(())).await?;
        let told = listening.told(&mirror, &hook);
        Ok((api, mirror, hook, told))
    }
}

/// The one that is ours: by its address, or else by the id in it, because we may have been reached elsewhere before.
fn ours(hooks: Vec<ProjectHook>, told: &protocol::Hook, hook: &Hook) -> Option<ProjectHook> {
    let path = format!("/hooks/{}", hook.id);
    let rank = |there: &ProjectHook| (there.url != told.url, there.id);
    let ours = hooks.into_iter().filter(|there| there.url.ends_with(&path));
    ours.min_by_key(rank)
}

fn found(
    there: ProjectHook,
    told: &protocol::Hook,
    deliveries: Option<Vec<protocol::Delivery>>,
) -> Found {
    Found {
        name: told.name.clone(),
        wrong: wrong(&there, told),
        id: there.id,
        url: there.url,
        status: there.status,
        disabled_until: there.disabled_until,
        push: there.push,
        tag_push: there.tag_push,
        deliveries,
    }
}

/// What is wrong with a hook, one line each.
fn wrong(there: &ProjectHook, told: &protocol::Hook) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut is = |holds: bool, words: String| {
        if holds {
            wrong.push(words);
        }
    };
    is(
        there.status != WORKS,
        match &there.disabled_until {
            Some(until) => format!("GitLab has switched it off until {until}: deliveries failed"),
            None => "GitLab has switched it off: too many deliveries failed".to_owned(),
        },
    );
    is(
        there.url != told.url,
        format!(
            "it sends to '{}', and it should send to '{}'",
            there.url, told.url
        ),
    );
    is(!there.push, "push events are not ticked".to_owned());
    is(!there.tag_push, "tag push events are not ticked".to_owned());
    is(
        !there.branches.is_empty(),
        format!("it tells only of branches like '{}'", there.branches),
    );
    let unsigned = there.is_signed == Some(false);
    is(
        told.is_signed && unsigned,
        "it has no signing token, and only signed deliveries are taken".to_owned(),
    );
    is(
        !told.is_signed && there.has_token == Some(false),
        "it has no secret token".to_owned(),
    );
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(id: &str) -> protocol::Hook {
        protocol::Hook {
            name: "project".into(),
            url: format!("https://hooks.example/hooks/{id}"),
            secret_token: Secret("secret".into()),
            is_signed: false,
            warnings: Vec::new(),
        }
    }

    fn there(id: u64, url: &str) -> ProjectHook {
        ProjectHook {
            id,
            url: url.into(),
            push: true,
            tag_push: true,
            branches: String::new(),
            status: WORKS.into(),
            disabled_until: None,
            has_token: Some(true),
            is_signed: None,
        }
    }

    #[test]
    fn our_hook_is_found_under_another_address_and_nobody_elses_is() {
        let hook = Hook {
            id: "0123".into(),
            token: Secret("secret".into()),
            signing: None,
        };
        let told = told("0123");
        let found = |urls: &[&str]| {
            let hooks = urls.iter().zip(1..).map(|(url, id)| there(id, url));
            ours(hooks.collect(), &told, &hook).map(|hook| hook.id)
        };
        let (other, old) = (
            "https://ci.example/hooks/4567",
            "http://1.2.3.4:5/hooks/0123",
        );
        assert_eq!(found(&[other]), None);
        assert_eq!(found(&[other, old]), Some(2));
        assert_eq!(found(&[other, old, &told.url]), Some(3));
    }

    #[test]
    fn what_keeps_a_hook_from_working_is_named() {
        let told = told("0123");
        assert_eq!(wrong(&there(1, &told.url), &told), [""; 0]);
        let odd = ProjectHook {
            push: false,
            tag_push: false,
            branches: "release/*".into(),
            status: "disabled".into(),
            has_token: Some(false),
            ..there(1, "http://1.2.3.4:5/hooks/0123")
        };
        assert_eq!(wrong(&odd, &told).len(), 6);
        let signed = protocol::Hook {
            is_signed: true,
            ..told
        };
        let unsigned = ProjectHook {
            is_signed: Some(false),
            ..there(1, &signed.url)
        };
        assert_eq!(wrong(&unsigned, &signed).len(), 1);
    }
}
