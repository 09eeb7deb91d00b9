//! `mirrord test`: what works and what does not, step by step, and nothing is changed by it.

mod adding;
mod logins;
mod offers;
mod over_ssh;
mod reaching;

use tests::{GitLab, On, Project, Ran, Run, Signal, World};

/// A project with two branches and a tag, of which nobody has a mirror.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) gitlab: GitLab,
    pub(crate) project: Project,
    pub(crate) url: String,
}

impl Stage {
    fn new() -> Self {
        let world = World::new();
        let gitlab = world.gitlab();
        Self::of(world, gitlab)
    }

    /// With a server of its own kind.
    fn of(world: World, gitlab: GitLab) -> Self {
        let project = gitlab.project("group/project");
        project.history(3);
        project.branch("topic", "main~1");
        project.annotated_tag("v1", "main");
        let url = gitlab.url("group/project");
        Self {
            world,
            gitlab,
            project,
            url,
        }
    }

    /// Prepares a test of the project.
    fn testing(&self, options: &[&str]) -> Run {
        self.world.mirrord(["test", &self.url]).args(options)
    }

    fn with_login(&self, login: &str) -> String {
        self.url.replace("://", &format!("://{login}@"))
    }
}

/// One printed step: its mark, its label, and its detail.
type Line = (String, String, String);

/// The steps that a test printed.
#[track_caller]
fn steps(ran: &Ran) -> Vec<Line> {
    let step = |line: &str| {
        let (mark, rest) = line.split_at_checked(7)?;
        let (label, rest) = rest.split_at_checked(13)?;
        let (time, detail) = rest.trim_start().split_once("ms  ")?;
        assert!(
            time.trim_start_matches('<').trim().parse::<u64>().is_ok(),
            "each has its time: {line}"
        );
        let owned = |text: &str| text.trim().to_owned();
        Some((owned(mark), owned(label), owned(detail)))
    };
    let steps: Vec<_> = ran
        .stdout
        .lines()
        .chain(ran.stderr.lines())
        .filter_map(step)
        .collect();
    assert!(!steps.is_empty(), "it has steps: {ran}");
    steps
}

/// The detail of one step, which ended with this mark.
#[track_caller]
fn step_detail(ran: &Ran, mark: &str, label: &str) -> String {
    let steps = steps(ran);
    let found = steps.into_iter().find(|(_, name, _)| name == label);
    let (found, _, detail) = found.unwrap_or_else(|| panic!("no step '{label}': {ran}"));
    assert_eq!(found, mark, "'{label}' ends so: {ran}");
    detail
}

/// Asserts that a test failed at this step, the last that was made, for this reason.
#[track_caller]
fn fails_at(run: Run, label: &str, why: &str) -> Ran {
    let ran = run.code(1);
    let detail = step_detail(&ran, "FAILED", label);
    assert!(detail.contains(why), "it says '{why}': {ran}");
    let last = steps(&ran).pop().expect("there are steps");
    assert_eq!(last.1, label, "nothing follows: {ran}");
    assert!(ran.stdout.ends_with("' would not work\n"), "{ran}");
    assert_eq!(ran.stderr, "", "a report is no error: {ran}");
    ran
}

/// The hint of a test that failed.
#[track_caller]
fn hint(ran: &Ran) -> String {
    let mut hints = ran
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("hint: "));
    let hint = hints.next().unwrap_or_else(|| panic!("no hint: {ran}"));
    assert_eq!(hints.next(), None, "one hint is enough: {ran}");
    hint.to_owned()
}

