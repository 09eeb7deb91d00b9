//! A credential for one scheme, host and port is never sent to another, whatever upstream answers.

use tests::{Fault, GitLab, On, Request};

use crate::stage::Stage;

/// Requests that could tell somebody who we are.
fn telling(requests: &[Request]) -> Vec<&Request> {
    let signs_in = [
        "authorization",
        "private-token",
        "cookie",
        "proxy-authorization",
    ];
    let is_one = |request: &&Request| {
        let mut headers = request.headers.iter();
        headers.any(|(name, value)| signs_in.contains(&name.as_str()) || value.contains("right"))
    };
    requests.iter().filter(is_one).collect()
}

/// Places that are not where the login belongs, in every way of writing them that two readers could read differently.
fn redirect_targets(own: &GitLab, other: &GitLab, tls: &GitLab) -> Vec<String> {
    let (own, other, tls) = (own.host(), other.host(), tls.host());
    vec![
        format!("http://{other}/group/project.git"),
        format!("https://{tls}/group/project.git"),
        format!("http://{own}@{other}/group/project.git"),
        format!("http://me:right@{other}/group/project.git"),
        format!("http://{other}/?@{own}/group/project.git"),
        format!("http://{other}#@{own}/group/project.git"),
        format!("http://{other}\\@{own}/group/project.git"),
        format!("http://{own}\\@{other}/group/project.git"),
        format!("//{other}/group/project.git"),
    ]
}

/// Takes long: 180 redirects have a test of the connection each.
#[test]
fn no_redirect_takes_a_mirrors_own_token_along() {
    let private = Stage::private();
    let (other, tls) = (private.world.gitlab(), private.world.gitlab_tls());
    for gitlab in [&other, &tls] {
        gitlab.project("group/project").commit("main", "a", "a");
    }
    let ca = tls.ca_file().display().to_string();
    private.world.config("http.sslCAInfo", &ca);
    private.add_with_password("project", "right").ok();
    let tails = [
        (On::InfoRefs, "/info/refs?service=git-upload-pack"),
        (On::LsRefs, "/git-upload-pack"),
        (On::PushInfoRefs, "/info/refs?service=git-receive-pack"),
        (On::Lfs, "/info/lfs/objects/batch"),
    ];
    let mut redirects = 0;
    for target in redirect_targets(&private.gitlab, &other, &tls) {
        for status in [301, 302, 303, 307, 308] {
            for (on, tail) in tails {
                let redirect = Fault::redirect(status, &format!("{target}{tail}"));
                private.gitlab.fault(redirect.on(on));
                private.world.mirrord(["test", "project"]).run();
                private.gitlab.clear_faults();
                redirects += 1;
            }
        }
    }
    assert_eq!(redirects, 9 * 5 * 4);
    for gitlab in [&other, &tls] {
        let requests = gitlab.requests();
        assert_eq!(telling(&requests).len(), 0, "{requests:?}");
    }
    private.look_at("project").ok();
}

#[test]
fn no_redirect_of_a_push_takes_it_along_either() {
    let private = Stage::private();
    let other = private.world.gitlab();
    other.project("group/project").commit("main", "a", "a");
    private.add_with_password("project", "right").ok();
    private.clone_and_commit();
    let base = format!("http://{}/group/project.git", other.host());
    for (on, tail) in [
        (On::PushInfoRefs, "/info/refs?service=git-receive-pack"),
        (On::Push, "/git-receive-pack"),
    ] {
        for status in [301, 302, 307] {
            let redirect = Fault::redirect(status, &format!("{base}{tail}"));
            private.gitlab.fault(redirect.on(on));
            private.world.git(["push", "-q"]).at("ours").run();
            private.gitlab.clear_faults();
        }
    }
    let requests = other.requests();
    assert_eq!(telling(&requests).len(), 0, "{requests:?}");
}

#[test]
fn a_credential_given_for_one_address_is_not_told_to_where_that_redirects() {
    let private = Stage::private();
    // Without its `.git` GitLab redirects it, to itself; and here to another one.
    let other = private.world.gitlab();
    other.project("group/project").commit("main", "a", "a");
    let location = format!(
        "http://{}/group/project.git/info/refs?service=git-upload-pack",
        other.host()
    );
    private
        .gitlab
        .fault(Fault::redirect(301, &location).on(On::InfoRefs));
    private.add_with_password("project", "right").fails();
    assert_eq!(telling(&other.requests()).len(), 0);
    assert!(private.secrets().is_empty() && private.world.mirrors().is_empty());
    private.gitlab.clear_faults();
    let short = private.url.trim_end_matches(".git");
    let args = [
        "add",
        "project",
        short,
        "--username",
        "me",
        "--password-stdin",
    ];
    private.world.mirrord(args).stdin("right\n").ok();
    private.look_at("project").ok();
}
