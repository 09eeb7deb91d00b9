//! What a push signs in with at upstream, and what is recorded of how upstream has taken it.

use std::{io, sync::Arc};

use common::{
    address::{proxy::ProxyUrl, upstream_url::UpstreamUrl},
    protocol::{Failure, OneTimeId, OrFailure, ProxySignIn, SignIn},
};
use tokio::sync::broadcast;

use crate::{
    mirrors::settings::Auth,
    process::{questions, watch::Watch},
    sync::Engine,
    upstream::Access,
};

/// What a push signs in with at upstream.
pub(super) struct PushLogin {
    /// As the client is told.
    pub sign_in: SignIn,
    /// Answers what the push's ssh asks, for as long as the push is open.
    pub questions: Option<questions::Open>,
}

impl PushLogin {
    /// Signs in with nothing.
    pub(super) fn anonymous() -> Self {
        Self::without_questions(SignIn::Anonymous)
    }

    fn without_questions(sign_in: SignIn) -> Self {
        Self {
            sign_in,
            questions: None,
        }
    }
}

/// The id under which a login waits for a push.
pub(super) fn login_id(sign_in: &SignIn) -> Option<&OneTimeId> {
    match sign_in {
        SignIn::LoginFirst(id) | SignIn::LoginAlone(id) => Some(id),
        SignIn::AsGit | SignIn::Anonymous | SignIn::Ssh { .. } => None,
    }
}

/// Chooses what the push signs in with: what upstream has just been read with, or would have been.
///
/// # Errors
/// Fails where that login has been refused too often, and no other may be used.
pub(super) fn push_login(
    engine: &Engine,
    url: &UpstreamUrl,
    access: &Access,
    is_login_of_url: bool,
    push: &str,
) -> Result<PushLogin, Failure> {
    let upstreams = &engine.upstreams;
    if access.ssh.is_some() {
        let watch = Watch::new("ssh", broadcast::channel(1).0, Vec::new());
        let for_push = upstreams.ssh.for_push(url, access, push, &watch);
        let (sign_in, questions) = for_push.map_err(|trouble| *trouble.failure)?;
        return Ok(PushLogin { sign_in, questions });
    }
    let is_for_it = access
        .login_at
        .as_ref()
        .is_none_or(|at| *at == url.origin());
    let Some(login) = access.login.as_ref().filter(|_| is_for_it) else {
        return Ok(match access.auth {
            Auth::AsGit => PushLogin::without_questions(SignIn::AsGit),
            // The mirror's own login could not be read, or is refused.
            _ => PushLogin::anonymous(),
        });
    };
    let is_own = access.has_own_login();
    match upstreams.trials.may_push(url, login, is_own) {
        Err(failure) if is_login_of_url || is_own => return Err(failure),
        // The user's git may know another login by now.
        Err(_) => return Ok(PushLogin::without_questions(SignIn::AsGit)),
        Ok(()) => {}
    }
    let id = upstreams
        .logins
        .offer(&url.origin(), login, is_own, Some(push))
        .or_failure("cannot prepare the push")?;
    let is_only_login = is_login_of_url || access.auth != Auth::AsGit;
    Ok(PushLogin::without_questions(match is_only_login {
        true => SignIn::LoginAlone(id),
        false => SignIn::LoginFirst(id),
    }))
}

/// Offers the push the login of the proxy, if that was asked for: nobody is to be asked for it twice.
pub(super) fn proxy_sign_in(
    engine: &Engine,
    access: &Access,
    push: &str,
) -> io::Result<Option<ProxySignIn>> {
    let http = &access.http;
    let url = http.proxy_url().unwrap_or_default();
    let (Some(url), Some(login)) = (ProxyUrl::parse(&url), &http.proxy_login) else {
        return Ok(None);
    };
    let url = url.without_login();
    let logins = &engine.upstreams.logins;
    let login = logins.offer(&url, login, false, Some(push))?;
    Ok(Some(ProxySignIn { url, login }))
}

/// Records whether upstream has taken the login that a push had from the daemon: a refusal counts as one of a sync does.
pub(crate) async fn record_login_tried(engine: &Arc<Engine>, id: &OneTimeId, accepted: bool) {
    let logins = &engine.upstreams.logins;
    let Some(redeemed) = logins.redeemed_by_push(id) else {
        return;
    };
    if !accepted {
        // What git reports next is about another login.
        logins.withdraw(id);
    }
    let engine = engine.clone();
    // The hash of a login is slow by design.
    let recording = move || {
        let trials = &engine.upstreams.trials;
        match accepted {
            true => trials.record_push_accepted(&redeemed.origin, &redeemed.login),
            false => trials.record_push_refused(&redeemed.origin, &redeemed.login, redeemed.is_own),
        }
    };
    if let Err(panic) = tokio::task::spawn_blocking(recording).await {
        tracing::error!("recording how a login was taken broke: {panic}");
    }
}
