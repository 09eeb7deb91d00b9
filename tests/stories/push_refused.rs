//! Pushes that GitLab refuses, in whole or in part: its own words, and a verdict for each ref.

use crate::push_pair::{Pair, SIDES};

/// A hook that lets nobody push to `safe`, in GitLab's words.
const PROTECTED: &str = r#"
test $1 = refs/heads/safe || exit 0
echo 'GitLab: You are not allowed to push code to protected branches on this project.' >&2
exit 1"#;

#[test]
fn a_protected_branch_is_refused_in_gitlabs_own_words() {
    Pair::each(|pair| {
        pair.upstream(|project| project.hook("update", PROTECTED));
        pair.commit("one");
        let ran = pair.refused(&["origin", "main:refs/heads/safe"], "(hook declined)");
        let text = "remote: GitLab: You are not allowed to push code to protected branches";
        assert_eq!(ran.stderr.matches(text).count(), 1, "{ran}");
        let some = [
            "origin",
            "main",
            "main:refs/heads/safe",
            "main:new",
            ":spare",
        ];
        pair.refused(&some, "(hook declined)");
        pair.commit("two");
        pair.refused(&["--porcelain", "origin", "main", "main:safe"], "");
        let atomic = [
            "--atomic",
            "--porcelain",
            "origin",
            "main",
            "main:refs/heads/safe",
        ];
        pair.refused(&atomic, "");
    });
}

#[test]
fn a_whole_push_is_refused_by_a_pre_receive_hook() {
    Pair::each(|pair| {
        let script = "echo; echo 'GitLab: Author is not a member of team'; echo; exit 1";
        pair.upstream(|project| project.hook("pre-receive", script));
        pair.commit("one");
        pair.refused(
            &["origin", "main", "main:new", ":spare"],
            "(pre-receive hook declined)",
        );
    });
}

/// Makes a hook print this, and compares the output of both pushes.
#[track_caller]
fn relayed(pair: &Pair, name: &str, script: &str) {
    pair.upstream(|project| project.hook("post-receive", script));
    pair.commit(name);
    pair.pushes(&["origin", "main"]);
}

/// Takes long: nine outputs are printed to four pushes each, ours and plain ones over http and on disk.
#[test]
fn whatever_gitlab_prints_is_shown_once_and_as_it_is() {
    let link =
        "https://gitlab.example/group/project/-/merge_requests/new?merge_request%5Bsource%5D=x";
    let gitlab =
        format!("echo\necho 'To create a merge request for main, visit:'\necho '  {link}'\necho\n");
    let stories = [
        ("as-gitlab", gitlab.as_str()),
        ("utf-8", "echo 'Größe → 完了 ✓'"),
        ("blank-lines", "printf '\\n\\nbetween\\n\\n\\nlines\\n\\n'"),
        (
            "spaces",
            "printf '   before and after   \\n\\ttab\\tand tab\\n        \\n'",
        ),
        (
            "carriage-returns",
            "printf 'work 1%%\\rwork 50%%\\rwork 100%%\\ndone\\n'",
        ),
        ("dos", "printf 'one\\r\\ntwo\\r\\n'"),
        (
            "as-git",
            "printf 'error: no\\nfatal: no\\nhint: no\\nTo no\\nremote: no\\nwarning: no\\n'",
        ),
        (
            "both-ways",
            "echo to stdout; echo to stderr >&2; echo to stdout",
        ),
        ("nothing", ":"),
    ];
    Pair::each(|pair| {
        for (name, script) in &stories {
            relayed(pair, name, script);
        }
    });
}

#[test]
fn a_last_line_that_does_not_end_is_shown_as_it_is() {
    Pair::each(|pair| {
        relayed(pair, "no-newline", "printf 'no newline at the end'");
        relayed(
            pair,
            "after-others",
            "printf 'one\\ntwo\\n\\nno newline at the end'",
        );
    });
}

