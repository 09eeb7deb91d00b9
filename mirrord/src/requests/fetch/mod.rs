//! The daemon's side of a client's fetch: which mirror, with which login, and what to say when upstream says nothing.

mod alike;
mod login;
mod stale;
mod test;
mod unasked;
mod waiting;

use std::sync::Arc;

use common::{
    address::upstream_url::{Address, UpstreamUrl},
    protocol::{
        Cause, Failure, FailureKind, Fetch, Login, Mirror as Wanted, OrFailure, Ready,
        wire::WireError,
    },
};
use tokio::sync::OwnedMutexGuard;

use self::waiting::Waited;
pub(crate) use self::{
    test::{Extent, test},
    unasked::{download, unasked},
};

use crate::{
    mirrors::{
        gate::Reading,
        registry::{Mirror, Target},
        repairs,
        settings::{Auth, ServesUrl},
        spelling::other_spelling,
    },
    process::questions::Passphrase,
    requests::{conversation::Conversation, credential::SuppliedCredential},
    sync::{Create, Download, Engine, Outcome, Wish},
    upstream::Access,
};

/// A URL that redirects to one that redirects is followed by the http layer; between mirrors one step is enough.
const MAX_REDIRECTS: usize = 1;

/// What a mirror is wanted for.
#[derive(Debug, Clone)]
pub(crate) enum Purpose {
    /// To be read: as fresh as its settings say.
    Read,
    /// To be pushed to: what stays in it can be pushed even when upstream cannot be asked.
    Push,
    /// To be in step, whatever its settings say.
    Sync(Wish),
}

/// Where the login in use came from.
enum Source {
    /// Nowhere: there is none.
    Nowhere,
    /// The URL, for this request only.
    Url,
    /// An earlier request from the same place.
    Kept,
    /// The mirror's own.
    Own,
    /// This client, just now; the others of its place wait for how it goes.
    Advertised { _turn: OwnedMutexGuard<()> },
}

/// One request for a mirror, on its way.
pub(crate) struct Request<'c> {
    engine: &'c Arc<Engine>,
    conversation: &'c mut Conversation,
    fetch: Fetch,
    typed: UpstreamUrl,
    target: Target,
    /// What the mirror is told to sign in with.
    auth: Auth,
    /// What it is to be told, where it does not have it yet.
    given: Option<SuppliedCredential>,
    login: Option<Login>,
    source: Source,
    /// A passphrase that is known.
    passphrase: Option<Passphrase>,
    /// Why nobody could be asked for a login, in git's words.
    unanswered: Option<String>,
    /// Whether upstream redirected what was typed.
    redirected: bool,
    /// Whether upstream answered what was typed as it does the mirror's URL, without a redirect.
    alike: bool,
    /// Whether a login that upstream refuses by now has read it before.
    has_read: bool,
    /// Whether it is for a mirror that is to be made beside those that there are.
    makes_new: bool,
}

/// A mirror that may be read.
pub(crate) struct Fetched {
    /// What the client is told of it.
    pub ready: Ready,
    /// The mirror.
    pub mirror: Mirror,
    /// How many of its refs have just changed.
    pub moved: usize,
    /// What has just been downloaded.
    pub download: Download,
    /// With what upstream was asked, or would be.
    pub access: Access,
    /// Whether the login was for this request alone: it stood in the URL.
    pub typed: bool,
    /// Why upstream could not be asked, when it could not.
    pub trouble: Option<Failure>,
    /// Keeps the mirror where it is.
    pub reading: Reading,
}

/// Makes a mirror as fresh as the client wants it.
pub(crate) async fn fetch(
    engine: &Arc<Engine>,
    conversation: &mut Conversation,
    fetch: Fetch,
    purpose: Purpose,
) -> Result<Result<Fetched, Failure>, WireError> {
    let (typed, target) = match resolve(engine, &fetch.mirror) {
        Ok(resolved) => resolved,
        Err(failure) => return Ok(Err(failure)),
    };
    let mut request = match Request::new(engine, conversation, fetch, typed, target) {
        Ok(request) => request,
        Err(failure) => return Ok(Err(failure)),
    };
    // Before anything is waited for: a mirror that somebody wants does not go for being unused.
    engine.usage.note(&request.target.git_dir);
    if matches!(purpose, Purpose::Read) {
        request.compare().await?;
    }
    if let Some(fetched) = request.as_fresh_as_wanted(&purpose).await {
        return Ok(Ok(fetched));
    }
    Box::pin(request.look_for_the_same_elsewhere()).await?;
    let fetched = request.run(&purpose).await?;
    if let Ok(fetched) = &fetched {
        // It may be new, or another one than was thought.
        engine.usage.note(&fetched.mirror.git_dir);
    }
    Ok(fetched)
}

