//! The past values of refs. A past value is kept by a ref of its own: this keeps its objects, and one transaction both moves
//! the public ref and writes the past value.
//!
//! The name of that ref has all there is to know: `refs/mirror/history/<when>/<why>/<public name without 'refs/'>`. All past
//! values of one transaction have one stamp, and no two transactions have the same, so that a branch `a` and a later branch
//! `a/b` never conflict.

use std::{
    cmp::Reverse,
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use common::protocol::{Failure, FailureKind};
use gix::{
    ObjectId,
    bstr::{BStr, BString, ByteSlice},
    date::{self, Zoned},
};

use crate::repository::refs::Refs;

/// The refs that keep past values. They are hidden from clients, as all of `refs/mirror/`.
const HISTORY: &str = "refs/mirror/history/";

/// The shortest abbreviation of an object id: git's `MINIMUM_ABBREV`.
const MIN_PREFIX_DIGITS: usize = 4;

/// A value that a ref once had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// When the ref lost the value, in microseconds since 1970.
    pub at: u64,
    /// Why the ref lost it.
    pub why: Why,
    /// The ref, as clients saw it.
    pub name: BString,
    /// The value.
    pub oid: ObjectId,
}

/// Why a ref lost a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The ref moved to a commit that does not contain the value.
    Rewritten,
    /// The ref was deleted.
    Deleted,
    /// The mirror no longer tracks the ref.
    Untracked,
    /// An object that the value reaches is lost, and git would fail for all other refs, too.
    Damaged,
}

