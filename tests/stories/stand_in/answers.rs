//! The GitLab stand-in answers plain git as GitLab would.

use tests::{GitLab, On, Request, World, same_clone};

fn world_and_gitlab() -> (World, GitLab) {
    let world = World::new();
    let gitlab = world.gitlab();
    (world, gitlab)
}

fn with_login(gitlab: &GitLab, login: &str) -> String {
    let url = gitlab.url("group/project");
    url.replace("://", &format!("://{login}@"))
}

#[test]
fn a_clone_has_what_the_project_has() {
    let (world, gitlab) = world_and_gitlab();
    let project = gitlab.project("group/project");
    project.history(30);
    project.annotated_tag("v1", "main");
    let url = gitlab.url("group/project");
    world.git(["clone", "-q", &url, "served"]).ok();
    world.git(["clone", "-q", &project.url(), "plain"]).ok();
    same_clone(&world, &world.path("served"), &world.path("plain"));
    let requests = gitlab.requests();
    let version_2 = |it: &Request| it.git_protocol.as_deref() == Some("version=2");
    assert!(requests.iter().all(version_2));
}

#[test]
fn a_fetch_brings_what_is_new() {
    let (world, gitlab) = world_and_gitlab();
    let project = gitlab.project("group/project");
    project.commit("main", "a", "1");
    world
        .git(["clone", "-q", &gitlab.url("group/project"), "clone"])
        .ok();
    let new = project.commit("main", "a", "2");
    let clone = world.path("clone");
    world.git(["fetch", "-q"]).at(&clone).ok();
    let fetched = world.git(["rev-parse", "origin/main"]).at(&clone).ok();
    assert_eq!(fetched.line(), new);
}

#[test]
fn git_speaks_over_one_kept_connection() {
    let (world, gitlab) = world_and_gitlab();
    gitlab.project("group/project").commit("main", "a", "1");
    world
        .git(["clone", "-q", &gitlab.url("group/project"), "clone"])
        .ok();
    let requests = gitlab.requests();
    assert_eq!(requests.len(), 3, "info/refs, ls-refs, fetch");
    assert!(requests.iter().all(|request| request.connection == 1));
    assert!(
        requests
            .iter()
            .all(|request| request.finished && request.status == Some(200))
    );
    assert_eq!(gitlab.connections(), 1);
    assert!(requests[1].body_text().contains("command=ls-refs"));
    assert!(requests[2].body_text().contains("command=fetch"));
}

#[test]
fn an_open_project_takes_a_push() {
    let (world, gitlab) = world_and_gitlab();
    let project = gitlab.project("group/project");
    project.commit("main", "a", "1");
    let url = gitlab.url("group/project");
    world.git(["clone", "-q", &url, "clone"]).ok();
    let clone = world.path("clone");
    world
        .git(["commit", "-q", "--allow-empty", "-m", "mine"])
        .at(&clone)
        .ok();
    project.hook("post-receive", "echo \"option: $GIT_PUSH_OPTION_0\"");
    let push = world
        .git(["push", "-o", "ci.skip", "origin", "main"])
        .at(&clone)
        .ok();
    assert!(push.stderr.contains("remote: option: ci.skip"), "{push}");
    let mine = world.git(["rev-parse", "HEAD"]).at(&clone).ok();
    assert_eq!(project.tip("main").as_deref(), Some(mine.line()));
}

#[test]
fn a_large_push_is_streamed() {
    let (world, gitlab) = world_and_gitlab();
    let project = gitlab.project("group/project");
    let source = world.project("source");
    let tip = source.history(200);
    let push = [
        "-c",
        "http.postBuffer=1024",
        "push",
        "-q",
        &gitlab.url("group/project"),
        "main",
    ];
    world.git(push).at(source.dir()).ok();
    assert_eq!(project.tip("main"), Some(tip));
    let chunked = |it: &Request| it.header("transfer-encoding") == Some("chunked");
    assert!(
        gitlab
            .requests()
            .iter()
            .any(|it| chunked(it) && it.body.len() > 1024)
    );
}

#[test]
fn hidden_refs_cannot_be_pushed() {
    let (world, gitlab) = world_and_gitlab();
    let project = gitlab.project("group/project");
    project.commit("main", "a", "1");
    project.force("refs/merge-requests/1/head", "main");
    project.force("refs/keep-around/1", "main");
    let url = gitlab.url("group/project");
    let listed = world.git(["ls-remote", &url]).ok();
    assert!(listed.stdout.contains("refs/merge-requests/1/head"));
    assert!(!listed.stdout.contains("refs/keep-around/"));
    world.git(["clone", "-q", &url, "clone"]).ok();
    let push = ["push", "origin", "main:refs/merge-requests/2/head"];
    let push = world.git(push).at(world.path("clone")).fails();
    assert!(push.stderr.contains("deny updating a hidden ref"), "{push}");
}

