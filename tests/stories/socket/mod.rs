//! The home and the socket of the daemon, and who may use them.

mod gone;

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use tests::{Run, World};

use crate::{daemon::stage, stage::Stage};

#[track_caller]
fn mode(path: impl AsRef<Path>) -> u32 {
    let found = fs::symlink_metadata(path.as_ref());
    let found = found.unwrap_or_else(|err| panic!("{}: {err}", path.as_ref().display()));
    found.permissions().mode() & 0o7777
}

#[test]
fn only_the_user_may_enter_the_home_whatever_the_umask() {
    let stage = stage();
    let script = "umask 000; exec git clone -q \"$0\" ours";
    stage
        .world
        .program("sh", ["-c", script, &format!("mirror::{}", stage.url)])
        .ok();
    let home = stage.world.mirror_home();
    let all = [
        "-c",
        "find \"$0\" -type f -perm /077",
        &home.display().to_string(),
    ];
    let all = stage.world.program("sh", all).ok();
    let is_pack = |file: &&str| file.contains("/objects/pack/pack-");
    let others: Vec<_> = all.stdout.lines().filter(|file| !is_pack(file)).collect();
    // Packs are in the clones, too, where they have the mode that git gives them.
    assert_eq!(others, [""; 0], "nothing else is for others");
    assert!(fs::metadata(home.join("socket")).is_ok_and(|found| found.file_type().is_socket()));
    assert_eq!(mode(home.join("socket")), 0o600);
    for dir in ["", "mirrors"] {
        assert_eq!(mode(home.join(dir)), 0o700, "{dir}");
    }
}

#[test]
fn a_home_that_others_may_enter_is_closed_to_them() {
    let stage = stage();
    let home = stage.world.mirror_home();
    fs::create_dir_all(home.join("mirrors")).expect("the world is ours");
    for dir in [&home, &home.join("mirrors")] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).expect("it is ours");
    }
    stage.ls_remote().ok();
    assert_eq!((mode(&home), mode(home.join("mirrors"))), (0o700, 0o700));
}

#[test]
fn a_home_that_others_could_replace_is_refused() {
    let stage = stage();
    let shared = stage.world.path("shared");
    fs::create_dir(&shared).expect("the world is ours");
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).expect("ours");
    let home = shared.join("home");
    let mut all = String::new();
    for run in [stage.ls_remote(), stage.mirrord(&["list"])] {
        let ran = run.env("MIRROR_HOME", &home).fails();
        write!(all, "{}", ran.shown()).expect("into a string");
    }
    insta::assert_snapshot!(all, @r"
    error: cannot use MIRROR_HOME '/world/shared/home': others can write to '/world/shared'
    hint: close it (chmod go-w '/world/shared'), or set MIRROR_HOME to a directory elsewhere
    error: cannot use MIRROR_HOME '/world/shared/home': others can write to '/world/shared'
    hint: close it (chmod go-w '/world/shared'), or set MIRROR_HOME to a directory elsewhere
    ");
    assert!(!home.exists(), "nothing is made there");
    // As `/tmp` is.
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).expect("ours");
    stage.mirrord(&["list"]).env("MIRROR_HOME", &home).ok();
    stage.mirrord(&["stop"]).env("MIRROR_HOME", &home).ok();
    let link = shared.join("link");
    std::os::unix::fs::symlink(&home, &link).expect("ours");
    stage.mirrord(&["status"]).env("MIRROR_HOME", &link).code(3);
    // Only root can give something away.
    if std::os::unix::fs::lchown(&link, Some(65534), None).is_ok() {
        let ran = stage.ls_remote().env("MIRROR_HOME", &link).fails();
        insta::assert_snapshot!(ran.shown(), @r"
        error: cannot use MIRROR_HOME '/world/shared/link': the link '/world/shared/link' belongs to another user
        hint: set MIRROR_HOME to where '/world/shared/link' leads, if you trust its owner
        ");
    }
}

