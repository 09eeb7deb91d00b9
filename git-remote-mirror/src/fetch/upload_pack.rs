//! A fetch that is streamed: `git upload-pack` (or `upload-archive`) on the mirror talks to the git that runs the helper.

use common::{
    git::{self, complaint},
    protocol::Failure,
};

use crate::{
    fetch::leased_mirror::LeasedMirror,
    server_program::{serve, show_line},
};

/// Serves git from a mirror until git is done.
pub(crate) fn run(mirror: &LeasedMirror, service: &str) -> Result<(), Failure> {
    let ready = &mirror.ready;
    let mut program = git::fenced();
    program
        .arg(service.trim_start_matches("git-"))
        .arg(&ready.git_dir)
        // git does not tell a helper which protocol it speaks; every git since 2.18 speaks version 2.
        .env("GIT_PROTOCOL", "version=2");
    let mut has_complained = false;
    serve(program, service, |line| {
        has_complained |= complaint::is_about_objects(line);
        show_line(line, &ready.url);
    })?;
    if has_complained {
        mirror.report_damage();
    }
    Ok(())
}