impl Why {
    const ALL: [Self; 4] = [
        Self::Rewritten,
        Self::Deleted,
        Self::Untracked,
        Self::Damaged,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Rewritten => "rewritten",
            Self::Deleted => "deleted",
            Self::Untracked => "untracked",
            Self::Damaged => "damaged",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The ref that keeps the value which `public` had until the transaction of this stamp.
pub(crate) fn ref_name(stamp: u64, why: Why, public: &BStr) -> BString {
    let name = public.strip_prefix(b"refs/").unwrap_or(public);
    let mut entry = BString::from(format!("{HISTORY}{stamp}/{why}/"));
    entry.extend_from_slice(name);
    entry
}

/// All past values, the newest first. A ref whose name [`ref_name`] would not make is passed over.
pub(crate) fn entries(refs: &Refs) -> Vec<Entry> {
    let mut entries: Vec<_> = past_values(refs).map(|(_, entry)| entry).collect();
    entries.sort_by_key(|entry| Reverse(entry.at));
    entries
}

/// The stamp of a transaction at `now`: later than all others, whatever the clock says.
pub(crate) fn stamp(refs: &Refs, now: SystemTime) -> u64 {
    let newest = past_values(refs).map(|(_, entry)| entry.at).max();
    newest.map_or(0, |at| at + 1).max(micros(now))
}

/// The past values of refs that were taken away because of damage, each with the ref that keeps it.
pub(crate) fn damaged(refs: &Refs) -> Vec<(BString, Entry)> {
    let damaged = past_values(refs).map(|(name, entry)| (name.clone(), entry));
    damaged
        .filter(|(_, entry)| entry.why == Why::Damaged)
        .collect()
}

/// The refs of the past values that are older than `keep`. A damaged value never expires: it stays until it is repaired, or
/// until another ref has the name.
///
/// A value whose time is in the future, because the clock was set back, stays.
pub(crate) fn expired(refs: &Refs, now: SystemTime, keep: Duration) -> Vec<BString> {
    let keep = u64::try_from(keep.as_micros()).unwrap_or(u64::MAX);
    let now = micros(now);
    past_values(refs)
        .filter(|(_, entry)| entry.why != Why::Damaged && entry.at.saturating_add(keep) <= now)
        .map(|(name, _)| name.clone())
        .collect()
}

/// Whether there are past values that have not expired.
pub(crate) fn has_unexpired(refs: &Refs, now: SystemTime, keep: Duration) -> bool {
    past_values(refs).count() > expired(refs, now, keep).len()
}

fn past_values(refs: &Refs) -> impl Iterator<Item = (&BString, Entry)> {
    refs.range(BString::from(HISTORY)..)
        .take_while(|(name, _)| name.starts_with(HISTORY.as_bytes()))
        .filter_map(|(name, oid)| Some((name, parse_entry(name.as_bstr(), *oid)?)))
}

fn parse_entry(name: &BStr, oid: ObjectId) -> Option<Entry> {
    let rest = name.strip_prefix(HISTORY.as_bytes())?;
    let (at, rest) = rest.split_once_str("/")?;
    let (why, public) = rest.split_once_str("/")?;
    let at = at.to_str().ok()?.parse().ok()?;
    let why = Why::ALL
        .into_iter()
        .find(|known| known.name().as_bytes() == why)?;
    let public = BString::from([b"refs/", public].concat());
    // There is no stamp after the last number, and no clock gives it.
    let is_past_value = at < u64::MAX && ref_name(at, why, public.as_bstr()) == name;
    is_past_value.then_some(Entry {
        at,
        why,
        name: public,
        oid,
    })
}

/// Microseconds since 1970; 0 for an earlier time.
fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Which of a ref's past values to restore, as somebody has typed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At {
    text: String,
    /// An abbreviated object id, in lower case, when the text can be one.
    prefix: Option<String>,
    /// A time at which the ref had the value, in microseconds since 1970, when the text can be one.
    time: Option<u64>,
}

impl At {
    /// Parses an object id, an abbreviated one, or a time as git understands it. A text that can be either is an id if the
    /// history has such a one.
    ///
    /// A time without a zone is in the zone of `now`.
    pub(crate) fn parse(text: &str, now: &Zoned) -> Result<Self, Failure> {
        let text = text.trim();
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let prefix = (is_hex && text.len() >= MIN_PREFIX_DIGITS).then(|| text.to_ascii_lowercase());
        let time = local_time(text, now)
            .or_else(|| Some(date::parse(text, Some(now.clone())).ok()?.seconds))
            .map(|seconds| u64::try_from(seconds).unwrap_or(0).saturating_mul(MICROS));
        if prefix.is_none() && time.is_none() {
            let message = format!("'{text}' is neither an object id nor a time");
            let hint = "a time is '2 hours ago', 'yesterday', '2026-01-31' or '2026-01-31 12:00'";
            return Err(Failure::new(FailureKind::Usage, message).hinted(hint));
        }
        Ok(Self {
            text: text.to_owned(),
            prefix,
            time,
        })
    }
}

/// Microseconds in a second.
pub(crate) const MICROS: u64 = 1_000_000;

/// Parses a date, or a date and a time, without a zone, to seconds since 1970. gix takes it for UTC; git and people take it
/// for local time.
fn local_time(text: &str, now: &Zoned) -> Option<i64> {
    let text = text.replacen('T', " ", 1);
    let formats = ["%Y-%m-%d %H:%M:%S %z", "%Y%m%d %H:%M:%S %z"];
    let written = ["", ":00", " 00:00:00"]
        .iter()
        .flat_map(|rest| formats.map(|format| (format, format!("{text}{rest} +0000"))))
        .find_map(|(format, text)| Zoned::strptime(format, text).ok())?;
    let local = now.time_zone().to_zoned(written.datetime()).ok()?;
    Some(local.timestamp().as_second())
}

/// Finds a past value of a ref: the newest one, or the one that `at` names.
///
/// `entries` are ordered, the newest first. The ref may be named as git takes names: `main`, `heads/main`,
/// `refs/heads/main`; a branch comes before a tag of the same name.
pub(crate) fn find(entries: &[Entry], name: &[u8], at: Option<&At>) -> Result<Entry, Failure> {
    let hint = "'mirrord history NAME' shows what can be brought back";
    find_among(entries, name, at)
        .cloned()
        .map_err(|message| Failure::here(message).hinted(hint))
}

/// The full names that a short one may stand for, in the order of git's `ref_rev_parse_rules`.
pub(crate) fn full_names(short: &[u8]) -> impl Iterator<Item = BString> {
    let spaces = ["", "refs/", "refs/heads/", "refs/tags/"].into_iter();
    spaces.map(move |space| BString::from([space.as_bytes(), short].concat()))
}

fn find_among<'a>(entries: &'a [Entry], name: &[u8], at: Option<&At>) -> Result<&'a Entry, String> {
    let of_ref = full_names(name)
        .map(|full| entries.iter().filter(|entry| entry.name == full).collect())
        .find(|of_ref: &Vec<&Entry>| !of_ref.is_empty());
    let of_ref = of_ref.unwrap_or_default();
    let name = name.as_bstr();
    let [newest, ..] = of_ref[..] else {
        return Err(format!("there is no history of '{name}'"));
    };
    let Some(At { text, prefix, time }) = at else {
        return Ok(newest);
    };
    if let Some(prefix) = prefix {
        let mut matching = of_ref
            .iter()
            .filter(|entry| entry.oid.to_string().starts_with(prefix));
        if let Some(first) = matching.next() {
            if matching.any(|other| other.oid != first.oid) {
                return Err(format!(
                    "'{text}' is ambiguous: '{name}' was at several such commits"
                ));
            }
            return Ok(first);
        }
    }
    let Some(time) = *time else {
        return Err(format!("'{name}' was never at '{text}' that is remembered"));
    };
    // The value at that time is the one that the ref lost next.
    of_ref
        .iter()
        .rfind(|entry| entry.at >= time)
        .copied()
        .ok_or_else(|| {
            format!(
                "'{name}' has lost nothing since '{text}': the last time was {}",
                format_stamp(newest.at)
            )
        })
}

/// Formats a stamp so that people can read it and [`At`] can parse it.
fn format_stamp(stamp: u64) -> String {
    let seconds = i64::try_from(stamp / MICROS).unwrap_or(i64::MAX);
    date::Time::new(seconds, 0).format_or_unix(date::time::format::ISO8601)
}

#[cfg(test)]
mod tests;
