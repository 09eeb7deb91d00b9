//! Local objects are in packs of their own, which are repacked only with each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use super::{MANY, MARK, Shelf, packs};

impl Shelf {
    /// The objects of the packs with or without a mark.
    #[track_caller]
    pub(super) fn objects(&self, marked: bool) -> BTreeSet<String> {
        let (mirror, keeps) = (self.mirror(), packs(&self.mirror(), "keep"));
        let names = packs(&mirror, "idx").into_iter();
        let names = names.filter(|name| keeps.contains(name) == marked);
        let listed = names.flat_map(|name| {
            let index = fs::read(mirror.join(format!("objects/pack/{name}.idx")));
            let index = index.expect("readable");
            let shown = self.fork.world.git(["show-index"]).stdin(index);
            let shown = shown.env("GIT_DIR", &mirror).ok();
            let second = |line: &str| line.split(' ').nth(1).map(str::to_owned);
            shown.stdout.lines().filter_map(second).collect::<Vec<_>>()
        });
        listed.collect()
    }

    /// The objects that these reach.
    #[track_caller]
    pub(super) fn reached(&self, args: &[&str]) -> BTreeSet<String> {
        let list = [&["rev-list", "--objects", "--no-object-names"], args].concat();
        let listed = self.fork.world.git(list).env("GIT_DIR", self.mirror()).ok();
        listed.stdout.lines().map(str::to_owned).collect()
    }

    /// The files of the packs with a mark: what is in them.
    fn kept(&self) -> BTreeMap<String, Vec<u8>> {
        let dir = self.mirror().join("objects/pack");
        let names = packs(&self.mirror(), "keep").into_iter();
        let names = names.flat_map(|name| ["pack", "idx"].map(|ending| format!("{name}.{ending}")));
        names
            .map(|name| (name.clone(), fs::read(dir.join(name)).expect("readable")))
            .collect()
    }
}

#[test]
fn packs_of_local_branches_stay_apart_through_many_repacks() {
    let mut shelf = Shelf::new();
    let fork = &shelf.fork;
    let mut mine = Vec::new();
    for name in ["one", "two", "three"] {
        mine.push(fork.begin(name));
        fork.push("ours", &["-q", name]).ok();
    }
    // One that goes to upstream along with one that stays.
    fork.ours(&["switch", "-q", "-C", "both", "origin/main"])
        .ok();
    let sent = fork.commit("ours", "sent");
    let beside = fork.begin("beside");
    fork.push("ours", &["-q", &format!("{sent}:main"), "beside"])
        .ok();
    mine.push(beside);
    assert_eq!(packs(&shelf.mirror(), "keep").len(), 4);
    let kept = shelf.objects(true);
    for round in 0..4 {
        shelf.add_packs(MANY);
        shelf.sync(&format!("round-{round}"));
        shelf.settles();
        shelf.is_whole();
        assert_eq!(shelf.objects(true), kept, "round {round}");
        assert_eq!(packs(&shelf.mirror(), "keep").len(), 1, "round {round}");
        // Before it came here, all of upstream was in packs of its own.
        let upstreams = shelf.reached(&["main", "--not", &sent]);
        let theirs = shelf.objects(false);
        assert!(upstreams.is_subset(&theirs), "round {round}");
        let locals: Vec<_> = mine.iter().map(String::as_str).collect();
        let locals = shelf.reached(&[&locals, &["--not", "main"][..]].concat());
        assert!(locals.is_subset(&shelf.objects(true)));
        assert!(locals.is_disjoint(&theirs), "nobody is given the only copy");
    }
}

#[test]
fn local_commits_of_an_older_version_are_kept_apart_from_now_on() {
    let mut shelf = Shelf::new();
    shelf.fork.begin("mine");
    shelf.fork.push("ours", &["-q", "mine"]).ok();
    for name in packs(&shelf.mirror(), "keep") {
        let mark = shelf.mirror().join(format!("objects/pack/{name}.keep"));
        fs::remove_file(mark).expect("removed");
    }
    shelf.add_packs(MANY);
    shelf.sync("next");
    shelf.settles();
    shelf.is_whole();
    let locals = shelf.reached(&["mine", "--not", "main"]);
    let apart = shelf.objects(true);
    assert!(locals.is_subset(&apart), "they have a copy");
    let kept = shelf.kept();
    shelf.add_packs(MANY);
    shelf.sync("and-next");
    shelf.settles();
    assert_eq!(shelf.kept(), kept, "one is enough");
}

#[test]
fn as_many_packs_of_either_kind_become_few_each_with_its_like() {
    let mut shelf = Shelf::new();
    for round in 0..3 {
        shelf.add_packs(MANY / 2);
        shelf.add_local_packs(MANY / 2);
        shelf.sync(&format!("round-{round}"));
        shelf.settles();
        shelf.is_whole();
        shelf.keeps_apart();
    }
    for name in packs(&shelf.mirror(), "keep") {
        let mark = shelf.mirror().join(format!("objects/pack/{name}.keep"));
        assert_eq!(fs::read_to_string(mark).expect("readable"), MARK);
    }
}

#[test]
fn a_keep_file_of_somebody_else_is_left_alone() {
    let mut shelf = Shelf::new();
    shelf.add_packs(3);
    let theirs = packs(&shelf.mirror(), "pack");
    for name in &theirs {
        let mark = shelf.mirror().join(format!("objects/pack/{name}.keep"));
        fs::write(mark, "by hand\n").expect("written");
    }
    let kept = shelf.kept();
    shelf.add_packs(MANY);
    shelf.add_local_packs(MANY);
    shelf.sync("next");
    shelf.settles();
    shelf.is_whole();
    let now = shelf.kept();
    assert!(
        kept.iter()
            .all(|(name, bytes)| now.get(name) == Some(bytes))
    );
}
