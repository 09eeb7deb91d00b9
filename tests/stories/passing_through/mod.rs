//! The first clone of a part of a project that has no mirror yet comes straight from upstream, and the mirror is made after
//! it.

mod over_ssh;
mod stopped;

use std::{fs, thread::yield_now, time::Instant};

use rustix::process::Signal;
use tests::{Fault, On, Request, World};

use crate::{
    clone::{fill, listed},
    linked::EVENT_TIMEOUT,
    stage::Stage,
};

/// The bodies of the requests for objects, with who asked: git itself, or the daemon.
pub(crate) fn fetches(requests: &[Request]) -> Vec<(bool, String)> {
    let of_git = |request: &Request| {
        let agent = request.header("user-agent").unwrap_or_default();
        agent.starts_with("git/") && !agent.contains("mirror")
    };
    let fetches = requests
        .iter()
        .filter(|request| request.body_text().contains("command=fetch"));
    fetches
        .map(|request| (of_git(request), request.body_text()))
        .collect()
}

/// Waits until there is a mirror, in step.
#[track_caller]
pub(crate) fn mirror_is_made(world: &World) {
    let deadline = Instant::now() + EVENT_TIMEOUT;
    // A first clone that is still under way has a name, and no place.
    while listed(world, "git_dir").is_empty() {
        assert!(Instant::now() < deadline, "no mirror is made");
        yield_now();
    }
}

#[track_caller]
fn no_mirror_is_made(world: &World) {
    world.mirrord(["stop"]).ok();
    assert_eq!(listed(world, "name"), [""; 0]);
}

#[test]
fn a_part_comes_at_once_and_the_mirror_is_made_after_it() {
    for options in [
        &["--depth=1"][..],
        &["--depth=2", "--no-single-branch"],
        &["--depth=1", "--filter=blob:none"],
        &["--single-branch", "--branch", "topic"],
    ] {
        let stage = Stage::new(fill);
        let Stage { world, url, .. } = &stage;
        stage.gitlab.forget_requests();
        stage
            .clone(&stage.url, "ours")
            .arg("--quiet")
            .args(options)
            .ok();
        let first = fetches(&stage.gitlab.requests());
        assert!(first[0].0, "git asks for what is wanted: {first:?}");
        mirror_is_made(world);
        let all = fetches(&stage.gitlab.requests());
        let by_daemon: Vec<_> = all.iter().filter(|(of_git, _)| !of_git).collect();
        assert_eq!(by_daemon.len(), 1, "and the daemon for the whole: {all:?}");
        assert!(!by_daemon[0].1.contains("deepen"));
        let before = all.len();
        // From now on it is a mirror like any other.
        let twins = world.clone_twins(url, options);
        let after = fetches(&stage.gitlab.requests());
        let ours = after[before..].iter().filter(|(of_git, _)| *of_git);
        assert_eq!(ours.count(), after.len() - before, "{after:?}");
        tests::same_clone(world, &world.path("ours"), twins.plain());
        stage.project.commit("main", "later", "later");
        world.git(["pull", "-q"]).at("ours").ok();
        world.git(["fsck", "--strict"]).at("ours").ok();
    }
}

#[test]
fn a_clone_whose_pack_git_indexes_slowly_gets_its_mirror_too() {
    let stage = Stage::with_tls(fill);
    let world = &stage.world;
    let real = world.git(["--exec-path"]).ok();
    let real = real.line();
    let slow = format!(
        "#!/bin/sh\ncase \" $* \" in *' index-pack '*) sleep 2;; esac\nexec {real}/git \"$@\"\n"
    );
    world.script("exec/git", &slow);
    let link = format!("ln -s {real}/git-* \"$0\"");
    let exec = world.path("exec");
    world.program("sh", ["-c", &link]).arg(&exec).ok();
    let clone = stage.clone(&stage.url, "ours").args(["-q", "--depth=1"]);
    clone.env("GIT_EXEC_PATH", exec).ok();
    let lfs = stage.ours(&["config", "remote.origin.lfsurl"]).ok();
    assert_eq!(lfs.line(), format!("{}/info/lfs", stage.url));
    mirror_is_made(world);
}

#[test]
fn a_clone_that_asks_for_refs_by_name_gets_its_mirror_too() {
    let stage = Stage::new(fill);
    stage.project.config("uploadpack.allowRefInWant", "true");
    let twins = stage.world.clone_twins(&stage.url, &["--single-branch"]);
    mirror_is_made(&stage.world);
    twins.same();
}

