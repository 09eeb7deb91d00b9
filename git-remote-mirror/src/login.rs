//! The credential helper of our own children: `git-remote-mirror login get` gives the login that waits at the daemon
//! under the one-time id in `MIRROR_LOGIN`.

use std::{
    env,
    io::{self, Read},
};

use common::{
    client::{Client, something_else},
    paths::Paths,
    protocol::{Failure, Reply, Request},
};

use crate::{helper::answer, stream::runtime};

/// Answers git's credential protocol. The id is for one child and one scheme, host and port: whoever leads that child
/// elsewhere gets nothing.
///
/// # Errors
/// Fails when no login waits.
pub(crate) fn run(action: &str) -> Result<(), Failure> {
    // `store` and `erase` need no answer; the daemon learns from the child how it went.
    if action != "get" {
        return Ok(());
    }
    let id =
        env::var("MIRROR_LOGIN").map_err(|_| Failure::here("no login waits for this process"))?;
    let mut wanted = String::new();
    let read = io::stdin().read_to_string(&mut wanted);
    read.map_err(|err| Failure::io("cannot hear git", &err))?;
    let field = |name: &str| wanted.lines().find_map(|line| line.strip_prefix(name));
    let (Some(scheme), Some(host)) = (field("protocol="), field("host=")) else {
        return Err(Failure::here("git does not say what the login is for"));
    };
    let origin = format!("{scheme}://{host}");
    let paths = Paths::from_env()?;
    let reply = runtime()?.block_on(async {
        let mut client = Client::connect(&paths).await.map_err(Failure::from)?;
        client.say(&Request::Login { id, origin }).await?;
        client.hear().await
    })?;
    match reply {
        Reply::Login(login) => answer(&format!(
            "username={}\npassword={}\n",
            login.username, login.password
        )),
        Reply::Failed(failure) => Err(failure),
        _ => Err(something_else()),
    }
}
