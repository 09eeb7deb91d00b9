//! When a token expires is known where GitLab tells, and said before it is too late.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::stage::Stage;

/// The date so many days from now, as GitLab writes it, with one day to spare for midnight.
fn in_days(private: &Stage, days: i64) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    let then = now.as_secs().cast_signed() + days * 24 * 60 * 60;
    let date = private
        .world
        .program("date", ["-u", "+%Y-%m-%d", "-d", &format!("@{then}")]);
    date.ok().line().to_owned()
}

/// Waits until the output of `mirrord` has this text: there is no event for the daemon's knowledge of an expiry.
#[track_caller]
fn says(private: &Stage, args: &[&str], text: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let ran = private.world.mirrord(args).ok();
        if ran.stdout.contains(text) {
            return;
        }
        assert!(Instant::now() < deadline, "never said '{text}': {ran}");
    }
}

#[test]
fn a_token_that_is_about_to_expire_is_said_to_in_show_and_status() {
    let private = Stage::private();
    let date = in_days(&private, 3);
    private.gitlab.expires("right", Some(&date));
    private.add_with_password("project", "right").ok();
    says(
        &private,
        &["show", "project"],
        &format!("token: expires on {date}, in "),
    );
    says(
        &private,
        &["show", "project", "--json"],
        &format!("\"token_expires\": \"{date}\""),
    );
    let warning = format!("warning: the token of project expires on {date}, in ");
    says(&private, &["status"], &warning);
    says(
        &private,
        &["status", "--json"],
        &format!("\"expires\": \"{date}\""),
    );
    // Once a day is enough.
    private.gitlab.forget_requests();
    private.look_at("project").ok();
    private.world.mirrord(["stop"]).ok();
    private.look_at("project").ok();
    private.world.mirrord(["stop"]).ok();
    let received = private.gitlab.requests();
    let received = received
        .iter()
        .filter(|request| request.path.starts_with("/api/"));
    assert_eq!(received.count(), 0);
}

#[test]
fn a_token_with_time_left_is_told_and_not_warned_of() {
    let private = Stage::private();
    let date = in_days(&private, 40);
    private.gitlab.expires("right", Some(&date));
    private.add_with_password("project", "right").ok();
    says(
        &private,
        &["show", "project"],
        &format!("token: expires on {date}\n"),
    );
    let status = private.world.mirrord(["status"]).ok();
    insta::assert_snapshot!(status.shown().replace(&date, "DATE"), @"
    mirrord 0.1.0 runs as process [pid] for [time]
    socket:  /world/m/socket
    webhook: off
    mirrors: 1 in /world/m/mirrors
    clients: 0, 0 of them waiting for a sync
    disk:    [size] of [size]

    project  in step [time] ago; next sync in [time]; [size]
    token:   that of project expires on DATE
    ");
    // Of another one, nothing is known yet.
    private.gitlab.require_login("group/project", "me", "new");
    private.gitlab.expires("new", None);
    private.set_password("project", "new").ok();
    assert_eq!(private.shown("project", "token"), [""; 0]);
}

#[test]
fn a_host_that_does_not_tell_when_tokens_expire_is_asked_once() {
    let private = Stage::private();
    private.add_with_password("project", "right").ok();
    let asks = |request: &tests::Request| request.path.starts_with("/api/");
    private.gitlab.wait_for(|requests| {
        requests
            .iter()
            .any(|request| asks(request) && request.finished)
    });
    for _ in 0..3 {
        private.look_at("project").ok();
    }
    assert_eq!(private.shown("project", "token"), [""; 0]);
    let requests = private.gitlab.requests();
    assert_eq!(requests.iter().filter(|request| asks(request)).count(), 1);
}
