//! A real gnome-keyring-daemon on a session bus of this world.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::process::descendants;
use crate::{Run, Running, World};

/// The password that unlocks the keyring.
const PASSWORD: &str = "password of the keyring";

/// How long the bus and the keyring may take to start or to change.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The configuration of the bus. The bus starts no service but the prompter, whatever is installed on this machine.
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=ROOT/bus/socket</listen>
  <auth>EXTERNAL</auth>
  <servicedir>ROOT/bus/services</servicedir>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
  <limit name="service_start_timeout">600000</limit>
</busconfig>
"#;

/// The program that asks for the password of a locked keyring. This one waits for a user who never answers.
const PROMPTER: &str = "\
[D-BUS Service]
Name=org.gnome.keyring.SystemPrompter
Exec=ROOT/bus/prompter
";

/// The bus name of the Secret Service.
const SERVICE: &str = "org.freedesktop.secrets";

/// The path of the default keyring.
const LOGIN: &str = "/org/freedesktop/secrets/collection/login";

/// A keyring of one world, unlocked at first. Dropping it ends its processes.
#[derive(Debug)]
pub struct Keyring<'a> {
    world: &'a World,
    bus: Running,
    daemon: Option<Running>,
}

impl World {
    /// Starts a session bus and a keyring on it. Programs find them by the keyring's
    /// [`address`](Keyring::address), as `DBUS_SESSION_BUS_ADDRESS`.
    #[track_caller]
    pub fn keyring(&self) -> Keyring<'_> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(self.path("bus/services"))
            .expect("the world is ours");
        let here = |text: &str| text.replace("ROOT", &self.root().to_string_lossy());
        let write = |file: &str, text: &str| {
            fs::write(self.path(file), here(text)).expect("the world is ours");
        };
        write("bus/config", BUS);
        write("bus/services/prompter.service", PROMPTER);
        // Opening the pipe blocks: the shell itself waits, without a child.
        self.script(
            "bus/prompter",
            "#!/bin/sh\nmkfifo \"$0-waits\"\n: <\"$0-waits\"\n",
        );
        let bus = self
            .program("dbus-daemon", ["--nofork", "--print-address"])
            .arg(format!(
                "--config-file={}",
                self.path("bus/config").display()
            ))
            .start();
        bus.printed("unix:path=");
        let mut keyring = Keyring {
            world: self,
            bus,
            daemon: None,
        };
        keyring.unlock();
        keyring
    }
}

impl Keyring<'_> {
    /// Returns the address of the session bus that it is on.
    pub fn address(&self) -> String {
        format!("unix:path={}", self.world.path("bus/socket").display())
    }

    /// Locks it. Whoever wants something of it then waits for a person who does not come.
    #[track_caller]
    pub fn lock(&self) {
        let login = format!("array:objpath:{LOGIN}");
        self.call(
            "/org/freedesktop/secrets",
            "org.freedesktop.Secret.Service.Lock",
            &[&login],
        )
        .ok();
        self.wait_until("boolean true");
    }

    /// Starts it anew, unlocked as by signing in; it has all that it had.
    #[track_caller]
    pub fn unlock(&mut self) {
        self.stop();
        let args = ["--foreground", "--components=secrets", "--unlock"];
        let daemon = self
            .world
            .program("gnome-keyring-daemon", args)
            .env("DBUS_SESSION_BUS_ADDRESS", self.address())
            .stdin(PASSWORD)
            .start();
        self.daemon = Some(daemon);
        self.wait_until("boolean false");
    }

    /// Ends it; the bus stays, and there is no keyring on it any more.
    pub fn stop(&mut self) {
        drop(self.daemon.take());
    }

    /// Waits until the person is asked for the password.
    #[track_caller]
    pub fn asks(&self) {
        self.bus.printed("org.gnome.keyring.SystemPrompter");
    }

    /// Waits until the keyring says so of being locked.
    #[track_caller]
    fn wait_until(&self, wanted: &str) {
        let deadline = Instant::now() + TIMEOUT;
        let args = ["string:org.freedesktop.Secret.Collection", "string:Locked"];
        loop {
            let ran = self
                .call(LOGIN, "org.freedesktop.DBus.Properties.Get", &args)
                .run();
            if ran.stdout.contains(wanted) {
                return;
            }
            // It has no event for this; each look is a conversation with the bus.
            assert!(
                Instant::now() < deadline,
                "the keyring does not become '{wanted}':\n{ran}\n{:?}",
                self.daemon.as_ref().map(Running::so_far)
            );
        }
    }

    /// Prepares a call of one of the service's methods.
    fn call(&self, object: &str, method: &str, args: &[&str]) -> Run {
        let options = ["--session", "--print-reply"];
        args.iter().fold(
            self.world
                .program("dbus-send", options)
                .env("DBUS_SESSION_BUS_ADDRESS", self.address())
                .arg(format!("--dest={SERVICE}"))
                .arg(object)
                .arg(method),
            Run::arg,
        )
    }
}

impl Drop for Keyring<'_> {
    fn drop(&mut self) {
        self.stop();
        // Who was started by the bus is in no group of its.
        for prompter in descendants(self.bus.pid()) {
            prompter.signal(Signal::KILL);
        }
    }
}
