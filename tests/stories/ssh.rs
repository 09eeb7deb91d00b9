//! Over ssh as with plain git: every address, every option, both protocols, and one connection for many fetches.

use std::fs;

use tests::{Project, Run, Sshd, Twins, World, processes, shown};

use crate::clone::{fill, listed};

/// A world with an sshd and a project behind it. What comes first ends first.
pub(crate) struct Stage {
    pub(crate) sshd: Sshd,
    pub(crate) project: Project,
    pub(crate) url: String,
    pub(crate) world: World,
}

impl Stage {
    pub(crate) fn new(fill: impl FnOnce(&Project)) -> Self {
        let world = World::new();
        let sshd = world.sshd();
        let project = sshd.project("project.git");
        fill(&project);
        Self {
            url: sshd.url(&project),
            sshd,
            project,
            world,
        }
    }

    pub(crate) fn small() -> Self {
        Self::new(|project| drop(project.commit("main", "a", "a")))
    }

    /// Prepares a clone through the mirror.
    pub(crate) fn clone(&self, dir: &str) -> Run {
        self.world.clone_mirror(&self.url, dir)
    }

    /// Prepares git in the clone that is called `ours`.
    pub(crate) fn in_ours(&self, args: &[&str]) -> Run {
        self.world.git(args).at("ours")
    }

    /// Prepares the smallest command that asks upstream.
    pub(crate) fn ls_remote(&self) -> Run {
        self.world
            .git(["ls-remote", &format!("mirror::{}", self.url)])
    }

    /// Puts another key of the server into the user's known hosts.
    #[track_caller]
    pub(crate) fn change_host_key(&self) {
        self.world.ssh_key("ssh/another");
        let another = fs::read_to_string(self.world.path("ssh/another.pub")).expect("a key");
        let line = format!("[127.0.0.1]:{} {another}", self.sshd.port());
        fs::write(self.world.path("ssh/known_hosts"), line).expect("the world is ours");
    }

    /// Returns an output without what differs between persons, servers and keys, and from run to run.
    #[track_caller]
    pub(crate) fn shown(&self, output: &str) -> String {
        let login = self.sshd.login();
        let user = login.split('@').next().expect("the user");
        let mut output = output
            .replace(&format!("{user}@"), "me@")
            .replace(&format!("'{user}'"), "'me'");
        let keys = [
            ("sshd/host_key.pub", "[host key]"),
            ("ssh/key.pub", "[key]"),
            ("ssh/another.pub", "[another key]"),
        ];
        for (key, name) in keys {
            let key = self.world.path(key);
            if key.exists() {
                let listed = self.world.program("ssh-keygen", ["-lf"]).arg(key).ok();
                let fingerprint = listed.line().split(' ').nth(1).expect("its hash");
                output = output.replace(fingerprint, name);
            }
        }
        shown(&output).replace(&self.sshd.port().to_string(), "[port]")
    }

    /// The connections that are kept, which are processes of their own.
    pub(crate) fn masters(&self) -> usize {
        processes(self.world.root(), "[mux]").len()
    }
}

/// Twins do the same after upstream has changed in every way.
#[track_caller]
fn follow(project: &Project, twins: &Twins<'_>) {
    project.commit("main", "later", "later");
    project.annotated_tag("v2", "main");
    project.delete("topic");
    twins.git(&["fetch", "-q", "--prune"]);
    twins.same();
    twins.git(&["fetch"]);
    twins.git(&["pull", "-q"]);
    twins.same();
}

