//! The stderr of the child that connects to upstream. It is withheld until the child has connected: where it fails, the
//! daemon finds out why, and says that instead.

use std::{
    io::{self, Read, Write},
    mem,
    process::ChildStderr,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use common::text::masked;

/// A child that fails ends within this time after its last output. One that has not ended may have asked a person for
/// something, so its output is shown.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// How long to wait for the rest of the output when the child has ended: a process that it has started may keep the pipe
/// open.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

enum Event {
    Output(Vec<u8>),
    /// There is no more output.
    End,
    /// The child has connected: its output is for the person who waits.
    Connected,
    /// The child has not connected.
    Failed,
}

/// The stderr of one child.
pub(super) struct Stderr {
    events: Sender<Event>,
    /// Disconnected when all output has been shown or dropped.
    shown: Receiver<()>,
}

impl Stderr {
    /// Begins to read a child's stderr.
    pub(super) fn read(mut stderr: ChildStderr) -> Self {
        let (events, received) = mpsc::channel();
        let (showing, shown) = mpsc::channel();
        let output = events.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stderr.read(&mut buffer) {
                let _ = output.send(Event::Output(buffer[..length].to_vec()));
            }
            output.send(Event::End)
        });
        thread::spawn(move || {
            show_when_connected(&received);
            drop::<Sender<()>>(showing);
        });
        Self { events, shown }
    }

    /// Shows the output from now on, the withheld first.
    pub(super) fn connected(&self) {
        let _ = self.events.send(Event::Connected);
    }

    /// Drops the withheld output.
    pub(super) fn failed(self) {
        let _ = self.events.send(Event::Failed);
        self.finish();
    }

    /// Waits until all output has been shown.
    pub(super) fn finish(self) {
        let _ = self.shown.recv_timeout(DRAIN_TIMEOUT);
    }
}

fn show_when_connected(events: &Receiver<Event>) {
    let mut withheld = Vec::new();
    let (mut is_connected, mut has_ended) = (false, false);
    while !(is_connected && has_ended) {
        let event = match withheld.is_empty() {
            true => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => events.recv_timeout(END_TIMEOUT),
        };
        match event {
            Ok(Event::Output(output)) => withheld.extend(output),
            Ok(Event::End) => has_ended = true,
            Ok(Event::Connected) => is_connected = true,
            Ok(Event::Failed) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => show(&mem::take(&mut withheld)),
        }
        if is_connected {
            show(&mem::take(&mut withheld));
        }
    }
}

/// Shows output, made safe for a terminal. A last line without an end gets none: it may be a question.
fn show(output: &[u8]) {
    let mut text = String::new();
    for line in output.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
        // ssh ends its lines for a terminal that it has made raw, and progress goes back to the beginning of its line.
        let (line, end) = match line.split_last() {
            Some((b'\n', line)) => (line, "\n"),
            Some((b'\r', line)) => (line, "\r"),
            _ => (line, ""),
        };
        text.push_str(&masked(line));
        text.push_str(end);
    }
    let _ = io::stderr().write_all(text.as_bytes());
}
