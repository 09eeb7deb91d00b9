//! `mirrord test`: tests step by step whether a mirror of an upstream would work, and changes nothing.

use std::process::ExitCode;

use clap::Args;
use common::{
    address::upstream_url::Address,
    client::{Client, resolve, something_else},
    paths::Paths,
    progress::Renderer,
    protocol::{self, Check, Failure, Reply, Request, Step, Verdict},
    text::masked,
};
use serde_json::{Value, json};

use super::{
    block_on, credential,
    print::{is_utf8_terminal, print, print_json},
    read_user_config, resolve_address,
    settings::SettingOptions,
    terminal_renderer,
};

/// Try out an upstream step by step, and change nothing
///
/// It goes the way of a sync, with the same settings and logins: the name, the connection,
/// the certificate or host key, the login, and what there is to read. Then it looks at
/// what pushes and large files would meet, and at what the refspecs match. Nothing is
/// downloaded or pushed, and no mirror is made.
///
///     mirrord test https://gitlab.example/group/project.git --track +refs/heads/main
///
/// For a mirror that exists its own settings are used, unless others are given here. The
/// exit code is 0 if a mirror would work, else 1; the steps after 'may read' do not decide
/// that. 'mirrord add' makes the same test first.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Test {
    /// A mirror's name, or an upstream as git clone would take it
    #[arg(value_name = "NAME|URL")]
    what: String,
    /// Print it as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    credential: credential::CredentialOptions,
    // The settings come last: clap puts what follows a `next_help_heading` under the same heading.
    #[command(flatten)]
    settings: SettingOptions,
}

impl Test {
    /// Has the daemon test it, and prints each step as it is done.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let config = read_user_config()?;
        let address = resolve_address(&self.what, &config)?;
        let at = || {
            Ok(match &address {
                Address::Url(url, _) => url.origin(),
                Address::Name(name) => name.to_string(),
            })
        };
        let request = Request::Test(protocol::Test {
            fetch: resolve::request(&address, &config)?,
            settings: self.settings.as_typed(),
            credential: self.credential.read(at, &config)?,
        });
        let mut steps = Vec::new();
        let mut printed = Ok(());
        let on_step = |step: Step| {
            if self.json {
                steps.push(step);
            } else if printed.is_ok() {
                let hint = step.hint.as_ref();
                let hint = hint.map(|hint| format!("hint: {}\n", masked(hint.as_bytes())));
                let text = format!("{}\n{}", step_line(&step), hint.unwrap_or_default());
                printed = print(&text);
            }
        };
        let reply = block_on(call_in_steps(paths, &request, terminal_renderer(), on_step))?;
        printed?;
        let Reply::Tested { works, url } = reply else {
            return Err(something_else().into());
        };
        let url = masked(url.as_bytes());
        if self.json {
            print_json(&to_json(works, &url, &steps))?;
        } else {
            let verdict = match works {
                true => "would work",
                false => "would not work",
            };
            print(&format!("a mirror of '{url}' {verdict}\n"))?;
        }
        Ok(match works {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}

/// Sends a request to the daemon and returns its answer; calls `on_step` for each step of the test before that.
pub(super) async fn call_in_steps(
    paths: &Paths,
    request: &Request,
    mut renderer: Renderer<std::io::Stderr>,
    on_step: impl FnMut(Step),
) -> Result<Reply, Failure> {
    let mut client = Client::connect_or_start(paths).await?;
    client
        .converse_in_steps(request, &mut renderer, on_step)
        .await
}

/// A step for people.
pub(super) fn step_line(step: &Step) -> String {
    let time = match step.took {
        took if took >= 1000 => format!("{} ms", took / 1000),
        _ => "<1 ms".to_owned(),
    };
    let detail = masked(step.detail.as_bytes());
    format!(
        "{} {:13} {time:>8}  {detail}",
        mark(step.verdict, is_utf8_terminal()),
        label(step.check)
    )
}

fn mark(verdict: Verdict, utf8: bool) -> &'static str {
    match (verdict, utf8) {
        (Verdict::Passed, true) => "✓",
        (Verdict::Failed, true) => "✗",
        (Verdict::Unknown, true) => "–",
        (Verdict::Passed, false) => "ok    ",
        (Verdict::Failed, false) => "FAILED",
        (Verdict::Unknown, false) => "-     ",
    }
}

fn label(check: Check) -> &'static str {
    match check {
        Check::Resolve => "name resolved",
        Check::Connect => "connected",
        Check::Certificate => "certificate",
        Check::HostKey => "host key",
        Check::Redirect => "redirected",
        Check::SignIn => "signed in",
        Check::Read => "may read",
        Check::Push => "may push",
        Check::Atomic => "atomic pushes",
        Check::PushOptions => "push options",
        Check::Lfs => "LFS endpoint",
        Check::Refspecs => "refspecs",
    }
}

/// The whole test, for scripts.
fn to_json(works: bool, url: &str, steps: &[Step]) -> Value {
    let steps = steps.iter().map(|step| {
        json!({
            "step": check_key(step.check),
            "outcome": match step.verdict {
                Verdict::Passed => "passed",
                Verdict::Failed => "failed",
                Verdict::Unknown => "unknown",
            },
            "milliseconds": milliseconds(step.took),
            "detail": step.detail,
            "hint": step.hint,
        })
    });
    json!({ "works": works, "url": url, "steps": steps.collect::<Vec<_>>() })
}

fn milliseconds(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

fn check_key(check: Check) -> &'static str {
    match check {
        Check::Resolve => "resolve",
        Check::Connect => "connect",
        Check::Certificate => "certificate",
        Check::HostKey => "host-key",
        Check::Redirect => "redirect",
        Check::SignIn => "sign-in",
        Check::Read => "read",
        Check::Push => "push",
        Check::Atomic => "atomic",
        Check::PushOptions => "push-options",
        Check::Lfs => "lfs",
        Check::Refspecs => "refspecs",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marks_have_an_ascii_form_and_align() {
        for verdict in [Verdict::Passed, Verdict::Failed, Verdict::Unknown] {
            assert!(mark(verdict, false).is_ascii());
            assert_eq!(mark(verdict, false).len(), "FAILED".len(), "lines align");
            assert_eq!(mark(verdict, true).chars().count(), 1);
        }
    }
}
