//! The way to upstream's door, and who answers there.

use tests::{Fault, World};

use super::{fails, fill, passes, step, testing, untested};
use crate::stage::Stage;

/// Removes a key of the user's own git configuration.
fn unset(stage: &Stage, key: &str) {
    let unset = ["config", "--global", "--unset", key];
    stage.world.git(unset).ok();
}

#[test]
fn an_unknown_name() {
    let world = World::new();
    let test = world.mirrord(["test", "https://gitlab.invalid/group/project.git"]);
    insta::assert_snapshot!(fails(test), @"
    FAILED name resolved  [time]  could not resolve host
    a mirror of 'https://gitlab.invalid/group/project.git' would not work
    ");
}

#[test]
fn nothing_listens_at_the_address() {
    let stage = untested();
    stage.gitlab.stop();
    let report = fails(testing(&stage, &[]));
    insta::assert_snapshot!(report, @"
    ok     name resolved  [time]  127.0.0.1
    FAILED connected  [time]  connection refused
    a mirror of 'http://gitlab.example/group/project.git' would not work
    ");
}

#[test]
fn a_trusted_certificate_says_who_signed_it_and_how_long_it_is_good() {
    let stage = Stage::with_tls(fill);
    let report = passes(testing(&stage, &[]));
    let line = step(&report, "certificate");
    let (_, detail) = line.split_once("[time]").expect("its time");
    let (issuer, days) = detail.trim().split_once(", ").expect("two facts");
    assert_eq!(issuer, "issued by 'CA of the GitLab stand-in'");
    let days = days.strip_suffix(" days left").expect("days");
    let days: u64 = days.parse().expect("a number");
    // It is good until 4096.
    assert!((700_000..760_000).contains(&days), "{line}");
    let received = stage.gitlab.requests();
    let first = received.first().expect("it asked");
    assert_eq!(first.authorization, None, "no secret is sent for that");
}

#[test]
fn an_untrusted_certificate() {
    let stage = Stage::with_tls(fill);
    unset(&stage, "http.sslCAInfo");
    let report = fails(testing(&stage, &[]));
    insta::assert_snapshot!(report, @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    FAILED certificate  [time]  it is signed by nobody who is trusted here
    hint: if its authority is your own, name it: git config http.sslCAInfo FILE
    a mirror of 'https://gitlab.example/group/project.git' would not work
    ");
    let unchecked = passes(testing(&stage, &[]).env("GIT_SSL_NO_VERIFY", "1"));
    let line = step(&unchecked, "certificate");
    assert!(line.contains("not checked"), "{line}");
}

#[test]
fn an_expired_certificate() {
    let world = World::new();
    let gitlab = world.gitlab_expired();
    let ca = gitlab.ca_file().display().to_string();
    world.config("http.sslCAInfo", &ca);
    let stage = Stage::on(world, gitlab, fill);
    let report = fails(testing(&stage, &[]));
    let (steps, _) = report.split_once("FAILED certificate").expect("it fails");
    insta::assert_snapshot!(steps, @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    ");
    let line = step(&report, "certificate");
    assert!(line.contains("it has expired"), "{line}");
    let unchecked = passes(testing(&stage, &[]).env("GIT_SSL_NO_VERIFY", "1"));
    let line = step(&unchecked, "certificate");
    assert!(line.contains("days ago"), "{line}");
}

#[test]
fn a_proxy_is_named_without_its_login() {
    let stage = untested();
    let proxy = stage.gitlab.host();
    let far = "http://gitlab.invalid/group/project.git";
    let address = format!("http://me:hunter2@{proxy}");
    let by_variable = stage.mirrord(&["test", far]);
    let report = passes(by_variable.env("http_proxy", &address));
    insta::assert_snapshot!(report, @"
    ok     name resolved  [time]  127.0.0.1, through the proxy gitlab.example
    ok     connected  [time]  gitlab.example, through the proxy gitlab.example
    ok     signed in  [time]  anonymous
    ok     may read  [time]  2 branches, 1 tag, default branch main
    ok     may push  [time]  as far as upstream tells beforehand
    ok     atomic pushes  [time]  advertised
    ok     push options  [time]  advertised
    ok     LFS endpoint  [time]  http://gitlab.invalid/group/project.git/info/lfs
    ok     refspecs  [time]  3 refs: main, topic, v1
    a mirror of 'http://gitlab.invalid/group/project.git' would work
    ");
    let near = testing(&stage, &[]).env("http_proxy", &address);
    let past = passes(near.env("no_proxy", "127.0.0.1"));
    insta::assert_snapshot!(step(&past, "connected"), @"ok     connected  [time]  gitlab.example");
}

#[test]
fn a_proxy_that_is_not_there_is_named_with_its_setting() {
    let stage = untested();
    let dead = stage.gitlab.refused_address();
    let dead = dead.replace("/group/project.git", "");
    let secret = dead.replace("://", "://me:hunter2@");
    stage.world.config("http.proxy", &secret);
    let report = fails(testing(&stage, &[]));
    insta::assert_snapshot!(report, @"
    ok     name resolved  [time]  127.0.0.1, through the proxy gitlab.example
    FAILED connected  [time]  connection refused
    hint: the proxy gitlab.example is that of 'http.proxy'
    a mirror of 'http://gitlab.example/group/project.git' would not work
    ");
    unset(&stage, "http.proxy");
    let report = fails(testing(&stage, &[]).env("all_proxy", &secret));
    insta::assert_snapshot!(report, @"
    ok     name resolved  [time]  127.0.0.1, through the proxy gitlab.example
    FAILED connected  [time]  connection refused
    hint: the proxy gitlab.example is that of 'all_proxy'
    a mirror of 'http://gitlab.example/group/project.git' would not work
    ");
    let unknown = testing(&stage, &[]).env("all_proxy", "proxy.invalid:3128");
    insta::assert_snapshot!(fails(unknown), @"
    FAILED name resolved  [time]  could not resolve host
    hint: the proxy proxy.invalid:3128 is that of 'all_proxy'
    a mirror of 'http://gitlab.example/group/project.git' would not work
    ");
    assert!(!stage.world.log().contains("hunter2"));
}

#[test]
fn a_proxy_that_wants_a_login_is_named() {
    let stage = untested();
    let proxy = stage.gitlab.host();
    stage.gitlab.fault(Fault::status(407));
    let far = stage.mirrord(&["test", "http://gitlab.invalid/p.git"]);
    let report = fails(far.env("http_proxy", format!("http://{proxy}")));
    insta::assert_snapshot!(report, @"
    ok     name resolved  [time]  127.0.0.1, through the proxy gitlab.example
    ok     connected  [time]  gitlab.example, through the proxy gitlab.example
    FAILED signed in  [time]  upstream wants a login, and none was found
    hint: with a user name in its URL (http.proxy=http://USER@HOST:PORT) the password is asked for
    a mirror of 'http://gitlab.invalid/p.git' would not work
    ");
}

#[test]
fn a_redirect_is_told_and_followed_as_a_sync_would() {
    let stage = untested();
    let short = stage.url.trim_end_matches(".git");
    let report = passes(stage.mirrord(&["test", short]));
    insta::assert_snapshot!(report, @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    ok     redirected  [time]  to 'http://gitlab.example/group/project.git': the mirror would be of that
    ok     signed in  [time]  anonymous
    ok     may read  [time]  2 branches, 1 tag, default branch main
    ok     may push  [time]  as far as upstream tells beforehand
    ok     atomic pushes  [time]  advertised
    ok     push options  [time]  advertised
    ok     LFS endpoint  [time]  http://gitlab.example/group/project.git/info/lfs
    ok     refspecs  [time]  3 refs: main, topic, v1
    a mirror of 'http://gitlab.example/group/project.git' would work
    ");
}

#[test]
fn a_redirect_to_another_host_is_not_followed_and_its_address_is_said() {
    let stage = untested();
    let there = stage.url.replace("127.0.0.1", "localhost");
    let location = format!("{there}/info/refs?service=git-upload-pack");
    stage.gitlab.fault(Fault::redirect(301, &location));
    let ran = testing(&stage, &[]).code(1);
    let hint = format!("hint: it redirects to '{there}'\n");
    assert!(ran.stdout.contains(&hint), "{ran}");
    insta::assert_snapshot!(ran.shown(), @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    FAILED redirected  [time]  elsewhere, and a redirect to there is not followed
    hint: it redirects to 'http://gitlab.example/group/project.git'
    a mirror of 'http://gitlab.example/group/project.git' would not work
    ");
}

#[test]
fn a_setting_that_only_git_understands_is_tested_by_git() {
    let stage = untested();
    stage.world.config("http.cookieFile", "/dev/null");
    let report = passes(testing(&stage, &[]));
    insta::assert_snapshot!(report, @"
    -      connected  [time]  left to git, which alone knows 'http.cookiefile'
    ok     signed in  [time]  as git does it with 'http.cookiefile'
    ok     may read  [time]  2 branches, 1 tag, default branch main
    -      may push  [time]  only git itself can ask here
    -      LFS endpoint  [time]  only git itself can ask here
    ok     refspecs  [time]  3 refs: main, topic, v1
    a mirror of 'http://gitlab.example/group/project.git' would work
    ");
}
