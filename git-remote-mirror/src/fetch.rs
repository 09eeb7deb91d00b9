//! The helper's side of a fetch: asks the daemon to bring the mirror in step, shows how far it is, answers its
//! questions, and says how fresh the result is.

use std::env;

use common::{
    ask,
    client::Client,
    paths::Paths,
    progress::{Renderer, masked, span, tell},
    protocol::{Answer, Failure, Fetch, Login, Mirror, Open, Ready, Reply, Request, Stale},
    upstream_url::Address,
};

use crate::{helper::Errand, policy};

/// The user's word on answers that could not be checked: `serve` or `fail`.
const MIRROR_STALE: &str = "MIRROR_STALE";

/// Makes the mirror fresh. The returned client is the lease: it stays for as long as the mirror is read.
///
/// # Errors
/// Fails with what the person should read.
pub(crate) async fn fetch(errand: &Errand) -> Result<(Client, Ready), Failure> {
    let request = Request::Fetch(request(errand)?);
    match converse(errand, &request).await? {
        (client, Reply::Ready(ready)) => Ok((client, ready)),
        _ => Err(something_else()),
    }
}

/// Makes the mirror fresh and opens a push to it, which is open for as long as the returned client.
///
/// # Errors
/// Fails with what the person should read.
pub(crate) async fn open_push(errand: &Errand) -> Result<(Client, Open), Failure> {
    let request = Request::Push(request(errand)?);
    match converse(errand, &request).await? {
        (client, Reply::Open(open)) => Ok((client, open)),
        _ => Err(something_else()),
    }
}

async fn converse(errand: &Errand, request: &Request) -> Result<(Client, Reply), Failure> {
    let paths = Paths::from_env()?;
    let mut client = Client::connect_or_start(&paths).await?;
    client.say(request).await?;
    let mut renderer = Renderer::stderr(errand.options.progress && errand.options.verbosity > 0);
    let mut found = None;
    loop {
        match client.hear().await? {
            Reply::Progress(progress) => renderer.show(&progress),
            Reply::Ask(question) => {
                renderer.close();
                found = ask::ask(&question)
                    .map_err(|err| Failure::io("cannot run git credential", &err))?;
                let answer = found
                    .as_ref()
                    .map_or(Answer::Nothing, |found| Answer::Login(found.login.clone()));
                client.answer(&answer).await?;
            }
            Reply::LoginAccepted => found.iter().for_each(ask::Found::approve),
            Reply::LoginRefused => found.iter().for_each(ask::Found::reject),
            Reply::Failed(failure) => {
                renderer.close();
                return Err(failure);
            }
            reply => {
                renderer.close();
                if let Reply::Ready(ready) | Reply::Open(Open { ready, .. }) = &reply {
                    warn(ready);
                }
                return Ok((client, reply));
            }
        }
    }
}

/// The failure of a conversation in which the daemon's reply is none to what was asked.
pub(crate) fn something_else() -> Failure {
    Failure::here("mirrord answered something else")
}

fn request(errand: &Errand) -> Result<Fetch, Failure> {
    let (mirror, typed) = match &errand.address {
        Address::Url(url, typed) => (Mirror::Url(url.to_string()), typed.clone()),
        Address::Name(name) => (Mirror::Name(name.clone()), None),
    };
    let (login, username) = match typed {
        Some(typed) => match typed.password {
            Some(password) => (
                Some(Login {
                    username: typed.username,
                    password,
                }),
                None,
            ),
            None => (None, Some(typed.username)),
        },
        None => (None, None),
    };
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
        username,
        standing: errand.config.standing(),
        transports: policy::transports(&errand.config),
        stale,
    })
}

/// Says what keeps the answer from being what upstream has now. Nothing is said when nothing does.
fn warn(ready: &Ready) {
    if let Some(aged) = &ready.stale {
        tell(&format!("warning: {}", aged.reason));
        tell(&match aged.seconds {
            Some(seconds) => format!("hint: serving the copy synced {} ago", span(seconds)),
            None => "hint: serving a copy of unknown age".to_owned(),
        });
    }
    for warning in &ready.warnings {
        tell(&format!("warning: {}", masked(warning.as_bytes())));
    }
}
