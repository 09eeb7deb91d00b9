//! What programs of build servers send, word by word: nothing of it has to be changed for the mirror.

use tests::Twins;

use super::{fill_with_requests, push_to_review};
use crate::stage::Stage;

/// A new repository with the remote, as both programs begin.
fn begin(stage: &Stage) -> Twins<'_> {
    let twins = stage.world.twins(&["init", "-q"]);
    let address = format!("mirror::{}", stage.url);
    twins.git(&["remote", "add", "origin", &address]);
    twins.git(&["config", "--unset-all", "remote.origin.fetch"]);
    twins
}

#[test]
fn a_runner_of_gitlab_fetches_the_pipeline_of_a_merge_request() {
    let stage = Stage::new(fill_with_requests).with_ours();
    let twins = begin(&stage);
    let fetches = |depth: &[&str]| {
        let fetch = ["fetch", "origin", "--no-recurse-submodules"];
        let rest = [
            "--prune",
            "--quiet",
            "+refs/pipelines/9:refs/pipelines/9",
            "+refs/merge-requests/12/head:refs/remotes/origin/merge-requests/12/head",
        ];
        twins.git(&[&fetch, depth, &rest].concat());
        twins.git(&["checkout", "-f", "-q", "refs/pipelines/9"]);
        twins.same();
    };
    fetches(&["--depth", "20"]);
    let review = push_to_review(&stage, 12);
    stage.project.force("refs/pipelines/9", &review);
    fetches(&["--depth", "20"]);
    fetches(&["--depth", "1"]);
    fetches(&[]);
}

#[test]
fn actions_checkout_fetches_the_merge_of_a_pull_request() {
    let stage = Stage::new(fill_with_requests).with_ours();
    let twins = begin(&stage);
    let fetches = |options: &[&str], refspecs: &[&str]| {
        let fetch = ["-c", "protocol.version=2", "fetch"];
        twins.git(&[&fetch, options, &["origin"], refspecs].concat());
        let checkout = ["checkout", "--force", "-q", "refs/remotes/pull/7/merge"];
        twins.git(&checkout);
        twins.same();
    };
    let shallow = [
        "--no-tags",
        "--prune",
        "--no-recurse-submodules",
        "--depth=1",
    ];
    let merge = |stage: &Stage| {
        let tip = stage.upstream_tip("refs/pull/7/merge");
        format!("+{tip}:refs/remotes/pull/7/merge")
    };
    fetches(&shallow, &[&merge(&stage)]);
    stage.project.commit("refs/pull/7/merge", "merge", "again");
    fetches(&shallow, &[&merge(&stage)]);
    // With `fetch-depth: 0`.
    let all = ["--prune", "--no-recurse-submodules", "--unshallow"];
    let everything = [
        "+refs/heads/*:refs/remotes/origin/*",
        "+refs/tags/*:refs/tags/*",
        &merge(&stage),
    ];
    fetches(&all, &everything);
    let partial = ["--no-tags", "--prune", "--filter=blob:none"];
    fetches(&partial, &[&merge(&stage)]);
}

#[test]
fn the_first_job_of_all_finds_no_mirror_and_gets_the_same() {
    let stage = Stage::new(fill_with_requests);
    let twins = begin(&stage);
    let fetch = [
        "fetch",
        "-q",
        "--no-tags",
        "origin",
        "+refs/pull/7/merge:refs/remotes/pull/7/merge",
    ];
    twins.git(&fetch);
    twins.same();
}
