//! Under which names the past is found.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use super::{cloned, local, past};

#[test]
fn a_ref_is_named_as_git_takes_names() {
    let stage = cloned(&[]);
    let topic = stage.upstream_tip("topic");
    stage.project.delete("topic");
    stage.sync_project();
    let history = stage.mirrord(&["history", "project", "heads/topic"]).ok();
    let restored = stage.restore(&["heads/topic", "--as", "was"]);
    stage.shows("refs/heads/was", &topic);
    let unknown = stage.restoring(&["tags/topic", "--as", "other"]).code(1);
    let shown = [history, restored, unknown].map(|ran| ran.shown());
    insta::assert_snapshot!(shown.concat(), @r"
        [date]  refs/heads/topic  [oid]  deleted
        restored 'refs/heads/topic' of [date] ([oid]) as 'refs/heads/was'
        error: there is no history of 'tags/topic'
        hint: 'mirrord history NAME' shows what can be brought back
    ");
}

#[test]
fn of_a_branch_and_a_tag_of_one_name_each_comes_back_as_itself() {
    let stage = cloned(&[]);
    let branch = stage.project.commit("same", "a", "branch");
    let tag = stage.project.annotated_tag("same", "main");
    stage.sync_project();
    for name in ["refs/heads/same", "refs/tags/same"] {
        stage.project.delete(name);
    }
    stage.sync_project();
    let history = stage.history();
    assert!(history.contains(&past("refs/heads/same", &branch, "deleted")));
    assert!(history.contains(&past("refs/tags/same", &tag, "deleted")));
    stage.restore(&["same"]);
    stage.shows("refs/heads/same", &branch);
    assert!(!stage.public().contains_key("refs/tags/same"));
    stage.restore(&["tags/same"]);
    stage.shows("refs/tags/same", &tag);
    // What it is to be called is of the kind of what it was, unless it is said in full.
    stage.restore(&["refs/tags/same", "--as", "another"]);
    stage.shows("refs/tags/another", &tag);
    stage.restore(&["tags/same", "--as", "refs/heads/from-tag"]);
    let listed = stage.public();
    assert_eq!(listed.get("refs/heads/same"), Some(&branch));
}

#[test]
fn a_branch_of_a_tag_object_is_not_made() {
    let stage = cloned(&[]);
    stage.project.delete("refs/tags/v1");
    stage.sync_project();
    let commit = stage.ours(&["rev-parse", "v1^{commit}"]).ok();
    stage
        .restoring(&["v1", "--as", "refs/heads/from-tag"])
        .run();
    let listed = stage.public();
    let made = listed.get("refs/heads/from-tag").map(String::as_str);
    assert!(
        made.is_none_or(|oid| oid == commit.line()),
        "git lets a branch be a commit alone: {made:?}"
    );
    stage.is_sound();
}

#[test]
fn a_name_that_is_not_utf8_is_listed_and_comes_back() {
    let stage = cloned(&[]);
    let bytes = |bytes| OsStr::from_bytes(bytes);
    let main = stage.upstream_tip("main");
    let name = bytes(b"refs/heads/caf\xe9");
    let made = stage.project.git(["update-ref"]).arg(name).arg(&main);
    made.ok();
    stage.sync_project();
    stage.project.git(["update-ref", "-d"]).arg(name).ok();
    stage.sync_project();
    let ran = stage.mirrord(&["history", "project", "--json"]).ok();
    insta::assert_snapshot!(tests::shown(&ran.stdout.replace(&main, "MAIN")), @r#"
    [
      {
        "at": [oid],
        "oid": "MAIN",
        "ref": "refs/heads/caf�",
        "why": "deleted"
      }
    ]
    "#);
    assert_eq!(stage.history().len(), 1);
    let restore = stage
        .mirrord(&["restore", "project"])
        .arg(bytes(b"caf\xe9"));
    restore.ok();
    let mirror = stage.world.only_mirror();
    let verify = stage.world.git(["rev-parse", "--verify"]).arg(name);
    assert_eq!(verify.at(&mirror).ok().line(), main);
}

#[test]
fn names_of_many_letters_and_signs_come_back() {
    let stage = cloned(&[]);
    let main = stage.upstream_tip("main");
    let long = format!("{}/{}", "d".repeat(100), "n".repeat(120));
    let names = [
        "stra\u{df}e",
        "a'b",
        "a\"b",
        "a;b",
        "a$b",
        "a%2fb",
        "deleted/heads/x",
        &long,
    ];
    for name in names {
        stage.project.branch(name, &main);
    }
    stage.sync_project();
    for name in names {
        stage.project.delete(name);
    }
    stage.sync_project();
    assert_eq!(stage.history().len(), names.len());
    for name in names {
        stage.restore(&[name]);
    }
    for name in names {
        let name = format!("refs/heads/{name}");
        assert_eq!(stage.public().get(&name), Some(&main), "{name}");
    }
    stage.is_sound();
}

#[test]
fn a_branch_that_is_no_commit_is_refused_as_git_by_itself_does() {
    let stage = local();
    stage.ours(&["tag", "-a", "-m", "v", "v1"]).ok();
    for what in ["v1", "main^{tree}"] {
        let refspec = format!("{what}:refs/heads/new");
        let args = [
            "push",
            stage.project.dir().to_str().expect("text"),
            &refspec,
        ];
        stage.ours(&args).code(1);
        let ran = stage.ours(&["push", "origin", &refspec]).code(1);
        let shown = ran.shown().replace(what, "WHAT");
        insta::allow_duplicates! {
            insta::assert_snapshot!(shown, @r"
                To mirror::project
                 ! [remote rejected] WHAT -> new (not a commit)
                error: failed to push some refs to 'mirror::project'
            ");
        }
        assert!(!stage.public().contains_key("refs/heads/new"), "{ran}");
    }
    stage.is_sound();
}
