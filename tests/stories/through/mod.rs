//! What the mirror cannot serve goes to upstream by git's own transport, and somebody is told where that costs something.

mod bundles;
mod interrupted;
mod signed;
mod without_daemon;

use tests::{Nginx, Project, refs, same_clone};

use crate::{clone::fill, stage::Stage};

/// A shallow clone of a project, at another address of the same GitLab. Returns its URL.
fn shallow(stage: &Stage) -> String {
    let dir = stage.gitlab.project("group/shallow").dir().to_owned();
    std::fs::remove_dir_all(&dir).expect("it is empty");
    let clone = ["clone", "-q", "--bare", "--depth=2"];
    let clone = stage.world.git(clone).arg(stage.project.url());
    clone.arg(&dir).ok();
    Project::new(&dir).config("http.receivepack", "true");
    stage.gitlab.url("group/shallow")
}

#[test]
fn a_clone_of_a_shallow_upstream_is_what_plain_git_makes_and_says_once_why_there_is_no_mirror() {
    for local in [false, true] {
        let stage = Stage::new(fill);
        let over_http = shallow(&stage);
        let project = Project::new(stage.gitlab.project("group/shallow").dir());
        let url = match local {
            true => project.url(),
            false => over_http,
        };
        let ran = stage.clone(&url, "ours").ok();
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.shown(), @r"
            hint: this upstream cannot be mirrored: upstream is a shallow clone, which cannot be mirrored
            hint: git itself fetches from it and pushes to it
            ");
        }
        let world = &stage.world;
        world.git(["clone", "-q", &url, "plain"]).ok();
        same_clone(world, &world.path("ours"), &world.path("plain"));
        assert_eq!(stage.fetch("ours").ok().stderr, "", "it was said");
        assert_eq!(world.mirrors(), [""; 0]);
        stage.commit("ours", "new");
        let tip = stage.rev_parse("ours", "HEAD");
        let pushed = stage.push("ours", &["-q", "HEAD:refs/heads/new"]).ok();
        assert_eq!(pushed.stderr, "");
        assert_eq!(project.tip("new"), Some(tip));
    }
}

