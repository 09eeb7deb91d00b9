//! What the child says to people, held back until it is known whether the daemon is to say it.

use std::{
    io::{self, Read, Write},
    mem,
    process::ChildStderr,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use common::text::masked;

/// Whoever fails has ended by so long after its last word. Whoever has not may have said what a person is to do.
const PARTIAL_LINE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long to wait for the end of the words of one that has ended: what it has started may keep its line.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

enum News {
    Words(Vec<u8>),
    /// They have no more to come.
    End,
    /// It has reached upstream, and they are for whoever waits.
    Reached,
    /// It has not.
    Failed,
}

/// The words of one child.
pub(super) struct Words {
    news: Sender<News>,
    told: Receiver<()>,
}

impl Words {
    /// Listens to them.
    pub(super) fn of(mut stderr: ChildStderr) -> Self {
        let (news, heard) = mpsc::channel();
        let (all, told) = mpsc::channel();
        let hear = news.clone();
        thread::spawn(move || {
            let mut words = [0; 4096];
            while let Ok(length @ 1..) = stderr.read(&mut words) {
                let _ = hear.send(News::Words(words[..length].to_vec()));
            }
            hear.send(News::End)
        });
        thread::spawn(move || {
            repeat(&heard);
            drop::<Sender<()>>(all);
        });
        Self { news, told }
    }

    /// They are for whoever waits.
    pub(super) fn reached(&self) {
        let _ = self.news.send(News::Reached);
    }

    /// The daemon finds out what is wrong, and says it.
    pub(super) fn failed(self) {
        let _ = self.news.send(News::Failed);
        self.finish();
    }

    /// Waits until all have been told.
    pub(super) fn finish(self) {
        let _ = self.told.recv_timeout(DRAIN_TIMEOUT);
    }
}

fn repeat(news: &Receiver<News>) {
    let mut held = Vec::new();
    let (mut is_reached, mut has_ended) = (false, false);
    while !(is_reached && has_ended) {
        let next = match held.is_empty() {
            true => news.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => news.recv_timeout(PARTIAL_LINE_TIMEOUT),
        };
        match next {
            Ok(News::Words(words)) => held.extend(words),
            Ok(News::End) => has_ended = true,
            Ok(News::Reached) => is_reached = true,
            Ok(News::Failed) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => say(&mem::take(&mut held)),
        }
        if is_reached {
            say(&mem::take(&mut held));
        }
    }
}

/// Says this on stderr, made safe for a terminal. What has no end of a line gets none: it may be a question.
fn say(words: &[u8]) {
    let mut text = String::new();
    for line in words.split_inclusive(|byte| *byte == b'\n') {
        let (line, end) = match line.strip_suffix(b"\n") {
            // ssh ends its lines for a terminal that it has made raw.
            Some(line) => (line.strip_suffix(b"\r").unwrap_or(line), "\n"),
            None => (line, ""),
        };
        text.push_str(&masked(line));
        text.push_str(end);
    }
    let _ = io::stderr().write_all(text.as_bytes());
}
