//! The steps about pushes and large files.

use tests::{Fault, On};

use super::{Stage, step_detail};

#[test]
fn the_steps_about_pushes_show_what_upstream_offers() {
    let stage = Stage::new();
    let label = ["atomic pushes", "push options"];
    for (at, key) in ["advertiseAtomic", "advertisePushOptions"]
        .iter()
        .enumerate()
    {
        stage.project.config(&format!("receive.{key}"), "false");
        let ran = stage.testing(&[]).ok();
        assert_eq!(step_detail(&ran, "FAILED", label[at]), "not advertised");
        stage.project.config(&format!("receive.{key}"), "true");
        let ran = stage.testing(&[]).ok();
        assert_eq!(step_detail(&ran, "ok", label[at]), "advertised");
    }
}

#[test]
fn a_project_with_many_refs_is_not_read_twice() {
    let stage = Stage::new();
    stage.project.many_refs(3000);
    let ran = stage.testing(&[]).ok();
    step_detail(&ran, "ok", "may push");
    let args = step_detail(&ran, "ok", "refspecs");
    assert!(args.starts_with("3003 refs: "), "{ran}");
    assert!(args.ends_with(" and 3000 more"), "{ran}");
}

#[test]
fn large_files_may_be_switched_off() {
    let stage = Stage::new();
    stage.gitlab.switch_lfs_off();
    let ran = stage.testing(&[]).ok();
    assert_eq!(step_detail(&ran, "FAILED", "LFS endpoint"), "none");
}

#[test]
fn a_server_that_does_not_know_says_so_and_decides_nothing() {
    let stage = Stage::new();
    stage.gitlab.fault(Fault::status(503).on(On::PushInfoRefs));
    let ran = stage.testing(&[]).ok();
    assert_eq!(step_detail(&ran, "-", "may push"), "error 503");
    stage.gitlab.clear_faults();
    stage.gitlab.fault(Fault::hang_up().on(On::PushInfoRefs));
    let ran = stage.testing(&[]).ok();
    assert!(step_detail(&ran, "-", "may push").contains("cut"), "{ran}");
    step_detail(&ran, "ok", "LFS endpoint");
}

#[test]
fn no_question_follows_a_redirect() {
    let stage = Stage::new();
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
    let typed = stage.with_login("me:right");
    let ran = stage.world.mirrord(["test", &typed]).ok();
    assert_eq!(step_detail(&ran, "-", "may push"), "error 307");
    step_detail(&ran, "FAILED", "LFS endpoint");
    assert!(other.requests().is_empty(), "the login stays where it is");
}
