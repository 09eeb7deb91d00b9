//! The output of `list` and `show`, for people and for scripts, and which commands start the daemon.

use super::{Stage, small};

/// The keys of the outermost objects in what `--json` printed, in order.
fn keys(json: &str, indent: usize) -> Vec<String> {
    let start = format!("{}\"", " ".repeat(indent));
    let key = |line: &str| Some(line.strip_prefix(&start)?.split_once('"')?.0.to_owned());
    json.lines().filter_map(key).collect()
}

#[test]
fn a_list_has_a_line_for_each_mirror() {
    let stage = Stage::new(small);
    let none = stage.mirrord(&["list"]).ok();
    insta::assert_snapshot!(none.shown(), @"there is no mirror yet: git clone mirror::https://HOST/GROUP/PROJECT.git makes one");
    assert_eq!(stage.mirrord(&["list", "--json"]).ok().line(), "[]");
    stage.add("one", &["--no-sync"]).ok();
    stage.add("another", &[]).ok();
    for command in ["list", "ls"] {
        let list = stage.mirrord(&[command]).ok().stdout;
        let lines: Vec<_> = list.lines().collect();
        assert_eq!(lines.len(), 2, "{list}");
        let another = format!("another  {}  in step ", stage.url);
        assert!(lines[0].starts_with(&another), "{list}");
        assert_eq!(lines[1], format!("one      {}  not yet in step", stage.url));
    }
    stage.gitlab.stop();
    stage.mirrord(&["sync", "another"]).fails();
    let list = stage.mirrord(&["list"]).ok().stdout;
    insta::assert_snapshot!(tests::shown(&list), @"
    another  http://gitlab.example/group/project.git  in step [time] ago; since then: cannot reach 'http://gitlab.example/group/project.git': connection refused
    one      http://gitlab.example/group/project.git  not yet in step
    ");
}

#[test]
fn the_keys_of_json_do_not_change() {
    let stage = Stage::new(small);
    stage.add_with_local();
    let list = stage.mirrord(&["list", "--json"]).ok().stdout;
    let of_all = [
        "description",
        "git_dir",
        "last_error",
        "last_sync",
        "name",
        "needs_you",
        "syncing",
        "token_expires",
        "url",
    ];
    assert_eq!(keys(&list, 4), of_all, "{list}");
    let show = stage.mirrord(&["show", "work", "--json"]).ok().stdout;
    let of_one = [
        "automatic",
        "behind_since",
        "changed_files",
        "damage",
        "description",
        "git_dir",
        "held",
        "last_error",
        "last_sync",
        "last_used",
        "local",
        "local_refs",
        "name",
        "needs_you",
        "next_sync_in_seconds",
        "next_sync_why",
        "progress",
        "saved",
        "settings",
        "size_bytes",
        "syncing",
        "token_expires",
        "tracked",
        "url",
    ];
    assert_eq!(keys(&show, 2), of_one, "{show}");
    // What it has saved, and its settings.
    let settings = [
        "bytes",
        "clones",
        "fetches",
        "seconds",
        "atomic",
        "auth",
        "every",
        "fresh_for",
        "fsck",
        "keep_history",
        "link",
        "push",
        "stale",
        "stale_after",
        "sync_on_fetch",
        "track",
        "wipe_guard",
    ];
    assert_eq!(keys(&show, 4), settings, "{show}");
    let lines = [
        "  \"name\": \"work\",".to_owned(),
        format!("  \"url\": \"{}\"", stage.url),
        format!(
            "  \"git_dir\": \"{}\",",
            stage.world.only_mirror().display()
        ),
        "  \"last_error\": null,".to_owned(),
        "  \"syncing\": false,".to_owned(),
        "  \"tracked\": 1,".to_owned(),
        "    \"stale\": \"serve\",".to_owned(),
        "      \"+refs/heads/main:refs/heads/main\"".to_owned(),
        "      \"ref\": \"refs/heads/mine\"".to_owned(),
        format!("      \"oid\": \"{}\",", stage.rev_parse("ours", "HEAD")),
    ];
    for line in lines {
        assert!(
            show.lines().any(|shown| shown == line),
            "'{line}' in {show}"
        );
    }
}

#[test]
fn show_says_all_of_a_mirror_in_the_order_of_its_help() {
    let stage = Stage::new(small);
    stage.add_with_local();
    stage
        .mirrord(&["set", "work", "--description", "ours"])
        .ok();
    for name in ["work", "mirror::work"] {
        let shown = stage.mirrord(&["show", name]).ok().stdout;
        let keys = shown.lines().filter_map(|line| line.split_once(':'));
        let keys: Vec<_> = keys.map(|(key, _)| key).collect();
        let expected = [
            "name",
            "url",
            "description",
            "directory",
            "state",
            "track",
            "every",
            "sync-on-fetch",
            "fresh-for",
            "stale",
            "stale-after",
            "atomic",
            "push",
            "keep-history",
            "fsck",
            "wipe-guard",
            "link",
            "auth",
            "tracked refs",
            "local",
        ];
        assert_eq!(keys, expected, "{shown}");
    }
    let local = format!("refs/heads/mine {}", &stage.rev_parse("ours", "HEAD")[..7]);
    assert_eq!(stage.shown("work", "local"), [local]);
    let state = stage.setting("work", "state");
    assert!(state.starts_with("in step "), "{state}");
}

#[test]
fn show_says_why_a_mirror_is_not_in_step() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    stage.gitlab.stop();
    stage.mirrord(&["sync", "work"]).fails();
    let state = stage.setting("work", "state");
    insta::assert_snapshot!(tests::shown(&state), @"in step [time] ago; since then: cannot reach 'http://gitlab.example/group/project.git': connection refused");
    stage.gitlab.start();
    stage.mirrord(&["sync", "work"]).ok();
    let state = stage.setting("work", "state");
    insta::assert_snapshot!(tests::shown(&state), @"in step [time] ago");
}

