//! A keyring as other programs see it.

use tests::{Keyring, Run, World};

use crate::stage::check;

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
#[cfg_attr(not(keyring), ignore = "needs a keyring")]
fn a_keyring_keeps_secrets_and_asks_a_person_when_it_is_locked() {
    let world = World::new();
    let mut keyring = world.keyring();
    tool(&world, &keyring, "store").ok();
    let has_token = |keyring: &Keyring<'_>| {
        assert_eq!(tool(&world, keyring, "lookup").ok().stdout, "token");
    };
    check("it keeps a secret", || has_token(&keyring));
    check("no program reaches it by chance", || {
        let lookup = ["lookup", "service", "mirror"];
        world.program("secret-tool", lookup).fails();
    });
    check("a locked one waits for a person", || {
        keyring.lock();
        let waiting = tool(&world, &keyring, "lookup").start();
        keyring.asks();
        assert!(!waiting.has_ended() && waiting.so_far().0.is_empty());
        drop(waiting);
    });
    check("it has the secret after a restart", || {
        keyring.unlock();
        has_token(&keyring);
    });
    check("it forgets a secret", || {
        tool(&world, &keyring, "clear").ok();
        tool(&world, &keyring, "lookup").fails();
    });
    check("without it the bus says so", || {
        keyring.stop();
        let ran = tool(&world, &keyring, "lookup").fails();
        assert!(ran.stderr.contains("org.freedesktop.secrets"), "{ran}");
    });
}
