//! What may be pushed: refs of every kind and name, and names that are in each other's way, as git by itself does it.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use tests::{GitLab, Project, same_clone};

use crate::push_pair::{Pair, SIDES, fill};

#[test]
fn notes_and_other_refs_go_upstream_and_are_not_kept() {
    Pair::each(|pair| {
        pair.git(&["notes", "add", "-m", "reviewed", "main"]);
        pair.pushes(&["origin", "refs/notes/commits"]);
        pair.commit("one");
        pair.pushes(&["origin", "main:refs/for/main", "main"]);
        let kept = tests::refs(&pair.world, &pair.world.only_mirror());
        assert!(
            !kept
                .iter()
                .any(|(name, _)| name.contains("/notes/") || name.contains("/for/"))
        );
    });
}

#[test]
fn more_notes_are_pushed_on_top_of_those_that_are_there() {
    let pair = Pair::http();
    pair.git(&["notes", "add", "-m", "reviewed", "main"]);
    pair.pushes(&["origin", "refs/notes/commits"]);
    pair.git(&["notes", "append", "-m", "again", "main"]);
    pair.pushes(&["origin", "refs/notes/commits"]);
    pair.git(&["notes", "append", "-m", "and again", "main"]);
    pair.pushes(&["origin", "refs/notes/*"]);
    pair.pushes(&["origin", "refs/notes/*"]);
}

#[test]
fn notes_that_were_rewritten_are_not_pushed_without_force() {
    let pair = rewritten_notes();
    pair.refused(&["origin", "refs/notes/commits"], "rejected");
}

#[test]
fn notes_that_were_rewritten_are_forced_from_the_value_that_upstream_has() {
    let pair = rewritten_notes();
    let theirs = "0123456789012345678901234567890123456789";
    let lease = format!("--force-with-lease=refs/notes/commits:{theirs}");
    pair.refused(&[&lease, "origin", "refs/notes/commits"], "stale info");
    pair.pushes(&["--force", "origin", "refs/notes/commits"]);
    pair.git(&["update-ref", "-d", "refs/notes/commits"]);
    pair.git(&["notes", "add", "-m", "once more", "main"]);
    pair.pushes(&["origin", "+refs/notes/*:refs/notes/*"]);
}

#[test]
fn notes_that_somebody_else_has_pushed_meanwhile_are_fetched_first() {
    let pair = rewritten_notes();
    pair.upstream(|project| project.force("refs/notes/commits", "topic"));
    pair.refused(&["origin", "refs/notes/commits"], "rejected");
    pair.pushes(&["origin", "+refs/notes/commits"]);
}

#[test]
fn notes_are_deleted() {
    let pair = rewritten_notes();
    pair.pushes(&["origin", ":refs/notes/commits"]);
    pair.push(&["origin", ":refs/notes/commits"]);
}

/// Both have pushed notes, and have since begun them anew.
fn rewritten_notes() -> Pair {
    let pair = Pair::http();
    pair.git(&["notes", "add", "-m", "reviewed", "main"]);
    pair.pushes(&["origin", "refs/notes/commits"]);
    pair.git(&["update-ref", "-d", "refs/notes/commits"]);
    pair.git(&["notes", "add", "-m", "from the beginning", "main"]);
    pair
}

#[test]
fn a_directory_takes_the_place_of_a_branch_in_one_push() {
    Pair::each(|pair| {
        pair.push(&["origin", ":spare", "main:refs/heads/spare/part"]);
        pair.push(&["origin", ":refs/heads/spare/part", "main:refs/heads/spare"]);
        pair.push(&["--atomic", "origin", ":topic", "main:refs/heads/topic/a/b"]);
    });
}

#[test]
fn names_in_each_others_way_are_refused_until_the_first_is_gone() {
    Pair::each(|pair| {
        pair.pushes(&["origin", "main:refs/heads/a"]);
        pair.refused(
            &["origin", "main:refs/heads/a/b", "main:refs/heads/fine"],
            "[remote rejected]",
        );
        pair.pushes(&["origin", ":a"]);
        pair.pushes(&["origin", "main:refs/heads/a/b"]);
        pair.refused(&["origin", "main:refs/heads/a"], "[remote rejected]");
        pair.pushes(&["origin", ":a/b", "main:refs/heads/other"]);
        pair.pushes(&["origin", "main:refs/heads/a", "main:refs/tags/a/b"]);
    });
}

