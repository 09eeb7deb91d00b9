//! Pushes that are cut or killed at each step: what is called pushed is on GitLab, what may be there is not called failed
//! without a word, trying again works, and nothing is left that keeps the next one.

use std::time::Duration;

use tests::{Cut, Fault, GitLab, Kind, On, Part, Paused, Signal, Trials, positions_to_cut};

/// How long who was killed, or stopped by the person, may take to be gone.
const EVENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Cuts so many pushes, spread over those of 300 places that are meant.
fn cut(count: usize, meant: fn(Cut) -> bool) {
    let trials = Trials::new();
    let places: Vec<_> = positions_to_cut(&trials, 300)
        .into_iter()
        .filter(|(_, cut)| meant(*cut))
        .collect();
    // Every kind of push has its turn.
    let step = (places.len() / count) | 1;
    for (kind, cut) in places.into_iter().step_by(step).take(count) {
        let (trial, ran, hit) = trials.cut(kind, cut);
        assert!(hit, "{kind:?} was not cut at {cut:?}: {ran}");
        let verdict = trials.judge(&trial, &ran);
        assert!(
            verdict.broken.is_empty(),
            "{kind:?} cut at {cut:?}: {verdict}"
        );
    }
    trials.is_sound();
}

/// Takes long: each cut is a push, the same push again, and a look at all that each has left.
#[test]
fn a_push_that_is_cut_on_its_way_is_not_called_pushed_and_can_be_tried_again() {
    cut(8, |cut| matches!(cut, Cut::Request(_) | Cut::Unheard));
}

/// Takes long: each cut is a push, the same push again, and a look at all that each has left.
#[test]
fn a_push_whose_answer_is_cut_says_that_it_may_have_reached_upstream() {
    cut(10, |cut| matches!(cut, Cut::Answer(_) | Cut::Unsaid));
}

/// Takes long: each cut is a push, the same push again, and a look at all that each has left.
#[test]
fn a_push_that_is_cut_before_it_is_sent_is_called_failed() {
    cut(6, |cut| matches!(cut, Cut::Refs(_)));
}

/// Kills each of these parts of a push in its turn while the push is held at a step.
fn kill(parts: &[Part], pause: fn(&GitLab, On) -> Paused, on: On) {
    let trials = Trials::new();
    for part in parts {
        let trial = trials.prepare(Kind::Several);
        if on == On::PushInfoRefs {
            trials.world.forget_advertisement();
        }
        let paused = pause(&trials.gitlab, on);
        let push = trials.push(&trial).start();
        paused.reached();
        assert!(trials.world.kill_part(&push, *part), "there is no {part:?}");
        // With one of these gone, the person need not wait for upstream any longer.
        let over = [Part::Hook, Part::ReceivePack].contains(part);
        let ran = if over {
            let ran = push.wait();
            paused.release();
            ran
        } else {
            paused.release();
            push.wait()
        };
        let verdict = trials.judge(&trial, &ran);
        assert!(verdict.broken.is_empty(), "{part:?} was killed: {verdict}");
    }
    trials.is_sound();
}

#[test]
fn a_process_is_killed_while_upstream_is_asked_for_its_refs() {
    kill(&[Part::Helper, Part::Daemon], GitLab::pause, On::LsRefs);
}

/// Takes long: each of five processes is killed in a push of its own, and each push is tried again.
#[test]
fn a_process_is_killed_before_anything_is_sent() {
    kill(&Part::ALL, GitLab::pause, On::PushInfoRefs);
}

/// Takes long: each of five processes is killed in a push of its own, and each push is tried again.
#[test]
fn a_process_is_killed_when_the_push_has_arrived() {
    kill(&Part::ALL, GitLab::pause, On::Push);
}

/// Takes long: each of five processes is killed in a push of its own, and each push is tried again.
#[test]
fn a_process_is_killed_when_upstream_has_accepted_and_no_client_knows() {
    kill(&Part::ALL, GitLab::pause_answer, On::Push);
}

#[test]
fn a_process_is_killed_while_the_mirror_writes_accepted_refs() {
    let trials = Trials::new();
    for part in [Part::Helper, Part::ReceivePack, Part::Hook, Part::Daemon] {
        let trial = trials.prepare(Kind::Several);
        trials.gitlab.fault(Fault::leaves_push_to_git());
        let accepted = trials.gitlab.pause_answer(On::PushOfGit);
        let push = trials.push(&trial).start();
        accepted.reached();
        // A daemon that cannot hear is one that is at work for long.
        trials.world.signal_part(&push, Part::Daemon, Signal::STOP);
        accepted.release();
        trials.world.wait_without_part(&push, Part::InnerPush);
        assert!(trials.world.kill_part(&push, part), "there is no {part:?}");
        if part != Part::Daemon {
            trials.world.signal_part(&push, Part::Daemon, Signal::CONT);
        }
        let ran = push.wait();
        let verdict = trials.judge(&trial, &ran);
        assert!(verdict.broken.is_empty(), "{part:?} was killed: {verdict}");
    }
    trials.is_sound();
}

