//! While the alarm stands, upstream is asked and nothing more: nothing is downloaded again, whoever comes.

use tests::{Project, Request};

use super::{alarmed, cloned, empty, fetch, mirror_has, replace};

fn downloads(requests: &[Request]) -> Vec<&Request> {
    let asks = |request: &&Request| request.body_text().contains("command=fetch");
    requests.iter().filter(asks).collect()
}

#[test]
fn a_fetch_costs_one_request_while_the_alarm_stands() {
    let (stage, _) = cloned();
    for wipe in [empty, |project: &Project| replace(project, 300)] {
        wipe(&stage.project);
        alarmed(fetch(&stage));
        stage.gitlab.forget_requests();
        for _ in 0..3 {
            alarmed(fetch(&stage));
        }
        let requests = stage.gitlab.requests();
        assert_eq!(requests.len(), 3, "{requests:?}");
        let lists = |request: &Request| request.body_text().contains("command=ls-refs");
        assert!(requests.iter().all(lists), "{requests:?}");
    }
}

#[test]
fn objects_that_were_downloaded_before_the_alarm_are_not_downloaded_again_by_accept() {
    let (stage, _) = cloned();
    replace(&stage.project, 300);
    alarmed(fetch(&stage));
    stage.gitlab.forget_requests();
    stage.world.kill_daemon();
    alarmed(fetch(&stage));
    stage.mirrord(&["accept", "project"]).ok();
    let requests = stage.gitlab.requests();
    assert!(downloads(&requests).is_empty(), "{requests:?}");
    mirror_has(&stage, &stage.project.refs());
}

#[test]
fn an_upstream_that_goes_on_under_the_alarm_sends_only_what_is_new() {
    let (stage, had) = cloned();
    replace(&stage.project, 300);
    stage.gitlab.forget_requests();
    alarmed(fetch(&stage));
    let all = stage.gitlab.requests();
    let all = downloads(&all)[0].response_bytes;
    for content in ["one", "two", "three"] {
        stage.project.commit("main", "small", content);
        stage.gitlab.forget_requests();
        alarmed(fetch(&stage));
        let requests = stage.gitlab.requests();
        let new: u64 = downloads(&requests)
            .iter()
            .map(|request| request.response_bytes)
            .sum();
        assert!(
            new * 10 < all,
            "one small commit costs {new} bytes, and all of it was {all}"
        );
    }
    mirror_has(&stage, &had);
}