#[test]
fn a_long_line_of_gitlabs_stays_one_line() {
    Pair::each(|pair| {
        relayed(pair, "long", "printf '%05000d\\n' 7");
        relayed(pair, "longer", "printf '%0100000d\\n' 7");
        relayed(pair, "wide", "printf '%04094d→→→\\n' 7");
    });
}

#[test]
fn many_lines_of_gitlabs_come_in_order() {
    Pair::each(|pair| {
        let script = "i=0; while test $i -lt 3000; do echo line $i; i=$((i+1)); done";
        relayed(pair, "many", script);
    });
}

#[test]
fn a_tag_that_is_there_is_not_moved_without_force() {
    Pair::each(|pair| {
        pair.commit("one");
        pair.git(&["tag", "-f", "-am", "again", "v1"]);
        pair.refused(&["origin", "v1"], "(already exists)");
        pair.refused(&["--tags", "origin"], "(already exists)");
        pair.pushes(&["--force", "origin", "v1"]);
    });
}

#[test]
fn the_branch_that_head_names_is_not_deleted_where_git_protects_it() {
    Pair::each(|pair| {
        let why = "(deletion of the current branch prohibited)";
        pair.refused(&["origin", ":main"], why);
        pair.refused(&["origin", ":main", ":spare"], why);
        pair.refused(&["--atomic", "origin", ":main", ":topic"], why);
    });
}

#[test]
fn rules_that_a_project_has_are_told_as_git_tells_them() {
    Pair::each(|pair| {
        pair.upstream(|project| {
            project.config("receive.denyNonFastForwards", "true");
            project.config("receive.denyDeletes", "true");
        });
        pair.refused(&["origin", ":spare"], "(deletion prohibited)");
        pair.git(&["commit", "-q", "--amend", "-m", "another"]);
        pair.refused(&["--force", "origin", "main"], "(non-fast-forward)");
    });
}

#[test]
fn refs_that_gitlab_keeps_for_itself_are_refused() {
    let pair = Pair::http();
    pair.commit("one");
    let hidden = "main:refs/merge-requests/1/head";
    let why = "(deny updating a hidden ref)";
    pair.refused(&["origin", hidden], why);
    pair.refused(&["origin", "main", hidden, "main:refs/keep-around/x"], why);
    pair.commit("two");
    pair.refused(&["--atomic", "origin", "main", hidden], "");
}

#[test]
fn objects_that_gitlab_finds_faulty_are_refused() {
    let pair = Pair::http();
    let faulty = "git hash-object -t commit -w --stdin --literally";
    let script = format!(
        "printf 'tree %s\\nauthor a <a> 1 +0000\\ncommitter no mail 1 +0000\\n\\nm\\n' \
         $(git rev-parse HEAD^{{tree}}) | {faulty} >id; git branch faulty $(cat id); rm id"
    );
    for side in SIDES {
        pair.world.program("sh", ["-c", &script]).at(side).ok();
    }
    let [ours, plain] = SIDES.map(|side| {
        let ran = pair
            .world
            .git(["push", "origin", "faulty"])
            .at(side)
            .code(1);
        let lines = ran.stderr.replace("mirror::", "");
        let lines = lines
            .replace(&pair.urls[0], "URL")
            .replace(&pair.urls[1], "URL");
        // Unpacking did work in the mirror, and git has no other place for these words.
        let kept = lines
            .lines()
            .filter(|line| !line.starts_with("error: remote unpack failed"));
        kept.map(str::to_owned).collect::<Vec<_>>()
    });
    assert_eq!(ours, plain);
    assert!(
        plain.iter().any(|line| line.contains("(unpacker error)")),
        "{plain:?}"
    );
    pair.same();
}

