//! The savings that `mirrord status` shows.

use serde_json::json;
use tests::On;

use super::shelf;
use crate::stage::Stage;

impl Stage {
    /// The savings of a mirror: clones, fetches, bytes.
    #[track_caller]
    fn saved(&self, name: &str) -> [u64; 3] {
        let saved = &self.state_of(name)["saved"];
        ["clones", "fetches", "bytes"].map(|key| saved[key].as_u64().expect("a number"))
    }
}

#[test]
fn the_first_clone_has_saved_nothing_and_the_second_all_of_it() {
    let shelf = shelf();
    let project = shelf.shelve("project");
    assert_eq!(shelf.saved("project"), [0, 0, 0]);
    shelf.clone(&shelf.url_of("project"), "second").ok();
    let [clones, fetches, all] = shelf.saved("project");
    assert_eq!((clones, fetches), (1, 0));
    let took = shelf.state_of("project")["size_bytes"]
        .as_u64()
        .expect("a number");
    assert!(all > 100 && all < took, "{all}");
    // With what little came for it.
    project.commit("main", "file", "next");
    shelf.clone(&shelf.url_of("project"), "third").ok();
    let [clones, fetches, more] = shelf.saved("project");
    assert_eq!((clones, fetches), (2, 0));
    assert!(more > all && more < 3 * all, "{more}");
    insta::assert_snapshot!(shelf.status_line("saved:"), @"saved:   [size] in 2 clones and 0 fetches");
    let name = shelf.mirror_name("project");
    insta::assert_snapshot!(shelf.status_line(&name), @"http+gitlab.example/group/project  in step [time] ago; next sync in [time]; [size]; saved [size]");
    assert_eq!(shelf.status_json()["saved"]["clones"], json!(2));
}

#[test]
fn a_clone_of_a_part_does_not_count_as_a_clone_of_everything() {
    let shelf = shelf();
    shelf.shelve("project");
    let address = format!("mirror::{}", shelf.url_of("project"));
    let parts: [&[&str]; 5] = [
        &["clone", "-q", "--depth", "1"],
        &["clone", "-q", "--filter", "blob:none", "--no-checkout"],
        &["clone", "-q", "--single-branch"],
        &["clone", "-q", "--reference", "project"],
        &["ls-remote", "-q"],
    ];
    for (number, args) in parts.into_iter().enumerate() {
        let dir = format!("part-{number}");
        let last = [address.as_str(), &dir];
        let last = if args[0] == "clone" {
            &last[..]
        } else {
            &last[..1]
        };
        shelf.world.git([args, last].concat()).ok();
        assert_eq!(shelf.saved("project")[0], 0, "{args:?}");
    }
    for (number, option) in ["--bare", "--mirror", "--no-tags"].into_iter().enumerate() {
        let dir = format!("whole-{number}");
        let args = ["clone", "-q", option, address.as_str(), &dir];
        shelf.world.git(args).ok();
        assert_eq!(shelf.saved("project")[0], number as u64 + 1, "{option}");
    }
}

#[test]
fn of_clones_that_wait_for_the_same_sync_one_counts_as_the_download() {
    let shelf = shelf();
    let project = shelf.gitlab.project("group/project");
    project.history(3);
    let paused = shelf.gitlab.pause(On::LsRefs);
    let first = shelf.clone(&shelf.url_of("project"), "first").start();
    paused.reached();
    let others =
        ["second", "third", "fourth"].map(|dir| shelf.clone(&shelf.url_of("project"), dir).start());
    shelf.world.wait_until_clients(4);
    paused.release();
    for clone in [first].into_iter().chain(others) {
        let ran = clone.wait();
        assert!(ran.status.success(), "{ran}");
    }
    let [clones, _, bytes] = shelf.saved("project");
    assert_eq!(clones, 3);
    assert!(bytes > 0);
}

#[test]
fn fetches_are_counted_and_what_a_daemon_has_counted_the_next_one_knows() {
    let shelf = shelf();
    let project = shelf.shelve("project");
    shelf.clone(&shelf.url_of("project"), "other").ok();
    project.commit("main", "file", "next");
    let [_, _, before] = shelf.saved("project");
    shelf.git("project", &["fetch", "-q"]).ok();
    assert_eq!(
        shelf.saved("project"),
        [1, 0, before],
        "it had to be downloaded"
    );
    shelf.git("other", &["fetch", "-q"]).ok();
    assert_eq!(
        shelf.saved("project"),
        [1, 1, before],
        "and how much that is nobody knows"
    );
    shelf.mirrord(&["stop"]).ok();
    shelf.mirrord(&["list"]).ok();
    assert_eq!(shelf.saved("project"), [1, 1, before]);
    let seconds = &shelf.state_of("project")["saved"]["seconds"];
    assert!(seconds.is_u64(), "its own download was measured: {seconds}");
}