/// Whether a part of it comes straight from upstream: because there is no such mirror yet, and the settings want it so. A
/// mirror of the same upstream that has a name gives its packs to the new one, which is then made as fast.
pub(crate) fn passes_through(engine: &Engine, wanted: &Wanted) -> Result<bool, Failure> {
    let Wanted::Url(url) = wanted else {
        return Ok(false);
    };
    let url = parse(url)?;
    let has = |url: &UpstreamUrl| match engine.registry.of_url(url) {
        Ok(found) => Ok(!found.is_empty()),
        Err(err) => Err(Failure::io("cannot read the mirrors", &err)),
    };
    // Whether that is the same project, upstream is asked first.
    let other = other_spelling(&url);
    let has_other = other.map_or(Ok(false), |other| has(&other))?;
    Ok(!has(&url)? && !has_other && engine.config().pass_through)
}

/// What was typed, and the mirror that is meant by it, or the place of the one that will be made.
fn resolve(engine: &Engine, wanted: &Wanted) -> Result<(UpstreamUrl, Target), Failure> {
    match wanted {
        Wanted::Name(_) => {
            let mirror = existing(engine, wanted)?;
            Ok((mirror.settings.url.clone(), mirror.target()))
        }
        Wanted::Url(url) => {
            let url = parse(url)?;
            let target = target_of(engine, &url)?;
            Ok((url, target))
        }
    }
}

/// The mirror that is meant.
pub(crate) fn existing(engine: &Engine, wanted: &Wanted) -> Result<Mirror, Failure> {
    let context = "cannot read the mirrors";
    let found = match wanted {
        Wanted::Url(url) => engine.registry.find(&parse(url)?).or_failure(context)?,
        Wanted::Name(name) => engine.registry.find_name(name).or_failure(context)?,
    };
    if let (None, Wanted::Name(name)) = (&found, wanted)
        && let Some(found) = engine.registry.find_unreadable(name).or_failure(context)?
    {
        let message = format!(
            "the configuration of '{name}' cannot be read: {}",
            found.reason
        );
        return Err(Failure::here(message).hinted(format!(
            "'mirrord remove --force {name}' removes it, and leaves its branches and tags in a bundle"
        )));
    }
    found.ok_or_else(|| match wanted {
        Wanted::Url(url) => no_mirror_of(engine, url),
        Wanted::Name(name) => Failure::here(format!("no mirror is called '{name}'")).hinted(
            "'mirrord list' shows them; a URL makes a new one: mirror::https://HOST/GROUP/PROJECT.git",
        ),
    })
}

/// No clone of this URL has made a mirror. Those that people have made of it are meant by their names alone.
fn no_mirror_of(engine: &Engine, url: &str) -> Failure {
    let named = parse(url).map(|url| engine.registry.of_url(&url).unwrap_or_default());
    let names = named.unwrap_or_default().into_iter();
    let names: Vec<_> = names
        .map(|mirror| format!("'{}'", mirror.settings.name))
        .collect();
    let failure = Failure::here(format!("there is no mirror of '{url}'"));
    match &names[..] {
        [] => failure.hinted("'mirrord list' shows them"),
        [name] => failure.hinted(format!(
            "{name} is one that was made with a name: say the name"
        )),
        _ => failure.hinted(format!(
            "{} are some that were made with a name: say the name",
            names.join(" and ")
        )),
    }
}

/// A URL, as a client sent it.
pub(crate) fn parse(url: &str) -> Result<UpstreamUrl, Failure> {
    match Address::parse(url) {
        Ok(Address::Url(url, _)) => Ok(url),
        Ok(Address::Name(_)) => Err(Failure::here(format!("'{url}' is not a URL"))),
        Err(err) => Err(Failure::here(err.to_string())),
    }
}

