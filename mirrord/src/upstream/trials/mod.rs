//! Refused logins: each login is tried at most twice, whoever brings it and whatever for. After a few dozen failures GitLab
//! shuts out an address for an hour, and with it everybody behind that address.

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

use self::record::{Line, PUSH, READ, Subject, still_counts};
use super::{Access, Trouble};

/// How often a login may be refused before it is tried no more.
const MAX_TRIES: u8 = 2;

/// How long a try holds up others of the same login: a refusal comes at once.
const SLOW_TRIAL: Duration = Duration::from_secs(5);

/// How often a sync that waits for the outcome of another's try checks whether it is cancelled.
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
    /// The logins that this daemon has tried, by a hash that never leaves it.
    trials: HashMap<[u8; 32], Trial>,
    /// The lines of the file.
    lines: Vec<Line>,
}

#[derive(Default)]
struct Trial {
    refused: u8,
    /// When each try began whose outcome is open.
    under_way: Vec<Instant>,
    /// When the login was last refused, in seconds since 1970.
    refused_at: u64,
    /// Whether the login is a mirror's own.
    own: bool,
}

/// A request to upstream, with a login or with none. If it is dropped without an outcome, nothing is recorded.
pub(crate) struct Attempt<'t>(Option<Try<'t>>);

/// A login on its way to upstream.
struct Try<'t> {
    trials: &'t Trials,
    key: [u8; 32],
    subject: Subject,
    began: Instant,
}

/// Why a login is not tried.
enum NoTry {
    /// The login was refused too often. `own` says whether it is a mirror's own.
    Refused { own: bool },
    /// The sync was cancelled.
    Cancelled,
}

impl Trials {
    /// Reads the refusals that `file` records.
    pub(crate) fn new(file: PathBuf) -> Self {
        let known = Known {
            trials: HashMap::new(),
            lines: record::read(&file),
        };
        Self {
            file,
            known: Mutex::new(known),
            ended: Condvar::new(),
        }
    }

    /// Begins a request to an upstream. Blocks while others try the same login and their outcome is open.
    pub(crate) fn begin(
        &self,
        url: &UpstreamUrl,
        access: &Access,
        watch: &Watch,
    ) -> Result<Attempt<'_>, Trouble> {
        let Some(login) = access.login.as_ref().filter(|_| !access.is_step) else {
            return Ok(Attempt(None));
        };
        let own = access.has_own_login();
        match self.begin_try(&access.login_origin(url), login, own, watch) {
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
            if trial.refused + trial.open_tries() < MAX_TRIES {
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

    /// Checks that a login was not refused too often for pushes: upstream may let it read and not push. Blocks.
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
            _ => Err(*refused_too_often(url, trial.own).failure),
        }
    }

    /// Records that upstream refused a login in a push: the login may be good for nothing. Blocks.
    pub(crate) fn record_push_refused(&self, origin: &str, login: &Login, own: bool) {
        let mut known = self.known();
        for what in [READ, PUSH] {
            let subject = Subject::new(origin, login, what, own);
            known.trial(subject.key(), &subject).refuse(own);
            self.store(&mut known, &subject);
        }
    }

    /// Forgets that a login was refused, because a person has just given it anew. Blocks.
    pub(crate) fn forget_refusals(&self, origin: &str, login: &Login) {
        let mut known = self.known();
        for what in [READ, PUSH] {
            let subject = Subject::new(origin, login, what, false);
            self.forget_trial(&mut known, &subject);
        }
    }

    /// Forgets that a login was refused in a push, because a push was let in. Blocks.
    pub(crate) fn record_push_accepted(&self, origin: &str, login: &Login) {
        let subject = Subject::new(origin, login, PUSH, false);
        self.forget_trial(&mut self.known(), &subject);
    }

    fn forget_trial(&self, known: &mut Known, subject: &Subject) {
        let trial = known.trial(subject.key(), subject);
        if trial.refused > 0 {
            trial.forget();
            self.store(known, subject);
        }
    }

    /// Writes what is known of a login to the file.
    fn store(&self, known: &mut Known, subject: &Subject) {
        let Trial {
            refused,
            refused_at: at,
            own,
            ..
        } = known.trial(subject.key(), subject);
        let (refused, at, own) = (*refused, *at, *own);
        known.lines.retain(|line| line.key != Some(subject.key()));
        if refused > 0 {
            match Line::new(subject, refused, at, own) {
                Ok(line) => known.lines.push(line),
                Err(err) => tracing::warn!("cannot record a login that was refused: {err}"),
            }
        }
        if let Err(err) = record::write(&self.file, &mut known.lines) {
            tracing::warn!("cannot record a login that was refused: {err}");
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
    }
}

impl Known {
    /// Returns what is known of a login; the first time the lines of the file are searched for it.
    fn trial(&mut self, key: [u8; 32], subject: &Subject) -> &mut Trial {
        let (lines, now) = (&mut self.lines, record::now());
        let trial = self.trials.entry(key).or_insert_with(|| {
            lines.retain(|line| line.still_counts(now));
            let line = lines.iter_mut().find(|line| line.is_about(subject));
            let Some(line) = line else {
                return Trial::default();
            };
            line.key = Some(key);
            Trial {
                refused: line.refused,
                under_way: Vec::new(),
                refused_at: line.at,
                own: line.own,
            }
        });
        if !still_counts(trial.own, trial.refused_at, now) {
            trial.forget();
        }
        trial
    }
}

impl Trial {
    fn forget(&mut self) {
        (self.refused, self.own) = (0, false);
    }

    /// Returns the number of tries that may yet be refused.
    fn open_tries(&self) -> u8 {
        let open = self
            .under_way
            .iter()
            .filter(|began| began.elapsed() < SLOW_TRIAL);
        open.count().try_into().unwrap_or(u8::MAX)
    }

    fn refuse(&mut self, own: bool) {
        self.refused = self.refused.saturating_add(1);
        self.own |= own;
        self.refused_at = record::now();
    }
}

impl Attempt<'_> {
    /// Records the outcome: upstream has answered, or why it has not.
    pub(crate) fn ended(self, trouble: Option<&Trouble>) {
        match (self.0, trouble) {
            (Some(one), None) => one.accepted(),
            (Some(one), Some(trouble)) if trouble.login_refused => one.refused(),
            _ => {}
        }
    }
}

/// Returns the failure of a login that was refused too often and is not tried again.
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
    /// Records that upstream let the login in.
    fn accepted(self) {
        let mut known = self.trials.known();
        self.trials.forget_trial(&mut known, &self.subject);
    }

    /// Records that upstream refused the login.
    fn refused(self) {
        let mut known = self.trials.known();
        let own = self.subject.own;
        known.trial(self.key, &self.subject).refuse(own);
        self.trials.store(&mut known, &self.subject);
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