/// Takes some seconds: each command of plain git, with which it is compared, is a connection of its own.
#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_clone_over_ssh_is_like_a_plain_one_and_so_are_its_fetches() {
    let stage = Stage::new(fill);
    let twins = stage.world.clone_twins(&stage.url, &[]);
    follow(&stage.project, &twins);
    twins.git(&["ls-remote", "--symref", "origin"]);
    assert_eq!(listed(&stage.world, "url"), [stage.url.as_str()]);
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn options_of_a_clone_over_ssh_do_what_they_do_in_plain_git() {
    let stage = Stage::new(fill);
    let options: [&[&str]; 5] = [
        &["--depth", "1"],
        &["--no-tags", "--single-branch"],
        &["--branch", "v1"],
        &["--mirror"],
        &["--filter=blob:none", "--no-checkout"],
    ];
    stage.project.config("uploadpack.allowFilter", "true");
    for options in options {
        stage.world.clone_twins(&stage.url, options);
    }
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn every_form_of_an_ssh_address_is_read_as_git_reads_it() {
    let stage = Stage::new(fill);
    let (login, port) = (stage.sshd.login(), stage.sshd.port());
    let path = stage.project.dir().to_string_lossy().into_owned();
    let same = [
        stage.url.clone(),
        stage.url.replacen("ssh://", "git+ssh://", 1),
        stage.url.replacen("ssh://", "ssh+git://", 1),
        format!("{}/", stage.url),
        stage.sshd.scp(&path),
        format!("ssh://[{login}]:{port}{path}"),
    ];
    // Where the login begins, in both forms; on another server these may be two repositories.
    let at_home = [
        stage.sshd.url_of("/~/project.git"),
        stage.sshd.scp("~/project.git"),
        stage.sshd.scp("project.git"),
    ];
    // Each of plain git's is a connection of its own, and so all are made at once.
    let all = same.iter().chain(&at_home);
    let plain = all.map(|address| stage.world.git(["ls-remote", address]).start());
    let plain: Vec<_> = plain.collect();
    let listed_refs = stage.world.git(["ls-remote", &stage.url]).ok().stdout;
    let ls_remote = |address: &str| {
        let ours = format!("mirror::{address}");
        let ours = stage.world.git(["ls-remote", &ours]).ok();
        let output = (ours.stdout.as_str(), ours.stderr.as_str());
        assert_eq!(output, (listed_refs.as_str(), ""), "{address}");
    };
    same.iter().for_each(|address| ls_remote(address));
    let urls = listed(&stage.world, "url");
    assert_eq!(urls, [stage.url.as_str()], "one mirror");
    at_home.iter().for_each(|address| ls_remote(address));
    for running in plain {
        let plain = running.wait();
        assert_eq!(plain.stdout, listed_refs, "{plain}");
    }
    let port = format!("+{port}");
    let names = listed(&stage.world, "name");
    assert_eq!(names.len(), 3, "{names:?}");
    for start in [
        format!("ssh+{login}{port}/~/project"),
        format!("scp+{login}{port}/project"),
    ] {
        assert!(names.contains(&start), "{start} is in {names:?}");
        stage
            .world
            .git(["ls-remote", &format!("mirror::{start}")])
            .ok();
    }
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_path_with_odd_characters_means_the_same_on_the_other_side() {
    let stage = Stage::small();
    for name in [
        "it's.git",
        "$(touch x) `y`;z.git",
        "wow!.git",
        "a b.git",
        "100%.git",
        "q?#.git",
        "é.git",
    ] {
        let project = stage.sshd.project(name);
        project.commit("main", "a", name);
        let path = project
            .dir()
            .to_string_lossy()
            .replace('%', "%25")
            .replace(' ', "%20");
        let url = stage
            .sshd
            .url_of(&path.replace('?', "%3F").replace('#', "%23"));
        let listed = |address: &str| stage.world.git(["ls-remote", address]).ok().stdout;
        let plain = listed(&url);
        assert_eq!(listed(&format!("mirror::{url}")), plain, "{name}");
    }
    assert!(!stage.world.path("login/x").exists());
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn several_fetches_share_one_connection_and_it_ends_with_the_daemon() {
    let stage = Stage::new(fill);
    let other = stage.sshd.project("other.git");
    other.commit("main", "b", "b");
    stage.clone("ours").ok();
    for n in 0..3 {
        stage.project.commit("main", "a", &format!("{n}"));
        stage.in_ours(&["fetch", "-q"]).ok();
    }
    assert_eq!(
        stage.in_ours(&["fetch"]).ok().stderr,
        "",
        "an unchanged fetch"
    );
    stage
        .world
        .clone_mirror(&stage.sshd.url(&other), "theirs")
        .ok();
    assert_eq!(
        stage.sshd.accepted(),
        1,
        "one connection, for both projects"
    );
    assert_eq!(stage.masters(), 1);
    stage.world.mirrord(["stop"]).ok();
    assert_eq!(
        processes(stage.world.root(), "ssh -F"),
        [""; 0],
        "none is left"
    );
    assert_eq!(stage.masters(), 0);
    let sockets = fs::read_dir(stage.world.mirror_home().join("ssh")).expect("a folder");
    assert_eq!(sockets.count(), 0);
    stage.in_ours(&["fetch"]).ok();
    assert_eq!(stage.sshd.accepted(), 2, "the next daemon makes its own");
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_session_over_a_kept_connection_sees_what_upstream_has_now() {
    let stage = Stage::small();
    stage.clone("ours").ok();
    for n in 0..3 {
        let tip = stage.project.commit("main", "a", &format!("{n}"));
        assert!(stage.ls_remote().ok().stdout.contains(&tip));
    }
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn the_new_protocol_is_spoken_and_the_old_one_where_it_must_be() {
    let mut stage = Stage::new(fill);
    let trace = "echo \"spoke $GIT_PROTOCOL\" >>ROOT/spoken";
    stage.sshd.fault(trace);
    stage.world.clone_twins(&stage.url, &[]);
    let spoken = || fs::read_to_string(stage.world.path("spoken")).expect("sessions");
    let all_new = spoken().lines().all(|line| line == "spoke version=2");
    assert!(all_new, "{}", spoken());
    stage.world.mirrord(["stop"]).ok();
    stage.sshd.stop();
    stage.sshd.start_old();
    let spoken = || fs::read_to_string(stage.world.path("spoken")).expect("sessions");
    fs::remove_file(stage.world.path("spoken")).expect("it is there");
    let twins = stage.world.clone_twins(&stage.url, &[]);
    follow(&stage.project, &twins);
    assert!(!spoken().contains("version=2"), "{}", spoken());
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_submodule_over_ssh_is_allowed_where_git_allows_it() {
    let stage = Stage::small();
    stage.world.config("protocol.mirror.allow", "always");
    stage.ls_remote().env("GIT_PROTOCOL_FROM_USER", "0").ok();
    stage.world.config("protocol.ssh.allow", "never");
    let refused = stage.ls_remote().code(128);
    insta::assert_snapshot!(stage.shown(&refused.stderr), @"
    error: transport 'ssh' not allowed
    hint: see protocol.ssh.allow in 'git help config'
    ");
}
