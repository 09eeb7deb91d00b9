//! Mirrors that stay, however long nobody has used them.

use std::fs;

use super::shelf;
use crate::stage::Stage;

impl Stage {
    /// What `mirrord why` prints at its end: whether a mirror stays, and what would change that.
    #[track_caller]
    fn why_it_stays(&self, name: &str) -> String {
        let why = self.mirrord_shows(&["why", &self.mirror_name(name)]);
        let start = why.find("  on disk: ").expect("it says that, too");
        why[start..].to_owned()
    }

    /// Asserts that a mirror stays that nobody has used for more than a year.
    #[track_caller]
    fn stays(&self, name: &str) {
        self.unused_for(name, 400);
        self.looks_at_all();
        assert!(self.mirror_dir(name).is_some(), "{}", self.world.log());
        let log = self.mirrord(&["log"]).ok().stdout;
        assert_eq!(log.matches("  removal  ").count(), 1, "{log}");
    }
}

#[test]
fn a_mirror_with_a_local_branch_stays() {
    let shelf = shelf();
    // What upstream has rewritten, somebody brings back as a branch of their own.
    let project = shelf.shelve("project");
    project.force("main", "main~1");
    shelf.git("project", &["fetch", "-q"]).ok();
    let name = shelf.mirror_name("project");
    shelf
        .mirrord(&["restore", &name, "main", "--as", "mine"])
        .ok();
    insta::assert_snapshot!(shelf.why_it_stays("project"), @"
      on disk: [size], 1 ref of its own, last used [time] ago; it stays while it has branches or tags of its own
        'mirrord remove http+gitlab.example/group/project --force' removes it, and leaves them in a bundle
    ");
    shelf.stays("project");
    let fetched = ["fetch", "-q", "origin", "mine"];
    shelf.git("project", &fetched).ok();
}

#[test]
fn a_mirror_with_history_stays_for_as_long_as_that_is_kept() {
    let shelf = shelf();
    let project = shelf.shelve("project");
    project.force("main", "main~1");
    shelf.git("project", &["fetch", "-q"]).ok();
    shelf.stays("project");
    let name = shelf.mirror_name("project");
    let history = shelf.mirrord(&["history", &name]).ok().stdout;
    insta::assert_snapshot!(tests::shown(&history), @"[date]  refs/heads/main  [oid]  rewritten");
    // What is past keeping keeps nothing.
    shelf.mirrord(&["stop"]).ok();
    let config = shelf.mirror_of("project").join("config");
    let set = [
        "config",
        "--file",
        &config.to_string_lossy(),
        "mirror.keep-history",
        "0s",
    ];
    shelf.world.git(set).ok();
    shelf.unused_for("project", 400);
    shelf.follow_log().printed("unused for 400 days");
}

#[test]
fn a_mirror_that_is_being_read_stays_also_for_a_client_of_a_dead_daemon() {
    let shelf = shelf();
    shelf.shelve("project");
    let script = "mkfifo more; { echo option followtags true; echo connect git-upload-pack; cat more; } | git-remote-mirror origin \"$0\"";
    let reader = shelf
        .world
        .program("sh", ["-c", script, &shelf.url_of("project")]);
    let reader = reader.start();
    reader.printed("version 2");
    shelf.world.kill_daemon();
    shelf.stays("project");
    let question = "0014command=ls-refs\n00000000";
    fs::write(shelf.world.path("more"), question).expect("it is read");
    let ran = reader.wait();
    assert!(
        ran.status.success() && ran.stdout.contains("refs/heads/main"),
        "{ran}"
    );
}

#[test]
fn a_mirror_with_a_name_stays_and_so_does_one_whose_settings_were_changed() {
    let shelf = shelf();
    for name in ["named", "set", "renamed"] {
        let project = shelf.gitlab.project(&format!("group/{name}"));
        project.history(2);
    }
    shelf
        .mirrord(&["add", "-q", "work", &shelf.url_of("named")])
        .ok();
    for name in ["set", "renamed"] {
        shelf.clone(&shelf.url_of(name), name).ok();
        assert_eq!(shelf.state_of(name)["automatic"], true, "{name}");
    }
    shelf.world.clone_mirror("work", "named").ok();
    shelf
        .mirrord(&["set", &shelf.mirror_name("set"), "--every", "2h"])
        .ok();
    shelf
        .mirrord(&["rename", &shelf.mirror_name("renamed"), "other"])
        .ok();
    for name in ["named", "set", "renamed"] {
        assert_eq!(shelf.state_of(name)["automatic"], false, "{name}");
    }
    for name in ["named", "set", "renamed"] {
        shelf.unused_for(name, 400);
    }
    shelf.looks_at_all();
    for name in ["named", "set", "renamed"] {
        assert!(shelf.mirror_dir(name).is_some(), "{name}");
    }
}

#[test]
fn a_mirror_whose_upstream_fails_or_looks_wiped_stays() {
    let shelf = shelf();
    let project = shelf.shelve("project");
    // Looks wiped.
    for (name, _) in project.refs() {
        project.delete(&name);
    }
    shelf
        .mirrord(&["sync", "-q", &shelf.url_of("project")])
        .code(1);
    shelf.stays("project");
    shelf.clone(&shelf.url_of("project"), "again").ok();
}

#[test]
fn a_mirror_with_a_push_in_doubt_or_a_hook_stays() {
    for (file, text) in [("doubt", ""), ("webhook", "")] {
        let shelf = shelf();
        shelf.shelve("project");
        fs::write(shelf.mirror_of("project").join(file), text).expect("the mirror is ours");
        shelf.stays("project");
    }
}

#[test]
fn while_the_settings_cannot_be_read_no_mirror_is_removed() {
    let shelf = shelf();
    shelf.shelve("project");
    shelf.unused_for("project", 400);
    let config = shelf.world.mirror_home().join("config");
    fs::write(&config, "[mirror]\n\tkeep-unsued = never\n").expect("it is ours");
    shelf.mirrord(&["list"]).ok();
    let text = "cannot look which mirrors are unused: unknown setting 'keep-unsued'";
    shelf.logs(text);
    assert!(shelf.mirror_dir("project").is_some());
}

#[test]
fn why_says_whether_a_mirror_will_be_removed_and_what_keeps_it() {
    let shelf = shelf();
    shelf.shelve("project");
    let name = shelf.mirror_name("project");
    insta::assert_snapshot!(shelf.why_it_stays("project"), @"
      on disk: [size], last used [time] ago; a clone has made it, and it goes when nobody has used it for 30 days, or disk-budget is exceeded
        'mirrord set http+gitlab.example/group/project --description TEXT', or any other setting, makes it yours: then it stays
    ");
    shelf.mirrord(&["config", "keep-unused", "never"]).ok();
    insta::assert_snapshot!(shelf.why_it_stays("project"), @"
      on disk: [size], last used [time] ago; a clone has made it, and it goes when disk-budget is exceeded
        'mirrord set http+gitlab.example/group/project --description TEXT', or any other setting, makes it yours: then it stays
    ");
    shelf.set(&name, &["--description", "mine"]).ok();
    insta::assert_snapshot!(shelf.why_it_stays("project"), @"
      on disk: [size], last used [time] ago; it stays until it is removed
        'mirrord remove http+gitlab.example/group/project' removes it
    ");
}
