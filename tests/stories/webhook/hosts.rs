//! Deliveries of each host, as the host documents them.

use std::path::PathBuf;

use tests::{Delivery, On, public_refs};

use super::{Shown, webhook_on};
use crate::stage::Stage;

/// From GitLab's `doc/user/project/integrations/webhook_events.md`.
const PUSH: &str = r#"{
  "object_kind": "push", "event_name": "push",
  "before": "95790bf891e76fee5e1747ab589903a6a1f80f22",
  "after": "da1560886d4f094c3e6c9ef40349f7d38b5d27d7",
  "ref": "refs/heads/master", "ref_protected": true,
  "checkout_sha": "da1560886d4f094c3e6c9ef40349f7d38b5d27d7",
  "user_id": 4, "user_name": "John Smith", "user_username": "jsmith", "project_id": 15,
  "project": { "id": 15, "name": "Diaspora", "web_url": "http://example.com/mike/diaspora",
    "git_http_url": "http://example.com/mike/diaspora.git", "namespace": "Mike",
    "path_with_namespace": "mike/diaspora", "default_branch": "master" },
  "commits": [ { "id": "da1560886d4f094c3e6c9ef40349f7d38b5d27d7", "message": "fixed readme",
    "timestamp": "2012-01-03T23:36:29+02:00", "added": ["CHANGELOG"], "removed": [] } ],
  "total_commits_count": 4 }"#;

const TAG_PUSH: &str = r#"{
  "object_kind": "tag_push", "event_name": "tag_push",
  "before": "0000000000000000000000000000000000000000",
  "after": "82b3d5ae55f7080f1e6022629cdb57bfae7cccc7",
  "ref": "refs/tags/v1.0.0", "checkout_sha": "82b3d5ae55f7080f1e6022629cdb57bfae7cccc7",
  "user_id": 1, "user_name": "John Smith", "project_id": 1,
  "project": { "path_with_namespace": "jsmith/example" }, "commits": [], "total_commits_count": 0 }"#;

const BRANCH_CREATED: &str = r#"{
  "object_kind": "push", "event_name": "push",
  "before": "0000000000000000000000000000000000000000",
  "after": "da1560886d4f094c3e6c9ef40349f7d38b5d27d7", "ref": "refs/heads/new",
  "checkout_sha": "da1560886d4f094c3e6c9ef40349f7d38b5d27d7",
  "project_id": 15, "commits": [], "total_commits_count": 0 }"#;

const BRANCH_DELETED: &str = r#"{
  "object_kind": "push", "event_name": "push",
  "before": "da1560886d4f094c3e6c9ef40349f7d38b5d27d7",
  "after": "0000000000000000000000000000000000000000", "ref": "refs/heads/new",
  "checkout_sha": null, "project_id": 15, "commits": [], "total_commits_count": 0 }"#;

/// From `doc/administration/system_hooks.md`.
const REPOSITORY_UPDATE: &str = r#"{
  "event_name": "repository_update", "user_id": 1, "user_name": "John Smith", "project_id": 1,
  "project": { "name": "Example", "path_with_namespace": "jsmith/example" },
  "changes": [ { "before": "8205ea8d81ce0c6b90fbe8280d118cc9fdad6130",
    "after": "4045ea7a3df38697b3730a20fb73c8bed8a3e69e", "ref": "refs/heads/master" } ],
  "refs": [ "refs/heads/master" ] }"#;

/// A template replaces the whole body; what is not JSON there is sent as it is.
const CUSTOM_TEMPLATE: &str = "{\"event\":\"push\",\"text\":\"a\u{e9}\"}";

/// Waits until the mirror with this name has what upstream has.
#[track_caller]
fn wait_until_in_step(stage: &Stage, name: &str) {
    let dirs = stage.world.mirrors().into_iter();
    let mut dirs = dirs.map(|dir| stage.world.mirror_home().join("mirrors").join(dir));
    let is_called = |dir: &PathBuf| {
        let args = ["config", "mirror.name"];
        stage.world.git(args).at(dir).run().line() == name
    };
    let mirror = dirs.find(is_called).expect("it is there");
    stage.sync_until(|| public_refs(&stage.world, &mirror) == stage.project.refs());
}

