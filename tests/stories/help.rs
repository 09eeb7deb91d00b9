//! The help texts: every command has one, and its examples work.

use tests::World;

use crate::stage::Stage;

/// The commands, in the order in which `mirrord --help` lists them; clap's own `help` aside.
#[track_caller]
fn commands(world: &World) -> Vec<String> {
    let help = world.mirrord(["--help"]).ok().stdout;
    let (_, list) = help.split_once("Commands:\n").expect("it lists them");
    let commands: Vec<_> = list
        .lines()
        .map_while(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .map(str::to_owned)
        .collect();
    assert!(commands.len() > 10, "it is the whole list: {help}");
    commands
}

/// The examples in a help text: the lines that are indented by four spaces.
fn examples(help: &str) -> Vec<&str> {
    let typed = |line: &&str| line.starts_with("mirrord ") || line.starts_with("git ");
    help.lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(typed)
        .collect()
}

/// The server and the project that the help texts speak of.
fn stage() -> Stage {
    Stage::with_tls(|project| {
        project.commit("main", "file", "first");
        project.commit("main", "file", "second");
    })
}

impl Stage {
    /// Prepares a line of a help text as a person would type it here.
    fn typed(&self, line: &str) -> tests::Run {
        let line = line.replace("gitlab.example", &self.gitlab.host());
        self.world.program("sh", ["-c", &line])
    }
}

#[test]
fn every_command_explains_itself() {
    let world = World::new();
    let mut commands = commands(&world);
    commands.extend(["ls".into(), "rm".into()]);
    for command in &commands {
        let help = world.mirrord([command, "--help"]).ok();
        assert!(help.stdout.contains("Usage: mirrord"), "{help}");
        let name = match command.as_str() {
            "ls" => "list",
            "rm" => "remove",
            command => command,
        };
        let examples = examples(&help.stdout);
        assert!(!examples.is_empty(), "'{command}' has no example: {help}");
        for example in examples {
            let of = example.split(' ').nth(1);
            assert_eq!(of, Some(name), "an example of '{command}' is its own");
        }
        let short = world.mirrord([command, "-h"]).ok();
        assert!(short.stdout.lines().count() > 2, "{short}");
    }
    world.mirrord(["--version"]).ok();
    assert_eq!(world.daemon_pid(), None, "nobody is started for that");
}

#[test]
fn the_first_minute_of_the_help_is_what_happens() {
    let stage = stage();
    let help = stage.mirrord(&["--help"]).ok().stdout;
    let examples = examples(&help);
    assert!(examples.len() >= 2, "{help}");
    for example in examples {
        stage.typed(example).ok();
    }
    assert!(stage.world.path("project/file").exists());
}

#[test]
fn every_example_in_a_help_works_as_it_is_written() {
    let stage = stage();
    for command in commands(&stage.world) {
        let help = stage.mirrord(&[&command, "--help"]).ok().stdout;
        if command == "history" {
            // There is something to be found, and then to be restored.
            stage.project.force("main", "main~1");
            stage.mirrord(&["sync", "project"]).ok();
        }
        for example in examples(&help) {
            if command == "service" {
                // Nobody has installed it; the service's own stories do.
                stage.typed(example).code(3);
                continue;
            }
            if command != "run" {
                stage.typed(example).ok();
                continue;
            }
            // It runs until somebody stops it.
            let daemon = stage.typed(example).start();
            daemon.printed("listens at");
            stage.mirrord(&["stop"]).ok();
            let ran = daemon.wait();
            assert!(ran.status.success(), "{ran}");
        }
    }
}

#[test]
fn completions_work_without_a_home_and_without_the_daemon() {
    let world = World::new();
    let homeless = |args: &[&str]| {
        let nowhere = world.mirrord(args).env("MIRROR_HOME", "nowhere");
        nowhere.env_remove("HOME")
    };
    homeless(&["list"]).code(1);
    for shell in ["bash", "zsh", "fish"] {
        let script = homeless(&["completions", shell]).ok();
        assert_eq!(script.stderr, "", "{shell}");
        for word in ["keep-history", "accept", "completions"] {
            assert!(script.stdout.contains(word), "{shell}: {word}");
        }
    }
    let script = "eval \"$(mirrord completions bash)\" && complete -p mirrord";
    world.program("bash", ["-c", script]).ok();
    homeless(&["completions", "tcl"]).code(2);
    assert_eq!(world.daemon_pid(), None);
}

#[test]
fn wrong_usage_is_refused_before_upstream_or_a_user_is_asked() {
    let world = World::new();
    let secret = "https://me:hunter2@gitlab.example/group/project.git";
    // What else a command does not take is a row in the tests of the arguments.
    let refused: [&[&str]; 5] = [
        &["frobnicate"],
        &["add", "project", "group/project"],
        &["set", "project"],
        &["set", "project", "--url", "group/project"],
        &["set", "project", "--url", secret],
    ];
    let mut all = String::new();
    for args in refused {
        let ran = world.mirrord(args).code(2);
        assert_eq!(ran.stdout, "", "{ran}");
        assert!(ran.stderr.starts_with("error: "), "{ran}");
        all.push_str(ran.stderr.lines().next().expect("a line"));
        all.push('\n');
    }
    insta::assert_snapshot!(all, @"
    error: unrecognized subcommand 'frobnicate'
    error: 'group/project' is not a URL
    error: there is nothing to change
    error: 'group/project' is not a URL
    error: the address 'https://gitlab.example/group/project.git' was typed with a login in it
    ");
    assert_eq!(world.daemon_pid(), None, "nobody is started for that");
}

#[test]
fn a_login_in_an_address_is_not_repeated() {
    let world = World::new();
    let secret = "https://me:hunter2@nowhere.invalid/group/project.git";
    let commands: [&[&str]; 7] = [
        &["test", secret],
        &["show", secret],
        &["history", secret],
        &["rename", secret, "project"],
        &["remove", secret],
        &["sync", "--no-such-option", secret],
        &["sync", "no-such-mirror", &format!("mirror::{secret} ")],
    ];
    let mut all = String::new();
    for args in commands {
        all.push_str(&world.mirrord(args).fails().shown());
    }
    insta::assert_snapshot!(all, @"
    FAILED name resolved  [time]  could not resolve host
    a mirror of 'https://nowhere.invalid/group/project.git' would not work
    error: there is no mirror of 'https://nowhere.invalid/group/project.git'
    hint: 'mirrord list' shows them
    error: there is no mirror of 'https://nowhere.invalid/group/project.git'
    hint: 'mirrord list' shows them
    error: there is no mirror of 'https://nowhere.invalid/group/project.git'
    hint: 'mirrord list' shows them
    error: there is no mirror of 'https://nowhere.invalid/group/project.git'
    hint: 'mirrord list' shows them
    error: unexpected argument '--no-such-option' found

      tip: to pass '--no-such-option' as a value, use '-- --no-such-option'

    Usage: mirrord sync [OPTIONS] [NAME]...

    For more information, try '--help'.
    error: no-such-mirror: no mirror is called 'no-such-mirror'
    hint: 'mirrord list' shows them; a URL makes a new one: mirror::https://HOST/GROUP/PROJECT.git
    error: https://nowhere.invalid/group/project.git : invalid path in 'https://nowhere.invalid/group/project.git ': write a space as '%20'
    ");
}
