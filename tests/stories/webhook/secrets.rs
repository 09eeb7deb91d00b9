//! The secrets that authenticate deliveries: signatures, tokens, and their rotation.

use std::{fs, os::unix::fs::PermissionsExt};

use tests::{Delivery, Run};

use super::{Shown, webhook_on};
use crate::stage::Stage;

const SIGNING: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrs=";

fn secret(stage: &Stage, options: &[&str]) -> Run {
    stage.mirrord(&[&["webhook", "secret", "project"], options].concat())
}

/// GitLab has shown a signing token, and from now on signs with it.
#[track_caller]
fn sign(stage: &Stage) -> Shown {
    let run = secret(stage, &["--signing-token-stdin"]);
    let ran = run.stdin(format!("{SIGNING}\n")).ok();
    assert!(!format!("{ran}").contains("whsec_"), "{ran}");
    stage.webhook()
}

#[test]
fn with_a_signing_token_only_what_gitlab_has_signed_just_now_is_taken() {
    let stage = webhook_on();
    let Shown { url, token } = sign(&stage);
    let now = Delivery::now();
    let body = r#"{"object_kind":"push"}"#;
    let bare = || Delivery::of_gitlab(&url, "Push Hook", body);
    let signed = |at| bare().signed(SIGNING, "one", at);
    let signature = |at| tests::signature(SIGNING, "one", at, body.as_bytes());
    let other = "whsec_dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q=";
    let table = [
        ("the secret token alone", bare().token(&token)),
        ("nothing", bare()),
        ("another key", bare().signed(other, "one", now)),
        (
            "the key undecoded",
            bare().signed_undecoded(SIGNING, "one", now),
        ),
        (
            "another id",
            bare().with_signature("two", now, &signature(now)),
        ),
        (
            "another time",
            bare().with_signature("one", now + 1, &signature(now)),
        ),
        ("an old one", signed(now - 310)),
        ("one of tomorrow", signed(now + 310)),
        ("no id", signed(now).without("webhook-id")),
        ("no time", signed(now).without("webhook-timestamp")),
        ("no signature", signed(now).without("webhook-signature")),
        (
            "a bad time",
            signed(now).header("webhook-timestamp", "today"),
        ),
        (
            "another version",
            bare().with_signature("one", now, &signature(now).replace("v1,", "v2,")),
        ),
        (
            "half of it",
            bare().with_signature("one", now, &signature(now)[..20]),
        ),
        (
            "the token too",
            bare().token(&token).with_signature("one", now, "v1,AAAA"),
        ),
    ];
    for (what, delivery) in table {
        assert_eq!(delivery.send().status, 401, "{what}");
    }
    stage.project.commit("main", "file", "new");
    let two = format!("v1,AAAA {}", signature(now));
    let answer = bare().with_signature("one", now, &two).send();
    assert_eq!(answer.status, 202, "one of two is right: {answer:?}");
    stage.wait_until_in_step();
    stage.project.commit("main", "file", "newer");
    let late = bare().token(&token).signed(SIGNING, "three", now - 240);
    assert_eq!(late.send().status, 202, "four minutes are not too long");
    stage.wait_until_in_step();
}

#[test]
fn a_replay_is_answered_and_costs_nothing_and_resending_is_a_check() {
    let stage = webhook_on();
    let Shown { url, .. } = sign(&stage);
    let bare = Delivery::of_gitlab(&url, "Push Hook", "{}");
    let at = Delivery::now() - 20;
    let first = bare.clone().signed(SIGNING, "one", at);
    assert_eq!(first.send().status, 202);
    stage.wait_until_in_step();
    let before = stage.questions();
    stage.project.commit("main", "file", "new");
    for _ in 0..100 {
        assert_eq!(first.send().status, 202);
    }
    assert_eq!(stage.questions(), before, "what was seen is not news");
    // GitLab's 'Resend' keeps the id, and signs anew.
    assert_eq!(bare.signed(SIGNING, "one", at + 10).send().status, 202);
    stage.wait_until_in_step();
}

