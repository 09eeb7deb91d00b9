//! README's first session, replayed word for word.

use std::{fs, path::PathBuf};

use tests::World;

/// The console transcript: each command with what it is said to print.
fn transcript() -> Vec<(String, Vec<String>)> {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md"))
        .expect("README.md is there");
    let session = readme
        .split("```console\n")
        .nth(1)
        .expect("README.md has a transcript");
    let session = session.split("```").next().expect("it ends");
    let mut steps: Vec<(String, Vec<String>)> = Vec::new();
    for line in session.lines() {
        match line.strip_prefix("$ ") {
            Some(command) => steps.push((command.to_owned(), Vec::new())),
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
    match shown.split_once('…') {
        None => shown == printed,
        Some((before, after)) => {
            printed.starts_with(before)
                && printed.ends_with(after)
                && printed.len() >= before.len() + after.len()
        }
    }
}

#[test]
fn the_first_session_in_the_readme_is_what_happens() {
    let world = World::new();
    let gitlab = world.gitlab_tls();
    world.config("http.sslCAInfo", gitlab.ca_file().to_str().expect("text"));
    let project = gitlab.project("group/project");
    project.commit("main", "file", "first");
    project.commit("main", "file", "second");
    // README's server has a name and the usual port.
    let address = gitlab.host();
    let name = address.replace(':', "+");
    let told = |line: &str| {
        line.replace("mirror::gitlab.example", &format!("mirror::{name}"))
            .replace("gitlab.example", &address)
    };
    let heard = |line: &str| {
        line.replace(&address, "gitlab.example")
            .replace(&name, "gitlab.example")
    };
    let mut here = PathBuf::new();
    for (command, shown) in transcript() {
        if let Some(dir) = command.strip_prefix("cd ") {
            here.push(dir);
            continue;
        }
        let line = format!("{} 2>&1", told(&command));
        let ran = world.program("sh", ["-c", &line]).at(&here).run();
        let printed: Vec<_> = ran.stdout.lines().map(heard).collect();
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

#[test]
fn every_command_explains_itself() {
    let world = World::new();
    for command in ["", "run", "stop", "status", "list", "ls"] {
        let help = world
            .mirrord(command.split_whitespace().chain(["--help"]))
            .ok();
        assert!(help.stdout.contains("Usage: mirrord"), "{help}");
    }
    world.mirrord(["frobnicate"]).code(2);
    world.mirrord(["--version"]).ok();
}
