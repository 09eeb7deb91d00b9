//! The way to upstream's door, and who answers there.

use tests::World;

use super::{Stage, fails_at, hint, step_detail};

/// An https server, whose authority this person knows.
fn over_tls(knows: bool) -> Stage {
    let world = World::new();
    let gitlab = world.gitlab_tls();
    if knows {
        let ca = gitlab.ca_file().display().to_string();
        world.config("http.sslCAInfo", &ca);
    }
    Stage::of(world, gitlab)
}

#[test]
fn an_unknown_name() {
    let world = World::new();
    let test = world.mirrord(["test", "https://gitlab.invalid/group/project.git"]);
    fails_at(test, "name resolved", "could not resolve host");
}

#[test]
fn nothing_listens_at_the_address() {
    let stage = Stage::new();
    stage.gitlab.stop();
    fails_at(stage.testing(&[]), "connected", "connection refused");
}

#[test]
fn a_trusted_certificate_says_who_signed_it_and_how_long_it_is_good() {
    let stage = over_tls(true);
    let ran = stage.testing(&[]).ok();
    let args = step_detail(&ran, "ok", "certificate");
    let (issuer, days) = args.split_once(", ").expect("two facts");
    assert_eq!(issuer, "issued by 'CA of the GitLab stand-in'");
    let days = days.strip_suffix(" days left").expect("days");
    let days: u64 = days.parse().expect("a number");
    // It is good until 4096.
    assert!((700_000..760_000).contains(&days), "{ran}");
    let received = stage.gitlab.requests();
    let first = received.first().expect("it asked");
    assert_eq!(first.authorization, None, "no secret is sent for that");
}

#[test]
fn an_untrusted_certificate() {
    let stage = over_tls(false);
    let why = "it is signed by nobody who is trusted here";
    let ran = fails_at(stage.testing(&[]), "certificate", why);
    assert!(hint(&ran).contains("git config http.sslCAInfo"), "{ran}");
    let unchecked = stage.testing(&[]).env("GIT_SSL_NO_VERIFY", "1").ok();
    let args = step_detail(&unchecked, "ok", "certificate");
    assert!(args.contains("not checked"), "{unchecked}");
}

#[test]
fn an_expired_certificate() {
    let world = World::new();
    let gitlab = world.gitlab_expired();
    let ca = gitlab.ca_file().display().to_string();
    world.config("http.sslCAInfo", &ca);
    let stage = Stage::of(world, gitlab);
    fails_at(stage.testing(&[]), "certificate", "it has expired");
    let unchecked = stage.testing(&[]).env("GIT_SSL_NO_VERIFY", "1").ok();
    let args = step_detail(&unchecked, "ok", "certificate");
    assert!(args.contains("days ago"), "{unchecked}");
}

#[test]
fn a_proxy_is_named_without_its_login() {
    let stage = Stage::new();
    let proxy = stage.gitlab.host();
    let far = "http://gitlab.invalid/group/project.git";
    let address = format!("http://me:hunter2@{proxy}");
    let by_variable = stage.world.mirrord(["test", far]);
    let ran = by_variable.env("http_proxy", &address).ok();
    for (label, start) in [("name resolved", "127.0.0.1"), ("connected", &proxy)] {
        let args = step_detail(&ran, "ok", label);
        assert_eq!(args, format!("{start}, through the proxy {proxy}"));
    }
    assert!(!ran.stdout.contains("hunter2"), "{ran}");
    let near = stage.testing(&[]).env("http_proxy", &address);
    let ran = near.env("no_proxy", "127.0.0.1").ok();
    assert_eq!(
        step_detail(&ran, "ok", "connected"),
        proxy,
        "past the proxy"
    );
}

#[test]
fn a_proxy_that_is_not_there_is_named_with_its_setting() {
    let stage = Stage::new();
    let dead = stage.gitlab.refused_address();
    let dead = dead.replace("/group/project.git", "");
    let host = dead.trim_start_matches("http://").to_owned();
    let secret = dead.replace("://", "://me:hunter2@");
    stage.world.config("http.proxy", &secret);
    let ran = fails_at(stage.testing(&[]), "connected", "connection refused");
    let expected = format!("the proxy {host} is that of 'http.proxy'");
    assert_eq!(hint(&ran), expected);
    stage
        .world
        .git(["config", "--global", "--unset", "http.proxy"])
        .ok();
    let by_variable = stage.testing(&[]).env("all_proxy", &secret);
    let ran = fails_at(by_variable, "connected", "connection refused");
    assert!(hint(&ran).ends_with("is that of 'all_proxy'"), "{ran}");
    let unknown = stage.testing(&[]).env("all_proxy", "proxy.invalid:3128");
    let ran = fails_at(unknown, "name resolved", "could not resolve host");
    assert!(hint(&ran).contains("the proxy proxy.invalid:3128"), "{ran}");
    assert!(!stage.world.log().contains("hunter2"));
}

#[test]
fn a_proxy_that_wants_a_login_is_named() {
    let stage = Stage::new();
    let proxy = stage.gitlab.host();
    stage.gitlab.fault(tests::Fault::status(407));
    let far = stage.world.mirrord(["test", "http://gitlab.invalid/p.git"]);
    let far = far.env("http_proxy", format!("http://{proxy}"));
    let ran = fails_at(far, "may read", "error: 407");
    let expected = format!("the proxy {proxy} is that of 'http_proxy'");
    assert_eq!(hint(&ran), expected);
}

#[test]
fn a_redirect_is_told_and_followed_as_a_sync_would() {
    let stage = Stage::new();
    let short = stage.url.trim_end_matches(".git");
    let ran = stage.world.mirrord(["test", short]).ok();
    let args = step_detail(&ran, "ok", "redirected");
    let expected = format!("to '{}': the mirror would be of that", stage.url);
    assert_eq!(args, expected);
    let end = format!("a mirror of '{}' would work\n", stage.url);
    assert!(ran.stdout.ends_with(&end), "{ran}");
    let connected = ran.stdout.matches("connected").count();
    assert_eq!(connected, 1, "the same door is looked for once: {ran}");
}

#[test]
fn a_redirect_to_another_host_is_not_followed_and_its_address_is_said() {
    let stage = Stage::new();
    let there = stage.url.replace("127.0.0.1", "localhost");
    let location = format!("{there}/info/refs?service=git-upload-pack");
    stage.gitlab.fault(tests::Fault::redirect(301, &location));
    let ran = fails_at(stage.testing(&[]), "redirected", "is not followed");
    assert_eq!(hint(&ran), format!("it redirects to '{there}'"));
}

#[test]
fn a_setting_that_only_git_understands_is_tested_by_git() {
    let stage = Stage::new();
    stage.world.config("http.cookieFile", "/dev/null");
    let ran = stage.testing(&[]).ok();
    let args = step_detail(&ran, "-", "connected");
    assert!(args.contains("'http.cookiefile'"), "{ran}");
    step_detail(&ran, "ok", "may read");
    for label in ["may push", "LFS endpoint"] {
        step_detail(&ran, "-", label);
    }
    assert_eq!(
        step_detail(&ran, "ok", "refspecs"),
        "3 refs: main, topic, v1"
    );
}
