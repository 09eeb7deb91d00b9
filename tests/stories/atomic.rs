//! The mirror's atomic switch: whether the tracked refs of one push stand or fall together.

use tests::Ran;

use crate::{
    local::{fork, says_of, stayed},
    stage::Stage,
};

/// Upstream lets everything pass but `safe`.
const SAFE: &str = "test $1 != refs/heads/safe || { echo 'GitLab: protected' >&2; exit 1; }";

/// A fork that tracks all but `wip/`, with a switch, and with `main`, `side` and `safe` to be pushed.
fn switched(switch: &str) -> Stage {
    let fork = fork();
    for name in ["side", "safe"] {
        fork.project.branch(name, "main~1");
    }
    let track = ["+refs/heads/*", "+refs/tags/*", "^refs/heads/wip/*"];
    let track = track.map(|refspec| ["--track", refspec]);
    let options = [track.as_flattened(), &["--atomic", switch]].concat();
    fork.set("fork", &options).ok();
    fork.ours(&["switch", "-q", "main"]).ok();
    fork.commit("ours", "next");
    fork
}

/// The line of `--porcelain` for each ref, without the objects.
fn verdicts(ran: &Ran) -> Vec<String> {
    let lines = ran.stdout.lines().filter(|line| line.contains(":refs/"));
    lines
        .map(|line| line.replace("HEAD:", ":").replace("main:", ":"))
        .collect()
}

/// Whether upstream is asked for all or nothing by each push that it has seen.
fn asked_for_atomicity(fork: &Stage) -> Vec<bool> {
    let requests = fork.gitlab.requests();
    let pushes = requests.iter();
    pushes
        .filter(|request| request.method == "POST" && request.path.ends_with("git-receive-pack"))
        // The other is git's question whether it is let in.
        .filter(|request| request.body.len() > 4)
        .map(|request| {
            let text = request.body_text();
            let first = text.split('\n').next().unwrap_or_default().to_owned();
            let (_, capabilities) = text.split_once('\0').unwrap_or(("", &first));
            let end = capabilities.find("PACK").unwrap_or(capabilities.len());
            capabilities[..end].split([' ', '\n']).any(|word| {
                // The last one is followed by the flush packet.
                word.trim_end_matches('0') == "atomic"
            })
        })
        .collect()
}

/// Pushes `main`, `side` and `safe`, which is refused, and compares what is said with plain git, which is told
/// `plain_says`.
#[track_caller]
fn as_plain_git(fork: &Stage, args: &[&str], plain_says: &[&str]) -> Ran {
    let refs = ["main", "main:side", "main:safe"];
    let before = fork.project.refs();
    let push = ["push", "--porcelain"];
    let plain = [&push, plain_says, &[fork.url.as_str()], &refs].concat();
    let plain = fork.ours(&plain).code(1);
    for (name, oid) in &before {
        fork.project.force(name, oid);
    }
    let ours = [&push, args, &["origin"], &refs].concat();
    let ours = fork.ours(&ours).code(1);
    assert_eq!(verdicts(&ours), verdicts(&plain), "{ours}\n{plain}");
    ours
}

