//! Where no daemon can be had, somebody who routes all URLs through the mirror goes on as without it.

use crate::{clone::fill, socket::play_daemon, stage::Stage};

/// The greeting of a daemon of another version.
const OTHER_VERSION: &[u8; 8] = b"mirror\x00\x63";

/// Has a rule send the URLs of a stage's GitLab through the mirror, and clones the project by its URL.
fn routed() -> Stage {
    let stage = Stage::new(fill);
    let base = stage.gitlab.url("");
    let base = base.trim_end_matches(".git").trim_end_matches('/');
    stage
        .world
        .config(&format!("url.mirror::{base}.insteadOf"), base);
    stage.world.git(["clone", "-q", &stage.url, "ours"]).ok();
    assert_eq!(stage.world.mirrors().len(), 1, "it went through the mirror");
    stage
}

/// Stops the daemon, and lets one of another version answer so many times while `action` runs.
fn with_another_daemon<T>(stage: &Stage, times: usize, action: impl FnOnce() -> T) -> T {
    stage.mirrord(&["stop"]).ok();
    let daemon = play_daemon(stage, OTHER_VERSION, times);
    let done = action();
    daemon.join().expect("all came");
    done
}

#[test]
fn a_routed_url_is_fetched_and_pushed_to_with_a_warning() {
    let stage = routed();
    stage.project.commit("main", "later", "later");
    let ran = with_another_daemon(&stage, 1, || stage.ours(&["fetch", "-q"]).ok());
    let own_pid = std::process::id().to_string();
    let shown = ran.shown().replace(&own_pid, "[pid]");
    insta::assert_snapshot!(shown, @"
    warning: 'http://gitlab.example/group/project.git' is asked without its mirror: mirrord speaks version 99 of the protocol, this program version 12
    hint: stop it with 'kill [pid]'; the next command starts the installed one
    ");
    assert_eq!(
        stage.rev_parse("ours", "origin/main"),
        stage.upstream_tip("main")
    );
    stage.ours(&["merge", "-q", "origin/main"]).ok();
    let tip = stage.commit("ours", "mine");
    with_another_daemon(&stage, 1, || stage.push("ours", &["-q", "HEAD:main"]).ok());
    assert_eq!(stage.upstream_tip("main"), tip);
    // The mirror follows when there is a daemon again.
    assert_eq!(stage.ours(&["fetch", "-q"]).ok().stderr, "");
    assert_eq!(stage.mirror_tip("refs/heads/main"), Some(tip));
}

#[test]
fn what_is_typed_as_a_mirror_fails_unless_a_setting_says_otherwise() {
    let stage = Stage::new(fill).with_ours();
    with_another_daemon(&stage, 1, || stage.ours(&["fetch", "-q"]).fails());
    let open = ["-c", "mirror.failOpen=true", "fetch", "-q"];
    with_another_daemon(&stage, 1, || stage.ours(&open).ok());
    let stage = routed();
    let closed = ["-c", "mirror.failOpen=false", "fetch", "-q"];
    with_another_daemon(&stage, 1, || stage.ours(&closed).fails());
}

#[test]
fn a_mirror_with_something_of_its_own_is_never_passed_by() {
    let stage = routed();
    let open = ["-c", "mirror.failOpen=true", "fetch", "-q"];
    // A login of its own.
    stage
        .set(&stage.url, &["--username", "me", "--password-stdin"])
        .stdin("secret\n")
        .ok();
    with_another_daemon(&stage, 1, || stage.ours(&open).fails());
    stage.set(&stage.url, &["--forget-credential"]).ok();
    with_another_daemon(&stage, 1, || stage.ours(&open).ok());
    // A branch of its own.
    let old = stage.upstream_tip("main");
    stage.project.commit("topic", "rewritten", "rewritten");
    stage.ours(&["fetch", "-q"]).ok();
    stage.project.force("refs/heads/topic", &old);
    stage.ours(&["fetch", "-q"]).ok();
    let restore = ["restore", &stage.url, "topic", "--as", "mine"];
    stage.mirrord(&restore).ok();
    with_another_daemon(&stage, 1, || stage.ours(&open).fails());
}

#[test]
fn a_mirror_with_a_branch_that_differs_from_upstreams_is_never_passed_by() {
    let stage = routed();
    let open = ["-c", "mirror.failOpen=true", "fetch", "-q"];
    let old = stage.upstream_tip("main");
    let mine = stage.project.commit("topic", "rewritten", "rewritten");
    stage.ours(&["fetch", "-q"]).ok();
    stage.project.force("refs/heads/topic", &old);
    stage.ours(&["fetch", "-q"]).ok();
    let restore = ["restore", &stage.url, "topic", "--as", "mine"];
    stage.mirrord(&restore).ok();
    // By now upstream has a branch of that name, with another value.
    stage.project.force("refs/heads/mine", &old);
    stage.ours(&["fetch", "-q"]).ok();
    assert_eq!(stage.mirror_tip("refs/heads/mine"), Some(mine));
    with_another_daemon(&stage, 1, || stage.ours(&open).fails());
    // Where it is what upstream has, the mirror has nothing of its own.
    let delete = ["-q", "--delete", "mine"];
    stage.push("ours", &delete).ok();
    stage.project.force("refs/heads/mine", &old);
    stage.ours(&["fetch", "-q"]).ok();
    assert_eq!(stage.mirror_tip("refs/heads/mine"), Some(old));
    with_another_daemon(&stage, 1, || stage.ours(&open).ok());
}
