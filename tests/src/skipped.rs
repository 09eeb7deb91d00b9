//! Tests that cannot run here although their programs are installed. Those whose programs are missing are ignored by the
//! test runner (`build.rs`).

use std::{env, fs::File, io::Write, thread};

/// A variable that is `all` where a test fails instead of being skipped.
const REQUIRED_VARIABLE: &str = "MIRROR_TESTS_REQUIRE";

/// A variable that names a file to which the names of skipped tests are appended.
const SKIPPED_VARIABLE: &str = "MIRROR_TESTS_SKIPPED";

/// Tells that this thread's test is skipped, and why. Panics if none may be.
#[track_caller]
#[allow(clippy::print_stderr, reason = "a skipped test says why")]
pub(crate) fn note(why: &str) {
    let is_required = env::var_os(REQUIRED_VARIABLE).is_some_and(|value| value == "all");
    assert!(!is_required, "{why}");
    let test = thread::current();
    let line = format!("{}: {why}", test.name().unwrap_or("?"));
    eprintln!("skipped: {line}");
    if let Some(file) = env::var_os(SKIPPED_VARIABLE) {
        let file = File::options().append(true).create(true).open(file);
        file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
            .expect("the file of skipped tests can be written");
    }
}
