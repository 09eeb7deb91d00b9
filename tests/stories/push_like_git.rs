//! A push through the mirror and the same push by git alone: twenty kinds and more.

use tests::GitLab;

use crate::push_pair::{Pair, SIDES, fill};

#[test]
fn a_branch_is_fast_forwarded_and_then_there_is_nothing_to_push() {
    Pair::each(|pair| {
        pair.commit("one");
        pair.pushes(&["origin", "main"]);
        let again = pair.pushes(&["origin", "main"]);
        assert!(again.stderr.contains("Everything up-to-date"), "{again}");
    });
}

#[test]
fn several_branches_go_in_one_push() {
    Pair::each(|pair| {
        pair.commit("one");
        pair.git(&["branch", "first"]);
        pair.commit("two");
        let from_topic = "origin/topic:refs/heads/third";
        pair.pushes(&["origin", "main", "first", from_topic, "main:fourth"]);
        pair.commit("three");
        pair.pushes(&["--all", "origin"]);
    });
}

#[test]
fn a_new_branch_is_followed_from_then_on() {
    Pair::each(|pair| {
        pair.git(&["switch", "-qc", "new"]);
        pair.commit("one");
        let ran = pair.pushes(&["-u", "origin", "new"]);
        assert!(ran.stdout.contains("set up to track"), "{ran}");
        pair.commit("two");
        pair.pushes(&[]);
        pair.run("", &["status", "-sb"]);
    });
}

#[test]
fn tags_go_alone_all_at_once_or_with_their_commits() {
    Pair::each(|pair| {
        pair.git(&["tag", "plain-tag"]);
        pair.pushes(&["origin", "plain-tag"]);
        pair.git(&["tag", "-am", "two", "v2"]);
        pair.pushes(&["origin", "refs/tags/v2"]);
        pair.commit("one");
        pair.git(&["tag", "-am", "three", "v3"]);
        pair.git(&["tag", "not-followed"]);
        pair.pushes(&["--follow-tags", "origin", "main"]);
        // A tag of a tag, and one of a tree.
        pair.git(&["tag", "-am", "of a tag", "nested", "v3"]);
        pair.git(&["tag", "tree", "main^{tree}"]);
        pair.pushes(&["--tags", "origin"]);
    });
}

#[test]
fn branches_and_tags_are_deleted() {
    Pair::each(|pair| {
        pair.pushes(&["origin", "--delete", "spare"]);
        pair.pushes(&[
            "origin",
            ":topic",
            ":refs/tags/v1",
            "main:refs/heads/instead",
        ]);
        let gone = pair.refused(&["origin", ":topic"], "remote ref does not exist");
        assert!(!gone.stderr.contains("remote: "), "{gone}");
    });
}

#[test]
fn history_is_rewritten_only_by_force() {
    Pair::each(|pair| {
        pair.commit("one");
        pair.pushes(&["origin", "main"]);
        pair.git(&["commit", "-q", "--amend", "-m", "another one"]);
        pair.refused(&["origin", "main"], "(non-fast-forward)");
        let forced = pair.pushes(&["--force", "origin", "main"]);
        assert!(forced.stderr.contains("(forced update)"), "{forced}");
        pair.git(&["reset", "-q", "--hard", "HEAD~2"]);
        pair.pushes(&["origin", "+main", "origin/topic:refs/heads/spare"]);
    });
}

#[test]
fn a_lease_holds_what_was_seen_last() {
    Pair::each(|pair| {
        pair.git(&["commit", "-q", "--amend", "-m", "another"]);
        pair.pushes(&["--force-with-lease", "origin", "main"]);
        pair.upstream(|project| drop(project.commit("main", "theirs", "theirs")));
        pair.git(&["commit", "-q", "--amend", "-m", "a third"]);
        pair.refused(&["--force-with-lease", "origin", "main"], "(stale info)");
        pair.refused(
            &["--force-with-lease=main:HEAD~1", "origin", "main"],
            "(stale info)",
        );
        pair.refused(&["origin", "main"], "(fetch first)");
        pair.git(&["fetch", "-q"]);
        pair.pushes(&["--force-with-lease=main:origin/main", "origin", "main"]);
        pair.refused(
            &["--force-with-lease=topic:", "origin", "main:topic"],
            "(stale info)",
        );
        pair.pushes(&[
            "--force-with-lease=fresh:",
            "origin",
            "main:refs/heads/fresh",
        ]);
    });
}

