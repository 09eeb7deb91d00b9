//! Redirects to other hosts: followed where the user has set that, without a login that is for another.

use tests::{Fault, Front, GitLab, On, Passage, Project, Request, Run, same_clone};

use super::Stage;
use crate::passing_through::{fetches, mirror_is_made};

const INFO_REFS: &str = "/info/refs?service=git-upload-pack";
const PUSH_INFO_REFS: &str = "/info/refs?service=git-receive-pack";

/// A project that has moved to another GitLab, which redirects each first request.
struct Moved {
    stage: Stage,
    other: GitLab,
    /// The URL of the project at the old one, and at the other.
    url: String,
    to: String,
}

impl Moved {
    fn new() -> Self {
        let stage = Stage::new();
        let other = stage.world.gitlab();
        other.project("group/moved").commit("main", "b", "b");
        let moved = Self {
            url: stage.gitlab.url("group/project"),
            to: other.url("group/moved"),
            stage,
            other,
        };
        moved.redirects();
        moved
    }

    fn redirects(&self) {
        for (on, tail) in [
            (On::PushInfoRefs, PUSH_INFO_REFS),
            (On::InfoRefs, INFO_REFS),
        ] {
            let redirect = Fault::redirect(302, &format!("{}{tail}", self.to));
            self.stage.gitlab.fault(redirect.on(on));
        }
    }

    fn follows(&self, value: &str) {
        self.stage.world.config("http.followRedirects", value);
    }

    fn other_project(&self) -> Project {
        self.other.project("group/moved")
    }

    fn ours(&self) -> Run {
        self.stage.ls_remote(&format!("mirror::{}", self.url))
    }

    /// The logins that the old GitLab and the other have seen.
    fn logins(&self) -> (Vec<String>, Vec<String>) {
        let seen = |gitlab: &GitLab| {
            let requests = gitlab.requests();
            requests
                .iter()
                .filter_map(|request| request.authorization.clone())
                .collect()
        };
        (seen(&self.stage.gitlab), seen(&self.other))
    }
}

#[test]
fn a_redirect_to_another_host_is_followed_where_the_user_has_set_that() {
    for value in ["true", "initial"] {
        let moved = Moved::new();
        let ran = moved.ours().fails();
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.shown(), @"
            error: 'http://gitlab.example/group/project.git' has moved
            hint: it redirects to 'http://gitlab.example/group/moved.git'; to clone that: git clone mirror::http://gitlab.example/group/moved.git
            ");
        }
        moved.follows(value);
        let plain = moved.stage.ls_remote(&moved.url).ok();
        assert_eq!(moved.ours().ok().stdout, plain.stdout);
        moved.stage.world.clone_mirror(&moved.url, "ours").ok();
        assert!(moved.stage.world.path("ours/b").exists());
        moved.follows("false");
        moved.stage.ls_remote(&moved.url).fails();
        moved.ours().fails();
    }
}

#[test]
fn a_mirror_whose_project_moves_later_follows_it_as_well_and_pushes_go_there() {
    let moved = Moved::new();
    let (stage, world) = (&moved.stage, &moved.stage.world);
    stage.gitlab.clear_faults();
    world.mirrord(["add", "-q", "project", &moved.url]).ok();
    world.clone_mirror("project", "ours").ok();
    moved.redirects();
    moved.follows("true");
    // The same project at another host.
    let old = stage.project.dir().display().to_string();
    world
        .git([
            "push",
            "-q",
            "--force",
            &moved.to,
            "refs/heads/*:refs/heads/*",
        ])
        .env("GIT_DIR", &old)
        .ok();
    world.git(["pull", "-q"]).at("ours").ok();
    let commit = ["commit", "-q", "--allow-empty", "-m", "c"];
    world.git(commit).at("ours").ok();
    moved.other.require_login("group/moved", "me", "right");
    stage.replies("", "username=me\npassword=right\n");
    world.git(["push", "-q"]).at("ours").ok();
    let head = world.git(["rev-parse", "HEAD"]).at("ours").ok();
    let pushed = world
        .git(["ls-remote", "-q", &moved.to, "refs/heads/main"])
        .ok();
    assert!(pushed.stdout.starts_with(head.line()), "{pushed}");
    let (at_old, at_other) = moved.logins();
    assert!(
        at_old.is_empty() && !at_other.is_empty(),
        "{at_old:?} {at_other:?}"
    );
}

#[test]
fn a_login_is_asked_for_the_place_that_is_reached() {
    let moved = Moved::new();
    moved.other.require_login("group/moved", "me", "right");
    moved.stage.replies("", "username=me\npassword=right\n");
    moved.stage.world.config("credential.useHttpPath", "true");
    moved.follows("initial");
    let place = format!("host={}\npath=group/moved.git\n", moved.other.host());
    for url in [moved.url.clone(), format!("mirror::{}", moved.url)] {
        moved.stage.ls_remote(&url).ok();
        // Plain git has forgotten the challenges by then, and we tell them.
        let told = moved.stage.told();
        assert_eq!(told.matches(&place).count(), 2, "{told}");
    }
    let (at_old, _) = moved.logins();
    assert!(at_old.is_empty(), "{at_old:?}");
}

