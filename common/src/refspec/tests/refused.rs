//! Refspecs that are refused, and why.

use super::*;

#[test]
fn what_is_not_a_full_name_is_refused_with_the_one_to_write() {
    let oid = "0123456789012345678901234567890123456789";
    for (line, why) in [
        ("main", "'main' is not a full name; write 'refs/heads/main'"),
        ("refs/heads/a:up/*", "write 'refs/heads/up/*'"),
        ("+tags/v1", "write 'refs/tags/v1'"),
        ("heads/*:heads/*", "write 'refs/heads/*'"),
        ("^wip/*", "write 'refs/heads/wip/*'"),
        ("HEAD", "HEAD is no branch or tag; write a full name"),
        ("@:refs/heads/x", "HEAD is no branch or tag"),
        (":refs/heads/x", "HEAD is no branch or tag"),
        ("+", "HEAD is no branch or tag"),
        (oid, "an object id is no branch or tag"),
        ("+^refs/heads/x", "not the full name of a ref"),
        ("tag v1", "not the full name of a ref"),
    ] {
        let message = refusal(&[line]);
        assert!(message.contains(why), "{message}");
        assert!(
            message.starts_with(&format!("'{line}' cannot be tracked: ")),
            "{message}"
        );
    }
}

#[test]
fn what_is_not_a_mapping_of_ref_names_is_refused() {
    for (line, why) in [
        ("refs/heads/*:refs/heads/x", "'*' on one side only"),
        ("refs/heads/x:refs/heads/*", "'*' on one side only"),
        ("refs/*/*:refs/*/*", "more than one '*'"),
        ("refs/heads/a..b", "git does not allow"),
        ("refs/heads/x:refs/heads/y.lock", "git does not allow"),
        (
            "refs/heads/a:refs/heads/b:refs/heads/c",
            "git does not allow",
        ),
        ("refs/heads/", "git does not allow"),
        ("^refs/heads/*:refs/heads/x", "cannot have a destination"),
        ("refs/*:refs/upstream/*", "'refs/upstream' is not for"),
        ("refs/heads/x:refs/mirror/a/x", "'refs/mirror' is not for"),
        ("refs/heads/x:refs/mirror", "'refs/mirror' is not for"),
        ("refs/heads/x:refs/upstream", "'refs/upstream' is not for"),
        ("refs/upstream/*", "'refs/upstream' is not for"),
        ("refs/replace/*", "'refs/replace' is not for"),
    ] {
        let message = refusal(&[line]);
        assert!(message.contains(why), "{message}");
    }
}

#[test]
fn one_ref_is_never_shown_under_two_names() {
    assert_eq!(
        refusal(&["+refs/heads/*", "refs/heads/dev:refs/heads/up/dev"]),
        "'+refs/heads/*:refs/heads/*' and 'refs/heads/dev:refs/heads/up/dev' cannot be tracked together: \
         they would show upstream's 'refs/heads/dev' both as 'refs/heads/dev' and as 'refs/heads/up/dev'"
    );
    // `ab*` and `*bc` meet in `abc` too, which `ab*bc` does not match.
    let crossing = ["refs/heads/ab*:refs/heads/x/ab*", "refs/heads/*bc"];
    refusal(&crossing);
    let message = refusal(&[crossing[0], crossing[1], "^refs/heads/ab*bc"]);
    assert!(
        message.contains("upstream's 'refs/heads/abc' both"),
        "{message}"
    );
    parse(&[
        crossing[0],
        crossing[1],
        "^refs/heads/ab*bc",
        "^refs/heads/abc",
    ]);
}

#[test]
fn refspecs_that_meet_are_refused_whatever_their_order() {
    for (lines, why) in [
        (
            ["refs/heads/main", "refs/heads/topic:refs/heads/main"],
            "both as 'refs/heads/main'",
        ),
        (
            ["+refs/heads/*", "+refs/heads/main:refs/heads/theirs"],
            "upstream's 'refs/heads/main' both as",
        ),
        (
            ["+refs/heads/*:refs/tags/*", "+refs/tags/*"],
            "cannot be tracked together",
        ),
        (
            ["+refs/heads/main", "+refs/heads/*:refs/heads/up/*"],
            "cannot be tracked together",
        ),
        (
            [
                "refs/heads/t*:refs/heads/x-*",
                "refs/heads/to*:refs/heads/y-*",
            ],
            "cannot be tracked together",
        ),
    ] {
        let [first, second] = lines;
        for lines in [[first, second], [second, first]] {
            let message = refusal(&lines);
            assert!(message.contains(why), "{message}");
        }
    }
    // With the one that is in the way left out, it is one to one again.
    parse(&[
        "refs/heads/t*:refs/heads/x-*",
        "refs/heads/to*:refs/heads/y-*",
        "^refs/heads/to*",
    ]);
}

#[test]
fn two_refs_are_never_shown_under_one_name() {
    let both = ["refs/heads/*", "refs/merge-requests/*/head:refs/heads/mr/*"];
    assert_eq!(
        refusal(&both),
        "'refs/heads/*:refs/heads/*' and 'refs/merge-requests/*/head:refs/heads/mr/*' cannot be tracked together: \
         they would show upstream's 'refs/heads/mr/*' and its 'refs/merge-requests/*/head' both as 'refs/heads/mr/*'; \
         exclude one of these with '^refs/heads/mr/*' or '^refs/merge-requests/*/head'"
    );
    let lines = [both[0], both[1], "^refs/heads/mr/*"];
    assert_eq!(
        route(&lines, "refs/heads/mr/1"),
        tracked("refs/merge-requests/1/head")
    );
    assert_eq!(public(&lines, "refs/heads/mr/1"), None);
    let message = refusal(&[both[0], both[1], "^refs/heads/mr/1*"]);
    assert!(message.contains("'refs/heads/mr/*'"), "{message}");
}
