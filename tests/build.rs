//! Finds out which programs are installed that some stories need: without them, these stories are ignored, with the reason.

use std::{env, path::Path};

/// What stories may need: the name of the condition, and the files that must be there, each a program on the `PATH` or an
/// absolute path.
const NEEDS: [(&str, &[&str]); 7] = [
    ("curl", &["curl"]),
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
    ("sshd", &["ssh", "ssh-keygen", "/usr/sbin/sshd"]),
    ("strace", &["strace"]),
    ("systemd", &["systemctl", "/run/systemd/system"]),
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=PATH");
    let path = env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<_> = env::split_paths(&path).collect();
    dirs.push("/usr/sbin".into());
    for (name, files) in NEEDS {
        println!("cargo:rustc-check-cfg=cfg({name})");
        let is_there = |file: &&str| dirs.iter().any(|dir| dir.join(file).exists());
        match files.iter().find(|file| !is_there(file)) {
            None => println!("cargo:rustc-cfg={name}"),
            // Looked for again at each build, until it is there.
            Some(file) => {
                let missing = Path::new("/usr/bin").join(file);
                println!("cargo:rerun-if-changed={}", missing.display());
            }
        }
    }
}