impl<'c> Request<'c> {
    /// A request of a client's, for what was `typed`.
    pub(crate) fn new(
        engine: &'c Arc<Engine>,
        conversation: &'c mut Conversation,
        fetch: Fetch,
        typed: UpstreamUrl,
        target: Target,
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
            given: None,
            login: None,
            source: Source::Nowhere,
            passphrase: None,
            unanswered: None,
            redirected: false,
            alike: false,
            has_read: false,
            makes_new: false,
        };
        request.begin_as_typed();
        Ok(request)
    }

    /// The same request, for a mirror that is made in any case: no other one is meant, wherever upstream redirects to.
    pub(crate) fn make_new(&mut self) {
        self.makes_new = true;
    }

    /// Whether this request may be answered from a mirror: a URL means the one that it has made itself.
    fn means(&self, mirror: &Mirror) -> bool {
        match self.fetch.mirror {
            Wanted::Name(_) => true,
            Wanted::Url(_) => self.makes_new || mirror.settings.serves_url == ServesUrl::Yes,
        }
    }

    /// The same request, for a mirror that will sign in with something of its own.
    pub(crate) fn give(&mut self, given: SuppliedCredential) {
        self.auth = given.auth.clone();
        self.given = Some(given);
        (self.login, self.source, self.passphrase) = (None, Source::Nowhere, None);
        self.begin_with_a_login();
    }

    /// The same request, for a mirror that is to lie elsewhere.
    pub(crate) fn retarget(&mut self, target: Target) {
        // What was meant for one scheme, host and port is not told to another.
        if target.url.origin() != self.target.url.origin() {
            (self.login, self.source) = (None, Source::Nowhere);
        }
        self.has_read &= target == self.target;
        self.target = target;
        if self.given.is_some() {
            return;
        }
        if let Ok(auth) = auth_of(self.engine, &self.target)
            && auth != self.auth
        {
            self.auth = auth;
            (self.login, self.source, self.passphrase) = (None, Source::Nowhere, None);
            self.begin_as_typed();
        }
    }

    /// Sees to it that what is served is what was verified: what somebody else has changed is laid aside, before upstream
    /// is asked for it again.
    async fn compare(&mut self) -> Result<(), WireError> {
        let Ok(Some(mirror)) = self.engine.registry.at(&self.target.git_dir) else {
            return Ok(());
        };
        let comparing = self.engine.upkeep.before_read(&self.engine.gates, &mirror);
        if let Err(err) = self.conversation.wait_quietly(comparing).await? {
            // Whoever hands out packs compares as well, and hands out none.
            let name = &mirror.settings.name;
            tracing::warn!("cannot compare the packs of '{name}': {err}");
        }
        Ok(())
    }

    /// Brings the mirror in step, with one login after the other, until it has come to something.
    pub(crate) async fn run(
        &mut self,
        purpose: &Purpose,
    ) -> Result<Result<Fetched, Failure>, WireError> {
        let mut moves = 0;
        loop {
            let wish = match purpose {
                Purpose::Sync(wish) => wish.clone(),
                Purpose::Read => self.wish(Cause::Fetch),
                Purpose::Push => self.wish(Cause::Push),
            };
            // In a box: what is not needed while it waits is not kept for each of a thousand mirrors that do.
            if let Err(failure) = Box::pin(self.fetch_own()).await? {
                self.engine.could_not_begin(&self.target, &wish, &failure);
                return Box::pin(self.without_upstream(failure, purpose)).await;
            }
            let access = self.access();
            if let Some(failure) = self.left_alone(purpose) {
                return Box::pin(self.without_upstream(failure, purpose)).await;
            }
            if let Some(failure) = Box::pin(self.hanging(purpose)).await? {
                return Box::pin(self.without_upstream(failure, purpose)).await;
            }
            let can_ask = self.fetch.can_ask;
            let pending = self
                .engine
                .sync(&self.target, access.clone(), wish, can_ask);
            let ended = match self.wait(pending, purpose).await? {
                Waited::Ended(ended) => *ended,
                Waited::OutOfPatience(failure) => {
                    return Box::pin(self.without_upstream(failure, purpose)).await;
                }
            };
            match ended {
                Ok(Outcome::InStep {
                    mirror,
                    mut warnings,
                    moved,
                    changed,
                    signed_in_by_git,
                    download,
                    ..
                }) => {
                    if matches!(purpose, Purpose::Read) {
                        warnings.extend(stale::over(&mirror));
                        warnings.extend(repairs::take(&mirror.git_dir));
                    }
                    // From here on nobody moves it. Who only wants it in step is content with what it was.
                    let gone = matches!(purpose, Purpose::Sync(_)).then(|| (*mirror).clone());
                    let ready = Box::pin(self.ready(*mirror, warnings, None, gone)).await;
                    let Some(mut fetched) = ready else {
                        continue;
                    };
                    self.worked(&fetched.mirror, &access, changed, signed_in_by_git)
                        .await?;
                    self.remember_spelling(&fetched.mirror);
                    (fetched.moved, fetched.download) = (moved, download);
                    return Ok(Ok(fetched));
                }
                // Somebody has moved or removed it since we looked.
                Ok(Outcome::Gone) if moves < MAX_REDIRECTS => {
                    moves += 1;
                    let target =
                        resolve(self.engine, &self.fetch.mirror).and_then(|(_, target)| {
                            require_allowed(&self.fetch, &target).map(|()| target)
                        });
                    match target {
                        Ok(target) => self.retarget(target),
                        Err(failure) => return Ok(Err(failure)),
                    }
                }
                Ok(Outcome::Moved(to)) if moves < MAX_REDIRECTS => {
                    moves += 1;
                    match target_of(self.engine, &to) {
                        Ok(target) => {
                            self.redirected = true;
                            self.retarget(target);
                        }
                        Err(failure) => return Ok(Err(failure)),
                    }
                }
                Ok(outcome) => return Ok(Err(self.nowhere(&outcome))),
                Err(trouble) => {
                    if trouble.failure.kind == FailureKind::Wiped {
                        self.has_read_just_now(&access).await?;
                    }
                    if self.try_another_login(&trouble).await? {
                        continue;
                    }
                    let failure = self.explained(trouble);
                    return Box::pin(self.without_upstream(failure, purpose)).await;
                }
            }
        }
    }

    /// The passphrase with which it signs in: the one that was given, or the one that was typed where that was wrong.
    pub(crate) fn passphrase(&self) -> Option<&Passphrase> {
        self.passphrase.as_ref()
    }

    fn access(&self) -> Access {
        let login = self.login.clone();
        Access {
            passphrase: self.passphrase.clone(),
            ..Access::new(&self.target.url, &self.auth, login, &self.fetch.standing)
        }
    }

    /// A mirror is made of a URL, and never of a name.
    fn wish(&self, cause: Cause) -> Wish {
        let create = match self.fetch.mirror {
            Wanted::Url(_) => Create::Auto,
            Wanted::Name(_) => Create::No,
        };
        Wish {
            create,
            ..Wish::new(cause)
        }
    }

    /// Why a request has come to nothing.
    fn nowhere(&self, outcome: &Outcome) -> Failure {
        match outcome {
            Outcome::Moved(to) => Failure::new(
                FailureKind::Refused,
                format!("'{}' redirects again and again", self.typed),
            )
            .hinted(format!("it was last sent to '{to}'")),
            _ => Failure::here("the mirror has just been removed, or moved"),
        }
    }

    fn host(&self) -> String {
        let url = &self.target.url;
        url.host().unwrap_or(url.path()).to_owned()
    }
}

