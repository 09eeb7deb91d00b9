//! The stand-in's faults are what plain git sees.

use std::time::{Duration, Instant};

use tests::{Fault, GitLab, On, Signal, World};

fn world_with_history() -> (World, GitLab, String) {
    let world = World::new();
    let gitlab = world.gitlab();
    gitlab.project("group/project").history(100);
    let url = gitlab.url("group/project");
    (world, gitlab, url)
}

#[test]
fn faults_come_in_the_order_they_were_made() {
    let (world, gitlab, url) = world_with_history();
    let throttled = Fault::status(429)
        .header("Retry-After", "7")
        .body("Retry later\n");
    gitlab.fault(throttled.on(On::InfoRefs).times(1));
    gitlab.fault(Fault::status(503).on(On::InfoRefs).times(1));
    let ran = world.git(["ls-remote", &url]).fails();
    assert!(ran.stderr.contains("429"), "{ran}");
    let ran = world.git(["ls-remote", &url]).fails();
    assert!(ran.stderr.contains("503"), "{ran}");
    world.git(["ls-remote", &url]).ok();
}

#[test]
fn a_fault_may_be_for_one_project() {
    let (world, gitlab, url) = world_with_history();
    gitlab.project("group/other");
    gitlab.fault(Fault::status(500).project("group/other"));
    world.git(["ls-remote", &url]).ok();
    world.git(["ls-remote", &gitlab.url("group/other")]).fails();
}

#[test]
fn a_pack_cut_in_the_middle_is_no_clone() {
    let (world, gitlab, url) = world_with_history();
    gitlab.fault(Fault::cut_after(2000).on(On::Fetch));
    world.git(["clone", "-q", &url, "clone"]).fails();
    let requests = gitlab.requests();
    let fetch = requests.last().expect("there was a fetch");
    assert_eq!(fetch.response_bytes, 2000);
    assert!(!fetch.finished && !fetch.cancelled);
    gitlab.clear_faults();
    world.git(["clone", "-q", &url, "clone"]).ok();
}

#[test]
fn all_bytes_before_a_cut_arrive() {
    let (world, gitlab, url) = world_with_history();
    gitlab.fault(Fault::cut_after(30).on(On::InfoRefs));
    let info_refs = format!("{url}/info/refs?service=git-upload-pack");
    let ran = world.program("curl", ["-s", &info_refs]).code(18);
    assert_eq!(ran.stdout.len(), 30, "{ran}");
}

#[test]
fn a_flipped_bit_is_noticed() {
    let (world, gitlab, url) = world_with_history();
    gitlab.fault(Fault::flip_at(3000).on(On::Fetch));
    world.git(["clone", "-q", &url, "clone"]).fails();
}

#[test]
fn a_request_that_hangs_goes_on_when_it_is_released() {
    let (world, gitlab, url) = world_with_history();
    gitlab.fault(Fault::hang_before_headers().on(On::InfoRefs).times(1));
    gitlab.fault(Fault::hang_after_headers().on(On::LsRefs).times(1));
    gitlab.fault(Fault::hang_after(500).on(On::Fetch).times(1));
    let clone = world.git(["clone", "-q", &url, "clone"]).start();
    gitlab.wait_for(|requests| requests.len() == 1);
    gitlab.release();
    gitlab.wait_for(|requests| requests.get(1).is_some_and(|it| it.status.is_some()));
    gitlab.release();
    gitlab.wait_for(|requests| requests.get(2).is_some_and(|it| it.response_bytes == 500));
    gitlab.clear_faults();
    assert!(clone.wait().status.success());
}

#[test]
fn a_connection_may_hang_before_anything_is_read() {
    let world = World::new();
    let gitlab = world.gitlab_tls();
    gitlab.project("group/project");
    world.config("http.sslCAInfo", &gitlab.ca_file().to_string_lossy());
    gitlab.fault(Fault::hang_on_accept());
    let asking = world
        .git(["ls-remote", &gitlab.url("group/project")])
        .start();
    gitlab.wait_for_connections(1);
    assert_eq!(gitlab.requests().len(), 0);
    gitlab.clear_faults();
    assert!(asking.wait().status.success());
}

