//! The arguments and the output of `webhook register` and `webhook check`. The token for GitLab's API is asked for and not
//! kept.

use std::process::ExitCode;

use clap::Args;
use common::{
    address::upstream_url::{Address, UpstreamUrl},
    client::{resolve, something_else},
    paths::Paths,
    protocol::{AtGitLab, Delivery, Failure, Found, Secret},
    text::masked,
};
use serde_json::{Value, json};

use super::super::{
    block_on,
    credential::{ask_secret, secret_from_stdin},
    read_user_config, resolve_address, resolve_mirror,
    show::show_mirror,
};

/// The arguments of both commands.
#[derive(Args)]
pub(super) struct GitlabArguments {
    /// The mirror's name, or its URL
    name: String,
    /// Read the token from stdin
    #[arg(long)]
    token_stdin: bool,
    /// Print what is there as one JSON object
    #[arg(long)]
    pub json: bool,
}

impl GitlabArguments {
    /// Resolves the mirror, and reads the token from stdin or asks for it.
    pub(super) fn at_gitlab(&self, paths: &Paths) -> Result<AtGitLab, Failure> {
        let config = read_user_config()?;
        let address = resolve_address(&self.name, &config)?;
        let token = match self.token_stdin {
            true => secret_from_stdin("token")?,
            false => {
                let origin = self.origin(paths)?;
                let prompt = format!("Token for '{origin}', with the scope 'api': ");
                let token = ask_secret(&prompt, &config)?.filter(|Secret(text)| !text.is_empty());
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
        let shown = block_on(show_mirror(paths, resolve_mirror(&self.name)?));
        let shown = shown.map_err(|err| {
            err.downcast::<Failure>()
                .unwrap_or_else(|_| something_else())
        })?;
        let origin = |url: UpstreamUrl| masked(url.origin().as_bytes());
        match Address::parse(&shown.mirror.health.info.url) {
            Ok(Address::Url(url, _)) => Ok(origin(url)),
            _ => Err(something_else()),
        }
    }
}

/// The exit code: 1 if something is wrong with the hook.
pub(super) fn exit_code(found: &Found) -> ExitCode {
    match found.wrong.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// The hook at GitLab, for people.
pub(super) fn found_text(found: &Found) -> String {
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
                line("delivery", &delivery_text(delivery));
            }
        }
    }
    found.wrong.iter().for_each(|wrong| line("wrong", wrong));
    text
}

fn delivery_text(delivery: &Delivery) -> String {
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

/// The hook at GitLab, for scripts.
pub(super) fn found_json(found: &Found) -> Value {
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
