//! Output about the hook of a mirror: what to paste into the form of its host.

use common::{
    client::something_else,
    paths::Paths,
    protocol::{self, Hook, Secret, WebhookReply},
    text::masked,
};
use serde_json::{Value, json};

use super::call_webhook;

/// Sends a request that is answered by a hook.
pub(super) fn call_for_hook(paths: &Paths, request: protocol::Webhook) -> anyhow::Result<Hook> {
    match call_webhook(paths, request)? {
        WebhookReply::Hook(hook) => Ok(hook),
        _ => Err(something_else().into()),
    }
}

/// The hook for people, with the field names of GitLab's form.
pub(super) fn hook_text(hook: &Hook) -> String {
    let Secret(token) = &hook.secret_token;
    let signing = match hook.is_signed {
        true => "known; only signed deliveries are taken",
        false => "none",
    };
    format!(
        "URL: {}\nSecret token: {}\nTrigger: Push events, and Tag push events\nSigning token: {signing}\n",
        masked(hook.url.as_bytes()),
        masked(token.as_bytes()),
    )
}

/// The hook for scripts.
pub(super) fn hook_json(hook: &Hook) -> Value {
    let Secret(token) = &hook.secret_token;
    json!({
        "name": hook.name,
        "url": hook.url,
        "secret_token": token,
        "triggers": ["push_events", "tag_push_events"],
        "signed": hook.is_signed,
    })
}
