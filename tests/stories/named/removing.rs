//! `mirrord remove`: nothing that is nowhere else goes with a mirror.

use std::{fs, path::PathBuf};

use tests::{On, Ran};

use super::{Stage, small};

/// The bundle of which a removal has told.
#[track_caller]
fn bundle(stage: &Stage, removed: &Ran) -> PathBuf {
    let line = removed.stdout.lines().nth(1).unwrap_or_default();
    let quoted = line.strip_prefix("local branches are in '");
    let path = quoted.and_then(|path| path.strip_suffix('\''));
    let path = PathBuf::from(path.unwrap_or_else(|| panic!("it says where: {removed}")));
    assert!(path.starts_with(stage.world.mirror_home()), "{path:?}");
    assert!(path.is_file(), "{path:?}");
    path
}

#[test]
fn a_mirror_without_local_branches_goes_at_once() {
    let stage = Stage::new(small);
    for (add, remove) in [("work", &["remove", "work"]), ("play", &["rm", "play"])] {
        stage.add(add, &[]).ok();
        stage.clone(add, add).ok();
        let removed = stage.mirrord(remove).ok();
        assert_eq!(removed.stdout, format!("'{add}' is removed\n"));
        assert_eq!(removed.stderr, "");
        assert_eq!(stage.world.mirrors(), [""; 0]);
        assert_eq!(stage.names(), [""; 0]);
        let ran = stage.fetch(add).code(128);
        let shown = ran.shown().replace(add, "NAME");
        insta::allow_duplicates! {
            insta::assert_snapshot!(shown, @"
            error: no mirror is called 'NAME'
            hint: 'mirrord list' shows them; a URL makes a new one: mirror::https://HOST/GROUP/PROJECT.git
            ");
        }
    }
    assert!(!stage.world.mirror_home().join("bundles").exists());
    assert!(
        stage.project.tip("main").is_some(),
        "upstream is not touched"
    );
}

#[test]
fn forcing_where_nothing_is_local_leaves_no_bundle() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    let removed = stage.mirrord(&["remove", "work", "--force"]).ok();
    assert_eq!(removed.stdout, "'work' is removed\n");
    assert!(!stage.world.mirror_home().join("bundles").exists());
}