#[test]
#[cfg_attr(not(nginx), ignore = "needs nginx")]
fn an_upstream_that_is_served_as_plain_files_is_cloned_and_fetched_as_by_plain_git() {
    let stage = Stage::new(fill);
    let world = &stage.world;
    stage.project.git(["update-server-info"]).ok();
    let certificate = world.certificate();
    let server = format!(
        "server {{ listen 443 ssl; ssl_certificate /etc/ssl/hooks.example.pem;\n\
         ssl_certificate_key /etc/ssl/hooks.example.key; root {}; }} # 127.0.0.1:4711\n",
        stage.gitlab.dir().display()
    );
    let nginx = Nginx::new(world, &server, "nothing", &certificate);
    world.config("http.sslCAInfo", &certificate.authority.to_string_lossy());
    let below = stage.project.dir().strip_prefix(stage.gitlab.dir());
    let url = format!("{}/{}", nginx.base(), below.expect("below it").display());
    let ran = stage.clone(&url, "ours").ok();
    let shown = ran.shown().replace(&nginx.base(), "https://files.example");
    insta::assert_snapshot!(shown, @"
    hint: this upstream cannot be mirrored: 'https://gitlab.example/group/project.git' is served as plain files, by no git
    hint: git itself fetches from it and pushes to it
    ");
    world.git(["clone", "-q", &url, "plain"]).ok();
    same_clone(world, &world.path("ours"), &world.path("plain"));
    stage.project.commit("main", "later", "later");
    stage.project.git(["update-server-info"]).ok();
    for dir in ["ours", "plain"] {
        assert_eq!(stage.fetch(dir).ok().stderr, "");
    }
    let [ours, plain] = ["ours", "plain"].map(|dir| refs(world, &world.path(dir)));
    assert_eq!(ours, plain);
}

#[test]
fn the_program_that_is_named_for_the_other_side_runs_there() {
    let stage = Stage::new(fill);
    let url = stage.project.url();
    let stage = stage.cloned(&url, "ours");
    stage.project.commit("main", "later", "later");
    let named = stage.world.path("named");
    let program = format!("touch '{}'; git-upload-pack", named.display());
    let fetch = ["fetch", "-q", "--upload-pack", &program];
    let ran = stage.ours(&fetch).ok();
    insta::assert_snapshot!(ran.shown(), @"");
    let ran = stage.ours(&["fetch", "--upload-pack", &program]).ok();
    let shown = ran
        .stderr
        .lines()
        .next()
        .unwrap_or_default()
        .replace(&url, "file:///up");
    insta::assert_snapshot!(shown, @"hint: 'file:///up' is asked without its mirror: another program is to run there");
    assert!(named.exists());
    assert_eq!(
        stage.rev_parse("ours", "origin/main"),
        stage.upstream_tip("main")
    );
}

#[test]
fn server_options_reach_upstream() {
    let stage = Stage::new(fill).with_ours();
    stage.project.commit("main", "later", "later");
    for (number, args) in [
        &["fetch", "-o", "first=1", "origin"][..],
        &["fetch", "--server-option=first=1", "origin"],
        &["ls-remote", "-ofirst=1", "origin"],
        &["-c", "remote.origin.serverOption=first=1", "fetch"],
    ]
    .iter()
    .enumerate()
    {
        stage.gitlab.forget_requests();
        stage.ours(args).ok();
        let requests = stage.gitlab.requests();
        let has = |body: String| body.contains("server-option=first=1");
        // git before 2.48 does not know the setting.
        let is_sent = requests.iter().any(|request| has(request.body_text()));
        assert!(is_sent || number == 3, "{args:?}");
    }
    assert_eq!(
        stage.rev_parse("ours", "origin/main"),
        stage.upstream_tip("main")
    );
}

#[test]
fn a_namespace_of_a_repository_on_this_machine_is_read_and_written_as_by_plain_git() {
    let stage = Stage::new(fill);
    let url = stage.project.url();
    let stage = stage.cloned(&url, "ours");
    let in_namespace = |args: &[&str]| stage.ours(args).env("GIT_NAMESPACE", "apart");
    let ours = format!("mirror::{url}");
    in_namespace(&["push", "-q", &ours, "origin/topic:refs/heads/main"]).ok();
    let tip = stage.project.tip("refs/namespaces/apart/refs/heads/main");
    assert_eq!(tip, stage.project.tip("topic"));
    let plain = in_namespace(&["ls-remote", &url]).ok();
    assert_eq!(plain.stdout.lines().count(), 1);
    let listed = in_namespace(&["ls-remote", "-q", &ours]).ok();
    assert_eq!(listed.stdout, plain.stdout);
}

#[test]
fn the_version_of_the_internet_protocol_is_heeded() {
    let stage = Stage::new(fill).with_ours();
    stage.project.commit("main", "later", "later");
    let ran = stage.ours(&["fetch", "-4", "-q"]).ok();
    insta::assert_snapshot!(ran.shown(), @"");
    assert_eq!(
        stage.rev_parse("ours", "origin/main"),
        stage.upstream_tip("main")
    );
    // The stand-in has no address of version 6.
    stage.ours(&["fetch", "-6", "-q"]).fails();
}

#[test]
fn what_both_sides_have_is_told_as_by_plain_git() {
    let stage = Stage::new(fill);
    let twins = stage.world.clone_twins(&stage.url, &[]);
    let negotiate = [
        "fetch",
        "--negotiate-only",
        "--negotiation-tip=main",
        "origin",
    ];
    let ran = twins.git(&negotiate);
    assert_eq!(ran.line(), stage.upstream_tip("main"));
}
