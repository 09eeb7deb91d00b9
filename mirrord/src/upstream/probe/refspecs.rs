//! Which refs of upstream the refspecs match.

use std::time::Duration;

use common::{
    protocol::{Check, Step, Verdict},
    refspec::{Refspecs, UpstreamRef},
    text::masked,
};

use super::{Probe, step};
use crate::repository::refs::UpstreamRefs;

/// How many names are shown; the others are counted.
const MAX_NAMES: usize = 3;

impl Probe<'_> {
    /// Reports which refs would be tracked.
    pub(super) fn refspecs(&self, track: &Refspecs, tracked: &UpstreamRefs, is_empty: bool) {
        let mut step = matching(track, tracked, is_empty);
        if step.verdict == Verdict::Failed {
            step.hint = Some(format!(
                "this shows what there is: git ls-remote {}",
                self.url
            ));
        }
        (self.report)(step);
    }
}

fn matching(track: &Refspecs, tracked: &UpstreamRefs, is_empty: bool) -> Step {
    let names: Vec<_> = tracked.keys().take(MAX_NAMES).map(short).collect();
    let more = match tracked.len().saturating_sub(MAX_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let mut text = match tracked.len() {
        0 => "no refs".to_owned(),
        1 => format!("1 ref: {}", names.join(", ")),
        number => format!("{number} refs: {}{more}", names.join(", ")),
    };
    // Who tracks all that there is means nothing by each half of it, and to an empty upstream much may still come.
    let needs_no_match = is_empty || *track == Refspecs::everything();
    let unmatched = if needs_no_match {
        Vec::new()
    } else {
        unmatched(track, tracked)
    };
    for refspec in &unmatched {
        text.push_str(&format!(
            "; '{}' matches nothing",
            masked(refspec.as_bytes())
        ));
    }
    let verdict = match unmatched.is_empty() {
        true => Verdict::Passed,
        false => Verdict::Failed,
    };
    step(Check::Refspecs, verdict, Duration::ZERO, text)
}

/// Returns the refspecs that match no ref of upstream.
fn unmatched(track: &Refspecs, tracked: &UpstreamRefs) -> Vec<String> {
    let lines: Vec<_> = track.lines().collect();
    let excluded: Vec<_> = lines.iter().filter(|line| line.starts_with('^')).collect();
    let shows_nothing = |line: &&String| {
        let alone = excluded.iter().copied().chain([*line]);
        let alone = Refspecs::parse(alone.map(String::as_str));
        alone.is_ok_and(|alone| tracked.keys().all(|name| alone.public(name).is_none()))
    };
    let showing = lines.iter().filter(|line| !line.starts_with('^'));
    showing.filter(shows_nothing).cloned().collect()
}

/// Returns the short name of a branch or tag.
fn short(name: &UpstreamRef) -> String {
    let spaces: [&[u8]; 2] = [b"refs/heads/", b"refs/tags/"];
    let bare = spaces
        .into_iter()
        .find_map(|space| name.as_bstr().strip_prefix(space));
    masked(bare.unwrap_or(name.as_bstr()))
}

#[cfg(test)]
mod tests {
    use gix::ObjectId;

    use super::*;

    fn outcome(track: &[&str], names: &[&str]) -> (Verdict, String) {
        let track = Refspecs::parse(track.iter().copied()).expect("they are sound");
        let oid = ObjectId::null(gix::hash::Kind::Sha1);
        let refs = names.iter().map(|name| (UpstreamRef::new(*name), oid));
        let tracked = refs
            .filter(|(name, _)| track.public(name).is_some())
            .collect();
        let step = matching(&track, &tracked, names.is_empty());
        (step.verdict, step.detail)
    }

    #[test]
    fn what_would_be_tracked_is_counted_and_the_first_are_named() {
        let names = [
            "refs/heads/a",
            "refs/heads/b",
            "refs/tags/v1",
            "refs/tags/v2",
        ];
        let (verdict, words) = outcome(&[], &names);
        assert_eq!(verdict, Verdict::Passed);
        assert_eq!(words, "4 refs: a, b, v1 and 1 more");
        let one = outcome(&["+refs/heads/a"], &names);
        assert_eq!(one, (Verdict::Passed, "1 ref: a".into()));
    }

    #[test]
    fn a_refspec_that_matches_nothing_is_said() {
        let names = ["refs/heads/main", "refs/heads/wip/x"];
        let (verdict, words) = outcome(&["+refs/heads/mian", "+refs/heads/main"], &names);
        assert_eq!(verdict, Verdict::Failed);
        let mian = "'+refs/heads/mian:refs/heads/mian' matches nothing";
        assert_eq!(words, format!("1 ref: main; {mian}"));
        let excluded = ["+refs/heads/wip/*", "^refs/heads/wip/x"];
        let (verdict, words) = outcome(&excluded, &names);
        assert!(verdict == Verdict::Failed && words.starts_with("no refs; '+refs/heads/wip/*"));
    }

    #[test]
    fn nothing_is_wrong_with_what_may_still_come() {
        let empty = outcome(&["+refs/heads/main"], &[]);
        assert_eq!(empty, (Verdict::Passed, "no refs".into()));
        let untagged = outcome(&[], &["refs/heads/main"]);
        assert_eq!(untagged, (Verdict::Passed, "1 ref: main".into()));
    }
}
