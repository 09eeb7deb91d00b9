//! The GitLab stand-in answers plain git as GitLab would.

use tests::{On, Request, World, same_clone};

use super::{another, plain, with_login};
use crate::stage::{Stage, check};

#[test]
fn plain_git_reads_a_project_as_from_gitlab() {
    let stage = Stage::new(|project| {
        project.history(30);
        project.annotated_tag("v1", "main");
    });
    let (world, gitlab, project, url) = (&stage.world, &stage.gitlab, &stage.project, &stage.url);
    check("a clone has what the project has", || {
        world.git(["clone", "-q", url, "served"]).ok();
        world.git(["clone", "-q", &project.url(), "plain"]).ok();
        same_clone(world, &world.path("served"), &world.path("plain"));
    });
    check("git speaks version 2 over one kept connection", || {
        let requests = gitlab.requests();
        assert_eq!(requests.len(), 3, "info/refs, ls-refs, fetch");
        for request in &requests {
            assert_eq!(request.git_protocol.as_deref(), Some("version=2"));
            assert_eq!(request.connection, 1);
            assert!(request.finished && request.status == Some(200));
        }
        assert_eq!(gitlab.connections(), 1);
        assert!(requests[1].body_text().contains("command=ls-refs"));
        assert!(requests[2].body_text().contains("command=fetch"));
    });
    check("a fetch brings what is new", || {
        let new = project.commit("main", "a", "2");
        stage.git("served", &["fetch", "-q"]).ok();
        assert_eq!(stage.tip("served", "origin/main"), Some(new));
    });
    check("shallow and partial clones work", || {
        let shallow = ["clone", "-q", "--depth=3", url, "shallow"];
        world.git(shallow).ok();
        let count = stage.git("shallow", &["rev-list", "--count", "HEAD"]);
        assert_eq!(count.ok().line(), "3");
        let partial = ["clone", "-q", "--filter=blob:none", url, "partial"];
        world.git(partial).ok();
        let filters = |it: &Request| it.body_text().contains("filter blob:none");
        assert!(gitlab.requests().iter().any(filters));
    });
    check("a project of SHA-256 is served", || {
        let project = gitlab.sha256_project("group/sha256");
        let tip = project.commit("main", "a", "1");
        let url = gitlab.url("group/sha256");
        world.git(["clone", "-q", &url, "sha256"]).ok();
        assert_eq!(tip.len(), 64);
        assert_eq!(stage.tip("sha256", "HEAD"), Some(tip));
    });
    check("a compressed request is recorded in plain", || {
        for branch in 0..30 {
            project.commit(&format!("branch-{branch}"), "a", "1");
        }
        let wanted = project.commit("main", "a", "1");
        gitlab.forget_requests();
        world.git(["clone", "-q", url, "compressed"]).ok();
        let requests = gitlab.requests();
        let compressed = |it: &&Request| it.header("content-encoding") == Some("gzip");
        let request = requests.iter().find(compressed);
        let request = request.expect("30 wants are over a kilobyte");
        assert!(request.body_text().contains(&format!("want {wanted}")));
    });
    check("a URL without '.git' is redirected", || {
        gitlab.forget_requests();
        let short = url.trim_end_matches(".git");
        let ran = world.git(["clone", short, "short"]).ok();
        insta::assert_snapshot!(ran.shown(), @"
        Cloning into 'short'...
        warning: redirecting to http://gitlab.example/group/project.git/
        ");
        let requests = gitlab.requests();
        assert_eq!(requests[0].status, Some(301));
        assert_eq!(requests[1].query, "service=git-upload-pack");
    });
}

#[test]
fn plain_git_pushes_as_to_gitlab() {
    let stage = Stage::new(|project| drop(project.commit("main", "a", "1")));
    let (world, gitlab, project) = (&stage.world, &stage.gitlab, &stage.project);
    plain(&stage, &["clone", "-q"]).arg("clone").ok();
    check(
        "a push brings its commits, and its options to hooks",
        || {
            project.hook("post-receive", "echo \"option: $GIT_PUSH_OPTION_0\"");
            let own = stage.commit("clone", "own");
            let push = stage.push("clone", &["-o", "ci.skip", "main"]).ok();
            insta::assert_snapshot!(push.shown(), @"
            remote: option: ci.skip
            To http://gitlab.example/group/project.git
               [oid]..[oid]  main -> main
            ");
            assert_eq!(project.tip("main"), Some(own));
        },
    );
    check("a large push is streamed", || {
        let (large, url) = another(&stage, "group/large");
        let source = world.project("source");
        let tip = source.history(200);
        let buffer = "http.postBuffer=1024";
        let push = ["-c", buffer, "push", "-q", &url, "main"];
        world.git(push).at(source.dir()).ok();
        assert_eq!(large.tip("main"), Some(tip));
        let streamed = |it: &Request| {
            it.header("transfer-encoding") == Some("chunked") && it.body.len() > 1024
        };
        assert!(gitlab.requests().iter().any(streamed));
    });
    check(
        "refs of merge requests are shown, and not to be pushed",
        || {
            project.force("refs/merge-requests/1/head", "main");
            project.force("refs/keep-around/1", "main");
            let listed = plain(&stage, &["ls-remote"]).ok();
            insta::assert_snapshot!(listed.shown(), @"
            [oid]	HEAD
            [oid]	refs/heads/main
            [oid]	refs/merge-requests/1/head
            ");
            let push = stage.push("clone", &["main:refs/merge-requests/2/head"]);
            let push = push.fails();
            insta::assert_snapshot!(push.shown(), @"
            To http://gitlab.example/group/project.git
             ! [remote rejected] main -> refs/merge-requests/2/head (deny updating a hidden ref)
            error: failed to push some refs to 'http://gitlab.example/group/project.git'
            ");
        },
    );
}

#[test]
fn logins_may_do_what_gitlab_would_allow_them() {
    let stage = Stage::new(|project| drop(project.commit("main", "a", "1")));
    let (world, gitlab, project) = (&stage.world, &stage.gitlab, &stage.project);
    let as_login = |login: &str| world.git(["ls-remote", &with_login(&stage.url, login)]);
    let (public, public_url) = another(&stage, "group/public");
    public.commit("main", "a", "1");
    gitlab.require_login("group/project", "user", "token");
    gitlab.require_login("group/project", "other", "token2");
    gitlab.require_login_to_push("group/public", "user", "token");
    check("a private project asks for a login", || {
        let nobody = plain(&stage, &["ls-remote"]).fails();
        let asks = nobody.stderr.contains("terminal prompts disabled");
        assert!(asks, "{nobody}");
    });
    check("a wrong token is refused", || {
        let wrong = as_login("user:wrong").fails();
        let refused = wrong.stderr.contains("HTTP Basic: Access denied.");
        assert!(refused, "{wrong}");
        let last = gitlab.requests().pop();
        assert_eq!(last.and_then(|it| it.status), Some(401));
    });
    check("every right token reads, and is seen in the log", || {
        gitlab.forget_requests();
        let url = with_login(&stage.url, "user:token");
        world.git(["clone", "-q", &url, "clone"]).ok();
        as_login("other:token2").ok();
        let requests = gitlab.requests();
        assert_eq!(requests[0].authorization, None, "git first tries without");
        assert_eq!(requests[1].authorization.as_deref(), Some("user:token"));
    });
    check("a right token pushes", || {
        stage.push("clone", &["-q", "HEAD:topic"]).ok();
        assert!(project.tip("topic").is_some());
    });
    check("a login that may not see a project gets 404", || {
        gitlab.project("group/other");
        gitlab.require_login("group/other", "stranger", "token");
        let ran = as_login("stranger:token").fails();
        insta::assert_snapshot!(ran.shown(), @"
        remote: The project you were looking for could not be found or you don't have permission to view it.
        fatal: repository 'http://gitlab.example/group/project.git/' not found
        ");
    });
    check("a public project may ask for a login to push alone", || {
        world.git(["clone", "-q", &public_url, "public"]).ok();
        stage.push("public", &["main:topic"]).fails();
        let url = with_login(&public_url, "user:token");
        stage.git("public", &["push", &url, "main:topic"]).ok();
    });
    check("a token that is revoked is refused, and no other", || {
        gitlab.revoke("user");
        stage.git("clone", &["fetch"]).fails();
        as_login("other:token2").ok();
    });
    check("a login that is forbidden gets 403", || {
        gitlab.forbid("other");
        let ran = as_login("other:token2").fails();
        assert!(ran.stderr.contains("403"), "{ran}");
    });
    check("an unknown project is not found, or not told apart", || {
        let nothing = || {
            world
                .git(["ls-remote", &gitlab.url("group/nothing")])
                .fails()
        };
        let ran = nothing();
        assert!(ran.stderr.contains("not found"), "{ran}");
        gitlab.hide_unknown();
        let ran = nothing();
        assert!(ran.stderr.contains("terminal prompts disabled"), "{ran}");
    });
}

#[test]
fn a_certificate_is_trusted_by_its_authority_until_it_expires() {
    let world = World::new();
    let gitlab = world.gitlab_tls();
    gitlab.project("group/project").commit("main", "a", "1");
    let url = gitlab.url("group/project");
    let refused = |url: &str| {
        let ran = world.git(["ls-remote", url]).fails();
        assert!(ran.stderr.contains("certificate"), "{ran}");
    };
    let trust = |ca: &std::path::Path| world.config("http.sslCAInfo", &ca.to_string_lossy());
    check("its authority is not known", || refused(&url));
    check("its authority is known, by either name of the host", || {
        trust(gitlab.ca_file());
        world.git(["clone", "-q", &url, "clone"]).ok();
        let by_name = url.replace("127.0.0.1", "localhost");
        world.git(["ls-remote", &by_name]).ok();
    });
    check("it has expired", || {
        let expired = world.gitlab_expired();
        trust(expired.ca_file());
        refused(&expired.url("group/project"));
    });
}

#[test]
fn a_request_or_its_answer_is_paused_and_gitlab_goes_down_and_comes_back() {
    let stage = Stage::new(|project| drop(project.commit("main", "a", "1")));
    let (world, gitlab, project, url) = (&stage.world, &stage.gitlab, &stage.project, &stage.url);
    let ls_remote = || world.git(["ls-remote", url, "main"]);
    check("a paused request sees what happens meanwhile", || {
        let paused = gitlab.pause(On::LsRefs);
        let listing = ls_remote().start();
        paused.reached();
        let new = project.commit("main", "a", "2");
        paused.release();
        assert!(listing.wait().stdout.starts_with(&new));
    });
    check(
        "a paused answer is stale, and no other waits for it",
        || {
            let old = project.tip("main").expect("it has one");
            let paused = gitlab.pause_answer(On::LsRefs);
            let listing = ls_remote().start();
            paused.reached();
            let new = project.commit("main", "a", "3");
            assert!(ls_remote().ok().stdout.starts_with(&new));
            drop(paused);
            assert!(listing.wait().stdout.starts_with(&old));
        },
    );
    check("connections that are closed are opened anew", || {
        gitlab.forget_requests();
        let paused = gitlab.pause(On::LsRefs);
        let listing = ls_remote().start();
        paused.reached();
        gitlab.close_connections();
        // curl tries again when a connection that was in use before is closed.
        assert!(listing.wait().status.success());
        assert_eq!(gitlab.connections(), 2);
    });
    check("it goes down, and comes back at its address", || {
        gitlab.stop();
        let refused = gitlab.refused_address();
        for url in [url.as_str(), &refused] {
            let ran = world.git(["ls-remote", url]).fails();
            assert!(ran.stderr.contains("Failed to connect"), "{ran}");
        }
        gitlab.start();
        ls_remote().ok();
    });
}
