//! One request for a mirror while it is carried out: which mirror is meant, and what it signs in with.

use std::sync::Arc;

use common::{
    address::upstream_url::UpstreamUrl,
    protocol::{
        Cause, Failure, FailureKind, Fetch, Login, Mirror as Wanted, OrFailure, wire::WireError,
    },
    refspec::OnDemand,
};
use tokio::sync::OwnedMutexGuard;

use super::Purpose;
use crate::{
    mirrors::{
        registry::{Mirror, Target},
        settings::{Auth, ServesUrl},
    },
    process::questions::Passphrase,
    requests::{
        conversation::Conversation,
        credential::SuppliedCredential,
        resolve::{Resolved, resolve, target_of_url},
    },
    sync::{Create, Engine, Outcome, SyncOptions},
    upstream::Access,
};

/// Where the login in use comes from.
pub(super) enum LoginSource {
    /// There is no login.
    None,
    /// The URL, for this request only.
    Url,
    /// An earlier request with the same [`CredentialKey`](crate::credentials::CredentialKey).
    Kept,
    /// The mirror's own credential.
    Own,
    /// The client of this request, just now.
    Client(AskedLogin),
}

/// What is known of a login that the client was asked for.
pub(super) struct AskedLogin {
    /// Whether it is one step of several.
    pub(super) continues: bool,
    /// Whether it is for this request alone.
    pub(super) ephemeral: bool,
    /// When it expires, in seconds since 1970.
    pub(super) expires: Option<u64>,
    /// Other clients with the same key wait until it is known whether the login is taken.
    pub(super) _turn: OwnedMutexGuard<()>,
}

/// One request for a mirror.
pub(crate) struct MirrorRequest<'c> {
    pub(super) engine: &'c Arc<Engine>,
    pub(super) conversation: &'c mut Conversation,
    pub(super) fetch: Fetch,
    /// The URL that was typed.
    pub(super) typed: UpstreamUrl,
    pub(super) target: Target,
    /// What the mirror signs in with.
    pub(super) auth: Auth,
    /// The credential that came with the command, for a mirror that does not have it yet.
    pub(super) supplied: Option<SuppliedCredential>,
    pub(super) login: Option<Login>,
    pub(super) source: LoginSource,
    /// The URL that the login is for, where upstream redirects to it.
    pub(super) asked_at: Option<UpstreamUrl>,
    /// The steps of a sign-in by steps that were taken after the first.
    pub(super) steps: u8,
    /// The login of the proxy, where its URL has a user name and no password.
    pub(super) proxy_login: Option<Login>,
    pub(super) proxy_source: LoginSource,
    /// The passphrase of the mirror's key, once it is known.
    pub(super) passphrase: Option<Passphrase>,
    /// Why no login could be asked for, in git's words.
    pub(super) ask_failure: Option<String>,
    /// Whether upstream redirected the typed URL.
    pub(super) was_redirected: bool,
    /// Whether the target is the mirror of another spelling of the typed URL, without a redirect from upstream.
    pub(super) is_other_spelling: bool,
    /// Whether a login that upstream refuses by now has read the mirror before.
    pub(super) has_read: bool,
    /// Whether a new mirror is made beside those that are there.
    pub(super) makes_new: bool,
}

impl<'c> MirrorRequest<'c> {
    /// Makes a request for the mirror that a client means.
    ///
    /// # Errors
    /// Fails where git's rules forbid the transport, and where the mirrors cannot be read.
    pub(crate) fn new(
        engine: &'c Arc<Engine>,
        conversation: &'c mut Conversation,
        fetch: Fetch,
        Resolved { typed, target }: Resolved,
    ) -> Result<Self, Failure> {
        require_allowed(&fetch, &target)?;
        let auth = auth_of(engine, &target)?;
        let mut request = Self {
            engine,
            conversation,
            fetch,
            typed,
            target,
            auth,
            supplied: None,
            login: None,
            source: LoginSource::None,
            asked_at: None,
            steps: 0,
            proxy_login: None,
            proxy_source: LoginSource::None,
            passphrase: None,
            ask_failure: None,
            was_redirected: false,
            is_other_spelling: false,
            has_read: false,
            makes_new: false,
        };
        request.use_typed_login();
        Ok(request)
    }

    /// Makes a new mirror in any case: no existing mirror is meant, wherever upstream redirects to.
    pub(crate) fn make_new(&mut self) {
        self.makes_new = true;
    }

    /// Signs in with a credential that came with the command, and that the mirror will have.
    pub(crate) fn use_credential(&mut self, supplied: SuppliedCredential) {
        self.auth = supplied.auth.clone();
        self.supplied = Some(supplied);
        self.forget_login();
        self.passphrase = None;
        self.use_kept_login();
    }

    /// Points this request at another mirror, or at another directory for the new one.
    pub(crate) fn retarget(&mut self, target: Target) {
        // A login for one scheme, host and port is not sent to another.
        if target.url.origin() != self.target.url.origin() {
            self.forget_login();
        }
        self.has_read &= target == self.target;
        self.asked_at = None;
        self.target = target;
        if self.supplied.is_some() {
            return;
        }
        if let Ok(auth) = auth_of(self.engine, &self.target)
            && auth != self.auth
        {
            self.auth = auth;
            self.forget_login();
            self.passphrase = None;
            self.use_typed_login();
        }
    }

