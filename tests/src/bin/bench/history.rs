//! Histories made from a seed, as streams for `git fast-import`: text files in directories, of which each commit changes
//! a few in a few places, alone or on a branch that is then merged.
//!
//! All versions of a file follow each other in the stream, so that fast-import makes each a delta of the one before.

use std::{
    fmt::Write as _,
    io::{self, Write},
    ops::Range,
};

use fastrand::Rng;

/// What a history looks like.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) seed: u64,
    /// Before the names of all files, with a `/` at its end, or nothing.
    pub(crate) below: String,
    pub(crate) commits: usize,
    pub(crate) files: usize,
    /// So many files share a directory.
    pub(crate) files_in_directory: usize,
    /// The lines of a new file.
    pub(crate) lines: Range<usize>,
    /// The lines that a change replaces.
    pub(crate) changed: Range<usize>,
    /// One change in so many is of a table, ten times as long and full of numbers that nobody can guess.
    pub(crate) table_one_in: usize,
    /// An annotated tag for each so many commits.
    pub(crate) tag_each: Option<usize>,
    /// A branch for each so many commits.
    pub(crate) branch_each: Option<usize>,
}

/// Where a history goes on.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// The branch that it is on, in full.
    pub(crate) branch: String,
    /// Its commit until now.
    pub(crate) parent: Option<String>,
    /// The time of that, in seconds since 1970.
    pub(crate) time: u64,
}

/// A commit before there is one: its number is its place, from 1, and its mark.
#[derive(Debug, Default)]
struct Planned {
    /// The files that it changes, and the marks of their new content.
    changes: Vec<(usize, usize)>,
    /// The mark of its first parent; 0 is where the history starts.
    parent: usize,
    merges: Option<usize>,
}

/// What is said of nobody in particular.
const WORDS: usize = 1500;

/// The marks of contents are behind those of commits.
const CONTENT: usize = 10_000_000;

/// One commit in so many begins a branch that is merged.
const TOPIC_ONE_IN: usize = 8;

/// The commits on such a branch.
const TOPIC: Range<usize> = 2..7;

/// The seconds between two commits.
const PAUSE: u64 = 1800;

/// Writes the stream.
pub(crate) fn write(shape: &Shape, start: &Start, out: &mut impl Write) -> io::Result<()> {
    let mut rng = Rng::with_seed(shape.seed);
    let words: Vec<String> = (0..WORDS).map(|_| word(&mut rng)).collect();
    let plan = plan(shape, &mut rng);
    let mut versions = vec![Vec::new(); shape.files];
    for planned in plan.iter().filter(|planned| planned.merges.is_none()) {
        for (file, mark) in &planned.changes {
            versions[*file].push(*mark);
        }
    }
    for marks in versions {
        let mut content = Content::new(shape, &words, &mut rng);
        for (version, mark) in marks.into_iter().enumerate() {
            if version > 0 {
                content.change(shape, &words, &mut rng);
            }
            let text = content.0.concat();
            write!(out, "blob\nmark :{mark}\ndata {}\n{text}\n", text.len())?;
        }
    }
    let paths: Vec<String> = (0..shape.files)
        .map(|file| path(shape, &words, file))
        .collect();
    for (number, planned) in plan.iter().enumerate() {
        write_commit(number + 1, planned, start, &words, &paths, &mut rng, out)?;
    }
    write_refs(shape, start, plan.len(), out)?;
    writeln!(out, "done")
}

/// Decides which commit changes which files, before any content is made.
fn plan(shape: &Shape, rng: &mut Rng) -> Vec<Planned> {
    let mut mark = CONTENT;
    let mut new = |file| {
        mark += 1;
        (file, mark)
    };
    let mut plan: Vec<Planned> = Vec::with_capacity(shape.commits);
    let all = (0..shape.files).map(&mut new).collect();
    plan.push(Planned {
        changes: all,
        ..Planned::default()
    });
    while plan.len() < shape.commits {
        let main = plan.len();
        let left = shape.commits - main;
        let topic = match rng.usize(0..TOPIC_ONE_IN) {
            0 if left > TOPIC.end => rng.usize(TOPIC),
            _ => 0,
        };
        for _ in 0..topic.max(1) {
            // What is changed together lies together.
            let directory = rng.usize(0..shape.files) / shape.files_in_directory;
            let first = directory * shape.files_in_directory;
            let behind = shape.files.min(first + shape.files_in_directory);
            let mut files: Vec<_> = (0..rng.usize(1..4))
                .map(|_| rng.usize(first..behind))
                .collect();
            files.sort_unstable();
            files.dedup();
            plan.push(Planned {
                changes: files.into_iter().map(&mut new).collect(),
                parent: plan.len(),
                merges: None,
            });
        }
        if topic > 0 {
            let changes = plan[main..].iter().flat_map(|it| &it.changes);
            plan.push(Planned {
                changes: changes.copied().collect(),
                parent: main,
                merges: Some(plan.len()),
            });
        }
    }
    plan
}

