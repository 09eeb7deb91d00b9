//! Clients that send nothing, or a byte now and then: they block no other client.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use super::{Shown, webhook_on};

/// The address in a URL.
fn address(url: &str) -> &str {
    let rest = url.split_once("://").expect("a URL").1;
    rest.split('/').next().expect("there is always a first")
}

fn connect(url: &str) -> TcpStream {
    let stream = TcpStream::connect(address(url)).expect("it listens");
    let patience = Some(Duration::from_secs(60));
    stream.set_read_timeout(patience).expect("a new socket");
    stream
}

/// Reads until the other side closes.
fn rest(mut stream: &TcpStream) -> String {
    let mut text = Vec::new();
    // A reset is an end, too.
    let _ = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// Takes ten seconds: so long a client may take over its body.
#[test]
fn slow_headers_end_the_connection_and_a_slow_body_gets_408() {
    let stage = webhook_on();
    let Shown { url, .. } = stage.webhook();
    let (silent, dribbling, slow) = (connect(&url), connect(&url), connect(&url));
    (&dribbling).write_all(b"POST /hooks/").expect("it listens");
    let head = stage.delivery().header("Content-Length", "10").head();
    (&slow).write_all(head.as_bytes()).expect("it listens");
    (&slow).write_all(b"{").expect("it listens");
    let began = Instant::now();
    for quiet in [&silent, &dribbling] {
        let response = rest(quiet);
        assert!(
            response.is_empty() || response.starts_with("HTTP/1.1 408"),
            "{response}"
        );
    }
    let took = began.elapsed();
    assert!(
        took > Duration::from_secs(3) && took < Duration::from_secs(20),
        "{took:?}"
    );
    let response = rest(&slow);
    assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
    assert!(began.elapsed() > Duration::from_secs(8), "it had some time");
}

#[test]
fn headers_without_end_are_refused() {
    let stage = webhook_on();
    let endless = stage.delivery().header("X-Long", &"x".repeat(20 << 10));
    assert_eq!(endless.send().status, 431);
    let many = (0..100).fold(stage.delivery(), |delivery, number| {
        delivery.header(&format!("X-{number}"), "x")
    });
    assert_eq!(many.send().status, 431);
}

#[test]
fn a_real_hook_is_answered_at_once_however_many_say_nothing() {
    let stage = webhook_on();
    let delivery = stage.delivery();
    let Shown { url, .. } = stage.webhook();
    let head = delivery.clone().header("Content-Length", "10").head();
    let mut others = Vec::new();
    for number in 0..200 {
        let mut other = connect(&url);
        // Idle, about its headers, about its body.
        let bytes = match number % 3 {
            0 => "",
            1 => "POST /hooks/0 HTTP/1.1\r\nHost: 127",
            _ => head.as_str(),
        };
        // It may be one that had to go already.
        let _ = other.write_all(bytes.as_bytes());
        others.push(other);
    }
    let began = Instant::now();
    for _ in 0..10 {
        assert_eq!(delivery.send().status, 202);
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "ten took {took:?}");
    drop(others);
    assert_eq!(delivery.send().status, 202);
}
