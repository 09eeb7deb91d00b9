//! Fetch like plain git: every change upstream, every command that asks a remote.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use tests::Project;

use crate::clone::{fill, local};
use crate::stage::Stage;

/// A change of upstream, and the command that brings it.
struct Case {
    what: &'static str,
    change: fn(&Project),
    fetch: &'static [&'static str],
}

const CASES: [Case; 14] = [
    Case {
        what: "new branches and tags",
        change: |project| {
            project.branch("deep/er/branch", "main");
            project.commit("deep/er/branch", "new.txt", "new\n");
            project.annotated_tag("v2", "deep/er/branch");
            project.tag("light2", "main~1");
        },
        fetch: &["fetch"],
    },
    Case {
        what: "moved branches",
        change: |project| {
            project.commit("main", "a", "1");
            project.merge("topic", "main");
        },
        fetch: &["fetch"],
    },
    Case {
        what: "rewritten branches",
        change: |project| {
            project.force("topic", "main~1");
            project.commit("topic", "other.txt", "another history\n");
            project.force("main", "main~2");
        },
        fetch: &["fetch"],
    },
    Case {
        what: "a deleted branch is pruned",
        change: |project| project.delete("topic"),
        fetch: &["fetch", "--prune"],
    },
    Case {
        what: "a deleted branch is not pruned",
        change: |project| project.delete("topic"),
        fetch: &["fetch"],
    },
    Case {
        what: "a branch becomes a folder of branches",
        change: |project| {
            project.delete("topic");
            project.branch("topic/one", "main");
        },
        fetch: &["fetch", "--prune"],
    },
    Case {
        what: "a moved tag is refused",
        change: move_a_tag,
        fetch: &["fetch", "--tags"],
    },
    Case {
        what: "a moved tag arrives by force",
        change: move_a_tag,
        fetch: &["fetch", "--tags", "--force"],
    },
    Case {
        what: "deleted tags are pruned",
        change: |project| project.delete("refs/tags/beside"),
        fetch: &["fetch", "--prune", "--prune-tags"],
    },
    Case {
        what: "one branch alone",
        change: |project| {
            project.commit("main", "a", "1");
            project.commit("topic", "b", "2");
        },
        fetch: &["fetch", "origin", "topic:refs/heads/mine"],
    },
    Case {
        what: "all remotes",
        change: |project| {
            project.commit("main", "a", "1");
            project.delete("topic");
        },
        fetch: &["remote", "update", "--prune"],
    },
    Case {
        what: "an older protocol",
        change: commit,
        fetch: &["-c", "protocol.version=0", "fetch"],
    },
    Case {
        what: "everything again",
        change: commit,
        fetch: &["fetch", "--refetch"],
    },
    Case {
        what: "a pull",
        change: commit,
        fetch: &["pull", "--ff-only"],
    },
];

fn commit(project: &Project) {
    project.commit("main", "a", "1");
}

fn move_a_tag(project: &Project) {
    project.git(["tag", "-f", "light", "main~2"]).ok();
}

/// Clones, lets upstream change, fetches, and compares; then nothing is left to be said.
#[test]
#[allow(clippy::print_stdout, reason = "a failing test names the case")]
fn whatever_changes_is_fetched_as_by_plain_git() {
    let stage = Stage::new(|_| ());
    for (number, case) in CASES.iter().enumerate() {
        println!("{}", case.what);
        let name = format!("group/{number}");
        let project = stage.gitlab.project(&name);
        fill(&project);
        let twins = stage.world.clone_twins(&stage.gitlab.url(&name), &[]);
        (case.change)(&project);
        twins.git(case.fetch);
        twins.same();
        twins.git(case.fetch);
    }
}

#[test]
fn names_are_bytes() {
    let stage = Stage::new(fill);
    stage.clone(&stage.url, "ours").ok();
    let name = OsStr::from_bytes(b"refs/heads/caf\xe9");
    let create = stage.project.git(["update-ref"]);
    create.arg(name).arg("refs/heads/topic").ok();
    stage.ours(&["fetch", "-q"]).ok();
    let name = OsStr::from_bytes(b"refs/remotes/origin/caf\xe9");
    stage.ours(&["rev-parse", "--verify", "-q"]).arg(name).ok();
}

