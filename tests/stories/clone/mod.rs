//! Clone like plain git: every option, every kind of upstream, every way to name it.

mod lfs;

use tests::{Fault, Project, Request, World, same_clone};

use crate::stage::Stage;

/// What a project has that clones differ in: branches that part and meet, tags of both kinds
/// on them, and one beside them.
pub(crate) fn fill(project: &Project) {
    project.history(4);
    project.branch("topic", "main~2");
    project.commit("topic", "topic.txt", "only on topic\n");
    project.annotated_tag("v1", "main~1");
    project.tag("light", "main");
    project.merge("main", "topic");
    project.commit("topic", "topic.txt", "once more\n");
    project.branch("passing", "main");
    project.commit("passing", "beside.txt", "only by a tag\n");
    project.annotated_tag("beside", "passing");
    project.delete("passing");
}

/// Returns the names or the addresses of all mirrors, as `mirrord list --json` shows them.
pub(crate) fn listed(world: &World, key: &str) -> Vec<String> {
    let list = world.mirrord(["list", "--json"]).ok();
    let start = format!("\"{key}\": \"");
    let value = |line: &str| {
        let value = line.trim().strip_prefix(&start)?;
        Some(value.trim_end_matches(',').trim_end_matches('"').to_owned())
    };
    list.stdout.lines().filter_map(value).collect()
}

#[test]
#[should_panic(expected = "git says the same through the mirror")]
fn twins_that_differ_are_told_apart() {
    let stage = Stage::new(fill);
    let twins = stage.world.clone_twins(&stage.url, &[]);
    let commit = ["commit", "-q", "--allow-empty", "-m", "Only here"];
    stage.world.git(commit).at(twins.ours()).ok();
    twins.git(&["rev-parse", "HEAD"]);
}

#[test]
#[allow(clippy::print_stdout, reason = "a failing test names the options")]
fn a_first_clone_with_any_options_is_like_a_plain_one() {
    let all: [&[&str]; 14] = [
        &[],
        &["--bare"],
        &["--mirror"],
        &["--branch", "topic"],
        &["--branch", "v1"],
        &["--single-branch", "--branch", "topic"],
        &["--no-tags"],
        &["--origin", "gitlab", "--no-checkout"],
        // The helper has a command of this name.
        &["--origin", "login", "--no-checkout"],
        &["--depth", "1"],
        &["--depth", "2", "--no-single-branch"],
        &["--shallow-exclude", "v1"],
        &["--filter=blob:none", "--no-checkout"],
        &["--filter=tree:0", "--bare"],
    ];
    let stage = Stage::new(fill);
    for options in all {
        println!("{options:?}");
        stage.world.clone_twins(&stage.url, options);
        // There is none where upstream was asked for a part, or not yet.
        stage.mirrord(&["remove", &stage.url]).run();
    }
}

#[test]
fn what_a_partial_clone_lacks_comes_from_the_mirror() {
    let stage = Stage::new(fill);
    let twins = stage.world.clone_twins(&stage.url, &["--filter=blob:none"]);
    stage.gitlab.forget_requests();
    let checkout = stage.world.git(["checkout", "-q", "topic"]);
    checkout.at(twins.ours()).ok();
    let received = stage.gitlab.requests();
    let fetches = |received: &Request| received.body_text().contains("command=fetch");
    assert!(
        !received.iter().any(fetches),
        "upstream is not asked for what the mirror has: {received:?}"
    );
    twins.git(&["checkout", "-q", "topic"]);
    twins.same();
}

#[test]
fn a_sha256_project_is_cloned_as_one() {
    let world = World::new();
    let gitlab = world.gitlab();
    fill(&gitlab.sha256_project("group/project"));
    world.clone_twins(&gitlab.url("group/project"), &[]);
}

#[test]
fn an_empty_project_gets_its_first_commit_by_fetch() {
    let stage = Stage::new(|_| {});
    let twins = stage.world.clone_twins(&stage.url, &[]);
    for _ in 0..2 {
        let status = stage.world.mirrord(["status"]).ok();
        assert!(!status.stdout.contains("damaged"), "{status}");
        twins.git(&["fetch"]);
    }
    stage.project.commit("main", "a", "1");
    twins.git(&["fetch"]);
    twins.same();
    twins.git(&["merge", "--quiet"]);
    twins.same();
}

#[test]
fn an_empty_project_says_its_object_format_and_its_branch() {
    let world = World::new();
    let gitlab = world.gitlab();
    gitlab.sha256_project("group/project").set_head("trunk");
    let twins = world.clone_twins(&gitlab.url("group/project"), &[]);
    let format = twins.git(&["rev-parse", "--show-object-format"]);
    let head = twins.git(&["symbolic-ref", "HEAD"]);
    assert_eq!((format.line(), head.line()), ("sha256", "refs/heads/trunk"));
}

#[test]
fn an_old_servers_project_is_like_a_plain_clone() {
    let stage = Stage::new(fill);
    stage.gitlab.fault(Fault::old_protocol());
    let twins = stage.world.clone_twins(&stage.url, &[]);
    stage.project.commit("main", "a", "1");
    stage.project.delete("topic");
    stage.project.delete("refs/tags/light");
    twins.git(&["fetch", "--prune", "--prune-tags"]);
    twins.same();
    stage.world.clone_twins(&stage.url, &["--mirror"]);
}

