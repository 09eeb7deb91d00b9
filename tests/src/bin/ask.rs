//! Asks at the terminal as our programs do: `ask PROMPT [--echo]` prints the answer, or says that there is none.

use std::process::ExitCode;

use common::git::terminal;

#[expect(clippy::print_stdout, reason = "this is what the story came for")]
fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let prompt = args.first().map_or("", String::as_str);
    let echo = args.get(1).is_some_and(|arg| arg == "--echo");
    match terminal::ask(prompt, echo) {
        Ok(Some(answer)) => println!("answer: {answer:?}"),
        Ok(None) if terminal::is_there() => println!("no answer"),
        Ok(None) => println!("no terminal"),
        Err(error) => {
            println!("error: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
