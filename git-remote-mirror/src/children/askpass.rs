//! The askpass program of the ssh that our children run: it has the daemon put the question to whoever waits.

use std::env;

use common::{
    client::{Client, something_else},
    paths::Paths,
    protocol::{Failure, OneTimeId, Reply, Request},
};

use crate::{fetch::stream::runtime, helper::answer, push::hooks};

/// The id under which an ssh may ask.
pub(crate) const QUESTION: &str = "MIRROR_QUESTION";

/// Answers ssh, which takes silence and a failure for a no.
pub(crate) fn run(prompt: &str) -> Result<(), Failure> {
    let id = env::var(QUESTION).map_err(|_| Failure::here("nobody waits for this question"))?;
    let question = Request::Question {
        id: OneTimeId(id),
        push: env::var(hooks::PUSH).ok(),
        prompt: prompt.to_owned(),
    };
    let paths = Paths::from_env()?;
    let reply = runtime()?.block_on(async {
        let mut client = Client::connect(&paths).await?;
        client.say(&question).await?;
        loop {
            match client.hear().await? {
                // Somebody is thinking.
                Reply::Progress(_) => {}
                reply => return Ok::<_, Failure>(reply),
            }
        }
    })?;
    match reply {
        Reply::Said(secret) => answer(&format!("{}\n", secret.0)),
        Reply::Failed(failure) => Err(failure),
        _ => Err(something_else()),
    }
}
