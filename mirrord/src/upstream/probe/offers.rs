//! Whether upstream offers pushes and large files. Nothing is pushed: the advertisement of receive-pack is read, and an empty
//! list of commands is sent.

use crate::{
    process::{child, watch::cancelled},
    upstream::{Beginning, Trouble, Upstreams, http, local, ssh},
};
use std::{
    process::{Command, Stdio},
    time::Duration,
};

use common::{
    address::upstream_url::Scheme,
    protocol::{Check, Failure, OrFailure, Verdict},
    refspec::Refspecs,
    text::masked,
};
use reqwest::StatusCode;

use super::{Probe, is_cancelled, read::Read, reason, step, timed};

/// The flush packet, which ends a push without commands.
const FLUSH: &[u8] = b"0000";

/// The content type of git-lfs, for requests and answers.
const LFS_CONTENT_TYPE: &str = "application/vnd.git-lfs+json";

/// A batch request for a file that nobody has. To a request for no file GitLab answers as if large files were switched off
/// (its `lfs_api_controller.rb`).
const NO_FILE: &str = r#"{"operation":"download","transfers":["basic"],"objects":[{"oid":"0000000000000000000000000000000000000000000000000000000000000000","size":1}]}"#;

/// The reason where only git can sign in, and so nothing was asked.
const ONLY_GIT: &str = "only git itself can ask here";

/// The answer of upstream to a push.
enum PushOffer {
    /// Upstream would take a push, with these capabilities.
    Takes(Vec<String>),
    /// Upstream would refuse a push, for this reason.
    Refuses(String),
    /// The answer does not tell, for this reason.
    Unknown(String),
}

impl Probe<'_> {
    /// Tests what no mirror needs, and its owner should know.
    pub(crate) fn check_offers(&self, track: &Refspecs, read: &Read) -> Result<(), Failure> {
        self.push(read.by_git)?;
        self.large_files(read.by_git)?;
        let is_empty = read.everything.advertisement.refs.is_empty();
        self.refspecs(track, &read.tracked, is_empty);
        Ok(())
    }

    fn push(&self, by_git: bool) -> Result<(), Failure> {
        let (offer, took) = timed(|| match self.url.scheme() {
            _ if by_git => Ok(PushOffer::Unknown(ONLY_GIT.into())),
            Scheme::Http | Scheme::Https => self.offer_by_http(),
            Scheme::Ssh => {
                match self
                    .upstreams
                    .ssh
                    .receive_pack(self.url, self.access, self.watch)?
                {
                    Some((command, _asking)) => self.offer_of_child(command, ssh::explain),
                    None => Ok(PushOffer::Unknown(ONLY_GIT.into())),
                }
            }
            Scheme::File => {
                let command = local::receive_pack(self.url, self.access);
                self.offer_of_child(command, local::explain)
            }
        });
        let offer = match offer {
            Ok(offer) => offer,
            Err(trouble) if is_cancelled(&trouble) => return Err(*trouble.failure),
            Err(trouble) => PushOffer::Unknown(reason(self.url, &trouble.failure)),
        };
        match offer {
            PushOffer::Takes(capabilities) => {
                self.passed(Check::Push, took, "as far as upstream tells beforehand");
                for (check, name) in [
                    (Check::Atomic, "atomic"),
                    (Check::PushOptions, "push-options"),
                ] {
                    let (verdict, text) = match capabilities.iter().any(|one| one == name) {
                        true => (Verdict::Passed, "advertised"),
                        false => (Verdict::Failed, "not advertised"),
                    };
                    (self.report)(step(check, verdict, Duration::ZERO, text.into()));
                }
            }
            PushOffer::Refuses(why) => {
                (self.report)(step(Check::Push, Verdict::Failed, took, why));
            }
            PushOffer::Unknown(why) => self.unknown(Check::Push, took, why),
        }
        Ok(())
    }

    fn offer_by_http(&self) -> Result<PushOffer, Trouble> {
        let Upstreams {
            clients, trials, ..
        } = self.upstreams;
        let (login, own) = (&self.access.login, self.access.has_own_login());
        if let Some(login) = login
            && let Err(failure) = trials.may_push(self.url, login, own)
        {
            return Ok(PushOffer::Refuses(reason(self.url, &failure)));
        }
        let http = http::HttpSession::new(self.url, self.access, clients, self.watch)?;
        let answer = http.get_below("/info/refs?service=git-receive-pack")?;
        if let (Some(login), StatusCode::UNAUTHORIZED) = (login, answer.status) {
            trials.record_push_refused(&self.url.origin(), login, own);
        }
        Ok(match answer.status {
            StatusCode::OK => match capabilities(&answer.body) {
                Some(capabilities) => PushOffer::Takes(capabilities),
                None => PushOffer::Unknown("what answered is not git".into()),
            },
            StatusCode::UNAUTHORIZED if self.access.is_anonymous() => PushOffer::Unknown(
                "upstream wants a login for that, and to read none was needed".into(),
            ),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                PushOffer::Refuses(refusal_text(&answer))
            }
            status if status.is_client_error() => PushOffer::Refuses(refusal_text(&answer)),
            _ => PushOffer::Unknown(refusal_text(&answer)),
        })
    }

    fn offer_of_child(
        &self,
        mut command: Command,
        meaning: crate::upstream::child::ExplainStderr,
    ) -> Result<PushOffer, Trouble> {
        command.stdout(Stdio::piped());
        let budget = Some(self.access.http.no_progress);
        let ended = child::run_reading(command, FLUSH.to_vec(), budget, self.watch, |_| ())
            .or_failure("cannot ask for a push")?;
        if self.watch.is_cancelled() {
            return Err(cancelled().into());
        }
        if let Some(capabilities) = capabilities(&ended.stdout) {
            return Ok(PushOffer::Takes(capabilities));
        }
        let stderr = String::from_utf8_lossy(&ended.stderr);
        let why = meaning(self.url, &stderr, ended.status.code());
        Ok(match why {
            Some(trouble) => PushOffer::Refuses(reason(self.url, &trouble.failure)),
            None => PushOffer::Unknown("upstream said nothing".into()),
        })
    }

    fn large_files(&self, by_git: bool) -> Result<(), Failure> {
        let unasked = match self.url.scheme() {
            Scheme::Ssh => Some("not asked over ssh"),
            Scheme::File => Some("not asked on this machine"),
            Scheme::Http | Scheme::Https => by_git.then_some(ONLY_GIT),
        };
        if let Some(why) = unasked {
            self.unknown(Check::Lfs, Duration::ZERO, why);
            return Ok(());
        }
        // The address that git-lfs itself derives from the URL.
        let stem = self.url.as_str();
        let stem = stem.strip_suffix(".git").unwrap_or(stem);
        let endpoint = format!("{stem}.git/info/lfs");
        let (answer, took) = timed(|| {
            let clients = &self.upstreams.clients;
            let http = http::HttpSession::new(self.url, self.access, clients, self.watch)?;
            http.post_json(
                &format!("{endpoint}/objects/batch"),
                LFS_CONTENT_TYPE,
                NO_FILE,
            )
        });
        let (verdict, text) = match answer {
            Err(trouble) if is_cancelled(&trouble) => return Err(*trouble.failure),
            Err(trouble) => (Verdict::Unknown, reason(self.url, &trouble.failure)),
            Ok(answer) => match answer.status {
                // A server that finds fault with the request has understood it.
                StatusCode::OK | StatusCode::UNPROCESSABLE_ENTITY => (Verdict::Passed, endpoint),
                StatusCode::UNAUTHORIZED => (
                    Verdict::Unknown,
                    format!("{endpoint} wants a login, and to read none was needed"),
                ),
                StatusCode::FORBIDDEN => (
                    Verdict::Failed,
                    format!("{endpoint} is switched off, or not for this login"),
                ),
                _ => (Verdict::Failed, "none".to_owned()),
            },
        };
        (self.report)(step(Check::Lfs, verdict, took, text));
        Ok(())
    }
}

