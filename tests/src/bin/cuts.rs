//! Counts what cuts and kills make of pushes through the mirror:
//!
//! `cargo run -p tests --bin cuts -- [COUNT]` cuts the line to upstream at so many places (300),
//! `cargo run -p tests --bin cuts -- --kills COUNT [SEED]` kills programs at random moments.
//!
//! The exit code is 1 when a rule was broken; what was seen then is printed before the figures.

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tests::{Fault, Kind, On, Part, Ran, Trials, Verdict, mixed};

/// Worlds at work at once.
const LANES: usize = 2;

/// How often a world's mirror is looked through in full.
const CHECKED_EVERY: usize = 25;

/// Where a line is cut.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// After so much of what upstream has.
    Refs(u64),
    /// After so much of the push.
    Request(u64),
    /// After all of it, none of which the server heard.
    Unheard,
    /// When all is done and nothing was said.
    Unsaid,
    /// After so much of what upstream says about the push.
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

    fn place(self) -> &'static str {
        match self {
            Self::Refs(_) => "in upstream's refs",
            Self::Request(_) => "in the request",
            Self::Unheard => "after the request, unheard",
            Self::Unsaid => "after the work, unsaid",
            Self::Answer(_) => "in the answer",
        }
    }
}

/// What is counted of pushes of one sort.
#[derive(Clone, Debug, Default)]
struct Figures {
    pushes: usize,
    hit: usize,
    ok: usize,
    refs_ok: usize,
    on_gitlab: usize,
    lies: usize,
    unreported: usize,
    admitted: usize,
    failed: usize,
    again: usize,
    left: usize,
    broken: usize,
}

impl Figures {
    fn add(&mut self, verdict: &Verdict, hit: bool) {
        let both = [
            (&mut self.pushes, 1),
            (&mut self.hit, usize::from(hit)),
            (&mut self.ok, usize::from(verdict.ok)),
            (&mut self.refs_ok, verdict.refs_ok),
            (&mut self.on_gitlab, verdict.refs_arrived),
            (&mut self.lies, verdict.lies),
            (&mut self.unreported, verdict.unreported),
            (&mut self.admitted, verdict.admitted),
            (&mut self.failed, usize::from(!verdict.ok)),
            (&mut self.again, usize::from(verdict.again == Some(true))),
            (&mut self.left, verdict.left.len()),
            (&mut self.broken, verdict.broken.len()),
        ];
        for (sum, more) in both {
            *sum += more;
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            self.pushes,
            self.hit,
            self.ok,
            self.refs_ok,
            self.on_gitlab,
            self.lies,
            self.unreported,
            self.admitted,
            self.failed,
            self.again,
            self.left,
            self.broken,
        ];
        for column in columns {
            write!(f, "{column:>9}")?;
        }
        Ok(())
    }
}

const COLUMNS: [&str; 12] = [
    "pushes", "hit", "ok", "refs ok", "arrived", "lies", "untold", "admitted", "failed", "again",
    "left", "broken",
];

const MEANING: &str = "\
hit: the cut or kill found its place · ok: git said so · refs ok, arrived: refs that git called
pushed, that upstream has · lies: called pushed and not there · untold: there and called failed;
admitted: of these, 'may have reached' · failed: pushes; again: of these, the same again worked ·
left: files and processes left behind · broken: rules, of all kinds";

/// The figures of each sort.
#[derive(Debug, Default)]
struct Table(Mutex<BTreeMap<String, Figures>>);

impl Table {
    #[expect(clippy::print_stdout, reason = "this is what the person came for")]
    fn add(&self, sort: &str, verdict: &Verdict, hit: bool) {
        if !verdict.broken.is_empty() {
            println!("--- {sort}\n{verdict}");
        }
        let mut table = self.0.lock().expect("a lane that panics ends the program");
        for sort in [sort, "~ all"] {
            table.entry(sort.to_owned()).or_default().add(verdict, hit);
        }
    }

    /// Prints the figures; tells whether all rules held.
    #[expect(clippy::print_stdout, reason = "this is what the person came for")]
    fn print(&self) -> bool {
        print!("{:<28}", "");
        COLUMNS.iter().for_each(|column| print!("{column:>9}"));
        println!();
        let table = self.0.lock().expect("no lane runs");
        for (sort, figures) in &*table {
            println!("{sort:<28}{figures}");
        }
        println!("{MEANING}");
        table.values().all(|figures| figures.broken == 0)
    }
}

