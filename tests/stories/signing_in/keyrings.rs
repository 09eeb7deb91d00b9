//! Secrets in a real keyring that is unlocked, locked or gone.

use std::{fmt::Write, fs, time::Instant};

use tests::{Run, World};

use crate::stage::Stage;

/// The longest that a locked keyring may hold somebody up, with room for a busy machine.
const LIMIT: u64 = 30;

/// Runs a command with the session bus of the keyring.
fn at(run: Run, address: &str) -> Run {
    run.env("DBUS_SESSION_BUS_ADDRESS", address)
}

/// The files and logs of the mirrors that contain a text.
fn found(world: &World, text: &str) -> String {
    let grep = world.program("grep", ["-rlF", text, "m"]);
    grep.run().stdout
}

#[test]
#[cfg_attr(not(keyring), ignore = "needs a keyring")]
fn with_a_keyring_the_secret_is_in_it_and_nowhere_else() {
    let private = Stage::private();
    let keyring = private.world.keyring();
    let address = keyring.address();
    at(private.add_with_password("project", "right"), &address).ok();
    assert!(private.secrets().is_empty());
    assert_eq!(found(&private.world, "right"), "");
    assert_eq!(private.shown("project", "secret"), ["in the keyring"]);
    private.world.mirrord(["stop"]).ok();
    at(private.look_at("project"), &address).ok();
    at(private.set_password("project", "right"), &address).ok();
    private.world.mirrord(["stop"]).ok();
    at(private.look_at("project"), &address).ok();
    at(private.world.mirrord(["remove", "project"]), &address).ok();
    drop(keyring);
}

#[test]
#[cfg_attr(not(keyring), ignore = "needs a keyring")]
fn a_daemon_whose_program_has_been_replaced_still_finds_the_keyring() {
    let private = Stage::private();
    let keyring = private.world.keyring();
    let address = keyring.address();
    private.world.install("mirrord");
    let program = private.world.path("bin/mirrord");
    at(private.world.program(program, ["list"]), &address).ok();
    let pid = private.world.daemon_pid();
    private.world.install("mirrord");
    at(private.add_with_password("project", "right"), &address).ok();
    assert!(private.secrets().is_empty());
    assert_eq!(private.shown("project", "secret"), ["in the keyring"]);
    assert_eq!(private.world.daemon_pid(), pid, "it is the old one");
    at(private.world.mirrord(["remove", "project"]), &address).ok();
    drop(keyring);
}

/// Takes 10 s: so long the daemon waits for the answer of a keyring.
#[test]
#[cfg_attr(not(keyring), ignore = "needs a keyring")]
fn a_locked_keyring_is_not_waited_for_and_its_secret_is_looked_for_nowhere_else() {
    let private = Stage::private();
    let mut keyring = private.world.keyring();
    let address = keyring.address();
    at(private.add_with_password("project", "right"), &address).ok();
    let clone = ["clone", "-q", "mirror::project", "ours"];
    at(private.world.git(clone), &address).ok();
    private.world.mirrord(["stop"]).ok();
    keyring.lock();
    // What somebody puts there is not believed.
    let config = fs::read_to_string(private.world.only_mirror().join("config")).expect("readable");
    let id = config
        .split("keyring:")
        .nth(1)
        .expect("it names the keyring");
    let id: String = id.chars().take(32).collect();
    let dir = private.world.mirror_home().join("secrets");
    fs::create_dir_all(&dir).expect("ours");
    fs::write(dir.join(&id), "right\n").expect("ours");
    private.logins();
    let began = Instant::now();
    let set = at(private.set_password("project", "new"), &address).start();
    let ran = at(private.fetch("ours"), &address).code(128);
    insta::assert_snapshot!(ran.shown(), @r"
    error: the keyring is locked
    hint: unlock it, for example by signing in to your desktop, and try again
    ");
    assert!(began.elapsed().as_secs() < LIMIT, "{:?}", began.elapsed());
    assert_eq!(private.logins(), [""; 0], "upstream is not asked");
    assert_eq!(
        private.needs_you(),
        ["project  needs you: the keyring is locked"]
    );
    let ran = set.wait();
    assert_eq!(ran.status.code(), Some(1), "{ran}");
    // No plain file instead.
    insta::assert_snapshot!(ran.shown(), @r"
    error: the keyring is locked
    hint: unlock it, for example by signing in to your desktop, and try again
    ");
    assert_eq!(found(&private.world, "new"), "");
    keyring.unlock();
    at(private.fetch("ours"), &address).ok();
}

#[test]
#[cfg_attr(not(keyring), ignore = "needs a keyring")]
fn without_its_keyring_a_mirror_says_where_its_secret_is() {
    let private = Stage::private();
    let mut keyring = private.world.keyring();
    let address = keyring.address();
    at(private.add_with_password("project", "right"), &address).ok();
    private.world.mirrord(["stop"]).ok();
    keyring.stop();
    let mut all = String::new();
    for bus in [address.as_str(), "unix:path=/nonexistent"] {
        let ran = at(private.look_at("project"), bus).code(128);
        writeln!(all, "{}", ran.shown()).expect("into a string");
        private.world.mirrord(["stop"]).ok();
    }
    insta::assert_snapshot!(all, @r"
    error: cannot reach the keyring that has this mirror's secret
    hint: sign in to the desktop that the keyring belongs to, or store the secret anew

    error: cannot reach the keyring that has this mirror's secret
    hint: sign in to the desktop that the keyring belongs to, or store the secret anew
    ");
    // A new one goes where there is something now, and the mirror knows where that is.
    private.set_password("project", "right").ok();
    private.look_at("project").ok();
    assert_eq!(private.secrets().len(), 1);
    private.world.mirrord(["stop"]).ok();
    keyring.unlock();
    at(private.look_at("project"), &address).ok();
}
