//! README's first session, replayed word for word.

use std::{fs, path::PathBuf};

use tests::World;

/// A console transcript: each command with what it is said to print. A line with `#` is what happens elsewhere.
fn transcript(number: usize) -> Vec<(String, Vec<String>)> {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md"))
        .expect("README.md is there");
    let session = readme
        .split("```console\n")
        .nth(number)
        .expect("README.md has so many transcripts");
    let session = session.split("```").next().expect("it ends");
    let mut steps: Vec<(String, Vec<String>)> = Vec::new();
    for line in session.lines() {
        let step = line.strip_prefix("$ ");
        match step.or_else(|| line.starts_with("# ").then_some(line)) {
            Some(step) => steps.push((step.to_owned(), Vec::new())),
            None => steps
                .last_mut()
                .expect("a transcript begins with a command")
                .1
                .push(line.to_owned()),
        }
    }
    steps
}

/// Whether a line is what README shows; `…` stands for anything.
fn fits(shown: &str, printed: &str) -> bool {
    let Some((before, mut shown)) = shown.split_once('…') else {
        return shown == printed;
    };
    let Some(mut printed) = printed.strip_prefix(before) else {
        return false;
    };
    while let Some((part, rest)) = shown.split_once('…') {
        let Some((_, after)) = printed.split_once(part) else {
            return false;
        };
        (shown, printed) = (rest, after);
    }
    printed.ends_with(shown)
}

#[test]
fn the_first_session_in_the_readme_is_what_happens() {
    replay(1);
}

#[test]
fn the_fork_that_never_leaves_in_the_readme_is_what_happens() {
    replay(2);
}

#[test]
fn the_test_of_a_connection_in_the_readme_is_what_happens() {
    replay(3);
}

#[test]
fn the_life_of_the_service_in_the_readme_is_what_happens() {
    let world = World::new();
    if let Some(_systemd) = world.systemd() {
        replay_in(&world, 4);
    }
}

#[test]
fn what_the_readme_shows_of_status_why_and_log_is_what_they_print() {
    replay(5);
}

fn replay(number: usize) {
    replay_in(&World::new(), number);
}

fn replay_in(world: &World, number: usize) {
    let gitlab = world.gitlab_tls();
    world.config("http.sslCAInfo", gitlab.ca_file().to_str().expect("text"));
    let project = gitlab.project("group/project");
    project.commit("main", "file", "first");
    project.commit("main", "file", "second");
    // README's server has a name and the usual port.
    let address = gitlab.host();
    let name = address.replace(':', "+");
    let host = address.split(':').next().expect("there is a host");
    let to_local = |line: &str| {
        line.replace("mirror::gitlab.example", &format!("mirror::{name}"))
            .replace("gitlab.example", &address)
    };
    let to_readme = |line: &str| {
        // git fills up what upstream says with blanks, to wipe what was there before.
        line.trim_end()
            .replace(&address, "gitlab.example")
            .replace(&name, "gitlab.example")
            .replace(host, "gitlab.example")
    };
    let mut dir = PathBuf::new();
    for (command, shown) in transcript(number) {
        if command.starts_with("# ") {
            project.commit("main", "file", &command);
            continue;
        }
        if let Some(below) = command.strip_prefix("cd ") {
            dir.push(below);
            continue;
        }
        let line = format!("{} 2>&1", to_local(&command));
        let shell = world.program("sh", ["-c", &line]).at(&dir);
        let ran = shell.env("LC_ALL", "C.UTF-8").run();
        let printed: Vec<_> = ran.stdout.lines().map(to_readme).collect();
        let same = printed.len() == shown.len()
            && printed
                .iter()
                .zip(&shown)
                .all(|(printed, shown)| fits(shown, printed));
        assert!(
            same,
            "README.md shows for '{command}':\n{}\nbut it prints:\n{}",
            shown.join("\n"),
            printed.join("\n")
        );
    }
}
