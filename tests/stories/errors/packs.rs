//! Errors about a pack that is cut, damaged or incomplete.

use tests::{Fault, On, Project, World};

use super::{clone_fails, fill, nothing_is_left_and_the_next_try_works, one_error, url};

#[test]
fn the_connection_is_cut_in_the_middle_of_the_pack() {
    for bytes in [0, 10, 500, 2000] {
        clone_fails(Fault::cut_after(bytes).on(On::Fetch), "cannot reach");
    }
}

#[test]
fn the_pack_is_damaged_on_the_way() {
    for byte in [300, 700, 1500, 3000] {
        let world = World::new();
        let gitlab = world.gitlab();
        fill(&gitlab);
        gitlab.fault(Fault::flip_at(byte).on(On::Fetch));
        let ran = world.git(["clone", &url(&gitlab), "clone"]).run();
        // A bit of the words on the side band may flip without harm.
        if !ran.status.success() {
            one_error(&ran, "");
            nothing_is_left_and_the_next_try_works(&world, &gitlab);
        }
        world.git(["fsck", "--full", "--strict"]).at("clone").ok();
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
    let world = World::new();
    let gitlab = world.gitlab();
    let project = gitlab.project("group/project");
    project.commit("main", "a", "this blob will be missing");
    gitlab.fault(without_blobs(&world, &project));
    let ran = world.git(["clone", &url(&gitlab), "clone"]).code(128);
    one_error(&ran, "did not send all necessary objects");
    nothing_is_left_and_the_next_try_works(&world, &gitlab);
}

#[test]
fn a_pack_that_lacks_an_object_is_refused_and_the_old_refs_stay() {
    let world = World::new();
    let gitlab = world.gitlab();
    let project = gitlab.project("group/project");
    project.commit("main", "a", "a");
    world.git(["clone", "--quiet", &url(&gitlab), "clone"]).ok();
    let before = world.git(["ls-remote", &url(&gitlab)]).ok().stdout;
    project.commit("main", "b", "this blob will be missing");
    gitlab.fault(without_blobs(&world, &project));
    let ran = world.git(["fetch"]).at("clone").ok();
    assert!(
        ran.stderr.contains("warning: "),
        "an old answer says that it is one: {ran}"
    );
    let after = world.git(["ls-remote", &url(&gitlab)]).ok().stdout;
    assert_eq!(before, after, "what is incomplete is not published");
    world
        .git(["fsck", "--full", "--strict"])
        .at(world.only_mirror())
        .ok();
}
