//! The steps about pushes and large files.

use tests::{Fault, On};

use super::{passes, step, testing, untested, with_login};

#[test]
fn the_steps_about_pushes_show_what_upstream_offers() {
    let stage = untested();
    for key in ["advertiseAtomic", "advertisePushOptions"] {
        stage.project.config(&format!("receive.{key}"), "false");
    }
    stage.gitlab.switch_lfs_off();
    let report = passes(testing(&stage, &[]));
    insta::assert_snapshot!(report, @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    ok     signed in  [time]  anonymous
    ok     may read  [time]  2 branches, 1 tag, default branch main
    ok     may push  [time]  as far as upstream tells beforehand
    FAILED atomic pushes  [time]  not advertised
    FAILED push options  [time]  not advertised
    FAILED LFS endpoint  [time]  none
    ok     refspecs  [time]  3 refs: main, topic, v1
    a mirror of 'http://gitlab.example/group/project.git' would work
    ");
}

#[test]
fn a_project_with_many_refs_is_not_read_twice() {
    let stage = untested();
    stage.project.many_refs(3000);
    let report = passes(testing(&stage, &[]));
    insta::assert_snapshot!(report, @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    ok     signed in  [time]  anonymous
    ok     may read  [time]  3002 branches, 1 tag, default branch main
    ok     may push  [time]  as far as upstream tells beforehand
    ok     atomic pushes  [time]  advertised
    ok     push options  [time]  advertised
    ok     LFS endpoint  [time]  http://gitlab.example/group/project.git/info/lfs
    ok     refspecs  [time]  3003 refs: main, many/000001, many/000002 and 3000 more
    a mirror of 'http://gitlab.example/group/project.git' would work
    ");
}

#[test]
fn a_server_that_does_not_know_says_so_and_decides_nothing() {
    let stage = untested();
    stage.gitlab.fault(Fault::status(503).on(On::PushInfoRefs));
    let report = passes(testing(&stage, &[]));
    insta::assert_snapshot!(report, @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    ok     signed in  [time]  anonymous
    ok     may read  [time]  2 branches, 1 tag, default branch main
    -      may push  [time]  error 503
    ok     LFS endpoint  [time]  http://gitlab.example/group/project.git/info/lfs
    ok     refspecs  [time]  3 refs: main, topic, v1
    a mirror of 'http://gitlab.example/group/project.git' would work
    ");
    stage.gitlab.clear_faults();
    stage.gitlab.fault(Fault::hang_up().on(On::PushInfoRefs));
    let report = passes(testing(&stage, &[]));
    insta::assert_snapshot!(step(&report, "may push"), @"-      may push  [time]  the connection was cut");
    insta::assert_snapshot!(step(&report, "LFS endpoint"), @"ok     LFS endpoint  [time]  http://gitlab.example/group/project.git/info/lfs");
}

#[test]
fn no_question_follows_a_redirect() {
    let stage = untested();
    stage.gitlab.require_login("group/project", "me", "right");
    let other = stage.world.gitlab();
    other.project("group/project").commit("main", "a", "a");
    let there = other.url("group/project");
    for (on, tail) in [
        (On::PushInfoRefs, "info/refs?service=git-receive-pack"),
        (On::Lfs, "info/lfs/objects/batch"),
    ] {
        let redirect = Fault::redirect(307, &format!("{there}/{tail}"));
        stage.gitlab.fault(redirect.on(on));
    }
    let typed = with_login(&stage, "me:right");
    let report = passes(stage.mirrord(&["test", &typed]));
    insta::assert_snapshot!(step(&report, "may push"), @"-      may push  [time]  error 307");
    insta::assert_snapshot!(step(&report, "LFS endpoint"), @"FAILED LFS endpoint  [time]  none");
    assert!(other.requests().is_empty(), "the login stays where it is");
}
