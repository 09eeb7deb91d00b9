//! A program at a terminal: what it shows, what is typed, and what a question at it leaves behind.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tests::{Terminal, World};

use crate::stage::check;

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
fn a_program_at_a_terminal_talks_to_a_person() {
    let world = World::new();
    check("it has a controlling terminal", || {
        let script = "test -t 0 && test -t 1 && test -t 2 && echo name? >/dev/tty; read name </dev/tty; echo hello $name; exit 3";
        let mut terminal = sh(&world, script);
        terminal.shows("name?");
        assert!(terminal.echoes());
        terminal.types("Ada\n");
        terminal.shows("hello Ada\n");
        assert_eq!(terminal.ended(), (3, "name?\nAda\nhello Ada\n".to_owned()));
    });
    check("text that was read is not read again", || {
        let mut terminal = sh(&world, "echo one");
        terminal.shows("one");
        let again = catch_unwind(AssertUnwindSafe(|| terminal.shows("one")));
        let panic = again.expect_err("it is shown once");
        let text = panic.downcast_ref::<String>().expect("a message");
        assert!(text.contains("never shows 'one'"), "{text}");
    });
    check("an interrupt reaches all in the foreground", || {
        // It is `cat` that is ready, whom the shells wait for.
        let script = "echo ready >file; sh -c 'trap \"echo inner\" INT; cat file -; echo $?'";
        let mut terminal = sh(&world, script);
        terminal.shows("ready");
        terminal.interrupt();
        terminal.shows("inner\n130\n");
        drop(terminal.ended());
    });
    check("git asks at it", || {
        let fill = world.git(["credential", "fill"]).env("GIT_ASKPASS", "");
        let mut terminal = fill.on_terminal();
        terminal.types("url=https://gitlab.example\n\n");
        terminal.shows("Username for 'https://gitlab.example': ");
        terminal.types("me\n");
        terminal.shows("Password for 'https://me@gitlab.example': ");
        assert!(!terminal.echoes());
        terminal.types("token\n");
        terminal.shows("password=token\n");
        assert_eq!(terminal.ended().0, 0);
    });
}

#[test]
fn our_own_question_takes_a_line_or_says_that_there_is_none() {
    let world = World::new();
    check("a secret is not shown while it is typed", || {
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
    });
    check("Ctrl-C ends it and leaves the terminal as it was", || {
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
    });
    check("with echo the terminal edits the line", || {
        let mut terminal = asked(&world, "--echo");
        assert!(terminal.echoes());
        terminal.types("mee\x7f\n");
        terminal.shows("answer: \"me\"\ncode 0\n");
    });
    check("Ctrl-D is no answer", || {
        for echo in ["", "--echo"] {
            let mut terminal = asked(&world, echo);
            terminal.types("\x04");
            terminal.shows("\nno answer\ncode 0\n");
            assert!(terminal.echoes());
        }
    });
    check("an answer that is too long is refused", || {
        let mut terminal = asked(&world, "");
        terminal.types(&"x".repeat(4097));
        terminal.types("\n");
        terminal.shows("error: more than 4096 bytes were typed\ncode 1\n");
        let mut terminal = asked(&world, "");
        terminal.types(&"x".repeat(4096));
        terminal.types("\n");
        terminal.shows("xxx\"\ncode 0\n");
    });
    check("without a terminal nobody is asked", || {
        let ask = ["--wait", env!("CARGO_BIN_EXE_ask"), "Secret: "];
        let ran = world.program("setsid", ask).ok();
        assert_eq!(ran.stdout, "no terminal\n");
    });
}
