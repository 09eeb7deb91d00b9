//! The programs under test, built once per test run: `cargo test -p tests` alone does not
//! build them, and a story told by yesterday's binary is worse than none.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Variables that cargo sets for the test it runs. Handed on to a nested cargo, they make
/// build scripts believe that something changed, and everything is built again.
const OF_THE_TEST: [&str; 5] = [
    "CARGO_PKG_",
    "CARGO_MANIFEST_",
    "CARGO_BIN_",
    "CARGO_CRATE_NAME",
    "CARGO_PRIMARY_PACKAGE",
];

/// Returns the directory of the built programs, the same target directory as the test's.
#[track_caller]
pub(crate) fn dir() -> &'static Path {
    // The failure is kept as well: one try to build is enough for all tests.
    static DIR: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match DIR.get_or_init(build) {
        Ok(dir) => dir,
        Err(message) => panic!("the programs do not build:\n{message}"),
    }
}

fn build() -> Result<PathBuf, String> {
    let test = std::env::current_exe().expect("a test has an executable");
    // <target>/<profile>/deps/stories-<hash>, or <target>/<profile>/power_cut
    let dir = test
        .ancestors()
        .skip(1)
        .find(|dir| !dir.ends_with("deps"))
        .expect("cargo puts tests into <target>/<profile>");
    let target = dir.parent().expect("a profile is inside the target");
    let profile = match dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (key, _) in std::env::vars_os() {
        if let Some(name) = key.to_str()
            && OF_THE_TEST.iter().any(|prefix| name.starts_with(prefix))
        {
            cargo.env_remove(&key);
        }
    }
    let targets = match profile {
        // What `cargo test --workspace` has built is then used as it is: fewer targets would mean other features.
        "dev" => "--all-targets",
        // The programs that print figures; nobody builds the stories like this.
        _ => "--bins",
    };
    let built = cargo
        .args(["build", "--offline", "--quiet", "--profile", profile])
        .args(["--workspace", targets])
        .arg("--target-dir")
        .arg(target)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs");
    if built.status.success() {
        Ok(dir.to_path_buf())
    } else {
        Err(String::from_utf8_lossy(&built.stderr).into_owned())
    }
}
