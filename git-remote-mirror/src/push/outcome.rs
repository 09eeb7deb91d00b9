//! What `git push` says: upstream's words, which are passed on as they come, and what became of each ref.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    process::ChildStderr,
    sync::mpsc::Sender,
    time::Duration,
};

use common::{address::redact, protocol::ATOMIC_PUSH_FAILURE, text::masked};

use crate::push::no_progress::Event;

/// Where the refs that are sent stand in the repository that sends them.
pub(crate) const NEW: &[u8] = b"refs/new/";

/// What git puts behind each of upstream's lines where nothing can clear the rest of a line.
const BLANKS: &[u8] = b"        ";

/// A line that is longer is shown in pieces. A packet of a side band is a sixteenth of this.
const MAX_LINE_BYTES: usize = 1 << 20;

/// What is left of git's words when upstream's have been passed on.
#[derive(Default)]
pub(crate) struct Words {
    /// Why git gave up.
    fatal: Option<String>,
    /// The first thing that went wrong before it did.
    error: Option<String>,
}

impl Words {
    /// Passes on what upstream says, and keeps why git gave up; tells how far it is. Runs until git has ended.
    pub(crate) fn relay(
        stderr: Option<ChildStderr>,
        host: &str,
        progress: bool,
        told: &Sender<Event>,
    ) -> Self {
        let mut words = Self::default();
        let Some(mut stderr) = stderr else {
            return words;
        };
        let (mut line, mut piece, mut open) = (Vec::new(), [0; 4096], false);
        while let Ok(length @ 1..) = stderr.read(&mut piece) {
            for &byte in &piece[..length] {
                let is_end = matches!(byte, b'\n' | b'\r');
                if !is_end {
                    line.push(byte);
                }
                if !is_end && line.len() < MAX_LINE_BYTES {
                    continue;
                }
                if let Some(event) = Event::of_progress(&line) {
                    // Nobody listens any more when git has been given up.
                    let _ = told.send(event);
                }
                if let Some(mut shown) = words.hear(&line, progress, host) {
                    if std::mem::replace(&mut open, is_open(&line)) {
                        shown.insert(0, '\n');
                    }
                    if !open {
                        shown.push(if byte == b'\r' { '\r' } else { '\n' });
                    }
                    // There is nobody left to tell when stderr is gone.
                    let _ = io::stderr().write_all(shown.as_bytes());
                }
                line.clear();
            }
        }
        words
    }

    /// Hears one line; returns what the person is to see of it. Whatever is returned reaches them as `remote: `.
    fn hear(&mut self, line: &[u8], progress: bool, host: &str) -> Option<String> {
        const GITS_OWN: [&str; 9] = [
            "To ",
            "hint: ",
            "Everything up-to-date",
            "error: failed to push some refs",
            "Enumerating objects",
            "Counting objects",
            "Delta compression",
            "Compressing objects",
            "Total ",
        ];
        if let Some(words) = line.strip_prefix(b"remote:") {
            let words = words.strip_prefix(b" ").unwrap_or(words);
            return Some(masked(words.strip_suffix(BLANKS).unwrap_or(words)));
        }
        let line = masked(redact(&String::from_utf8_lossy(line)).as_bytes());
        if line.starts_with("Writing objects") {
            return progress.then(|| format!("To {host}: {line}"));
        }
        if let Some(fatal) = line.strip_prefix("fatal: ") {
            self.fatal.get_or_insert_with(|| fatal.to_owned());
        } else if GITS_OWN.iter().any(|known| line.starts_with(known)) {
        } else if let Some(error) = line.strip_prefix("error: ") {
            self.error.get_or_insert_with(|| error.to_owned());
        } else if !line.is_empty() {
            return Some(line);
        }
        None
    }

    /// It was ended, because upstream said nothing for so long.
    pub(crate) fn give_up(&mut self, limit: Duration) {
        let cause = match limit.as_secs() {
            1 => "no answer for 1 second".to_owned(),
            seconds => format!("no answer for {seconds} seconds"),
        };
        (self.fatal, self.error) = (Some(cause), None);
    }

    /// Why upstream does not have what it did not answer for, and whether that is certain.
    fn reason(&self, sent: bool) -> String {
        let (fatal, error) = (self.fatal.as_deref(), self.error.as_deref());
        let cause = if sent {
            error.or(fatal)
        } else {
            fatal.or(error)
        };
        let cause = cause.unwrap_or("git push was ended");
        // git looks at what the other side can do; a server says by its status that it did not want the request.
        const UNWANTED: [&str; 6] = [
            "the receiving end does not support",
            "RPC failed; HTTP 401",
            "RPC failed; HTTP 403",
            "RPC failed; HTTP 404",
            "RPC failed; HTTP 413",
            "RPC failed; HTTP 429",
        ];
        let unwanted = UNWANTED.iter().any(|begin| cause.starts_with(begin));
        if unwanted || !sent {
            return cause.to_owned();
        }
        format!("{cause}; it may have reached upstream, the same push again tells")
    }
}

/// Whether this is upstream's last line and has no end: git puts its blanks behind every other one.
fn is_open(line: &[u8]) -> bool {
    line.strip_prefix(b"remote: ")
        .is_some_and(|words| !words.is_empty() && !words.ends_with(BLANKS))
}

/// What became of each ref.
pub(crate) struct Outcomes {
    /// By upstream's name; `None` is accepted.
    reported: HashMap<Vec<u8>, Option<String>>,
    /// For those of which nothing was reported; None where all of them went well.
    otherwise: Option<String>,
}

