//! What became of each ref, as `git push --porcelain` reports it.

use std::collections::HashMap;

use common::protocol::ATOMIC_PUSH_FAILURE;

use super::{
    ref_update::{NEW, Verdict},
    stderr::Stderr,
};

/// The verdicts on the refs of a push.
pub(crate) struct Outcomes {
    /// The reported verdicts, by the refs' names at upstream.
    reported: HashMap<Vec<u8>, Verdict>,
    /// The verdict on all other refs.
    otherwise: Verdict,
}

impl Outcomes {
    /// Reads what `git push --porcelain` printed, as far as it came. `may_be_sent` says whether git may have begun to send.
    ///
    /// `is_quiet_success` says whether a quiet git ended well: it names refs only when one of them was refused. A git that
    /// is not quiet names them all; one that names none knows nothing of them, whatever its status.
    pub(crate) fn new(
        report: &[u8],
        stderr: &Stderr,
        may_be_sent: bool,
        is_quiet_success: bool,
    ) -> Self {
        let reason = stderr.reason(may_be_sent);
        let mut reported = HashMap::new();
        let mut is_done = false;
        // A line without its end may be cut off, and is not read.
        for line in report.split_inclusive(|byte| *byte == b'\n') {
            let Some(line) = line.strip_suffix(b"\n") else {
                continue;
            };
            is_done |= line == b"Done";
            if let Some((name, verdict)) = parse_line(line, &reason) {
                reported.insert(name, verdict);
            }
        }
        let all_accepted = is_quiet_success && is_done && reported.is_empty();
        Self {
            reported,
            otherwise: match all_accepted {
                true => Ok(()),
                false => Err(reason),
            },
        }
    }

    /// The verdict on a ref, by its name at upstream.
    pub(crate) fn verdict(&self, name: &[u8]) -> Verdict {
        self.reported.get(name).unwrap_or(&self.otherwise).clone()
    }
}

/// Reads `<flag>\t<from>:<to>\t<summary> (<reason>)`, which git-push(1) describes. `otherwise` is the reason where upstream
/// has not reported on the ref.
fn parse_line(line: &[u8], otherwise: &str) -> Option<(Vec<u8>, Verdict)> {
    let mut fields = line.splitn(3, |byte| *byte == b'\t');
    let (flag, refs, summary) = (fields.next()?, fields.next()?, fields.next()?);
    let colon = refs.iter().position(|byte| *byte == b':')?;
    // A server may report that it gave a ref another name, so the name is read from what was sent. A deletion sends
    // nothing.
    let name = match refs[..colon].strip_prefix(NEW) {
        Some(rest) => [b"refs/", rest].concat(),
        None => refs[colon + 1..].to_vec(),
    };
    let verdict = match flag {
        b" " | b"+" | b"-" | b"*" | b"=" => Ok(()),
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
    use super::*;

    fn outcomes(report: &str, stderr: &str, may_be_sent: bool) -> Outcomes {
        let mut read = Stderr::default();
        for line in stderr.lines() {
            read.add_line(line.as_bytes(), false, "gitlab.example");
        }
        Outcomes::new(report.as_bytes(), &read, may_be_sent, false)
    }

    #[test]
    fn each_ref_gets_upstreams_own_verdict() {
        let report = "To http://gitlab.example/p.git\n\
             \x20\trefs/new/heads/a:refs/heads/a\t1..2\n\
             -\t:refs/heads/gone\t[deleted]\n\
             !\trefs/new/heads/b:refs/heads/b\t[remote rejected] (pre-receive hook declined (twice))\n\
             *\trefs/new/for/main:refs/pull/1/head\t[new reference]\n\
             !\trefs/new/heads/c:refs/heads/c\t[rejected] (stale info)\nDone\n";
        let outcomes = outcomes(report, "error: failed to push some refs to 'x'", true);
        let verdict = |name: &str| outcomes.verdict(name.as_bytes());
        assert_eq!(
            (verdict("refs/heads/a"), verdict("refs/heads/gone")),
            (Ok(()), Ok(()))
        );
        let refused = |reason: &str| Err(reason.to_owned());
        assert_eq!(
            verdict("refs/heads/b"),
            refused("pre-receive hook declined (twice)")
        );
        assert_eq!(verdict("refs/heads/c"), refused("stale info"));
        assert_eq!(
            verdict("refs/for/main"),
            Ok(()),
            "the server calls it otherwise"
        );
    }

    #[test]
    fn a_quiet_git_names_no_ref_when_all_are_accepted() {
        let verdict = |report: &str, is_success: bool| {
            let read = Stderr::default();
            Outcomes::new(report.as_bytes(), &read, true, is_success).verdict(b"refs/heads/a")
        };
        assert_eq!(verdict("Done\n", true), Ok(()));
        assert!(verdict("Done\n", false).is_err(), "another git says it too");
        for cut in ["", "Done", "To x\n"] {
            assert!(verdict(cut, true).is_err(), "'{cut}' is no end");
        }
        let refused = "!\trefs/new/heads/b:refs/heads/b\t[rejected] (stale info)\nDone\n";
        assert!(
            verdict(refused, true).is_err(),
            "then each has its own line"
        );
    }

    #[test]
    fn a_push_that_was_cut_off_is_not_called_refused() {
        let reason = |report: &str, stderr: &str| {
            outcomes(report, stderr, true)
                .verdict(b"refs/heads/a")
                .expect_err("not accepted")
        };
        let cut = "send-pack: unexpected disconnect while reading sideband packet\n\
                   fatal: the remote end hung up unexpectedly";
        let half = " \trefs/new/heads/a:refs/heads/a\t1..2";
        for reason in [reason("", cut), reason(half, cut), reason("", "")] {
            assert!(reason.contains("may have reached upstream"), "{reason}");
        }
        let silent =
            "!\trefs/new/heads/a:refs/heads/a\t[remote failure] (remote failed to report status)\n";
        assert!(reason(silent, "").contains("may have reached upstream"));
        let never = "fatal: unable to access 'https://me:secret@h/p/': Connection refused";
        assert_eq!(
            outcomes("", never, false).verdict(b"refs/heads/a"),
            Err("unable to access 'https://h/p/': Connection refused".to_owned())
        );
        let refused = "error: RPC failed; HTTP 413 curl 22 The requested URL returned error: 413\n\
                       fatal: the remote end hung up unexpectedly";
        assert!(!reason("", refused).contains("may have"));
    }
}
