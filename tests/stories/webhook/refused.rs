//! Requests that are not valid deliveries, and the answers to them.

use std::time::Instant;

use tests::Delivery;

use super::{Shown, webhook_on};

#[test]
fn every_invalid_delivery_has_its_own_answer_and_none_starts_a_sync() {
    let stage = webhook_on();
    let right = stage.delivery();
    let Shown { url, token } = stage.webhook();
    let base = url.rsplit_once('/').expect("a path").0.to_owned();
    let other = format!("{base}/0123456789abcdef0123456789abcdef");
    let long = "x".repeat((1 << 20) + 1);
    let of_length = |body: &str| Delivery::of_gitlab(&url, "Push Hook", body).token(&token);
    stage.gitlab.forget_requests();
    let table = [
        (401, "no token", right.clone().without("X-Gitlab-Token")),
        (401, "another token", right.clone().token("another")),
        (401, "part of it", right.clone().token(&token[1..])),
        (
            401,
            "it and more",
            right.clone().token(&format!("{token}x")),
        ),
        (
            401,
            "it in the URL",
            right
                .clone()
                .without("X-Gitlab-Token")
                .to(&format!("{url}?token={token}")),
        ),
        (404, "another id", right.clone().to(&other)),
        (404, "no id", right.clone().to(&format!("{base}/"))),
        (404, "part of it", right.clone().to(&url[..url.len() - 1])),
        (
            404,
            "it in upper case",
            right.clone().to(&format!(
                "{base}/{}",
                url.rsplit('/').next().expect("an id").to_uppercase()
            )),
        ),
        (
            404,
            "a way up",
            right.clone().to(&format!("{base}/../hooks")),
        ),
        (
            404,
            "the root",
            right.clone().to(base.trim_end_matches("hooks")),
        ),
        (405, "GET", right.clone().method("GET")),
        (405, "PUT", right.clone().method("PUT")),
        (405, "OPTIONS", right.clone().method("OPTIONS")),
        (
            415,
            "a form",
            right
                .clone()
                .header("Content-Type", "application/x-www-form-urlencoded"),
        ),
        (
            415,
            "text",
            right
                .clone()
                .header("Content-Type", "text/plain; x=application/json"),
        ),
        (415, "nothing said", right.clone().without("Content-Type")),
        (413, "a byte too long", of_length(&long)),
        (
            421,
            "a name of somebody's",
            right.clone().header("Host", "evil.example"),
        ),
        (
            421,
            "a name like an address",
            right.clone().header("Host", "127.0.0.1.evil.example"),
        ),
        (
            403,
            "a page",
            right.clone().header("Origin", "https://evil.example"),
        ),
        (
            403,
            "a page's script",
            right.clone().header("Sec-Fetch-Site", "cross-site"),
        ),
    ];
    for (status, what, delivery) in table {
        let answer = delivery.send();
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert!(!answer.body.contains(&token), "{what}: {answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{what}");
        let allowed = (status == 405).then_some("POST");
        assert_eq!(answer.header("allow"), allowed, "{what}");
    }
    assert_eq!(stage.questions(), 0, "nothing comes of any of them");
    for (what, delivery) in [
        ("as it should be", right.clone()),
        (
            "with a charset",
            right
                .clone()
                .header("Content-Type", "Application/JSON; charset=utf-8"),
        ),
        ("as long as may be", of_length(&long[1..])),
        ("by another name", right.header("Host", "localhost")),
    ] {
        assert_eq!(delivery.send().status, 202, "{what}");
    }
}

#[test]
fn a_body_that_grows_too_long_is_not_read_to_its_end() {
    let stage = webhook_on();
    let Shown { url, token } = stage.webhook();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let chunks = chunk.repeat(17) + "0\r\n\r\n";
    let delivery = Delivery::of_gitlab(&url, "Push Hook", chunks)
        .token(&token)
        .header("Transfer-Encoding", "chunked");
    assert_eq!(delivery.send().status, 413);
    let short = Delivery::of_gitlab(&url, "Push Hook", "2\r\n{}\r\n0\r\n\r\n")
        .token(&token)
        .header("Transfer-Encoding", "chunked");
    assert_eq!(short.send().status, 202);
}

#[test]
fn the_answer_does_not_wait_for_the_mirror() {
    let stage = webhook_on();
    let delivery = stage.delivery();
    let paused = stage.gitlab.pause(tests::On::Any);
    let began = Instant::now();
    for _ in 0..10 {
        assert_eq!(delivery.send().status, 202);
    }
    paused.reached();
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    stage.gitlab.stop();
    assert_eq!(delivery.send().status, 202, "nor for one that is down");
}
