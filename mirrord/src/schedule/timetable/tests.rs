use std::collections::HashMap;

use proptest::prelude::*;

use common::protocol::FailureKind;

use super::*;
use crate::schedule::jitter::MAX_RETRY_INTERVAL;

const HOST: &str = "https://gitlab.example:443";
const HOUR: Duration = Duration::from_secs(3600);

const GOOD: Ended<'static> = Ended {
    failure: None,
    needs_you: false,
    retry_after: None,
};

fn bad(kind: FailureKind) -> Ended<'static> {
    Ended {
        failure: Some((kind, "no answer")),
        ..GOOD
    }
}

fn dir(number: usize) -> PathBuf {
    PathBuf::from(format!("/m/{number}.git"))
}

/// A timetable of `count` mirrors of one host, as a daemon has it that starts at `now`.
fn found(count: usize, age: Duration, now: Instant) -> Timetable {
    let mut table = Timetable::new(7);
    for number in 0..count {
        table.add(&dir(number), HOST, Some(HOUR), Some(age), false, now);
    }
    table
}

/// Lets time pass until `end`; `upstream` says how each sync ends. Returns which sync started when.
fn run(
    table: &mut Timetable,
    from: Instant,
    end: Instant,
    mut upstream: impl FnMut(Instant) -> Ended<'static>,
) -> Vec<(Instant, PathBuf, Cause)> {
    let mut log = Vec::new();
    let mut now = from;
    while let Some(wake) = table.next_time().filter(|wake| *wake < end) {
        now = now.max(wake);
        while let Some((git_dir, cause)) = table.next_due(now) {
            log.push((now, git_dir.clone(), cause));
            table.record_end(&git_dir, upstream(now), now);
            table.finish(&git_dir, now);
        }
    }
    log
}

#[test]
fn each_mirror_is_synced_about_hourly_and_a_thousand_do_not_start_at_once() {
    let now = Instant::now();
    let mut table = found(1000, HOUR / 2, now);
    let log = run(&mut table, now, now + 10 * HOUR, |_| GOOD);
    let mut times: HashMap<_, Vec<_>> = HashMap::new();
    let mut minutes: HashMap<_, usize> = HashMap::new();
    for (at, git_dir, cause) in &log {
        assert_eq!(*cause, Cause::Schedule);
        times.entry(git_dir).or_default().push(*at);
        *minutes.entry((*at - now).as_secs() / 60).or_default() += 1;
    }
    assert_eq!(times.len(), 1000);
    for times in times.values() {
        assert!((9..=13).contains(&times.len()), "{}", times.len());
        for pair in times.windows(2) {
            let gap = pair[1] - pair[0];
            assert!(gap >= HOUR.mul_f64(0.8) && gap <= HOUR, "{gap:?}");
        }
    }
    // Once they have come apart.
    let late = minutes.iter().filter(|(minute, _)| **minute > 300);
    let most = late.map(|(_, count)| *count).max().unwrap_or_default();
    assert!(most < 60, "{most} in one minute");
}

#[test]
fn overdue_syncs_start_within_minutes_of_the_daemon_and_not_at_once() {
    let now = Instant::now();
    let mut table = found(1000, 1000 * HOUR, now);
    let log = run(&mut table, now, now + STARTUP_WAIT, |_| GOOD);
    assert_eq!(log.len(), 0, "somebody who has just signed in comes first");
    let log = run(
        &mut table,
        now,
        now + STARTUP_WAIT + CATCH_UP_SPREAD,
        |_| GOOD,
    );
    assert_eq!(log.len(), 1000);
    let in_a_minute = log
        .iter()
        .filter(|(at, ..)| *at < now + STARTUP_WAIT + MINUTE);
    assert!(in_a_minute.count() < 200);
}

#[test]
fn after_a_sleep_each_mirror_is_synced_once_and_spread_out() {
    let now = Instant::now();
    let mut table = found(100, Duration::ZERO, now);
    table.add_sleep(500 * HOUR, now);
    let log = run(&mut table, now, now + CATCH_UP_SPREAD, |_| GOOD);
    assert_eq!(log.len(), 100);
    let first_minute = log.iter().filter(|(at, ..)| *at < now + MINUTE).count();
    assert!(first_minute < 40, "{first_minute}");
    table.add_sleep(MINUTE, now + CATCH_UP_SPREAD);
    let log = run(&mut table, now + CATCH_UP_SPREAD, now + HOUR / 2, |_| GOOD);
    assert_eq!(log.len(), 0, "a short sleep is no reason");
}

#[test]
fn one_sync_of_a_hundred_mirrors_probes_a_host_that_sent_retry_after() {
    let now = Instant::now();
    let mut table = found(100, 1000 * HOUR, now);
    let window = 10 * MINUTE;
    let busy = Ended {
        retry_after: Some(window),
        ..bad(FailureKind::Unreachable)
    };
    let log = run(&mut table, now, now + 20 * HOUR, |_| busy);
    for pair in log.windows(2) {
        assert!(pair[1].0 - pair[0].0 >= window);
    }
    assert!(log.len() > 60, "it never gives up: {}", log.len());
    let back = now + 20 * HOUR;
    let log = run(&mut table, back, back + window + 2 * HOUR, |_| GOOD);
    let synced: std::collections::HashSet<_> = log.iter().map(|(_, git_dir, _)| git_dir).collect();
    assert_eq!(synced.len(), 100, "all are in step again");
}

