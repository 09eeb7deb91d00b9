//! When a quarantine is in use.

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
    assert!(!is_in_use(), "nobody works in what is left");
    sweep(mirror.path()).expect("swept");
}
