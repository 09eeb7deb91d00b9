//! `mirrord test`: what works and what does not, step by step, and nothing is changed by it.

mod adding;
mod logins;
mod offers;
mod over_ssh;
mod reaching;

use tests::{On, Project, Run, Signal, World, shown};

use crate::stage::Stage;

/// A project with two branches and a tag, of which nobody has a mirror.
fn untested() -> Stage {
    Stage::new(fill)
}

fn fill(project: &Project) {
    project.history(3);
    project.branch("topic", "main~1");
    project.annotated_tag("v1", "main");
}

/// Prepares a test of the project.
fn testing(stage: &Stage, options: &[&str]) -> Run {
    stage.mirrord(&[&["test", &stage.url], options].concat())
}

/// The URL of the project, with a login in it.
fn with_login(stage: &Stage, login: &str) -> String {
    stage.url.replace("://", &format!("://{login}@"))
}

/// What a test says that passes.
#[track_caller]
fn passes(run: Run) -> String {
    let ran = run.ok();
    assert_eq!(ran.stderr, "", "{ran}");
    ran.shown()
}

/// What a test says that fails. A report is no error.
#[track_caller]
fn fails(run: Run) -> String {
    let ran = run.code(1);
    assert_eq!(ran.stderr, "", "{ran}");
    ran.shown()
}

/// The line of a report about one step.
#[track_caller]
fn step(report: &str, label: &str) -> String {
    let line = report.lines().find(|line| line.contains(label));
    line.unwrap_or_else(|| panic!("no step '{label}': {report}"))
        .to_owned()
}

/// The labels of the steps of a report, each with its time.
fn labels(report: &str) -> Vec<String> {
    let label = |line: &str| Some(line.get(7..)?.split_once(" [time]")?.0.trim().to_owned());
    let steps = report.lines().filter(|line| line.contains(" [time]"));
    steps.filter_map(label).collect()
}

