//! What looks wiped, at each threshold, and what is everyday work and does not.

use tokio::sync::broadcast;

use super::*;
use crate::repository::sample::{Imported, Sample};

/// Refs by the numbers of what they point to.
type Named = Vec<(String, usize)>;

fn named(space: &str, marks: impl IntoIterator<Item = usize>) -> Named {
    marks
        .into_iter()
        .enumerate()
        .map(|(at, mark)| (format!("refs/{space}/{at:04}"), mark))
        .collect()
}

fn one(name: &str, mark: usize) -> Named {
    vec![(format!("refs/heads/{name}"), mark)]
}

fn refs(sample: &Imported, named: &Named) -> UpstreamRefs {
    named
        .iter()
        .map(|(name, mark)| (UpstreamRef::new(name.as_str()), sample.oid(*mark)))
        .collect()
}

fn reason_with(
    sample: &Imported,
    before: &Named,
    upstream: &Named,
    git: Command,
) -> Option<String> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let watch = Watch::new("host", broadcast::channel(1).0, Vec::new());
    let (before, upstream) = (refs(sample, before), refs(sample, upstream));
    wipe_reason(&before, &upstream, false, &sample.open(), git, &watch).expect("compared")
}

fn reason(sample: &Sample, before: &Named, upstream: &Named) -> Option<String> {
    let sample = sample.import();
    reason_with(&sample, before, upstream, sample.git())
}

/// A main of five commits, and so many branches of one more each that was never merged.
fn project(branches: usize) -> (Sample, usize, Vec<usize>) {
    let mut sample = Sample::new();
    let main = sample.line(None, 5);
    let branches = (0..branches).map(|_| sample.commit(&[main])).collect();
    (sample, main, branches)
}

#[test]
fn an_upstream_without_any_ref_is_not_believed_when_it_had_one() {
    let (sample, main, _) = project(0);
    let sample = sample.import();
    let watch = Watch::new("host", broadcast::channel(1).0, Vec::new());
    let empty = |before: &UpstreamRefs| {
        let repo = sample.open();
        wipe_reason(
            before,
            &UpstreamRefs::new(),
            true,
            &repo,
            sample.git(),
            &watch,
        )
        .expect("compared")
    };
    let before = refs(&sample, &named("heads", [main; 14]));
    let message = "upstream has no refs any more, and had 14";
    assert_eq!(empty(&before).as_deref(), Some(message));
    assert_eq!(empty(&UpstreamRefs::new()), None, "it was empty before");
    let head = [("HEAD".into(), sample.oid(main))].into();
    assert_eq!(empty(&head), None, "a detached HEAD is no ref");
}

#[test]
fn ten_refs_gone_look_wiped_and_nine_do_not() {
    let (sample, main, branches) = project(10);
    let with = |count: usize| {
        [
            named("heads", branches[..count].to_vec()),
            one("main", main),
        ]
    };
    let reason = |count| reason(&sample, &with(count).concat(), &one("main", main));
    assert_eq!(reason(9), None);
    let message = "10 of upstream's 11 refs are gone, and no other ref contains them";
    assert_eq!(reason(10).as_deref(), Some(message));
}

#[test]
fn more_than_half_gone_look_wiped_and_half_do_not() {
    let (sample, _, branches) = project(24);
    let before = named("heads", branches);
    assert_eq!(reason(&sample, &before, &before[12..].to_vec()), None);
    let message = "13 of upstream's 24 refs are gone, and no other ref contains them";
    let after = before[13..].to_vec();
    assert_eq!(reason(&sample, &before, &after).as_deref(), Some(message));
}

#[test]
fn branches_deleted_after_they_were_merged_do_not_look_wiped() {
    let (mut sample, mut main, branches) = project(19);
    let before = [named("heads", branches.clone()), one("main", main)].concat();
    for branch in &branches[..14] {
        main = sample.commit(&[main, *branch]);
    }
    let kept = before[14..19].to_vec();
    let after = [kept.clone(), one("main", main)].concat();
    assert_eq!(reason(&sample, &before, &after), None);
    // What was merged does not count; the others do.
    let after = one("main", main);
    assert_eq!(reason(&sample, &before, &after), None);
}