#[test]
fn without_retry_after_the_wait_grows_to_a_quarter_of_an_hour() {
    let now = Instant::now();
    let mut table = found(1, 1000 * HOUR, now);
    let log = run(&mut table, now, now + 100 * HOUR, |_| {
        bad(FailureKind::Unreachable)
    });
    let gaps: Vec<_> = log.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(gaps[0] <= 2 * MINUTE, "{:?}", gaps[0]);
    assert!(gaps.iter().all(|gap| *gap <= MAX_RETRY_INTERVAL + MINUTE));
    assert!(gaps.iter().rev().take(100).all(|gap| *gap > 10 * MINUTE));
}

#[test]
fn a_host_that_is_down_delays_no_other() {
    let now = Instant::now();
    let mut table = found(1, 1000 * HOUR, now);
    table.add(
        &dir(9),
        "https://other.example:443",
        Some(HOUR),
        None,
        false,
        now,
    );
    table.record_end(&dir(0), bad(FailureKind::Unreachable), now);
    let log = run(
        &mut table,
        now,
        now + STARTUP_WAIT + CATCH_UP_SPREAD,
        |_| GOOD,
    );
    assert!(log.iter().any(|(_, git_dir, _)| *git_dir == dir(9)));
}

#[test]
fn a_mirror_that_needs_somebody_is_not_synced_until_that_is_over() {
    let now = Instant::now();
    let mut table = found(1, 1000 * HOUR, now);
    let refused = Ended {
        needs_you: true,
        ..bad(FailureKind::Refused)
    };
    table.record_end(&dir(0), refused, now);
    table.notify_changed(&dir(0), now);
    assert_eq!(run(&mut table, now, now + 1000 * HOUR, |_| GOOD).len(), 0);
    assert_eq!(
        table.next_sync(&dir(0), now).map(|next| next.why),
        Some(Why::NeedsYou)
    );
    table.resume(&dir(0), now);
    assert_eq!(run(&mut table, now, now + MINUTE, |_| GOOD).len(), 1);
    // The same holds for one that needed somebody in the last daemon.
    table.add(&dir(1), HOST, Some(HOUR), None, true, now);
    table.remove(&dir(0));
    assert_eq!(run(&mut table, now, now + 1000 * HOUR, |_| GOOD).len(), 0);
}

#[test]
fn a_mirror_that_upstream_refuses_is_synced_now_and_then() {
    let now = Instant::now();
    let mut table = Timetable::new(7);
    table.add(&dir(0), HOST, Some(MINUTE), None, false, now);
    let log = run(&mut table, now, now + 24 * HOUR, |_| {
        bad(FailureKind::Refused)
    });
    assert!((24..=40).contains(&log.len()), "{}", log.len());
}

#[test]
fn a_mirror_without_an_interval_is_synced_only_when_upstream_notifies_of_a_change() {
    let now = Instant::now();
    let mut table = Timetable::new(7);
    table.add(&dir(0), HOST, None, None, false, now);
    assert_eq!(run(&mut table, now, now + 1000 * HOUR, |_| GOOD).len(), 0);
    for _ in 0..500 {
        assert!(table.notify_changed(&dir(0), now));
    }
    let log = run(&mut table, now, now + 1000 * HOUR, |_| GOOD);
    assert_eq!(log, [(now, dir(0), Cause::Webhook)]);
    assert!(!table.notify_changed(&dir(1), now), "an unknown mirror");
    table.set_every(&dir(0), Some(HOUR), now);
    assert_eq!(run(&mut table, now, now + HOUR, |_| GOOD).len(), 1);
    table.set_every(&dir(0), None, now);
    assert_eq!(table.next_time(), None);
}

#[test]
fn a_change_during_a_sync_starts_one_more() {
    let now = Instant::now();
    let mut table = found(1, Duration::ZERO, now);
    table.notify_changed(&dir(0), now);
    assert!(table.next_due(now).is_some());
    for _ in 0..500 {
        table.notify_changed(&dir(0), now);
    }
    assert!(table.next_due(now).is_none(), "one runs");
    table.record_end(&dir(0), GOOD, now);
    table.finish(&dir(0), now);
    assert_eq!(table.next_due(now), None, "a storm costs little");
    let now = now + COALESCE_INTERVAL;
    assert_eq!(table.next_due(now), Some((dir(0), Cause::Webhook)));
    table.record_end(&dir(0), GOOD, now);
    table.finish(&dir(0), now);
    assert_eq!(table.next_due(now + COALESCE_INTERVAL), None);
}