#[test]
fn a_client_that_goes_away_is_noticed() {
    let (world, gitlab, url) = world_with_history();
    gitlab.fault(Fault::hang_before_headers().on(On::LsRefs));
    gitlab.fault(Fault::hang_after(500).on(On::Fetch));
    let asking = world.git(["ls-remote", &url]).start();
    gitlab.wait_for(|requests| requests.len() == 2);
    asking.kill_group(Signal::KILL);
    gitlab.wait_for(|requests| requests[1].cancelled);

    gitlab.clear_faults();
    gitlab.forget_requests();
    gitlab.fault(Fault::hang_after(500).on(On::Fetch));
    let cloning = world.git(["clone", "-q", &url, "clone"]).start();
    gitlab.wait_for(|requests| requests.get(2).is_some_and(|it| it.response_bytes == 500));
    cloning.kill_group(Signal::TERM);
    gitlab.wait_for(|requests| requests[2].cancelled);
}

#[test]
fn a_redirect_leads_to_another_host() {
    let (world, gitlab, url) = world_with_history();
    let other = world.gitlab();
    let away = format!("{url}/info/refs?service=git-upload-pack");
    other.fault(Fault::redirect(302, &away).on(On::InfoRefs));
    world.git(["ls-remote", &other.url("old/place")]).ok();
    assert_eq!(other.requests().len(), 1);
    assert_eq!(gitlab.requests().len(), 2);
}

#[test]
fn a_captive_portal_is_no_repository() {
    let (world, gitlab, url) = world_with_history();
    gitlab.fault(Fault::html());
    let ran = world.git(["ls-remote", &url]).fails();
    assert!(ran.stderr.contains("not valid"), "{ran}");
}

#[test]
fn a_server_may_hang_up() {
    let (world, gitlab, url) = world_with_history();
    gitlab.fault(Fault::hang_up().on(On::Fetch));
    world.git(["clone", "-q", &url, "clone"]).fails();
}

#[test]
fn an_old_server_speaks_version_0() {
    let (world, gitlab, url) = world_with_history();
    gitlab.fault(Fault::old_protocol());
    world.git(["clone", "-q", &url, "clone"]).ok();
    let requests = gitlab.requests();
    assert_eq!(requests.len(), 2, "no ls-refs");
    assert!(!requests[1].body_text().contains("command="));
}

#[test]
fn a_slow_line_takes_its_time() {
    let (world, gitlab, url) = world_with_history();
    gitlab.fault(Fault::rate_limit(50_000).on(On::Fetch));
    let begin = Instant::now();
    world.git(["clone", "-q", &url, "clone"]).ok();
    let bytes = gitlab.requests()[2].response_bytes;
    assert!(begin.elapsed() >= Duration::from_millis(bytes / 50));
}

#[test]
fn closed_connections_are_opened_anew() {
    let (world, gitlab, url) = world_with_history();
    let paused = gitlab.pause(On::LsRefs);
    let asking = world.git(["ls-remote", &url]).start();
    paused.reached();
    gitlab.close_connections();
    assert!(
        asking.wait().status.success(),
        "curl tries again when a connection that was in use before is closed"
    );
    assert_eq!(gitlab.connections(), 2);
}

#[test]
fn a_push_is_cut_before_or_after_its_work_is_done() {
    let (world, gitlab, url) = world_with_history();
    world.git(["clone", "-q", &url, "clone"]).ok();
    let faults = [
        (Fault::cut_request_after(0), false),
        (Fault::cut_request_after(100), false),
        (Fault::cut_after_request(), false),
        (Fault::cut_after_work(), true),
        (Fault::cut_answer_after(0), true),
        (Fault::cut_answer_after(20), true),
    ];
    for (number, (fault, arrives)) in faults.into_iter().enumerate() {
        let branch = format!("b{number}");
        let push = ["push", "-q", "origin", &format!("main:{branch}")];
        gitlab.fault(fault.clone().on(On::Push));
        world.git(push).at("clone").fails();
        gitlab.clear_faults();
        let listed = world.git(["ls-remote", &url, &branch]).ok();
        assert_eq!(!listed.stdout.is_empty(), arrives, "{fault:?}: {listed}");
    }
}

#[test]
fn a_request_that_is_shorter_than_the_cut_is_let_through() {
    let (world, gitlab, url) = world_with_history();
    world.git(["clone", "-q", &url, "clone"]).ok();
    gitlab.fault(Fault::cut_request_after(1 << 20).on(On::Push));
    let push = ["push", "-q", "origin", "main:new"];
    world.git(push).at("clone").ok();
}