#[test]
fn of_twenty_gone_only_the_unmerged_count() {
    let (mut sample, mut main, branches) = project(24);
    let before = named("heads", branches.clone());
    for branch in &branches[..11] {
        main = sample.commit(&[main, *branch]);
    }
    let after = one("main", main);
    let message = "13 of upstream's 24 refs are gone, and no other ref contains them";
    assert_eq!(reason(&sample, &before, &after).as_deref(), Some(message));
    main = sample.commit(&[main, branches[11]]);
    assert_eq!(reason(&sample, &before, &one("main", main)), None);
}

#[test]
fn a_branch_that_took_another_name_does_not_look_wiped() {
    let (sample, main, _) = project(0);
    let (before, after) = (one("master", main), one("main", main));
    assert_eq!(reason(&sample, &before, &after), None);
    let mut sample = Sample::new();
    let master = sample.line(None, 50);
    let main = sample.commit(&[master]);
    let (before, after) = (one("master", master), one("main", main));
    assert_eq!(reason(&sample, &before, &after), None);
}

#[test]
fn all_branches_moved_below_another_name_do_not_look_wiped() {
    let (sample, _, branches) = project(20);
    let (before, after) = (named("heads", branches.clone()), named("tags", branches));
    assert_eq!(reason(&sample, &before, &after), None);
}

#[test]
fn the_only_tracked_branch_deleted_while_upstream_has_others_does_not_look_wiped() {
    let mut sample = Sample::new();
    let main = sample.line(None, 50);
    assert_eq!(reason(&sample, &one("main", main), &Named::new()), None);
}

#[test]
fn twenty_tracked_branches_deleted_look_wiped_though_upstream_has_others() {
    let (sample, _, branches) = project(20);
    let reason = reason(&sample, &named("heads", branches), &Named::new());
    let message = "20 of upstream's 20 refs are gone, and no other ref contains them";
    assert_eq!(reason.as_deref(), Some(message));
}

#[test]
fn eleven_commits_replaced_look_wiped_and_ten_do_not() {
    let reason = |length| {
        let mut sample = Sample::new();
        let (old, new) = (sample.line(None, length), sample.line(None, 30));
        reason(&sample, &one("main", old), &one("main", new))
    };
    assert_eq!(reason(10), None);
    let message =
        "upstream's history was replaced: it shares no commit with the one ref that it had";
    assert_eq!(reason(11).as_deref(), Some(message));
}

#[test]
fn another_project_at_the_same_address_looks_wiped() {
    let (mut sample, main, branches) = project(8);
    let before = [named("heads", branches), one("main", main)].concat();
    let new = sample.line(None, 3);
    let message =
        "upstream's history was replaced: it shares no commit with any of the 9 refs that it had";
    let after = [one("main", new), named("heads", [new; 8])].concat();
    assert_eq!(reason(&sample, &before, &after).as_deref(), Some(message));
    // It need not have the same branches, nor as many.
    let after = one("trunk", new);
    assert_eq!(reason(&sample, &before, &after).as_deref(), Some(message));
}

#[test]
fn one_ref_that_stayed_shows_that_it_is_the_same_project() {
    let mut sample = Sample::new();
    let (old, new, pages) = (
        sample.line(None, 30),
        sample.line(None, 30),
        sample.commit(&[]),
    );
    let with = |main| [one("main", main), one("pages", pages)].concat();
    assert_eq!(reason(&sample, &with(old), &with(new)), None);
    // Under another name it is as good.
    let moved = [one("main", new), one("site", pages)].concat();
    assert_eq!(reason(&sample, &with(old), &moved), None);
    let further = sample.commit(&[pages]);
    let moved = [one("main", new), one("site", further)].concat();
    assert_eq!(reason(&sample, &with(old), &moved), None);
}

#[test]
fn a_history_rewritten_down_to_its_first_commit_is_still_the_same() {
    let mut sample = Sample::new();
    let root = sample.commit(&[]);
    let (old, new) = (sample.line(Some(root), 40), sample.line(Some(root), 40));
    assert_eq!(reason(&sample, &one("main", old), &one("main", new)), None);
    assert_eq!(reason(&sample, &one("main", old), &one("main", root)), None);
}

