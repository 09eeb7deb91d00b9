//! `git-remote-mirror`: the program that git runs for `mirror::` URLs. stdout belongs to git; people read stderr.
//!
//! git runs it as a remote helper ([`helper`]), as the hooks of a push ([`push::hooks`]), and as the connection over which a
//! push is sent ([`push::connection`]); its own children run it to sign in ([`children`]).

mod caller;
mod children;
mod daemon;
mod fetch;
mod git_line;
mod helper;
mod invocation;
mod local_repo;
mod log;
mod login_in_url;
mod names;
mod on_demand;
mod options;
mod process_tree;
mod push;
mod server_program;
mod through;
mod trace;
mod view;
mod wants;

use std::{
    env,
    io::{self, IsTerminal},
    path::Path,
    process::ExitCode,
};

use common::{
    address::redact,
    git::{self, ask},
    progress::tell,
    protocol::{Failure, QUESTION_ID, RequestId},
    text::masked,
};

use crate::{
    children::{askpass, login},
    push::{connection, hooks},
};

/// The exit code of git when it dies.
const EXIT_DIED: u8 = 128;

fn main() -> ExitCode {
    ask::forbid_core_dumps();
    let args: Vec<String> = env::args_os()
        .skip(1)
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    // git runs this program under the names of its hooks, too.
    let program = env::args_os().next().unwrap_or_default();
    let program = Path::new(&program).file_name().unwrap_or_default();
    log::start();
    let _request = tracing::debug_span!("request", id = %RequestId::of_process()).entered();
    let result = match args.as_slice() {
        [] if program == names::PRE_RECEIVE => hooks::pre_receive(),
        [] if program == names::PROC_RECEIVE => hooks::proc_receive(),
        [_, _] if program == names::PRE_PUSH => hooks::pre_push(),
        [_, _] if program == names::CONNECTION => connection::run(),
        // A remote may be called "login", too; then an address follows.
        ["login", action @ ("get" | "store" | "erase")] => login::run(action),
        // An ssh that a child of ours has started.
        [prompt] if env::var_os(QUESTION_ID).is_some() => askpass::run(prompt),
        // An address that is no text would be read as another address.
        [.., address] if is_run_by_git(address) && !is_text() => Err(Failure::here(
            "the address of the upstream is not valid UTF-8",
        )),
        [remote, address] if !io::stdin().is_terminal() => {
            unless_inside(address, || helper::run(remote, address))
        }
        // git leaves the URL out when the remote is one: `git fetch mirror::…` without a name for it.
        [address] if is_run_by_git(address) => {
            unless_inside(address, || helper::run(address, address))
        }
        _ => Err(
            Failure::here("this program is run by git, for URLs that begin with 'mirror::'")
                .hinted("git clone mirror::https://HOST/GROUP/PROJECT.git"),
        ),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            print(&failure);
            ExitCode::from(EXIT_DIED)
        }
    }
}

fn is_run_by_git(address: &str) -> bool {
    !io::stdin().is_terminal() && !address.starts_with('-')
}

/// Whether the last argument, the address, is valid UTF-8.
fn is_text() -> bool {
    env::args_os()
        .next_back()
        .is_none_or(|last| last.to_str().is_some())
}

/// Runs the helper, but not inside a child of its own. It is started there when an `insteadOf` rule turns the upstream's
/// URL into a mirror's.
fn unless_inside(address: &str, run: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    if env::var_os(git::GUARD).is_none() {
        return run();
    }
    let address = redact(address);
    Err(Failure::here(format!(
        "the upstream of a mirror leads back to a mirror: '{address}'"
    ))
    .hinted("look for the rule: git config --show-origin --get-regexp 'url.*insteadof'"))
}

fn print(failure: &Failure) {
    for line in &failure.remote {
        tell(&format!("remote: {}", masked(line.as_bytes())));
    }
    tell(&format!("error: {failure}"));
    if let Some(hint) = &failure.hint {
        for line in hint.lines() {
            tell(&format!("hint: {line}"));
        }
    }
}