#[test]
fn a_test_that_passes_prints_each_step_and_changes_nothing() {
    let stage = Stage::new();
    let before = stage.project.refs();
    let ran = stage.testing(&[]).ok();
    assert_eq!(ran.stderr, "", "{ran}");
    let address = stage.gitlab.host();
    let lfs = format!("{}/info/lfs", stage.url);
    let expected = [
        ("name resolved", "127.0.0.1"),
        ("connected", &address),
        ("signed in", "anonymous"),
        ("may read", "2 branches, 1 tag, default branch main"),
        ("may push", "as far as upstream tells beforehand"),
        ("atomic pushes", "advertised"),
        ("push options", "advertised"),
        ("LFS endpoint", &lfs),
        ("refspecs", "3 refs: main, topic, v1"),
    ];
    let expected = expected.map(|(label, detail)| ("ok".into(), label.into(), detail.into()));
    assert_eq!(steps(&ran), expected);
    let end = format!("a mirror of '{}' would work\n", stage.url);
    assert!(ran.stdout.ends_with(&end), "{ran}");
    assert_eq!(stage.world.mirrors(), [""; 0], "no mirror is made");
    assert_eq!(stage.project.refs(), before, "upstream is as it was");
    let received = stage.gitlab.requests();
    let posts = received.iter().filter(|request| request.method == "POST");
    let paths: Vec<_> = posts.map(|request| request.path.as_str()).collect();
    let expected = ["git-upload-pack", "info/lfs/objects/batch"];
    let expected = expected.map(|below| format!("/group/project.git/{below}"));
    assert_eq!(paths, expected, "nothing is downloaded or pushed");
}

#[test]
fn scripts_get_one_object() {
    let stage = Stage::new();
    let ran = stage.testing(&["--json"]).ok();
    let lines: Vec<_> = ran.stdout.lines().map(str::trim).collect();
    for line in [
        "\"works\": true",
        &format!("\"url\": \"{}\"", stage.url),
        "\"step\": \"resolve\",",
        "\"step\": \"connect\",",
        "\"step\": \"sign-in\",",
        "\"step\": \"read\",",
        "\"step\": \"push\",",
        "\"step\": \"atomic\",",
        "\"step\": \"push-options\",",
        "\"step\": \"lfs\",",
        "\"step\": \"refspecs\",",
        "\"outcome\": \"passed\",",
        "\"detail\": \"2 branches, 1 tag, default branch main\",",
        "\"hint\": null,",
    ] {
        let has = |shown: &&str| shown.trim_end_matches(',') == line.trim_end_matches(',');
        assert!(lines.iter().any(has), "'{line}': {ran}");
    }
    let times = lines
        .iter()
        .filter(|line| line.contains("\"milliseconds\": "));
    assert_eq!(times.count(), 9, "{ran}");
    stage.gitlab.stop();
    let ran = stage.testing(&["--json"]).code(1);
    for text in [
        "\"works\": false",
        "\"outcome\": \"failed\"",
        "\"detail\": \"connection refused\"",
    ] {
        assert!(ran.stdout.contains(text), "'{text}': {ran}");
    }
    assert_eq!(ran.stderr, "", "{ran}");
}

#[test]
fn a_terminal_that_can_show_them_gets_marks() {
    let stage = Stage::new();
    stage.gitlab.switch_lfs_off();
    let ran = stage.testing(&[]).env("LC_ALL", "C.UTF-8").ok();
    assert!(ran.stdout.contains("\n✓ connected "), "{ran}");
    assert!(ran.stdout.contains("\n✗ LFS endpoint "), "{ran}");
}

#[test]
fn a_mirror_is_tested_by_its_name_with_its_own_settings() {
    let stage = Stage::new();
    let add = ["add", "work", &stage.url, "--track", "+refs/heads/main"];
    stage.world.mirrord(add).ok();
    let mirror = stage.world.only_mirror();
    let refs = || {
        let refs = stage.world.git(["for-each-ref"]).at(&mirror).ok();
        (refs.stdout, stage.world.mirrors())
    };
    let before = refs();
    stage.project.commit("main", "new", "new");
    for what in ["work", "mirror::work"] {
        let ran = stage.world.mirrord(["test", what]).ok();
        assert_eq!(step_detail(&ran, "ok", "refspecs"), "1 ref: main", "{what}");
    }
    let other = ["test", "work", "--track", "+refs/tags/*"];
    let ran = stage.world.mirrord(other).ok();
    assert_eq!(step_detail(&ran, "ok", "refspecs"), "1 ref: v1");
    assert_eq!(refs(), before, "the mirror is as it was");
    let ran = stage.world.mirrord(["test", "play"]).code(1);
    assert!(ran.stderr.contains("no mirror is called 'play'"), "{ran}");
    assert_eq!(ran.stdout, "", "{ran}");
}