#[test]
fn own_work_is_rebased_by_a_pull() {
    let stage = Stage::new(fill);
    let twins = stage.world.clone_twins(&stage.url, &[]);
    twins.git(&["commit", "-q", "--allow-empty", "-m", "Own work"]);
    stage.project.commit("main", "a", "1");
    twins.git(&["pull", "-q", "--rebase"]);
    twins.same();
}

#[test]
fn what_a_remote_has_is_listed_to_the_letter() {
    let stage = Stage::new(fill);
    let twins = stage.world.clone_twins(&stage.url, &[]);
    stage.project.commit("topic", "a", "1");
    let address = format!("mirror::{}", stage.url);
    for args in [
        &["--symref", "origin"][..],
        &["--symref", &address, "HEAD"],
        &["--heads", "origin"],
        &["--tags", "origin"],
        &["--refs", "origin"],
        &["origin", "v*"],
        &["--exit-code", "origin", "no-such-branch"],
        &["--sort=-version:refname", "origin"],
    ] {
        twins.git(&[&["ls-remote"], args].concat());
    }
}

#[test]
fn a_remote_is_shown_to_the_letter() {
    let stage = Stage::new(fill);
    let twins = stage.world.clone_twins(&stage.url, &[]);
    twins.git(&["remote", "show", "origin"]);
    stage.project.delete("topic");
    stage.project.branch("new", "main");
    stage.project.set_head("new");
    twins.git(&["remote", "show", "origin"]);
    twins.git(&["remote", "prune", "--dry-run", "origin"]);
}

#[test]
fn the_remotes_head_is_followed() {
    let stage = Stage::new(fill);
    let twins = stage.world.clone_twins(&stage.url, &[]);
    stage.project.set_head("topic");
    twins.git(&["remote", "set-head", "origin", "-a"]);
    twins.same();
}

#[test]
fn many_mirrors_are_fetched_at_once() {
    let stage = Stage::new(fill);
    let twins = stage.world.twins(&["init", "-q"]);
    for name in ["one", "two", "three", "four"] {
        stage.gitlab.project(name).commit("main", "file", name);
        let address = format!("mirror::{}", stage.gitlab.url(name));
        twins.git(&["remote", "add", name, &address]);
    }
    twins.git(&["fetch", "-q", "--all", "-j4"]);
    twins.same();
}

#[test]
fn a_mirroring_remote_gets_every_ref() {
    let stage = Stage::new(fill);
    let twins = stage.world.twins(&["init", "-q", "--bare"]);
    let address = format!("mirror::{}", stage.url);
    twins.git(&["remote", "add", "--mirror=fetch", "origin", &address]);
    twins.git(&["fetch", "-q"]);
    twins.same();
    stage.project.delete("topic");
    twins.git(&["fetch", "-q", "--prune"]);
    twins.same();
}

#[test]
fn a_linked_work_tree_fetches_for_all() {
    let stage = Stage::new(fill);
    let twins = stage.world.clone_twins(&stage.url, &[]);
    twins.git(&["worktree", "add", "-q", "../linked", "topic"]);
    stage.project.commit("topic", "a", "1");
    twins.git(&["-C", "../linked", "pull", "-q"]);
    twins.same();
}

#[test]
fn a_shallow_clone_gets_deeper_step_by_step() {
    let stage = Stage::new(|project| drop(project.history(8)));
    let twins = stage.world.clone_twins(&stage.url, &["--depth=1"]);
    for args in [
        &["--depth=3"][..],
        &["--deepen=2"],
        &["--shallow-since=@1767225700"],
        &["--unshallow"],
    ] {
        twins.git(&[&["fetch"], args].concat());
        twins.same();
    }
}

#[test]
fn a_shallow_clone_stays_shallow_when_upstream_grows() {
    let stage = Stage::new(|project| drop(project.history(5)));
    let twins = stage.world.clone_twins(&stage.url, &["--depth=2"]);
    stage.project.commit("main", "a", "1");
    twins.git(&["fetch", "-q"]);
    twins.same();
    twins.git(&["fetch", "-q", "--depth=1"]);
    twins.same();
}

#[test]
fn a_partial_clone_stays_partial_when_upstream_grows() {
    let stage = Stage::new(fill);
    let options = ["--filter=blob:none", "--no-checkout"];
    let twins = stage.world.clone_twins(&stage.url, &options);
    stage.project.commit("main", "a", "1");
    twins.git(&["fetch", "-q"]);
    twins.same();
    twins.git(&["fetch", "-q", "--refetch", "--filter=tree:0"]);
    twins.same();
}