#[test]
fn auto_is_atomic_when_the_push_says_so_and_only_then() {
    let fork = switched("auto");
    fork.project.hook("update", SAFE);
    let before = fork.project.refs();
    let ran = as_plain_git(&fork, &["--atomic"], &["--atomic"]);
    insta::assert_snapshot!(ran.shown(), @"
    To mirror::fork
    !	refs/heads/main:refs/heads/main	[remote rejected] (atomic push failure)
    !	refs/heads/main:refs/heads/safe	[remote rejected] (hook declined)
    !	refs/heads/main:refs/heads/side	[remote rejected] (atomic push failure)
    Done
    --- stderr
    remote: GitLab: protected
    remote: error: hook declined to update refs/heads/safe
    error: failed to push some refs to 'mirror::fork'
    ");
    assert_eq!(fork.project.refs(), before);
    fork.gitlab.forget_requests();
    let ran = as_plain_git(&fork, &[], &[]);
    insta::assert_snapshot!(ran.shown(), @"
    To mirror::fork
     	refs/heads/main:refs/heads/main	[oid]..[oid]
     	refs/heads/main:refs/heads/side	[oid]..[oid]
    !	refs/heads/main:refs/heads/safe	[remote rejected] (hook declined)
    Done
    --- stderr
    remote: GitLab: protected
    remote: error: hook declined to update refs/heads/safe
    error: failed to push some refs to 'mirror::fork'
    ");
    assert_eq!(fork.project.tip("side"), fork.tip("ours", "main"));
    assert_eq!(asked_for_atomicity(&fork), [false, false]);
    fork.is_sound();
}

#[test]
fn yes_lets_the_tracked_refs_of_any_push_stand_or_fall_together() {
    let fork = switched("yes");
    fork.project.hook("update", SAFE);
    let before = fork.project.refs();
    // It is as if each push had said --atomic.
    let ran = as_plain_git(&fork, &[], &["--atomic"]);
    insta::assert_snapshot!(ran.shown(), @"
    To mirror::fork
    !	refs/heads/main:refs/heads/main	[remote rejected] (atomic push failure)
    !	refs/heads/main:refs/heads/safe	[remote rejected] (hook declined)
    !	refs/heads/main:refs/heads/side	[remote rejected] (atomic push failure)
    Done
    --- stderr
    remote: GitLab: protected
    remote: error: hook declined to update refs/heads/safe
    error: failed to push some refs to 'mirror::fork'
    ");
    assert_eq!(fork.project.refs(), before);
    fork.gitlab.forget_requests();
    let ran = fork.push("ours", &["main", "main:side"]).ok();
    assert_eq!(asked_for_atomicity(&fork), [true], "{ran}");
    for name in ["main", "side"] {
        assert_eq!(fork.project.tip(name), fork.tip("ours", "main"));
    }
    fork.is_sound();
}

#[test]
fn yes_leaves_local_refs_of_the_same_push_to_themselves() {
    let fork = switched("yes");
    fork.project.hook("update", SAFE);
    let before = fork.project.refs();
    let args = ["main", "main:safe", "main:refs/heads/wip/x"];
    let ran = fork.push("ours", &args).code(1);
    says_of(&ran, &["wip/x"]);
    assert_eq!(fork.project.refs(), before);
    assert_eq!(
        fork.mirror_tip("refs/heads/wip/x"),
        fork.tip("ours", "main")
    );
    // Nor does a local one that is refused keep the tracked ones from upstream.
    let args = ["main", "main:side", "main:refs/heads/wip/x/y"];
    let ran = fork.push("ours", &args).code(1);
    insta::assert_snapshot!(ran.shown(), @"
    To mirror::fork
       [oid]..[oid]  main -> main
       [oid]..[oid]  main -> side
     ! [remote rejected] main -> wip/x/y ('refs/heads/wip/x' exists)
    error: failed to push some refs to 'mirror::fork'
    ");
    assert_eq!(fork.project.tip("main"), fork.tip("ours", "main"));
    assert_eq!(fork.project.tip("side"), fork.tip("ours", "main"));
    fork.is_sound();
}

#[test]
fn yes_and_a_push_that_says_atomic_take_local_refs_along() {
    let fork = switched("yes");
    fork.project.hook("update", SAFE);
    let args = ["--atomic", "main", "main:safe", "main:refs/heads/wip/x"];
    let ran = fork.upstream_stays(|| fork.push("ours", &args).code(1));
    says_of(&ran, &[]);
    assert_eq!(fork.mirror_tip("refs/heads/wip/x"), None);
    let args = ["--atomic", "main", "main:side", "main:refs/heads/wip/x"];
    stayed(fork.push("ours", &args), &["wip/x"]);
    fork.is_sound();
}

#[test]
fn yes_refuses_all_tracked_refs_when_one_is_refused_before_upstream_is_asked() {
    let fork = switched("yes");
    let hidden = "main:refs/upstream/heads/x";
    let args = ["push", "--porcelain", "origin", "main", hidden];
    fork.gitlab.forget_requests();
    let ran = fork.upstream_stays(|| fork.ours(&args).code(1));
    assert_eq!(fork.pushes_seen(), 0, "{ran}");
    insta::assert_snapshot!(ran.shown(), @"
    To mirror::fork
    !	refs/heads/main:refs/heads/main	[remote rejected] (atomic push failure)
    !	refs/heads/main:refs/upstream/heads/x	[remote rejected] (deny updating a hidden ref)
    Done
    --- stderr
    error: failed to push some refs to 'mirror::fork'
    ");
    fork.is_sound();
}

#[test]
fn yes_refuses_all_tracked_refs_when_somebody_moved_one_meanwhile() {
    let fork = switched("yes");
    fork.ours(&["fetch", "-q"]).ok();
    let paused = fork.gitlab.pause(tests::On::PushInfoRefs);
    let push = fork
        .push("ours", &["--porcelain", "main", "main:side"])
        .start();
    paused.reached();
    fork.project.commit("side", "theirs", "theirs");
    let before = fork.project.refs();
    paused.release();
    let ran = push.wait();
    assert_eq!(ran.status.code(), Some(1), "{ran}");
    insta::assert_snapshot!(ran.shown(), @"
    To mirror::fork
    !	refs/heads/main:refs/heads/main	[remote rejected] (atomic push failure)
    !	refs/heads/main:refs/heads/side	[remote rejected] (stale info)
    Done
    --- stderr
    error: failed to push some refs to 'mirror::fork'
    ");
    assert_eq!(fork.project.refs(), before);
    fork.is_sound();
}

#[test]
fn no_never_asks_upstream_for_atomicity() {
    let fork = switched("no");
    fork.project.hook("update", SAFE);
    as_plain_git(&fork, &[], &[]);
    fork.gitlab.forget_requests();
    fork.commit("ours", "more");
    fork.push("ours", &["main", "main:side", "main:new"]).ok();
    fork.commit("ours", "again");
    fork.push("ours", &["--atomic", "main"]).ok();
    assert_eq!(asked_for_atomicity(&fork), [false, false]);
    fork.is_sound();
}

#[test]
fn no_refuses_an_atomic_push_of_several_tracked_refs_with_the_reason() {
    let fork = switched("no");
    fork.gitlab.forget_requests();
    let args = ["--atomic", "main", "main:side", "main:refs/heads/wip/x"];
    let ran = fork.upstream_stays(|| fork.push("ours", &args).code(1));
    assert_eq!(fork.pushes_seen(), 0, "{ran}");
    insta::assert_snapshot!(ran.shown(), @"
    To mirror::fork
     ! [remote rejected] main -> main (this mirror asks upstream for no atomic push; 'mirrord set fork --atomic auto' lets it)
     ! [remote rejected] main -> side (this mirror asks upstream for no atomic push; 'mirrord set fork --atomic auto' lets it)
     ! [remote rejected] main -> wip/x (atomic push failure)
    error: failed to push some refs to 'mirror::fork'
    ");
    assert_eq!(fork.mirror_tip("refs/heads/wip/x"), None);
    // The way out, as it is printed.
    fork.set("fork", &["--atomic", "auto"]).ok();
    stayed(fork.push("ours", &args), &["wip/x"]);
    fork.is_sound();
}

#[test]
fn no_lets_an_atomic_push_of_one_tracked_ref_and_local_ones() {
    let fork = switched("no");
    let args = ["--atomic", "main", "main:refs/heads/wip/x"];
    stayed(fork.push("ours", &args), &["wip/x"]);
    assert_eq!(fork.project.tip("main"), fork.tip("ours", "main"));
    fork.project.hook("update", "exit 1");
    fork.commit("ours", "more");
    let args = [
        "--atomic",
        "main",
        "main:refs/heads/wip/y",
        "+main:refs/heads/wip/x",
    ];
    let before = fork.mirror_tip("refs/heads/wip/x");
    let ran = fork.upstream_stays(|| fork.push("ours", &args).code(1));
    insta::assert_snapshot!(ran.shown(), @"
    remote: error: hook declined to update refs/heads/main
    To mirror::fork
     ! [remote rejected] main -> main (hook declined)
     ! [remote rejected] main -> wip/x (atomic push failure)
     ! [remote rejected] main -> wip/y (atomic push failure)
    error: failed to push some refs to 'mirror::fork'
    ");
    assert_eq!(fork.mirror_tip("refs/heads/wip/x"), before);
    assert_eq!(fork.mirror_tip("refs/heads/wip/y"), None);
    fork.is_sound();
}

#[test]
fn an_upstream_that_cannot_gets_a_clear_error_with_the_way_out() {
    let fork = switched("yes");
    fork.project.config("receive.advertiseAtomic", "false");
    let args = ["main", "main:side", "main:refs/heads/wip/x"];
    let ran = fork.upstream_stays(|| fork.push("ours", &args).code(1));
    insta::assert_snapshot!(ran.shown(), @"
    remote: fatal: the receiving end does not support --atomic push
    remote: hint: this mirror is set to push all or nothing; to leave that to 'git push --atomic':
    remote: hint: mirrord set fork --atomic auto
    remote: hint: this mirror is set to push all or nothing; to leave that to 'git push --atomic':
    remote: hint: mirrord set fork --atomic auto
    remote: wip/x is local to this mirror; not sent to 127.0.0.1
    To mirror::fork
     * [new branch]      main -> wip/x
     ! [remote rejected] main -> main (the receiving end does not support --atomic push)
     ! [remote rejected] main -> side (the receiving end does not support --atomic push)
    error: failed to push some refs to 'mirror::fork'
    ");
    // The way out, as it is printed.
    fork.set("fork", &["--atomic", "auto"]).ok();
    fork.push("ours", &["main", "main:side"]).ok();
    for name in ["main", "side"] {
        assert_eq!(fork.project.tip(name), fork.tip("ours", "main"));
    }
}

#[test]
fn an_upstream_that_cannot_still_takes_one_ref_at_a_time() {
    let fork = switched("yes");
    fork.project.config("receive.advertiseAtomic", "false");
    stayed(
        fork.push("ours", &["main", "main:refs/heads/wip/x"]),
        &["wip/x"],
    );
    assert_eq!(fork.project.tip("main"), fork.tip("ours", "main"));
}

#[test]
fn a_push_to_an_upstream_without_atomic_pushes_is_answered_as_by_plain_git() {
    let fork = switched("auto");
    fork.project.config("receive.advertiseAtomic", "false");
    let refs = ["main", "main:side"];
    let before = fork.project.refs();
    let plain = [["push", "--atomic", &fork.url].as_slice(), &refs].concat();
    let plain = fork.ours(&plain).fails();
    let ours = fork
        .push("ours", &[["--atomic"].as_slice(), &refs].concat())
        .fails();
    insta::assert_snapshot!(plain.shown(), @"
    fatal: the receiving end does not support --atomic push
    fatal: the remote end hung up unexpectedly
    error: failed to push some refs to 'http://gitlab.example/group/project.git'
    ");
    insta::assert_snapshot!(ours.shown(), @"
    remote: fatal: the receiving end does not support --atomic push
    To mirror::fork
     ! [remote rejected] main -> main (the receiving end does not support --atomic push)
     ! [remote rejected] main -> side (the receiving end does not support --atomic push)
    error: failed to push some refs to 'mirror::fork'
    ");
    assert_eq!(fork.project.refs(), before);
    // Where all of it stays here, nobody upstream needs to be able to.
    let args = ["--atomic", "main:refs/heads/wip/x", "main:refs/heads/wip/y"];
    stayed(fork.push("ours", &args), &["wip/x", "wip/y"]);
}