#[test]
fn a_mirror_with_local_branches_stays_and_lists_them() {
    let stage = Stage::new(small);
    let mine = stage.add_with_local();
    stage.push("ours", &["HEAD:refs/heads/wip/other"]).ok();
    stage.push("ours", &["HEAD:refs/tags/only-here"]).ok();
    let ran = stage.mirrord(&["remove", "work"]).code(1);
    insta::assert_snapshot!(ran.shown(), @r"
        error: 3 local branches and tags are in this mirror alone
        	refs/heads/mine
        	refs/heads/wip/other
        	refs/tags/only-here
        hint: --force removes it, and leaves them in a bundle first
    ");
    stage.fetch("ours").ok();
    assert_eq!(stage.rev_parse("ours", "origin/mine"), mine);
    assert_eq!(stage.names(), ["work"]);
}

#[test]
fn force_leaves_a_bundle_that_needs_nothing_else() {
    let stage = Stage::new(small);
    let mine = stage.add_with_local();
    let other = stage.push_local("ours", "wip/other");
    stage
        .world
        .git(["tag", "-a", "-m", "mine", "annotated"])
        .at("ours")
        .ok();
    stage.push("ours", &["annotated"]).ok();
    let tag = stage.rev_parse("ours", "annotated");
    let removed = stage.mirrord(&["remove", "work", "--force"]).ok();
    insta::assert_snapshot!(removed.shown(), @r"
        'work' is removed
        local branches are in '/world/m/bundles/project-[oid]-[oid]-1.bundle'
            git bundle list-heads /world/m/bundles/project-[oid]-[oid]-1.bundle
            git clone /world/m/bundles/project-[oid]-[oid]-1.bundle
    ");
    let bundle = bundle(&stage, &removed);
    assert_eq!(stage.world.mirrors(), [""; 0]);

    // In a repository that has nothing of it.
    stage.world.git(["init", "-q", "--bare", "empty"]).ok();
    let verified = stage
        .world
        .git(["bundle", "verify"])
        .arg(&bundle)
        .at("empty")
        .ok();
    insta::assert_snapshot!(verified.shown(), @"
    The bundle contains these 3 refs:
    [oid] refs/heads/mine
    [oid] refs/heads/wip/other
    [oid] refs/tags/annotated
    The bundle records a complete history.
    The bundle uses this hash algorithm: sha1
    --- stderr
    /world/m/bundles/project-[oid]-[oid]-1.bundle is okay
    ");
    stage
        .world
        .git(["clone", "-q", "--mirror"])
        .arg(&bundle)
        .arg("back")
        .ok();
    let expected = [
        ("refs/heads/mine".to_owned(), mine),
        ("refs/heads/wip/other".to_owned(), other),
        ("refs/tags/annotated".to_owned(), tag),
    ];
    assert_eq!(
        tests::refs(&stage.world, &stage.world.path("back")),
        expected
    );
    stage
        .world
        .git(["fsck", "--full", "--strict"])
        .at("back")
        .ok();
    let typed = removed
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("    "));
    let typed: Vec<_> = typed.collect();
    assert_eq!(typed.len(), 2, "{removed}");
    for line in typed {
        stage.world.program("sh", ["-c", line]).ok();
    }
}

#[test]
fn a_local_branch_that_hides_upstreams_is_no_less_local() {
    let stage = Stage::new(small);
    let mine = stage.add_with_local();
    stage.project.commit("mine", "theirs", "of the same name");
    stage.mirrord(&["set", "work", "--track", ""]).ok();
    stage.mirrord(&["sync", "work"]).ok();
    let ran = stage.mirrord(&["remove", "work"]).code(1);
    insta::assert_snapshot!(ran.shown(), @r"
        error: 1 local branch or tag is in this mirror alone
        	refs/heads/mine
        hint: --force removes it, and leaves them in a bundle first
    ");
    let removed = stage.mirrord(&["remove", "work", "--force"]).ok();
    let bundle = bundle(&stage, &removed);
    let heads = stage.world.git(["bundle", "list-heads"]).arg(&bundle).ok();
    insta::assert_snapshot!(tests::shown(&heads.stdout.replace(&mine, "MINE")), @"MINE refs/heads/mine");
}

#[test]
fn a_bundle_that_cannot_be_written_keeps_the_mirror() {
    let stage = Stage::new(small);
    let mine = stage.add_with_local();
    // Where the bundles would lie there is something else.
    fs::write(stage.world.mirror_home().join("bundles"), "").expect("the world is ours");
    let ran = stage.mirrord(&["remove", "work", "--force"]).code(1);
    insta::assert_snapshot!(ran.shown(), @"error: cannot change the mirror: File exists");
    stage.fetch("ours").ok();
    assert_eq!(stage.rev_parse("ours", "origin/mine"), mine);
    fs::remove_file(stage.world.mirror_home().join("bundles")).expect("the world is ours");
    stage.mirrord(&["remove", "work", "--force"]).ok();
}

#[test]
fn a_removal_waits_for_somebody_who_reads() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    let reader = stage.reader("work");
    let remove = stage.mirrord(&["remove", "work"]).start();
    stage.wait_for_clients(2, &remove);
    assert_eq!(stage.world.mirrors().len(), 1);
    stage.lets_go(reader);
    let ran = remove.wait();
    assert!(ran.status.success(), "{ran}");
    assert_eq!(stage.world.mirrors(), [""; 0]);
}

#[test]
fn a_reader_that_outlives_its_daemon_is_waited_for_too() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    let reader = stage.reader("work");
    stage.world.kill_daemon();
    let remove = stage.mirrord(&["remove", "work"]).start();
    stage.wait_for_clients(1, &remove);
    assert_eq!(stage.world.mirrors().len(), 1);
    stage.lets_go(reader);
    let ran = remove.wait();
    assert!(ran.status.success(), "{ran}");
    assert_eq!(stage.world.mirrors(), [""; 0]);
}

#[test]
fn a_clone_during_the_removal_of_a_mirror_is_complete_or_fails() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    for (address, dir) in [("work", "one"), (&*stage.url, "two")] {
        let paused = stage.gitlab.pause(On::LsRefs);
        let clone = stage.clone(address, dir).start();
        paused.reached();
        let remove = stage.mirrord(&["remove", "work"]).start();
        paused.release();
        let (cloned, removed) = (clone.wait(), remove.wait());
        assert!(removed.status.success(), "{removed}");
        if cloned.status.success() {
            assert_eq!(
                Some(stage.rev_parse(dir, "HEAD")),
                stage.project.tip("main")
            );
            stage.world.git(["fsck", "--full"]).at(dir).ok();
        } else {
            insta::allow_duplicates! {
                insta::assert_snapshot!(cloned.shown(), @r"
                    error: no mirror is called 'work'
                    hint: 'mirrord list' shows them; a URL makes a new one: mirror::https://HOST/GROUP/PROJECT.git
                ");
            }
        }
        assert!(!stage.names().contains(&"work".to_owned()), "it is gone");
        stage.add("work", &[]).ok();
    }
}

#[test]
fn a_push_that_is_under_way_is_not_lost_in_a_removal() {
    let stage = Stage::new(small);
    stage.add("work", &["--track", "+refs/heads/main"]).ok();
    stage.clone("work", "ours").ok();
    let mine = stage.commit("ours", "mine");
    let paused = stage.gitlab.pause(On::PushInfoRefs);
    let push = ["push", "origin", "main", "main:refs/heads/mine"];
    let push = stage.world.git(push).at("ours").start();
    paused.reached();
    let remove = stage.mirrord(&["remove", "work", "--force"]).start();
    paused.release();
    let ran = push.wait();
    assert!(ran.status.success(), "{ran}");
    let removed = remove.wait();
    assert!(removed.status.success(), "{removed}");
    let bundle = bundle(&stage, &removed);
    let heads = stage.world.git(["bundle", "list-heads"]).arg(&bundle).ok();
    insta::assert_snapshot!(tests::shown(&heads.stdout.replace(&mine, "MINE")), @"MINE refs/heads/mine");
}

#[test]
fn a_mirror_that_was_removed_and_added_again_begins_anew() {
    let stage = Stage::new(small);
    stage.add_with_local();
    stage.mirrord(&["set", "work", "--push", "no"]).ok();
    stage.mirrord(&["remove", "work", "--force"]).ok();
    stage.add("work", &[]).ok();
    assert_eq!(stage.setting("work", "push"), "yes");
    assert_eq!(stage.shown("work", "local"), [""; 0]);
    stage.clone("work", "again").ok();
    assert_eq!(
        Some(stage.rev_parse("again", "HEAD")),
        stage.project.tip("main")
    );
}

#[test]
fn a_login_that_could_read_a_removed_mirror_must_read_upstream_for_the_next_one() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    stage.clone("work", "ours").ok();
    stage.mirrord(&["remove", "work"]).ok();
    stage.gitlab.require_login("group/project", "me", "right");
    let helper = "!f() { cat >/dev/null; echo username=me; echo password=right; }; f";
    let with = format!("credential.helper={helper}");
    let add = stage.adding("work", &[]);
    add.env(
        "GIT_CONFIG_PARAMETERS",
        format!("'{}'", with.replace('\'', r"'\''")),
    )
    .ok();
    stage.gitlab.stop();
    let ran = stage.fetch("ours").code(128);
    insta::assert_snapshot!(ran.shown(), @r"
        error: cannot reach 'http://gitlab.example/group/project.git': connection refused
        hint: there is a copy here, but this login has never read it from upstream
    ");
}
