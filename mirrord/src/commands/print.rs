//! Output of the commands: results on stdout, everything else on stderr.

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
    progress::{self},
    protocol::{Failure, FailureKind},
    text::{masked, time_span, unix_seconds},
};
use jiff::tz::TimeZone;

/// The exit code of wrong usage; clap has the same for what it refuses itself.
const USAGE: u8 = 2;

/// How long before a token expires its owner is warned: seven days.
const EXPIRY_WARNING_SECONDS: u64 = 7 * 24 * 60 * 60;

/// The digits of an abbreviated object id, as in git's own output (`core.abbrev` of a small repository).
const SHORT_ID_DIGITS: usize = 7;

/// Prints text for people on stdout. Text from outside must have been masked.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    write_stdout(&readable(text))
}

/// Prints JSON on stdout: always in UTF-8, whatever the terminal is.
pub(super) fn print_json(value: &serde_json::Value) -> anyhow::Result<()> {
    write_stdout(&format!("{value:#}\n"))
}

/// Writes to stdout. If the reader, such as `head`, has closed the pipe, that is no error.
pub(super) fn write_stdout(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(err) if err.kind() != io::ErrorKind::BrokenPipe => Err(err.into()),
        _ => Ok(()),
    }
}

/// Prints one line on stderr. Text from outside must have been masked.
pub(super) fn print_stderr(line: &str) {
    progress::tell(&readable(line));
}

/// Prints warnings about something that worked. `mirror` is its name if the command is about several.
pub(super) fn print_warnings(mirror: Option<&str>, warnings: &[String]) {
    let prefix = mirror.map(|name| format!("{name}: ")).unwrap_or_default();
    for warning in warnings {
        print_stderr(&format!("warning: {prefix}{}", masked(warning.as_bytes())));
    }
}

/// Prints a hint: a command to type, or a fact.
pub(super) fn print_hint(hint: &str) {
    print_stderr(&format!("hint: {}", masked(hint.as_bytes())));
}

/// Prints an error and its hint on stderr.
pub(crate) fn print_error(error: &anyhow::Error) {
    print_error_with_list(error, &[]);
}

/// Prints an error, a list that belongs to it, and its hint; as git lists the files that a checkout would overwrite.
pub(super) fn print_error_with_list(error: &anyhow::Error, items: &[String]) {
    let failure = error.downcast_ref::<Failure>();
    for line in failure.iter().flat_map(|failure| &failure.remote) {
        print_stderr(&format!("remote: {}", masked(line.as_bytes())));
    }
    print_stderr(&format!(
        "error: {}",
        masked(format!("{error:#}").as_bytes())
    ));
    for item in items {
        print_stderr(&format!("\t{item}"));
    }
    if let Some(hint) = super::hint_of(error) {
        print_hint(hint);
    }
}

/// The exit code of an error: 2 for wrong usage, otherwise 1.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref::<Failure>() {
        Some(failure) if failure.kind == FailureKind::Usage => ExitCode::from(USAGE),
        _ => ExitCode::FAILURE,
    }
}

/// A number with its noun, in singular or plural.
pub(super) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// An abbreviated object id.
pub(super) fn short_oid(oid: &str) -> &str {
    oid.get(..SHORT_ID_DIGITS).unwrap_or(oid)
}

/// The date of a time in UTC, which is how GitLab counts the expiry of a token.
pub(super) fn utc_date(seconds: u64) -> String {
    let time = local_time::in_zone(seconds, TimeZone::UTC);
    time.split(' ').next().unwrap_or_default().to_owned()
}

/// When a token expires.
pub(super) struct TokenExpiry {
    /// The date, and how soon that is if it is soon.
    pub text: String,
    /// Whether the owner should replace the token now.
    pub needs_attention: bool,
}

/// Describes when a token expires.
pub(super) fn token_expiry(expires: u64) -> TokenExpiry {
    let now = unix_seconds(SystemTime::now());
    let date = utc_date(expires);
    let (text, needs_attention) = match expires.checked_sub(now) {
        None | Some(0) => (format!("expired on {date}"), true),
        Some(left) if left < EXPIRY_WARNING_SECONDS => {
            (format!("expires on {date}, in {}", time_span(left)), true)
        }
        Some(_) => (format!("expires on {date}"), false),
    };
    TokenExpiry {
        text,
        needs_attention,
    }
}

/// Replaces what this terminal cannot show.
pub(super) fn readable(text: &str) -> String {
    if is_utf8_terminal() {
        text.to_owned()
    } else {
        ascii(text)
    }
}

/// Whether the locale says that this terminal shows UTF-8.
pub(super) fn is_utf8_terminal() -> bool {
    static UTF8: LazyLock<bool> = LazyLock::new(|| is_utf8(|name| env::var_os(name)));
    *UTF8
}

fn ascii(text: &str) -> String {
    let shown = |c: char| if c.is_ascii() { c } else { '?' };
    text.chars().map(shown).collect()
}

/// Whether the locale is one of UTF-8, by the variables that setlocale(3) reads.
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
    fn a_time_is_printed_with_its_offset_from_utc() {
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
    fn wrong_usage_has_its_own_exit_code() {
        let code = |kind| exit_code(&Failure::new(kind, "no").into());
        assert_eq!(code(FailureKind::Usage), ExitCode::from(2));
        assert_eq!(code(FailureKind::Refused), ExitCode::from(1));
        assert_eq!(exit_code(&anyhow::anyhow!("no")), ExitCode::from(1));
    }
}
