//! What refs were. A past tip is a ref itself: that keeps its objects, and lets it be written in the one transaction that
//! takes it away from its name.
//!
//! Its name says all there is to say: `refs/mirror/history/<when>/<why>/<public name without 'refs/'>`. All that one
//! transaction takes away has one stamp, and no two transactions share one, so that a branch `a` and, after it, a branch
//! `a/b` never get in each other's way.

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

/// Where past tips are kept. Hidden from clients, as all of `refs/mirror/`.
const HISTORY: &str = "refs/mirror/history/";

/// Shorter beginnings of object ids are not taken, as by git.
const MIN_PREFIX_DIGITS: usize = 4;

/// A value that a ref once had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// When it was taken away, in microseconds since 1970.
    pub at: u64,
    /// Why.
    pub why: Why,
    /// The ref, as clients saw it.
    pub name: BString,
    /// The value.
    pub oid: ObjectId,
}

/// Why a ref lost a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// It moved to something that does not contain it.
    Rewritten,
    /// It was deleted.
    Deleted,
    /// The mirror no longer tracks it.
    Untracked,
    /// Something that it reaches is lost: it would be in the way of all others.
    Damaged,
}

impl Why {
    const ALL: [Self; 4] = [
        Self::Rewritten,
        Self::Deleted,
        Self::Untracked,
        Self::Damaged,
    ];

    fn word(self) -> &'static str {
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
        f.write_str(self.word())
    }
}

/// The ref that keeps what `public` was until the transaction of this stamp.
pub(crate) fn ref_name(stamp: u64, why: Why, public: &BStr) -> BString {
    let name = public.strip_prefix(b"refs/").unwrap_or(public);
    let mut entry = BString::from(format!("{HISTORY}{stamp}/{why}/"));
    entry.extend_from_slice(name);
    entry
}

/// All that is remembered, the newest first. A ref whose name no transaction of ours would give is not.
pub(crate) fn entries(refs: &Refs) -> Vec<Entry> {
    let mut entries: Vec<_> = remembered(refs).map(|(_, entry)| entry).collect();
    entries.sort_by_key(|entry| Reverse(entry.at));
    entries
}

/// The stamp of a transaction at `now`: later than all there are, whatever the clock says.
pub(crate) fn stamp(refs: &Refs, now: SystemTime) -> u64 {
    let newest = remembered(refs).map(|(_, entry)| entry.at).max();
    newest.map_or(0, |at| at + 1).max(micros(now))
}

/// The refs that were taken away because something is lost of them: what keeps each, and what it was.
pub(crate) fn damaged(refs: &Refs) -> Vec<(BString, Entry)> {
    let remembered = remembered(refs).map(|(name, entry)| (name.clone(), entry));
    remembered
        .filter(|(_, entry)| entry.why == Why::Damaged)
        .collect()
}

/// The refs that have been remembered for as long as is wanted. What is damaged nobody has given up: it stays until it is
/// whole, or another has its name.
///
/// One from a time that has not come yet, by a clock that was set back since, stays.
pub(crate) fn expired(refs: &Refs, now: SystemTime, keep: Duration) -> Vec<BString> {
    let keep = u64::try_from(keep.as_micros()).unwrap_or(u64::MAX);
    let now = micros(now);
    remembered(refs)
        .filter(|(_, entry)| entry.why != Why::Damaged && entry.at.saturating_add(keep) <= now)
        .map(|(name, _)| name.clone())
        .collect()
}

/// Whether something is remembered that is to be remembered still.
pub(crate) fn lasts(refs: &Refs, now: SystemTime, keep: Duration) -> bool {
    remembered(refs).count() > expired(refs, now, keep).len()
}

fn remembered(refs: &Refs) -> impl Iterator<Item = (&BString, Entry)> {
    refs.range(BString::from(HISTORY)..)
        .take_while(|(name, _)| name.starts_with(HISTORY.as_bytes()))
        .filter_map(|(name, oid)| Some((name, entry(name.as_bstr(), *oid)?)))
}

fn entry(name: &BStr, oid: ObjectId) -> Option<Entry> {
    let rest = name.strip_prefix(HISTORY.as_bytes())?;
    let (at, rest) = rest.split_once_str("/")?;
    let (why, public) = rest.split_once_str("/")?;
    let at = at.to_str().ok()?.parse().ok()?;
    let why = Why::ALL
        .into_iter()
        .find(|known| known.word().as_bytes() == why)?;
    let public = BString::from([b"refs/", public].concat());
    // No clock of ours says the end of time, and there would be no stamp after it.
    let is_ours = at < u64::MAX && ref_name(at, why, public.as_bstr()) == name;
    is_ours.then_some(Entry {
        at,
        why,
        name: public,
        oid,
    })
}

/// Microseconds since 1970, which is as early as it gets.
fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Which of a ref's past values is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At {
    text: String,
    /// The beginning of its id, in lower case, when the text can be one.
    prefix: Option<String>,
    /// A time at which the ref had it, in microseconds since 1970, when the text can be one.
    time: Option<u64>,
}

impl At {
    /// Parses an object id, the beginning of one, or a time as git understands it. A text that can be either is an id
    /// where history has such a one.
    ///
    /// A time without a zone is one where `now` is.
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

/// A date, or a date and a time, without a zone, in seconds since 1970. gix would take it for UTC; git takes it for
/// local, and so does whoever types it.
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

/// Finds what a ref was: the newest of its past values, or the one that is meant.
///
/// `entries` are in their order, the newest first. The ref may be named as git takes names: `main`, `heads/main`,
/// `refs/heads/main`; of a branch and a tag of one name, the branch is meant.
pub(crate) fn find(entries: &[Entry], name: &[u8], at: Option<&At>) -> Result<Entry, Failure> {
    let hint = "'mirrord history NAME' shows what can be brought back";
    find_among(entries, name, at)
        .cloned()
        .map_err(|message| Failure::here(message).hinted(hint))
}

/// The refs that may be meant by what was typed, in git's order.
pub(crate) fn names(typed: &[u8]) -> impl Iterator<Item = BString> {
    let spaces = ["", "refs/", "refs/heads/", "refs/tags/"].into_iter();
    spaces.map(move |space| BString::from([space.as_bytes(), typed].concat()))
}

fn find_among<'a>(entries: &'a [Entry], name: &[u8], at: Option<&At>) -> Result<&'a Entry, String> {
    let of_ref = names(name)
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
    // What it was then is what was next taken away.
    of_ref
        .iter()
        .rfind(|entry| entry.at >= time)
        .copied()
        .ok_or_else(|| {
            format!(
                "'{name}' has lost nothing since '{text}': the last time was {}",
                in_words(newest.at)
            )
        })
}

/// A stamp as people read it and as [`At`] takes it.
fn in_words(stamp: u64) -> String {
    let seconds = i64::try_from(stamp / MICROS).unwrap_or(i64::MAX);
    date::Time::new(seconds, 0).format_or_unix(date::time::format::ISO8601)
}

#[cfg(test)]
mod tests;