#[test]
fn a_refspec_that_matches_nothing_is_said_and_does_not_decide() {
    let stage = Stage::new();
    let track = ["--track", "+refs/heads/main", "--track", "+refs/heads/mian"];
    let ran = stage.testing(&track).ok();
    let detail = step_detail(&ran, "FAILED", "refspecs");
    let mian = "'+refs/heads/mian:refs/heads/mian' matches nothing";
    assert_eq!(detail, format!("1 ref: main; {mian}"));
    assert!(hint(&ran).contains("git ls-remote"), "{ran}");
    let wrong = ["--track", "refs/heads/*:refs/heads/one"];
    stage.testing(&wrong).code(2);
}

#[test]
fn refspecs_elsewhere_are_matched_too() {
    let stage = Stage::new();
    let name = "refs/merge-requests/1/head";
    stage.project.git(["update-ref", name, "main"]).ok();
    let track = ["--track", "+refs/merge-requests/*"];
    let ran = stage.testing(&track).ok();
    assert_eq!(
        step_detail(&ran, "ok", "refspecs"),
        format!("1 ref: {name}")
    );
    let everything = "2 branches, 1 tag, default branch main";
    assert_eq!(step_detail(&ran, "ok", "may read"), everything);
}

#[test]
fn an_empty_upstream_works() {
    let stage = Stage::new();
    stage.gitlab.project("group/empty");
    let url = stage.gitlab.url("group/empty");
    let ran = stage.world.mirrord(["test", &url]).ok();
    let detail = step_detail(&ran, "ok", "may read");
    assert_eq!(detail, "it is empty, default branch main");
    assert_eq!(step_detail(&ran, "ok", "refspecs"), "no refs");
}

#[test]
fn a_path_is_tested_without_a_network() {
    let world = World::new();
    let project = world.project("project.git");
    project.commit("main", "a", "a");
    let before = project.refs();
    let path = project.dir().to_string_lossy().into_owned();
    let ran = world.mirrord(["test", &path]).ok();
    let steps: Vec<_> = steps(&ran).into_iter().map(|step| step.1).collect();
    let expected = [
        "may read",
        "may push",
        "atomic pushes",
        "push options",
        "LFS endpoint",
        "refspecs",
    ];
    assert_eq!(steps, expected, "{ran}");
    step_detail(&ran, "ok", "may push");
    step_detail(&ran, "FAILED", "push options");
    assert_eq!(
        step_detail(&ran, "-", "LFS endpoint"),
        "not asked on this machine"
    );
    assert_eq!(project.refs(), before);
    let nowhere = world.path("not/there").to_string_lossy().into_owned();
    fails_at(world.mirrord(["test", &nowhere]), "may read", "not");
}

#[test]
fn an_interrupted_test_leaves_nothing() {
    for on in [On::LsRefs, On::PushInfoRefs] {
        let stage = Stage::new();
        let paused = stage.gitlab.pause_answer(on);
        let test = stage.testing(&[]).start();
        paused.reached();
        test.kill_group(Signal::INT);
        let ran = test.wait();
        assert!(!ran.status.success(), "{ran}");
        let cancelled = |asked: &[tests::Request]| asked.iter().any(|one| one.cancelled);
        stage.gitlab.wait_for(cancelled);
        drop(paused);
        assert_eq!(stage.world.mirrors(), [""; 0]);
        stage.testing(&[]).ok();
    }
}

#[test]
fn a_daemon_that_stops_ends_a_test_with_an_error() {
    let stage = Stage::new();
    let paused = stage.gitlab.pause_answer(On::LsRefs);
    let test = stage.testing(&[]).start();
    paused.reached();
    stage.world.mirrord(["stop"]).ok();
    let ran = test.wait();
    assert_eq!(ran.status.code(), Some(1), "{ran}");
    assert!(ran.stderr.contains("error: mirrord was stopped"), "{ran}");
    assert!(!ran.stdout.contains("work"), "it says nothing of it: {ran}");
}
