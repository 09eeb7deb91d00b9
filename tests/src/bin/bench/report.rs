//! Writes what was found, for people (Markdown), for programs (JSON) and for the eye (SVG).

use std::{fmt::Write, fs, io, path::Path, process::Command};

use serde_json::{Value, json};

use crate::{
    chart,
    figures::{Figure, Sample},
    link,
    results::{Outcome, by_work},
    targets::{Reached, reached, short},
};

/// A column: its title, its unit and what is in it.
struct Column(&'static str, fn(f64) -> String, Figure);

const COLUMNS: &[Column] = &[
    Column("client processor", seconds, |it| it.client_processor),
    Column("daemon processor", seconds, |it| it.daemon_processor),
    Column("client memory", kibibytes, |it| it.client_memory),
    Column("without files", kibibytes, |it| it.client_own_memory),
    Column("daemon memory", kibibytes, |it| it.daemon_memory),
    Column("without files", kibibytes, |it| it.daemon_own_memory),
    Column("written by client", bytes, |it| it.client_wrote),
    Column("by daemon", bytes, |it| it.daemon_wrote),
    Column("requests", short, |it| it.requests),
    Column("for packs", short, |it| it.packs),
    Column("from upstream", bytes, |it| it.down),
    Column("to upstream", bytes, |it| it.up),
];

/// Where and when it was measured.
#[derive(Debug)]
pub(crate) struct Machine {
    date: String,
    processor: String,
    memory: String,
    system: String,
    git: String,
    mirror: String,
    build: &'static str,
}

impl Machine {
    /// Looks around.
    pub(crate) fn here() -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let of = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key));
            let value = line.and_then(|line| line.split_once(':'));
            value
                .map_or("unknown", |(_, value)| value.trim())
                .to_owned()
        };
        let cores = cpu.lines().filter(|line| line.starts_with("processor"));
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory = of(&memory, "MemTotal").replace(" kB", "");
        let memory = memory.parse().map_or("unknown".to_owned(), kibibytes);
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        Self {
            date: said("date", &["-u", "+%F"]),
            processor: format!("{} cores, {}", cores.count(), of(&cpu, "model name")),
            memory,
            system: format!("Linux {}", said("uname", &["-r"])),
            git: said("git", &["--version"]),
            mirror: said("git", &["-C", root, "describe", "--always", "--dirty"]),
            build: if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            },
        }
    }

    fn line(&self) -> String {
        let Self {
            date,
            processor,
            memory,
            system,
            git,
            mirror,
            build,
        } = self;
        format!("{date}: {processor}, {memory}; {system}; {git}; mirror {mirror}, {build} build")
    }
}

/// Writes all of it into a directory; what was there of an earlier run is replaced.
pub(crate) fn write(dir: &Path, machine: &Machine, outcomes: &[Outcome]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let targets = reached(outcomes);
    fs::write(dir.join("report.md"), markdown(machine, outcomes, &targets))?;
    let json = serde_json::to_string_pretty(&as_json(machine, outcomes, &targets))?;
    fs::write(dir.join("report.json"), json)?;
    for (repository, chart) in chart::all(outcomes) {
        fs::write(dir.join(format!("{repository}.svg")), chart)?;
    }
    Ok(())
}

/// Returns the table of targets, or nothing if none was measured.
pub(crate) fn table_of_targets(targets: &[Reached]) -> String {
    let mut text = String::new();
    if targets.is_empty() {
        return text;
    }
    text += "| work | repository | target | is | |\n|---|---|---|---|---|\n";
    for target in targets {
        let Reached {
            repository,
            what,
            limit,
            is,
            reached,
        } = target;
        let is = is.as_deref().unwrap_or("failed");
        let mark = if *reached { "reached" } else { "not reached" };
        line(
            &mut text,
            &format!("| {what} | {repository} | {limit} | {is} | {mark} |"),
        );
    }
    text
}

fn markdown(machine: &Machine, outcomes: &[Outcome], targets: &[Reached]) -> String {
    let mut text = String::from("# Benchmark\n\n");
    line(&mut text, &format!("{}.\n", machine.line()));
    let rate = link::RATE / 1_000_000;
    let trip = link::ROUND_TRIP.as_millis();
    line(
        &mut text,
        &format!(
            "Upstream is `git http-backend` behind a web server and a line of {trip} ms and {rate} Mbit/s. Medians; p95 is \
             what 95 of 100 rounds do not exceed; ratios are medians of the ratios within each round. Compare ratios: \
             seconds are this machine's.\n",
        ),
    );
    text += &table_of_targets(targets);
    for ways in by_work(outcomes) {
        work(&mut text, ways);
    }
    text
}

