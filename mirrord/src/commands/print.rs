//! What people and scripts read: facts on stdout, everything else on stderr.

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
    sync::LazyLock,
    time::SystemTime,
};

use crate::process::local_time;
use common::{
    progress::{self, masked},
    protocol::{Failure, FailureKind},
    text::time::unix_seconds,
};
use jiff::tz::TimeZone;

/// Exit code for what makes no sense; clap has the same for what it refuses itself.
const USAGE: u8 = 2;

/// From so many seconds before a token expires on, its owner is warned: seven days.
const EXPIRY_WARNING_SECONDS: u64 = 7 * 24 * 60 * 60;

/// Digits of an object's name that people are shown, as git shows them.
const SHORT_ID_DIGITS: usize = 7;

/// Prints facts for people. What comes from outside has been masked before.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    write(&readable(text))
}

/// Prints facts for scripts: always UTF-8, whatever the terminal is.
pub(super) fn print_json(value: &serde_json::Value) -> anyhow::Result<()> {
    write(&format!("{value:#}\n"))
}

/// Prints a program's text. A reader that went away, such as `head`, is no error.
pub(super) fn write(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(err) if err.kind() != io::ErrorKind::BrokenPipe => Err(err.into()),
        _ => Ok(()),
    }
}

/// Says one line on stderr. What comes from outside has been masked before.
pub(super) fn tell(line: &str) {
    progress::tell(&readable(line));
}

/// Says what the person should know, although it worked; `of` is the mirror where more than one is spoken of.
pub(super) fn warn(of: Option<&str>, warnings: &[String]) {
    let of = of.map(|name| format!("{name}: ")).unwrap_or_default();
    for warning in warnings {
        tell(&format!("warning: {of}{}", masked(warning.as_bytes())));
    }
}

/// Says what the person may want to do.
pub(super) fn advise(hint: &str) {
    tell(&format!("hint: {}", masked(hint.as_bytes())));
}

/// Prints an error, with what to do about it, where people read errors.
pub(crate) fn complain(error: &anyhow::Error) {
    complain_listing(error, &[]);
}

/// Prints an error and the things that it speaks of, one a line, as git lists files that are in its way.
pub(super) fn complain_listing(error: &anyhow::Error, things: &[String]) {
    tell(&format!(
        "error: {}",
        masked(format!("{error:#}").as_bytes())
    ));
    for thing in things {
        tell(&format!("\t{thing}"));
    }
    if let Some(hint) = super::hint(error) {
        advise(hint);
    }
}

/// The exit code of an error: 2 when what was asked makes no sense, otherwise 1.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref::<Failure>() {
        Some(failure) if failure.kind == FailureKind::Usage => ExitCode::from(USAGE),
        _ => ExitCode::FAILURE,
    }
}

/// A word as a shell takes it.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@+%=,".contains(c);
    if word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A time span as people say it.
pub(super) fn ago(seconds: u64) -> String {
    progress::span(seconds)
}

/// So many of a thing whose name takes an s.
pub(super) fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// The name of an object as people are shown it.
pub(super) fn short(oid: &str) -> &str {
    oid.get(..SHORT_ID_DIGITS).unwrap_or(oid)
}

/// The day of a point in time, in UTC: as GitLab says when a token expires.
pub(super) fn date(seconds: u64) -> String {
    let time = local_time::in_zone(seconds, TimeZone::UTC);
    time.split(' ').next().unwrap_or_default().to_owned()
}

/// When a token expires, and how soon that is; whether its owner should do something about it.
pub(super) fn expiry(expires: u64) -> (String, bool) {
    let now = unix_seconds(SystemTime::now());
    let date = date(expires);
    match expires.checked_sub(now) {
        None | Some(0) => (format!("expired on {date}"), true),
        Some(left) if left < EXPIRY_WARNING_SECONDS => {
            (format!("expires on {date}, in {}", ago(left)), true)
        }
        Some(_) => (format!("expires on {date}"), false),
    }
}

/// The text as this terminal can show it.
pub(super) fn readable(text: &str) -> String {
    if speaks_utf8() {
        text.to_owned()
    } else {
        ascii(text)
    }
}

/// Whether this terminal shows more than ASCII.
pub(super) fn speaks_utf8() -> bool {
    static UTF8: LazyLock<bool> = LazyLock::new(|| is_utf8(|name| env::var_os(name)));
    *UTF8
}

fn ascii(text: &str) -> String {
    let shown = |c: char| if c.is_ascii() { c } else { '?' };
    text.chars().map(shown).collect()
}

/// Whether the locale is one of UTF-8, as libc finds it.
fn is_utf8(get: impl Fn(&str) -> Option<OsString>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(get)
        .find(|value| !value.is_empty())
        .unwrap_or_default();
    let locale = locale.to_string_lossy().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_without_utf8_gets_plain_ascii() {
        let utf8 = |set: &[(&str, &str)]| {
            is_utf8(|name| {
                let found = set.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| value.into())
            })
        };
        assert!(utf8(&[("LANG", "de_DE.UTF-8")]) && utf8(&[("LC_CTYPE", "C.utf8")]));
        assert!(!utf8(&[]) && !utf8(&[("LANG", "C")]));
        assert!(
            !utf8(&[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")]),
            "the stronger variable decides"
        );
        assert!(
            utf8(&[("LC_ALL", ""), ("LANG", "de_DE.UTF-8")]),
            "an empty one is none"
        );
        assert_eq!(ascii("Stra\u{df}e\n"), "Stra?e\n");
    }

    #[test]
    fn a_time_says_where_it_is_meant() {
        let at =
            |hours| local_time::in_zone(1_795_514_403, TimeZone::fixed(jiff::tz::offset(hours)));
        assert_eq!(at(0), "2026-11-24 10:00:03 +0000");
        assert_eq!(at(-5), "2026-11-24 05:00:03 -0500");
        assert_eq!(
            local_time::in_zone(u64::MAX, TimeZone::UTC),
            i64::MAX.to_string()
        );
    }

    #[test]
    fn wrong_usage_has_a_code_of_its_own() {
        let code = |kind| exit_code(&Failure::new(kind, "no").into());
        assert_eq!(code(FailureKind::Usage), ExitCode::from(2));
        assert_eq!(code(FailureKind::Refused), ExitCode::from(1));
        assert_eq!(exit_code(&anyhow::anyhow!("no")), ExitCode::from(1));
    }
}
