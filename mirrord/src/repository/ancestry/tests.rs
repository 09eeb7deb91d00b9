//! Compares the answers with those of `git merge-base --is-ancestor`.

use super::*;
use crate::repository::sample::{Imported, Sample};

const MAIN: &str = "refs/heads/main";

fn is_fast_forward(repo: &Repository, name: &str, old: ObjectId, new: ObjectId) -> bool {
    Ancestry::new(repo).is_fast_forward(name.into(), old, new)
}

fn is_ancestor_to_git(sample: &Imported, old: ObjectId, new: ObjectId) -> bool {
    let mut git = sample.git();
    git.args(["merge-base", "--is-ancestor"])
        .args([old.to_string(), new.to_string()]);
    git.status().expect("git runs").success()
}

/// Numbers below `end` that look random and are the same every time.
fn random_numbers() -> impl FnMut(usize) -> usize {
    let mut state: u64 = 0x2545_F491_4F6C_DD1D;
    move |end| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % end as u64).expect("below end")
    }
}

#[test]
fn git_agrees_about_random_histories_with_wrong_clocks() {
    let mut random = random_numbers();
    let mut sample = Sample::new();
    for mark in 1..=300_usize {
        let near = mark.saturating_sub(1).min(12);
        let parents: Vec<usize> = (0..[0, 1, 1, 1, 1, 2, 2, 3][random(8)].max(random(2)).min(near))
            .map(|_| mark - 1 - random(near))
            .collect();
        // Some are made long before their parents, and some on machines far ahead.
        let time = match random(6) {
            0 => random(2_000_000_000),
            1 => 1_700_000_000 + random(100_000_000),
            _ => 1_700_000_000 + mark,
        };
        sample.commit_at(&parents, time as u64);
    }
    let sample = sample.import();
    let repo = sample.open();
    let mut ancestry = Ancestry::new(&repo);
    let (mut yes, mut no) = (0, 0);
    for _ in 0..300 {
        let new = 1 + random(300);
        let (old, new) = (sample.oid(1 + random(new)), sample.oid(new));
        let expected = is_ancestor_to_git(&sample, old, new);
        assert_eq!(
            ancestry.is_fast_forward(MAIN.into(), old, new),
            expected,
            "{old} {new}"
        );
        *(if expected { &mut yes } else { &mut no }) += 1;
    }
    assert!(yes > 30 && no > 30, "both happen: {yes} {no}");
}

#[test]
fn a_tag_that_moves_forward_has_still_moved() {
    let mut sample = Sample::new();
    let one = sample.commit(&[]);
    let two = sample.commit(&[one]);
    let sample = sample.import();
    let (repo, one, two) = (sample.open(), sample.oid(one), sample.oid(two));
    assert!(!is_fast_forward(&repo, "refs/tags/v1", one, two));
    assert!(is_fast_forward(&repo, "refs/heads/v1", one, two));
    assert!(!is_fast_forward(&repo, "refs/heads/v1", two, one));
}

#[test]
fn a_ref_to_a_missing_object_or_to_no_commit_is_not_fast_forwarded() {
    let mut sample = Sample::new();
    let (one, blob) = (sample.commit(&[]), sample.blob());
    let two = sample.commit(&[one]);
    let (tag, odd) = (sample.tag(one), sample.tag(blob));
    let sample = sample.import();
    let repo = sample.open();
    let oid = |mark| sample.oid(mark);
    let nothing = oid(0);
    for other in [oid(blob), oid(tag), oid(odd), nothing] {
        assert!(!is_fast_forward(&repo, MAIN, other, oid(two)));
        assert!(!is_fast_forward(&repo, MAIN, oid(two), other));
    }
    assert_eq!(peel_to_commit(&repo, oid(one)), Some(oid(one)));
    assert_eq!(peel_to_commit(&repo, oid(tag)), Some(oid(one)));
    for other in [oid(blob), oid(odd), nothing] {
        assert_eq!(peel_to_commit(&repo, other), None);
    }
}

#[test]
fn thousands_of_branches_on_a_long_history_are_answered_in_one_pass() {
    let mut sample = Sample::new();
    let main = sample.line(None, 5_000);
    let branches: Vec<_> = (0..2_000)
        .map(|at| {
            let old = sample.commit(&[main - at]);
            // Half of them went on, half were rebased.
            let from = if at % 2 == 0 { old } else { main };
            (at % 2 == 0, old, sample.commit(&[from]))
        })
        .collect();
    let sample = sample.import();
    let mut ancestry = Ancestry::new(&sample.open());
    for (went_on, old, new) in branches {
        let (old, new) = (sample.oid(old), sample.oid(new));
        assert_eq!(ancestry.is_fast_forward(MAIN.into(), old, new), went_on);
    }
}
