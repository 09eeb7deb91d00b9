//! Logins that upstream refuses: each is tried at most twice, whoever brings it and whatever for. GitLab shuts out an
//! address for an hour after a few dozen failures, and with it everybody behind it.

mod record;

use crate::process::watch::{Watch, cancelled};
use std::{
    collections::HashMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use common::{
    address::upstream_url::UpstreamUrl,
    protocol::{Failure, FailureKind, Login},
};
use parking_lot::{Condvar, Mutex, MutexGuard};

use self::record::{Line, PUSH, READ, Subject, holds};
use super::{Access, Trouble};

/// A login is not tried more often.
const MAX_TRIES: u8 = 2;

/// A refusal comes at once. A project whose upstream takes longer than this does not hold up the others of the same login.
const SLOW_TRIAL: Duration = Duration::from_secs(5);

/// Those who wait for the outcome of somebody else's try look this often whether they are still wanted.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// All that is known of refusals.
#[derive(Default)]
pub(crate) struct Trials {
    file: PathBuf,
    known: Mutex<Known>,
    /// A try has come to its end.
    ended: Condvar,
}

#[derive(Default)]
struct Known {
    /// What this daemon has seen of each login, by a hash that never leaves it.
    seen: HashMap<[u8; 32], Trial>,
    /// What is on disk.
    lines: Vec<Line>,
}

#[derive(Default)]
struct Trial {
    refused: u8,
    /// When each try began of which it is not known how it went.
    under_way: Vec<Instant>,
    /// When it was refused last, in seconds since 1970.
    at: u64,
    /// Whether a mirror has it of its own.
    own: bool,
}

/// What is asked of upstream with a login, or with none. Without a word of how it went, nothing is known.
pub(crate) struct Attempt<'t>(Option<Try<'t>>);

/// A login on its way to upstream.
struct Try<'t> {
    trials: &'t Trials,
    key: [u8; 32],
    subject: Subject,
    began: Instant,
}

/// Why there is no try.
enum NoTry {
    /// It was refused too often; as one that a mirror has of its own, or not.
    Refused { own: bool },
    /// Nobody wants to know any more.
    Cancelled,
}

impl Trials {
    /// What `file` has of what was refused.
    pub(crate) fn new(file: PathBuf) -> Self {
        let known = Known {
            seen: HashMap::new(),
            lines: record::read(&file),
        };
        Self {
            file,
            known: Mutex::new(known),
            ended: Condvar::new(),
        }
    }

    /// Begins to ask an upstream. Blocks while others try the same login of whom it is not known yet how it went.
    pub(crate) fn begin(
        &self,
        url: &UpstreamUrl,
        access: &Access,
        watch: &Watch,
    ) -> Result<Attempt<'_>, Trouble> {
        let Some(login) = &access.login else {
            return Ok(Attempt(None));
        };
        let own = access.has_own_login();
        match self.begin_try(&url.origin(), login, own, watch) {
            Ok(one) => Ok(Attempt(Some(one))),
            Err(NoTry::Cancelled) => Err(cancelled().into()),
            Err(NoTry::Refused { own }) => Err(refused_too_often(url, own)),
        }
    }

    /// Begins a try of a login; `own` says whether it is a mirror's own.
    fn begin_try(
        &self,
        origin: &str,
        login: &Login,
        own: bool,
        watch: &Watch,
    ) -> Result<Try<'_>, NoTry> {
        let subject = Subject::new(origin, login, READ, own);
        let key = subject.key();
        let mut known = self.known();
        loop {
            let trial = known.trial(key, &subject);
            if trial.refused >= MAX_TRIES {
                return Err(NoTry::Refused { own: trial.own });
            }
            if trial.refused + trial.awaited() < MAX_TRIES {
                let began = Instant::now();
                trial.under_way.push(began);
                return Ok(Try {
                    trials: self,
                    key,
                    subject,
                    began,
                });
            }
            if watch.is_cancelled() {
                return Err(NoTry::Cancelled);
            }
            self.ended.wait_for(&mut known, POLL_INTERVAL);
        }
    }

    /// Whether a login may push: upstream may refuse it that while it lets it read. Blocks.
    pub(crate) fn may_push(
        &self,
        url: &UpstreamUrl,
        login: &Login,
        own: bool,
    ) -> Result<(), Failure> {
        let subject = Subject::new(&url.origin(), login, PUSH, own);
        let mut known = self.known();
        let trial = known.trial(subject.key(), &subject);
        match trial.refused {
            ..MAX_TRIES => Ok(()),
            _ => Err(refused_too_often(url, trial.own).failure),
        }
    }

    /// Notes that upstream refused a login in a push: it may be good for nothing. Blocks.
    pub(crate) fn record_push_refused(&self, origin: &str, login: &Login, own: bool) {
        let mut known = self.known();
        for what in [READ, PUSH] {
            let subject = Subject::new(origin, login, what, own);
            known.trial(subject.key(), &subject).refuse(own);
            self.write_down(&mut known, &subject);
        }
    }

    /// Forgets that a login was refused: somebody has just said that it is right. Blocks.
    pub(crate) fn forget_refusals(&self, origin: &str, login: &Login) {
        let mut known = self.known();
        for what in [READ, PUSH] {
            let subject = Subject::new(origin, login, what, false);
            self.forget_trial(&mut known, &subject);
        }
    }

    /// Forgets that a login was refused in a push: one was taken. Blocks.
    pub(crate) fn record_push_accepted(&self, origin: &str, login: &Login) {
        let subject = Subject::new(origin, login, PUSH, false);
        self.forget_trial(&mut self.known(), &subject);
    }

    fn forget_trial(&self, known: &mut Known, subject: &Subject) {
        let trial = known.trial(subject.key(), subject);
        if trial.refused > 0 {
            trial.forget();
            self.write_down(known, subject);
        }
    }

    /// Makes what is on disk of a login what is known of it.
    fn write_down(&self, known: &mut Known, subject: &Subject) {
        let Trial {
            refused, at, own, ..
        } = known.trial(subject.key(), subject);
        let (refused, at, own) = (*refused, *at, *own);
        known.lines.retain(|line| line.key != Some(subject.key()));
        if refused > 0 {
            match Line::of(subject, refused, at, own) {
                Ok(line) => known.lines.push(line),
                Err(err) => tracing::warn!("cannot note a login that was refused: {err}"),
            }
        }
        if let Err(err) = record::write(&self.file, &mut known.lines) {
            tracing::warn!("cannot note a login that was refused: {err}");
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
    }
}

