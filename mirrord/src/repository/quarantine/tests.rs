//! When a quarantine is in use.

use std::{
    thread::yield_now,
    time::{Duration, Instant},
};

use super::*;
use crate::repository::sample::Sample;

#[test]
fn a_quarantine_is_in_use_while_anybody_has_its_lock() {
    let mirror = Sample::new().import();
    let is_in_use = || is_in_use(mirror.path()).expect("readable");
    assert!(!is_in_use());
    let quarantine = Quarantine::new(mirror.path()).expect("made");
    // A push that outlives the daemon keeps the lock.
    let push = File::open(quarantine.path().join(LOCK)).expect("there");
    push.lock_shared().expect("free");
    assert!(is_in_use());
    drop(quarantine);
    assert!(is_in_use());
    drop(push);
    // A child of another test has all files of this process open until it executes its program.
    let deadline = Instant::now() + Duration::from_secs(10);
    while is_in_use() {
        assert!(Instant::now() < deadline, "nobody works in what is left");
        yield_now();
    }
    sweep(mirror.path()).expect("swept");
}