/// Names that git allows and that a shell, a configuration file or a protocol might stumble over.
fn odd_names() -> Vec<Vec<u8>> {
    let odd = [
        "it's",
        "a\"quote\"",
        "#5",
        "se;mi",
        "50%",
        "größe/完了",
        "$(id)",
        "`id`",
        "a&b|c",
        "<x>",
        "-dash",
        "@",
        "a=b",
        "a,b",
        "a!b",
        "{a",
        "(a)",
        "HEAD",
        "refs/heads/again",
        "a]b",
        "+plus",
        "a'\"b",
        "upstream/x",
        "mirror",
        "v1",
    ];
    let mut odd: Vec<Vec<u8>> = odd.map(|name| name.as_bytes().to_vec()).into();
    odd.push("n".repeat(200).into_bytes());
    odd
}

/// Creates branches of these names at the tip of `main` in both clones.
fn branches(pair: &Pair, names: &[Vec<u8>]) {
    let line = |name: &Vec<u8>| {
        [
            b"create refs/heads/",
            name.as_slice(),
            b" refs/heads/main\n",
        ]
        .concat()
    };
    let lines: Vec<u8> = names.iter().flat_map(line).collect();
    for side in SIDES {
        pair.world
            .git(["update-ref", "--stdin"])
            .stdin(lines.clone())
            .at(side)
            .ok();
    }
}

#[test]
fn odd_names_are_created_moved_and_deleted() {
    Pair::each(|pair| {
        branches(pair, &odd_names());
        pair.pushes(&["origin", "refs/heads/*:refs/heads/*"]);
        pair.commit("one");
        pair.pushes(&[
            "origin",
            "main:refs/heads/it's",
            "main:refs/heads/#5",
            "main:refs/heads/-dash",
        ]);
        pair.git(&["switch", "-q", "--detach"]);
        pair.pushes(&[
            "origin",
            ":refs/heads/it's",
            ":refs/heads/#5",
            ":refs/heads/a'\"b",
            ":refs/heads/-dash",
        ]);
        for side in SIDES {
            let script = "git for-each-ref --format='delete %(refname)' refs/heads | grep -v main | git update-ref --stdin";
            pair.world.program("sh", ["-c", script]).at(side).ok();
        }
        pair.pushes(&["--prune", "origin", "refs/heads/*:refs/heads/*"]);
        assert_eq!(
            pair.projects[0].refs().len(),
            3,
            "a branch and two tags are left"
        );
    });
}

/// Names that are no UTF-8.
fn bytes() -> Vec<Vec<u8>> {
    vec![b"latin-gr\xf6\xdfe".to_vec(), b"\xff\xfe".to_vec()]
}

#[test]
fn names_that_are_no_utf_8_are_created_moved_and_deleted() {
    Pair::each(|pair| {
        branches(pair, &bytes());
        pair.pushes(&["origin", "refs/heads/*:refs/heads/*"]);
        pair.commit("one");
        for from in ["main", ""] {
            let refspec = [from.as_bytes(), b":refs/heads/latin-gr\xf6\xdfe"].concat();
            let push = |side: &str| {
                let run = pair.world.git(["push", "origin"]).at(side);
                run.arg(OsStr::from_bytes(&refspec))
            };
            let ran = pair.compare(push);
            assert!(ran.status.success(), "{ran}");
            pair.same();
        }
    });
}

#[test]
fn a_name_that_is_no_utf_8_goes_beside_notes() {
    let pair = Pair::http();
    branches(&pair, &bytes());
    pair.git(&["notes", "add", "-m", "reviewed", "main"]);
    pair.pushes(&[
        "origin",
        "refs/heads/*:refs/heads/*",
        "refs/notes/*:refs/notes/*",
    ]);
}

#[test]
fn a_project_with_sha_256_ids_is_pushed_to() {
    let pair = Pair::over_http(GitLab::sha256_project, fill, &[]);
    pair.commit("one");
    pair.git(&["tag", "-am", "two", "v2"]);
    pair.pushes(&["--follow-tags", "origin", "main", "main:new", ":spare"]);
    pair.git(&["commit", "-q", "--amend", "-m", "another"]);
    pair.refused(&["origin", "main"], "(non-fast-forward)");
    pair.pushes(&["--force", "--atomic", "origin", "main", ":new"]);
}