#[test]
fn a_first_commit_amended_does_not_look_wiped() {
    let mut sample = Sample::new();
    let (old, new) = (sample.commit(&[]), sample.commit(&[]));
    assert_eq!(reason(&sample, &one("main", old), &one("main", new)), None);
}

#[test]
fn a_push_to_every_branch_does_not_look_wiped() {
    let (mut sample, _, branches) = project(30);
    let before = named("heads", branches.clone());
    let after = named("heads", branches.iter().map(|old| sample.commit(&[*old])));
    assert_eq!(reason(&sample, &before, &after), None);
}

#[test]
fn tags_of_anything_can_go_and_stay() {
    let (mut sample, main, _) = project(0);
    let releases: Vec<_> = (0..12).map(|_| sample.tag(main)).collect();
    let odd: Vec<_> = (0..12).map(|_| sample.blob()).collect();
    let odd: Vec<_> = odd.iter().map(|blob| sample.tag(*blob)).collect();
    let main = one("main", main);
    let (releases, odd) = (named("tags", releases), named("tags/odd", odd));
    // The commits are all on main.
    let before = [main.clone(), releases.clone()].concat();
    assert_eq!(reason(&sample, &before, &main), None);
    // Nothing can contain what is no commit.
    let before = [main.clone(), odd.clone()].concat();
    let message = "12 of upstream's 13 refs are gone, and no other ref contains them";
    assert_eq!(reason(&sample, &before, &main).as_deref(), Some(message));
    // Unless it is still there, under another name.
    let renamed: Named = odd
        .iter()
        .map(|(name, mark)| (format!("{name}.old"), *mark))
        .collect();
    let after = [releases, renamed].concat();
    assert_eq!(reason(&sample, &before, &after), None);
    assert!(reason(&sample, &odd, &main).is_some());
}

#[test]
fn old_tips_that_are_missing_here_count_as_lost_and_break_nothing() {
    let (sample, main, branches) = project(9);
    let (nothing, main) = (named("tags", [0]), one("main", main));
    let before = [named("heads", branches), nothing, main.clone()].concat();
    let message = "10 of upstream's 11 refs are gone, and no other ref contains them";
    assert_eq!(reason(&sample, &before, &main).as_deref(), Some(message));
    // What replaced commits of which nothing is known here cannot be said.
    assert_eq!(reason(&sample, &one("main", 0), &main), None);
}

#[test]
fn five_thousand_refs_gone_cost_one_child() {
    let (mut sample, main, branches) = project(5_000);
    let merged = branches[..2_600]
        .chunks(100)
        .fold(main, |main, some| sample.commit(&[&[main], some].concat()));
    let sample = sample.import();
    let before = [named("heads", branches), one("main", main)].concat();
    let counted = |main| {
        let calls = sample.path().join("calls");
        // A git that writes that it was run.
        let real = sample.git();
        let mut git = Command::new("sh");
        git.args(["-c", "echo >>\"$0\"; exec \"$@\""]).arg(&calls);
        git.arg(real.get_program()).args(real.get_args());
        let reason = reason_with(&sample, &before, &one("main", main), git);
        let children = std::fs::read(&calls).unwrap_or_default().len();
        std::fs::remove_file(&calls).expect("there");
        (reason, children)
    };
    let message = "5000 of upstream's 5001 refs are gone, and no other ref contains them";
    assert_eq!(counted(main), (Some(message.to_owned()), 1));
    assert_eq!(counted(merged), (None, 1));
}

#[test]
fn an_everyday_sync_costs_no_child() {
    let (mut sample, main, branches) = project(30);
    let before = [named("heads", branches.clone()), one("main", main)].concat();
    let pushed = sample.commit(&[main]);
    let after = [named("heads", branches[..20].to_vec()), one("main", pushed)].concat();
    let sample = sample.import();
    let none = Command::new("/nonexistent/git");
    assert_eq!(reason_with(&sample, &before, &after, none), None);
}
