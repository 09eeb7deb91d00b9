//! The credential helper of our own processes: `git-remote-mirror login get` prints the login that waits at the daemon
//! under the one-time id in `MIRROR_LOGIN`, and `store` and `erase` tell the daemon whether upstream took that login.

use std::{
    env,
    io::{self, Read},
};

use common::{
    client::something_else,
    protocol::{Failure, LOGIN_ID, OneTimeId, OrFailure, Reply, Request},
};

use crate::{daemon, git_line::answer, names};

/// Does one action of git's credential protocol (gitcredentials(7)). The id is for one process, one push, and one scheme,
/// host and port: a process that was led elsewhere gets no login.
pub(crate) fn run(action: &str) -> Result<(), Failure> {
    let id = env::var(LOGIN_ID)
        .map_err(|_| Failure::here("no login waits for this process"))
        .map(OneTimeId)?;
    match action {
        "get" => get(id),
        "store" => report(id, true),
        "erase" => report(id, false),
        _ => Ok(()),
    }
}

/// Prints the login.
fn get(id: OneTimeId) -> Result<(), Failure> {
    let mut description = String::new();
    io::stdin()
        .read_to_string(&mut description)
        .or_failure("cannot hear git")?;
    let field = |name: &str| {
        let mut lines = description.lines();
        lines.find_map(|line| line.strip_prefix(name))
    };
    let (Some(scheme), Some(host)) = (field("protocol="), field("host=")) else {
        return Err(Failure::here("git does not say what the login is for"));
    };
    let origin = format!("{scheme}://{host}");
    let push = env::var(names::PUSH_ID).ok();
    let Reply::Login(login) = daemon::ask(&Request::Login { id, push, origin })? else {
        return Err(something_else());
    };
    match &login.authtype {
        None => answer(format!(
            "username={}\npassword={}\n",
            login.username, login.password
        )),
        // A git before 2.46 does not ask for these, and could do nothing with them.
        Some(authtype) => answer(format!(
            "capability[]=authtype\nauthtype={authtype}\ncredential={}\n",
            login.password
        )),
    }
}

/// Tells the daemon whether upstream took the login.
fn report(id: OneTimeId, accepted: bool) -> Result<(), Failure> {
    match daemon::ask(&Request::LoginTried { id, accepted })? {
        Reply::Done => Ok(()),
        _ => Err(something_else()),
    }
}
