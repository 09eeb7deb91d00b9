//! The helper's side of a fetch: asks the daemon to bring the mirror in step, shows how far it is, answers its
//! questions, and says how fresh the result is.

use std::{
    env,
    io::{self, Write},
};

use common::{
    ask,
    client::Client,
    paths::Paths,
    progress::{Renderer, masked, span},
    protocol::{Answer, Failure, Fetch, Login, Mirror, Ready, Reply, Request, Stale},
    upstream_url::Address,
};

use crate::helper::Errand;

/// The user's word on answers that could not be checked: `serve` or `fail`.
const MIRROR_STALE: &str = "MIRROR_STALE";

/// Makes the mirror fresh. The returned client is the lease: it stays for as long as the mirror is read.
///
/// # Errors
/// Fails with what the person should read.
pub(crate) async fn fetch(errand: &Errand) -> Result<(Client, Ready), Failure> {
    let request = request(errand)?;
    let paths = Paths::from_env().map_err(|err| Failure::here(err.to_string()))?;
    let mut client = Client::connect_or_start(&paths).await?;
    client.say(&Request::Fetch(request)).await?;
    let mut renderer = Renderer::stderr(errand.options.progress && errand.options.verbosity > 0);
    let mut found = None;
    loop {
        match client.hear().await? {
            Reply::Progress(progress) => renderer.show(&progress),
            Reply::Ask(question) => {
                renderer.close();
                found = ask::ask(&question)
                    .map_err(|err| Failure::here(format!("cannot run git credential: {err}")))?;
                let answer = found
                    .as_ref()
                    .map_or(Answer::Nothing, |found| Answer::Login(found.login.clone()));
                client.answer(&answer).await?;
            }
            Reply::LoginAccepted => found.iter().for_each(ask::Found::approve),
            Reply::LoginRefused => found.iter().for_each(ask::Found::reject),
            Reply::Ready(ready) => {
                renderer.close();
                warn(&ready);
                return Ok((client, ready));
            }
            Reply::Failed(failure) => {
                renderer.close();
                return Err(failure);
            }
            Reply::Login(_) | Reply::Mirrors(_) | Reply::Status(_) | Reply::Done => {
                return Err(Failure::here("mirrord answered something else"));
            }
        }
    }
}

fn request(errand: &Errand) -> Result<Fetch, Failure> {
    let (mirror, login) = match &errand.address {
        Address::Url(url, login) => (Mirror::Url(url.to_string()), login.clone()),
        Address::Name(name) => (Mirror::Name(name.clone()), None),
    };
    // A user name without a password is a hint for the credential helpers, not a login.
    let login = login.and_then(|login| {
        Some(Login {
            username: login.username,
            password: login.password?,
        })
    });
    let stale = match env::var(MIRROR_STALE).as_deref() {
        Err(_) | Ok("") => None,
        Ok("serve") => Some(Stale::Serve),
        Ok("fail") => Some(Stale::Fail),
        Ok(other) => {
            let other = masked(other.as_bytes());
            return Err(Failure::here(format!("{MIRROR_STALE} is '{other}'"))
                .hinted("it may be 'serve' or 'fail'"));
        }
    };
    Ok(Fetch {
        mirror,
        login,
        standing: errand.config.standing(),
        stale,
    })
}

/// Says what keeps the answer from being what upstream has now. Nothing is said when nothing does.
fn warn(ready: &Ready) {
    let mut stderr = io::stderr();
    if let Some(aged) = &ready.stale {
        let _ = writeln!(stderr, "warning: {}", aged.reason);
        let _ = writeln!(
            stderr,
            "hint: serving the copy synced {} ago",
            span(aged.seconds)
        );
    }
    for warning in &ready.warnings {
        let _ = writeln!(stderr, "warning: {}", masked(warning.as_bytes()));
    }
}
