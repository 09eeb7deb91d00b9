use super::*;
use crate::children::trace::Event::{CommandsSent, Connected, Connects, Heard, Paused};
use Event::Traced;

const LIMIT: Duration = Duration::from_secs(30);

/// Lets events happen, each at its second, and returns at which second upstream is given up.
fn given_up(transport: Transport, brings: bool, events: &[(u64, Event)]) -> Option<u64> {
    let begin = Instant::now();
    let mut timing = Timing::new(transport, LIMIT, brings, begin);
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
    assert_eq!(given_up(Transport::Ssh, true, &[]), Some(150));
    assert_eq!(given_up(Transport::Path, true, &[]), Some(30));
    let first = [(100, Traced(Heard))];
    assert_eq!(given_up(Transport::Ssh, true, &first), Some(130));
}

#[test]
fn gits_own_work_takes_as_long_as_it_takes() {
    let ready = || {
        vec![
            (1, Traced(Heard)),
            (1, Traced(Paused)),
            // As after a pre-push hook that took its time.
            (1_000, Traced(CommandsSent)),
        ]
    };
    assert_eq!(given_up(Transport::Path, true, &ready()), None);
    let mut writes = ready();
    writes.push((2_000, Event::Writes(None)));
    assert_eq!(given_up(Transport::Path, true, &writes), Some(2_030));
}

#[test]
fn what_upstream_does_with_it_is_timed_from_its_last_sign_of_life() {
    let mut events = vec![
        (1, Traced(Heard)),
        (1, Traced(Paused)),
        (2, Traced(CommandsSent)),
        (3, Event::Writes(Some(100))),
        (3, Event::Written),
    ];
    assert_eq!(given_up(Transport::Ssh, true, &events), Some(33));
    events.extend((1..100).map(|nth| (3 + nth * 5, Traced(Heard))));
    events.push((500, Traced(Paused)));
    assert_eq!(given_up(Transport::Ssh, true, &events), Some(530));
    let deletes = [
        (1, Traced(Heard)),
        (1, Traced(Paused)),
        (2, Traced(CommandsSent)),
    ];
    assert_eq!(given_up(Transport::Ssh, false, &deletes), Some(32));
}

#[test]
fn what_is_still_in_the_buffers_of_a_slow_line_has_time_to_get_there() {
    let events = |size| {
        [
            (0, Traced(Heard)),
            (0, Traced(Paused)),
            (0, Event::Writes(size)),
            (0, Event::Written),
        ]
    };
    let given_up = |size| given_up(Transport::Ssh, true, &events(size));
    assert_eq!(given_up(Some(1 << 20)), Some(30 + 64));
    assert_eq!(given_up(Some(1 << 40)), Some(30 + 512));
    assert_eq!(given_up(None), Some(30 + 512));
}

#[test]
fn over_http_only_the_way_there_is_timed() {
    let tries = [(1, Traced(Connects)), (2, Traced(Connects))];
    assert_eq!(given_up(Transport::Http, true, &tries), Some(31));
    let sent = [(1, Traced(Connects)), (2, Traced(Connected))];
    assert_eq!(given_up(Transport::Http, true, &sent), None);
}

#[test]
fn gits_progress_is_read_as_git_writes_it() {
    let event = |line: &str| Event::of_progress(line.as_bytes());
    assert_eq!(
        event("Writing objects:  45% (9/20), 1.50 KiB | 2.00 MiB/s"),
        Some(Event::Writes(Some(1536)))
    );
    assert_eq!(
        event("Writing objects: 100% (3/3), 250 bytes | 250.00 KiB/s, done."),
        Some(Event::Writes(Some(250)))
    );
    assert_eq!(
        event("Writing objects:  20% (1/5)"),
        Some(Event::Writes(None))
    );
    assert_eq!(event("Total 5 (delta 1), reused 0"), Some(Event::Written));
    assert_eq!(event("Compressing objects: 10%"), None);
}
