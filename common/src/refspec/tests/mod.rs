use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};

use super::*;

mod as_git;
mod on_demand;
mod refused;

fn parse(lines: &[&str]) -> Refspecs {
    match Refspecs::parse(lines.iter().copied()) {
        Ok(refspecs) => refspecs,
        Err(err) => panic!("{err}"),
    }
}

fn refusal(lines: &[&str]) -> String {
    match Refspecs::parse(lines.iter().copied()) {
        Ok(refspecs) => panic!("accepted: {refspecs:?}"),
        Err(err) => err.to_string(),
    }
}

fn public(lines: &[&str], name: &str) -> Option<String> {
    let name = parse(lines).public(&name.into())?;
    Some(name.to_string())
}

fn route(lines: &[&str], name: &str) -> Route {
    parse(lines).route(name.as_bytes())
}

fn tracked(name: &str) -> Route {
    Route::Tracked(name.into())
}

fn lines(lines: &[&str]) -> Vec<String> {
    parse(lines).lines().collect()
}

#[test]
fn branches_and_tags_keep_their_names_and_nothing_else_is_tracked() {
    for name in ["refs/heads/main", "refs/heads/a/b", "refs/tags/v1"] {
        assert_eq!(public(&EVERYTHING, name).as_deref(), Some(name));
    }
    for name in [
        "HEAD",
        "refs/notes/x",
        "refs/merge-requests/1/head",
        "refs/heads/",
        "refs/headsy/a",
    ] {
        assert_eq!(public(&EVERYTHING, name), None, "{name}");
    }
}

#[test]
fn blank_means_all_branches_and_tags() {
    for blank in [&[][..], &[""], &["  ", "\t"]] {
        assert_eq!(parse(blank), Refspecs::everything());
    }
    assert_eq!(
        lines(&["^refs/heads/wip/*"]),
        [EVERYTHING[0], EVERYTHING[1], "^refs/heads/wip/*"]
    );
}

#[test]
fn what_has_no_destination_keeps_its_name() {
    assert_eq!(
        lines(&[
            " refs/heads/main ",
            "+refs/tags/v*",
            "refs/notes/*:",
            "^refs/tags/v0"
        ]),
        [
            "refs/heads/main:refs/heads/main",
            "+refs/tags/v*:refs/tags/v*",
            "refs/notes/*:refs/notes/*",
            "^refs/tags/v0"
        ]
    );
}

#[test]
fn a_star_stands_anywhere_and_for_nothing_too() {
    let requests = ["refs/merge-requests/*/head"];
    for (name, shown) in [
        ("refs/merge-requests/1/head", true),
        ("refs/merge-requests/a/b/head", true),
        ("refs/merge-requests/1/merge", false),
        ("refs/merge-requests/head", false),
    ] {
        assert_eq!(public(&requests, name).is_some(), shown, "{name}");
    }
    let releases = ["refs/heads/rel-*:refs/heads/release-*-here"];
    assert_eq!(
        public(&releases, "refs/heads/rel-1").as_deref(),
        Some("refs/heads/release-1-here")
    );
    assert_eq!(
        public(&releases, "refs/heads/rel-").as_deref(),
        Some("refs/heads/release--here")
    );
    assert_eq!(
        public(&["refs/heads/rel-*:refs/heads/up/*"], "refs/heads/rel-"),
        None,
        "no name is left"
    );
}

#[test]
fn an_excluded_branch_is_not_tracked_and_belongs_to_the_mirror() {
    let lines = ["+refs/heads/*:refs/heads/up/*", "^refs/heads/wip/*"];
    assert_eq!(public(&lines, "refs/heads/wip/a"), None);
    assert_eq!(
        public(&lines, "refs/heads/wip").as_deref(),
        Some("refs/heads/up/wip")
    );
    assert_eq!(route(&lines, "refs/heads/up/wip/a"), Route::Local);
    assert_eq!(
        route(&lines, "refs/heads/up/wip"),
        tracked("refs/heads/wip")
    );
}

#[test]
fn only_a_plus_lets_rewritten_history_in() {
    let refspecs = parse(&[
        "refs/heads/main",
        "+refs/heads/*",
        "refs/tags/*",
        "^refs/heads/x",
    ]);
    for (name, forced) in [
        ("refs/heads/main", false),
        ("refs/heads/dev", true),
        ("refs/tags/v1", false),
        ("refs/heads/x", false),
        ("refs/notes/x", false),
    ] {
        assert_eq!(refspecs.forced(&name.into()), forced, "{name}");
    }
}

#[test]
fn a_mapping_renames_and_never_into_our_own_spaces() {
    let lines = [
        "+refs/heads/*:refs/heads/up/*",
        "refs/tags/v1:refs/tags/one",
    ];
    assert_eq!(
        public(&lines, "refs/heads/main").as_deref(),
        Some("refs/heads/up/main")
    );
    assert_eq!(
        public(&lines, "refs/tags/v1").as_deref(),
        Some("refs/tags/one")
    );
    assert_eq!(public(&lines, "refs/tags/v10"), None);
    for name in [
        "refs/upstream/heads/x",
        "refs/mirror/x",
        "refs/replace/0123",
        "refs/HEAD",
        "refs/HEAD/x",
    ] {
        assert_eq!(public(&["+refs/*:refs/*"], name), None, "{name}");
    }
}

