//! How git's progress is read, and how long upstream may take for each step of a push.

use super::*;
use Event::Traced;
use TraceEvent::{CommandsSent, Connected, Connecting, Flush, Packet};

const LIMIT: Duration = Duration::from_secs(30);

/// Returns the second at which a push is given up after these events, each at its second.
fn given_up_at(transport: Transport, has_pack: bool, events: &[(u64, Event)]) -> Option<u64> {
    let begin = Instant::now();
    let mut timing = Timing::new(transport, LIMIT, has_pack, begin);
    for (second, event) in events {
        let now = begin + Duration::from_secs(*second);
        assert!(
            timing.deadline().is_none_or(|deadline| deadline > now),
            "given up before {event:?} at {second}"
        );
        timing.apply(event, now);
    }
    let deadline = timing.deadline()?;
    Some((deadline - begin).as_secs())
}

#[test]
fn a_person_has_time_to_sign_in_by_ssh_and_upstream_has_not() {
    assert_eq!(given_up_at(Transport::Ssh, true, &[]), Some(150));
    assert_eq!(given_up_at(Transport::Path, true, &[]), Some(30));
    let first = [(100, Traced(Packet))];
    assert_eq!(given_up_at(Transport::Ssh, true, &first), Some(130));
}

#[test]
fn gits_own_work_is_not_timed() {
    let ready = || {
        vec![
            (1, Traced(Packet)),
            (1, Traced(Flush)),
            // As after a pre-push hook that took its time.
            (1_000, Traced(CommandsSent)),
        ]
    };
    assert_eq!(given_up_at(Transport::Path, true, &ready()), None);
    let mut writes = ready();
    writes.push((2_000, Event::SendingPack(None)));
    assert_eq!(given_up_at(Transport::Path, true, &writes), Some(2_030));
}

#[test]
fn upstreams_work_is_timed_from_its_last_packet() {
    let mut events = vec![
        (1, Traced(Packet)),
        (1, Traced(Flush)),
        (2, Traced(CommandsSent)),
        (3, Event::SendingPack(Some(100))),
        (3, Event::PackSent),
    ];
    assert_eq!(given_up_at(Transport::Ssh, true, &events), Some(33));
    events.extend((1..100).map(|nth| (3 + nth * 5, Traced(Packet))));
    events.push((500, Traced(Flush)));
    assert_eq!(given_up_at(Transport::Ssh, true, &events), Some(530));
    let deletes = [
        (1, Traced(Packet)),
        (1, Traced(Flush)),
        (2, Traced(CommandsSent)),
    ];
    assert_eq!(given_up_at(Transport::Ssh, false, &deletes), Some(32));
}

#[test]
fn bytes_in_the_buffers_of_a_slow_connection_have_time_to_get_there() {
    let events = |size| {
        [
            (0, Traced(Packet)),
            (0, Traced(Flush)),
            (0, Event::SendingPack(size)),
            (0, Event::PackSent),
        ]
    };
    let given_up = |size| given_up_at(Transport::Ssh, true, &events(size));
    assert_eq!(given_up(Some(1 << 20)), Some(30 + 64));
    assert_eq!(given_up(Some(1 << 40)), Some(30 + 512));
    assert_eq!(given_up(None), Some(30 + 512));
}

#[test]
fn over_http_only_connecting_is_timed() {
    let tries = [(1, Traced(Connecting)), (2, Traced(Connecting))];
    assert_eq!(given_up_at(Transport::Http, true, &tries), Some(31));
    let sent = [(1, Traced(Connecting)), (2, Traced(Connected))];
    assert_eq!(given_up_at(Transport::Http, true, &sent), None);
}

#[test]
fn gits_progress_is_read_as_git_writes_it() {
    let event = |line: &str| Event::of_progress(line.as_bytes());
    assert_eq!(
        event("Writing objects:  45% (9/20), 1.50 KiB | 2.00 MiB/s"),
        Some(Event::SendingPack(Some(1536)))
    );
    assert_eq!(
        event("Writing objects: 100% (3/3), 250 bytes | 250.00 KiB/s, done."),
        Some(Event::SendingPack(Some(250)))
    );
    assert_eq!(
        event("Writing objects:  20% (1/5)"),
        Some(Event::SendingPack(None))
    );
    assert_eq!(event("Total 5 (delta 1), reused 0"), Some(Event::PackSent));
    assert_eq!(event("Compressing objects: 10%"), None);
}
