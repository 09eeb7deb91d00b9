//! A fetch that is streamed: `git upload-pack` (or `upload-archive`) on the mirror talks to the git that runs the helper.

use common::{
    git::{self, complaint},
    protocol::{Failure, OrFailure},
    refspec::OnDemand,
};

use crate::{
    fetch::leased_mirror::LeasedMirror,
    server_program::{serve, show_line},
    view::View,
};

/// Serves git from a mirror until git is done. Of what is beside branches and tags, it shows what is `wanted`.
///
/// # Errors
/// Fails when git cannot be answered or served.
pub(crate) fn run(mirror: &LeasedMirror, service: &str, wanted: &OnDemand) -> Result<(), Failure> {
    let ready = &mirror.ready;
    let view = View::new(&ready.git_dir, wanted).or_failure("cannot show what is wanted")?;
    let mut program = git::fenced();
    program
        .arg(service.trim_start_matches("git-"))
        .arg(view.as_ref().map_or(&*ready.git_dir, View::path))
        // git does not tell a helper which protocol it speaks; every git since 2.18 speaks version 2.
        .env("GIT_PROTOCOL", "version=2");
    if view.is_some() {
        program.env("GIT_OBJECT_DIRECTORY", ready.git_dir.join("objects"));
    }
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