#[test]
fn the_first_push_to_an_empty_project_makes_its_default_branch() {
    let pair = Pair::over_http(GitLab::project, |_: &Project| {}, &[]);
    pair.git(&["symbolic-ref", "HEAD", "refs/heads/main"]);
    pair.commit("one");
    pair.git(&["tag", "first"]);
    pair.pushes(&["-u", "origin", "main", "first"]);
    pair.commit("two");
    pair.pushes(&[]);
    clones_alike(&pair);
}

/// A new clone through the mirror is a plain clone of the same project.
#[track_caller]
fn clones_alike(pair: &Pair) {
    let url = &pair.urls[0];
    pair.world
        .git(["clone", "-q", &format!("mirror::{url}"), "through"])
        .ok();
    pair.world.git(["clone", "-q", url, "by-git"]).ok();
    same_clone(
        &pair.world,
        &pair.world.path("through"),
        &pair.world.path("by-git"),
    );
}

#[test]
fn a_thousand_branches_are_there_and_two_hundred_come_in_one_push() {
    let fill = |project: &Project| {
        fill(project);
        project.many_refs(1500);
    };
    let pair = Pair::over_http(GitLab::project, fill, &[]);
    pair.commit("one");
    pair.pushes(&["origin", "main"]);
    let names: Vec<_> = (0..200).map(|n| format!("new/{n}").into_bytes()).collect();
    branches(&pair, &names);
    pair.pushes(&["origin", "refs/heads/new/*"]);
    pair.pushes(&[
        "--prune",
        "origin",
        "refs/heads/none*:refs/heads/many/0000*",
    ]);
}

#[test]
fn the_default_branch_is_deleted_where_a_project_allows_it() {
    Pair::each(|pair| {
        pair.upstream(|project| project.config("receive.denyDeleteCurrent", "ignore"));
        pair.pushes(&["origin", ":main"]);
        clones_alike(pair);
        pair.git(&["fetch", "-q", "--prune"]);
        pair.same();
        pair.pushes(&["origin", "main"]);
    });
}

#[test]
fn the_default_branch_is_renamed() {
    Pair::each(|pair| {
        pair.git(&["branch", "-m", "main", "trunk"]);
        pair.pushes(&["-u", "origin", "trunk"]);
        pair.upstream(|project| project.set_head("trunk"));
        pair.pushes(&["origin", ":main"]);
        clones_alike(pair);
        pair.git(&["fetch", "-q", "--prune"]);
        pair.git(&["remote", "set-head", "origin", "-a"]);
        pair.commit("one");
        pair.pushes(&[]);
    });
}

#[test]
fn a_branch_that_is_another_name_of_one_is_pushed_to() {
    Pair::each(|pair| {
        pair.upstream(|project| {
            let alias = ["symbolic-ref", "refs/heads/alias", "refs/heads/topic"];
            project.git(alias).ok();
        });
        pair.git(&["fetch", "-q"]);
        let alike = |args: &[&str]| {
            pair.run("", &[&["push"], args].concat());
            // One push moves two branches, and the second is news to the pusher.
            pair.git(&["fetch", "-q", "--prune"]);
            pair.same();
        };
        alike(&["--force", "origin", "main:alias"]);
        pair.commit("one");
        alike(&["origin", "main:alias", "main:topic"]);
        pair.commit("two");
        alike(&["origin", "main:alias", "main~1:topic", "main"]);
    });
}

#[test]
fn a_project_whose_head_is_on_no_branch_is_pushed_to() {
    let detached = |project: &Project| {
        fill(project);
        let head = project.tip("topic").expect("it is there");
        project
            .git(["update-ref", "--no-deref", "HEAD", &head])
            .ok();
    };
    let pair = Pair::over_http(GitLab::project, detached, &[]);
    pair.git(&["switch", "-q", "main"]);
    pair.commit("one");
    let ran = pair.run("", &["push", "origin", "main", ":topic", "main:new"]);
    assert!(ran.status.success(), "{ran}");
    clones_alike(&pair);
    assert_eq!(pair.projects[0].refs(), pair.projects[1].refs());
}

#[test]
fn history_that_begins_nowhere_is_not_taken() {
    Pair::each(|pair| {
        let alien = pair.world.project("alien");
        alien.commit("main", "alien", "one");
        alien.commit("main", "alien", "two");
        let fetch = ["fetch", "-q", "--depth=1", &alien.url(), "main:alien"];
        pair.git(&fetch);
        pair.refused(&["origin", "alien"], "(shallow update not allowed)");
        pair.refused(
            &["origin", "alien", "main:fine"],
            "(shallow update not allowed)",
        );
    });
}