fn write_commit(
    mark: usize,
    planned: &Planned,
    start: &Start,
    words: &[String],
    paths: &[String],
    rng: &mut Rng,
    out: &mut impl Write,
) -> io::Result<()> {
    let time = start.time + mark as u64 * PAUSE;
    let name = &words[rng.usize(0..words.len().min(200))];
    let message = match planned.merges {
        Some(_) => format!("Merge branch '{}'\n", words[mark % words.len()]),
        None => message(words, rng),
    };
    writeln!(out, "commit {}\nmark :{mark}", start.branch)?;
    writeln!(out, "committer {name} <{name}@example.com> {time} +0000")?;
    write!(out, "data {}\n{message}\n", message.len())?;
    match (planned.parent, &start.parent) {
        (0, None) => {}
        (0, Some(parent)) => writeln!(out, "from {parent}")?,
        (parent, _) => writeln!(out, "from :{parent}")?,
    }
    if let Some(merged) = planned.merges {
        writeln!(out, "merge :{merged}")?;
    }
    for (file, mark) in &planned.changes {
        writeln!(out, "M 100644 :{mark} {}", paths[*file])?;
    }
    Ok(())
}

fn write_refs(
    shape: &Shape,
    start: &Start,
    commits: usize,
    out: &mut impl Write,
) -> io::Result<()> {
    if let Some(each) = shape.tag_each {
        for (number, mark) in (each..=commits).step_by(each).enumerate() {
            let time = start.time + (mark as u64 + 1) * PAUSE;
            let message = format!("Release 1.{number}.0\n");
            writeln!(out, "tag v1.{number}.0\nfrom :{mark}")?;
            writeln!(out, "tagger Release <release@example.com> {time} +0000")?;
            write!(out, "data {}\n{message}\n", message.len())?;
        }
    }
    if let Some(each) = shape.branch_each {
        for mark in (each..=commits).step_by(each) {
            writeln!(out, "reset refs/heads/topic/{mark:06}\nfrom :{mark}\n")?;
        }
    }
    Ok(())
}

/// The lines of a file.
struct Content(Vec<String>);

impl Content {
    fn new(shape: &Shape, words: &[String], rng: &mut Rng) -> Self {
        let lines = rng.usize(shape.lines.clone());
        Self((0..lines).map(|_| line(words, rng)).collect())
    }

    /// Replaces some lines that follow each other, by about as many.
    fn change(&mut self, shape: &Shape, words: &[String], rng: &mut Rng) {
        let old = rng.usize(shape.changed.clone());
        let from = rng.usize(0..self.0.len());
        let is_table = rng.usize(0..shape.table_one_in) == 0;
        let old = if is_table { 10 * old } else { old };
        let behind = self.0.len().min(from + old);
        let new: Vec<_> = (0..(behind - from).max(1))
            .map(|_| if is_table { row(rng) } else { line(words, rng) })
            .collect();
        self.0.splice(from..behind, new);
    }
}

/// A line of something like a program.
fn line(words: &[String], rng: &mut Rng) -> String {
    let indent = "    ".repeat(rng.usize(0..4));
    let count = rng.usize(2..7);
    let mut line = indent;
    for number in 0..count {
        let between = ["", " = ", ".", "(", ", ", " + "][number];
        let word = &words[rng.usize(0..words.len())];
        line.push_str(between);
        line.push_str(word);
    }
    line.push_str(if count > 3 { ");\n" } else { ";\n" });
    line
}

/// A line of a table of constants.
fn row(rng: &mut Rng) -> String {
    let mut row = String::from("   ");
    for _ in 0..4 {
        // A string takes all.
        let _ = write!(row, " 0x{:08x},", rng.u32(..));
    }
    row.push('\n');
    row
}

fn message(words: &[String], rng: &mut Rng) -> String {
    let mut text = String::new();
    for paragraph in 0..rng.usize(1..4) {
        let count = if paragraph == 0 { 6 } else { 25 };
        let said: Vec<_> = (0..count)
            .map(|_| words[rng.usize(0..words.len())].as_str())
            .collect();
        text.push_str(&said.join(" "));
        text.push_str("\n\n");
    }
    text
}

fn word(rng: &mut Rng) -> String {
    (0..rng.usize(2..5))
        .flat_map(|_| [rng.choice(*b"bcdfghklmnprstvw"), rng.choice(*b"aeiou")])
        .flatten()
        .map(char::from)
        .collect()
}

fn path(shape: &Shape, words: &[String], file: usize) -> String {
    let directory = file / shape.files_in_directory;
    let (outer, inner) = (directory / 10, directory % 10);
    format!(
        "{}{}/{}{inner}/{}{file}.txt",
        shape.below,
        words[outer % words.len()],
        words[(outer + 7) % words.len()],
        words[(file * 3) % words.len()],
    )
}
