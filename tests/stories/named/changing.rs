//! `mirrord set`: each setting can be changed later, and from then on counts.

use std::collections::BTreeSet;

use tests::Fault;

use super::{Stage, refused, small};

#[test]
fn every_setting_can_be_changed_and_only_what_is_given_changes() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    let others = |key: &str| {
        let shown = stage.mirrord(&["show", "work"]).ok().stdout;
        let without = shown
            .lines()
            .filter(|line| !line.starts_with(&format!("{key}:")) && !line.starts_with("state:"));
        without.map(str::to_owned).collect::<Vec<_>>()
    };
    stage.gitlab.forget_requests();
    let changes = [
        ("description", "another"),
        ("description", ""),
        (
            "track",
            "+refs/tags/*:refs/tags/* +refs/heads/*:refs/heads/*",
        ),
        ("every", "10m"),
        ("every", "never"),
        ("sync-on-fetch", "no"),
        ("fresh-for", "2h"),
        ("stale", "fail"),
        ("atomic", "no"),
        ("push", "no"),
        ("keep-history", "90d"),
        ("fsck", "yes"),
        ("wipe-guard", "no"),
    ];
    for (key, value) in changes {
        let before = others(key);
        let set = stage
            .mirrord(&["set", "work", &format!("--{key}={value}")])
            .ok();
        assert_eq!((&*set.stdout, &*set.stderr), ("work: changed\n", ""));
        assert_eq!(stage.setting("work", key), value, "{key}");
        assert_eq!(others(key), before, "{key}");
    }
    assert!(stage.gitlab.requests().is_empty(), "upstream is not asked");
    stage.mirrord(&["stop"]).ok();
    assert_eq!(
        stage.setting("work", "fresh-for"),
        "2h",
        "another daemon too"
    );
}

#[test]
fn several_settings_change_together_or_not_at_all() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    let args = ["set", "work", "--push", "no", "--stale", "fail"];
    stage.mirrord(&args).ok();
    assert_eq!(stage.setting("work", "push"), "no");
    assert_eq!(stage.setting("work", "stale"), "fail");
    let args = ["set", "work", "--push", "yes", "--fresh-for", "soon"];
    stage.mirrord(&args).fails();
    assert_eq!(stage.setting("work", "push"), "no");
}