#[test]
fn a_home_with_a_long_path_has_its_socket_in_the_runtime_directory() {
    let stage = stage();
    let home = stage.world.path("l".repeat(100)).join("o".repeat(100));
    let there = |run: Run| run.env("MIRROR_HOME", &home);
    there(stage.clone(&stage.url, "ours")).ok();
    let run = fs::read_dir(stage.world.path("run")).expect("it is there");
    let found: Vec<_> = run.map(|entry| entry.expect("readable").path()).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].as_os_str().len() < 100 && mode(&found[0]) == 0o600);
    let stopped = there(stage.mirrord(&["stop"])).ok();
    assert_eq!(stopped.line(), "mirrord has stopped");
}

#[test]
fn a_home_with_a_path_too_long_for_any_socket_says_so() {
    let stage = stage();
    let home = stage.world.path("l".repeat(100));
    let run = || stage.ls_remote().env("MIRROR_HOME", &home);
    let none = run().env("XDG_RUNTIME_DIR", "");
    let mut all = String::new();
    // Whoever can write there could put a socket of their own in our place.
    let shared = stage.world.path("shared");
    fs::create_dir(&shared).expect("the world is ours");
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).expect("it is ours");
    for run in [none, run().env("XDG_RUNTIME_DIR", &shared)] {
        write!(all, "{}", run.fails().shown()).expect("into a string");
    }
    insta::assert_snapshot!(all, @r"
    error: the path of the socket is too long: '/world/llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll/socket'
    hint: set a shorter MIRROR_HOME, or XDG_RUNTIME_DIR to a directory that is yours alone
    error: the path of the socket is too long: '/world/llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll/socket'
    hint: set a shorter MIRROR_HOME, or XDG_RUNTIME_DIR to a directory that is yours alone
    ");
    assert_eq!(fs::read_dir(&shared).expect("it is there").count(), 0);
}

#[test]
fn a_relative_home_is_refused() {
    let stage = stage();
    let ran = stage.ls_remote().env("MIRROR_HOME", "there").fails();
    insta::assert_snapshot!(ran.shown(), @"error: MIRROR_HOME is not an absolute path: 'there'");
    assert!(!stage.world.path("there").exists());
}

#[test]
fn without_mirror_home_the_daemon_uses_the_platforms_directories() {
    let stage = stage();
    let there = |run: Run| run.env_remove("MIRROR_HOME");
    there(stage.clone(&stage.url, "ours")).ok();
    let [data, state, runtime] = ["home/.local/share", "home/.local/state", "run"]
        .map(|dir| stage.world.path(dir).join("mirror"));
    assert_eq!(mode(runtime.join("socket")), 0o600);
    for dir in [&data, &state, &runtime, &data.join("mirrors")] {
        assert_eq!(mode(dir), 0o700, "{}", dir.display());
    }
    let count = |dir: &Path| fs::read_dir(dir).map_or(0, Iterator::count);
    assert_eq!(
        (count(&data.join("mirrors")), count(&state.join("log"))),
        (1, 1)
    );
    there(stage.mirrord(&["stop"])).ok();
    assert!(!stage.world.mirror_home().exists());
}

/// Plays a daemon: answers each greeting with this one, so many times, then is gone.
pub(crate) fn play_daemon(
    stage: &Stage,
    greeting: &'static [u8; 8],
    times: usize,
) -> thread::JoinHandle<()> {
    let home = stage.world.mirror_home();
    fs::create_dir_all(&home).expect("the world is ours");
    let socket = home.join("socket");
    let listener = UnixListener::bind(&socket).expect("the path is free");
    thread::spawn(move || {
        for _ in 0..times {
            let (mut stream, _) = listener.accept().expect("somebody connects");
            stream.write_all(greeting).expect("they listen");
            stream.read_exact(&mut [0; 8]).expect("they greet");
        }
        fs::remove_file(socket).expect("it is ours");
    })
}

