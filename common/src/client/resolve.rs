//! What a person asks for: which mirror they mean, as git itself would resolve the address where they stand, and what
//! the daemon is told of them.

use std::env;

use crate::{
    address::{
        redact,
        upstream_url::{Address, BadUrl},
        url_config,
    },
    client::local_path,
    git::{ask, client_context::UserConfig, transports},
    protocol::{Failure, FailureKind, Fetch, Lack, Login, Mirror, OrFailure, Secret, Stale},
    text::masked,
};

/// The user's word on answers that could not be checked: `serve` or `fail`.
const MIRROR_STALE: &str = "MIRROR_STALE";

/// Resolves a typed address, with `url.*.insteadOf` as git would apply it here.
///
/// # Errors
/// Fails when the text is no address, or its transport is one that git's configuration forbids here.
pub fn resolve(typed: &str, config: &UserConfig) -> Result<Address, Failure> {
    let rewritten = url_config::instead_of(config.entries(), typed);
    let typed = rewritten.as_deref().unwrap_or(typed);
    let address = match local_path::absolute(typed) {
        Some(path) => {
            let unreadable = format!("cannot read '{}'", masked(redact(typed).as_bytes()));
            Address::parse(&path.or_failure(unreadable)?)
        }
        None => Address::parse(typed),
    };
    let address = match address {
        // A path in the current directory that no mirror can be called.
        Err(BadUrl::Name(bad)) => match local_path::existing(typed) {
            Some(path) => Address::parse(&path),
            None => Err(BadUrl::Name(bad)),
        },
        address => address,
    };
    let address = address.map_err(|err| Failure::new(FailureKind::Usage, err.to_string()))?;
    if let Address::Url(url, _) = &address {
        transports::check(url.scheme(), config)?;
    }
    Ok(address)
}

/// Returns the request for a mirror. The caller sets `lacks` if the request is for a clone.
///
/// # Errors
/// Fails when `MIRROR_STALE` is none of its values.
pub fn request(address: &Address, config: &UserConfig) -> Result<Fetch, Failure> {
    let (mirror, typed) = match address {
        Address::Url(url, typed) => (Mirror::Url(url.to_string()), typed.clone()),
        Address::Name(name) => (Mirror::Name(name.clone()), None),
    };
    let (login, username) = match typed {
        Some(typed) => match typed.password {
            Some(password) => (Some(Login::basic(typed.username, password)), None),
            None => (None, Some(Secret(typed.username))),
        },
        None => (None, None),
    };
    let stale = match env::var(MIRROR_STALE).as_deref() {
        Err(_) | Ok("") => None,
        Ok("serve") => Some(Stale::Serve),
        Ok("fail") => Some(Stale::Fail),
        Ok(other) => {
            let other = masked(other.as_bytes());
            let message = format!("{MIRROR_STALE} is '{other}'");
            let failure = Failure::new(FailureKind::Usage, message);
            return Err(failure.hinted("it may be 'serve' or 'fail'"));
        }
    };
    Ok(Fetch {
        mirror,
        login,
        username,
        context: config.client_context(),
        transports: transports::allowed(config),
        redirect_transports: transports::allowed_for_redirects(config),
        stale,
        can_ask: ask::can_ask(config),
        lacks: Lack::News,
        on_demand: Vec::new(),
    })
}
