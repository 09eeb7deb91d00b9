//! A fetch gives what upstream has: every kind of change, one request when there is none, one sync for all who wait.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use tests::{GitLab, On, Project, World, refs, same_clone};

/// A world with one project, cloned through the mirror and plainly.
struct Pair {
    world: World,
    gitlab: GitLab,
    project: Project,
}

impl Pair {
    fn new(fill: impl FnOnce(&Project)) -> Self {
        let world = World::new();
        let gitlab = world.gitlab();
        let project = gitlab.project("group/project");
        fill(&project);
        let url = gitlab.url("group/project");
        let ours = format!("mirror::{url}");
        for (url, dir) in [(ours.as_str(), "ours"), (&url, "plain")] {
            world.git(["clone", "--quiet", "--mirror", url, dir]).ok();
        }
        Self {
            world,
            gitlab,
            project,
        }
    }

    fn fetch(&self) {
        for dir in ["ours", "plain"] {
            self.world.git(["fetch", "--quiet", "--prune"]).at(dir).ok();
        }
    }

    /// Fetches through the mirror and plainly, and compares.
    #[track_caller]
    fn fetches_the_same(&self) {
        self.fetch();
        same_clone(
            &self.world,
            &self.world.path("ours"),
            &self.world.path("plain"),
        );
    }

    fn head_of_clone(&self, dir: &str) -> String {
        let url = self.gitlab.url("group/project");
        self.world
            .git(["clone", "--quiet", &format!("mirror::{url}"), dir])
            .ok();
        let head = self.world.git(["symbolic-ref", "HEAD"]).at(dir).ok();
        head.line().to_owned()
    }
}

/// Every file below a directory, with what changes when somebody writes it.
pub(crate) fn files_under(dir: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("readable") {
        let path = entry.expect("readable").path();
        // What a mirror has saved is written by the clock, whatever is done to it.
        if path.ends_with("saved") {
            continue;
        }
        let about = fs::metadata(&path).expect("there");
        if about.is_dir() {
            files.extend(files_under(&path));
        }
        files.insert(path, (about.ino(), about.modified().expect("known")));
    }
    files
}

#[test]
fn a_clone_through_the_mirror_is_a_clone_of_upstream() {
    let pair = Pair::new(|project| {
        project.history(20);
        project.annotated_tag("v1", "main");
        project.tag("light", "main");
    });
    pair.fetches_the_same();
}

#[test]
fn an_unchanged_upstream_costs_one_request_and_the_mirror_no_write() {
    let pair = Pair::new(|project| drop(project.commit("main", "a", "a")));
    pair.world.git(["fetch"]).at("ours").ok();
    let written = files_under(&pair.world.only_mirror());
    for _ in 0..3 {
        pair.gitlab.forget_requests();
        pair.world.git(["fetch"]).at("ours").ok();
        let requests = pair.gitlab.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        assert!(requests[0].body_text().contains("command=ls-refs"));
    }
    let now = files_under(&pair.world.only_mirror());
    assert_eq!(written, now, "an unchanged fetch writes nothing into it");
}

#[test]
fn branches_and_tags_appear_move_and_go() {
    let pair = Pair::new(|project| {
        project.history(5);
        project.commit("topic", "t", "1");
        project.commit("gone", "g", "1");
        project.annotated_tag("v1", "main");
        project.tag("light", "topic");
    });
    let project = &pair.project;
    project.commit("main", "a", "next");
    project.commit("new", "n", "1");
    project.delete("gone");
    project.annotated_tag("v2", "main");
    project.tag("refs/tags/light", "main");
    project.delete("refs/tags/v1");
    project.force("topic", "main");
    pair.fetches_the_same();
}

#[test]
fn a_branch_becomes_a_directory_of_branches_and_back() {
    let pair = Pair::new(|project| drop(project.commit("main", "a", "a")));
    let project = &pair.project;
    for step in 0..3 {
        project.commit("a", "f", &format!("flat {step}"));
        pair.fetches_the_same();
        project.delete("a");
        project.commit("a/b", "f", &format!("deep {step}"));
        project.commit("a/c/d", "f", &format!("deeper {step}"));
        pair.fetches_the_same();
        project.delete("a/b");
        project.delete("a/c/d");
    }
}

#[test]
fn head_follows_upstreams() {
    let pair = Pair::new(|project| {
        project.commit("main", "a", "a");
        project.commit("next", "a", "b");
    });
    assert_eq!(pair.head_of_clone("one"), "refs/heads/main");
    pair.project.set_head("next");
    assert_eq!(pair.head_of_clone("two"), "refs/heads/next");
    pair.project.set_head("main");
    pair.project.delete("next");
    assert_eq!(pair.head_of_clone("three"), "refs/heads/main");
}

#[test]
fn an_empty_upstream_gets_its_first_commit() {
    let pair = Pair::new(|_| ());
    pair.fetches_the_same();
    pair.project.commit("main", "a", "first");
    pair.fetches_the_same();
}

#[test]
fn ten_thousand_refs_come_change_and_go() {
    let pair = Pair::new(|project| {
        project.commit("main", "a", "a");
        project.many_refs(10_000);
    });
    pair.fetches_the_same();
    let project = &pair.project;
    let moved = project.commit("main", "a", "b");
    let names = project
        .git(["for-each-ref", "--format=%(refname)", "refs/heads"])
        .ok();
    let mut commands = String::new();
    for (index, name) in names
        .stdout
        .lines()
        .filter(|name| *name != "refs/heads/main")
        .enumerate()
    {
        match index % 3 {
            0 => commands.push_str(&format!("delete {name}\n")),
            1 => commands.push_str(&format!("update {name} {moved}\n")),
            _ => {}
        }
    }
    project.git(["update-ref", "--stdin"]).stdin(commands).ok();
    pair.fetches_the_same();
}

