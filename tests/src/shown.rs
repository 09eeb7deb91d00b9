//! What a person reads of an output, without what differs from run to run: the form that snapshots have.

use std::sync::LazyLock;

use regex::Regex;

use crate::Ran;

/// What differs, and what is written in its place.
static DIFFERING: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let all = [
        // Worlds are in the directory that MIRROR_TESTS_DIR names.
        (r"(/[\w.-]+)+/mw\w{6}\b", "/world"),
        (r"\bssh-ed25519 SHA256:[\w+/]{43}", "[host key]"),
        (r"\bssh-ed25519 AAAA[\w+/]+=*", "[public key]"),
        (r"\bssh -p \d+ ", "ssh -p [port] "),
        (
            r"(localhost|127\.0\.0\.1|\[127\.0\.0\.1\]|\[::1\])[:+]\d+",
            "gitlab.example",
        ),
        (
            r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?(Z| ?[+-]\d\d:?\d\d)?",
            "[date]",
        ),
        // As HTTP writes it.
        (r"\b\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\b", "[date]"),
        (r"\b[0-9a-f]{7,64}\b", "[oid]"),
        // A column of times has its own width in each run.
        (r" {2,}<?\d+(\.\d+)? (ms|s)\b", "  [time]"),
        (
            r#""milliseconds":( ?)\d+(\.\d+)?"#,
            r#""milliseconds":$1[time]"#,
        ),
        (r#""bytes":[1-9]\d*"#, r#""bytes":[size]"#),
        (
            r"\b\d+(\.\d+)? ?(ms|s|seconds?|minutes?|hours?)\b",
            "[time]",
        ),
        (r"\b\d+\.\d\d [KMGT]iB\b", "[size]"),
        (r"\bprocess \d+\b", "process [pid]"),
        // git fills lines of upstream up with blanks, to wipe what was there before.
        (r"(?m) +$", ""),
    ];
    let pattern = |(pattern, instead)| (Regex::new(pattern).expect("a pattern"), instead);
    all.map(pattern).into()
});

/// Returns a text without what differs from run to run.
pub fn shown(text: &str) -> String {
    DIFFERING
        .iter()
        .fold(text.to_owned(), |text, (pattern, instead)| {
            pattern.replace_all(&text, *instead).into_owned()
        })
}

impl Ran {
    /// Returns what was printed, without what differs from run to run: stdout, then stderr, with a line between them when
    /// there are both.
    pub fn shown(&self) -> String {
        let between = match self.stdout.is_empty() || self.stderr.is_empty() {
            true => "",
            false => "--- stderr\n",
        };
        shown(&format!("{}{between}{}", self.stdout, self.stderr))
    }
}
