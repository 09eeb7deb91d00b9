//! `mirrord set --url`: the project has another address, and the mirror goes along without a new download.

use std::path::Path;

use tests::{Project, Signal, public_refs};

use super::{Stage, refused, small};

/// The address to which the project moves.
fn new_url(stage: &Stage) -> String {
    stage.gitlab.url("moved/elsewhere")
}

/// The project at its new address, with all that it had.
#[track_caller]
fn moved(stage: &Stage) -> Project {
    let new = stage.gitlab.project("moved/elsewhere");
    let old = stage.project.dir().to_string_lossy().into_owned();
    new.git(["fetch", "-q", &old, "+refs/*:refs/*"]).ok();
    new
}

fn set_url(stage: &Stage, url: &str) -> tests::Run {
    stage.mirrord(&["set", "work", "--url", url])
}

/// The names of the directories of mirrors.
fn file_name(path: &Path) -> String {
    let name = path.file_name().expect("it has one");
    name.to_string_lossy().into_owned()
}

#[test]
fn a_mirror_follows_its_project_without_a_new_download() {
    let stage = Stage::new(small);
    let mine = stage.add_with_local();
    let new = moved(&stage);
    let (old_dir, url) = (stage.world.only_mirror(), new_url(&stage));
    let before = public_refs(&stage.world, &old_dir);
    stage.gitlab.forget_requests();
    let set = set_url(&stage, &url).ok();
    assert_eq!((&*set.stdout, &*set.stderr), ("work: changed\n", ""));
    assert!(stage.gitlab.requests().is_empty(), "upstream is not asked");
    assert_eq!(stage.setting("work", "url"), url);
    let dir = stage.world.only_mirror();
    assert_ne!(dir, old_dir, "the directory follows the URL");
    assert!(file_name(&dir).starts_with("elsewhere-"), "{dir:?}");
    assert_eq!(public_refs(&stage.world, &dir), before);

    let tip = new.commit("main", "new", "at the new address");
    stage.fetch("ours").ok();
    assert_eq!(stage.rev_parse("ours", "origin/main"), tip);
    assert_eq!(stage.rev_parse("ours", "origin/mine"), mine);
    let requests = stage.gitlab.requests();
    let bytes: u64 = requests.iter().map(|request| request.response_bytes).sum();
    assert!(bytes < 4000, "one commit is little: {bytes}");
    let elsewhere = requests
        .iter()
        .find(|request| !request.path.starts_with("/moved/"));
    assert!(
        elsewhere.is_none(),
        "the old address is not asked: {elsewhere:?}"
    );
}

#[test]
fn an_unchanged_project_at_a_new_address_costs_no_object() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    stage.clone("work", "ours").ok();
    moved(&stage);
    set_url(&stage, &new_url(&stage)).ok();
    stage.gitlab.forget_requests();
    stage.fetch("ours").ok();
    stage.clone("work", "another").ok();
    assert!(!stage.was_asked_for_objects());
}

#[test]
fn a_push_goes_to_the_new_address() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    stage.clone("work", "ours").ok();
    let (new, old_tip) = (moved(&stage), stage.project.tip("main"));
    set_url(&stage, &new_url(&stage)).ok();
    let mine = stage.commit("ours", "mine");
    stage.push("ours", &["main"]).ok();
    assert_eq!(new.tip("main"), Some(mine));
    assert_eq!(stage.project.tip("main"), old_tip);
}

#[test]
fn the_new_url_is_served_by_it_and_the_old_one_no_more() {
    let stage = Stage::new(small);
    stage.clone(&stage.url, "ours").ok();
    let own = stage.names();
    let new = moved(&stage);
    let bare = stage.url.trim_end_matches(".git").to_owned();
    // A spelling that the mirror remembers.
    stage.clone(&bare, "spelled").ok();
    let set_url = ["set", &stage.url, "--url", &new_url(&stage)];
    stage.mirrord(&set_url).ok();
    let tip = new.commit("main", "new", "new");
    stage.clone(&new_url(&stage), "new").ok();
    assert_eq!(stage.rev_parse("new", "HEAD"), tip);
    assert_eq!(stage.names(), own);
    for (dir, url) in [("old", stage.url.as_str()), ("old-bare", &bare)] {
        stage.clone(url, dir).ok();
        assert_eq!(
            Some(stage.rev_parse(dir, "HEAD")),
            stage.project.tip("main"),
            "{url}"
        );
    }
    assert_eq!(
        stage.names().len(),
        2,
        "the old one gets a mirror of its own"
    );
}

#[test]
fn an_address_can_be_changed_while_nobody_answers_there() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    stage.gitlab.stop();
    set_url(&stage, &new_url(&stage)).ok();
    stage.gitlab.start();
    moved(&stage);
    stage.clone("work", "ours").ok();
    assert_eq!(
        Some(stage.rev_parse("ours", "HEAD")),
        stage.project.tip("main")
    );
}

