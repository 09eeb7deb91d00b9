//! A proxy that wants a login.

use tests::{Front, Head, Passage, World};

use super::Stage;

/// `user:pass`, as Basic has it.
const LOGIN: &str = "dXNlcjpwYXNz";

/// Prepares a project over http or https, a proxy before it whose password is `pass`, and the proxy's URL with the user.
fn stage(tls: bool) -> (Stage, Front, String) {
    let world = World::new();
    let gitlab = match tls {
        true => {
            let gitlab = world.gitlab_tls();
            world.config("http.sslCAInfo", &gitlab.ca_file().to_string_lossy());
            gitlab
        }
        false => world.gitlab(),
    };
    let stage = Stage::on(world, gitlab);
    let proxy = Front::proxy(LOGIN);
    let url = format!("http://user@{}", proxy.host());
    (stage, proxy, url)
}

#[test]
fn the_password_of_a_proxy_comes_from_the_credential_helper() {
    for tls in [false, true] {
        let (stage, proxy, proxy_url) = stage(tls);
        stage.replies("", "password=pass\n");
        let url = stage.gitlab.url("group/project");
        stage.world.config("http.proxy", &proxy_url);
        let (works, told) = stage.alike(&url, |run| run);
        assert!(works);
        let host = proxy.host();
        assert!(
            told.contains(&format!("protocol=http\nhost={host}\nusername=user\n")),
            "{told}"
        );
        assert!(told.contains("[store]"), "{told}");
        // The daemon knows it now.
        let ours = format!("mirror::{url}");
        stage.world.git(["clone", "-q", &ours, "ours"]).ok();
        assert_eq!(stage.told(), "");
    }
}

#[test]
fn a_variable_names_a_proxy_and_its_user_as_well() {
    for (tls, variable) in [
        (true, "https_proxy"),
        (true, "ALL_PROXY"),
        (false, "http_proxy"),
    ] {
        let (stage, _proxy, proxy_url) = stage(tls);
        stage.replies("", "password=pass\n");
        let url = stage.gitlab.url("group/project");
        let (works, told) = stage.alike(&url, |run| run.env(variable, &proxy_url));
        assert!(
            works && told.contains("username=user\n"),
            "{variable}: {told}"
        );
    }
}

#[test]
fn a_wrong_password_of_a_proxy_is_rejected_as_by_plain_git_and_a_new_one_is_taken() {
    let (stage, _proxy, proxy_url) = stage(true);
    stage.replies("", "password=wrong\n");
    let url = stage.gitlab.url("group/project");
    stage.world.config("http.proxy", &proxy_url);
    let (works, told) = stage.alike(&url, |run| run);
    assert!(!works && told.contains("[erase]"), "{told}");
    let ran = stage.ls_remote(&format!("mirror::{url}")).fails();
    insta::assert_snapshot!(ran.shown(), @"error: cannot reach 'https://gitlab.example/group/project.git': the proxy refuses the login (error 407)");
    stage.told();
    stage.replies("", "password=pass\n");
    assert!(stage.alike(&url, |run| run).0);
}

#[test]
fn the_password_of_a_proxy_is_asked_for_at_the_terminal_once() {
    let (stage, _proxy, proxy_url) = stage(false);
    let url = stage.gitlab.url("group/project");
    stage.world.config("http.proxy", &proxy_url);
    let ours = format!("mirror::{url}");
    for (address, dir) in [(&url, "plain"), (&ours, "ours")] {
        let clone = stage.world.git(["clone", "-q", address, dir]);
        let mut terminal = clone.env_remove("GIT_TERMINAL_PROMPT").on_terminal();
        terminal.shows("Password for 'http://user@");
        terminal.types("pass\n");
        let (code, shown) = terminal.ended();
        assert_eq!(code, 0, "{shown}");
        insta::allow_duplicates! {
            insta::assert_snapshot!(tests::shown(&shown), @"Password for 'http://user@gitlab.example':");
        }
    }
    let fetch = stage.world.git(["fetch", "-q"]).at("ours");
    let terminal = fetch.env_remove("GIT_TERMINAL_PROMPT").on_terminal();
    assert_eq!(terminal.ended(), (0, String::new()));
}

#[test]
fn a_push_goes_through_a_proxy_with_the_login_that_its_sync_had() {
    for tls in [false, true] {
        let (stage, proxy, proxy_url) = stage(tls);
        stage.replies("", "password=pass\n");
        stage.world.config("http.proxy", &proxy_url);
        let url = stage.gitlab.url("group/project");
        stage.world.clone_mirror(&url, "ours").ok();
        let commit = ["commit", "-q", "--allow-empty", "-m", "c"];
        stage.world.git(commit).at("ours").ok();
        stage.told();
        stage.world.git(["push", "-q"]).at("ours").ok();
        let head = stage.world.git(["rev-parse", "HEAD"]).at("ours").ok();
        assert_eq!(
            stage.project.tip("refs/heads/main").as_deref(),
            Some(head.line())
        );
        assert!(!proxy.heads().is_empty());
        let told = stage.told();
        assert!(!told.contains("[get]"), "nobody is asked twice: {told}");
    }
}