#[test]
fn control_characters_in_a_description_do_not_reach_the_terminal() {
    let stage = Stage::new(small);
    stage.add("work", &["--description", "two\nlines"]).ok();
    insta::assert_snapshot!(stage.setting("work", "description"), @"two^Jlines");
    let utf8 = stage.mirrord(&["set", "work", "--description", "Stra\u{df}e"]);
    utf8.ok();
    let shown = stage.mirrord(&["show", "work"]).ok().stdout;
    assert!(shown.contains("Stra?e") && shown.is_ascii(), "{shown}");
    let show = stage
        .mirrord(&["show", "work"])
        .env("LC_ALL", "C.UTF-8")
        .ok();
    insta::assert_snapshot!(show.shown(), @r"
        name: work
        url: http://gitlab.example/group/project.git
        description: Straße
        directory: /world/m/mirrors/project-[oid].git
        state: in step [time] ago
        track: +refs/heads/*:refs/heads/* +refs/tags/*:refs/tags/*
        every: 1h
        sync-on-fetch: yes
        fresh-for: [time]
        stale: serve
        stale-after: [time]
        atomic: auto
        push: yes
        keep-history: 30d
        fsck: no
        wipe-guard: yes
        link: auto
        auth: git
        tracked refs: 3
    ");
    let json = stage.mirrord(&["show", "work", "--json"]).ok().stdout;
    assert!(json.contains("Stra\u{df}e"), "{json}");
}

#[test]
fn every_command_starts_the_daemon_when_it_does_not_run() {
    let stage = Stage::new(small);
    let url = stage.url.as_str();
    let commands: [(&[&str], i32); 16] = [
        (&["add", "work", url], 0),
        (&["list"], 0),
        (&["ls", "--json"], 0),
        (&["show", "work"], 0),
        (&["sync", "work"], 0),
        (&["sync", "--all"], 0),
        (&["set", "work", "--push", "no"], 0),
        (&["history", "work"], 0),
        (&["restore", "work", "main"], 1),
        (&["accept", "work"], 0),
        (&["config"], 0),
        (&["config", "fresh-for"], 0),
        (&["config", "fresh-for", "0s"], 0),
        (&["config", "--unset", "fresh-for"], 0),
        (&["rename", "work", "play"], 0),
        (&["remove", "play"], 0),
    ];
    for (args, code) in commands {
        assert_eq!(stage.world.daemon_pid(), None);
        stage.mirrord(args).code(code);
        assert!(stage.world.daemon_pid().is_some(), "{args:?} starts it");
        stage.mirrord(&["stop"]).ok();
    }
}

#[test]
fn status_stop_and_completions_never_start_it() {
    let stage = Stage::new(small);
    let status = stage.mirrord(&["status"]).code(3);
    assert_eq!(status.stdout, "mirrord does not run\n");
    let json = stage.mirrord(&["status", "--json"]).code(3);
    assert_eq!(json.line(), "{\"running\":false}");
    assert_eq!(
        stage.mirrord(&["stop"]).ok().stdout,
        "mirrord does not run\n"
    );
    stage.mirrord(&["completions", "bash"]).ok();
    assert_eq!(stage.world.daemon_pid(), None);
    stage.add("work", &[]).ok();
    let pid = stage.world.daemon_pid();
    stage.mirrord(&["status"]).ok();
    stage.mirrord(&["completions", "fish"]).ok();
    assert_eq!(stage.world.daemon_pid(), pid);
    stage.mirrord(&["stop"]).ok();
    stage.mirrord(&["status"]).code(3);
    assert_eq!(stage.world.daemon_pid(), None);
}

#[test]
fn json_reports_what_was_done() {
    let stage = Stage::new(small);
    stage.add_with_local();
    let done = |args: &[&str], indent: usize| {
        let ran = stage.mirrord(&[args, &["--json"]].concat()).ok();
        assert_eq!(ran.stderr, "", "{ran}");
        keys(&ran.stdout, indent)
    };
    let in_step = ["changed", "name", "warnings"];
    assert_eq!(done(&["sync", "work"], 4), in_step);
    assert_eq!(done(&["accept", "work"], 2), in_step);
    let delete = ["push", "-q", "origin", ":mine"];
    stage.world.git(delete).at("ours").ok();
    let restored = ["at", "oid", "ref", "restored_as", "why"];
    assert_eq!(done(&["restore", "work", "mine"], 2), restored);
    let removed = ["bundle", "removed"];
    assert_eq!(done(&["remove", "work", "--force"], 2), removed);
}