#[test]
fn a_login_for_where_the_request_began_goes_no_further() {
    let moved = Moved::new();
    moved.follows("true");
    let url = moved.url.replace("http://", "http://me:secret@");
    moved.stage.world.config("mirror.allowLoginInUrl", "true");
    moved.stage.ls_remote(&format!("mirror::{url}")).ok();
    let (_, at_other) = moved.logins();
    assert!(at_other.is_empty(), "{at_other:?}");
}

#[test]
fn a_redirect_of_a_later_request_is_followed_where_all_are() {
    for (value, works) in [("true", true), ("initial", false)] {
        let stage = Stage::new();
        let gitlab = stage.gitlab.host();
        let to = gitlab.clone();
        let front = Front::new(move |head| match head.method.as_str() {
            "POST" => {
                let location = format!("Location: http://{to}{}", head.target);
                Passage::head(&["HTTP/1.1 307 Temporary Redirect", &location])
            }
            _ => Passage::To(gitlab.clone()),
        });
        stage.world.config("http.followRedirects", value);
        let (has_worked, _) = stage.alike(&super::project_at(&front), |run| run);
        assert_eq!(has_worked, works, "{value}");
    }
}

#[test]
fn gits_rules_for_transports_hold_for_redirects() {
    for rule in ["never", "user"] {
        let moved = Moved::new();
        let tls = moved.stage.world.gitlab_tls();
        tls.project("group/moved").commit("main", "b", "b");
        let location = format!("{}{INFO_REFS}", tls.url("group/moved"));
        moved.stage.gitlab.clear_faults();
        moved
            .stage
            .gitlab
            .fault(Fault::redirect(302, &location).on(On::InfoRefs));
        moved
            .stage
            .world
            .config("http.sslCAInfo", &tls.ca_file().to_string_lossy());
        moved.follows("true");
        let (works, _) = moved.stage.alike(&moved.url, |run| run);
        assert!(works);
        moved.stage.world.config("protocol.https.allow", rule);
        let (works, _) = moved.stage.alike(&moved.url, |run| run);
        assert!(!works, "{rule}");
        let ran = moved.ours().fails();
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.shown(), @r"
            error: 'http://gitlab.example/group/project.git' redirects to 'https://gitlab.example/group/moved.git': transport 'https' not allowed
            hint: see protocol.https.allow in 'git help config'
            ");
        }
    }
}

#[test]
fn a_first_clone_of_a_part_comes_from_where_it_is_redirected_to() {
    for value in ["true", "initial"] {
        let moved = Moved::new();
        let world = &moved.stage.world;
        moved.other_project().history(3);
        let clone = |url: &str, dir: &str| world.git(["clone", "-q", "--depth=1", url, dir]);
        let ours = format!("mirror::{}", moved.url);
        let ran = clone(&ours, "ours").fails();
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.shown(), @"
            error: 'http://gitlab.example/group/project.git' has moved
            hint: it redirects to 'http://gitlab.example/group/moved.git'; to clone that: git clone mirror::http://gitlab.example/group/moved.git
            ");
        }
        moved.follows(value);
        clone(&ours, "ours").ok();
        let first = fetches(&moved.other.requests());
        assert!(first[0].0, "{value}: git asks for what is wanted");
        mirror_is_made(world);
        clone(&moved.url, "plain").ok();
        same_clone(world, &world.path("ours"), &world.path("plain"));
        let mirror = world.only_mirror();
        let of = world.git(["config", "mirror.url"]).at(mirror).ok();
        assert_eq!(of.line(), moved.to);
    }
}

#[test]
fn a_first_clone_of_a_part_takes_no_header_of_the_users_along() {
    let moved = Moved::new();
    let world = &moved.stage.world;
    moved.other_project().history(3);
    moved.follows("true");
    let for_the_old_place = format!("http.{}.extraHeader", moved.url);
    world.config(&for_the_old_place, "X-Token: secret");
    let ours = format!("mirror::{}", moved.url);
    world.git(["clone", "-q", "--depth=1", &ours, "ours"]).ok();
    let at_other = moved.other.requests();
    let has_token = |request: &Request| request.header("x-token").is_some();
    assert!(!at_other.is_empty() && !at_other.iter().any(has_token));
}

