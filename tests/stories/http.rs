//! Http as the person has set it, and no secret to anybody but whom it is for.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use tests::{Fault, GitLab, On, Request, World};

use crate::credentials::nothing;
use crate::stage::Stage;

/// `me:right`, as a header.
const HEADER: &str = "Authorization: Basic bWU6cmlnaHQ=";

/// Returns every file below a directory that contains one of these texts.
fn files_with(dir: &Path, texts: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("it is ours").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, texts));
        } else if let Ok(bytes) = fs::read(&path) {
            let content = String::from_utf8_lossy(&bytes);
            if texts.iter().any(|text| content.contains(text)) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[test]
fn a_login_in_the_url_works_and_is_in_nothing_that_we_write() {
    let private = Stage::private();
    let with = |login: &str| private.url.replace("http://", &format!("http://{login}@"));
    private.world.clone_mirror(&with("me:right"), "ours").ok();
    private.fetch("ours").ok();
    let ran = nothing(private.world.clone_mirror(&with("me:wr0ng"), "theirs"));
    insta::assert_snapshot!(ran.shown(), @"
    remote: HTTP Basic: Access denied. If a password was provided for Git authentication, the password was incorrect or you're required to use a token instead of a password. If a token was provided, it was either incorrect, expired, or improperly scoped.
    error: Authentication failed for 'http://gitlab.example/group/project.git'
    hint: GitLab takes a personal access token (scopes read_repository, write_repository) as the password; accounts with two-factor or single sign-on need one
    ");
    insta::assert_snapshot!(nothing(private.clone(&private.url, "theirs")).shown(), @"
    error: could not read Username for 'http://gitlab.example': terminal prompts disabled
    hint: store a login with a credential helper; GitLab takes a personal access token (scopes read_repository, write_repository) as the password; accounts with two-factor or single sign-on need one; or give the mirror a login of its own: mirrord set http+gitlab.example/group/project --username USER
    ");
    let pid = private.world.daemon_pid().expect("it runs");
    let secrets = ["me:right", "wr0ng", "bWU6cmlnaHQ", "bWU6d3IwbmcK"];
    for file in ["cmdline", "environ"] {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).expect("it is ours");
        assert!(
            secrets.iter().all(|secret| !text.contains(secret)),
            "{text:?}"
        );
    }
    private.world.mirrord(["stop"]).ok();
    let found = files_with(&private.world.mirror_home(), &secrets);
    assert_eq!(found, [""; 0], "no secret is written");
    assert!(
        private.world.log().contains(&private.url),
        "the log is no secret"
    );
}

/// Returns what processes show of themselves to each other, if this text is in it.
fn processes_with(text: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("there is one").flatten();
    let files =
        processes.flat_map(|process| ["cmdline", "environ"].map(|file| process.path().join(file)));
    let shown =
        files.filter_map(|file| Some(String::from_utf8_lossy(&fs::read(file).ok()?).into_owned()));
    shown.filter(|shown| shown.contains(text)).collect()
}

#[test]
fn a_login_reaches_an_upstream_that_only_git_can_talk_to_and_no_process_shows_it() {
    let private = Stage::not_yet_private();
    private
        .gitlab
        .require_login("group/project", "me", "t0psecret");
    let private = private.with_helper("t0psecret");
    private.gitlab.fault(Fault::old_protocol());
    let paused = private.gitlab.pause(On::Fetch);
    let clone = private.clone(&private.url, "ours").start();
    paused.reached();
    assert_eq!(processes_with("t0psecret"), [""; 0]);
    paused.release();
    let ran = clone.wait();
    assert!(ran.status.success(), "{ran}");
    assert_eq!(private.helper_calls("helper"), ["get", "store t0psecret"]);
    private.gitlab.revoke("me");
    insta::assert_snapshot!(nothing(private.fetch("ours")).shown(), @"
    remote: HTTP Basic: Access denied. If a password was provided for Git authentication, the password was incorrect or you're required to use a token instead of a password. If a token was provided, it was either incorrect, expired, or improperly scoped.
    error: Authentication failed for 'http://gitlab.example/group/project.git'
    hint: GitLab takes a personal access token (scopes read_repository, write_repository) as the password; accounts with two-factor or single sign-on need one
    ");
    private.gitlab.stop();
    let ran = private.fetch("ours").ok();
    insta::assert_snapshot!(ran.shown(), @r"
        warning: cannot reach 'http://gitlab.example/group/project.git': connection refused
        hint: serving the copy synced [time] ago
    ");
}

/// Returns how many requests brought anything that tells who asks.
fn signed(requests: &[Request]) -> usize {
    let tells = |request: &&Request| request.authorization.is_some();
    requests.iter().filter(tells).count()
}

#[test]
fn a_header_signs_in_whoever_sets_it() {
    let private = Stage::private();
    let header = format!("http.extraHeader={HEADER}");
    let address = format!("mirror::{}", private.url);
    let world = &private.world;
    world.git(["-c", &header, "ls-remote", &address]).ok();
    insta::assert_snapshot!(nothing(private.clone(&private.url, "ours")).shown(), @"
    error: could not read Username for 'http://gitlab.example': terminal prompts disabled
    hint: store a login with a credential helper; GitLab takes a personal access token (scopes read_repository, write_repository) as the password; accounts with two-factor or single sign-on need one; or give the mirror a login of its own: mirrord set http+gitlab.example/group/project --username USER
    ");
    let key = format!("http.http://{}/.extraHeader", private.gitlab.host());
    world.config(&key, HEADER);
    private.clone(&private.url, "ours").ok();
    private.gitlab.stop();
    let ran = private.fetch("ours").ok();
    insta::assert_snapshot!(ran.shown(), @r"
        warning: cannot reach 'http://gitlab.example/group/project.git': connection refused
        hint: serving the copy synced [time] ago
    ");
    private.world.config(&key, "");
    insta::assert_snapshot!(nothing(private.fetch("ours")).shown(), @"
    error: cannot reach 'http://gitlab.example/group/project.git': connection refused
    hint: there is a copy here, but this login has never read it from upstream
    ");
}

#[test]
fn a_cookie_file_is_found_where_git_finds_it() {
    let stage = Stage::new(|project| project.commit("main", "a", "1"));
    let (world, gitlab) = (&stage.world, &stage.gitlab);
    let jar = "127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\topen\n";
    for dir in [".", "ours"] {
        let shown = |address: &str| {
            gitlab.forget_requests();
            let listed = ["-c", "http.cookieFile=jar", "ls-remote", address];
            world.git(listed).at(dir).ok();
            let requests = gitlab.requests();
            let cookies = requests
                .iter()
                .map(|request| request.header("cookie").map(str::to_owned));
            cookies.collect::<Vec<_>>()
        };
        fs::create_dir_all(world.path(dir)).expect("the world is ours");
        fs::write(world.path(dir).join("jar"), jar).expect("the world is ours");
        let plain = shown(&stage.url);
        assert_eq!(plain.first(), Some(&Some("session=open".to_owned())));
        let ours = shown(&format!("mirror::{}", stage.url));
        assert!(ours.contains(&plain[0]), "{dir}: {ours:?}");
        fs::remove_file(world.path(dir).join("jar")).expect("the world is ours");
    }
}

#[test]
fn a_header_for_one_origin_is_sent_to_no_other() {
    let private = Stage::private();
    let other = private.world.gitlab();
    other.project("group/project").commit("main", "a", "a");
    let key = format!("http.http://{}/.extraHeader", private.gitlab.host());
    private.world.config(&key, HEADER);
    let url = other.url("group/project");
    private.world.clone_mirror(&url, "theirs").ok();
    private.clone(&private.url, "ours").ok();
    assert_eq!(signed(&other.requests()), 0);
    assert!(signed(&private.gitlab.requests()) > 0);
}

/// Redirects somebody who signs in to another place, and asserts that nothing of the login gets there. Returns what is printed.
#[track_caller]
fn no_login_follows_a_redirect(to: impl Fn(&Stage) -> (String, Option<GitLab>)) -> String {
    let mut all = String::new();
    let header = |private: &Stage| private.world.config("http.extraHeader", HEADER);
    let with_header = || {
        let private = Stage::private();
        header(&private);
        private
    };
    for private in [Stage::private().with_helper("right"), with_header()] {
        let (location, other) = to(&private);
        let redirects = [
            (On::InfoRefs, 301, "/info/refs?service=git-upload-pack"),
            (On::LsRefs, 307, "/git-upload-pack"),
        ];
        for (on, status, tail) in redirects {
            let redirect = Fault::redirect(status, &format!("{location}{tail}"));
            private.gitlab.fault(redirect.on(on));
            let ran = private.clone(&private.url, "ours").fails();
            writeln!(all, "{status}: {}", ran.shown()).expect("into a string");
            private.gitlab.clear_faults();
        }
        let elsewhere = other.as_ref().map_or_else(Vec::new, GitLab::requests);
        assert_eq!(signed(&elsewhere), 0, "{elsewhere:?}");
        let requests = private.gitlab.requests();
        assert!(signed(&requests) > 0, "{requests:?}");
        for request in requests {
            let host = request.header("host").unwrap_or_default();
            let ours = host == private.gitlab.host();
            assert!(ours || request.authorization.is_none(), "{request:?}");
        }
    }
    all
}

#[test]
fn a_redirect_to_another_port_takes_no_login_along() {
    let all = no_login_follows_a_redirect(|private| {
        let other = private.world.gitlab();
        other.project("group/project").commit("main", "a", "a");
        (other.url("group/project"), Some(other))
    });
    insta::assert_snapshot!(all, @"
    301: error: 'http://gitlab.example/group/project.git' has moved
    hint: it redirects to 'http://gitlab.example/group/project.git'; to clone that: git clone mirror::http://gitlab.example/group/project.git

    307: error: cannot read 'http://gitlab.example/group/project.git': the requested URL returned error: 307

    301: error: 'http://gitlab.example/group/project.git' has moved
    hint: it redirects to 'http://gitlab.example/group/project.git'; to clone that: git clone mirror::http://gitlab.example/group/project.git

    307: error: cannot read 'http://gitlab.example/group/project.git': the requested URL returned error: 307
    ");
}

#[test]
fn a_redirect_to_another_scheme_takes_no_login_along() {
    let all = no_login_follows_a_redirect(|private| {
        let other = private.world.gitlab_tls();
        other.project("group/project").commit("main", "a", "a");
        let ca = other.ca_file().display().to_string();
        private.world.config("http.sslCAInfo", &ca);
        (other.url("group/project"), Some(other))
    });
    insta::assert_snapshot!(all, @"
    301: error: 'http://gitlab.example/group/project.git' has moved
    hint: it redirects to 'https://gitlab.example/group/project.git'; to clone that: git clone mirror::https://gitlab.example/group/project.git

    307: error: cannot read 'http://gitlab.example/group/project.git': the requested URL returned error: 307

    301: error: 'http://gitlab.example/group/project.git' has moved
    hint: it redirects to 'https://gitlab.example/group/project.git'; to clone that: git clone mirror::https://gitlab.example/group/project.git

    307: error: cannot read 'http://gitlab.example/group/project.git': the requested URL returned error: 307
    ");
}

#[test]
fn a_redirect_to_another_host_takes_no_login_along() {
    let all = no_login_follows_a_redirect(|private| {
        (private.url.replace("127.0.0.1", "localhost"), None)
    });
    insta::assert_snapshot!(all, @"
    301: error: 'http://gitlab.example/group/project.git' has moved
    hint: it redirects to 'http://gitlab.example/group/project.git'; to clone that: git clone mirror::http://gitlab.example/group/project.git

    307: error: cannot read 'http://gitlab.example/group/project.git': the requested URL returned error: 307

    301: error: 'http://gitlab.example/group/project.git' has moved
    hint: it redirects to 'http://gitlab.example/group/project.git'; to clone that: git clone mirror::http://gitlab.example/group/project.git

    307: error: cannot read 'http://gitlab.example/group/project.git': the requested URL returned error: 307
    ");
}

/// A GitLab that serves what it is asked for under any name, as a proxy would pass it on.
fn proxy(world: &World) -> GitLab {
    let proxy = world.gitlab();
    proxy.project("group/project").commit("main", "a", "a");
    proxy
}

const FAR: &str = "http://gitlab.invalid/group/project.git";

#[test]
fn a_proxy_is_used_where_git_would_use_it() {
    for by_variable in [false, true] {
        let world = World::new();
        let proxy = proxy(&world);
        let address = format!("http://me:proxy@{}", proxy.host());
        let clone = world.clone_mirror(FAR, "ours");
        let clone = match by_variable {
            true => clone.env("http_proxy", &address),
            false => {
                world.config("http.http://gitlab.invalid.proxy", &address);
                clone
            }
        };
        clone.ok();
        for request in proxy.requests() {
            assert_eq!(request.header("host"), Some("gitlab.invalid"));
            let login = request.header("proxy-authorization");
            assert_eq!(login, Some("Basic bWU6cHJveHk="));
        }
        world.mirrord(["stop"]).ok();
        let found = files_with(&world.mirror_home(), &["me:proxy", "bWU6cHJveHk"]);
        assert_eq!(found, [""; 0], "no secret is written");
    }
}

#[test]
fn a_proxy_that_is_not_there_is_an_error_without_its_password() {
    let world = World::new();
    let gitlab = proxy(&world);
    let dead = gitlab.refused_address().replace("/group/project.git", "");
    world.config("http.proxy", &dead.replace("http://", "http://me:secret@"));
    let ran = world.clone_mirror(FAR, "ours").fails();
    insta::assert_snapshot!(ran.shown(), @"error: cannot reach 'http://gitlab.invalid/group/project.git': connection refused");
    let url = gitlab.url("group/project");
    world.clone_mirror(&url, "ours").fails();
    world
        .clone_mirror(&url, "ours")
        .env("no_proxy", "example.com,127.0.0.1")
        .ok();
    let none = ["-c", "http.proxy=", "ls-remote", &format!("mirror::{url}")];
    world.git(none).ok();
    assert!(!world.log().contains("secret"), "{}", world.log());
}

#[test]
fn certificates_are_judged_as_the_person_has_set_it() {
    let world = World::new();
    let gitlab = world.gitlab_tls();
    gitlab.project("group/project").commit("main", "a", "a");
    let url = gitlab.url("group/project");
    let address = format!("mirror::{url}");
    let ca = gitlab.ca_file().display().to_string();
    let ls_remote = |setting: &str| world.git(["-c", setting, "ls-remote", &address]);
    insta::assert_snapshot!(nothing(ls_remote("user.name=me")).shown(), @"
    error: cannot reach 'https://gitlab.example/group/project.git': certificate refused: it is signed by nobody who is trusted here
    hint: if its authority is your own, name it: git config http.sslCAInfo FILE
    ");
    ls_remote(&format!("http.sslCAInfo={ca}")).ok();
    ls_remote("http.sslVerify=false").ok();
    ls_remote("user.name=me").env("GIT_SSL_CAINFO", &ca).ok();
    ls_remote("user.name=me").env("GIT_SSL_NO_VERIFY", "1").ok();
    // What one place trusts is no business of another, nor is the copy served instead.
    insta::assert_snapshot!(nothing(ls_remote("user.name=me")).shown(), @"
    error: cannot reach 'https://gitlab.example/group/project.git': certificate refused: it is signed by nobody who is trusted here
    hint: if its authority is your own, name it: git config http.sslCAInfo FILE
    ");
    insta::assert_snapshot!(nothing(ls_remote("http.https://gitlab.invalid.sslVerify=false")).shown(), @"
    error: cannot reach 'https://gitlab.example/group/project.git': certificate refused: it is signed by nobody who is trusted here
    hint: if its authority is your own, name it: git config http.sslCAInfo FILE
    ");
    let host = gitlab.host();
    ls_remote(&format!("http.https://{host}/.sslVerify=false")).ok();
    world.config("http.sslCAInfo", &ca);
    world.clone_mirror(&url, "ours").ok();
}

#[test]
fn an_expired_certificate_is_refused_and_named() {
    let world = World::new();
    let gitlab = world.gitlab_expired();
    gitlab.project("group/project").commit("main", "a", "a");
    let ca = gitlab.ca_file().display().to_string();
    world.config("http.sslCAInfo", &ca);
    let url = gitlab.url("group/project");
    insta::assert_snapshot!(nothing(world.clone_mirror(&url, "ours")).shown(), @"
    error: cannot reach 'https://gitlab.example/group/project.git': certificate refused: it has expired
    hint: if its authority is your own, name it: git config http.sslCAInfo FILE
    ");
}