#[test]
fn a_commit_that_the_mirror_has_is_fetched_by_its_id() {
    let stage = Stage::new(fill);
    let first = stage.project.git(["rev-parse", "main~3"]).ok();
    let twins = stage.world.twins(&["init", "-q"]);
    let address = format!("mirror::{}", stage.url);
    twins.git(&["fetch", "-q", &address, first.line()]);
    twins.git(&["branch", "found", "FETCH_HEAD"]);
    twins.same();
}

#[test]
fn a_commit_that_upstream_does_not_give_is_refused_with_a_hint() {
    let stage = Stage::new(fill);
    stage.clone(&stage.url, "ours").ok();
    let unknown = "0123456789012345678901234567890123456789";
    let failed = stage.ours(&["fetch", "origin", unknown]).code(128);
    // Each is the message of another program, and either may come first.
    let fatal = format!("fatal: remote error: upload-pack: not our ref {unknown}\n");
    let hint = format!("hint: the mirror of '{}' does not have this", stage.url);
    for part in [fatal, hint] {
        assert!(failed.stderr.contains(&part), "'{part}' in {failed}");
    }
}

#[test]
fn refs_that_are_not_tracked_are_not_shown() {
    let stage = Stage::new(fill);
    let tracked = stage.project.refs();
    for hidden in [
        "refs/notes/x",
        "refs/merge-requests/1/head",
        "refs/upstream/heads/main",
    ] {
        stage.project.force(hidden, "refs/heads/main");
    }
    stage.clone(&stage.url, "ours").ok();
    let shown = stage.ours(&["ls-remote", "--refs"]).ok();
    let pair = |line: &str| {
        line.split_once('\t')
            .map(|(id, name)| (name.to_owned(), id.to_owned()))
    };
    let shown: Vec<_> = shown.stdout.lines().filter_map(pair).collect();
    assert_eq!(shown, tracked);
}

#[test]
fn the_mirrors_own_records_cannot_be_fetched() {
    let stage = Stage::new(fill);
    stage.clone(&stage.url, "ours").ok();
    let mirror = stage.world.only_mirror();
    let records = stage.world.git(["--git-dir"]).arg(mirror);
    let records = records.arg("for-each-ref").arg("refs/upstream").ok();
    assert_ne!(records.stdout, "", "there are records");
    let one = "refs/upstream/heads/main";
    let failed = stage.ours(&["fetch", "origin", one]).code(128);
    let args = format!("fatal: couldn't find remote ref {one}\n");
    assert!(failed.stderr.ends_with(&args), "{failed}");
    let all = ["fetch", "origin", "refs/upstream/*:refs/found/*"];
    stage.ours(&all).run();
    let found = stage.ours(&["for-each-ref", "refs/found"]).ok();
    assert_eq!(found.stdout, "");
}

#[test]
fn a_submodule_fetches_through_the_mirror() {
    let stage = Stage::new(fill);
    stage.clone(&stage.url, "ours").ok();
    stage.project.commit("main", "a", "1");
    let fetch = |allow: &str| {
        let rule = format!("protocol.mirror.allow={allow}");
        let fetch = stage.ours(&["-c", &rule, "fetch", "-q"]);
        fetch.env("GIT_PROTOCOL_FROM_USER", "0")
    };
    fetch("user").code(128);
    fetch("always").ok();
    let tip = stage.ours(&["rev-parse", "origin/main"]).ok();
    assert_eq!(Some(tip.line().to_owned()), stage.project.tip("main"));
}

#[test]
fn an_archive_is_made_from_the_mirror() {
    let stage = Stage::new(fill);
    let local = local(&stage.world);
    let path = local.dir().to_string_lossy();
    for (address, project) in [(stage.url.as_str(), &stage.project), (&path, &local)] {
        let remote = format!("--remote=mirror::{address}");
        let (ours, plain) = (stage.world.path("ours.tar"), stage.world.path("plain.tar"));
        let args = ["archive", &remote, "--format=tar", "--prefix=p/", "topic"];
        stage.world.git(args).arg("-o").arg(&ours).ok();
        let args = ["archive", "--format=tar", "--prefix=p/", "topic"];
        project.git(args).arg("-o").arg(&plain).ok();
        let read = |path| fs::read(path).expect("git wrote it");
        assert!(read(&ours) == read(&plain), "an archive of {address}");
    }
}