#[test]
fn a_process_is_killed_while_a_push_waits_for_another() {
    let trials = Trials::new();
    for part in [Part::Helper, Part::ReceivePack, Part::Hook, Part::Daemon] {
        let trial = trials.prepare(Kind::Several);
        let on_its_way = trials.gitlab.pause(On::Push);
        let first = trials.push(&trial).start();
        on_its_way.reached();
        let second = trials.push(&trial).start();
        trials.world.wait_for_part(&second, Part::Hook);
        assert!(
            trials.world.kill_part(&second, part),
            "there is no {part:?}"
        );
        on_its_way.release();
        let first = first.wait();
        // Without the daemon nobody hears what has become of a push that it sends.
        let is_concerned = part == Part::Daemon;
        assert!(
            first.status.success() || (is_concerned && first.stdout.contains("may have reached")),
            "{part:?} of another was killed: {first}"
        );
        let ran = second.wait();
        // What the second wanted is what the first did, so nobody can tell whose it is.
        let verdict = trials.judge_silent(&trial, &ran);
        assert!(verdict.broken.is_empty(), "{part:?} was killed: {verdict}");
    }
    trials.is_sound();
}

#[test]
fn a_push_outlives_the_daemon_and_is_not_disturbed_by_the_next_one() {
    let trials = Trials::new();
    let moments = [
        // Nothing has been sent.
        (GitLab::pause as fn(&GitLab, On) -> Paused, On::PushInfoRefs),
        (GitLab::pause, On::PushOfGit),
        (GitLab::pause_answer, On::PushOfGit),
    ];
    for (pause, on) in moments {
        let trial = trials.prepare(Kind::Several);
        match on {
            On::PushOfGit => trials.gitlab.fault(Fault::leaves_push_to_git()),
            _ => trials.world.forget_advertisement(),
        }
        let paused = pause(&trials.gitlab, on);
        let push = trials.push(&trial).start();
        paused.reached();
        trials.world.kill_daemon();
        // It starts the next daemon, which finds what the first one left.
        trials.world.git(["fetch", "-q"]).at("theirs").ok();
        paused.release();
        let ran = push.wait();
        assert!(ran.status.success(), "held at {on:?}: {ran}");
        let verdict = trials.judge(&trial, &ran);
        assert!(verdict.broken.is_empty(), "held at {on:?}: {verdict}");
    }
    trials.is_sound();
}

/// Takes long: two signals at four moments are eight pushes, and each is tried again.
#[test]
fn a_push_may_be_interrupted_or_lost_with_all_its_parts_at_any_step() {
    let trials = Trials::new();
    let moments = [
        (GitLab::pause as fn(&GitLab, On) -> Paused, On::LsRefs),
        (GitLab::pause, On::PushInfoRefs),
        (GitLab::pause, On::Push),
        (GitLab::pause_answer, On::Push),
    ];
    for (pause, on) in moments {
        for signal in [Signal::INT, Signal::KILL] {
            let trial = trials.prepare(Kind::Several);
            if on == On::PushInfoRefs {
                trials.world.forget_advertisement();
            }
            let paused = pause(&trials.gitlab, on);
            let push = trials.push(&trial).start();
            paused.reached();
            push.kill_group(signal);
            let ran = push.wait();
            let left = trials.world.left_running(EVENT_TIMEOUT);
            assert!(left.is_empty(), "{signal:?} at {on:?} leaves {left:?}");
            paused.release();
            let verdict = trials.judge_silent(&trial, &ran);
            assert!(verdict.broken.is_empty(), "{signal:?} at {on:?}: {verdict}");
        }
    }
    trials.is_sound();
}

#[test]
fn a_push_that_outlives_the_daemon_and_is_killed_leaves_the_mirror_in_doubt() {
    let trials = Trials::new();
    let trial = trials.prepare(Kind::Several);
    trials.gitlab.fault(Fault::leaves_push_to_git());
    let accepted = trials.gitlab.pause_answer(On::PushOfGit);
    let push = trials.push(&trial).start();
    accepted.reached();
    trials.world.kill_daemon();
    trials.world.git(["fetch", "-q"]).at("theirs").ok();
    assert!(trials.world.kill_part(&push, Part::Hook));
    let ran = push.wait();
    accepted.release();
    let verdict = trials.judge(&trial, &ran);
    assert!(verdict.broken.is_empty(), "{verdict}");
    trials.is_sound();
}

#[test]
fn a_push_that_upstream_never_got_is_not_said_to_be_there() {
    let trials = Trials::new();
    trials.project.hook("pre-receive", "exit 1");
    let trial = trials.prepare(Kind::Several);
    let answered = trials.gitlab.pause_answer(On::Push);
    let push = trials.push(&trial).start();
    answered.reached();
    trials.world.kill_daemon();
    answered.release();
    let ran = push.wait();
    assert_eq!(ran.status.code(), Some(1), "{ran}");
    assert!(!ran.stderr.contains("upstream has it"), "{ran}");
    trials.project.hook("pre-receive", "exit 0");
    let verdict = trials.judge(&trial, &ran);
    assert!(verdict.broken.is_empty(), "{verdict}");
}

#[test]
fn a_push_that_was_reported_as_failed_is_not_sent_afterwards() {
    let trials = Trials::new();
    let trial = trials.prepare(Kind::Several);
    let on_its_way = trials.gitlab.pause(On::Push);
    let first = trials.push(&trial).start();
    on_its_way.reached();
    // Its hook waits for the first one, and is alone then.
    let second = trials.push(&trial).start();
    trials.world.wait_for_part(&second, Part::Hook);
    assert!(trials.world.kill_part(&second, Part::ReceivePack));
    let ran = second.wait();
    first.kill_group(Signal::KILL);
    first.wait();
    on_its_way.release();
    let verdict = trials.judge(&trial, &ran);
    assert!(verdict.broken.is_empty(), "{verdict}");
}
