//! Finds out which programs are installed that some stories need: without them, these stories are ignored, with the reason.

use std::{env, path::Path};

/// What stories may need: the name of the condition, and its programs.
const NEEDS: [(&str, &[&str]); 10] = [
    ("curl", &["curl"]),
    ("dulwich", &["/usr/lib/python3/dist-packages/dulwich"]),
    ("gitolite", &["gitolite"]),
    ("jgit", &["javac", "/usr/share/java/org.eclipse.jgit.jar"]),
    (
        "keyring",
        &[
            "dbus-daemon",
            "dbus-send",
            "gnome-keyring-daemon",
            "secret-tool",
        ],
    ),
    ("nginx", &["nginx"]),
    ("ps", &["ps"]),
    ("sshd", &["ssh", "ssh-keygen", "sshd"]),
    ("strace", &["strace"]),
    ("systemd", &["systemctl"]),
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // `tests/run` sets it to what is missing. Not the `PATH`: cargo adds to that, and each cargo of a story would build
    // the stories anew.
    println!("cargo:rerun-if-env-changed=MIRROR_TESTS_MISSING");
    let path = env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<_> = env::split_paths(&path).collect();
    dirs.push("/usr/sbin".into());
    println!("cargo:rustc-check-cfg=cfg(other_git)");
    let first = dirs
        .iter()
        .map(|dir| dir.join("git"))
        .find(|git| git.exists());
    if first.is_some_and(|first| first != Path::new("/usr/bin/git"))
        && Path::new("/usr/bin/git").exists()
    {
        println!("cargo:rustc-cfg=other_git");
    }
    for (name, programs) in NEEDS {
        println!("cargo:rustc-check-cfg=cfg({name})");
        let is_there = |program: &&str| dirs.iter().any(|dir| dir.join(program).exists());
        if programs.iter().all(is_there) {
            println!("cargo:rustc-cfg={name}");
        }
    }
}
