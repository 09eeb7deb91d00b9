//! `git-remote-mirror`: what git runs for `mirror::` URLs. stdout belongs to git; people read stderr.

mod children;
mod daemon;
mod fetch;
mod helper;
mod log;
mod login_in_url;
mod options;
mod pkt_line;
mod push;

use crate::{
    children::{askpass, login},
    push::hooks,
};
use std::{
    env,
    io::{self, IsTerminal},
    path::Path,
    process::ExitCode,
};

use common::{
    git::{self, ask},
    progress::tell,
    protocol::{Failure, RequestId},
};

/// What git itself exits with when it dies.
const DIED: u8 = 128;

fn main() -> ExitCode {
    ask::forbid_core_dumps();
    let arguments: Vec<String> = env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // git runs us under the names of its hooks, too.
    let called = env::args_os().next().unwrap_or_default();
    let called = Path::new(&called).file_name().unwrap_or_default();
    log::start();
    let _request = tracing::debug_span!("request", id = %RequestId::of_process()).entered();
    let result = match words.as_slice() {
        [] if called == hooks::PRE_RECEIVE => hooks::pre_receive(),
        [] if called == hooks::PROC_RECEIVE => hooks::proc_receive(),
        [_, _] if called == hooks::PRE_PUSH => hooks::pre_push(),
        ["login", action] => login::run(action),
        // ssh, of a child of ours.
        [prompt] if env::var_os(askpass::QUESTION).is_some() => askpass::run(prompt),
        // What is no text would become another address.
        [.., address] if is_run_by_git(address) && !is_text() => Err(Failure::here(
            "the address of the upstream is not valid UTF-8",
        )),
        [remote, address] if !io::stdin().is_terminal() => {
            guarded(address, || helper::run(remote, address))
        }
        // git leaves the URL out when the remote is one: `git fetch mirror::…` without a name for it.
        [address] if is_run_by_git(address) => guarded(address, || helper::run(address, address)),
        _ => Err(
            Failure::here("this program is run by git, for URLs that begin with 'mirror::'")
                .hinted("git clone mirror::https://HOST/GROUP/PROJECT.git"),
        ),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure);
            ExitCode::from(DIED)
        }
    }
}

fn is_run_by_git(address: &str) -> bool {
    !io::stdin().is_terminal() && !address.starts_with('-')
}

/// Whether the last argument is what it was read as.
fn is_text() -> bool {
    env::args_os()
        .next_back()
        .is_none_or(|last| last.to_str().is_some())
}

/// One of our own children has come back to us: some rule rewrites an upstream into a mirror of itself.
fn guarded(address: &str, run: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    if env::var_os(git::GUARD).is_none() {
        return run();
    }
    let address = common::address::redact(address);
    Err(Failure::here(format!(
        "the upstream of a mirror leads back to a mirror: '{address}'"
    ))
    .hinted("look for the rule: git config --show-origin --get-regexp 'url.*insteadof'"))
}

fn complain(failure: &Failure) {
    tell(&format!("error: {failure}"));
    if let Some(hint) = &failure.hint {
        for line in hint.lines() {
            tell(&format!("hint: {line}"));
        }
    }
}