#[test]
fn a_fetch_puts_the_next_sync_off() {
    let now = Instant::now();
    let mut table = found(1, HOUR - MINUTE, now);
    table.record_end(&dir(0), GOOD, now);
    let wait = table.next_sync(&dir(0), now).and_then(|next| next.wait);
    assert!(
        wait.is_some_and(|wait| wait >= HOUR.mul_f64(0.8)),
        "{wait:?}"
    );
}

#[test]
fn an_answer_to_a_client_ends_the_backoff_of_all_mirrors_of_the_host() {
    let now = Instant::now();
    let mut table = found(50, 1000 * HOUR, now);
    let busy = Ended {
        retry_after: Some(20 * HOUR),
        ..bad(FailureKind::Unreachable)
    };
    run(
        &mut table,
        now,
        now + STARTUP_WAIT + CATCH_UP_SPREAD,
        |_| busy,
    );
    let later = now + STARTUP_WAIT + CATCH_UP_SPREAD;
    assert!(
        table
            .backoff(HOST, later)
            .is_some_and(|backoff| backoff.has_retry_after)
    );
    table.record_end(&dir(0), GOOD, later);
    assert!(table.backoff(HOST, later).is_none());
    let log = run(&mut table, later, later + MINUTE, |_| GOOD);
    assert!(log.len() >= 48, "{}", log.len());
}

#[derive(Debug, Clone)]
enum Event {
    Pass(u64),
    Slept(u64),
    Changed(usize),
    Every(usize, u64),
    Fetch(usize, u8),
    NextDue(u8),
    Remove(usize),
    Add(usize),
    Resume(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let mirror = || 0..4_usize;
    prop_oneof![
        (0..20_000_u64).prop_map(Event::Pass),
        (0..200_000_u64).prop_map(Event::Slept),
        mirror().prop_map(Event::Changed),
        (mirror(), 0..5000_u64).prop_map(|(mirror, every)| Event::Every(mirror, every)),
        (mirror(), 0..7_u8).prop_map(|(mirror, end)| Event::Fetch(mirror, end)),
        (0..7_u8).prop_map(Event::NextDue),
        mirror().prop_map(Event::Remove),
        mirror().prop_map(Event::Add),
        mirror().prop_map(Event::Resume),
    ]
}

fn end(number: u8) -> Ended<'static> {
    match number {
        0 | 1 => GOOD,
        2 => bad(FailureKind::Unreachable),
        3 => Ended {
            retry_after: Some(HOUR),
            ..bad(FailureKind::Unreachable)
        },
        4 => bad(FailureKind::Refused),
        5 => bad(FailureKind::Cancelled),
        _ => bad(FailureKind::Here),
    }
}

proptest! {
    #[test]
    fn whatever_happens_every_mirror_with_an_interval_is_synced_in_the_end(
        events in proptest::collection::vec(event(), 0..60)
    ) {
        let mut now = Instant::now();
        let mut table = found(4, Duration::ZERO, now);
        let mut running: Vec<PathBuf> = Vec::new();
        for event in events {
            match event {
                Event::Pass(seconds) => now += Duration::from_secs(seconds),
                Event::Slept(seconds) => table.add_sleep(Duration::from_secs(seconds), now),
                Event::Changed(mirror) => drop(table.notify_changed(&dir(mirror), now)),
                Event::Every(mirror, seconds) => {
                    let every = (seconds > 0).then(|| Duration::from_secs(seconds));
                    table.set_every(&dir(mirror), every, now);
                }
                Event::Fetch(mirror, ending) => drop(table.record_end(&dir(mirror), end(ending), now)),
                Event::NextDue(ending) => {
                    if let Some((git_dir, _)) = table.next_due(now) {
                        prop_assert!(!running.contains(&git_dir), "one sync at a time");
                        running.push(git_dir);
                    } else if let Some(git_dir) = running.pop() {
                        table.record_end(&git_dir, end(ending), now);
                        table.finish(&git_dir, now);
                    }
                }
                Event::Remove(mirror) => {
                    table.remove(&dir(mirror));
                    running.retain(|git_dir| *git_dir != dir(mirror));
                }
                Event::Add(mirror) => {
                    table.add(&dir(mirror), HOST, Some(HOUR), None, false, now);
                    running.retain(|git_dir| *git_dir != dir(mirror));
                }
                Event::Resume(mirror) => table.resume(&dir(mirror), now),
            }
            let planned = table.mirrors.values().filter(|planned| planned.due.is_some());
            prop_assert_eq!(planned.count(), table.order.len());
        }
        for git_dir in running {
            table.record_end(&git_dir, GOOD, now);
            table.finish(&git_dir, now);
        }
        let log = run(&mut table, now, now + 100 * HOUR, |_| GOOD);
        for (git_dir, planned) in &table.mirrors {
            let is_synced = log.iter().any(|(_, each, _)| each == git_dir);
            prop_assert!(is_synced || planned.every.is_none(), "{:?}", planned.why);
        }
    }
}
