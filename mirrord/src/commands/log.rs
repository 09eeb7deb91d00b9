//! `mirrord log`: prints the journal of syncs, pushes, removals and repairs, and follows it.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Args;
use common::{
    client::{Client, something_else},
    paths::Paths,
    protocol::{self, Entry, Outcome, Reply, Request, What},
    text::{byte_size, masked},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

use super::{
    block_on, display_name,
    print::{count, print, print_stderr, readable},
    resolve_mirror,
};
use crate::process::local_time::time;

/// The number of old entries that `--follow` shows without `-n`, as in tail(1).
const DEFAULT_ENTRIES: u64 = 10;

/// Say what each sync and each push did
///
/// One line for each, the newest last: when it ended, of which mirror, why it was done,
/// and what came of it. A sync is done for the 'schedule', a 'webhook', a 'fetch', a
/// 'push', or a 'command' such as 'mirrord sync'. A 'removal' is a mirror that the daemon
/// has removed, and why. A 'repair' is a mirror in which somebody else has changed a file,
/// and which. The size of the log is limited: a thousand mirrors that sync hourly leave two
/// days or more, a few mirrors leave months.
///
///     mirrord log
///     mirrord log project -n 20
///
/// With --follow it prints new lines as they come, until Ctrl-C or the end of the daemon.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Log {
    /// The mirror's name, or its URL; all mirrors without
    name: Option<String>,
    /// Print new lines as they come; of older ones the last 10, or as many as -n says
    #[arg(short, long)]
    follow: bool,
    /// Print only this many of the last lines
    #[arg(short = 'n', long, value_name = "COUNT")]
    count: Option<u64>,
    /// Print each as one JSON object on a line of its own
    #[arg(long)]
    json: bool,
}

impl Log {
    /// Asks the daemon for entries, and prints them until the end or until stdout is closed.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let mirror = self.name.as_deref().map(resolve_mirror).transpose()?;
        let request = Request::Log(protocol::Log {
            mirror,
            count: self.count.or(self.follow.then_some(DEFAULT_ENTRIES)),
            follow: self.follow,
        });
        block_on(async {
            let mut client = Client::connect_or_start(paths).await?;
            client.send_request(&request).await?;
            let (mut width, mut is_empty) = (0, true);
            loop {
                match client.receive().await? {
                    Reply::Entries(entries) => {
                        is_empty &= entries.is_empty();
                        let text = match self.json {
                            true => entries.iter().map(json_line).collect(),
                            false => lines(&entries, &mut width),
                        };
                        if !write_and_flush(&text)? {
                            return anyhow::Ok(());
                        }
                    }
                    Reply::Missed(missed) => print_stderr(&format!(
                        "warning: {} left out: they came faster than this was read",
                        count(missed, "line")
                    )),
                    // Sent while nothing happens. It is the only chance to see that stdout has been closed.
                    Reply::Progress(_) if !is_stdout_open() => return Ok(()),
                    Reply::Progress(_) => {}
                    Reply::Done => break,
                    Reply::Failed(failure) => return Err(failure.into()),
                    _ => return Err(something_else().into()),
                }
            }
            if self.follow {
                print_stderr("mirrord has stopped");
            } else if is_empty && !self.json {
                print(&self.nothing_found())?;
            }
            Ok(())
        })?;
        Ok(ExitCode::SUCCESS)
    }

    fn nothing_found(&self) -> String {
        match &self.name {
            None => "nothing is in the log\n".to_owned(),
            Some(name) => format!("nothing of '{}' is in the log\n", display_name(name)),
        }
    }
}

/// Writes to stdout at once. Returns `false` if the reader has closed it.
fn write_and_flush(text: &str) -> anyhow::Result<bool> {
    let mut stdout = io::stdout();
    let written = stdout.write_all(text.as_bytes());
    match written.and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(err) => Err(err.into()),
    }
}