#[test]
fn a_push_goes_where_the_refspecs_lead_back_to() {
    for name in ["refs/heads/main", "refs/tags/v1"] {
        assert_eq!(route(&EVERYTHING, name), tracked(name));
    }
    for name in [
        "refs/notes/commits",
        "refs/for/main",
        "refs/heads",
        "refs/x",
    ] {
        assert_eq!(route(&EVERYTHING, name), Route::Through, "{name}");
    }
    for name in [
        "refs/upstream/heads/x",
        "refs/mirror/x",
        "refs/replace/x",
        "refs/heads/a..b",
        "refs/heads/",
        "HEAD",
        "main",
    ] {
        assert_eq!(route(&EVERYTHING, name), Route::Forbidden, "{name}");
    }
    let lines = ["+refs/heads/*:refs/heads/up/*"];
    assert_eq!(
        route(&lines, "refs/heads/up/main"),
        tracked("refs/heads/main")
    );
    assert_eq!(route(&lines, "refs/heads/mine"), Route::Local);
    assert_eq!(route(&lines, "refs/tags/v1"), Route::Local);
    // The file names that git locks with are no ref names, whatever they are shown as.
    let lines = ["refs/heads/x.*:refs/heads/*"];
    assert_eq!(route(&lines, "refs/heads/lock"), Route::Local);
}

#[test]
fn refspecs_that_agree_may_overlap() {
    let lines = [
        "+refs/*",
        "refs/heads/main",
        "refs/heads/rel-*",
        "+refs/*/x",
    ];
    assert_eq!(
        route(&lines, "refs/heads/rel-x"),
        tracked("refs/heads/rel-x")
    );
}

/// All names below refs/ of up to so many of these letters.
fn all_names(letters: &str, most: usize) -> Vec<String> {
    let mut names = vec!["refs/".to_owned()];
    let mut last = 0;
    for _ in 0..most {
        let longer = names[last..]
            .iter()
            .flat_map(|name| letters.chars().map(move |letter| format!("{name}{letter}")));
        let longer: Vec<String> = longer.collect();
        last = names.len();
        names.extend(longer);
    }
    names
}

fn matching(regex: &str) -> impl Strategy<Value = String> + use<> {
    proptest::string::string_regex(regex).expect("a regex")
}

/// Up to three mappings of names in these letters, close enough to meet often.
fn some_mappings(letters: &str) -> impl Strategy<Value = Vec<String>> + use<> {
    let end = format!("[{letters}]{{0,2}}");
    let globs = format!(r"\+?refs/{end}\*{end}:refs/{end}\*{end}");
    let names = format!(r"refs/[{letters}]{{1,3}}:refs/[{letters}]{{1,3}}");
    let same = format!(r"refs/{end}\*{end}");
    let mapping = prop_oneof![4 => matching(&globs), 2 => matching(&names), 1 => matching(&same)];
    vec(mapping, 1..4)
}

fn parse_owned(lines: &[String]) -> Result<Refspecs, BadRefspec> {
    Refspecs::parse(lines.iter().map(String::as_str))
}

proptest! {
    #[test]
    fn a_record_leads_back_to_its_ref(name in "refs/[a-z]{1,5}/[a-z/]{1,9}") {
        prop_assert_eq!(recorded(&UpstreamRef::new(&*name).record()), Some(UpstreamRef::new(&*name)));
        prop_assert!(is_reserved(&UpstreamRef::new(&*name).record()));
    }

    #[test]
    fn a_name_leads_there_and_back_whatever_the_refspecs(
        mappings in some_mappings("ab/"),
        excluded in vec(r"\^refs/[ab/]{0,2}\*?[ab/]{0,2}", 0..3),
    ) {
        let Ok(refspecs) = parse_owned(&[mappings, excluded].concat()) else {
            return Ok(());
        };
        prop_assert_eq!(&parse_owned(&refspecs.lines().collect::<Vec<_>>()).expect("sound before"), &refspecs);
        let names = all_names("ab/", 5);
        for name in &names {
            if let Some(public) = refspecs.public(&UpstreamRef::new(name.as_str())) {
                prop_assert_eq!(refspecs.route(&public), Route::Tracked(UpstreamRef::new(name.as_str())));
                prop_assert!(refspecs.prefixes().any(|prefix| name.starts_with(prefix)));
            }
        }
        for name in &names {
            if let Route::Tracked(upstream) = refspecs.route(name.as_bytes()) {
                prop_assert_eq!(refspecs.public(&upstream), Some(PublicRef::new(name.as_str())));
            }
        }
    }

    #[test]
    fn refspecs_are_refused_together_only_if_two_names_do_meet(lines in some_mappings("ab")) {
        let alone: Result<Vec<_>, _> = lines.iter().map(|line| Mapping::parse(line)).collect();
        let Ok(alone) = alone else {
            return Ok(());
        };
        let (mut there, mut back) = (BTreeMap::new(), BTreeMap::new());
        let mut meet = false;
        for upstream in all_names("ab", 9) {
            for public in alone.iter().filter_map(|mapping| mapping.public(upstream.as_bytes())) {
                meet |= there.insert(upstream.clone(), public.clone()).is_some_and(|other| other != public);
                meet |= back.insert(public, upstream.clone()).is_some_and(|other| other != upstream);
            }
        }
        prop_assert_eq!(parse_owned(&lines).is_err(), meet);
    }
}
