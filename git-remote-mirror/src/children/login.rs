//! The credential helper of our own children: `git-remote-mirror login get` gives the login that waits at the daemon
//! under the one-time id in `MIRROR_LOGIN`, and `store` and `erase` tell it whether upstream took that login.

use std::{
    env,
    io::{self, Read},
};

use common::{
    client::{Client, something_else},
    paths::Paths,
    protocol::{Failure, OneTimeId, OrFailure, Reply, Request},
};

use crate::{
    fetch::stream::runtime,
    helper::answer,
    push::{hooks, send},
};

/// Answers git's credential protocol. The id is for one child, one push, and one scheme, host and port: whoever leads
/// that child elsewhere gets nothing.
pub(crate) fn run(action: &str) -> Result<(), Failure> {
    let id = env::var(send::LOGIN)
        .map_err(|_| Failure::here("no login waits for this process"))
        .map(OneTimeId)?;
    match action {
        "get" => get(id),
        "store" => tried(id, true),
        "erase" => tried(id, false),
        _ => Ok(()),
    }
}

fn get(id: OneTimeId) -> Result<(), Failure> {
    let mut wanted = String::new();
    io::stdin()
        .read_to_string(&mut wanted)
        .or_failure("cannot hear git")?;
    let field = |name: &str| wanted.lines().find_map(|line| line.strip_prefix(name));
    let (Some(scheme), Some(host)) = (field("protocol="), field("host=")) else {
        return Err(Failure::here("git does not say what the login is for"));
    };
    let origin = format!("{scheme}://{host}");
    let push = env::var(hooks::PUSH).ok();
    match ask(&Request::Login { id, push, origin })? {
        Reply::Login(login) => answer(&format!(
            "username={}\npassword={}\n",
            login.username, login.password
        )),
        Reply::Failed(failure) => Err(failure),
        _ => Err(something_else()),
    }
}

fn tried(id: OneTimeId, accepted: bool) -> Result<(), Failure> {
    match ask(&Request::LoginTried { id, accepted })? {
        Reply::Done => Ok(()),
        _ => Err(something_else()),
    }
}

fn ask(request: &Request) -> Result<Reply, Failure> {
    let paths = Paths::from_env()?;
    runtime()?.block_on(async {
        let mut client = Client::connect(&paths).await.map_err(Failure::from)?;
        client.say(request).await?;
        client.hear().await
    })
}
