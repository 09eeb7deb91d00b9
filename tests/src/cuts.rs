//! Pushes whose connection to upstream is cut, and the positions at which it is cut.

use crate::{Fault, Kind, On, Ran, Trial, Trials};

/// A position at which a connection is cut.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// After this many bytes of upstream's refs.
    Refs(u64),
    /// After this many bytes of the push.
    Request(u64),
    /// After the whole push, of which the server has received nothing.
    Unheard,
    /// After the server's work, before its answer.
    Unsaid,
    /// After this many bytes of the answer to the push.
    Answer(u64),
}

impl Cut {
    fn fault(self) -> Fault {
        match self {
            Self::Refs(bytes) => Fault::cut_after(bytes).on(On::PushInfoRefs),
            Self::Request(bytes) => Fault::cut_request_after(bytes).on(On::Push),
            Self::Unheard => Fault::cut_after_request().on(On::Push),
            Self::Unsaid => Fault::cut_after_work().on(On::Push),
            Self::Answer(bytes) => Fault::cut_answer_after(bytes).on(On::Push),
        }
    }

    /// The position, for a report.
    pub fn position(self) -> &'static str {
        match self {
            Self::Refs(_) => "in upstream's refs",
            Self::Request(_) => "in the request",
            Self::Unheard => "after the request, unheard",
            Self::Unsaid => "after the work, unsaid",
            Self::Answer(_) => "in the answer",
        }
    }
}

impl Trials {
    /// Cuts one push; returns whether the position was reached.
    #[track_caller]
    pub fn cut(&self, kind: Kind, cut: Cut) -> (Trial, Ran, bool) {
        let trial = self.prepare(kind);
        if matches!(cut, Cut::Refs(_)) {
            self.world.forget_advertisement();
        }
        self.gitlab.forget_requests();
        self.gitlab.fault(cut.fault());
        let ran = self.push(&trial).run();
        self.gitlab.clear_faults();
        let requests = self.gitlab.requests();
        let hit = requests.iter().any(|request| !request.finished);
        (trial, ran, hit)
    }
}

/// Chooses positions over all kinds of push, as evenly as the number allows.
#[track_caller]
pub fn positions_to_cut(trials: &Trials, count: usize) -> Vec<(Kind, Cut)> {
    let kinds = Kind::ALL.len();
    let each = count.div_ceil(kinds);
    let mut lists: Vec<_> = Kind::ALL
        .iter()
        .map(|kind| positions(trials, *kind, each).into_iter())
        .collect();
    let mut plan = Vec::new();
    while plan.len() < count {
        for (list, kind) in lists.iter_mut().zip(Kind::ALL) {
            plan.extend(list.next().map(|cut| (kind, cut)));
        }
    }
    plan
}

/// Chooses places in one kind of push, by what one such push looks like.
fn positions(trials: &Trials, kind: Kind, count: usize) -> Vec<Cut> {
    let trial = trials.prepare(kind);
    trials.world.forget_advertisement();
    trials.gitlab.forget_requests();
    trials.push(&trial).ok();
    let requests = trials.gitlab.requests();
    let last = |end: &str| requests.iter().rfind(|request| request.path.ends_with(end));
    let refs = last("/info/refs").map_or(0, |request| request.response_bytes);
    let push = last("/git-receive-pack").expect("it was pushed");
    let answer: Vec<u64> = (0..=push.response_bytes).collect();
    let refs: Vec<u64> = (0..refs).collect();
    let rest = count.saturating_sub(2);
    let (in_request, in_refs) = (rest * 2 / 5, rest / 5);
    let in_answer = rest - in_request - in_refs;
    let mut cuts = vec![Cut::Unheard, Cut::Unsaid];
    cuts.extend(spread(&steps(&push.body), in_request).map(Cut::Request));
    cuts.extend(spread(&refs, in_refs).map(Cut::Refs));
    cuts.extend(spread(&answer, in_answer).map(Cut::Answer));
    cuts
}

/// The ends of a push's packets, the bytes beside them, and as many again in its pack.
fn steps(body: &[u8]) -> Vec<u64> {
    let (mut at, mut ends) = (0, vec![0]);
    while let Some(length) = body.get(at..at + 4) {
        let text = std::str::from_utf8(length).unwrap_or_default();
        let Ok(length) = usize::from_str_radix(text, 16) else {
            break;
        };
        at += length.max(4);
        ends.push(at);
    }
    let mut steps = Vec::new();
    for pair in ends.windows(2) {
        steps.extend([pair[0], pair[0] + 2, pair[0].midpoint(pair[1]), pair[1] - 1]);
    }
    let pack = body.len().saturating_sub(at);
    let parts = 2 * ends.len();
    steps.extend((0..parts).map(|part| at + pack * part / parts));
    steps.extend(
        (1..=21)
            .step_by(5)
            .map(|back| body.len().saturating_sub(back)),
    );
    steps.sort_unstable();
    steps.dedup();
    steps.retain(|step| *step < body.len());
    steps.into_iter().map(|step| step as u64).collect()
}

/// Takes so many of a list, the first and the last among them; the list again where it is too short.
fn spread(list: &[u64], count: usize) -> impl Iterator<Item = u64> {
    let steps = count.saturating_sub(1).max(1);
    (0..count).map(move |step| {
        if count > list.len() {
            list[step % list.len()]
        } else {
            list[step * (list.len() - 1) / steps]
        }
    })
}