#[test]
fn a_daemon_of_another_version_is_named_and_not_misread() {
    let stage = stage();
    let own_pid = std::process::id().to_string();
    let mut all = String::new();
    for greeting in [b"mirror\x00\x63", b"HTTP/1.1"] {
        let daemon = play_daemon(&stage, greeting, 3);
        for run in [
            stage.ls_remote(),
            stage.mirrord(&["status"]),
            stage.mirrord(&["stop"]),
        ] {
            let ran = run.fails();
            let shown = ran.shown().replace(&own_pid, "[pid]");
            all.push_str(&shown);
        }
        daemon.join().expect("all three came");
    }
    insta::assert_snapshot!(all, @r"
    error: mirrord speaks version 99 of the protocol, this program version 12
    hint: stop it with 'kill [pid]'; the next command starts the installed one
    error: mirrord speaks version 99 of the protocol, this program version 12
    hint: stop it with 'kill [pid]'; the next command starts the installed one
    error: mirrord speaks version 99 of the protocol, this program version 12
    hint: stop it with 'kill [pid]'; the next command starts the installed one
    error: cannot talk to mirrord at '/world/m/socket': the other side does not speak this protocol
    error: cannot talk to mirrord at '/world/m/socket': the other side does not speak this protocol
    error: cannot talk to mirrord at '/world/m/socket': the other side does not speak this protocol
    ");
    stage.ls_remote().ok();
}

#[test]
fn a_daemon_that_ends_before_it_greets_is_as_good_as_none() {
    let stage = stage();
    let home = stage.world.mirror_home();
    fs::create_dir(&home).expect("the world is ours");
    let listener = UnixListener::bind(home.join("socket")).expect("the path is free");
    let dying = thread::spawn(move || drop(listener.accept().expect("somebody connects")));
    stage.ls_remote().ok();
    dying.join().expect("somebody came");
}

/// Connects as a user, greets, and says how many bytes came back; the greeting is `mirror` and a version.
const STRANGER: &str = r#"
use strict; use Socket; use POSIX;
my ($path, $user) = @ARGV;
# Whoever is turned away may find the line closed before a word is said.
$SIG{PIPE} = "IGNORE";
POSIX::setuid($user) if $user != $<;
die "not that user" if $> != $user;
socket(my $line, AF_UNIX, SOCK_STREAM, 0) or die "socket: $!";
connect($line, pack_sockaddr_un($path)) or die "connect: $!";
syswrite($line, "mirror\0\4");
my $received = 0;
while (sysread($line, my $piece, 100)) { $received += length $piece; last if $received >= 8; }
print "$received\n";
"#;

#[test]
fn another_user_gets_no_byte_even_if_the_socket_is_open_to_all() {
    let world = World::new();
    world.mirrord(["list"]).ok();
    let socket = world.mirror_home().join("socket");
    let open = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    };
    let me = rustix::process::geteuid().as_raw();
    let received = |user: u32| {
        let args = [
            "-e",
            STRANGER,
            &socket.display().to_string(),
            &user.to_string(),
        ];
        world.program("perl", args).ok().line().to_owned()
    };
    assert_eq!(received(me), "8", "its owner is greeted");
    if me == 0 {
        // Only root can be somebody else; and somebody else cannot even get here as long as nobody opens the way.
        open(world.root(), 0o755);
        open(&world.mirror_home(), 0o755);
        open(&socket, 0o777);
        assert_eq!(received(65534), "0", "nobody else is");
        let deadline = Instant::now() + Duration::from_secs(30);
        // The log is written beside everything else.
        while !world.log().contains("another user tried to connect") {
            assert!(Instant::now() < deadline, "{}", world.log());
        }
    } else {
        assert_eq!((mode(world.mirror_home()), mode(&socket)), (0o700, 0o600));
    }
}
