//! What became of each ref, as `git push --porcelain` reports it.

use std::collections::HashMap;

use common::protocol::{ATOMIC_PUSH_FAILURE, Lease};

use super::{
    ref_update::{NEW, RefUpdate, Rewrite, Verdict},
    scratch::Scratch,
    stderr::Stderr,
};

/// The verdicts on the refs of a push.
pub(crate) struct Outcomes {
    /// The reported outcomes, by the refs' names at upstream.
    reported: HashMap<Vec<u8>, Result<Vec<Reported>, String>>,
    /// Why upstream does not have the other refs.
    otherwise: String,
}

impl Outcomes {
    /// Reads what `git push --porcelain` printed, as far as it came. `may_be_sent` says whether git may have begun to send.
    ///
    /// git names all refs; one that names none knows nothing of them, whatever its status.
    pub(crate) fn new(report: &[u8], stderr: &Stderr, may_be_sent: bool) -> Self {
        let reason = stderr.reason(may_be_sent);
        let mut reported: HashMap<_, Result<Vec<Reported>, String>> = HashMap::new();
        // A line without its end may be cut off, and is not read.
        for line in report.split_inclusive(|byte| *byte == b'\n') {
            let Some(line) = line.strip_suffix(b"\n") else {
                continue;
            };
            match parse_line(line, &reason) {
                Some((name, Ok(line))) => match reported.get_mut(&name) {
                    Some(Ok(lines)) => lines.push(line),
                    _ => drop(reported.insert(name, Ok(vec![line]))),
                },
                Some((name, Err(reason))) => drop(reported.insert(name, Err(reason))),
                None => {}
            }
        }
        Self {
            reported,
            otherwise: reason,
        }
    }

    /// The verdict on an update.
    pub(crate) fn verdict(&self, update: &RefUpdate<'_>, scratch: &Scratch) -> Verdict {
        let Some(reported) = self.reported.get(&update.name) else {
            return Err(self.otherwise.clone());
        };
        let lines = reported.clone()?;
        let rewrites = lines.into_iter().map(|line| {
            // git has no object for it here.
            let written = || scratch.value(&line.name).or(update.command.new.clone());
            Rewrite {
                new: update.command.new.as_ref().and(line.new.or_else(written)),
                name: line.name,
                old: line.old,
                forced: line.forced,
            }
        });
        let rewrites: Vec<_> = rewrites.collect();
        // The client does not know what such a ref had.
        let is_unseen = update.lease == Lease::None && update.command.old.is_none();
        let is_as_asked = |rewrite: &Rewrite| {
            rewrite.name == update.name
                && rewrite.new == update.command.new
                && (!is_unseen || rewrite.old.is_none())
        };
        Ok(match rewrites.iter().all(is_as_asked) {
            true => Vec::new(),
            false => rewrites,
        })
    }
}

/// What git has reported of an accepted ref.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reported {
    /// The ref that upstream says it has changed.
    name: Vec<u8>,
    /// Its values before and after, where git prints them.
    old: Option<String>,
    new: Option<String>,
    forced: bool,
}

/// Reads `<flag>\t<from>:<to>\t<summary> (<reason>)`, which git-push(1) describes. `otherwise` is the reason where upstream
/// has not reported on the ref.
fn parse_line(line: &[u8], otherwise: &str) -> Option<(Vec<u8>, Result<Reported, String>)> {
    let mut fields = line.splitn(3, |byte| *byte == b'\t');
    let (flag, refs, summary) = (fields.next()?, fields.next()?, fields.next()?);
    let colon = refs.iter().position(|byte| *byte == b':')?;
    // A server may report that it gave a ref another name, so the name is read from what was sent. A deletion sends
    // nothing.
    let shown = refs[colon + 1..].to_vec();
    let sent = refs[..colon].strip_prefix(NEW).and_then(|sent| {
        let number = sent.iter().position(|byte| *byte == b'/')?;
        Some([b"refs", &sent[number..]].concat())
    });
    let name = sent.unwrap_or_else(|| shown.clone());
    let verdict = match flag {
        b" " | b"+" | b"-" | b"*" | b"=" => {
            let summary = String::from_utf8_lossy(summary);
            let values = summary.split(' ').next().unwrap_or_default();
            let values = values.split_once("...").or_else(|| values.split_once(".."));
            let (old, new) = values.unzip();
            Ok(Reported {
                name: shown,
                old: old.map(str::to_owned),
                new: new.map(str::to_owned),
                forced: flag == b"+",
            })
        }
        b"!" => {
            let summary = String::from_utf8_lossy(summary);
            let reason = summary
                .split_once("] (")
                .and_then(|(kind, reason)| Some((kind, reason.strip_suffix(')')?)));
            Err(match reason {
                // Upstream got everything, and then sent no report.
                Some(("[remote failure", _)) => otherwise.to_owned(),
                // git and servers have different texts for the same reason.
                Some((_, "atomic push failed")) => ATOMIC_PUSH_FAILURE.to_owned(),
                Some((_, reason)) => reason.to_owned(),
                None => summary.into_owned(),
            })
        }
        _ => return None,
    };
    Some((name, verdict))
}

