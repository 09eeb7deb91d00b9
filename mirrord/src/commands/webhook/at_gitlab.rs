//! The hook at GitLab itself, with a token that is asked for and not kept.

use std::process::ExitCode;

use clap::Args;
use common::{
    address::{
        resolve,
        upstream_url::{Address, UpstreamUrl},
    },
    paths::Paths,
    progress::masked,
    protocol::{
        self, AtGitLab, Delivery, Failure, Found, Secret, WebhookSaid, client::something_else,
    },
};
use serde_json::{Value, json};

use super::{
    super::{
        address, converse,
        credential::{asked, of_stdin},
        mirror,
        print::{print, print_json, warn},
        show::shown,
        user_config,
    },
    hook, said,
};

/// Make the mirror's hook at its GitLab, or mend the one that is there
///
/// It takes a token with the scope 'api' of somebody who is a Maintainer there. It is asked
/// for, used for this, and kept nowhere. Where GitLab can sign what it sends, it is told to.
/// One that GitLab has switched off is tested, and is on again when the test arrives.
///
///     mirrord webhook register project --token-stdin <token-file
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Register {
    #[command(flatten)]
    what: What,
}

/// Look how the mirror's hook is at its GitLab
///
/// Whether it is there and on, what it tells of, and how its last deliveries went. The exit
/// code is 1 when something is wrong with it; 'mirrord webhook register' mends that.
///
///     mirrord webhook check project --token-stdin <token-file
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Check {
    #[command(flatten)]
    what: What,
}

#[derive(Args)]
struct What {
    /// The mirror's name, or its URL
    name: String,
    /// Read the token from stdin
    #[arg(long)]
    token_stdin: bool,
    /// Print what is there as one JSON object
    #[arg(long)]
    json: bool,
}

impl Register {
    /// Has the daemon do it, and says what it has done.
    pub(super) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let at = self.what.at_gitlab(paths)?;
        let request = protocol::Webhook::Register(Box::new(at));
        let WebhookSaid::Registered {
            hook,
            is_new,
            found,
        } = said(paths, request)?
        else {
            return Err(something_else().into());
        };
        if self.what.json {
            let mut all = described(&found);
            all["created"] = json!(is_new);
            all["hook"] = hook::described(&hook);
            print_json(&all)?;
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
        warn(None, &hook.warnings);
        warn(None, &found.wrong);
        Ok(code(&found))
    }
}

impl Check {
    /// Has the daemon look, and says what it has seen.
    pub(super) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let at = self.what.at_gitlab(paths)?;
        let request = protocol::Webhook::Check(Box::new(at));
        let WebhookSaid::Found(found) = said(paths, request)? else {
            return Err(something_else().into());
        };
        match self.what.json {
            true => print_json(&described(&found))?,
            false => print(&text(&found))?,
        }
        Ok(code(&found))
    }
}

impl What {
    fn at_gitlab(&self, paths: &Paths) -> Result<AtGitLab, Failure> {
        let config = user_config()?;
        let address = address(&self.name, &config)?;
        let token = match self.token_stdin {
            true => of_stdin("token")?,
            false => {
                let origin = self.origin(paths)?;
                let prompt = format!("Token for '{origin}', with the scope 'api': ");
                let token = asked(&prompt, &config)?.filter(|Secret(text)| !text.is_empty());
                let nobody = || {
                    Failure::here("could not read the token: nobody can be asked")
                        .hinted("give it on stdin: --token-stdin")
                };
                token.ok_or_else(nobody)?
            }
        };
        Ok(AtGitLab {
            fetch: resolve::request(&address, &config)?,
            token,
        })
    }

    /// The scheme, host and port that the token is for.
    fn origin(&self, paths: &Paths) -> Result<String, Failure> {
        let shown = converse(shown(paths, mirror(&self.name)?));
        let (shown, _) = shown.map_err(|err| {
            err.downcast::<Failure>()
                .unwrap_or_else(|_| something_else())
        })?;
        let origin = |url: UpstreamUrl| masked(url.origin().as_bytes());
        match Address::parse(&shown.health.info.url) {
            Ok(Address::Url(url, _)) => Ok(origin(url)),
            _ => Err(something_else()),
        }
    }
}

fn code(found: &Found) -> ExitCode {
    match found.wrong.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn text(found: &Found) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        text.push_str(&format!("{key}: {}\n", masked(value.as_bytes())));
    };
    line("name", &found.name);
    line("URL", &found.url);
    line("state", &found.status);
    if let Some(until) = &found.disabled_until {
        line("disabled until", until);
    }
    for (ticked, trigger) in [
        (found.push, "push events"),
        (found.tag_push, "tag push events"),
    ] {
        let ticked = if ticked { "yes" } else { "no" };
        line(trigger, ticked);
    }
    match found.deliveries.as_deref() {
        None => line("deliveries", "this GitLab does not tell"),
        Some([]) => line("deliveries", "none lately"),
        Some(deliveries) => {
            for delivery in deliveries {
                line("delivery", &of_one(delivery));
            }
        }
    }
    found.wrong.iter().for_each(|wrong| line("wrong", wrong));
    text
}

fn of_one(delivery: &Delivery) -> String {
    let at = delivery.at.as_ref().map(|at| format!(" at {at}"));
    let took = delivery.took.map(|took| format!(", after {took} ms"));
    format!(
        "{}: {}{}{}",
        delivery.trigger,
        delivery.status,
        at.unwrap_or_default(),
        took.unwrap_or_default()
    )
}

fn described(found: &Found) -> Value {
    let delivery = |delivery: &Delivery| {
        json!({
            "trigger": delivery.trigger,
            "status": delivery.status,
            "at": delivery.at,
            "milliseconds": delivery.took,
        })
    };
    let deliveries = found.deliveries.as_ref();
    let deliveries = deliveries.map(|all| all.iter().map(delivery).collect::<Value>());
    json!({
        "name": found.name,
        "id": found.id,
        "url": found.url,
        "state": found.status,
        "disabled_until": found.disabled_until,
        "push_events": found.push,
        "tag_push_events": found.tag_push,
        "wrong": found.wrong,
        "deliveries": deliveries,
    })
}
