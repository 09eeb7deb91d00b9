//! The askpass program of the ssh that our own processes run: the daemon puts ssh's question to the person who waits.

use std::env;

use common::{
    client::something_else,
    protocol::{Failure, OneTimeId, QUESTION_ID, Reply, Request},
};

use crate::{daemon, git_line::answer, names};

/// Prints the answer to ssh's question. ssh takes an empty answer, and a failure, for a no.
pub(crate) fn run(prompt: &str) -> Result<(), Failure> {
    let id = env::var(QUESTION_ID).map_err(|_| Failure::here("nobody waits for this question"))?;
    let question = Request::Question {
        id: OneTimeId(id),
        push: env::var(names::PUSH_ID).ok(),
        prompt: prompt.to_owned(),
    };
    match daemon::ask(&question)? {
        Reply::Answer(secret) => answer(format!("{}\n", secret.0)),
        _ => Err(something_else()),
    }
}