#[cfg(test)]
mod tests {
    use common::protocol::Command;

    use super::*;

    const OLD_VALUE: &str = "1111111111111111111111111111111111111111";
    const NEW_VALUE: &str = "2222222222222222222222222222222222222222";

    fn outcomes(report: &str, stderr: &str, may_be_sent: bool) -> Outcomes {
        let mut read = Stderr::default();
        for line in stderr.lines() {
            read.add_line(line.as_bytes(), false, "gitlab.example");
        }
        Outcomes::new(report.as_bytes(), &read, may_be_sent)
    }

    /// The verdict on a push of this ref.
    fn verdict(outcomes: &Outcomes, name: &str) -> Verdict {
        let dir = tempfile::tempdir().expect("temp dir");
        let scratch = Scratch::new(dir.path(), "https://h/p", &[], false).expect("ours");
        let is_deleted = name.ends_with("gone");
        let command = Command {
            name: name.into(),
            old: Some(OLD_VALUE.to_owned()),
            new: (!is_deleted).then(|| NEW_VALUE.to_owned()),
        };
        let update = RefUpdate {
            at: 0,
            command: &command,
            name: name.into(),
            lease: Lease::None,
        };
        outcomes.verdict(&update, &scratch)
    }

    #[test]
    fn each_ref_gets_upstreams_own_verdict() {
        let report = format!(
            "To http://gitlab.example/p.git\n\
             \x20\trefs/new/000/heads/a:refs/heads/a\t{OLD_VALUE}..{NEW_VALUE}\n\
             -\t:refs/heads/gone\t[deleted]\n\
             !\trefs/new/001/heads/b:refs/heads/b\t[remote rejected] (pre-receive hook declined (twice))\n\
             !\trefs/new/all/heads/c:refs/heads/c\t[rejected] (stale info)\nDone\n"
        );
        let outcomes = outcomes(&report, "error: failed to push some refs to 'x'", true);
        for done in ["refs/heads/a", "refs/heads/gone"] {
            assert_eq!(verdict(&outcomes, done), Ok(Vec::new()), "{done}");
        }
        let refused = |reason: &str| Err(reason.to_owned());
        assert_eq!(
            verdict(&outcomes, "refs/heads/b"),
            refused("pre-receive hook declined (twice)")
        );
        assert_eq!(verdict(&outcomes, "refs/heads/c"), refused("stale info"));
    }

    #[test]
    fn what_a_server_did_otherwise_than_it_was_asked_is_read() {
        let report = format!(
            "*\trefs/new/000/for/main:refs/pull/1/head\t[new reference]\n\
             +\trefs/new/000/for/main:refs/pull/2/head\t{NEW_VALUE}...{OLD_VALUE} (forced update)\n"
        );
        let rewrite = |name: &str, old: Option<&str>, new: &str, forced| Rewrite {
            name: name.into(),
            old: old.map(str::to_owned),
            new: Some(new.to_owned()),
            forced,
        };
        assert_eq!(
            verdict(&outcomes(&report, "", true), "refs/for/main"),
            Ok(vec![
                rewrite("refs/pull/1/head", None, NEW_VALUE, false),
                rewrite("refs/pull/2/head", Some(NEW_VALUE), OLD_VALUE, true),
            ])
        );
    }

    #[test]
    fn a_push_that_was_cut_off_is_not_called_refused() {
        let reason = |report: &str, stderr: &str| {
            verdict(&outcomes(report, stderr, true), "refs/heads/a").expect_err("not accepted")
        };
        let cut = "send-pack: unexpected disconnect while reading sideband packet\n\
                   fatal: the remote end hung up unexpectedly";
        let half = " \trefs/new/000/heads/a:refs/heads/a\t1..2";
        for reason in [reason("", cut), reason(half, cut), reason("", "")] {
            assert!(reason.contains("may have reached upstream"), "{reason}");
        }
        let silent = "!\trefs/new/000/heads/a:refs/heads/a\t[remote failure] (remote failed to report status)\n";
        assert!(reason(silent, "").contains("may have reached upstream"));
        let never = "fatal: unable to access 'https://me:secret@h/p/': Connection refused";
        assert_eq!(
            verdict(&outcomes("", never, false), "refs/heads/a"),
            Err("unable to access 'https://h/p/': Connection refused".to_owned())
        );
        let refused = "error: RPC failed; HTTP 413 curl 22 The requested URL returned error: 413\n\
                       fatal: the remote end hung up unexpectedly";
        assert!(!reason("", refused).contains("may have"));
        let too_long = "error: cannot run git: Argument list too long";
        assert!(!reason("", too_long).contains("may have"));
    }
}