impl Known {
    /// What is known of a login; what is on disk is looked through the first time.
    fn trial(&mut self, key: [u8; 32], subject: &Subject) -> &mut Trial {
        let (lines, now) = (&mut self.lines, record::now());
        let trial = self.seen.entry(key).or_insert_with(|| {
            lines.retain(|line| line.holds(now));
            let line = lines.iter_mut().find(|line| line.is_of(subject));
            let Some(line) = line else {
                return Trial::default();
            };
            line.key = Some(key);
            Trial {
                refused: line.refused,
                under_way: Vec::new(),
                at: line.at,
                own: line.own,
            }
        });
        if !holds(trial.own, trial.at, now) {
            trial.forget();
        }
        trial
    }
}

impl Trial {
    fn forget(&mut self) {
        (self.refused, self.own) = (0, false);
    }

    /// How many tries there are that may yet be refused.
    fn awaited(&self) -> u8 {
        let awaited = self
            .under_way
            .iter()
            .filter(|began| began.elapsed() < SLOW_TRIAL);
        awaited.count().try_into().unwrap_or(u8::MAX)
    }

    fn refuse(&mut self, own: bool) {
        self.refused = self.refused.saturating_add(1);
        self.own |= own;
        self.at = record::now();
    }
}

impl Attempt<'_> {
    /// Upstream has answered, or why it has not.
    pub(crate) fn ended(self, trouble: Option<&Trouble>) {
        match (self.0, trouble) {
            (Some(one), None) => one.accepted(),
            (Some(one), Some(trouble)) if trouble.login_refused => one.refused(),
            _ => {}
        }
    }
}

/// A login that has been refused too often is as good as refused.
fn refused_too_often(url: &UpstreamUrl, own: bool) -> Trouble {
    let message = format!("Authentication failed for '{url}': this login was refused twice");
    let failure = Failure::new(FailureKind::Refused, message);
    let hint = if own {
        "it is not tried again before 'mirrord set' says that it is right"
    } else {
        "another one is tried at once, this one in ten minutes: too many failures would shut you out"
    };
    Trouble {
        login_refused: true,
        known_refusal: true,
        ..failure.hinted(hint).into()
    }
}

impl Try<'_> {
    /// Upstream took it.
    fn accepted(self) {
        let mut known = self.trials.known();
        self.trials.forget_trial(&mut known, &self.subject);
    }

    /// Upstream refused it.
    fn refused(self) {
        let mut known = self.trials.known();
        let own = self.subject.own;
        known.trial(self.key, &self.subject).refuse(own);
        self.trials.write_down(&mut known, &self.subject);
    }
}

impl Drop for Try<'_> {
    fn drop(&mut self) {
        let mut known = self.trials.known();
        let trial = known.trial(self.key, &self.subject);
        if let Some(at) = trial
            .under_way
            .iter()
            .position(|began| *began == self.began)
        {
            trial.under_way.swap_remove(at);
        }
        drop(known);
        self.trials.ended.notify_all();
    }
}

#[cfg(test)]
mod tests;
