//! Fresh answers without a question to upstream: only a login that has read upstream before gets them.

use tests::Run;

use crate::{named::small, stage::Stage};

/// A private project that `me` may read, and so may others.
#[track_caller]
fn private(options: &[&str]) -> Stage {
    let stage = Stage::new(small);
    stage.gitlab.require_login("group/project", "me", "right");
    let helper = "!f() { cat >/dev/null; echo username=me; echo password=right; }; f";
    stage.world.config("credential.helper", helper);
    stage.add("work", options).ok();
    stage.clone("work", "ours").ok();
    stage
}

/// The options of git for no login, or for the login of this user.
fn as_user(user: Option<&str>) -> Vec<String> {
    let give = |user| {
        let helper = format!("echo username={user}; echo password=right");
        format!("credential.helper=!f() {{ cat >/dev/null; {helper}; }}; f")
    };
    let helpers = [Some("credential.helper=".to_owned()), user.map(give)];
    let helpers = helpers.into_iter().flatten();
    helpers
        .flat_map(|helper| ["-c".to_owned(), helper])
        .collect()
}

/// Prepares a clone by somebody else.
fn theirs(stage: &Stage, user: Option<&str>) -> Run {
    let clone = ["clone", "-q", "mirror::work"].map(str::to_owned);
    let dir = format!("of-{}", user.unwrap_or("nobody"));
    let args = as_user(user).into_iter().chain(clone);
    stage.world.git(args).arg(dir)
}

#[test]
fn a_login_that_has_never_read_upstream_is_not_served_without_asking() {
    let stage = private(&["--sync-on-fetch", "no", "--fresh-for", "10d"]);
    stage.silent(stage.fetch("ours"));
    for user in [None, Some("guess")] {
        stage.gitlab.forget_requests();
        let ran = theirs(&stage, user).code(128);
        assert!(
            !stage.gitlab.requests().is_empty(),
            "upstream decides: {ran}"
        );
        stage.gitlab.stop();
        for stale in ["", "serve"] {
            let ran = theirs(&stage, user).env("MIRROR_STALE", stale).code(128);
            insta::allow_duplicates! {
                insta::assert_snapshot!(ran.shown(), @"
                error: cannot reach 'http://gitlab.example/group/project.git': connection refused
                hint: there is a copy here, but this login has never read it from upstream
                ");
            }
        }
        stage.gitlab.start();
    }
    stage.gitlab.require_login("group/project", "you", "right");
    stage.gitlab.forget_requests();
    theirs(&stage, Some("you")).ok();
    assert!(
        !stage.gitlab.requests().is_empty(),
        "the first time it is asked"
    );
    let again = [&as_user(Some("you"))[..], &["fetch".into(), "-q".into()]].concat();
    stage.silent(stage.world.git(again).at("of-you"));
}

#[test]
fn the_logins_that_have_read_upstream_are_known_to_the_next_daemon() {
    let stage = private(&["--sync-on-fetch", "no"]);
    stage.mirrord(&["stop"]).ok();
    stage.gitlab.stop();
    // Nobody can say whether this login is still good, and it has read all of this.
    let ran = stage.fetch("ours").ok();
    assert!(
        ran.stderr.is_empty() || ran.stderr.contains("serving the copy"),
        "{ran}"
    );
}