fn work(text: &mut String, ways: &[Outcome]) {
    let Some(first) = ways.first() else { return };
    line(
        text,
        &format!("\n## {}: {}\n", first.repository, first.work),
    );
    line(text, &format!("{} rounds.\n", first.turns.len()));
    let titles: Vec<_> = COLUMNS.iter().map(|column| column.0).collect();
    let titles = titles.join(" | ");
    line(
        text,
        &format!(
            "| way | wall | p95 | least to most | x {} | {titles} |",
            first.way
        ),
    );
    line(text, &format!("|---{}|", "|---:".repeat(COLUMNS.len() + 4)));
    let wall: Figure = |it| it.wall;
    for way in ways {
        let (Some(median), Some(p95), Some((least, most))) =
            (way.median(wall), way.p95(wall), way.range(wall))
        else {
            let output = way.failure.as_deref().unwrap_or_default();
            let output = output.lines().next().unwrap_or_default();
            line(text, &format!("| {} | failed: {output} |", way.way));
            continue;
        };
        let ratio = way.ratio(wall, first, wall).map_or(String::new(), short);
        // The daemon is there all the time, and has nothing to do with the ways of others.
        let is_ours = way.way.starts_with("mirror");
        let cells = COLUMNS.iter().map(|Column(title, unit, figure)| {
            let median = way
                .median(*figure)
                .filter(|_| is_ours || !title.contains("daemon"));
            median.map_or(String::new(), unit)
        });
        let cells = cells.collect::<Vec<_>>().join(" | ");
        let [median, p95, least, most] = [median, p95, least, most].map(seconds);
        line(
            text,
            &format!(
                "| {} | {median} | {p95} | {least} to {most} | {ratio} | {cells} |",
                way.way
            ),
        );
    }
    for way in ways.iter().filter(|way| way.failure.is_some()) {
        let failed = way.turns.iter().filter(|turn| turn.is_none()).count();
        line(text, &format!("\n`{}` failed in {failed} rounds.", way.way));
    }
}

fn as_json(machine: &Machine, outcomes: &[Outcome], targets: &[Reached]) -> Value {
    let targets = targets.iter().map(|target| {
        json!({
            "work": target.what,
            "repository": target.repository,
            "target": target.limit,
            "is": target.is,
            "reached": target.reached,
        })
    });
    let outcomes = outcomes.iter().map(|outcome| {
        let turns = outcome.turns.iter().map(|turn| turn.as_ref().map(sample));
        json!({
            "repository": outcome.repository,
            "work": outcome.work,
            "way": outcome.way,
            "turns": turns.collect::<Vec<_>>(),
            "failure": outcome.failure,
        })
    });
    json!({
        "machine": machine.line(),
        "targets": targets.collect::<Vec<_>>(),
        "outcomes": outcomes.collect::<Vec<_>>(),
    })
}

fn sample(sample: &Sample) -> Value {
    json!({
        "wall_seconds": sample.wall,
        "client_processor_seconds": sample.client_processor,
        "daemon_processor_seconds": sample.daemon_processor,
        "client_memory_kib": sample.client_memory,
        "client_own_memory_kib": sample.client_own_memory,
        "daemon_memory_kib": sample.daemon_memory,
        "daemon_own_memory_kib": sample.daemon_own_memory,
        "client_wrote_bytes": sample.client_wrote,
        "daemon_wrote_bytes": sample.daemon_wrote,
        "requests": sample.requests,
        "requests_for_packs": sample.packs,
        "bytes_from_upstream": sample.down,
        "bytes_to_upstream": sample.up,
    })
}

/// Returns seconds in the unit that reads best.
pub(crate) fn seconds(seconds: f64) -> String {
    if seconds >= 1.0 {
        format!("{} s", short(seconds))
    } else {
        format!("{:.1} ms", seconds * 1000.0)
    }
}

fn kibibytes(kibibytes: f64) -> String {
    format!("{:.0} MiB", kibibytes / 1024.0)
}

fn bytes(bytes: f64) -> String {
    match bytes {
        0.0 => "0".to_owned(),
        it if it >= 1e6 => format!("{} MB", short(it / 1e6)),
        it => format!("{} kB", short(it / 1e3)),
    }
}

fn line(text: &mut String, line: &str) {
    // A string takes all.
    let _ = writeln!(text, "{line}");
}

fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let output = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}