#[test]
fn a_project_that_is_not_there_is_named() {
    let pair = Pair::http();
    pair.commit("one");
    for side in SIDES {
        let script = "git remote set-url origin $(git remote get-url origin | sed s/group/nobody/)";
        pair.world.program("sh", ["-c", script]).at(side).ok();
    }
    let [ours, plain] = SIDES.map(|side| {
        pair.world
            .git(["push", "origin", "main"])
            .at(side)
            .code(128)
    });
    let why = |text: &str| {
        let line = text.lines().find(|line| line.ends_with("not found"))?;
        // The address aside, which git ends with a slash here.
        Some(
            line.replace("nobody/plain", "nobody/ours")
                .replace("/'", "'"),
        )
    };
    // The helper says why before git knows of any upstream, so it is an `error:` of ours where git has `fatal:`.
    let expected = why(&plain.stderr).map(|line| line.replace("fatal: ", "error: "));
    assert!(expected.is_some(), "{plain}");
    assert_eq!(why(&ours.stderr), expected, "{ours}");
    assert_eq!(ours.stderr.matches("error: ").count(), 1, "{ours}");
}

#[test]
fn push_options_that_upstream_does_not_know_are_refused() {
    let pair = Pair::http();
    pair.upstream(|project| project.config("receive.advertisePushOptions", "false"));
    pair.commit("one");
    let push = ["push", "-o", "ci.skip", "origin", "main"];
    let before = pair.projects[0].refs();
    let [ours, plain] = SIDES.map(|side| pair.world.git(push).at(side).fails());
    insta::assert_snapshot!(plain.shown(), @"
    fatal: the receiving end does not support push options
    fatal: the remote end hung up unexpectedly
    error: failed to push some refs to 'http://gitlab.example/group/plain.git'
    ");
    // git asks what can be done before it sends, and the answer is known only once it has sent.
    insta::assert_snapshot!(ours.shown(), @r"
    remote: fatal: the receiving end does not support push options
    To mirror::http://gitlab.example/group/ours.git
     ! [remote rejected] main -> main (the receiving end does not support push options)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/ours.git'
    ");
    assert_eq!(pair.projects[0].refs(), before);
    pair.same();
    pair.pushes(&["origin", "main"]);
}

#[test]
fn an_atomic_push_that_git_itself_refuses_says_no_more_than_that() {
    let pair = Pair::http();
    pair.commit("one");
    for project in &pair.projects {
        project.commit("main", "a", "somebody else");
    }
    let refused = pair
        .world
        .git(["push", "--atomic", "origin", "main", "main:other"]);
    let ran = refused.at(SIDES[0]).fails();
    insta::assert_snapshot!(ran.shown(), @"
    error: atomic push failed for ref refs/heads/main. status: 5
    To mirror::http://gitlab.example/group/ours.git
     ! [rejected]        main -> main (fetch first)
     ! [rejected]        main -> other (atomic push failed)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/ours.git'
    hint: Updates were rejected because the remote contains work that you do not
    hint: have locally. This is usually caused by another repository pushing to
    hint: the same ref. If you want to integrate the remote changes, use
    hint: 'git pull' before pushing again.
    hint: See the 'Note about fast-forwards' in 'git push --help' for details.
    ");
    pair.same();
}

#[test]
fn a_signed_push_is_answered_as_by_upstream() {
    // Only on disk: through the mirror git ends as it does with any server that it is connected to, and over http it
    // has a program in between that ends in its stead.
    let pair = Pair::file();
    pair.commit("one");
    let ran = pair.push(&["--signed", "origin", "main"]);
    insta::assert_snapshot!(ran.shown(), @r"
    fatal: the receiving end does not support --signed push
    fatal: the remote end hung up unexpectedly
    ");
    let pair = Pair::http();
    pair.commit("one");
    pair.git(&["config", "push.gpgSign", "if-asked"]);
    pair.pushes(&["origin", "main"]);
}

#[test]
fn a_branch_that_is_checked_out_upstream_is_not_pushed_over() {
    Pair::each(|pair| {
        pair.upstream(|project| {
            let tree = project.dir().join("tree");
            project.config("core.bare", "false");
            project.config("core.worktree", &tree.display().to_string());
        });
        pair.commit("one");
        pair.refused(
            &["origin", "main", "main:new"],
            "(branch is currently checked out)",
        );
        pair.refused(&["--atomic", "origin", "main", "main:newer"], "");
    });
}
