//! Counts what cuts and kills make of pushes through the mirror:
//!
//! `cargo run -p tests --bin cuts -- [COUNT]` cuts the line to upstream at so many places (300),
//! `cargo run -p tests --bin cuts -- --kills COUNT [SEED]` kills programs at random moments.
//!
//! The exit code is 1 when a rule was broken; what was seen then is printed before the figures.

use std::{
    collections::BTreeMap,
    fmt,
    process::ExitCode,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use tests::{Cut, Kind, Part, Ran, Trials, Verdict, mixed, positions_to_cut};

/// Worlds at work at once.
const LANES: usize = 2;

/// How often a world's mirror is checked in full.
const CHECKED_EVERY: usize = 25;

/// The counts of pushes of one kind.
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
        let mut table = self.0.lock();
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
        let table = self.0.lock();
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
        let cuts = positions_to_cut(&Trials::new(), count);
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

/// Cuts one push.
fn cut(trials: &Trials, (kind, cut): (Kind, Cut), table: &Table) {
    let (trial, ran, hit) = trials.cut(kind, cut);
    judge(trials, &trial, &ran, cut.position(), hit, table);
}

/// Kills one program of one push, at a moment that only chance knows.
fn kill(trials: &Trials, seed: u64, number: usize, table: &Table) {
    let chance = |what: u64| mixed(mixed(mixed(seed) ^ number as u64) ^ what);
    let pick = |what, of: usize| usize::try_from(chance(what) % of as u64).unwrap_or(0);
    let (kind, part) = (Kind::ALL[pick(1, 7)], Part::ALL[pick(2, 5)]);
    let trial = trials.prepare(kind);
    let began = Instant::now();
    let push = trials.push(&trial).start();
    let pause = |what, longest: u64| thread::sleep(Duration::from_millis(chance(what) % longest));
    // Counted from the beginning, or from when there is something to kill.
    let (mut hit, mut waits) = (false, pick(3, 3) > 0);
    pause(4, if waits { 100 } else { 800 });
    while !hit && !push.has_ended() {
        if waits && trials.world.has_part(&push, part) {
            pause(5, [30, 100, 300][pick(6, 3)]);
            waits = false;
        }
        hit = !waits && trials.world.kill_part(&push, part);
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
