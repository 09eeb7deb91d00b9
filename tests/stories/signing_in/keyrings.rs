//! Secrets in a real keyring that is unlocked, locked or gone.

use std::{fs, time::Instant};

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
fn with_a_keyring_the_secret_is_in_it_and_nowhere_else() {
    let private = Stage::private();
    let keyring = private.world.keyring();
    let address = keyring.address();
    at(private.add_with_password("project", "right"), &address).ok();
    assert!(private.secrets().is_empty());
    assert_eq!(found(&private.world, "right"), "");
    let shown = private.world.mirrord(["show", "project"]).ok();
    assert!(shown.stdout.contains("secret: in the keyring\n"), "{shown}");
    private.world.mirrord(["stop"]).ok();
    at(private.look_at("project"), &address).ok();
    at(private.set_password("project", "right"), &address).ok();
    private.world.mirrord(["stop"]).ok();
    at(private.look_at("project"), &address).ok();
    at(private.world.mirrord(["remove", "project"]), &address).ok();
    drop(keyring);
}

#[test]
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
    let shown = private.world.mirrord(["show", "project"]).ok();
    assert!(shown.stdout.contains("secret: in the keyring\n"), "{shown}");
    assert_eq!(private.world.daemon_pid(), pid, "it is the old one");
    at(private.world.mirrord(["remove", "project"]), &address).ok();
    drop(keyring);
}

#[test]
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
    let ran = at(private.fetch("ours"), &address).code(128);
    assert!(ran.stderr.contains("error: the keyring is locked"), "{ran}");
    assert!(ran.stderr.contains("\nhint: unlock it"), "{ran}");
    assert!(began.elapsed().as_secs() < LIMIT, "{:?}", began.elapsed());
    assert_eq!(private.logins(), [""; 0], "upstream is not asked");
    let status = private.world.mirrord(["status"]).ok();
    assert!(
        status
            .stdout
            .contains("project  needs you: the keyring is locked"),
        "{status}"
    );
    let ran = at(private.set_password("project", "new"), &address).code(1);
    assert!(
        ran.stderr.contains("the keyring is locked"),
        "no plain file instead: {ran}"
    );
    assert_eq!(found(&private.world, "new"), "");
    keyring.unlock();
    at(private.fetch("ours"), &address).ok();
}

#[test]
fn without_its_keyring_a_mirror_says_where_its_secret_is() {
    let private = Stage::private();
    let mut keyring = private.world.keyring();
    let address = keyring.address();
    at(private.add_with_password("project", "right"), &address).ok();
    private.world.mirrord(["stop"]).ok();
    keyring.stop();
    for bus in [address.as_str(), "unix:path=/nonexistent"] {
        let ran = at(private.look_at("project"), bus).code(128);
        assert!(
            ran.stderr
                .contains("error: cannot reach the keyring that has this mirror's secret")
                && ran.stderr.contains("\nhint: "),
            "{ran}"
        );
        private.world.mirrord(["stop"]).ok();
    }
    // A new one goes where there is something now, and the mirror knows where that is.
    private.set_password("project", "right").ok();
    private.look_at("project").ok();
    assert_eq!(private.secrets().len(), 1);
    private.world.mirrord(["stop"]).ok();
    keyring.unlock();
    at(private.look_at("project"), &address).ok();
}
