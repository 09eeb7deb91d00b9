//! The benchmark: `cargo run --release -p tests --bin bench -- [--repo PATH]... [--runs N] [--only WORDS]...` clones,
//! fetches and pushes through the mirror, and by every other way that git and the peers on `PATH` have, on three
//! repositories made from a seed or on those that are named, with upstream behind a line of 20 ms and 100 Mbit/s.
//!
//! Each round goes once through all ways to do a piece of work, beginning with another one each time; `--runs` says how
//! many rounds there are (5; quick work has more). `--only` does the work whose title, with the name of the repository
//! before it, has all of these words. The results are in `target/bench/`.
//!
//! It takes an hour or so, and the machine should have nothing else to do. The exit code is 0 whatever the figures are.

mod chart;
mod contenders;
mod figures;
mod history;
mod interrupt;
mod link;
mod report;
mod repositories;
mod results;
mod stage;
mod targets;
mod works;

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use figures::{Sample, measure};
use repositories::{Kind, Source};
use results::Outcome;
use stage::{Stage, Subject};
use works::{ALL, Entry, Way};

const USAGE: &str = "usage: bench [--repo PATH]... [--runs N] [--only WORDS]...";

/// What the person wants.
struct Wanted {
    sources: Vec<Source>,
    runs: usize,
    only: Vec<String>,
}

#[expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "this is what the person came for"
)]
fn main() -> ExitCode {
    let Some(wanted) = wanted() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match interrupt::listen().and_then(|()| run(&wanted)) {
        Ok((dir, targets)) => {
            println!("{targets}\nwritten to {}", dir.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            interrupt::stop_here_if_stopping();
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn wanted() -> Option<Wanted> {
    let mut wanted = Wanted {
        sources: Vec::new(),
        runs: 5,
        only: Vec::new(),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next()?;
        match arg.as_str() {
            "--repo" => wanted.sources.push(Source::Theirs(value.into())),
            "--runs" => wanted.runs = value.parse().ok().filter(|runs| *runs > 0)?,
            "--only" => wanted.only.push(value),
            _ => return None,
        }
    }
    if wanted.sources.is_empty() {
        let kinds = [Kind::Small, Kind::Large, Kind::ManyRefs];
        wanted.sources = kinds.map(Source::Made).to_vec();
    }
    Some(wanted)
}

impl Wanted {
    fn wants(&self, repository: &str, entry: &Entry) -> bool {
        let title = format!("{repository}: {}", entry.0);
        let has = |args: &String| args.split_whitespace().all(|word| title.contains(word));
        self.only.is_empty() || self.only.iter().any(has)
    }

    /// Returns what is to be done on a repository of a kind.
    fn entries(&self, repository: &str, kind: Kind) -> Vec<&'static Entry> {
        let fits = |entry: &&Entry| entry.1.contains(&kind) && self.wants(repository, entry);
        ALL.iter().filter(fits).collect()
    }
}

/// Does all the work; returns where the results are, and the table of targets.
fn run(wanted: &Wanted) -> io::Result<(PathBuf, String)> {
    let target = std::env::current_exe()?;
    let target = target.ancestors().nth(2).map(Path::to_path_buf);
    let results = target.unwrap_or_default().join("bench");
    let kept = results.join("repositories");
    tell("builds the programs");
    let stage = Stage::new()?;
    let machine = report::Machine::here();
    let mut outcomes = Vec::new();
    for source in &wanted.sources {
        let name = source.name();
        if let Source::Made(kind) = source
            && wanted.entries(&name, *kind).is_empty()
        {
            continue;
        }
        tell(&format!("{name}: makes the repository"));
        let subject = Subject::new(&stage, source, &kept)?;
        for entry in wanted.entries(&name, subject.kind) {
            do_work(&stage, &subject, entry, wanted.runs, &mut outcomes)?;
            report::write(&results, &machine, &outcomes)?;
        }
    }
    let targets = report::table_of_targets(&targets::reached(&outcomes));
    Ok((results, targets))
}

fn do_work(
    stage: &Stage,
    subject: &Subject,
    entry: &Entry,
    runs: usize,
    outcomes: &mut Vec<Outcome>,
) -> io::Result<()> {
    let Entry(title, _, work) = entry;
    let work = work(stage, subject);
    let mut own: Vec<_> = work
        .ways
        .iter()
        .map(|way| Outcome {
            repository: subject.name.clone(),
            kind: subject.kind,
            work: title,
            way: way.name,
            turns: Vec::new(),
            failure: None,
        })
        .collect();
    let rounds = runs * work.times;
    for round in 0..rounds {
        (work.begin)()?;
        for place in 0..own.len() {
            let place = match work.in_order {
                true => place,
                false => (place + round) % own.len(),
            };
            let (way, outcome) = (&work.ways[place], &mut own[place]);
            let turn = turn(stage, way);
            interrupt::stop_here_if_stopping();
            let output = match &turn {
                Ok(sample) => report::seconds(sample.wall),
                Err(failure) => format!("failed: {}", failure.trim_end()),
            };
            let name = &subject.name;
            tell(&format!(
                "{name}: {title}, {} of {rounds}: {}: {output}",
                round + 1,
                way.name
            ));
            outcome.failure = turn.as_ref().err().cloned().or(outcome.failure.take());
            outcome.turns.push(turn.ok());
        }
    }
    outcomes.extend(own);
    Ok(())
}

/// One turn of one way; an error is why it does not count.
fn turn(stage: &Stage, way: &Way) -> Result<Sample, String> {
    let job = (way.prepare)().map_err(|error| error.to_string())?;
    let sample = measure(stage, &job)?;
    (way.check)()?;
    Ok(sample)
}

#[expect(clippy::print_stderr, reason = "progress is for the person who waits")]
fn tell(line: &str) {
    eprintln!("{line}");
}
