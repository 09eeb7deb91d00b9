//! The user's configuration and odd names do not change where a push goes.

use std::fmt::Write;

use tests::{Fault, World, refs};

use crate::{
    push_pair::{fill, mirror_is_upstream},
    stage::Stage,
};

#[test]
fn nobody_writes_the_mirrors_own_refs() {
    let stage = Stage::new(fill).with_ours();
    stage.commit("ours", "mine");
    let before = refs(&stage.world, &stage.world.only_mirror());
    let packs = stage.packs();
    let mut all = String::new();
    for own in [
        "refs/upstream/heads/main",
        "refs/mirror/x",
        "refs/replace/0123456789012345678901234567890123456789",
    ] {
        let refspec = format!("main:{own}");
        let ran = stage.push("ours", &[&refspec]).code(1);
        write!(all, "{}", ran.shown()).expect("into a string");
        let ran = stage
            .push("ours", &["--atomic", "main", &refspec, ":spare"])
            .code(1);
        write!(all, "{}", ran.shown()).expect("into a string");
    }
    assert_eq!(refs(&stage.world, &stage.world.only_mirror()), before);
    assert_eq!(stage.packs(), packs);
    mirror_is_upstream(&stage.world, &stage.project);
    let ran = stage
        .push("ours", &["main", "main:refs/upstream/heads/x"])
        .code(1);
    write!(all, "{}", ran.shown()).expect("into a string");
    insta::assert_snapshot!(all, @r"
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] main -> refs/upstream/heads/main (deny updating a hidden ref)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] main -> main (atomic push failure)
     ! [remote rejected] spare (atomic push failure)
     ! [remote rejected] main -> refs/upstream/heads/main (deny updating a hidden ref)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] main -> refs/mirror/x (deny updating a hidden ref)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] main -> main (atomic push failure)
     ! [remote rejected] spare (atomic push failure)
     ! [remote rejected] main -> refs/mirror/x (deny updating a hidden ref)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] main -> refs/replace/[oid] (the name is kept for the mirror's own records)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] main -> main (atomic push failure)
     ! [remote rejected] spare (atomic push failure)
     ! [remote rejected] main -> refs/replace/[oid] (the name is kept for the mirror's own records)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'
    To mirror::http://gitlab.example/group/project.git
       [oid]..[oid]  main -> main
     ! [remote rejected] main -> refs/upstream/heads/x (deny updating a hidden ref)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'
    ");
    mirror_is_upstream(&stage.world, &stage.project);
}

/// Takes long: each of 22 settings has a push of its own.
#[test]
fn settings_and_variables_of_the_person_do_not_disturb_a_push() {
    let stage = Stage::new(fill).with_ours();
    let poison = stage.world.path("poison").display().to_string();
    let script = "mkdir -p poison && for h in pre-receive proc-receive update post-receive post-update; do \
                  printf '#!/bin/sh\\necho POISON >&2\\nexit 1\\n' >poison/$h; chmod 755 poison/$h; done";
    stage.world.program("sh", ["-c", script]).ok();
    let host = format!("http://{}/", stage.gitlab.host());
    let settings = [
        ("core.hooksPath", poison.as_str()),
        ("push.followTags", "true"),
        ("push.recurseSubmodules", "check"),
        ("push.useForceIfIncludes", "true"),
        ("push.gpgSign", "if-asked"),
        ("push.negotiate", "true"),
        ("remote.pushDefault", "nowhere"),
        ("receive.denyUpdates", "true"),
        ("receive.denyDeletes", "true"),
        ("receive.denyNonFastForwards", "true"),
        ("receive.procReceiveRefs", "refs/nothing"),
        ("receive.advertisePushOptions", "false"),
        ("receive.advertiseAtomic", "false"),
        ("receive.unpackLimit", "100000"),
        ("transfer.hideRefs", "refs/heads"),
        ("transfer.advertiseSID", "true"),
        ("color.ui", "always"),
        ("color.push", "always"),
        ("core.bare", "true"),
        ("core.compression", "0"),
        ("remote.upstream.url", "http://nowhere.invalid/"),
        ("remote.upstream.mirror", "true"),
    ];
    let tagged = |n: usize| {
        stage.commit("ours", &format!("file{n}"));
        stage.ours(&["tag", "-am", "n", &format!("n{n}")]).ok();
    };
    for (n, (key, value)) in settings.into_iter().enumerate() {
        tagged(n);
        let setting = format!("{key}={value}");
        let push = [
            "-c",
            &setting,
            "push",
            "--force",
            "--atomic",
            "-o",
            "ci.skip",
            "origin",
            "HEAD:main",
            "HEAD:x",
        ];
        let mut push = stage.ours(&push);
        if key == "core.bare" {
            // It would be about the clone itself.
            push = push.env("GIT_WORK_TREE", stage.world.path("ours"));
        }
        let ran = push.run();
        assert!(
            ran.status.success() && !ran.stderr.contains("POISON"),
            "{key}: {ran}"
        );
        mirror_is_upstream(&stage.world, &stage.project);
        // For those who write it down for all that they do.
        if !key.starts_with("core.") {
            stage.world.config(key, value);
        }
    }
    stage.commit("ours", "all of them");
    let back = format!("url.mirror::{host}.insteadOf");
    stage.world.config(&back, &host);
    stage
        .world
        .config(&format!("url.mirror::{host}.pushInsteadOf"), &host);
    stage.push("ours", &["HEAD:main", ":x"]).ok();
    mirror_is_upstream(&stage.world, &stage.project);
}

#[test]
fn variables_of_gits_do_not_lead_a_push_astray() {
    let stage = Stage::new(fill).with_ours();
    let clone = stage.world.path("ours");
    let elsewhere = stage.world.path("elsewhere");
    let git_dir = clone.join(".git");
    let variables = [
        ("GIT_DIR", git_dir.clone()),
        ("GIT_WORK_TREE", clone.clone()),
        ("GIT_INDEX_FILE", elsewhere.join("index")),
        ("GIT_OBJECT_DIRECTORY", git_dir.join("objects")),
        ("GIT_ALTERNATE_OBJECT_DIRECTORIES", elsewhere.clone()),
        ("GIT_COMMON_DIR", git_dir.clone()),
        ("GIT_QUARANTINE_PATH", elsewhere.clone()),
        ("GIT_PUSH_OPTION_COUNT", "7".into()),
        ("GIT_NAMESPACE", "space".into()),
        ("GIT_PROTOCOL", "version=2".into()),
        ("GIT_EXEC_PATH_NONE", elsewhere.clone()),
        ("GIT_TEMPLATE_DIR", elsewhere.clone()),
        ("GIT_REPLACE_REF_BASE", "refs/heads/".into()),
        ("GIT_LITERAL_PATHSPECS", "1".into()),
        ("GIT_REF_PARANOIA", "1".into()),
        ("MIRROR_PUSH", "nonsense".into()),
        ("MIRROR_QUARANTINE", elsewhere),
        ("MIRROR_UPSTREAM", "http://nowhere.invalid/".into()),
        ("MIRROR_LOGIN", "nonsense".into()),
        ("MIRROR_USERNAME", "nobody".into()),
    ];
    for (key, value) in variables {
        stage.commit("ours", key);
        let ran = stage
            .push("ours", &["main", "HEAD:refs/heads/x"])
            .env(key, value)
            .run();
        assert!(ran.status.success(), "{key}: {ran}");
        mirror_is_upstream(&stage.world, &stage.project);
    }
}

#[test]
fn settings_about_servers_apply_to_the_push_to_upstream() {
    let stage = Stage::new(fill).with_ours();
    let url = format!("http.http://{}/.extraHeader", stage.gitlab.host());
    stage.world.config(&url, "X-From-File: yes");
    stage.commit("ours", "one");
    let args = format!("{url}=X-From-Words: yes");
    let command_line = ["-c", &args, "-c", "http.userAgent=me/1"];
    let push = ["push", "origin", "main"];
    stage.gitlab.forget_requests();
    stage.ours(&[&command_line[..], &push].concat()).ok();
    let requests = stage.gitlab.requests();
    let pushes: Vec<_> = requests
        .iter()
        .filter(|request| format!("{}{}", request.path, request.query).contains("receive-pack"))
        .collect();
    assert!(pushes.len() >= 2, "{requests:?}");
    for request in pushes {
        for (name, value) in [("x-from-words", "yes"), ("user-agent", "me/1")] {
            let sent = (name.to_owned(), value.to_owned());
            assert!(request.headers.contains(&sent), "{name}: {request:?}");
        }
    }
    stage.gitlab.forget_requests();
    stage.commit("ours", "two");
    stage.push("ours", &["main"]).ok();
    let is_received = |request: &tests::Request| {
        let sent = ("x-from-file".to_owned(), "yes".to_owned());
        request.headers.contains(&sent)
    };
    assert!(stage.gitlab.requests().iter().all(is_received));
}

#[test]
fn an_address_that_redirects_is_pushed_to() {
    let stage = Stage::new(fill).with_ours();
    let short = stage.url.trim_end_matches(".git").to_owned();
    stage.world.clone_mirror(&short, "short").ok();
    let commit = ["commit", "-q", "--allow-empty", "-m", "short"];
    stage.world.git(commit).at("short").ok();
    stage.world.git(["push", "origin", "main"]).at("short").ok();
    mirror_is_upstream(&stage.world, &stage.project);
}

#[test]
fn a_server_that_knows_only_the_oldest_protocol_is_pushed_to() {
    let stage = Stage::new(fill).with_ours();
    stage.gitlab.fault(Fault::old_protocol());
    stage.commit("ours", "one");
    let all = ["--atomic", "-o", "ci.skip", "main", "main:new", ":spare"];
    stage.push("ours", &all).ok();
    mirror_is_upstream(&stage.world, &stage.project);
}

#[test]
fn an_upstream_that_is_named_by_its_path_is_pushed_to() {
    let world = World::new();
    let project = world.project("with space and 'quotes' #1/project.git");
    fill(&project);
    let path = project.dir().display().to_string();
    world.clone_mirror(&path, "ours").ok();
    let commit = ["commit", "-q", "--allow-empty", "-m", "one"];
    world.git(commit).at("ours").ok();
    world
        .git(["push", "origin", "main", "main:new", ":spare"])
        .at("ours")
        .ok();
    mirror_is_upstream(&world, &project);
    // A hook of somebody's, from which git passes its variables on.
    world.git(commit).at("ours").ok();
    let quarantine = world.only_mirror().join("objects");
    let push = world.git(["push", "origin", "main"]).at("ours");
    push.env("GIT_QUARANTINE_PATH", quarantine).ok();
    mirror_is_upstream(&world, &project);
}
