//! Whether a mirror still serves the URL of its upstream after a change of its settings.

use common::{
    protocol::{Failure, FailureKind, OrFailure},
    refspec::Refspecs,
};

use super::CANNOT_CHANGE;
use crate::{
    mirrors::{
        config::Config,
        settings::{ServesUrl, Settings},
    },
    sync::Engine,
};

/// The value of `serves-url` after a change. A mirror that gets another name is used by that name alone.
pub(super) fn serves_url_after(
    engine: &Engine,
    old: &Settings,
    new: &Settings,
) -> Result<ServesUrl, Failure> {
    let moves = new.url != old.url;
    let is_served = || engine.registry.find(&new.url).or_failure(CANNOT_CHANGE);
    match old.serves_url {
        ServesUrl::Formerly if moves => return Ok(ServesUrl::No),
        // The mirror gets back the name that a clone of its URL gave it.
        ServesUrl::Formerly
            if new.name != old.name
                && new.name == new.url.mirror_name()
                && is_whole(engine, &new.rules.track)?
                && is_served()?.is_none() =>
        {
            return Ok(ServesUrl::Yes);
        }
        ServesUrl::No | ServesUrl::Formerly => return Ok(old.serves_url),
        ServesUrl::Yes if new.name != old.name => return Ok(ServesUrl::Formerly),
        ServesUrl::Yes => {}
    }
    if new.rules.track != old.rules.track && !is_whole(engine, &new.rules.track)? {
        let message = format!(
            "'{}' serves '{}', and a URL means the whole of its upstream",
            old.name, old.url
        );
        return Err(Failure::new(FailureKind::Usage, message).hinted(format!(
            "'mirrord add NAME {} --track …' makes a mirror beside it, and downloads nothing twice",
            old.url
        )));
    }
    Ok(match moves && is_served()?.is_some() {
        true => ServesUrl::Formerly,
        false => ServesUrl::Yes,
    })
}

/// Whether refspecs are those of a mirror that a clone of a URL makes.
fn is_whole(engine: &Engine, track: &Refspecs) -> Result<bool, Failure> {
    let defaults = Config::read(&engine.config)?.defaults;
    Ok(*track == Refspecs::everything() || *track == defaults.track)
}