#[test]
fn a_test_that_passes_prints_each_step_and_changes_nothing() {
    let stage = untested();
    let report = stage.upstream_stays(|| passes(testing(&stage, &[])));
    insta::assert_snapshot!(report, @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    ok     signed in  [time]  anonymous
    ok     may read  [time]  2 branches, 1 tag, default branch main
    ok     may push  [time]  as far as upstream tells beforehand
    ok     atomic pushes  [time]  advertised
    ok     push options  [time]  advertised
    ok     LFS endpoint  [time]  http://gitlab.example/group/project.git/info/lfs
    ok     refspecs  [time]  3 refs: main, topic, v1
    a mirror of 'http://gitlab.example/group/project.git' would work
    ");
    assert_eq!(stage.world.mirrors(), [""; 0], "no mirror is made");
    let received = stage.gitlab.requests();
    let posts = received.iter().filter(|request| request.method == "POST");
    let paths: Vec<_> = posts.map(|request| request.path.as_str()).collect();
    let expected = ["git-upload-pack", "info/lfs/objects/batch"];
    let expected = expected.map(|below| format!("/group/project.git/{below}"));
    assert_eq!(paths, expected, "nothing is downloaded or pushed");
}

#[test]
fn scripts_get_one_object() {
    let stage = untested();
    let report = passes(testing(&stage, &["--json"]));
    insta::assert_snapshot!(report, @r#"
    {
      "steps": [
        {
          "detail": "127.0.0.1",
          "hint": null,
          "milliseconds": [time],
          "outcome": "passed",
          "step": "resolve"
        },
        {
          "detail": "gitlab.example",
          "hint": null,
          "milliseconds": [time],
          "outcome": "passed",
          "step": "connect"
        },
        {
          "detail": "anonymous",
          "hint": null,
          "milliseconds": [time],
          "outcome": "passed",
          "step": "sign-in"
        },
        {
          "detail": "2 branches, 1 tag, default branch main",
          "hint": null,
          "milliseconds": [time],
          "outcome": "passed",
          "step": "read"
        },
        {
          "detail": "as far as upstream tells beforehand",
          "hint": null,
          "milliseconds": [time],
          "outcome": "passed",
          "step": "push"
        },
        {
          "detail": "advertised",
          "hint": null,
          "milliseconds": [time],
          "outcome": "passed",
          "step": "atomic"
        },
        {
          "detail": "advertised",
          "hint": null,
          "milliseconds": [time],
          "outcome": "passed",
          "step": "push-options"
        },
        {
          "detail": "http://gitlab.example/group/project.git/info/lfs",
          "hint": null,
          "milliseconds": [time],
          "outcome": "passed",
          "step": "lfs"
        },
        {
          "detail": "3 refs: main, topic, v1",
          "hint": null,
          "milliseconds": [time],
          "outcome": "passed",
          "step": "refspecs"
        }
      ],
      "url": "http://gitlab.example/group/project.git",
      "works": true
    }
    "#);
    stage.gitlab.stop();
    let report = fails(testing(&stage, &["--json"]));
    insta::assert_snapshot!(report, @r#"
    {
      "steps": [
        {
          "detail": "127.0.0.1",
          "hint": null,
          "milliseconds": [time],
          "outcome": "passed",
          "step": "resolve"
        },
        {
          "detail": "connection refused",
          "hint": null,
          "milliseconds": [time],
          "outcome": "failed",
          "step": "connect"
        }
      ],
      "url": "http://gitlab.example/group/project.git",
      "works": false
    }
    "#);
}

#[test]
fn a_terminal_that_can_show_them_gets_marks() {
    let stage = untested();
    stage.gitlab.switch_lfs_off();
    let report = passes(testing(&stage, &[]).env("LC_ALL", "C.UTF-8"));
    insta::assert_snapshot!(report, @"
    ✓ name resolved  [time]  127.0.0.1
    ✓ connected  [time]  gitlab.example
    ✓ signed in  [time]  anonymous
    ✓ may read  [time]  2 branches, 1 tag, default branch main
    ✓ may push  [time]  as far as upstream tells beforehand
    ✓ atomic pushes  [time]  advertised
    ✓ push options  [time]  advertised
    ✗ LFS endpoint  [time]  none
    ✓ refspecs  [time]  3 refs: main, topic, v1
    a mirror of 'http://gitlab.example/group/project.git' would work
    ");
}

#[test]
fn a_mirror_is_tested_by_its_name_with_its_own_settings() {
    let stage = untested().mirrored("work", &["--track", "+refs/heads/main"]);
    let mirror = stage.world.only_mirror();
    let refs = || {
        let refs = stage.world.git(["for-each-ref"]).at(&mirror).ok();
        (refs.stdout, stage.world.mirrors())
    };
    let before = refs();
    stage.project.commit("main", "new", "new");
    let test = |args: &[&str]| stage.mirrord(&[&["test"], args].concat());
    let report = passes(test(&["work"]));
    insta::assert_snapshot!(report, @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    ok     signed in  [time]  anonymous
    ok     may read  [time]  2 branches, 1 tag, default branch main
    ok     may push  [time]  as far as upstream tells beforehand
    ok     atomic pushes  [time]  advertised
    ok     push options  [time]  advertised
    ok     LFS endpoint  [time]  http://gitlab.example/group/project.git/info/lfs
    ok     refspecs  [time]  1 ref: main
    a mirror of 'http://gitlab.example/group/project.git' would work
    ");
    assert_eq!(passes(test(&["mirror::work"])), report);
    let other = passes(test(&["work", "--track", "+refs/tags/*"]));
    insta::assert_snapshot!(step(&other, "refspecs"), @"ok     refspecs  [time]  1 ref: v1");
    assert_eq!(refs(), before, "the mirror is as it was");
    let unknown = test(&["play"]).code(1);
    insta::assert_snapshot!(unknown.shown(), @"
    error: no mirror is called 'play'
    hint: 'mirrord list' shows them; a URL makes a new one: mirror::https://HOST/GROUP/PROJECT.git
    ");
}

#[test]
fn a_refspec_that_matches_nothing_is_said_and_does_not_decide() {
    let stage = untested();
    let track = ["--track", "+refs/heads/main", "--track", "+refs/heads/mian"];
    let report = passes(testing(&stage, &track));
    insta::assert_snapshot!(report, @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    ok     signed in  [time]  anonymous
    ok     may read  [time]  2 branches, 1 tag, default branch main
    ok     may push  [time]  as far as upstream tells beforehand
    ok     atomic pushes  [time]  advertised
    ok     push options  [time]  advertised
    ok     LFS endpoint  [time]  http://gitlab.example/group/project.git/info/lfs
    FAILED refspecs  [time]  1 ref: main; '+refs/heads/mian:refs/heads/mian' matches nothing
    hint: this shows what there is: git ls-remote http://gitlab.example/group/project.git
    a mirror of 'http://gitlab.example/group/project.git' would work
    ");
    let wrong = ["--track", "refs/heads/*:refs/heads/one"];
    testing(&stage, &wrong).code(2);
}

#[test]
fn refspecs_elsewhere_are_matched_too() {
    let stage = untested();
    let name = "refs/merge-requests/1/head";
    stage.project.git(["update-ref", name, "main"]).ok();
    let track = ["--track", "+refs/merge-requests/*"];
    let report = passes(testing(&stage, &track));
    insta::assert_snapshot!(step(&report, "may read"), @"ok     may read  [time]  2 branches, 1 tag, default branch main");
    insta::assert_snapshot!(step(&report, "refspecs"), @"ok     refspecs  [time]  1 ref: refs/merge-requests/1/head");
}

#[test]
fn an_empty_upstream_works() {
    let stage = Stage::new(|_| ());
    let report = passes(testing(&stage, &[]));
    insta::assert_snapshot!(step(&report, "may read"), @"ok     may read  [time]  it is empty, default branch main");
    insta::assert_snapshot!(step(&report, "refspecs"), @"ok     refspecs  [time]  no refs");
}

#[test]
fn a_path_is_tested_without_a_network() {
    let world = World::new();
    let project = world.project("project.git");
    project.commit("main", "a", "a");
    let before = project.refs();
    let path = project.dir().to_string_lossy().into_owned();
    let report = passes(world.mirrord(["test", &path]));
    insta::assert_snapshot!(report, @"
    ok     may read  [time]  1 branch, 0 tags, default branch main
    ok     may push  [time]  as far as upstream tells beforehand
    ok     atomic pushes  [time]  advertised
    FAILED push options  [time]  not advertised
    -      LFS endpoint  [time]  not asked on this machine
    ok     refspecs  [time]  1 ref: main
    a mirror of 'file:///world/project.git' would work
    ");
    assert_eq!(project.refs(), before);
    let nowhere = world.path("not/there").to_string_lossy().into_owned();
    let report = fails(world.mirrord(["test", &nowhere]));
    insta::assert_snapshot!(report, @"
    FAILED may read  [time]  '/world/not/there' does not appear to be a git repository
    a mirror of 'file:///world/not/there' would not work
    ");
}

#[test]
fn an_interrupted_test_leaves_nothing() {
    for on in [On::LsRefs, On::PushInfoRefs] {
        let stage = untested();
        let paused = stage.gitlab.pause_answer(on);
        let test = testing(&stage, &[]).start();
        paused.reached();
        test.kill_group(Signal::INT);
        let ran = test.wait();
        assert!(!ran.status.success(), "{ran}");
        let cancelled = |asked: &[tests::Request]| asked.iter().any(|one| one.cancelled);
        stage.gitlab.wait_for(cancelled);
        drop(paused);
        assert_eq!(stage.world.mirrors(), [""; 0]);
        testing(&stage, &[]).ok();
    }
}

#[test]
fn a_daemon_that_stops_ends_a_test_with_an_error() {
    let stage = untested();
    let paused = stage.gitlab.pause_answer(On::LsRefs);
    let test = testing(&stage, &[]).start();
    paused.reached();
    stage.mirrord(&["stop"]).ok();
    let ran = test.wait();
    assert_eq!(ran.status.code(), Some(1), "{ran}");
    let (steps, error) = (shown(&ran.stdout), shown(&ran.stderr));
    insta::assert_snapshot!(tests::shown(&steps), @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    ");
    insta::assert_snapshot!(error, @"
    error: mirrord was stopped before the sync was done
    hint: the same command again starts it anew
    ");
}