#[test]
fn a_mirror_with_a_login_of_its_own_signs_in_to_the_proxy_as_well() {
    let (stage, _proxy, proxy_url) = stage(false);
    stage.replies("", "password=pass\n");
    stage.world.config("http.proxy", &proxy_url);
    stage.gitlab.require_login("group/project", "me", "right");
    let url = stage.gitlab.url("group/project");
    let args = [
        "add",
        "project",
        &url,
        "--username",
        "me",
        "--password-stdin",
    ];
    stage.world.mirrord(args).stdin("right\n").ok();
    stage.world.clone_mirror("project", "ours").ok();
    let commit = ["commit", "-q", "--allow-empty", "-m", "c"];
    stage.world.git(commit).at("ours").ok();
    stage.world.git(["push", "-q"]).at("ours").ok();
    let told = stage.told();
    assert!(!told.contains(&stage.gitlab.host()), "{told}");
}

#[test]
fn the_proxy_of_a_remote_is_used_in_the_place_of_every_other() {
    for tls in [false, true] {
        let (stage, proxy, proxy_url) = stage(tls);
        stage.replies("", "password=pass\n");
        // Nobody listens there.
        let other = "http://127.0.0.1:1";
        stage.world.config("http.proxy", other);
        let url = stage.gitlab.url("group/project");
        stage
            .world
            .config(&format!("http.{url}.proxy"), "http://127.0.0.1:2");
        stage.world.config("remote.origin.proxy", &proxy_url);
        for (address, dir) in [(url.clone(), "plain"), (format!("mirror::{url}"), "ours")] {
            let before = proxy.heads().len();
            stage.world.git(["clone", "-q", &address, dir]).ok();
            let commit = ["commit", "-q", "--allow-empty", "-m", dir];
            stage.world.git(commit).at(dir).ok();
            let branch = format!("HEAD:refs/heads/{dir}");
            let push = stage.world.git(["push", "-q", "origin", &branch]);
            push.at(dir).ok();
            stage.world.git(["fetch", "-q"]).at(dir).ok();
            assert!(proxy.heads().len() > before);
            assert!(stage.project.tip(&format!("refs/heads/{dir}")).is_some());
        }
        stage
            .world
            .git(["config", "--global", "remote.origin.proxy", ""])
            .ok();
        let before = proxy.heads().len();
        for dir in ["plain", "ours"] {
            stage.world.git(["fetch", "-q"]).at(dir).ok();
        }
        assert_eq!(proxy.heads().len(), before);
    }
}

#[test]
fn the_way_of_signing_in_to_a_proxy_may_be_that_of_a_remote() {
    let (stage, _, _) = stage(false);
    stage.replies("", "password=pass\n");
    let url = stage.gitlab.url("group/project");
    stage.world.clone_mirror(&url, "ours").ok();
    stage.world.git(["clone", "-q", &url, "plain"]).ok();
    let proxy = digest_proxy();
    let own = format!("http://user@{}", proxy.host());
    stage.world.config("http.proxyAuthMethod", "basic");
    for dir in ["plain", "ours"] {
        let git = |args: &[&str]| stage.world.git(args).at(dir);
        git(&["config", "remote.origin.proxy", &own]).ok();
        git(&["fetch", "-q"]).fails();
        git(&["config", "remote.origin.proxyAuthMethod", "digest"]).ok();
        git(&["fetch", "-q"]).ok();
    }
}

/// A proxy that takes Digest alone. It believes any response: whether it is right is curl's business.
fn digest_proxy() -> Front {
    Front::new(|head: &Head| match head.header("proxy-authorization") {
        Some(login) if login.starts_with("Digest username=\"user\"") => Front::forward(head),
        _ => Passage::head(&[
            "HTTP/1.1 407 Proxy Authentication Required",
            "Proxy-Authenticate: Digest realm=\"proxy\", nonce=\"1\", qop=\"auth\", algorithm=MD5",
        ]),
    })
}

#[test]
fn a_proxy_may_want_another_way_of_signing_in_than_basic() {
    for method in [None, Some("digest"), Some("anyauth")] {
        let stage = Stage::new();
        let proxy = digest_proxy();
        stage.replies("", "password=pass\n");
        stage
            .world
            .config("http.proxy", &format!("http://user@{}", proxy.host()));
        if let Some(method) = method {
            stage.world.config("http.proxyAuthMethod", method);
        }
        let url = stage.gitlab.url("group/project");
        let (works, told) = stage.alike(&url, |run| run);
        assert!(works, "{method:?}: {told}");
    }
    let stage = Stage::new();
    let proxy = digest_proxy();
    stage.replies("", "password=pass\n");
    stage
        .world
        .config("http.proxy", &format!("http://user@{}", proxy.host()));
    stage.world.config("http.proxyAuthMethod", "basic");
    let url = stage.gitlab.url("group/project");
    stage.ls_remote(&url).fails();
    stage.ls_remote(&format!("mirror::{url}")).fails();
}