#[test]
fn a_login_that_has_read_the_old_address_is_not_trusted_at_the_new_one() {
    let stage = Stage::new(small);
    stage.add("work", &["--sync-on-fetch", "no"]).ok();
    stage.clone("work", "ours").ok();
    moved(&stage);
    stage
        .gitlab
        .require_login("moved/elsewhere", "you", "right");
    set_url(&stage, &new_url(&stage)).ok();
    let ran = stage.fetch("ours").code(128);
    insta::assert_snapshot!(ran.shown(), @r"
        error: could not read Username for 'http://gitlab.example': terminal prompts disabled
        hint: store a login with a credential helper; GitLab takes a personal access token (scopes read_repository, write_repository) as the password; accounts with two-factor or single sign-on need one; or give the mirror a login of its own: mirrord set work --username USER
    ");
    for restart in [false, true] {
        if restart {
            stage.mirrord(&["stop"]).ok();
        }
        stage.gitlab.stop();
        for stale in ["", "serve"] {
            let ran = stage.clone("work", "theirs").env("MIRROR_STALE", stale);
            let ran = ran.code(128);
            insta::allow_duplicates! {
                insta::assert_snapshot!(ran.shown(), @r"
                    error: cannot reach 'http://gitlab.example/moved/elsewhere.git': connection refused
                    hint: there is a copy here, but this login has never read it from upstream
                ");
            }
        }
        stage.gitlab.start();
    }
    let helper = "!f() { cat >/dev/null; echo username=you; echo password=right; }; f";
    stage.world.config("credential.helper", helper);
    stage.fetch("ours").ok();
}

#[test]
fn a_mirror_can_come_back_to_its_old_address() {
    let stage = Stage::new(small);
    let mine = stage.add_with_local();
    moved(&stage);
    let dir = stage.world.only_mirror();
    set_url(&stage, &new_url(&stage)).ok();
    set_url(&stage, &stage.url).ok();
    assert_eq!(stage.world.only_mirror(), dir);
    let tip = stage.project.commit("main", "later", "later");
    stage.fetch("ours").ok();
    assert_eq!(stage.rev_parse("ours", "origin/main"), tip);
    assert_eq!(stage.rev_parse("ours", "origin/mine"), mine);
}

#[test]
fn a_mirror_can_get_the_address_of_another_mirror() {
    let stage = Stage::new(small);
    let new = moved(&stage);
    let tip = new.commit("main", "new", "new");
    stage.add("work", &[]).ok();
    stage.mirrord(&["add", "other", &new_url(&stage)]).ok();
    set_url(&stage, &new_url(&stage)).ok();
    assert_eq!(stage.names(), ["other", "work"]);
    for name in ["other", "work"] {
        stage.clone(name, name).ok();
        assert_eq!(stage.rev_parse(name, "HEAD"), tip, "{name}");
    }
}

#[test]
fn an_address_that_is_none_is_refused_and_nothing_changes() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    let login = stage.url.replace("http://", "http://me:hunter2@");
    let mut all = String::new();
    for url in ["elsewhere", &login] {
        all.push_str(&refused(set_url(&stage, url), 2).shown());
    }
    for url in ["ftp://host/p", "ext::sh -c true", "http://host"] {
        all.push_str(&set_url(&stage, url).fails().shown());
    }
    insta::assert_snapshot!(all, @"
    error: 'elsewhere' is not a URL
    hint: an upstream is https://HOST/GROUP/PROJECT.git, an address of ssh, or an absolute path
    error: the address 'http://gitlab.example/group/project.git' was typed with a login in it
    hint: leave it out: --username NAME gives the mirror one of its own, and otherwise git's credential helpers are asked
    error: cannot mirror 'ftp://host/p': scheme 'ftp' is not one of https, http, ssh, file
    error: transport 'ext' is not allowed in the address of a mirror
    error: invalid path in 'http://host': it is empty
    ");
    assert_eq!(stage.setting("work", "url"), stage.url);
}

#[test]
fn a_move_waits_for_those_who_read() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    moved(&stage);
    let dir = stage.world.only_mirror();
    let reader = stage.reader("work");
    let set = set_url(&stage, &new_url(&stage)).start();
    stage.wait_for_clients(2, &set);
    assert_eq!(stage.world.only_mirror(), dir, "it is where it is read");
    stage.lets_go(reader);
    let ran = set.wait();
    assert!(ran.status.success(), "{ran}");
    assert_ne!(stage.world.only_mirror(), dir);
}

#[test]
fn a_move_that_is_interrupted_while_it_waits_changes_nothing() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    moved(&stage);
    let dir = stage.world.only_mirror();
    let reader = stage.reader("work");
    let set = set_url(&stage, &new_url(&stage)).start();
    let status = || stage.mirrord(&["status", "--json"]).ok().stdout;
    stage.wait_for_clients(2, &set);
    set.kill_group(Signal::INT);
    assert!(!set.wait().status.success());
    while !status().contains("\"clients\": 1,") {}
    stage.lets_go(reader);
    let tip = stage.project.commit("main", "later", "later");
    stage.clone("work", "ours").ok();
    assert_eq!(stage.rev_parse("ours", "HEAD"), tip, "nobody is in the way");
    assert_eq!(stage.world.only_mirror(), dir);
    assert_eq!(stage.setting("work", "url"), stage.url);
}

#[test]
fn a_move_that_a_power_cut_interrupted_is_finished() {
    let stage = Stage::new(small);
    let mine = stage.add_with_local();
    moved(&stage);
    stage.world.kill_daemon();
    // The new URL is written first, and then the directory is renamed.
    let config = ["config", "mirror.url", &new_url(&stage)];
    stage.world.git(config).at(stage.world.only_mirror()).ok();
    stage.fetch("ours").ok();
    assert_eq!(stage.rev_parse("ours", "origin/mine"), mine);
    let dir = stage.world.only_mirror();
    assert!(file_name(&dir).starts_with("elsewhere-"), "{dir:?}");
    assert_eq!(stage.names(), ["work"]);
}