#[test]
fn a_private_project_asks_for_a_login() {
    let (world, gitlab) = world_and_gitlab();
    let project = gitlab.project("group/project");
    project.commit("main", "a", "1");
    gitlab.require_login("group/project", "user", "token");
    gitlab.require_login("group/project", "other", "token2");

    let nobody = world
        .git(["ls-remote", &gitlab.url("group/project")])
        .fails();
    assert!(
        nobody.stderr.contains("terminal prompts disabled"),
        "{nobody}"
    );
    let wrong = world
        .git(["ls-remote", &with_login(&gitlab, "user:wrong")])
        .fails();
    assert!(
        wrong.stderr.contains("HTTP Basic: Access denied."),
        "{wrong}"
    );
    assert_eq!(gitlab.requests().last().and_then(|it| it.status), Some(401));

    gitlab.forget_requests();
    let url = with_login(&gitlab, "user:token");
    world.git(["clone", "-q", &url, "clone"]).ok();
    world
        .git(["ls-remote", &with_login(&gitlab, "other:token2")])
        .ok();
    let requests = gitlab.requests();
    assert_eq!(requests[0].authorization, None, "git first tries without");
    assert_eq!(requests[1].authorization.as_deref(), Some("user:token"));

    let clone = world.path("clone");
    world
        .git(["commit", "-q", "--allow-empty", "-m", "mine"])
        .at(&clone)
        .ok();
    world
        .git(["push", "-q", "origin", "HEAD:topic"])
        .at(&clone)
        .ok();
    assert!(project.tip("topic").is_some());

    gitlab.revoke("user");
    world.git(["fetch"]).at(&clone).fails();
    world
        .git(["ls-remote", &with_login(&gitlab, "other:token2")])
        .ok();
}

#[test]
fn a_login_that_may_not_see_a_project_gets_404() {
    let (world, gitlab) = world_and_gitlab();
    gitlab.project("group/project");
    gitlab.project("group/other");
    gitlab.require_login("group/project", "owner", "token");
    gitlab.require_login("group/other", "user", "token");
    let ran = world
        .git(["ls-remote", &with_login(&gitlab, "user:token")])
        .fails();
    assert!(ran.stderr.contains("could not be found"), "{ran}");
    let ran = world
        .git(["ls-remote", &gitlab.url("group/nothing")])
        .fails();
    assert!(ran.stderr.contains("not found"), "{ran}");
    gitlab.hide_unknown();
    let ran = world
        .git(["ls-remote", &gitlab.url("group/nothing")])
        .fails();
    assert!(ran.stderr.contains("terminal prompts disabled"), "{ran}");
}

#[test]
fn a_public_project_may_ask_for_a_login_to_push_alone() {
    let (world, gitlab) = world_and_gitlab();
    gitlab.project("group/project").commit("main", "a", "1");
    gitlab.require_login_to_push("group/project", "user", "token");
    world
        .git(["clone", "-q", &gitlab.url("group/project"), "clone"])
        .ok();
    let clone = world.path("clone");
    world
        .git(["push", "origin", "main:topic"])
        .at(&clone)
        .fails();
    world
        .git(["push", &with_login(&gitlab, "user:token"), "main:topic"])
        .at(&clone)
        .ok();
}

#[test]
fn the_forbidden_get_403() {
    let (world, gitlab) = world_and_gitlab();
    gitlab.project("group/project");
    gitlab.require_login("group/project", "user", "token");
    gitlab.forbid("user");
    let ran = world
        .git(["ls-remote", &with_login(&gitlab, "user:token")])
        .fails();
    assert!(ran.stderr.contains("403"), "{ran}");
}

#[test]
fn a_url_without_git_at_its_end_is_redirected() {
    let (world, gitlab) = world_and_gitlab();
    gitlab.project("group/project").commit("main", "a", "1");
    let url = gitlab.url("group/project");
    let short = url.trim_end_matches(".git");
    let ran = world.git(["clone", short, "clone"]).ok();
    assert!(ran.stderr.contains("redirecting to"), "{ran}");
    let requests = gitlab.requests();
    assert_eq!(requests[0].status, Some(301));
    assert_eq!(requests[1].query, "service=git-upload-pack");
}

