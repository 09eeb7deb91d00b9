//! Pushes that few people make.

use std::fs;

use tests::{Project, Run, World};

use crate::{clone::fill, push_pair::Pair, stage::Stage};

/// A world with a clone that is called `ours`, of an upstream on this machine.
fn stage() -> (World, Project) {
    let world = World::new();
    let project = world.project("upstream.git");
    project.commit("main", "file", "first");
    world.clone_mirror(&project.url(), "ours").ok();
    (world, project)
}

fn ours(world: &World, args: &[&str]) -> Run {
    world.git(args).at("ours")
}

/// Makes a commit that no branch has.
fn stray(world: &World, message: &str) -> String {
    let args = ["commit-tree", "-p", "HEAD", "-m", message, "HEAD^{tree}"];
    ours(world, &args).ok().line().to_owned()
}

#[test]
fn refs_that_git_itself_refuses_do_not_come_in_with_accepted_ones() {
    let (world, project) = stage();
    let (good, evil) = (stray(&world, "good"), stray(&world, "evil"));
    let refused = ours(&world, &["push", "origin"])
        .arg(format!("{good}:refs/heads/good"))
        .arg(format!("{evil}:refs/upstream/heads/x"))
        .code(1);
    insta::assert_snapshot!(refused.shown(), @r"
    To mirror::file:///world/upstream.git
     * [new branch]      [oid] -> good
     ! [remote rejected] [oid] -> refs/upstream/heads/x (deny updating a hidden ref)
    error: failed to push some refs to 'mirror::file:///world/upstream.git'
    ");
    assert_eq!(project.tip("good").as_ref(), Some(&good));
    let dir = format!("--git-dir={}", world.only_mirror().display());
    world.git([&dir, "cat-file", "-e", &good]).ok();
    world.git([&dir, "cat-file", "-e", &evil]).fails();
    world.git(["init", "-q", "fresh"]).ok();
    let address = format!("mirror::{}", project.url());
    world
        .git(["fetch", "-q", &address, &evil])
        .at("fresh")
        .fails();
}

#[test]
fn a_server_may_put_what_was_pushed_under_another_name() {
    let (world, project) = stage();
    project.config("receive.procReceiveRefs", "refs/for");
    // Reads pkt-lines up to a flush, as a server that makes merge requests of pushes does.
    project.hook(
        "proc-receive",
        "section() { while n=$(dd bs=1 count=4 2>/dev/null) && [ \"$n\" != 0000 ]; do\n\
         dd bs=1 count=$((0x$n - 4)) 2>/dev/null >>\"$1\"; echo >>\"$1\"; done; }\n\
         line() { printf '%04x%s' $((${#1} + 4)) \"$1\"; }\n\
         section seen\n\
         printf '000dversion=10000'\n\
         section commands\n\
         set -- $(head -n 1 commands)\n\
         git update-ref refs/pull/1/head \"$2\"\n\
         line 'ok refs/for/main'; line 'option refname refs/pull/1/head'; printf 0000\n",
    );
    let commit = stray(&world, "a merge request");
    let pushed = ours(&world, &["push", "origin"])
        .arg(format!("{commit}:refs/for/main"))
        .ok();
    insta::assert_snapshot!(pushed.shown(), @r"
    To mirror::file:///world/upstream.git
     * [new reference]   [oid] -> refs/pull/1/head
    ");
    assert_eq!(project.tip("refs/pull/1/head"), Some(commit));
}

#[test]
fn an_askpass_may_read_the_login_from_variables_that_sound_like_gits_own() {
    let world = World::new();
    let gitlab = world.gitlab();
    let project = gitlab.project("group/project");
    project.commit("main", "file", "first");
    gitlab.require_login_to_push("group/project", "me", "token");
    world
        .clone_mirror(&gitlab.url("group/project"), "ours")
        .ok();
    let askpass = world.path("askpass");
    world.script(
        "askpass",
        "#!/bin/sh\ncase $1 in Username*) echo \"$GIT_USERNAME\";; *) echo \"$GIT_PASSWORD\"; esac\n",
    );
    let commit = stray(&world, "by a pipeline");
    ours(&world, &["push", "-q", "origin"])
        .arg(format!("{commit}:refs/heads/new"))
        .env("GIT_ASKPASS", &askpass)
        .env("GIT_USERNAME", "me")
        .env("GIT_PASSWORD", "token")
        .ok();
    assert_eq!(project.tip("new"), Some(commit));
}

#[test]
fn push_options_go_as_they_are_and_an_empty_one_does_no_harm() {
    let (world, project) = stage();
    project.config("receive.advertisePushOptions", "true");
    let marker = world.path("seen");
    project.hook(
        "post-receive",
        &format!(
            "printf '%s|' \"$GIT_PUSH_OPTION_COUNT\" \"$GIT_PUSH_OPTION_0\" \"$GIT_PUSH_OPTION_1\" >'{}'",
            marker.display()
        ),
    );
    let commit = stray(&world, "with options");
    let options = [
        "push",
        "-q",
        "-o",
        "merge_request.title=Ünïcode \"quoted\"",
        "-o",
        "",
        "-o",
        "ci.skip",
    ];
    ours(&world, &options)
        .arg("origin")
        .arg(format!("{commit}:refs/heads/new"))
        .ok();
    let marker = fs::read_to_string(marker).expect("the hook ran");
    assert_eq!(marker, "2|merge_request.title=Ünïcode \"quoted\"|ci.skip|");
}

/// Takes long: git itself reads, sends and writes ten thousand refs several times.
#[test]
fn ten_thousand_branches_come_in_one_push_and_others_beside_them() {
    let (world, project) = stage();
    let tip = ours(&world, &["rev-parse", "HEAD"]).ok().line().to_owned();
    let branches: String = (0..10_000)
        .map(|n| format!("create refs/heads/many/{n:05} {tip}\n"))
        .collect();
    let many = ["update-ref", "--stdin"];
    ours(&world, &many).stdin(branches).ok();
    let all = "refs/heads/many/*:refs/heads/many/*";
    ours(&world, &["push", "-q", "origin", all]).ok();
    let commit = stray(&world, "beside them");
    ours(&world, &["push", "-q", "origin", ":many/00000"])
        .arg(format!("{commit}:refs/heads/many/00000/below"))
        .arg(format!("+{commit}:refs/heads/many/09999"))
        .ok();
    let refs = project.refs();
    assert_eq!(refs.len(), 10_001);
    assert_eq!(project.tip("many/00000/below").as_ref(), Some(&commit));
    assert_eq!(project.tip("many/09999"), Some(commit));
    let public = tests::public_refs(&world, &world.only_mirror());
    assert_eq!(public, refs, "the mirror has what upstream has");
}

/// git sends a deletion of what nobody has shown it. Only upstream knows whether there is anything.
#[test]
fn a_deletion_of_what_upstream_hides_or_does_not_have_is_answered_by_upstream() {
    Pair::each(|pair| {
        let hidden = "refs/heads/hidden";
        pair.upstream(|project| project.branch("hidden", "main"));
        for key in ["transfer.hideRefs", "uploadpack.hideRefs"] {
            pair.upstream(|project| {
                project.git(["config", "--add", key, hidden]).ok();
            });
            let delete = format!(":{hidden}");
            let ran = pair.run("", &["push", "origin", &delete]);
            let is_shown_to_pushes = key.starts_with("uploadpack");
            assert_eq!(ran.status.success(), is_shown_to_pushes, "{key}: {ran}");
            let [ours, plain] = pair
                .projects
                .each_ref()
                .map(|project| project.tip("hidden"));
            assert_eq!(ours, plain);
            assert_eq!(ours.is_none(), is_shown_to_pushes, "{key}");
            pair.upstream(|project| {
                project.git(["config", "--unset", key, hidden]).ok();
            });
        }
        pair.pushes(&["origin", ":refs/heads/typo"]);
        pair.upstream(|project| project.hook("pre-receive", "echo 'no deletions' >&2; exit 1"));
        pair.refused(&["origin", ":refs/heads/typo"], "pre-receive hook declined");
        pair.refused(&["--atomic", "origin", ":refs/heads/typo"], "declined");
    });
    let stage = Stage::new(fill).with_ours();
    stage.gitlab.stop();
    let ran = stage.push("ours", &[":refs/heads/typo"]).code(1);
    insta::assert_snapshot!(ran.shown(), @r"
    warning: cannot reach 'http://gitlab.example/group/project.git': connection refused
    hint: serving the copy synced [time] ago
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] typo (cannot reach 'http://gitlab.example/group/project.git': connection refused)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'
    ");
}

/// A ref of upstream that a local ref hides is upstream's all the same.
#[test]
fn a_deletion_of_what_a_local_branch_keeps_from_being_shown_reaches_upstream() {
    let (world, project) = stage();
    let track = "+refs/heads/main";
    let url = project.url();
    world.mirrord(["add", "fork", &url, "--track", track]).ok();
    let push = |refspec: &str| ours(&world, &["push", "-q", "mirror::fork", refspec]);
    push("HEAD:refs/heads/a").ok();
    project.branch("a/b", "main");
    world
        .mirrord(["set", "fork", "--track", "+refs/heads/*"])
        .ok();
    let listed = || ours(&world, &["ls-remote", "mirror::fork"]).ok().shown();
    insta::assert_snapshot!(listed(), @r"
    [oid]	HEAD
    [oid]	refs/heads/a
    [oid]	refs/heads/main
    --- stderr
    warning: 'refs/heads/a/b' is not shown: 'refs/heads/a' exists
    ");
    push(":refs/heads/a/b").ok();
    assert_eq!(project.tip("a/b"), None);
    insta::assert_snapshot!(listed(), @r"
    [oid]	HEAD
    [oid]	refs/heads/a
    [oid]	refs/heads/main
    ");
}