/// Whether the reader of stdout has not closed it.
fn is_stdout_open() -> bool {
    let stdout = io::stdout();
    let mut stdout = [PollFd::new(&stdout, PollFlags::empty())];
    let polled = poll(&mut stdout, Some(&Timespec::default()));
    polled.is_err() || !stdout[0].revents().intersects(PollFlags::ERR)
}

/// Entries for people, one line each. `width` is that of the longest name so far.
fn lines(entries: &[Entry], width: &mut usize) -> String {
    let names: Vec<_> = entries
        .iter()
        .map(|entry| masked(entry.mirror.as_bytes()))
        .collect();
    let longest = names.iter().map(|name| name.chars().count()).max();
    *width = longest.unwrap_or_default().max(*width);
    let lines = entries.iter().zip(&names).map(|(entry, name)| {
        let (time, width) = (time(entry.at), *width);
        let what = match entry.what {
            What::Sync => format!("sync ({})", entry.cause),
            What::Push => "push".to_owned(),
            What::Removal => "removal".to_owned(),
            What::Repair => "repair".to_owned(),
        };
        format!(
            "{time}  {name:width$}  {what:15}  {}\n",
            outcome_text(entry)
        )
    });
    readable(&lines.collect::<String>())
}

/// The outcome of an entry, for people.
fn outcome_text(entry: &Entry) -> String {
    let duration = duration_text(entry.milliseconds);
    let mut parts = match &entry.outcome {
        Outcome::Failed(message) => {
            return format!("failed after {duration}: {}", masked(message.as_bytes()));
        }
        Outcome::Cancelled => return format!("cancelled after {duration}"),
        Outcome::Unchanged => vec!["unchanged".to_owned()],
        Outcome::Removed(reason) | Outcome::Replaced(reason) => vec![masked(reason.as_bytes())],
        Outcome::InStep => vec![
            "in step".to_owned(),
            format!("{} moved", count(entry.refs, "ref")),
        ],
        Outcome::Pushed {
            sent,
            kept,
            refused,
            reason,
        } => {
            let reason = reason.as_deref().unwrap_or("by upstream");
            let parts = [
                (sent, format!("{} sent to upstream", count(*sent, "ref"))),
                (kept, format!("{} kept here", count(*kept, "ref"))),
                (
                    refused,
                    format!(
                        "{} refused ({})",
                        count(*refused, "ref"),
                        masked(reason.as_bytes())
                    ),
                ),
            ];
            let parts = parts.into_iter().filter(|(number, _)| **number > 0);
            parts.map(|(_, text)| text).collect()
        }
    };
    if entry.bytes > 0 {
        parts.push(byte_size(entry.bytes as f64));
    }
    parts.push(duration);
    parts.join(", ")
}

fn duration_text(milliseconds: u64) -> String {
    match milliseconds {
        0..100 => format!("{milliseconds} ms"),
        _ => format!("{:.1} s", milliseconds as f64 / 1000.0),
    }
}

/// An entry for scripts. Every entry has all keys.
fn json_line(entry: &Entry) -> String {
    let (mut reason, mut counts) = (None, None);
    let outcome = match &entry.outcome {
        Outcome::InStep => "in-step",
        Outcome::Unchanged => "unchanged",
        Outcome::Cancelled => "cancelled",
        Outcome::Failed(message) => {
            reason = Some(message);
            "failed"
        }
        Outcome::Removed(message) => {
            reason = Some(message);
            "removed"
        }
        Outcome::Replaced(message) => {
            reason = Some(message);
            "replaced"
        }
        Outcome::Pushed {
            sent,
            kept,
            refused,
            reason: why,
        } => {
            reason = why.as_ref();
            counts = Some([sent, kept, refused]);
            match sent + kept {
                0 => "refused",
                _ => "pushed",
            }
        }
    };
    let [sent, kept, refused] = match counts {
        Some(counts) => counts.map(|count| json!(count)),
        None => [const { Value::Null }; 3],
    };
    let entry = json!({
        "at": entry.at,
        "mirror": entry.mirror,
        "what": entry.what,
        "cause": entry.cause,
        "milliseconds": entry.milliseconds,
        "bytes": entry.bytes,
        "refs": entry.refs,
        "outcome": outcome,
        "reason": reason,
        "sent": sent,
        "kept": kept,
        "refused": refused,
    });
    format!("{entry}\n")
}