#[test]
fn an_old_servers_empty_project_gets_its_first_commit_by_fetch() {
    let stage = Stage::new(|_| {});
    stage.gitlab.fault(Fault::old_protocol());
    let twins = stage.world.clone_twins(&stage.url, &[]);
    stage.project.commit("main", "a", "1");
    twins.git(&["pull"]);
    twins.same();
}

/// A project on this machine.
pub(crate) fn local(world: &World) -> Project {
    let project = world.project("local.git");
    fill(&project);
    project
}

#[test]
fn a_detached_head_is_like_in_a_plain_clone() {
    let world = World::new();
    let url = local(&world).url();
    world.git(["clone", "-q", &url, "upstream"]).ok();
    let in_upstream = |args: &[&str]| world.git(args).at("upstream").ok();
    in_upstream(&["checkout", "-q", "v1"]);
    let path = world.path("upstream");
    let twins = world.clone_twins(&path.to_string_lossy(), &[]);
    in_upstream(&["commit", "-q", "--allow-empty", "-m", "on no branch"]);
    twins.git(&["fetch", "origin", "HEAD"]);
    twins.git(&["rev-parse", "FETCH_HEAD"]);
}

#[test]
fn a_path_is_an_upstream_like_others() {
    let world = World::new();
    let project = local(&world);
    world.clone_twins(&project.dir().to_string_lossy(), &[]);
}

#[test]
fn two_clones_at_once_make_one_mirror() {
    let stage = Stage::new(fill);
    let clones = ["one", "two"].map(|dir| stage.clone(&stage.url, dir).start());
    for clone in clones {
        let ran = clone.wait();
        assert!(ran.status.success(), "{ran}");
    }
    let Stage { world, url, .. } = &stage;
    world.git(["clone", "-q", url, "plain"]).ok();
    for dir in ["one", "two"] {
        same_clone(world, &world.path(dir), &world.path("plain"));
    }
    assert_eq!(listed(world, "url"), [url.as_str()]);
}

#[test]
fn a_quiet_clone_says_nothing() {
    let stage = Stage::new(fill);
    let ran = stage.clone(&stage.url, "ours").ok();
    assert_eq!((ran.stdout, ran.stderr), (String::new(), String::new()));
}

/// Commits a submodule `lib` whose address is beside the project's own.
fn with_submodule() -> Stage {
    let stage = Stage::new(|project| {
        let modules = "[submodule \"lib\"]\n\tpath = lib\n\turl = ../lib.git\n";
        project.commit("main", ".gitmodules", modules);
    });
    let lib = stage.gitlab.project("group/lib");
    let commit = lib.commit("main", "lib.txt", "a library\n");
    let stream = format!(
        "commit refs/heads/main\ncommitter A <a@example.com> 1767230000 +0000\ndata 3\nlib\n\
         from refs/heads/main^0\nM 160000 {commit} lib\n"
    );
    let import = stage.project.git(["fast-import", "--quiet"]);
    import.stdin(stream).ok();
    stage
}

#[test]
fn submodules_beside_a_project_go_through_the_mirror_where_that_is_allowed() {
    let stage = with_submodule();
    let Stage { world, gitlab, .. } = &stage;
    world.config("protocol.mirror.allow", "always");
    let twins = world.clone_twins(&stage.url, &["--recurse-submodules"]);
    same_clone(world, &twins.ours().join("lib"), &twins.plain().join("lib"));
    let both = ["group/lib", "group/project"].map(|path| gitlab.url(path));
    assert_eq!(listed(world, "url"), both);
}

#[test]
fn submodules_beside_a_project_are_found_when_its_mirror_is_cloned_by_name() {
    let stage = with_submodule().mirrored("tools", &[]);
    let Stage { world, gitlab, .. } = &stage;
    let recursive = |dir: &str| stage.clone("tools", dir).arg("--recurse-submodules");
    recursive("straight").ok();
    world.config("protocol.mirror.allow", "always");
    recursive("mirrored").ok();
    let plain = ["clone", "-q", "--recurse-submodules", &stage.url, "plain"];
    world.git(plain).ok();
    for dir in ["straight", "mirrored"] {
        let (ours, plain) = (world.path(dir).join("lib"), world.path("plain/lib"));
        same_clone(world, &ours, &plain);
    }
    let url = stage.git("mirrored/lib", &["config", "remote.origin.url"]);
    assert_eq!(
        url.ok().line(),
        format!("mirror::{}", gitlab.url("group/lib"))
    );
}

#[test]
fn submodules_come_straight_from_upstream_where_git_allows_no_mirror_and_a_hint_tells_how() {
    let stage = with_submodule();
    let cloned = stage
        .clone(&stage.url, "ours")
        .args(["--no-quiet", "--recurse-submodules"])
        .ok();
    let lines = cloned.stderr.lines();
    let hints: Vec<_> = lines.filter(|line| line.starts_with("hint: ")).collect();
    insta::assert_snapshot!(hints.join("\n"), @"hint: submodules with relative URLs come straight from upstream; they go through the mirror when you allow it: git config --global protocol.mirror.allow always");
    let url = stage.git("ours/lib", &["config", "remote.origin.url"]).ok();
    assert_eq!(url.line(), stage.gitlab.url("group/lib"));
    assert_eq!(listed(&stage.world, "url"), [stage.url.as_str()]);
    let plain = stage.clone(&stage.url, "without").arg("--no-quiet").ok();
    insta::assert_snapshot!(plain.shown(), @"Cloning into 'without'...");
}