#[test]
fn what_a_partial_clone_lacks_comes_from_where_it_is_redirected_to() {
    let moved = Moved::new();
    let (stage, world) = (&moved.stage, &moved.stage.world);
    stage.gitlab.clear_faults();
    let other = moved.other_project();
    let tip = stage.project.history(3);
    let copy = |project: &Project| {
        let dir = project.dir().display().to_string();
        stage.project.git(["push", "-q", "--mirror", &dir]).ok();
    };
    copy(&other);
    let add = || world.mirrord(["add", "-q", "project", &moved.url]).ok();
    add();
    let partial = ["clone", "-q", "--no-checkout", "--filter=blob:none"];
    for (address, dir) in [("mirror::project", "ours"), (&moved.url, "plain")] {
        world.git(partial).args([address, dir]).ok();
    }
    // A mirror that is made anew lacks what no ref reaches.
    stage.project.force("main", "main~2");
    copy(&other);
    world.mirrord(["remove", "project"]).ok();
    add();
    moved.redirects();
    let checkout = |dir: &str| world.git(["checkout", "-q", &tip]).at(dir);
    moved.follows("false");
    for dir in ["plain", "ours"] {
        checkout(dir).fails();
    }
    moved.follows("initial");
    for dir in ["plain", "ours"] {
        checkout(dir).ok();
    }
    same_clone(world, &world.path("ours"), &world.path("plain"));
}

/// Makes git itself fetch: a cookie file is something that only its own client can use.
fn needs_git(stage: &Stage) {
    stage.world.config("http.cookieFile", "/dev/null");
}

#[test]
fn where_git_itself_fetches_redirects_are_followed_as_well() {
    for value in ["true", "initial"] {
        let moved = Moved::new();
        let world = &moved.stage.world;
        needs_git(&moved.stage);
        let ran = moved.ours().fails();
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.shown(), @"
            error: cannot read 'http://gitlab.example/group/project.git': unable to access 'http://gitlab.example/group/project.git/': The requested URL returned error: 302
            hint: it redirects; to follow that: git config --global http.followRedirects initial
            ");
        }
        moved.follows(value);
        let plain = moved.stage.ls_remote(&moved.url).ok();
        assert_eq!(moved.ours().ok().stdout, plain.stdout);
        let twins = world.clone_twins(&moved.url, &[]);
        let commit = ["commit", "-q", "--allow-empty", "-m", "c"];
        world.git(commit).at(twins.ours()).ok();
        moved.other.require_login("group/moved", "me", "right");
        moved.stage.replies("", "username=me\npassword=right\n");
        world.git(["push", "-q"]).at(twins.ours()).ok();
        let head = world.git(["rev-parse", "HEAD"]).at(twins.ours()).ok();
        assert_eq!(
            moved.other_project().tip("main").as_deref(),
            Some(head.line())
        );
        let (at_old, at_other) = moved.logins();
        assert!(at_old.is_empty() && !at_other.is_empty());
        moved.follows("false");
        moved.stage.ls_remote(&moved.url).fails();
        moved.ours().fails();
    }
}

#[test]
fn where_git_itself_fetches_a_login_is_asked_for_the_place_that_is_reached() {
    let moved = Moved::new();
    needs_git(&moved.stage);
    moved.other.require_login("group/moved", "me", "right");
    moved.stage.replies("", "username=me\npassword=right\n");
    moved.follows("initial");
    let plain = moved.stage.ls_remote(&moved.url).ok();
    moved.stage.told();
    assert_eq!(moved.ours().ok().stdout, plain.stdout);
    let told = moved.stage.told();
    assert!(!told.contains(&moved.stage.gitlab.host()), "{told}");
    assert!(told.contains(&moved.other.host()), "{told}");
    let (at_old, at_other) = moved.logins();
    assert!(at_old.is_empty() && !at_other.is_empty(), "{at_old:?}");
}

#[test]
fn where_git_itself_fetches_no_header_of_the_users_is_taken_along() {
    let moved = Moved::new();
    needs_git(&moved.stage);
    moved.follows("true");
    moved
        .stage
        .world
        .config("http.extraHeader", "X-Token: secret");
    moved.ours().fails();
    assert!(moved.other.requests().is_empty());
}

#[test]
fn where_git_itself_fetches_gits_rules_for_transports_hold_for_redirects() {
    for (rule, works) in [("always", true), ("user", false), ("never", false)] {
        let moved = Moved::new();
        needs_git(&moved.stage);
        moved.follows("true");
        moved.stage.world.config("protocol.http.allow", "user");
        let tls = moved.stage.world.gitlab_tls();
        tls.project("group/moved").commit("main", "b", "b");
        let location = format!("{}{INFO_REFS}", tls.url("group/moved"));
        moved.stage.gitlab.clear_faults();
        let redirect = Fault::redirect(302, &location).on(On::InfoRefs);
        moved.stage.gitlab.fault(redirect);
        let authority = tls.ca_file().to_string_lossy().into_owned();
        moved.stage.world.config("http.sslCAInfo", &authority);
        moved.stage.world.config("protocol.https.allow", rule);
        let (has_worked, _) = moved.stage.alike(&moved.url, |run| run);
        assert_eq!(has_worked, works, "{rule}");
    }
}
