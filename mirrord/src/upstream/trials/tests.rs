use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
};

use tokio::sync::broadcast;

use super::{record::RECORD_LIFETIME, *};

const ORIGIN: &str = "https://gitlab.example";

fn login(password: &str) -> Login {
    Login::basic("me", password)
}

fn watch() -> Watch {
    Watch::new("host", broadcast::channel(1).0, Vec::new())
}

fn refuse(trials: &Trials, password: &str, own: bool) -> bool {
    match trials.begin_try(ORIGIN, &login(password), own, &watch()) {
        Ok(one) => {
            one.refused();
            true
        }
        Err(_) => false,
    }
}

#[test]
fn a_refused_login_is_tried_twice_also_across_a_restart_and_another_login_at_once() {
    let dir = tempfile::tempdir().expect("temp dir");
    let file = dir.path().join("refused");
    let trials = Trials::new(file.clone());
    assert!(refuse(&trials, "wrong", false));
    let restarted = Trials::new(file.clone());
    assert!(refuse(&restarted, "wrong", false));
    assert!(!refuse(&restarted, "wrong", false));
    assert!(
        !refuse(&Trials::new(file.clone()), "wrong", true),
        "whoever brings it"
    );
    assert!(
        restarted
            .begin_try(ORIGIN, &login("new"), false, &watch())
            .is_ok()
    );
    let elsewhere = "https://elsewhere.example";
    assert!(
        restarted
            .begin_try(elsewhere, &login("wrong"), false, &watch())
            .is_ok()
    );
    let text = fs::read_to_string(&file).expect("written");
    assert!(!text.contains("wrong") && !text.contains("me "), "{text}");
    restarted.forget_refusals(ORIGIN, &login("wrong"));
    assert!(
        refuse(&Trials::new(file), "wrong", false),
        "somebody says that it is right"
    );
}

#[test]
fn a_login_that_is_let_in_after_all_may_be_refused_twice_again() {
    let dir = tempfile::tempdir().expect("temp dir");
    let trials = Trials::new(dir.path().join("refused"));
    assert!(refuse(&trials, "token", false));
    if let Ok(one) = trials.begin_try(ORIGIN, &login("token"), false, &watch()) {
        one.accepted();
    }
    assert!(refuse(&trials, "token", false) && refuse(&trials, "token", false));
    assert!(!refuse(&trials, "token", false));
}

#[test]
fn a_refusal_of_a_persons_login_is_forgotten_after_a_while_and_of_a_mirrors_own_not() {
    let (now, span) = (1_000_000_000, RECORD_LIFETIME.as_secs());
    assert!(still_counts(false, now - span + 1, now) && !still_counts(false, now - span, now));
    assert!(still_counts(true, 1, now));
    assert!(!still_counts(false, now + 1, now), "of the future");
}

#[test]
fn many_at_once_try_a_login_no_more_than_twice() {
    let dir = tempfile::tempdir().expect("temp dir");
    let trials = Trials::new(dir.path().join("refused"));
    let tried = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                if refuse(&trials, "wrong", true) {
                    tried.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(tried.into_inner(), 2);
}

#[test]
fn a_cancelled_sync_does_not_wait_for_the_try_of_another() {
    let dir = tempfile::tempdir().expect("temp dir");
    let trials = Trials::new(dir.path().join("refused"));
    let (one, two) = (
        trials.begin_try(ORIGIN, &login("token"), false, &watch()),
        trials.begin_try(ORIGIN, &login("token"), false, &watch()),
    );
    let unwanted = watch();
    unwanted.cancel();
    let third = trials.begin_try(ORIGIN, &login("token"), false, &unwanted);
    assert!(matches!(third, Err(NoTry::Cancelled)));
    drop((one, two));
    assert!(
        trials
            .begin_try(ORIGIN, &login("token"), false, &watch())
            .is_ok()
    );
}
