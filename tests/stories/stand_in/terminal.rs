//! A program at a terminal: what it shows, what is typed, and what a question at it leaves behind.

use tests::{Terminal, World};

fn sh(world: &World, script: &str) -> Terminal {
    world.program("sh", ["-c", script]).on_terminal()
}

/// Our own question, from a shell that is still there afterwards.
fn asked(world: &World, more: &str) -> Terminal {
    let script = format!(
        "\"$0\" 'Secret\nword: ' {more}; echo code $?; stty -a; echo then; read line; echo $line"
    );
    let ask = env!("CARGO_BIN_EXE_ask");
    let mut terminal = world.program("sh", ["-c", &script, ask]).on_terminal();
    terminal.shows("Secret\nword: ");
    terminal
}

#[test]
fn a_program_has_a_controlling_terminal_and_talks_to_a_person() {
    let world = World::new();
    let script = "test -t 0 && test -t 1 && test -t 2 && echo name? >/dev/tty; read name </dev/tty; echo hello $name; exit 3";
    let mut terminal = sh(&world, script);
    terminal.shows("name?");
    assert!(terminal.echoes());
    terminal.types("Ada\n");
    terminal.shows("hello Ada\n");
    assert_eq!(terminal.ended(), (3, "name?\nAda\nhello Ada\n".to_owned()));
}

#[test]
#[should_panic(expected = "never shows 'one'")]
fn text_that_a_terminal_has_read_is_not_read_again() {
    let world = World::new();
    let mut terminal = sh(&world, "echo one");
    terminal.shows("one");
    terminal.shows("one");
}

#[test]
fn an_interrupt_reaches_everybody_in_the_foreground() {
    let world = World::new();
    // It is `cat` that is ready, whom the shells wait for.
    let script = "echo ready >file; sh -c 'trap \"echo inner\" INT; cat file -; echo $?'";
    let mut terminal = sh(&world, script);
    terminal.shows("ready");
    terminal.interrupt();
    terminal.shows("inner\n130\n");
    drop(terminal.ended());
}

#[test]
fn git_asks_at_the_terminal() {
    let world = World::new();
    let mut terminal = world
        .git(["credential", "fill"])
        .env("GIT_ASKPASS", "")
        .on_terminal();
    terminal.types("url=https://gitlab.example\n\n");
    terminal.shows("Username for 'https://gitlab.example': ");
    terminal.types("me\n");
    terminal.shows("Password for 'https://me@gitlab.example': ");
    assert!(!terminal.echoes());
    terminal.types("token\n");
    terminal.shows("password=token\n");
    assert_eq!(terminal.ended().0, 0);
}

#[test]
fn a_secret_is_not_shown_while_it_is_typed() {
    let world = World::new();
    let mut terminal = asked(&world, "");
    assert!(!terminal.echoes());
    // Two that are taken back, one of two bytes; a key that would stop it; an end that is none.
    terminal.types("forgotten\x15wö\x7f\x08tok\x1a\x04en\n");
    terminal.shows("\nanswer: \"token\"\ncode 0\n");
    terminal.shows(" icanon");
    terminal.shows("\nthen\n");
    assert!(terminal.echoes(), "the terminal is as before");
    terminal.types("shown\n");
    let (code, shown) = terminal.ended();
    assert_eq!(code, 0);
    assert!(
        shown.ends_with("shown\nshown\n") && !shown.contains("forgotten"),
        "{shown}"
    );
}

#[test]
fn with_echo_the_terminal_edits_the_line() {
    let world = World::new();
    let mut terminal = asked(&world, "--echo");
    assert!(terminal.echoes());
    terminal.types("mee\x7f\n");
    terminal.shows("answer: \"me\"\ncode 0\n");
}

#[test]
fn ctrl_d_is_no_answer() {
    let world = World::new();
    for echo in ["", "--echo"] {
        let mut terminal = asked(&world, echo);
        terminal.types("\x04");
        terminal.shows("\nno answer\ncode 0\n");
        assert!(terminal.echoes());
    }
}

#[test]
fn ctrl_c_ends_it_and_leaves_the_terminal_as_it_was() {
    let world = World::new();
    // The shell survives its foreground's interrupt, to look at the terminal.
    let script = "trap 'echo interrupted' INT; \"$0\" 'Secret: '; echo code $?; stty -a; echo then; read line; echo $line";
    let mut terminal = world
        .program("sh", ["-c", script, env!("CARGO_BIN_EXE_ask")])
        .on_terminal();
    terminal.shows("Secret: ");
    assert!(!terminal.echoes());
    terminal.types("half a sec");
    terminal.interrupt();
    terminal.shows("\ninterrupted\ncode 130\n");
    terminal.shows("isig icanon");
    terminal.shows(" echo ");
    terminal.shows("\nthen\n");
    terminal.types("go on\n");
    terminal.shows("go on\ngo on\n");
    let (code, shown) = terminal.ended();
    assert_eq!(code, 0);
    assert!(!shown.contains("half"), "{shown}");
}

#[test]
fn an_answer_that_is_too_long_or_no_text_is_refused() {
    let world = World::new();
    let mut terminal = asked(&world, "");
    terminal.types(&"x".repeat(4097));
    terminal.types("\n");
    terminal.shows("error: more than 4096 bytes were typed\ncode 1\n");
    let mut terminal = asked(&world, "");
    terminal.types(&"x".repeat(4096));
    terminal.types("\n");
    terminal.shows("xxx\"\ncode 0\n");
}

#[test]
fn without_a_terminal_nobody_is_asked() {
    let world = World::new();
    let ran = world
        .program("setsid", ["--wait", env!("CARGO_BIN_EXE_ask"), "Secret: "])
        .ok();
    assert_eq!(ran.stdout, "no terminal\n");
}