#[test]
fn of_an_empty_project_upstream_is_asked_what_there_is_and_no_more() {
    let stage = Stage::new(|_| ());
    let ran = stage
        .clone(&stage.url, "ours")
        .args(["--no-quiet", "--depth=1"])
        .ok();
    insta::assert_snapshot!(ran.shown(), @r"
        Cloning into 'ours'...
        warning: You appear to have cloned an empty repository.
    ");
    assert_eq!(stage.gitlab.requests().len(), 2);
}

#[test]
fn a_clone_that_passes_through_is_like_a_plain_one() {
    for options in [
        &["--depth=1"][..],
        &["--depth=3", "--no-single-branch"],
        &["--single-branch"],
        &["--single-branch", "--no-tags", "--bare"],
    ] {
        let stage = Stage::new(fill);
        let twins = stage.world.clone_twins(&stage.url, options);
        mirror_is_made(&stage.world);
        twins.git(&["fetch", "-q"]);
        twins.same();
    }
    let stage = Stage::new(fill);
    let twins = stage.world.twins(&["init", "-q"]);
    let address = format!("mirror::{}", stage.url);
    twins.git(&["remote", "add", "origin", &address]);
    twins.git(&["fetch", "-q", "--depth=2", "origin", "topic"]);
    twins.git(&["checkout", "-q", "FETCH_HEAD"]);
    twins.same();
}

#[test]
fn a_clone_of_the_whole_with_a_filter_or_with_pass_through_off_waits_for_the_mirror() {
    for (setting, options) in [
        ("yes", &[][..]),
        ("yes", &["--filter=blob:none", "--no-checkout"]),
        ("no", &["--depth=1"]),
        ("no", &["--single-branch"]),
    ] {
        let stage = Stage::new(fill);
        stage
            .world
            .mirrord(["config", "pass-through", setting])
            .ok();
        stage
            .clone(&stage.url, "ours")
            .arg("--quiet")
            .args(options)
            .ok();
        assert_eq!(listed(&stage.world, "name").len(), 1);
        let all = fetches(&stage.gitlab.requests());
        assert!(all.iter().all(|(of_git, _)| !of_git), "{all:?}");
    }
}

#[test]
fn a_project_with_a_mirror_under_another_spelling_gets_no_second_one() {
    let stage = Stage::new(fill);
    stage.clone(&stage.url, "whole").arg("--quiet").ok();
    let stem = stage.url.trim_end_matches(".git");
    let part = stage.clone(stem, "part");
    part.args(["--quiet", "--depth=1"]).ok();
    assert_eq!(listed(&stage.world, "name").len(), 1);
}

#[test]
fn a_login_that_git_knows_is_known_to_both() {
    let private = Stage::private().with_helper("right");
    private.clone(&private.url, "ours").arg("--depth=1").ok();
    mirror_is_made(&private.world);
    private.fetch("ours").ok();
}

#[test]
fn a_login_that_stands_in_the_url_is_told_to_the_daemon_alone() {
    let private = Stage::private();
    let url = private.url.replace("http://", "mirror::http://me:right@");
    let clone = ["clone", "-q", "--depth=1", &url, "ours"];
    private.world.git(clone).ok();
    let all = fetches(&private.gitlab.requests());
    assert!(all.iter().all(|(of_git, _)| !of_git), "{all:?}");
}

#[test]
fn errors_of_a_clone_are_the_same_with_and_without_passing_through() {
    let result = |setting: &str, fault: &dyn Fn(&Stage)| {
        let stage = Stage::new(fill);
        stage
            .world
            .mirrord(["config", "pass-through", setting])
            .ok();
        fault(&stage);
        let ran = stage
            .clone(&stage.url, "ours")
            .args(["--no-quiet", "--depth=1"])
            .run();
        assert!(!stage.world.path("ours").exists() || ran.status.success());
        let stderr = ran.stderr.replace(&stage.gitlab.host(), "HOST");
        (ran.status.code(), stderr)
    };
    let faults: [&dyn Fn(&Stage); 5] = [
        &|stage| stage.gitlab.stop(),
        &|stage| stage.gitlab.delete_project("group/project"),
        &|stage| stage.gitlab.require_login("group/project", "me", "right"),
        &|stage| stage.gitlab.fault(Fault::status(503)),
        &|stage| stage.gitlab.fault(Fault::old_protocol()),
    ];
    for fault in faults {
        assert_eq!(result("yes", fault), result("no", fault));
    }
}

#[test]
fn a_redirected_clone_takes_no_login_along_and_waits_for_the_mirror() {
    let private = Stage::private().with_helper("right");
    let target = "/elsewhere/project.git/info/refs?service=git-upload-pack";
    private.gitlab.fault(Fault::redirect(302, target));
    private.clone(&private.url, "ours").arg("--depth=1").run();
    let elsewhere = private.gitlab.requests();
    let elsewhere = elsewhere
        .iter()
        .filter(|request| request.path.starts_with("/elsewhere"));
    assert!(
        elsewhere
            .clone()
            .all(|request| request.authorization.is_none())
    );
}

#[test]
fn a_part_that_upstream_does_not_give_makes_no_mirror() {
    let stage = Stage::new(fill);
    stage.gitlab.fault(Fault::status(500).on(On::Fetch));
    let ran = stage
        .clone(&stage.url, "ours")
        .args(["-q", "--depth=1"])
        .fails();
    insta::assert_snapshot!(ran.shown(), @"
    error: RPC failed; HTTP 500 curl 22 The requested URL returned error: 500
    fatal: the remote end hung up unexpectedly
    ");
    assert!(!stage.world.path("ours").exists());
    stage.gitlab.clear_faults();
    no_mirror_is_made(&stage.world);
}

#[test]
fn an_upstream_that_does_not_answer_a_connection_is_given_up() {
    let stage = Stage::new(fill);
    stage.world.config("http.lowSpeedTime", "1");
    stage.gitlab.vanish();
    let ran = stage
        .clone(&stage.url, "ours")
        .args(["--no-quiet", "--depth=1"])
        .code(128);
    insta::assert_snapshot!(ran.shown(), @r"
        Cloning into 'ours'...
        error: cannot reach 'http://gitlab.example/group/project.git': no answer for [time]
    ");
    no_mirror_is_made(&stage.world);
}

#[test]
fn a_person_reads_where_to_sign_in_while_it_is_waited_for() {
    let private = Stage::private();
    let pipe = private.world.path("signed-in");
    let helper = private.world.path("bin/browser");
    private.world.script(
        "bin/browser",
        &format!(
            "#!/bin/sh\n[ $1 = get ] || exit 0\nif mkdir {0}.once; then printf 'sign in at PAGE: ' >&2; read _ <{0}; fi\n\
             echo username=me\necho password=right\n",
            pipe.display()
        ),
    );
    private
        .world
        .config("credential.helper", &helper.to_string_lossy());
    private.world.program("mkfifo", [&pipe]).ok();
    let clone = private.clone(&private.url, "ours").arg("--depth=1").start();
    clone.printed("sign in at PAGE");
    fs::write(pipe, "yes").expect("somebody waits for it");
    let ran = clone.wait();
    assert!(ran.status.success(), "{ran}");
}

#[test]
fn a_process_that_a_credential_helper_leaves_running_is_not_waited_for() {
    let private = Stage::private();
    let pipe = private.world.path("hold");
    let script = format!(
        "#!/bin/sh\n[ $1 = get ] || exit 0\nif mkdir {0}.once; then cat {0} >/dev/null & fi\n\
         echo username=me\necho password=right\n",
        pipe.display()
    );
    private.world.script("bin/browser", &script);
    let helper = private.world.path("bin/browser");
    private
        .world
        .config("credential.helper", &helper.to_string_lossy());
    private.world.program("mkfifo", [&pipe]).ok();
    private
        .clone(&private.url, "ours")
        .args(["-q", "--depth=1"])
        .ok();
    fs::write(pipe, "the end").expect("it has been left running");
}

#[test]
fn its_large_files_are_looked_for_where_they_are() {
    let stage = Stage::with_tls(fill);
    stage
        .clone(&stage.url, "ours")
        .args(["-q", "--depth=1"])
        .ok();
    let config = stage.ours(&["config", "remote.origin.lfsurl"]).ok();
    let expected = format!("{}/info/lfs", stage.url);
    assert_eq!(config.line(), expected);
    let stage = Stage::with_tls(|project| {
        drop(project.commit(
            "main",
            ".lfsconfig",
            "[lfs]\n\turl = https://lfs.example/\n",
        ));
    });
    stage
        .clone(&stage.url, "ours")
        .args(["-q", "--depth=1"])
        .ok();
    let config = stage.ours(&["config", "remote.origin.lfsurl"]).run();
    assert_eq!(config.stdout, "", "the project says where they are");
    let lfsconfig = fs::read_to_string(stage.world.path("ours/.lfsconfig"));
    assert!(lfsconfig.is_ok());
}