    /// Resolves the client's name or URL again.
    pub(super) fn resolve_again(&mut self) -> Result<(), Failure> {
        let Resolved { target, .. } = resolve(self.engine, &self.fetch.mirror)?;
        require_allowed(&self.fetch, &target)?;
        self.retarget(target);
        Ok(())
    }

    /// Points this request at the mirror of the URL to which upstream has redirected.
    pub(super) fn follow_redirect(&mut self, url: &UpstreamUrl) -> Result<(), Failure> {
        let target = target_of_url(self.engine, url)?;
        self.was_redirected = true;
        self.retarget(target);
        Ok(())
    }

    /// Compares the mirror's packs with what was verified. A pack that somebody else has changed is laid aside before
    /// upstream is asked, and fetched again.
    pub(super) async fn compare_packs(&mut self) -> Result<(), WireError> {
        let Ok(Some(mirror)) = self.engine.registry.mirror_at(&self.target.git_dir) else {
            return Ok(());
        };
        let comparing = self.engine.upkeep.before_read(&self.engine.gates, &mirror);
        if let Err(err) = self.conversation.wait_quietly(comparing).await? {
            // The helper compares as well before it links a pack, and links none that differs.
            let name = &mirror.settings.name;
            tracing::warn!("cannot compare the packs of '{name}': {err}");
        }
        Ok(())
    }

    /// Whether this request may be answered from a mirror: a URL means the mirror that a clone of it has made.
    pub(super) fn means(&self, mirror: &Mirror) -> bool {
        match self.fetch.mirror {
            Wanted::Name(_) => true,
            Wanted::Url(_) => self.makes_new || mirror.settings.serves_url == ServesUrl::Yes,
        }
    }

    /// The key's passphrase: the supplied one or, if that was wrong, the one typed instead.
    pub(crate) fn passphrase(&self) -> Option<&Passphrase> {
        self.passphrase.as_ref()
    }

    /// The URL of the upstream that is meant.
    pub(crate) fn url(&self) -> &UpstreamUrl {
        &self.target.url
    }

    pub(super) fn forget_login(&mut self) {
        (self.login, self.source) = (None, LoginSource::None);
    }

    pub(super) fn access(&self) -> Access {
        let login = self.login.clone();
        let mut access = Access {
            passphrase: self.passphrase.clone(),
            is_step: matches!(&self.source, LoginSource::Client(asked) if asked.continues),
            ..Access::new(&self.target.url, &self.auth, login, &self.fetch.context)
        };
        access.login_at = self.asked_at.as_ref().map(UpstreamUrl::origin);
        access.http.redirect_transports = self.fetch.redirect_transports.clone();
        if let Some(login) = &self.proxy_login {
            access.http.sign_in_to_proxy(login);
        }
        access
    }

    /// What the sync for a purpose is to do.
    pub(super) fn sync_options(&self, purpose: &Purpose) -> SyncOptions {
        let cause = match purpose {
            Purpose::Sync(options) => return options.clone(),
            Purpose::Read => Cause::Fetch,
            Purpose::Push => Cause::Push,
        };
        // A URL makes a mirror, a name never does.
        let create = match self.fetch.mirror {
            Wanted::Url(_) => Create::Auto,
            Wanted::Name(_) => Create::No,
        };
        SyncOptions {
            create,
            on_demand: self.on_demand(),
            ..SyncOptions::new(cause)
        }
    }

    /// What the client wants beside what is tracked.
    pub(super) fn on_demand(&self) -> OnDemand {
        OnDemand::parse(self.fetch.on_demand.iter().map(String::as_str))
    }

    /// The failure of a request whose mirror is not where it was resolved to.
    pub(super) fn not_found(&self, outcome: &Outcome) -> Failure {
        match outcome {
            Outcome::Moved(to) => Failure::new(
                FailureKind::Refused,
                format!("'{}' redirects again and again", self.typed),
            )
            .hinted(format!("it was last sent to '{to}'")),
            _ => Failure::here("the mirror has just been removed, or moved"),
        }
    }

    pub(super) fn host(&self) -> String {
        let url = &self.target.url;
        url.host().unwrap_or(url.path()).to_owned()
    }
}

/// Fails where git's own rules (`protocol.<name>.allow`, `GIT_ALLOW_PROTOCOL`) forbid the transport of an upstream.
fn require_allowed(fetch: &Fetch, target: &Target) -> Result<(), Failure> {
    let transport = target.url.scheme().to_string();
    if fetch.transports.contains(&transport) {
        return Ok(());
    }
    Err(Failure::here(format!(
        "transport '{transport}' not allowed"
    )))
}

/// What the mirror of a target signs in with; for a new mirror, what git would.
fn auth_of(engine: &Engine, target: &Target) -> Result<Auth, Failure> {
    let found = engine
        .registry
        .mirror_at(&target.git_dir)
        .or_failure("cannot read the mirrors")?;
    Ok(found.map_or_else(Auth::default, |mirror| mirror.settings.auth))
}
