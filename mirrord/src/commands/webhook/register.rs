//! `mirrord webhook register`: creates or corrects the hook of a mirror at its GitLab.

use std::process::ExitCode;

use clap::Args;
use common::{
    client::something_else,
    paths::Paths,
    protocol::{self, WebhookReply},
    text::masked,
};
use serde_json::json;

use super::{
    super::print::{print, print_json, print_warnings},
    at_gitlab::{GitlabArguments, exit_code, found_json},
    call_webhook,
    hook::hook_json,
};

/// Create the mirror's hook at its GitLab, or correct the one that is there
///
/// It takes a token with the scope 'api' of somebody who is a Maintainer there. It is asked
/// for, used for this, and kept nowhere. If GitLab can sign deliveries, it is told to. A
/// hook that GitLab has switched off is tested, and is on again when the test arrives.
///
///     mirrord webhook register project --token-stdin <token-file
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Register {
    #[command(flatten)]
    gitlab: GitlabArguments,
}

impl Register {
    /// Has the daemon create or correct the hook, and prints the result.
    pub(super) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let at = self.gitlab.at_gitlab(paths)?;
        let request = protocol::Webhook::Register(Box::new(at));
        let WebhookReply::Registered {
            hook,
            is_new,
            found,
        } = call_webhook(paths, request)?
        else {
            return Err(something_else().into());
        };
        if self.gitlab.json {
            let mut object = found_json(&found);
            object["created"] = json!(is_new);
            object["hook"] = hook_json(&hook);
            print_json(&object)?;
        } else {
            let done = match is_new {
                true => "GitLab has a hook for it now",
                false => "the hook at GitLab is as it should be",
            };
            let signed = match hook.is_signed {
                true => ", and what it sends is signed",
                false => "",
            };
            let name = masked(hook.name.as_bytes());
            print(&format!("{name}: {done}{signed}\n"))?;
        }
        print_warnings(None, &hook.warnings);
        print_warnings(None, &found.wrong);
        Ok(exit_code(&found))
    }
}
