//! `--fsck yes`: what is faulty does not come in, from either side, but for what GitLab itself lets pass.

use std::fmt::Write;

use tests::{Project, public_refs};

use super::{Stage, refused, small};

/// Commits that git finds faulty: each its name, and how it differs from a good one.
const FAULTY: [(&str, &str); 2] = [
    (
        "missingEmail",
        "author a <a> 1 +0000\\ncommitter no mail 1 +0000",
    ),
    ("badDate", "author a <a> x +0000\\ncommitter c <c> 1 +0000"),
];

/// Commits that GitLab lets pass.
const TOLERATED: [(&str, &str); 2] = [
    (
        "badTimezone",
        "author a <a> 1 +051800\\ncommitter c <c> 1 +051800",
    ),
    (
        "missingSpaceBeforeDate",
        "author a <a>1 +0000\\ncommitter c <c>1 +0000",
    ),
];

/// A script that writes a commit with these people; it prints its name. Without a tree it takes one whose mode is padded,
/// which GitLab lets pass as well.
fn script(people: &str, padded: bool) -> String {
    let tree = match padded {
        false => "git rev-parse main^{tree}",
        true => {
            "blob=$(echo hello | git hash-object -w --stdin) && \
             { printf '0100644 file\\0'; printf \"$(echo $blob | sed 's/../\\\\x&/g')\"; } | \
             git hash-object -t tree -w --stdin --literally"
        }
    };
    format!(
        "tree=$({tree}) && printf \"tree $tree\\n{people}\\n\\nm\\n\" | \
         git hash-object -t commit -w --stdin --literally"
    )
}

/// Puts such a commit on a branch of the project.
#[track_caller]
fn commit_upstream(stage: &Stage, project: &Project, branch: &str, script: &str) -> String {
    let made = stage
        .world
        .program("bash", ["-c", script])
        .at(project.dir())
        .ok();
    project.force(branch, made.line());
    made.line().to_owned()
}

const GOOD: &str = "author a <a> 1 +0000\\ncommitter c <c> 1 +0000";

#[test]
fn a_faulty_object_of_upstream_is_refused_by_a_sync() {
    let stage = Stage::new(small);
    stage.add("work", &["--fsck", "yes"]).ok();
    stage.clone("work", "ours").ok();
    let before = public_refs(&stage.world, &stage.world.only_mirror());
    let mut all = String::new();
    for (fault, people) in FAULTY {
        let faulty = commit_upstream(&stage, &stage.project, "faulty", &script(people, false));
        let ran = refused(stage.mirrord(&["sync", "work"]), 1);
        let fetched = stage.fetch("ours").run();
        writeln!(all, "{fault}:\n{}{}", ran.shown(), fetched.shown()).expect("into a string");
        let mirror = stage.world.only_mirror();
        assert_eq!(public_refs(&stage.world, &mirror), before);
        stage
            .world
            .git(["cat-file", "-e", &faulty])
            .at(&mirror)
            .fails();
    }
    insta::assert_snapshot!(all, @"
    missingEmail:
    error: what 'http://gitlab.example/group/project.git' sent has faults: object [oid]: missingEmail: invalid author/committer line - missing email
    hint: 'mirrord set NAME --fsck no' takes it as it is
    warning: what 'http://gitlab.example/group/project.git' sent has faults: object [oid]: missingEmail: invalid author/committer line - missing email
    hint: serving the copy synced [time] ago

    badDate:
    error: what 'http://gitlab.example/group/project.git' sent has faults: object [oid]: badDate: invalid author/committer line - bad date
    hint: 'mirrord set NAME --fsck no' takes it as it is
    warning: what 'http://gitlab.example/group/project.git' sent has faults: object [oid]: badDate: invalid author/committer line - bad date
    hint: serving the copy synced [time] ago
    ");
    stage.mirrord(&["set", "work", "--fsck", "no"]).ok();
    stage.fetch("ours").ok();
    assert_eq!(
        Some(stage.rev_parse("ours", "origin/faulty")),
        stage.project.tip("faulty")
    );
}

#[test]
fn a_project_with_faults_is_not_added_where_they_are_looked_for() {
    let stage = Stage::new(small);
    let (_, people) = FAULTY[0];
    commit_upstream(&stage, &stage.project, "faulty", &script(people, false));
    insta::assert_snapshot!(refused(stage.adding("work", &["--fsck", "yes"]), 1).shown(), @"
    error: what 'http://gitlab.example/group/project.git' sent has faults: object [oid]: missingEmail: invalid author/committer line - missing email
    hint: 'mirrord set NAME --fsck no' takes it as it is
    ");
    assert_eq!(stage.world.mirrors(), [""; 0]);
    stage.add("work", &["--fsck", "no"]).ok();
}

#[test]
fn malformed_objects_that_gitlab_accepts_are_accepted() {
    let stage = Stage::new(small);
    for (fault, people) in TOLERATED {
        commit_upstream(&stage, &stage.project, fault, &script(people, false));
    }
    commit_upstream(
        &stage,
        &stage.project,
        "zeroPaddedFilemode",
        &script(GOOD, true),
    );
    let fsck = stage.project.git(["fsck", "--strict"]).fails();
    for fault in [
        "badTimezone",
        "missingSpaceBeforeDate",
        "zeroPaddedFilemode",
    ] {
        assert!(fsck.stderr.contains(fault), "the stage is set: {fsck}");
    }
    stage.add("work", &["--fsck", "yes"]).ok();
    let mirrored = public_refs(&stage.world, &stage.world.only_mirror());
    assert_eq!(mirrored, stage.project.refs());
}

/// Commits in a clone, and pushes that to a tracked branch and to one that stays here.
#[track_caller]
fn push_both(stage: &Stage, people: &str, padded: bool, goes: bool) {
    let script = script(people, padded);
    let made = stage.world.program("bash", ["-c", &script]).at("ours").ok();
    let oid = made.line();
    for branch in ["tracked", "local"] {
        let push = stage.push("ours", &[&format!("+{oid}:refs/heads/{branch}")]);
        if goes {
            push.ok();
        } else {
            let ran = push.fails();
            assert!(
                ran.stderr.contains("remote rejected") || ran.stderr.contains("error:"),
                "{ran}"
            );
        }
    }
    let mirror = stage.world.only_mirror();
    let kept = stage.world.git(["cat-file", "-e", oid]).at(&mirror).run();
    assert_eq!(kept.status.success(), goes, "{people}");
}

#[test]
fn a_faulty_object_is_refused_in_a_push_and_what_gitlab_lets_pass_is_not() {
    let stage = Stage::new(small);
    stage.project.branch("tracked", "main");
    let track = [
        "--track",
        "+refs/heads/main",
        "--track",
        "+refs/heads/tracked",
    ];
    stage
        .add("work", &[&["--fsck", "yes"][..], &track].concat())
        .ok();
    stage.clone("work", "ours").ok();
    for (_, people) in FAULTY {
        push_both(&stage, people, false, false);
    }
    assert_eq!(stage.project.tip("tracked"), stage.project.tip("main"));
    for (_, people) in TOLERATED {
        push_both(&stage, people, false, true);
    }
    push_both(&stage, GOOD, true, true);
}
