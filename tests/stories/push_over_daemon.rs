//! Pushes to an upstream on the web that go over the daemon's connection: what upstream is asked for, and what it gets.

use tests::{Fault, GitLab, On, Ran, Request};

use crate::push_pair::Pair;

/// A pair whose mirror knows what upstream can do.
fn pair() -> Pair {
    let pair = Pair::http();
    pair.commit("first");
    pair.pushes(&["origin", "main"]);
    pair
}

fn gitlab(pair: &Pair) -> &GitLab {
    pair.gitlab.as_ref().expect("it is on the web")
}

/// Pushes, and returns what each side has asked for: ours, and plain git.
fn push(pair: &Pair, args: &[&str]) -> [Vec<Request>; 2] {
    gitlab(pair).forget_requests();
    let ran: Ran = pair.run("", &[&["push"], args].concat());
    assert!(ran.status.success(), "{ran}");
    let requests = gitlab(pair).requests();
    ["/ours.git/", "/plain.git/"].map(|side| {
        let of_side = requests.iter().filter(|one| one.path.contains(side));
        of_side.cloned().collect()
    })
}

/// The services that were asked for, and by whom.
fn asked(requests: &[Request]) -> Vec<(&str, &str)> {
    let one = |request: &'_ Request| {
        let agent = request
            .headers
            .iter()
            .find(|(name, _)| name == "user-agent");
        let is_daemon = agent.is_some_and(|(_, value)| value.contains("mirrord"));
        let services = ["git-upload-pack", "git-receive-pack", "info/refs"];
        let service = services
            .iter()
            .find(|service| request.path.ends_with(**service));
        (
            if is_daemon { "daemon" } else { "git" },
            *service.expect("git asks for nothing else"),
        )
    };
    requests.iter().map(one).collect()
}

#[test]
fn a_push_is_one_request_on_the_connection_that_has_just_asked_what_is_new() {
    let pair = pair();
    pair.commit("second");
    let [ours, _] = push(&pair, &["origin", "main", "main:refs/heads/made", ":topic"]);
    let request = [
        ("daemon", "git-upload-pack"),
        ("daemon", "git-receive-pack"),
    ];
    assert_eq!(asked(&ours), request);
    assert_eq!(ours[0].connection, ours[1].connection);
    pair.same();
    // No pack follows.
    let [ours, _] = push(&pair, &["origin", ":made"]);
    assert_eq!(asked(&ours), request);
    pair.same();
    // Upstream is asked what it can do where a push depends on that.
    pair.commit("third");
    for args in [
        &["--atomic", "origin", "main", "main:refs/heads/more"][..],
        &["-o", "ci.skip", "origin", "main:refs/heads/other"],
    ] {
        let [ours, _] = push(&pair, args);
        let with_question = [request[0], ("daemon", "info/refs"), request[1]];
        assert_eq!(asked(&ours), with_question, "{args:?}");
        pair.same();
    }
}

#[test]
fn a_push_sends_no_more_than_plain_git_does() {
    let pair = pair();
    pair.commit("second");
    for args in [["origin", "main:refs/heads/made"], ["origin", "main"]] {
        let sent = push(&pair, &args).map(|side| side.last().expect("it was pushed").body.len());
        // The two name themselves in different words.
        assert!(sent[0] <= sent[1] + 50, "{args:?}: {sent:?}");
    }
    pair.same();
}

#[test]
fn a_push_of_more_than_git_sends_at_once_goes_in_chunks() {
    let pair = pair();
    let script = "head -c 3000000 /dev/urandom >large && git add large && git commit -qm large";
    pair.world.program("sh", ["-c", script]).at("ours").ok();
    let pull = ["pull", "-q", "--ff-only", "../ours", "main"];
    pair.world.git(pull).at("plain").ok();
    let [ours, plain] = push(&pair, &["origin", "main"]);
    let request = [
        ("daemon", "git-upload-pack"),
        ("daemon", "git-receive-pack"),
    ];
    assert_eq!(asked(&ours), request);
    for side in [ours, plain] {
        let push = side.last().expect("it was pushed");
        let chunked = ("transfer-encoding".to_owned(), "chunked".to_owned());
        assert!(push.headers.contains(&chunked), "{:?}", push.headers);
    }
    pair.same();
}

#[test]
fn a_push_that_upstream_does_not_take_from_the_daemon_is_sent_by_git() {
    let pair = pair();
    for status in [307, 400, 404, 411, 413] {
        pair.commit(&status.to_string());
        // The first of them is the daemon's.
        gitlab(&pair).fault(Fault::status(status).on(On::Push).times(1));
        let [ours, _] = push(&pair, &["origin", "main"]);
        let by_git = [
            ("daemon", "git-upload-pack"),
            ("daemon", "git-receive-pack"),
            ("git", "info/refs"),
            ("git", "git-receive-pack"),
        ];
        assert_eq!(asked(&ours), by_git, "{status}");
    }
    pair.same();
}

#[test]
fn what_upstream_has_accepted_stays_so_when_the_rest_cannot_be_sent_again() {
    let pair = pair();
    pair.commit("second");
    let paused = gitlab(&pair).pause(On::Push);
    let push = ["push", "--porcelain", "origin", "main", "+main:topic"];
    let push = pair.world.git(push).at("ours").start();
    paused.reached();
    let theirs = pair.projects[0].commit("topic", "theirs", "theirs");
    gitlab(&pair).fault(Fault::status(503).on(On::PushInfoRefs));
    paused.release();
    let ran = push.wait();
    assert_eq!(ran.status.code(), Some(1), "{ran}");
    assert!(ran.stdout.contains("(failed to update ref)"), "{ran}");
    let main = pair.world.git(["rev-parse", "main"]).at("ours").ok();
    assert_eq!(pair.projects[0].tip("main").as_deref(), Some(main.line()));
    assert_eq!(pair.projects[0].tip("topic"), Some(theirs));
    let accepted = ran
        .stdout
        .lines()
        .find(|line| line.contains(":refs/heads/main"));
    assert!(accepted.is_some_and(|line| line.starts_with(' ')), "{ran}");
}