#[test]
fn nobody_is_answered_by_a_sync_that_began_before_they_asked() {
    let pair = Pair::new(|project| drop(project.commit("main", "a", "a")));
    let (world, project) = (&pair.world, &pair.project);
    let fetch = |dir: &str| {
        let url = format!("mirror::{}", pair.gitlab.url("group/project"));
        world
            .git(["ls-remote", &url, "refs/heads/main"])
            .env("LABEL", dir)
            .start()
    };
    // The first asks, and upstream's answer is held back; then upstream moves, and others ask.
    let paused = pair.gitlab.pause_answer(On::LsRefs);
    let before = project.tip("main").expect("there");
    let first = fetch("first");
    paused.reached();
    let after = project.commit("main", "a", "b");
    pair.gitlab.forget_requests();
    let others: Vec<_> = (0..8).map(|_| fetch("other")).collect();
    world.wait_until_clients(9);
    drop(paused);
    assert!(
        first.wait().stdout.starts_with(&before),
        "asked before upstream moved"
    );
    for other in others {
        let answer = other.wait();
        assert!(
            answer.stdout.starts_with(&after),
            "asked after upstream moved, and got the old: {answer}"
        );
    }
    let received = pair
        .gitlab
        .requests()
        .iter()
        .filter(|request| request.body_text().contains("command=ls-refs"))
        .count();
    assert_eq!(received, 1, "all who waited share one sync");
}

#[test]
fn many_first_clones_at_once_share_one_download() {
    let world = World::new();
    let gitlab = world.gitlab();
    gitlab.project("group/project").history(50);
    let url = gitlab.url("group/project");
    let paused = gitlab.pause(On::Fetch);
    let clones: Vec<_> = (0..10)
        .map(|n| {
            world
                .git([
                    "clone",
                    "--quiet",
                    &format!("mirror::{url}"),
                    &format!("c{n}"),
                ])
                .start()
        })
        .collect();
    paused.reached();
    world.wait_until_clients(10);
    drop(paused);
    for clone in clones {
        let ran = clone.wait();
        assert!(ran.status.success(), "{ran}");
    }
    let packs = gitlab
        .requests()
        .iter()
        .filter(|request| request.body_text().contains("command=fetch"))
        .count();
    assert_eq!(packs, 1, "upstream sends one pack for ten clones");
    world.git(["clone", "--quiet", &url, "plain"]).ok();
    same_clone(&world, &world.path("c7"), &world.path("plain"));
}

#[test]
fn many_first_clones_by_an_address_that_redirects_make_one_mirror() {
    let world = World::new();
    let gitlab = world.gitlab();
    gitlab.project("group/project").history(10);
    let url = gitlab.url("group/project");
    let short = format!("mirror::{}", url.trim_end_matches(".git"));
    let paused = gitlab.pause(On::Fetch);
    let clones: Vec<_> = (0..6)
        .map(|n| {
            world
                .git(["clone", "--quiet", &short, &format!("c{n}")])
                .start()
        })
        .collect();
    paused.reached();
    world.wait_until_clients(6);
    drop(paused);
    for clone in clones {
        let ran = clone.wait();
        assert!(ran.status.success(), "{ran}");
    }
    world.only_mirror();
    let listed = world.mirrord(["list", "--json"]).ok();
    assert!(
        listed.stdout.contains(&format!("\"url\": \"{url}\"")),
        "{listed}"
    );
}

#[test]
fn commits_that_only_the_mirror_has_are_not_named_to_upstream() {
    let pair = Pair::new(|project| drop(project.commit("main", "a", "a")));
    let mirror = pair.world.only_mirror();
    let tree = pair.world.git(["rev-parse", "main^{tree}"]).at("ours").ok();
    let at = |args: &[&str]| pair.world.git(args).at(&mirror).ok().line().to_owned();
    let local = at(&["commit-tree", "-m", "mine", tree.line()]);
    at(&["update-ref", "refs/heads/mine", &local]);
    pair.project.commit("main", "a", "b");
    pair.gitlab.forget_requests();
    pair.world
        .git(["fetch", "--quiet", "origin", "main"])
        .at("ours")
        .ok();
    for request in pair.gitlab.requests() {
        assert!(!request.body_text().contains(&local), "{request:?}");
    }
    let mine = refs(&pair.world, &mirror)
        .into_iter()
        .find(|(name, _)| name == "refs/heads/mine");
    assert_eq!(
        mine.map(|(_, oid)| oid),
        Some(local),
        "and the branch stays"
    );
}

#[test]
fn a_local_branch_that_upstream_takes_the_name_of_is_kept_and_named() {
    let pair = Pair::new(|project| drop(project.commit("main", "a", "a")));
    let mirror = pair.world.only_mirror();
    let local = pair
        .world
        .git(["rev-parse", "main"])
        .at("ours")
        .ok()
        .line()
        .to_owned();
    pair.world
        .git(["update-ref", "refs/heads/topic", &local])
        .at(&mirror)
        .ok();
    pair.project.commit("topic", "t", "upstream's");
    for _ in 0..2 {
        let fetch = pair.world.git(["fetch"]).at("ours").ok();
        let warning = "warning: 'refs/heads/topic' is local to this mirror";
        assert!(
            fetch.stderr.contains(warning),
            "each fetch says so: {fetch}"
        );
    }
    let kept = pair
        .world
        .git(["rev-parse", "refs/heads/topic"])
        .at(&mirror)
        .ok();
    assert_eq!(kept.line(), local);
}
