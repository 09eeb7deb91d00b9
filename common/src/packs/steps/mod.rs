//! What each sync of a mirror brought, and to what it was added: so that a client that has what was there before can be
//! handed the very pack.
//!
//! A sync tells upstream what the mirror has of it, and upstream sends what is missing to that. Whoever has all that was
//! told has, with that pack, all of what upstream had then. The daemon writes the steps down, from what was recorded of
//! upstream to what is; whoever hands packs out goes back from today to where the client is. Changes of which nothing is
//! known, such as those of a push, end the chain.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt::Write,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
};

/// The file of the steps, inside a mirror.
const STEPS: &str = "steps";

/// More are not remembered: who is further behind gets a pack of its own.
const MAX_STEPS: usize = 50;

/// A step of more changes than this is not remembered, nor is any before it.
const MAX_MOVES: usize = 1000;

/// The records of upstream's refs at some time: names, and objects in hexadecimal.
pub type State<'s> = BTreeMap<&'s [u8], &'s [u8]>;

/// The steps of a mirror, the last one last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Steps(Vec<Step>);

/// The changes of one sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The pack that it brought; None when all was here already, wherever it came from.
    pub pack: Option<String>,
    /// The digest of what was recorded before.
    pub before: u64,
    /// The digest of what was recorded after it.
    pub after: u64,
    /// The refs that changed.
    pub moves: Vec<Move>,
}

/// The change of one ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The name of the ref.
    pub name: Vec<u8>,
    /// The old value, in hexadecimal.
    pub old: Option<String>,
    /// The new value.
    pub new: Option<String>,
    /// Whether what it is contains what it was.
    pub forward: bool,
}

/// Returns a hash of a state, given in its order: names, and objects in hexadecimal.
pub fn digest<N: AsRef<[u8]>, O: AsRef<[u8]>>(state: impl IntoIterator<Item = (N, O)>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (name, object) in state {
        (name.as_ref(), object.as_ref()).hash(&mut hasher);
    }
    hasher.finish()
}

impl Steps {
    /// Reads the steps of a mirror; none when there is no file of them, or none that is whole.
    ///
    /// # Errors
    /// Fails when the file cannot be read.
    pub fn read(git_dir: &Path) -> io::Result<Self> {
        match fs::read(path(git_dir)) {
            Ok(text) => Ok(Self::parse(&text).unwrap_or_default()),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(err) => Err(err),
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let mut steps = Vec::<Step>::new();
        let lines = text.strip_suffix(b"end\n")?;
        for line in lines
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let mut words = line.splitn(4, |byte| *byte == b' ');
            let mut word = || words.next();
            let (kind, one, other, last) = (word()?, text_of(word()?)?, text_of(word()?)?, word()?);
            let some = |word: &str| (word != "-").then(|| word.to_owned());
            match kind {
                b"step" => steps.push(Step {
                    pack: some(text_of(last)?),
                    before: one.parse().ok()?,
                    after: other.parse().ok()?,
                    moves: Vec::new(),
                }),
                b"forward" | b"aside" => steps.last_mut()?.moves.push(Move {
                    name: last.to_vec(),
                    old: some(one),
                    new: some(other),
                    forward: kind == b"forward",
                }),
                _ => return None,
            }
        }
        Some(Self(steps))
    }

    /// Returns the content of the file.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for step in &self.0 {
            let (pack, mut line) = (some_of(step.pack.as_deref()), String::new());
            let _ = writeln!(line, "step {} {} {pack}", step.before, step.after);
            text.extend(line.bytes());
            for each in &step.moves {
                let kind = if each.forward { "forward" } else { "aside" };
                let (old, new) = (some_of(each.old.as_deref()), some_of(each.new.as_deref()));
                text.extend(format!("{kind} {old} {new} ").bytes());
                text.extend(&each.name);
                text.push(b'\n');
            }
        }
        text.extend(b"end\n");
        text
    }

    /// Adds one. What it does not follow is forgotten.
    pub fn add(&mut self, step: Step) {
        if self.0.last().is_some_and(|last| last.after != step.before) {
            self.0.clear();
        }
        if step.moves.len() > MAX_MOVES {
            self.0.clear();
            return;
        }
        self.0.push(step);
        let surplus = self.0.len().saturating_sub(MAX_STEPS);
        self.0.drain(..surplus);
    }

    /// The packs that bring everything that is wanted, and nothing else, to a client that has the objects in `has` and all
    /// that they reach; None when no packs fit. What is recorded now is `now`.
    #[must_use]
    pub fn plan<'s>(
        &'s self,
        mut now: State<'s>,
        has: &HashSet<&[u8]>,
        wants: &'s BTreeSet<Vec<u8>>,
    ) -> Option<Vec<&'s str>> {
        let mut digest = digest(&now);
        let mut packs = Vec::new();
        let mut brought: BTreeSet<&[u8]> = BTreeSet::new();
        // What is wanted, and what that contains.
        let mut wanted: BTreeSet<&[u8]> = wants.iter().map(|want| &**want).collect();
        let mut steps = self.0.iter().rev();
        let is_known = |object: &str| has.contains(object.as_bytes());
        // Upstream was told of every one of them.
        while !now.values().all(|object| has.contains(object)) {
            let step = steps.next().filter(|step| step.after == digest)?;
            let news = || step.moves.iter().filter_map(|each| each.new.as_deref());
            if !news().all(|new| is_known(new) || wanted.contains(new.as_bytes())) {
                return None;
            }
            for each in step.moves.iter().filter(|each| each.forward) {
                if let (Some(old), Some(new)) = (&each.old, &each.new)
                    && wanted.contains(new.as_bytes())
                {
                    wanted.insert(old.as_bytes());
                }
            }
            for each in &step.moves {
                match &each.old {
                    Some(old) => now.insert(&each.name, old.as_bytes()),
                    None => now.remove(&*each.name),
                };
            }
            digest = step.before;
            match &step.pack {
                Some(pack) => {
                    packs.push(&**pack);
                    brought.extend(news().map(str::as_bytes));
                }
                None => {
                    // Where it came from nobody knows, unless another ref has brought it.
                    let all: BTreeSet<&[u8]> = now.values().copied().collect();
                    if !news().all(|new| is_known(new) || all.contains(new.as_bytes())) {
                        return None;
                    }
                }
            }
        }
        let all = wants
            .iter()
            .all(|want| brought.contains(&**want) || has.contains(&**want));
        all.then_some(packs)
    }
}

/// Returns the path of the steps of a mirror.
#[must_use]
pub fn path(git_dir: &Path) -> PathBuf {
    git_dir.join(STEPS)
}

fn text_of(word: &[u8]) -> Option<&str> {
    std::str::from_utf8(word).ok()
}

fn some_of(word: Option<&str>) -> &str {
    word.unwrap_or("-")
}

#[cfg(test)]
mod tests;