#[test]
fn a_commit_that_was_fetched_and_never_merged_is_not_overwritten_with_force_if_includes() {
    Pair::each(|pair| {
        pair.upstream(|project| drop(project.commit("main", "theirs", "theirs")));
        pair.git(&["fetch", "-q"]);
        pair.commit("mine");
        let careful = [
            "--force-with-lease",
            "--force-if-includes",
            "origin",
            "main",
        ];
        pair.refused(&careful, "(remote ref updated since checkout)");
        pair.git(&["pull", "-q", "--rebase"]);
        pair.git(&["commit", "-q", "--amend", "-m", "mine after theirs"]);
        pair.pushes(&careful);
    });
}

#[test]
fn a_dry_run_changes_nothing() {
    Pair::each(|pair| {
        pair.commit("one");
        let before = pair.projects[0].refs();
        pair.pushes(&["--dry-run", "origin", "main", "main:new", ":spare"]);
        pair.pushes(&["--dry-run", "--porcelain", "origin", "main", "+main:topic"]);
        assert_eq!(pair.projects[0].refs(), before);
    });
}

#[test]
fn porcelain_and_quiet_say_what_they_always_say() {
    Pair::each(|pair| {
        pair.commit("one");
        let ran = pair.pushes(&["--porcelain", "origin", "main", ":spare", "main:new"]);
        assert!(ran.stdout.ends_with("Done\n"), "{ran}");
        pair.git(&["reset", "-q", "--hard", "HEAD~1"]);
        pair.refused(
            &["--porcelain", "origin", "main", "main:newer"],
            "[rejected]",
        );
        let quiet = pair.pushes(&["-q", "origin", "main:quiet", "+main"]);
        assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
        pair.pushes(&["--quiet", "--porcelain", "origin", "main:quieter"]);
    });
}

#[test]
fn an_atomic_push_is_all_or_nothing() {
    Pair::each(|pair| {
        pair.commit("one");
        pair.pushes(&["--atomic", "origin", "main", "main:new", ":spare"]);
        pair.git(&["reset", "-q", "--hard", "HEAD~1"]);
        pair.upstream(|project| project.hook("update", "test $1 != refs/heads/safe"));
        pair.commit("two");
        let safe = [
            "--atomic",
            "origin",
            "main:first",
            "main:refs/heads/safe",
            "main:later",
        ];
        pair.refused(&safe, "(hook declined)");
        pair.refused(
            &["origin", "main:first", "main:refs/heads/safe"],
            "(hook declined)",
        );
    });
}

#[test]
fn an_atomic_push_that_git_itself_refuses_sends_nothing() {
    // Only on disk: through the mirror git sees a server that it is connected to, and with those it has more to say
    // about this, whoever they are, than with one that it talks to over http.
    let pair = Pair::file();
    pair.commit("one");
    pair.pushes(&["origin", "main"]);
    pair.git(&["reset", "-q", "--hard", "HEAD~1"]);
    let push = ["push", "--atomic", "origin", "main", "main:other"];
    let said = SIDES.map(|side| {
        let ran = pair.world.git(push).at(side).code(1);
        // A server program complains of a git that leaves without a word. Ours keeps that to itself.
        let complaint = "fatal: the remote end hung up unexpectedly\n";
        pair.unnamed(&ran.stderr).replace(complaint, "")
    });
    assert!(said[0].contains("(atomic push failed)"), "{}", said[0]);
    assert_eq!(said[0], said[1]);
    assert_eq!(pair.projects[0].refs(), pair.projects[1].refs());
}

#[test]
fn all_that_a_mirror_clone_has_is_pushed_and_all_else_goes() {
    let pair = Pair::over_http(GitLab::project, fill, &["--mirror"]);
    for side in SIDES {
        let at = |args: &[&str]| drop(pair.world.git(args).at(side).ok());
        at(&["branch", "new", "main~1"]);
        at(&["branch", "-f", "topic", "main~2"]);
        at(&["tag", "-d", "light"]);
        at(&["branch", "-D", "spare"]);
    }
    pair.pushes(&[]);
    pair.pushes(&["--mirror", "origin"]);
}

