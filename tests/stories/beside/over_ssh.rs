//! The same over ssh.

use super::fill_with_requests;
use crate::ssh::Stage;

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn they_are_fetched_over_ssh() {
    let stage = Stage::new(fill_with_requests);
    let twins = stage.world.clone_twins(&stage.url, &[]);
    let tip = stage.project.tip("refs/merge-requests/13/head");
    let tip = tip.expect("it is there");
    for refspecs in [
        &["refs/merge-requests/12/head:refs/found/1"][..],
        &["pull/7/merge"],
        &["refs/notes/*:refs/notes/*"],
        &[&tip],
    ] {
        twins.git(&[&["fetch", "-q", "origin"], refspecs].concat());
        twins.same();
    }
    let shallow = stage.world.clone_twins(&stage.url, &["--depth=1"]);
    shallow.git(&["fetch", "-q", "--depth=1", "origin", "pull/7/merge"]);
    shallow.same();
}