#[cfg(test)]
mod tests {
    use common::protocol::Cause;

    use super::*;

    fn entry(what: What, outcome: Outcome) -> Entry {
        Entry {
            at: 1_795_514_403,
            mirror: "project".into(),
            what,
            cause: Cause::Fetch,
            milliseconds: 412,
            bytes: 1_258_291,
            refs: 3,
            outcome,
        }
    }

    #[test]
    fn a_line_has_the_cause_and_the_outcome() {
        let line = |what, outcome| {
            let line = lines(&[entry(what, outcome)], &mut 0);
            let (_time, rest) = line.split_at(27);
            rest.to_owned()
        };
        assert_eq!(
            line(What::Sync, Outcome::InStep),
            "project  sync (fetch)     in step, 3 refs moved, 1.20 MiB, 0.4 s\n"
        );
        let failed = Outcome::Failed("cannot reach \u{1b}[2J".into());
        assert_eq!(
            line(What::Sync, failed),
            "project  sync (fetch)     failed after 0.4 s: cannot reach ^[[2J\n"
        );
        let pushed = |sent, kept, refused, reason: Option<&str>| Outcome::Pushed {
            sent,
            kept,
            refused,
            reason: reason.map(str::to_owned),
        };
        assert_eq!(
            line(What::Push, pushed(1, 2, 1, None)),
            "project  push             1 ref sent to upstream, 2 refs kept here, 1 ref refused (by upstream), 1.20 MiB, 0.4 s\n"
        );
        assert_eq!(
            line(What::Push, pushed(0, 0, 1, Some("stale info"))),
            "project  push             1 ref refused (stale info), 1.20 MiB, 0.4 s\n"
        );
        let removed = Outcome::Removed("unused for 31 days".into());
        assert_eq!(
            line(What::Removal, removed),
            "project  removal          unused for 31 days, 1.20 MiB, 0.4 s\n"
        );
    }

    #[test]
    fn the_column_of_names_only_grows() {
        let (mut width, named) = (0, |name: &str| {
            let mut entry = entry(What::Push, Outcome::Cancelled);
            entry.mirror = name.into();
            entry
        });
        let column = |text: &str| {
            let lines = text.lines();
            lines.map(|line| line.find("push")).collect::<Vec<_>>()
        };
        let first = lines(&[named("a"), named("a-long-name")], &mut width);
        let second = lines(&[named("b")], &mut width);
        assert_eq!(column(&first), [Some(40), Some(40)], "{first}");
        assert_eq!(column(&second), [Some(40)], "{second}");
    }

    #[test]
    fn every_object_has_the_same_keys() {
        let outcomes = [
            Outcome::InStep,
            Outcome::Unchanged,
            Outcome::Cancelled,
            Outcome::Failed("no".into()),
            Outcome::Removed("unused".into()),
            Outcome::Replaced("changed".into()),
            Outcome::Pushed {
                sent: 0,
                kept: 0,
                refused: 1,
                reason: None,
            },
        ];
        let keys = [
            "in-step",
            "unchanged",
            "cancelled",
            "failed",
            "removed",
            "replaced",
            "refused",
        ];
        for (outcome, key) in outcomes.into_iter().zip(keys) {
            let line = json_line(&entry(What::Sync, outcome));
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            let object: Value = serde_json::from_str(&line).expect("an object");
            let object = object.as_object().expect("an object");
            assert_eq!(object.len(), 12, "{line}");
            assert_eq!(object["outcome"], key);
            assert_eq!(
                (&object["what"], &object["cause"]),
                (&json!("sync"), &json!("fetch"))
            );
        }
    }
}