#[test]
fn push_prune_deletes_branches_that_the_clone_has_not() {
    Pair::each(|pair| {
        pair.git(&["branch", "kept", "main"]);
        pair.commit("one");
        pair.pushes(&["--prune", "origin", "refs/heads/*"]);
        let left = pair.projects[0].refs();
        assert!(!left.iter().any(|(name, _)| name == "refs/heads/spare"));
    });
}

#[test]
fn push_options_reach_the_hooks_of_the_project() {
    let script =
        "echo \"$GIT_PUSH_OPTION_COUNT options: <$GIT_PUSH_OPTION_0> <$GIT_PUSH_OPTION_1>\"";
    Pair::each(|pair| {
        pair.upstream(|project| project.hook("pre-receive", script));
        pair.commit("one");
        let create = "merge_request.create";
        let ran = pair.pushes(&["-o", create, "-o", "ci.skip", "origin", "main"]);
        let output = "remote: 2 options: <merge_request.create> <ci.skip>";
        assert_eq!(ran.stderr.matches(output).count(), 1, "{ran}");
        let title = "merge_request.title=Größe: \"a b\" $(c) 100%";
        let long = format!("merge_request.description={}", "x".repeat(3000));
        pair.pushes(&["-o", title, "-o", &long, "origin", "main:new"]);
        pair.pushes(&["origin", "main:newer"]);
        pair.git(&["config", "push.pushOption", "ci.skip"]);
        pair.pushes(&["origin", "main:newest"]);
    });
}

#[test]
fn a_shallow_clone_pushes_what_it_has_made() {
    let pair = Pair::over_http(GitLab::project, fill, &["--depth=1", "--no-single-branch"]);
    pair.commit("one");
    pair.pushes(&["origin", "main"]);
    pair.git(&["switch", "-q", "topic"]);
    pair.commit("two");
    pair.pushes(&["origin", "HEAD:new", "HEAD"]);
    pair.git(&["fetch", "-q", "--unshallow"]);
    pair.commit("three");
    pair.pushes(&["origin", "HEAD"]);
}

#[test]
fn a_worktree_pushes_as_its_repository_does() {
    Pair::each(|pair| {
        pair.git(&["worktree", "add", "-q", "-b", "other", "tree", "main"]);
        for side in ["ours/tree", "plain/tree"] {
            let commit = ["commit", "-q", "--allow-empty", "-m", "in a worktree"];
            pair.world.git(commit).at(side).ok();
        }
        let ran = pair.run("tree", &["push", "origin", "HEAD"]);
        assert!(ran.status.success(), "{ran}");
        pair.same();
    });
}

#[test]
fn push_default_decides_as_in_plain_git() {
    Pair::each(|pair| {
        pair.git(&["switch", "-q", "-c", "mine", "--track", "origin/topic"]);
        pair.commit("one");
        for way in ["nothing", "simple", "upstream", "current", "matching"] {
            let setting = format!("push.default={way}");
            pair.run("", &["-c", &setting, "push"]);
            pair.same();
            pair.commit(way);
        }
        pair.git(&["switch", "-q", "-c", "lonely", "--no-track"]);
        pair.run("", &["push"]);
        pair.run("", &["-c", "push.autoSetupRemote=true", "push"]);
        pair.same();
        pair.run(
            "",
            &["-c", "remote.pushDefault=origin", "push", "origin", ":"],
        );
        pair.same();
    });
}

#[test]
fn hooks_of_the_person_run_once_and_not_at_all_when_told() {
    Pair::each(|pair| {
        let hook = r#"printf '#!/bin/sh\necho "pre-push $1" >&2\ncat >&2\n' >.git/hooks/pre-push; chmod 755 .git/hooks/pre-push"#;
        for side in SIDES {
            let script = format!("mkdir -p .git/hooks; {hook}");
            pair.world.program("sh", ["-c", &script]).at(side).ok();
        }
        pair.commit("one");
        let ran = pair.pushes(&["origin", "main", "main:new"]);
        assert_eq!(ran.stderr.matches("pre-push origin").count(), 1, "{ran}");
        pair.commit("two");
        let ran = pair.pushes(&["--no-verify", "origin", "main"]);
        assert!(!ran.stderr.contains("pre-push"), "{ran}");
    });
}
