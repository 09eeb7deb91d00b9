//! The output of a running program, collected by threads so that no pipe ever fills up.

use std::{io::Read, process::Child, sync::Arc, thread, time::Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

/// Both outputs of a child under one lock, so that one wait can watch both.
#[derive(Clone, Debug, Default)]
pub(crate) struct Output(Arc<(Mutex<Printed>, Condvar)>);

#[derive(Debug, Default)]
struct Printed {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// The number of pipes that are still open for writing.
    open: usize,
}

impl Output {
    /// Collects from the child's pipes from now on.
    pub(crate) fn of(child: &mut Child) -> Self {
        let output = Self::default();
        if let Some(pipe) = child.stdout.take() {
            output.collect(pipe, |printed| &mut printed.stdout);
        }
        if let Some(pipe) = child.stderr.take() {
            output.collect(pipe, |printed| &mut printed.stderr);
        }
        output
    }

    /// Collects from one end for both outputs, such as a terminal.
    pub(crate) fn of_one(end: impl Read + Send + 'static) -> Self {
        let output = Self::default();
        output.collect(end, |printed| &mut printed.stdout);
        output
    }

    fn collect(
        &self,
        mut pipe: impl Read + Send + 'static,
        side: fn(&mut Printed) -> &mut Vec<u8>,
    ) {
        self.lock().open += 1;
        let ours = self.clone();
        thread::spawn(move || {
            let mut chunk = [0; 8192];
            loop {
                let read = pipe.read(&mut chunk).unwrap_or(0);
                let mut printed = ours.lock();
                side(&mut printed).extend_from_slice(&chunk[..read]);
                ours.0.1.notify_all();
                if read == 0 {
                    printed.open -= 1;
                    return;
                }
            }
        });
    }

    /// Returns stdout and stderr as printed until now.
    pub(crate) fn so_far(&self) -> (String, String) {
        let printed = self.lock();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (text(&printed.stdout), text(&printed.stderr))
    }

    /// Waits until all pipes are closed; `false` if one is still open at the deadline.
    pub(crate) fn closed(&self, deadline: Instant) -> bool {
        self.wait_until(deadline, |printed| printed.open == 0);
        self.lock().open == 0
    }

    /// Waits until this text was printed; `false` once that cannot happen in time.
    pub(crate) fn contains(&self, text: &str, deadline: Instant) -> bool {
        let has = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(text);
        let is_printed = |printed: &Printed| has(&printed.stdout) || has(&printed.stderr);
        self.wait_until(deadline, |printed| is_printed(printed) || printed.open == 0);
        is_printed(&self.lock())
    }

    /// Waits until more than so many bytes were printed on stdout; returns how many, or `None` once that cannot happen in
    /// time.
    pub(crate) fn grown(&self, from: usize, deadline: Instant) -> Option<usize> {
        self.wait_until(deadline, |printed| {
            printed.stdout.len() > from || printed.open == 0
        });
        let length = self.lock().stdout.len();
        (length > from).then_some(length)
    }

    /// Waits until stdout has this text after an offset; returns the offset of its end, or `None` once that cannot happen
    /// in time.
    pub(crate) fn found(&self, text: &str, from: usize, deadline: Instant) -> Option<usize> {
        let end = |printed: &Printed| {
            let mut windows = printed.stdout.get(from..)?.windows(text.len());
            let at = windows.position(|window| window == text.as_bytes())?;
            Some(from + at + text.len())
        };
        self.wait_until(deadline, |printed| {
            end(printed).is_some() || printed.open == 0
        });
        end(&self.lock())
    }

    fn wait_until(&self, deadline: Instant, done: impl Fn(&Printed) -> bool) {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut printed = self.lock();
        self.0
            .1
            .wait_while_for(&mut printed, |printed| !done(printed), left);
    }

    fn lock(&self) -> MutexGuard<'_, Printed> {
        self.0.0.lock()
    }
}