impl Outcomes {
    /// Reads what `git push --porcelain` printed, as far as it came. `sent` says whether git had begun to send;
    /// `well`, whether a quiet git ended well: it names refs only when one of them was refused. A git that is not quiet
    /// names them all, and one that names none knows nothing of them, whatever it ends with.
    pub(crate) fn new(report: &[u8], words: &Words, sent: bool, well: bool) -> Self {
        let otherwise = words.reason(sent);
        let mut reported = HashMap::new();
        let mut done = false;
        // Half a line at the end says nothing.
        for line in report.split_inclusive(|byte| *byte == b'\n') {
            let Some(line) = line.strip_suffix(b"\n") else {
                continue;
            };
            done |= line == b"Done";
            if let Some((name, outcome)) = outcome(line, &otherwise) {
                reported.insert(name, outcome);
            }
        }
        let all_went_well = well && done && reported.is_empty();
        Self {
            reported,
            otherwise: (!all_went_well).then_some(otherwise),
        }
    }

    /// `None` when upstream has accepted this ref, otherwise why not.
    pub(crate) fn of(&self, name: &[u8]) -> Option<String> {
        match self.reported.get(name) {
            Some(outcome) => outcome.clone(),
            None => self.otherwise.clone(),
        }
    }
}

/// Reads `<flag>\t<from>:<to>\t<summary> (<reason>)`.
fn outcome(line: &[u8], otherwise: &str) -> Option<(Vec<u8>, Option<String>)> {
    let mut fields = line.splitn(3, |byte| *byte == b'\t');
    let (flag, refs, summary) = (fields.next()?, fields.next()?, fields.next()?);
    let colon = refs.iter().position(|byte| *byte == b':')?;
    // A server may say that it put what was sent under another name; what was deleted has only its own.
    let name = match refs[..colon].strip_prefix(NEW) {
        Some(rest) => [b"refs/", rest].concat(),
        None => refs[colon + 1..].to_vec(),
    };
    let outcome = match flag {
        b" " | b"+" | b"-" | b"*" | b"=" => None,
        b"!" => {
            let summary = String::from_utf8_lossy(summary);
            let reason = summary
                .split_once("] (")
                .and_then(|(kind, reason)| Some((kind, reason.strip_suffix(')')?)));
            Some(match reason {
                // It got everything, and then no word came back.
                Some(("[remote failure", _)) => otherwise.to_owned(),
                // git's words for refs that it has not sent differ from the server's.
                Some((_, "atomic push failed")) => ATOMIC_PUSH_FAILURE.to_owned(),
                Some((_, reason)) => reason.to_owned(),
                None => summary.into_owned(),
            })
        }
        _ => return None,
    };
    Some((name, outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(report: &str, stderr: &str, sent: bool) -> Outcomes {
        let mut words = Words::default();
        for line in stderr.lines() {
            words.hear(line.as_bytes(), false, "gitlab.example");
        }
        Outcomes::new(report.as_bytes(), &words, sent, false)
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
        let of = |name: &str| outcomes.of(name.as_bytes());
        assert_eq!((of("refs/heads/a"), of("refs/heads/gone")), (None, None));
        assert_eq!(
            of("refs/heads/b").as_deref(),
            Some("pre-receive hook declined (twice)")
        );
        assert_eq!(of("refs/heads/c").as_deref(), Some("stale info"));
        assert_eq!(of("refs/for/main"), None, "the server calls it otherwise");
    }

    #[test]
    fn a_quiet_git_names_no_ref_when_all_went_well() {
        let of = |report: &str, well: bool| {
            let words = Words::default();
            Outcomes::new(report.as_bytes(), &words, true, well).of(b"refs/heads/a")
        };
        assert_eq!(of("Done\n", true), None);
        assert!(of("Done\n", false).is_some(), "another git says it too");
        for cut in ["", "Done", "To x\n"] {
            assert!(of(cut, true).is_some(), "'{cut}' is no end");
        }
        let refused = "!\trefs/new/heads/b:refs/heads/b\t[rejected] (stale info)\nDone\n";
        assert!(of(refused, true).is_some(), "then each has its own line");
    }

    #[test]
    fn what_was_cut_off_is_not_called_refused() {
        let reason = |report: &str, stderr: &str| {
            outcomes(report, stderr, true)
                .of(b"refs/heads/a")
                .expect("not accepted")
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
            outcomes("", never, false).of(b"refs/heads/a").as_deref(),
            Some("unable to access 'https://h/p/': Connection refused")
        );
        let refused = "error: RPC failed; HTTP 413 curl 22 The requested URL returned error: 413\n\
                       fatal: the remote end hung up unexpectedly";
        assert!(!reason("", refused).contains("may have"));
    }

    #[test]
    fn upstreams_words_are_passed_on_once() {
        let mut words = Words::default();
        let mut hear = |line: &str| words.hear(line.as_bytes(), false, "h");
        assert_eq!(hear("remote: hello        ").as_deref(), Some("hello"));
        assert_eq!(hear("remote: ").as_deref(), Some(""));
        assert_eq!(
            hear("remote:   https://h/new        ").as_deref(),
            Some("  https://h/new")
        );
        assert_eq!(hear("remote: \x1b[31mred").as_deref(), Some("^[[31mred"));
        assert_eq!(hear("Everything up-to-date"), None);
        assert_eq!(
            hear("warning: redirecting").as_deref(),
            Some("warning: redirecting")
        );
    }
}
