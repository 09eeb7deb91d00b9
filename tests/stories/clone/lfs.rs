//! The address of large files (git-lfs) in a clone.

use super::fill;
use crate::stage::Stage;

/// The `lfsurl` of a clone's remote, if it has one.
fn lfs_url(stage: &Stage, dir: &str) -> String {
    let asked = ["config", "--local", "remote.origin.lfsurl"];
    stage.world.git(asked).at(dir).run().line().to_owned()
}

#[test]
fn a_clone_over_https_gets_an_lfsurl() {
    let stage = Stage::with_tls(fill);
    stage.world.clone_twins(&stage.url, &[]);
    let stem = stage.url.trim_end_matches(".git");
    for (dir, address) in [("whole", stage.url.as_str()), ("short", stem)] {
        stage.clone(address, dir).ok();
        assert_eq!(lfs_url(&stage, dir), format!("{stem}.git/info/lfs"));
    }
}

#[test]
fn only_a_new_remote_gets_an_lfsurl() {
    let stage = Stage::with_tls(fill);
    stage.clone(&stage.url, "ours").ok();
    for args in [
        &["config", "--unset", "remote.origin.lfsurl"][..],
        &["fetch"],
    ] {
        stage.world.git(args).at("ours").ok();
    }
    assert_eq!(lfs_url(&stage, "ours"), "");
}

#[test]
fn a_clone_keeps_an_lfsurl_that_the_user_has_set() {
    let stage = Stage::with_tls(fill);
    stage
        .clone(&stage.url, "ours")
        .arg("--config=lfs.url=https://lfs.example/files")
        .ok();
    assert_eq!(lfs_url(&stage, "ours"), "");
    let file = "[lfs]\n\turl = https://lfs.example/files\n";
    stage.project.commit("main", ".lfsconfig", file);
    stage.clone(&stage.url, "committed").ok();
    assert_eq!(lfs_url(&stage, "committed"), "");
}

#[test]
fn a_clone_over_http_leaves_large_files_alone() {
    let stage = Stage::new(fill);
    stage.clone(&stage.url, "ours").ok();
    assert_eq!(lfs_url(&stage, "ours"), "");
}