/// Fails where git's own rules forbid the transport of an upstream.
fn require_allowed(fetch: &Fetch, target: &Target) -> Result<(), Failure> {
    let transport = target.url.scheme().to_string();
    if fetch.transports.contains(&transport) {
        return Ok(());
    }
    Err(Failure::here(format!(
        "transport '{transport}' not allowed"
    )))
}

/// What the mirror in a place is told to sign in with; where there is none yet, what git would.
fn auth_of(engine: &Engine, target: &Target) -> Result<Auth, Failure> {
    let found = engine
        .registry
        .at(&target.git_dir)
        .or_failure("cannot read the mirrors")?;
    Ok(found.map_or_else(Auth::default, |mirror| mirror.settings.auth))
}

/// The mirror that serves a URL, or the place of the one that will.
fn target_of(engine: &Engine, url: &UpstreamUrl) -> Result<Target, Failure> {
    let found = engine
        .registry
        .find(url)
        .or_failure("cannot read the mirrors")?;
    found.map_or_else(|| new_target(engine, url), |mirror| Ok(mirror.target()))
}

/// A place for one more mirror of a URL.
pub(crate) fn new_target(engine: &Engine, url: &UpstreamUrl) -> Result<Target, Failure> {
    let git_dir = engine
        .registry
        .free_place(url)
        .or_failure("cannot read the mirrors")?;
    let url = url.clone();
    Ok(Target { url, git_dir })
}