#[test]
fn https_is_trusted_by_its_ca_alone() {
    let world = World::new();
    let gitlab = world.gitlab_tls();
    gitlab.project("group/project").commit("main", "a", "1");
    let url = gitlab.url("group/project");
    let ran = world.git(["ls-remote", &url]).fails();
    assert!(ran.stderr.contains("certificate"), "{ran}");
    world.config("http.sslCAInfo", &gitlab.ca_file().to_string_lossy());
    world.git(["clone", "-q", &url, "clone"]).ok();
    world
        .git(["ls-remote", &url.replace("127.0.0.1", "localhost")])
        .ok();
}

#[test]
fn an_expired_certificate_is_refused() {
    let world = World::new();
    let gitlab = world.gitlab_expired();
    world.config("http.sslCAInfo", &gitlab.ca_file().to_string_lossy());
    let ran = world
        .git(["ls-remote", &gitlab.url("group/project")])
        .fails();
    assert!(ran.stderr.contains("certificate"), "{ran}");
}

#[test]
fn shallow_and_partial_clones_work() {
    let (world, gitlab) = world_and_gitlab();
    gitlab.project("group/project").history(10);
    let url = gitlab.url("group/project");
    world
        .git(["clone", "-q", "--depth=3", &url, "shallow"])
        .ok();
    let count = world
        .git(["rev-list", "--count", "HEAD"])
        .at(world.path("shallow"))
        .ok();
    assert_eq!(count.line(), "3");
    world
        .git(["clone", "-q", "--filter=blob:none", &url, "partial"])
        .ok();
    assert!(
        gitlab
            .requests()
            .iter()
            .any(|it| it.body_text().contains("filter blob:none"))
    );
}

#[test]
fn sha256_projects_are_served() {
    let (world, gitlab) = world_and_gitlab();
    let tip = gitlab
        .sha256_project("group/project")
        .commit("main", "a", "1");
    world
        .git(["clone", "-q", &gitlab.url("group/project"), "clone"])
        .ok();
    let head = world
        .git(["rev-parse", "HEAD"])
        .at(world.path("clone"))
        .ok();
    assert_eq!(head.line(), tip);
    assert_eq!(tip.len(), 64);
}

#[test]
fn a_compressed_question_is_recorded_in_plain() {
    let (world, gitlab) = world_and_gitlab();
    let project = gitlab.project("group/project");
    for branch in 0..30 {
        project.commit(&format!("branch-{branch}"), "a", "1");
    }
    let wanted = project.commit("main", "a", "1");
    let url = gitlab.url("group/project");
    world.git(["clone", "-q", &url, "clone"]).ok();
    let requests = gitlab.requests();
    let compressed = |it: &&Request| it.header("content-encoding") == Some("gzip");
    let asked = requests.iter().find(compressed);
    let asked = asked.expect("30 wants are over a kilobyte");
    assert!(asked.body_text().contains(&format!("want {wanted}")));
}

#[test]
fn gitlab_goes_down_and_comes_back_at_its_address() {
    let (world, gitlab) = world_and_gitlab();
    gitlab.project("group/project").commit("main", "a", "1");
    let url = gitlab.url("group/project");
    gitlab.stop();
    let ran = world.git(["ls-remote", &url]).fails();
    assert!(ran.stderr.contains("Failed to connect"), "{ran}");
    let ran = world.git(["ls-remote", &gitlab.refused_address()]).fails();
    assert!(ran.stderr.contains("Failed to connect"), "{ran}");
    gitlab.start();
    world.git(["ls-remote", &url]).ok();
}

#[test]
fn a_held_request_sees_what_happens_meanwhile() {
    let (world, gitlab) = world_and_gitlab();
    let project = gitlab.project("group/project");
    project.commit("main", "a", "1");
    let url = gitlab.url("group/project");
    let paused = gitlab.pause(On::LsRefs);
    let asking = world.git(["ls-remote", &url, "main"]).start();
    paused.reached();
    let new = project.commit("main", "a", "2");
    paused.release();
    assert!(asking.wait().stdout.starts_with(&new));
}

#[test]
fn a_held_answer_is_stale() {
    let (world, gitlab) = world_and_gitlab();
    let project = gitlab.project("group/project");
    let old = project.commit("main", "a", "1");
    let url = gitlab.url("group/project");
    let paused = gitlab.pause_answer(On::LsRefs);
    let asking = world.git(["ls-remote", &url, "main"]).start();
    paused.reached();
    let new = project.commit("main", "a", "2");
    let other = world.git(["ls-remote", &url, "main"]).ok();
    assert!(other.stdout.starts_with(&new), "only one request is held");
    drop(paused);
    assert!(asking.wait().stdout.starts_with(&old));
}
