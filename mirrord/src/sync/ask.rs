//! Asks upstream what it has.

use common::{address::upstream_url::UpstreamUrl, refspec};

use super::{Engine, run::Memory};
use crate::{
    process::watch::Watch,
    upstream::{Access, Advertised, Session, Trouble},
};

/// Asks upstream what it has, with a login that it has not refused too often.
pub(super) fn ask(
    engine: &Engine,
    url: &UpstreamUrl,
    access: &Access,
    track: &refspec::Refspecs,
    watch: &Watch,
    memory: &mut Memory,
) -> Result<(Session, Advertised), Trouble> {
    let attempt = engine.upstreams.trials.begin(url, access, watch)?;
    let asked = ask_whoever(engine, url, access, track, watch, memory);
    // A redirect says nothing of the login.
    let moved = matches!(&asked, Ok((session, _)) if session.moved_to().is_some());
    if !moved {
        attempt.ended(asked.as_ref().err());
    }
    asked
}

/// Asks upstream what it has: on the conversation that is open, or on a new one when that has gone stale.
fn ask_whoever(
    engine: &Engine,
    url: &UpstreamUrl,
    access: &Access,
    track: &refspec::Refspecs,
    watch: &Watch,
    memory: &mut Memory,
) -> Result<(Session, Advertised), Trouble> {
    let kept = memory
        .sessions
        .iter()
        .position(|session| session.is_for(url, access));
    if let Some(mut session) = kept.map(|at| memory.sessions.remove(at)) {
        match session.list_refs(track, watch) {
            Ok(asked) => return Ok((session, asked)),
            // Another conversation would only have it refused once more.
            Err(trouble)
                if !trouble.retry_on_new_session
                    || trouble.login_refused
                    || watch.is_cancelled() =>
            {
                return Err(trouble);
            }
            Err(_) => {}
        }
    }
    let mut session = Session::open(url, access, &engine.upstreams, watch)?;
    let asked = session.list_refs(track, watch)?;
    Ok((session, asked))
}