/// Returns the text of a refusal, in one line.
fn refusal_text(answer: &http::Answer) -> String {
    let error = format!("error {}", answer.status.as_u16());
    if !answer.content_type.starts_with("text/plain") {
        return error;
    }
    let text = String::from_utf8_lossy(&answer.body);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    match line {
        Some(line) => {
            let line: String = masked(line.as_bytes()).chars().take(200).collect();
            format!("{} ({error})", line.trim_end_matches('.'))
        }
        None => error,
    }
}

/// Reads the capabilities, which follow the first ref of an advertisement in pkt-lines (gitprotocol-pack(5)).
fn capabilities(advertisement: &[u8]) -> Option<Vec<String>> {
    let Beginning::Complete { capabilities, .. } = Beginning::read(advertisement) else {
        return None;
    };
    let names = String::from_utf8_lossy(&capabilities);
    Some(names.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_found_behind_the_first_ref() {
        let oid = "0123456789012345678901234567890123456789";
        let line = |text: String| format!("{:04x}{text}", text.len() + 4);
        let first = line(format!("{oid} refs/heads/main\0 report-status atomic\n"));
        let second = line(format!("{oid} refs/heads/other\n"));
        let over_http = format!(
            "{}0000{first}{second}0000",
            line("# service=git-receive-pack\n".into())
        );
        let expected = Some(vec!["report-status".to_owned(), "atomic".to_owned()]);
        for advertisement in [over_http, first] {
            assert_eq!(capabilities(advertisement.as_bytes()), expected);
        }
        for none in [
            "",
            "0000",
            "<html>",
            "00ff",
            "001e# service=git-receive-pack\n",
        ] {
            assert_eq!(capabilities(none.as_bytes()), None, "{none}");
        }
    }
}
