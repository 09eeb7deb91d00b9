//! Errors about a pack that is cut, damaged or incomplete.

use std::fmt::Write;

use tests::{Fault, On, Project, World};

use super::{fill, one_error};
use crate::stage::Stage;

#[test]
fn the_connection_is_cut_in_the_middle_of_the_pack() {
    let stage = Stage::new(fill);
    let mut all = String::new();
    for bytes in [0, 10, 500, 2000] {
        let fault = Fault::cut_after(bytes).on(On::Fetch);
        let ran = stage.first_clone_meets(&format!("cut after {bytes}"), fault);
        writeln!(all, "{bytes}: {}", ran.shown()).expect("into a string");
    }
    insta::assert_snapshot!(all, @"
    0: error: cannot reach 'http://gitlab.example/group/project.git': the connection was cut

    10: error: cannot reach 'http://gitlab.example/group/project.git': the connection was cut

    500: error: cannot reach 'http://gitlab.example/group/project.git': the connection was cut

    2000: error: cannot reach 'http://gitlab.example/group/project.git': the connection was cut
    ");
}

#[test]
fn the_pack_is_damaged_on_the_way() {
    for byte in [300, 700, 1500, 3000] {
        let stage = Stage::new(fill);
        stage.gitlab.fault(Fault::flip_at(byte).on(On::Fetch));
        let ran = stage.clone(&stage.url, "clone").run();
        // A bit of the words on the side band may flip without harm.
        if !ran.status.success() {
            one_error(&ran);
            stage.nothing_is_left_and_the_next_try_works();
        }
        stage.git("clone", &["fsck", "--full", "--strict"]).ok();
    }
}

/// The answer to a `fetch` of protocol v2 that carries this pack, in pkt-lines.
fn answer_with(pack: &[u8]) -> Vec<u8> {
    let mut answer = b"000dpackfile\n".to_vec();
    for piece in pack.chunks(60_000) {
        answer.extend(format!("{:04x}\x01", piece.len() + 5).bytes());
        answer.extend(piece);
    }
    answer.extend(b"0000");
    answer
}

/// Upstream answers with a sound pack of its last commit in which the blobs are missing.
fn without_blobs(world: &World, project: &Project) -> Fault {
    let id = |name: &str| project.git(["rev-parse", name]).ok().line().to_owned();
    let listed = format!("{}\n{}\n", id("main"), id("main^{tree}"));
    let base = world.path("incomplete");
    let packed = project
        .git(["pack-objects", "--quiet"])
        .arg(&base)
        .stdin(listed)
        .ok();
    let pack =
        std::fs::read(world.path(format!("incomplete-{}.pack", packed.line()))).expect("packed");
    Fault::status(200)
        .header("Content-Type", "application/x-git-upload-pack-result")
        .body(answer_with(&pack))
        .on(On::Fetch)
}

#[test]
fn a_first_pack_that_lacks_an_object_makes_no_mirror() {
    let lacking = "this blob will be missing";
    let stage = Stage::new(|project| drop(project.commit("main", "a", lacking)));
    stage
        .gitlab
        .fault(without_blobs(&stage.world, &stage.project));
    insta::assert_snapshot!(stage.first_clone_fails().shown(), @"error: upstream did not send all necessary objects: [oid] is missing");
    stage.nothing_is_left_and_the_next_try_works();
}

#[test]
fn a_pack_that_lacks_an_object_is_refused_and_the_old_refs_stay() {
    let stage = Stage::new(|project| drop(project.commit("main", "a", "a")));
    stage.clone(&stage.url, "ours").ok();
    let before = stage.ls_remote().ok().stdout;
    stage
        .project
        .commit("main", "b", "this blob will be missing");
    stage
        .gitlab
        .fault(without_blobs(&stage.world, &stage.project));
    insta::assert_snapshot!(stage.fetch("ours").ok().shown(), @"warning: 'refs/heads/main' is left as it was: upstream did not send all necessary objects: missing blob object '[oid]'");
    let after = stage.ls_remote().ok().stdout;
    assert_eq!(before, after, "what is incomplete is not published");
    stage.is_sound();
}
