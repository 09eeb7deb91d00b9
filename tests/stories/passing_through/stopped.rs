//! Clones that are passed through and come to no end: the client, the user or upstream stops.

use super::*;

#[test]
fn a_client_that_is_killed_while_it_passes_through_leaves_no_process() {
    let stage = Stage::new(|project| {
        let noise: String = (0..900_000).map(|number| format!("{number:x}")).collect();
        project.commit("main", "large", &noise);
    });
    stage.gitlab.fault(Fault::rate_limit(200_000));
    let clone = stage
        .clone(&stage.url, "ours")
        .args(["--no-quiet", "--depth=1"])
        .start();
    stage.gitlab.wait_for(|requests| {
        let fetches = requests
            .iter()
            .filter(|request| request.body_text().contains("command=fetch"));
        fetches
            .into_iter()
            .any(|request| request.response_bytes > 50_000)
    });
    // The helper is left alone; the world looks whether anything is left running.
    clone.kill(Signal::KILL);
    clone.wait();
    no_mirror_is_made(&stage.world);
}

#[test]
fn a_clone_that_is_interrupted_leaves_nothing_and_no_mirror_is_made() {
    let stage = Stage::new(fill);
    let paused = stage.gitlab.pause(On::Fetch);
    let clone = stage
        .clone(&stage.url, "ours")
        .args(["--no-quiet", "--depth=1"])
        .start();
    paused.reached();
    clone.kill_group(Signal::INT);
    let ran = clone.wait();
    assert!(!ran.status.success(), "{ran}");
    assert!(!stage.world.path("ours").exists(), "{ran}");
    paused.release();
    no_mirror_is_made(&stage.world);
}

#[test]
fn an_upstream_that_breaks_off_is_told_as_by_git() {
    let stage = Stage::new(|project| {
        project.history(4);
        let noise: String = (0..200_000).map(|number| format!("{number:x}")).collect();
        project.commit("main", "large", &noise);
    });
    let (world, url) = (&stage.world, &stage.url);
    stage.gitlab.fault(Fault::cut_answer_after(100_000));
    let plain = ["clone", "-q", "--depth=1", url, "plain"];
    let plain = world.git(plain).fails();
    let ran = stage
        .clone(&stage.url, "ours")
        .args(["-q", "--depth=1"])
        .fails();
    let messages = |stderr: &str| {
        let lines = stderr
            .lines()
            .filter(|line| !line.contains("bytes of body"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(messages(&ran.stderr), messages(&plain.stderr));
    assert!(!world.path("ours").exists());
    no_mirror_is_made(world);
}
