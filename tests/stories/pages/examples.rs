//! The CI jobs in examples/, run as they are.

use std::{fs, os::unix::fs::PermissionsExt};

use tests::{GitLab, Ran, World};

const GITLAB: &str = include_str!("../../../examples/gitlab-ci.yml");
const GITHUB: &str = include_str!("../../../examples/github-actions.yml");

const TOKEN: &str = "token-of-the-job";

/// Returns the script of the job for GitLab: the items of a list, one of them a block.
fn gitlab_script() -> String {
    let (_, script) = GITLAB.split_once("\n  script:\n").expect("it has a script");
    let lines = script.lines().map(str::trim_start);
    let lines = lines.filter(|line| !line.starts_with('#') && *line != "- |");
    let lines: Vec<_> = lines
        .map(|line| line.strip_prefix("- ").unwrap_or(line))
        .collect();
    format!("set -e\n{}\n", lines.join("\n"))
}

/// Returns the scripts of the steps for GitHub. The second one is run in `source`.
fn github_script() -> String {
    let (_, clone) = GITHUB.split_once("run: |\n").expect("it has a script");
    let (clone, test) = clone.split_once("      - name: test\n").expect("it tests");
    let (at, test) = test.split_once("\n        run: ").expect("it tests");
    assert_eq!(at, "        working-directory: source");
    format!("set -e\n{clone}\ncd source\n{test}\n")
}

/// Runs a job, with the variables that GitLab and GitHub set for it.
fn run(world: &World, gitlab: &GitLab, script: &str, commit: &str, token: &str) -> Ran {
    let server = format!("https://{}", gitlab.host());
    let project = format!("{server}/group/project");
    let mut job = world.program("bash", ["-c", script]);
    for (name, value) in [
        ("CI_PROJECT_URL", project.as_str()),
        ("CI_COMMIT_SHA", commit),
        ("CI_JOB_TOKEN", token),
        ("GITHUB_SERVER_URL", &server),
        ("GITHUB_REPOSITORY", "group/project"),
        ("GITHUB_SHA", commit),
        ("TOKEN", token),
        ("MIRROR_STALE", "fail"),
    ] {
        job = job.env(name, value);
    }
    job.run()
}

#[test]
fn the_ci_jobs_of_the_examples_test_what_was_pushed_and_sign_in_with_the_token_of_the_job() {
    for (example, user, script) in [
        (GITLAB, "gitlab-ci-token", gitlab_script()),
        (GITHUB, "x-access-token", github_script()),
    ] {
        for variable in ["MIRROR_STALE: fail", "-c mirror.link=copy"] {
            assert!(example.contains(variable), "{variable}: {example}");
        }
        let world = World::new();
        let gitlab = world.gitlab_tls();
        world.config("http.sslCAInfo", gitlab.ca_file().to_str().expect("text"));
        let project = gitlab.project("group/project");
        gitlab.require_login("group/project", user, TOKEN);
        let make = world.path("bin/make");
        fs::create_dir_all(world.path("bin")).expect("the world is ours");
        fs::write(&make, "#!/bin/sh\ncat file\n").expect("the world is ours");
        fs::set_permissions(&make, fs::Permissions::from_mode(0o755)).expect("it is ours");
        for content in ["first", "second"] {
            let commit = project.commit("main", "file", content);
            let ran = run(&world, &gitlab, &script, &commit, TOKEN);
            assert!(ran.status.success(), "{ran}");
            assert_eq!(ran.stdout, content, "{ran}");
        }
        let commit = project.commit("main", "file", "third");
        let ran = run(&world, &gitlab, &script, &commit, "another");
        assert!(!ran.status.success(), "{ran}");
        assert!(!world.path("source").exists(), "nothing is cloned: {ran}");
    }
}
