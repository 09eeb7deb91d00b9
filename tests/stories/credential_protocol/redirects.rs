//! Redirects to other hosts: followed where the user has set that, without a login that is for another.

use tests::{Fault, Front, GitLab, On, Passage, Run};

use super::Stage;

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
