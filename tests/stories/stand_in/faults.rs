//! The stand-in's faults are what plain git sees.

use std::time::{Duration, Instant};

use tests::{Fault, On, Signal};

use super::{another, plain, with_history};
use crate::stage::{Stage, check};

#[test]
#[cfg_attr(not(curl), ignore = "needs curl")]
fn each_fault_takes_effect_where_it_is_wanted_and_ends() {
    let stage = with_history();
    let (world, gitlab, url) = (&stage.world, &stage.gitlab, &stage.url);
    let ls_remote = || plain(&stage, &["ls-remote"]);
    let clone = |dir: &str| world.git(["clone", "-q", url, dir]);
    // Plays a check, with no fault and no request before it.
    let check = |name: &str, play: &dyn Fn()| {
        gitlab.clear_faults();
        gitlab.forget_requests();
        check(name, play);
    };
    check("faults come in the order they were made", &|| {
        let throttled = Fault::status(429).header("Retry-After", "7");
        let throttled = throttled.body("Retry later\n");
        gitlab.fault(throttled.on(On::InfoRefs).times(1));
        gitlab.fault(Fault::status(503).on(On::InfoRefs).times(1));
        for status in ["429", "503"] {
            let ran = ls_remote().fails();
            assert!(ran.stderr.contains(status), "{ran}");
        }
        ls_remote().ok();
    });
    check("a fault may be for one project", &|| {
        let (_, other) = another(&stage, "group/other");
        gitlab.fault(Fault::status(500).project("group/other"));
        ls_remote().ok();
        world.git(["ls-remote", &other]).fails();
    });
    check("a pack that is cut is no clone", &|| {
        gitlab.fault(Fault::cut_after(2000).on(On::Fetch));
        clone("cut").fails();
        let requests = gitlab.requests();
        let fetch = requests.last().expect("there was a fetch");
        assert_eq!(fetch.response_bytes, 2000);
        assert!(!fetch.finished && !fetch.cancelled);
        gitlab.clear_faults();
        clone("cut").ok();
    });
    check("all bytes before a cut arrive", &|| {
        gitlab.fault(Fault::cut_after(30).on(On::InfoRefs));
        let info_refs = format!("{url}/info/refs?service=git-upload-pack");
        let ran = world.program("curl", ["-s", &info_refs]).code(18);
        assert_eq!(ran.stdout.len(), 30, "{ran}");
    });
    check("a flipped bit is noticed", &|| {
        gitlab.fault(Fault::flip_at(3000).on(On::Fetch));
        clone("flipped").fails();
    });
    check("a server hangs up", &|| {
        gitlab.fault(Fault::hang_up().on(On::Fetch));
        clone("hung-up").fails();
    });
    check("a captive portal is no repository", &|| {
        gitlab.fault(Fault::html());
        let ran = ls_remote().fails();
        assert!(ran.stderr.contains("not valid"), "{ran}");
    });
    check("an old server speaks version 0", &|| {
        gitlab.fault(Fault::old_protocol());
        clone("old").ok();
        let requests = gitlab.requests();
        assert_eq!(requests.len(), 2, "no ls-refs");
        assert!(!requests[1].body_text().contains("command="));
    });
    check("a slow line takes its time", &|| {
        gitlab.fault(Fault::rate_limit(50_000).on(On::Fetch));
        let begin = Instant::now();
        clone("slow").ok();
        let bytes = gitlab.requests()[2].response_bytes;
        assert!(begin.elapsed() >= Duration::from_millis(bytes / 50));
    });
    check("a redirect leads to another host", &|| {
        let other = world.gitlab();
        let away = format!("{url}/info/refs?service=git-upload-pack");
        other.fault(Fault::redirect(302, &away).on(On::InfoRefs));
        world.git(["ls-remote", &other.url("old/place")]).ok();
        assert_eq!(other.requests().len(), 1);
        assert_eq!(gitlab.requests().len(), 2);
    });
}

#[test]
fn what_hangs_goes_on_when_it_is_released_and_a_client_that_goes_away_is_noticed() {
    let stage = with_history();
    let (world, gitlab, url) = (&stage.world, &stage.gitlab, &stage.url);
    let clone = |dir: &str| world.git(["clone", "-q", url, dir]).start();
    check("before, after and amid an answer", || {
        gitlab.fault(Fault::hang_before_headers().on(On::InfoRefs).times(1));
        gitlab.fault(Fault::hang_after_headers().on(On::LsRefs).times(1));
        gitlab.fault(Fault::hang_after(500).on(On::Fetch).times(1));
        let cloning = clone("released");
        gitlab.wait_for(|requests| requests.len() == 1);
        gitlab.release();
        gitlab.wait_for(|requests| requests.get(1).is_some_and(|it| it.status.is_some()));
        gitlab.release();
        gitlab.wait_for(|requests| requests.get(2).is_some_and(|it| it.response_bytes == 500));
        gitlab.clear_faults();
        assert!(cloning.wait().status.success());
    });
    check("a client that goes away before an answer", || {
        gitlab.forget_requests();
        gitlab.fault(Fault::hang_before_headers().on(On::LsRefs));
        let listing = plain(&stage, &["ls-remote"]).start();
        gitlab.wait_for(|requests| requests.len() == 2);
        listing.kill_group(Signal::KILL);
        gitlab.wait_for(|requests| requests[1].cancelled);
    });
    check("a client that goes away amid an answer", || {
        gitlab.clear_faults();
        gitlab.forget_requests();
        gitlab.fault(Fault::hang_after(500).on(On::Fetch));
        let cloning = clone("gone");
        gitlab.wait_for(|requests| requests.get(2).is_some_and(|it| it.response_bytes == 500));
        cloning.kill_group(Signal::TERM);
        gitlab.wait_for(|requests| requests[2].cancelled);
    });
    check("a TLS connection before anything is read", || {
        let stage = Stage::with_tls(|_| ());
        stage.gitlab.fault(Fault::hang_on_accept());
        let listing = plain(&stage, &["ls-remote"]).start();
        stage.gitlab.wait_for_connections(1);
        assert_eq!(stage.gitlab.requests().len(), 0);
        stage.gitlab.clear_faults();
        assert!(listing.wait().status.success());
    });
}

#[test]
fn a_push_is_cut_before_or_after_its_work_is_done() {
    let stage = with_history();
    plain(&stage, &["clone", "-q"]).arg("clone").ok();
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
        stage.gitlab.fault(fault.clone().on(On::Push));
        stage
            .push("clone", &["-q", &format!("main:{branch}")])
            .fails();
        stage.gitlab.clear_faults();
        let is_there = stage.project.tip(&branch).is_some();
        assert_eq!(is_there, arrives, "{fault:?}");
    }
    // A request that is shorter than the cut goes through.
    let long = Fault::cut_request_after(1 << 20);
    stage.gitlab.fault(long.on(On::Push));
    stage.push("clone", &["-q", "main:new"]).ok();
}
