use crate::refspec::{Kept, KeptName, OnDemand, Refspecs, UpstreamRef};

const OBJECT: &str = "0123456789012345678901234567890123456789";

fn wants(sources: &[&str], name: &str) -> bool {
    OnDemand::parse(sources.iter().copied()).wants(&UpstreamRef::from(name))
}

#[test]
fn a_source_stands_for_the_refs_that_git_takes_it_for() {
    assert!(wants(&["refs/pull/7/merge"], "refs/pull/7/merge"));
    assert!(wants(&["pull/7/merge"], "refs/pull/7/merge"));
    assert!(wants(&["x"], "refs/remotes/x/HEAD"));
    let pattern = ["refs/merge-requests/*/head"];
    assert!(wants(&pattern, "refs/merge-requests/12/head"));
    assert!(!wants(&pattern, "refs/merge-requests/12/merge"));
    assert!(!wants(&["refs/pull/7"], "refs/pull/7/merge"));
    assert!(!wants(&["merge"], "refs/pull/7/merge"));
}

#[test]
fn branches_tags_and_reserved_names_are_never_wanted() {
    for name in [
        "refs/heads/main",
        "refs/tags/v1",
        "refs/upstream/heads/main",
        "refs/mirror/history/1/deleted/heads/main",
        "refs/replace/x",
        "HEAD",
    ] {
        assert!(!wants(&["refs/*", name], name), "{name}");
    }
    assert!(wants(&["refs/*"], "refs/notes/commits"));
    let nothing = [
        "HEAD",
        "@",
        "",
        "heads/main",
        "refs/heads/*",
        "refs/*/*",
        "a..b",
        "refs/a b",
        "*",
    ];
    assert!(OnDemand::parse(nothing).is_empty());
}

#[test]
fn sources_are_read_again_and_their_number_is_limited() {
    let sources = ["main", "refs/notes/*", "refs/pull/7/merge", OBJECT];
    let parsed = OnDemand::parse(sources);
    let again = parsed.sources();
    assert_eq!(OnDemand::parse(again.iter().map(String::as_str)), parsed);
    let many: Vec<String> = (0..5000).map(|at| format!("refs/pull/{at}/head")).collect();
    let parsed = OnDemand::parse(many.iter().map(String::as_str));
    assert_eq!(parsed.sources().len(), 1000);
    let long = "x".repeat(5000);
    assert!(OnDemand::parse([&*long]).is_empty());
}

#[test]
fn what_the_mirror_has_is_not_asked_for() {
    let parsed = OnDemand::parse(["main", "refs/notes/x", "refs/notes/*", OBJECT]);
    let left = parsed
        .clone()
        .without(|name| name == b"refs/heads/main", |object| object == OBJECT);
    assert_eq!(left.sources(), ["refs/notes/*", "refs/notes/x"]);
    let track = |line| Refspecs::parse([line]).expect("sound");
    let untracked = |line| left.clone().untracked(&track(line)).sources().len();
    assert_eq!(untracked("+refs/notes/*"), 0);
    assert_eq!(untracked("+refs/*:refs/*"), 0);
    assert_eq!(untracked("+refs/notes/*:refs/heads/notes/*"), 2);
    assert_eq!(untracked("+refs/notes/x"), 1);
}

#[test]
fn the_name_of_what_is_kept_is_read_again() {
    for what in [
        KeptName::Ref("refs/pull/7/merge".into()),
        KeptName::Ref(UpstreamRef::new(b"refs/caf\xe9".to_vec())),
        KeptName::Object(OBJECT.to_owned()),
    ] {
        let kept = Kept { day: 20_000, what };
        assert_eq!(Kept::parse(&kept.name()), Some(kept));
    }
    for name in ["refs/mirror/on-demand/x", "refs/mirror/on-demand/x/refs/y"] {
        assert_eq!(Kept::parse(name.as_bytes()), None, "{name}");
    }
}
