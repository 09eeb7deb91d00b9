//! A line of git's own progress, as its progress.c prints it: `Receiving objects:  45% (450/1000), 1.20 MiB | 2.00 MiB/s`.

/// How far a step of git's is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgressLine<'l> {
    /// The step: what is before the colon.
    pub title: &'l str,
    /// How many are done.
    pub done: u64,
    /// How many there are.
    pub total: u64,
    /// How many bytes they have, where git counts them.
    pub bytes: Option<u64>,
}

impl<'l> ProgressLine<'l> {
    /// Reads a line; None where it is no progress with a total.
    #[must_use]
    pub fn parse(line: &'l str) -> Option<Self> {
        let (title, rest) = line.split_once(':')?;
        let (done, rest) = rest.split_once('(')?.1.split_once('/')?;
        let (total, rest) = rest.split_once(')')?;
        Some(Self {
            title,
            done: done.parse().ok()?,
            total: total.parse().ok()?,
            bytes: rest.strip_prefix(", ").and_then(bytes),
        })
    }
}

/// Reads an amount as `strbuf_humanise_bytes()` in git's strbuf.c writes it.
fn bytes(text: &str) -> Option<u64> {
    let mut words = text.split([' ', ',']);
    let number: f64 = words.next()?.parse().ok()?;
    let unit = match words.next()?.trim_end() {
        "byte" | "bytes" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    Some((number * f64::from(unit)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_as_git_prints_it() {
        let line = |title, done, total, bytes| {
            let line = ProgressLine {
                title,
                done,
                total,
                bytes,
            };
            Some(line)
        };
        let parse = ProgressLine::parse;
        assert_eq!(
            parse("Receiving objects:  45% (450/1000), 1.50 MiB | 2.00 MiB/s\r"),
            line("Receiving objects", 450, 1000, Some(1_572_864))
        );
        assert_eq!(
            parse("Writing objects: 100% (3/3), 250 bytes | 250.00 KiB/s, done."),
            line("Writing objects", 3, 3, Some(250))
        );
        assert_eq!(
            parse("Writing objects: 100% (9/9), 2.00 GiB, done."),
            line("Writing objects", 9, 9, Some(2 << 30))
        );
        assert_eq!(
            parse("Resolving deltas: 100% (30/30), done.\n"),
            line("Resolving deltas", 30, 30, None)
        );
        assert_eq!(parse("From https://gitlab.example/group/project\n"), None);
        assert_eq!(parse("Enumerating objects: 12, done."), None);
    }
}