#[expect(clippy::print_stdout, reason = "this is what the person came for")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |word: &str| word.parse::<u64>().ok();
    let count = |word: &str| word.parse::<usize>().ok();
    let table = Table::default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs());
    let (kills, count, seed) = match words.as_slice() {
        [] => (false, Some(300), Some(0)),
        ["--kills", kills] => (true, count(kills), Some(now)),
        ["--kills", kills, seed] => (true, count(kills), number(seed)),
        [cuts] => (false, count(cuts), Some(0)),
        _ => (false, None, None),
    };
    let (Some(count), Some(seed)) = (count, seed) else {
        println!("usage: cuts [COUNT] | --kills COUNT [SEED]");
        return ExitCode::from(2);
    };
    let began = Instant::now();
    if kills {
        println!("seed {seed}");
        in_lanes(count, |trials, number| kill(trials, seed, number, &table));
    } else {
        let cuts = plan(&Trials::new(), count);
        in_lanes(count, |trials, number| cut(trials, cuts[number], &table));
    }
    let good = table.print();
    println!("{} s", began.elapsed().as_secs());
    ExitCode::from(u8::from(!good))
}

/// Does a piece of work so often, in worlds of their own.
fn in_lanes(count: usize, work: impl Fn(&Trials, usize) + Sync) {
    let work = &work;
    thread::scope(|scope| {
        for lane in 0..LANES {
            scope.spawn(move || {
                let trials = Trials::new();
                for (done, number) in (lane..count).step_by(LANES).enumerate() {
                    work(&trials, number);
                    if done % CHECKED_EVERY == CHECKED_EVERY - 1 {
                        trials.is_sound();
                    }
                }
                trials.is_sound();
            });
        }
    });
}

/// Chooses places over all kinds of push, as evenly as the number allows.
fn plan(trials: &Trials, count: usize) -> Vec<(Kind, Cut)> {
    let kinds = Kind::ALL.len();
    let each = count.div_ceil(kinds);
    let mut lists: Vec<_> = Kind::ALL
        .iter()
        .map(|kind| places(trials, *kind, each).into_iter())
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
fn places(trials: &Trials, kind: Kind, count: usize) -> Vec<Cut> {
    trials.gitlab.forget_requests();
    let trial = trials.prepare(kind);
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

/// Cuts one push.
fn cut(trials: &Trials, (kind, cut): (Kind, Cut), table: &Table) {
    let trial = trials.prepare(kind);
    trials.gitlab.forget_requests();
    if kind == Kind::Big {
        // git asks with an empty push first whether it is let in, which is spared.
        trials
            .gitlab
            .fault(Fault::cut_after(u64::MAX).on(On::Push).times(1));
    }
    trials.gitlab.fault(cut.fault());
    let ran = trials.push(&trial).run();
    trials.gitlab.clear_faults();
    let requests = trials.gitlab.requests();
    let hit = requests.iter().any(|request| !request.finished);
    judge(trials, &trial, &ran, cut.place(), hit, table);
}

/// Kills one program of one push, at a moment that only chance knows.
fn kill(trials: &Trials, seed: u64, number: usize, table: &Table) {
    let chance = |what: u64| mixed(mixed(mixed(seed) ^ number as u64) ^ what);
    let pick = |what, of: usize| usize::try_from(chance(what) % of as u64).unwrap_or(0);
    let (kind, part) = (Kind::ALL[pick(1, 7)], Part::ALL[pick(2, 5)]);
    let trial = trials.prepare(kind);
    let began = Instant::now();
    let push = trials.push(&trial).start();
    // Long pauses are rare, as what is long past is worth little.
    let longest = [200, 400, 800][pick(3, 3)];
    thread::sleep(Duration::from_millis(chance(4) % longest));
    let mut hit = false;
    while !hit && !push.has_ended() {
        hit = trials.world.kill_part(&push, part);
    }
    let ran = push.wait();
    assert!(began.elapsed() < Duration::from_secs(60), "it hung: {ran}");
    judge(
        trials,
        &trial,
        &ran,
        &format!("kill of {part:?}"),
        hit,
        table,
    );
}

fn judge(trials: &Trials, trial: &tests::Trial, ran: &Ran, sort: &str, hit: bool, table: &Table) {
    let verdict = trials.judge(trial, ran);
    table.add(sort, &verdict, hit);
}
