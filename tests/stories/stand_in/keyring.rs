//! A keyring as other programs see it.

use tests::{Keyring, Run, World};

/// Any program that has something to do with the keyring.
fn tool(world: &World, keyring: &Keyring<'_>, verb: &str) -> Run {
    let run = world
        .program("secret-tool", [verb])
        .env("DBUS_SESSION_BUS_ADDRESS", keyring.address());
    match verb {
        "store" => run.arg("--label=a label").stdin("token"),
        _ => run,
    }
    .arg("service")
    .arg("mirror")
}

#[test]
fn an_unlocked_keyring_keeps_secrets_even_over_a_restart() {
    let world = World::new();
    let mut keyring = world.keyring();
    tool(&world, &keyring, "store").ok();
    assert_eq!(tool(&world, &keyring, "lookup").ok().stdout, "token");
    keyring.unlock();
    assert_eq!(tool(&world, &keyring, "lookup").ok().stdout, "token");
    tool(&world, &keyring, "clear").ok();
    tool(&world, &keyring, "lookup").fails();
}

#[test]
fn a_locked_keyring_waits_for_a_person() {
    let world = World::new();
    let mut keyring = world.keyring();
    tool(&world, &keyring, "store").ok();
    keyring.lock();
    let waiting = tool(&world, &keyring, "lookup").start();
    keyring.asks();
    assert!(!waiting.has_ended() && waiting.so_far().0.is_empty());
    drop(waiting);
    keyring.unlock();
    assert_eq!(tool(&world, &keyring, "lookup").ok().stdout, "token");
}

#[test]
fn without_a_keyring_the_bus_says_so() {
    let world = World::new();
    let mut keyring = world.keyring();
    keyring.stop();
    let ran = tool(&world, &keyring, "lookup").fails();
    assert!(ran.stderr.contains("org.freedesktop.secrets"), "{ran}");
}

#[test]
fn no_keyring_is_in_reach_of_any_other_program() {
    let world = World::new();
    let _keyring = world.keyring();
    world
        .program("secret-tool", ["lookup", "service", "mirror"])
        .fails();
}