#[test]
fn an_invalid_signing_token_changes_nothing_and_is_not_printed() {
    let stage = webhook_on();
    let delivery = stage.delivery();
    let wrong = ["hunter2", "whsec_hunter2", "whsec_aHVudGVyMg==", "", "a\nb"];
    let refusals = wrong.map(|wrong| {
        let run = secret(&stage, &["--signing-token-stdin"]);
        run.stdin(format!("{wrong}\n")).code(2).shown()
    });
    insta::assert_snapshot!(refusals.concat(), @"
    error: that is not a signing token
    hint: GitLab's begin with 'whsec_', and it shows each of them once
    error: that is not a signing token
    hint: GitLab's begin with 'whsec_', and it shows each of them once
    error: that is not a signing token
    hint: GitLab's begin with 'whsec_', and it shows each of them once
    error: the signing token on stdin is not one line
    error: the signing token on stdin is not one line
    ");
    assert_eq!(delivery.send().status, 202);
    secret(&stage, &[]).code(2);
    secret(&stage, &["--rotate", "--signing-token-stdin"]).code(2);
}

#[test]
fn a_rotated_token_is_another_and_the_address_stays() {
    let stage = webhook_on();
    let (before, old) = (stage.webhook(), stage.delivery());
    let ran = secret(&stage, &["--rotate"]).ok();
    let after = stage.webhook();
    assert!(before.url == after.url && before.token != after.token);
    insta::assert_snapshot!(tests::shown(&ran.stdout.replace(&after.token, "TOKEN")), @"
    URL: http://gitlab.example/hooks/[oid]
    Secret token: TOKEN
    Trigger: Push events, and Tag push events
    Signing token: none
    ");
    assert_eq!(old.send().status, 401);
    assert_eq!(old.token(&after.token).send().status, 202);
}

#[test]
fn a_hook_is_the_mirrors_own_for_life_and_goes_with_it() {
    let stage = webhook_on();
    let before = stage.webhook();
    let same = |name: &str| {
        let ran = stage.mirrord(&["webhook", "show", name]).ok();
        insta::allow_duplicates! {
            insta::assert_snapshot!(tests::shown(&ran.stdout.replace(&before.url, "URL").replace(&before.token, "TOKEN")), @"
            URL: URL
            Secret token: TOKEN
            Trigger: Push events, and Tag push events
            Signing token: none
            ");
        }
    };
    stage.mirrord(&["rename", "project", "other"]).ok();
    same("other");
    let moved = stage.gitlab.project("group/moved");
    moved
        .git([
            "fetch",
            "-q",
            &stage.project.url(),
            "+refs/heads/*:refs/heads/*",
        ])
        .ok();
    let url = stage.gitlab.url("group/moved");
    stage.mirrord(&["set", "other", "--url", &url]).ok();
    let delivery = Delivery::of_gitlab(&before.url, "Push Hook", "{}").token(&before.token);
    let tip = moved.commit("main", "file", "at the new place");
    assert_eq!(delivery.send().status, 202);
    let mirror = stage.world.only_mirror();
    stage.sync_until(|| {
        let refs = tests::public_refs(&stage.world, &mirror);
        refs.iter().any(|(_, oid)| *oid == tip)
    });
    for end in ["stop", "kill"] {
        match end {
            "stop" => drop(stage.mirrord(&["stop"]).ok()),
            _ => stage.world.kill_daemon(),
        }
        stage.mirrord(&["list"]).ok();
        same("other");
    }
    let file = mirror.join("webhook");
    let mode = fs::metadata(&file)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    stage.mirrord(&["remove", "other"]).ok();
    assert_eq!(delivery.send().status, 404);
    let left = stage
        .world
        .program("grep", ["-rlF", &before.token, "m"])
        .run();
    assert_eq!(left.stdout, "", "{left}");
}

#[test]
fn a_file_that_others_could_read_is_not_believed() {
    let stage = webhook_on();
    let delivery = stage.delivery();
    let file = stage.world.only_mirror().join("webhook");
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("ours");
    mode(0o644);
    assert_eq!(delivery.send().status, 500);
    let ran = stage.mirrord(&["webhook", "show", "project"]).code(1);
    insta::assert_snapshot!(ran.shown(), @"
    error: cannot read the secret in '/world/m/mirrors/project-[oid].git/webhook': others may read or change it
    hint: chmod 600 '/world/m/mirrors/project-[oid].git/webhook'
    ");
    mode(0o600);
    assert_eq!(delivery.send().status, 202);
}