#[test]
fn a_delivery_of_gitlab_after_a_push_syncs_the_mirror() {
    let stage = webhook_on();
    let table = [
        ("push", "Push Hook", PUSH),
        ("tag-push", "Tag Push Hook", TAG_PUSH),
        ("branch-created", "Push Hook", BRANCH_CREATED),
        ("branch-deleted", "Push Hook", BRANCH_DELETED),
        ("repository-update", "System Hook", REPOSITORY_UPDATE),
        ("test-button", "Push Hook", PUSH),
        ("tag-test-button", "Tag Push Hook", PUSH),
        ("custom-template", "Push Hook", CUSTOM_TEMPLATE),
        ("empty", "Push Hook", ""),
    ];
    // A mirror for each kind: a mirror waits two seconds between syncs that deliveries ask for.
    for (kind, ..) in table {
        stage.add(kind, &[]).ok();
    }
    stage.project.annotated_tag("v1.0.0", "main");
    stage.project.branch("new", "main");
    for (kind, event, body) in table {
        stage.project.commit("main", "file", kind);
        let Shown { url, token } = stage.webhook_of(kind);
        let delivery = Delivery::of_gitlab(&url, event, body).token(&token);
        let delivery = delivery
            .header(
                "X-Gitlab-Webhook-UUID",
                "a753eedb-1d72-4549-9ca7-eac8ea8e50dd",
            )
            .header(
                "X-Gitlab-Event-UUID",
                "842d7c3e-3114-4396-8a95-66c084d53cb1",
            )
            .header("Idempotency-Key", kind);
        let answer = delivery.send();
        assert_eq!(answer.status, 202, "{kind}: {answer:?}");
        wait_until_in_step(&stage, kind);
    }
}

#[test]
fn the_content_of_a_delivery_is_never_used() {
    let stage = webhook_on();
    let Shown { url, token } = stage.webhook();
    stage.project.commit("main", "file", "new");
    let elsewhere = stage.gitlab.project("evil/project");
    elsewhere.history(1);
    let body = format!(
        r#"{{"object_kind":"push","ref":"refs/heads/evil","after":"{}","project":{{"git_http_url":"{}"}}}}"#,
        elsewhere.tip("main").expect("a commit"),
        stage.gitlab.url("evil/project")
    );
    let delivery = Delivery::of_gitlab(&url, "Push Hook", body).token(&token);
    assert_eq!(delivery.send().status, 202);
    stage.wait_until_in_step();
    stage.world.wait_until_no_sync();
    let requests = stage.gitlab.requests();
    assert!(
        requests
            .iter()
            .all(|request| !request.path.contains("evil"))
    );
    assert_eq!(stage.world.mirrors().len(), 1);
}

#[test]
fn deliveries_of_github_gitea_and_forgejo_are_accepted_too() {
    let stage = webhook_on();
    let Shown { url, token } = stage.webhook();
    let table = [
        ("X-Hub-Signature-256", "sha256=", "X-GitHub-Event"),
        ("X-Gitea-Signature", "", "X-Gitea-Event"),
        ("X-Forgejo-Signature", "", "X-Forgejo-Event"),
    ];
    for (header, prefix, event) in table {
        stage.project.commit("main", "file", header);
        let delivery = Delivery::of_gitlab(&url, "", format!(r#"{{"ref":"{header}"}}"#));
        let delivery = delivery.without("X-Gitlab-Event").header(event, "push");
        let wrong = delivery.clone().signed_body(header, prefix, "another");
        assert_eq!(wrong.send().status, 401, "{header}");
        let right = delivery.signed_body(header, prefix, &token);
        assert_eq!(right.send().status, 202, "{header}");
        stage.wait_until_in_step();
    }
}

#[test]
fn a_storm_becomes_one_check_and_one_more() {
    let stage = webhook_on();
    let delivery = stage.delivery();
    stage.gitlab.forget_requests();
    let paused = stage.gitlab.pause(On::LsRefs);
    assert_eq!(delivery.send().status, 202);
    paused.reached();
    for _ in 0..100 {
        assert_eq!(delivery.send().status, 202, "whatever the mirror is doing");
    }
    stage
        .project
        .commit("main", "file", "what the last of them tells of");
    paused.release();
    stage.wait_until_in_step();
    let questions = stage.questions();
    assert!(
        questions <= 2,
        "a hundred and one deliveries were {questions} checks"
    );
}