#[test]
fn track_replaces_the_whole_list() {
    let stage = Stage::new(small);
    stage
        .add(
            "work",
            &["--track", "+refs/heads/main", "--track", "+refs/tags/*"],
        )
        .ok();
    stage
        .mirrord(&["set", "work", "--track", "+refs/heads/topic"])
        .ok();
    let tracked = stage.setting("work", "track");
    assert_eq!(tracked, "+refs/heads/topic:refs/heads/topic");
    stage.clone("work", "ours").ok();
    let branches = stage.world.git(["branch", "-r"]).at("ours").ok();
    insta::assert_snapshot!(branches.shown(), @r"
        origin/HEAD -> origin/topic
        origin/topic
    ");
}

#[test]
fn commands_take_a_mirrors_url_with_or_without_the_prefix_for_git() {
    let stage = Stage::new(small);
    stage.clone(&stage.url, "ours").ok();
    let own = stage.names().concat();
    stage.add("work", &[]).ok();
    let by_url = format!("mirror::{}", stage.url);
    let spellings = [
        (&*stage.url, &*own),
        (&by_url, &own),
        ("mirror::work", "work"),
    ];
    for (spelling, name) in spellings {
        let set = ["set", spelling, "--description", spelling];
        let set = stage.mirrord(&set).ok();
        assert_eq!(set.line(), format!("{name}: changed"));
        assert_eq!(stage.setting(name, "description"), spelling);
    }
}

#[test]
fn a_mirror_that_is_not_there_cannot_be_changed() {
    let stage = Stage::new(small);
    let mut shown = BTreeSet::new();
    for name in ["work", &stage.url] {
        let commands: [&[&str]; 8] = [
            &["set", name, "--push", "no"],
            &["show", name],
            &["rename", name, "play"],
            &["remove", name],
            &["remove", name, "--force"],
            &["sync", name],
            &["history", name],
            &["accept", name],
        ];
        for args in commands {
            let ran = refused(stage.mirrord(args), 1);
            shown.insert(ran.shown());
        }
    }
    let shown = Vec::from_iter(shown).concat();
    insta::assert_snapshot!(shown, @r"
        error: no mirror is called 'work'
        hint: 'mirrord list' shows them; a URL makes a new one: mirror::https://HOST/GROUP/PROJECT.git
        error: there is no mirror of 'http://gitlab.example/group/project.git'
        hint: 'mirrord list' shows them
    ");
    assert_eq!(stage.world.mirrors(), [""; 0], "and none is made for it");
    assert!(stage.gitlab.requests().is_empty());
}

#[test]
fn stale_answers_can_be_forbidden_and_allowed() {
    let stage = Stage::new(small);
    stage.add("work", &["--stale", "fail"]).ok();
    stage.clone("work", "ours").ok();
    let mut shown = String::new();
    for fault in [Fault::status(503), Fault::hang_up()] {
        stage.gitlab.fault(fault);
        let ran = stage.fetch("ours").code(128);
        shown += &ran.shown();
        let ran = stage.fetch("ours").env("MIRROR_STALE", "serve").ok();
        shown += &ran.shown();
        stage.gitlab.clear_faults();
    }
    insta::assert_snapshot!(shown, @r"
        error: cannot reach 'http://gitlab.example/group/project.git': the server answered with error 503
        warning: cannot reach 'http://gitlab.example/group/project.git': the server answered with error 503
        hint: serving the copy synced [time] ago
        error: cannot reach 'http://gitlab.example/group/project.git': the connection was cut
        warning: cannot reach 'http://gitlab.example/group/project.git': the connection was cut
        hint: serving the copy synced [time] ago
    ");
    stage.mirrord(&["set", "work", "--stale", "serve"]).ok();
    stage.gitlab.stop();
    let ran = stage.fetch("ours").ok();
    insta::assert_snapshot!(ran.shown(), @r"
        warning: cannot reach 'http://gitlab.example/group/project.git': connection refused
        hint: serving the copy synced [time] ago
    ");
    stage.fetch("ours").env("MIRROR_STALE", "fail").code(128);
}

#[test]
fn pushes_can_be_forbidden_and_allowed() {
    let stage = Stage::new(small);
    stage
        .add("work", &["--push", "no", "--track", "+refs/heads/main"])
        .ok();
    stage.clone("work", "ours").ok();
    let tip = stage.project.tip("main");
    stage.commit("ours", "mine");
    for refspec in ["main", "main:refs/heads/mine", ":refs/heads/main"] {
        let ran = stage.push("ours", &[refspec]).fails();
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.shown(), @r"
                error: the mirror 'work' takes no pushes
                hint: 'mirrord set work --push yes' lets it take them
            ");
        }
    }
    assert_eq!(stage.project.tip("main"), tip);
    assert_eq!(stage.shown("work", "local"), [""; 0]);
    stage.fetch("ours").ok();
    stage.mirrord(&["set", "work", "--push", "yes"]).ok();
    stage.push("ours", &["main"]).ok();
    assert_eq!(
        stage.project.tip("main"),
        Some(stage.rev_parse("ours", "HEAD"))
    );
    stage.push("ours", &["main:refs/heads/mine"]).ok();
}

#[test]
fn a_clone_goes_on_by_the_new_settings() {
    let stage = Stage::new(small);
    stage.add("work", &["--track", "+refs/heads/main"]).ok();
    stage.clone("work", "ours").ok();
    let topic = ["rev-parse", "-q", "--verify", "origin/topic"];
    stage.world.git(topic).at("ours").fails();
    let track = [
        "--track",
        "+refs/heads/main",
        "--track",
        "+refs/heads/topic",
    ];
    stage.mirrord(&[&["set", "work"][..], &track].concat()).ok();
    stage.fetch("ours").ok();
    assert_eq!(
        Some(stage.rev_parse("ours", "origin/topic")),
        stage.project.tip("topic")
    );
}
