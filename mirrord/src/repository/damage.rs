//! What is broken in a mirror: a file in the mirror, from when the damage is found until it is repaired. A daemon that is
//! killed meanwhile does not lose it.
//!
//! Each sync asks upstream for all that it has, until one has succeeded. What is missing after that can only be pushed again
//! by somebody who still has it.

use std::{fs, io, path::Path};

use common::protocol::Damage;

use crate::process::durable;

/// The file in a mirror.
const FILE: &str = "damage";

/// The beginnings of its lines: what is broken, and each lost ref.
const WHAT: &str = "what ";
const LOST: &str = "lost ";

/// The line that is there when upstream has given all that it has.
const ASKED: &str = "asked";

/// Reads what is known to be broken in a mirror.
pub(crate) fn read(git_dir: &Path) -> io::Result<Option<Damage>> {
    let text = match fs::read(git_dir.join(FILE)) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(err),
    };
    let lines = |prefix: &'static str| text.lines().filter_map(move |it| it.strip_prefix(prefix));
    Ok(Some(Damage {
        what: lines(WHAT).collect(),
        asked: text.lines().any(|line| line == ASKED),
        lost: lines(LOST).map(str::to_owned).collect(),
    }))
}

/// Records damage. The file lasts when this returns.
pub(crate) fn record(git_dir: &Path, damage: &Damage) -> io::Result<()> {
    let mut text = format!("{WHAT}{}\n", damage.what.replace('\n', " "));
    if damage.asked {
        text += &format!("{ASKED}\n");
    }
    text.extend(damage.lost.iter().map(|name| format!("{LOST}{name}\n")));
    durable::replace(&git_dir.join(FILE), text.as_bytes())
}

/// Whether the next sync has to ask upstream for all that it has.
pub(crate) fn needs_full_fetch(git_dir: &Path) -> io::Result<bool> {
    Ok(read(git_dir)?.is_some_and(|damage| !damage.asked))
}

/// Records that upstream has given all that it has.
pub(crate) fn record_full_fetch(git_dir: &Path) -> io::Result<()> {
    match read(git_dir)? {
        Some(damage) => record(
            git_dir,
            &Damage {
                asked: true,
                ..damage
            },
        ),
        None => Ok(()),
    }
}

/// Removes the record of the damage: everything is repaired.
pub(crate) fn clear(git_dir: &Path) -> io::Result<()> {
    durable::remove(&git_dir.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_read_until_it_is_cleared() {
        let dir = tempfile::tempdir().expect("temp dir");
        assert_eq!(read(dir.path()).expect("readable"), None);
        assert!(!needs_full_fetch(dir.path()).expect("readable"));
        record_full_fetch(dir.path()).expect("nothing to record");
        assert_eq!(read(dir.path()).expect("readable"), None);
        let mut damage = Damage {
            what: "pack-1 is\nbad".into(),
            asked: false,
            lost: vec!["refs/heads/a b".into(), "refs/heads/c".into()],
        };
        record(dir.path(), &damage).expect("written");
        assert!(needs_full_fetch(dir.path()).expect("readable"));
        record_full_fetch(dir.path()).expect("written");
        (damage.what, damage.asked) = ("pack-1 is bad".into(), true);
        assert_eq!(read(dir.path()).expect("readable"), Some(damage));
        assert!(!needs_full_fetch(dir.path()).expect("readable"));
        clear(dir.path()).expect("removed");
        assert_eq!(read(dir.path()).expect("readable"), None);
    }
}
