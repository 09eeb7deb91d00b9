//! Who works in quarantines.

use super::*;
use crate::repository::sample::Sample;

#[test]
fn a_quarantine_is_in_use_until_all_have_left_it() {
    let mirror = Sample::new().import();
    let is_in_use = || is_in_use(mirror.path()).expect("readable");
    assert!(!is_in_use());
    let quarantine = Quarantine::new(mirror.path()).expect("made");
    // A push that outlives the daemon holds it as well.
    let held = File::open(quarantine.path().join(LOCK)).expect("there");
    held.lock_shared().expect("free");
    assert!(is_in_use());
    drop(quarantine);
    assert!(is_in_use());
    drop(held);
    assert!(!is_in_use(), "nobody works in what is left");
    sweep(mirror.path()).expect("swept");
}
