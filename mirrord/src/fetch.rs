//! The daemon's side of a client's fetch: which mirror, with which login, and what to say when upstream says nothing.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use common::{
    protocol::{
        Aged, Answer, Ask, Failure, FailureKind, Fetch, Login, Mirror as Wanted, Ready, Reply,
        Stale,
    },
    upstream_url::{Address, Scheme, UpstreamUrl},
    wire::WireError,
};
use tokio::sync::OwnedMutexGuard;

use crate::{
    credentials::Place,
    registry::Mirror,
    server::Conversation,
    sync::{Engine, Outcome},
    upstream::{Access, Trouble, cancelled},
};

/// A URL that redirects to one that redirects is followed by the http layer; between mirrors one step is enough.
const MOST_MOVES: usize = 1;

/// Whoever is asked first may have gone to lunch: after this time the next one of the same place is asked too.
const TURN: Duration = Duration::from_secs(10);

/// Where the login in use came from.
enum Source {
    /// Nowhere: there is none.
    Nowhere,
    /// The URL, for this request only.
    Url,
    /// An earlier request from the same place.
    Kept,
    /// This client, just now; the others of its place wait for how it goes.
    Asked { _turn: Option<OwnedMutexGuard<()>> },
}

struct Request<'c> {
    engine: &'c Arc<Engine>,
    conversation: &'c mut Conversation,
    fetch: Fetch,
    url: UpstreamUrl,
    login: Option<Login>,
    source: Source,
}

/// A mirror that may be read.
pub(crate) struct Fetched {
    /// What the client is told of it.
    pub ready: Ready,
    /// The mirror.
    pub mirror: Mirror,
    /// The login that upstream took.
    pub login: Option<Login>,
    /// Whether that login stood in the URL.
    pub typed: bool,
}

/// Makes a mirror as fresh as the client wants it.
///
/// # Errors
/// Fails when the client has gone.
pub(crate) async fn fetch(
    engine: &Arc<Engine>,
    conversation: &mut Conversation,
    fetch: Fetch,
) -> Result<Result<Fetched, Failure>, WireError> {
    let (typed, url) = match find(engine, &fetch.mirror) {
        Ok(found) => found,
        Err(failure) => return Ok(Err(failure)),
    };
    let transport = url.scheme().to_string();
    if !fetch.transports.contains(&transport) {
        let failure = Failure::here(format!("transport '{transport}' not allowed"));
        return Ok(Err(failure));
    }
    // A login in a URL is for where the URL points, not for where its upstream once redirected to.
    let login = fetch
        .login
        .clone()
        .filter(|_| typed.origin() == url.origin());
    let source = if login.is_some() {
        Source::Url
    } else {
        Source::Nowhere
    };
    let mut request = Request {
        engine,
        conversation,
        fetch,
        url,
        login,
        source,
    };
    request.run().await
}

/// The URL that was typed, and the one that the mirror of it has: upstream may once have redirected the one to the other.
fn find(engine: &Engine, wanted: &Wanted) -> Result<(UpstreamUrl, UpstreamUrl), Failure> {
    let cannot = |err: std::io::Error| Failure::io("cannot read the mirrors", &err);
    match wanted {
        Wanted::Url(url) => match Address::parse(url) {
            Ok(Address::Url(url, _)) => match engine.registry.find(&url).map_err(cannot)? {
                Some(mirror) => Ok((url, mirror.settings.url)),
                None => Ok((url.clone(), url)),
            },
            Ok(Address::Name(_)) => Err(Failure::here(format!("'{url}' is not a URL"))),
            Err(err) => Err(Failure::here(err.to_string())),
        },
        Wanted::Name(name) => match engine.registry.find_name(name).map_err(cannot)? {
            Some(mirror) => Ok((mirror.settings.url.clone(), mirror.settings.url)),
            None => Err(Failure::here(format!("no mirror is called '{name}'")).hinted(
                "'mirrord list' shows them; a URL makes a new one: mirror::https://HOST/GROUP/PROJECT.git",
            )),
        },
    }
}

/// Whether two URLs are one project spelt in two ways, for good: with and without `.git`, over http and https. Any other
/// redirect is upstream's word of today; tomorrow another project may have the old address.
fn is_spelling(typed: &UpstreamUrl, real: &UpstreamUrl) -> bool {
    let stem = |url: &UpstreamUrl| url.path().trim_end_matches(".git").to_owned();
    typed != real && typed.host() == real.host() && stem(typed) == stem(real)
}

impl Request<'_> {
    async fn run(&mut self) -> Result<Result<Fetched, Failure>, WireError> {
        let typed = self.url.clone();
        let mut moves = 0;
        self.begin_with_a_login();
        loop {
            let access = Access::new(&self.url, self.login.clone(), &self.fetch.standing);
            let mut pending = self.engine.sync(&self.url, access.clone());
            let host = self.host();
            let outcome = self
                .conversation
                .wait(&host, &mut pending.progress, pending.outcome)
                .await?;
            let outcome = outcome.unwrap_or_else(|_| Err(cancelled().into()));
            match outcome {
                Ok(Outcome::InStep {
                    mirror,
                    warnings,
                    changed,
                    signed_in_by_git,
                    ..
                }) => {
                    self.worked(&mirror, &access, changed, signed_in_by_git)
                        .await?;
                    if is_spelling(&typed, &self.url)
                        && let Err(err) = self.engine.registry.alias(&typed, &self.url)
                    {
                        tracing::warn!("cannot remember that '{typed}' is '{}': {err}", self.url);
                    }
                    return Ok(Ok(self.ready(*mirror, warnings, None)));
                }
                Ok(Outcome::Moved(to)) if moves < MOST_MOVES => {
                    moves += 1;
                    // What was meant for one scheme, host and port is not told to another.
                    if to.origin() != self.url.origin() {
                        (self.login, self.source) = (None, Source::Nowhere);
                    }
                    self.url = to;
                }
                Ok(Outcome::Moved(to)) => {
                    let failure = Failure::new(
                        FailureKind::Refused,
                        format!("'{typed}' redirects again and again"),
                    );
                    return Ok(Err(failure.hinted(format!("it was last sent to '{to}'"))));
                }
                Err(trouble) => {
                    if self.try_another_login(&trouble).await? {
                        continue;
                    }
                    return self.without_upstream(trouble.failure).await;
                }
            }
        }
    }

    /// Upstream answered to this login: keep it, and note who may read what is here.
    async fn worked(
        &mut self,
        mirror: &Mirror,
        access: &Access,
        changed: bool,
        signed_in_by_git: bool,
    ) -> Result<(), WireError> {
        if let (Some(login), Source::Asked { .. }) = (&self.login, &self.source) {
            self.engine.credentials.keep(&self.place(), login);
            self.conversation.say(&Reply::LoginAccepted).await?;
        }
        self.source = Source::Nowhere;
        let (engine, git_dir, access) =
            (self.engine.clone(), mirror.git_dir.clone(), access.clone());
        // Slow by design, but only once in this daemon's life for each login and mirror.
        let noting = tokio::task::spawn_blocking(move || {
            // Of what a login has brought nobody knows whether anybody may read it.
            if signed_in_by_git || (changed && !access.is_anonymous()) {
                engine.credentials.note_private(&git_dir)?;
            }
            if signed_in_by_git {
                // A ticket that we have not seen proves nothing that we could recognise later.
                return Ok(());
            }
            engine.credentials.note_read(&git_dir, &access.identity())
        });
        if let Ok(Err(err)) = noting.await {
            tracing::warn!(
                "cannot note who has read '{}': {err}",
                mirror.git_dir.display()
            );
        }
        Ok(())
    }

    /// A login that is kept is sent at once. Otherwise it begins as git does, with none: nobody is asked for what
    /// anybody may read.
    fn begin_with_a_login(&mut self) {
        if self.login.is_none()
            && self.may_ask()
            && let Some(login) = self.engine.credentials.kept(&self.place())
        {
            (self.login, self.source) = (Some(login), Source::Kept);
        }
    }

    /// Whether a login could make a difference: not for a path, nor where ssh, a header, a certificate or a ticket signs
    /// in.
    fn may_ask(&self) -> bool {
        matches!(self.url.scheme(), Scheme::Http | Scheme::Https)
            && Access::new(&self.url, None, &self.fetch.standing).is_anonymous()
    }

    /// After a refusal: whether there is another login to try.
    async fn try_another_login(&mut self, trouble: &Trouble) -> Result<bool, WireError> {
        let wants = trouble.failure.kind == FailureKind::LoginNeeded;
        if !(wants || trouble.login_refused) {
            return Ok(false);
        }
        self.note_private().await;
        match std::mem::replace(&mut self.source, Source::Nowhere) {
            Source::Nowhere if wants && self.login.is_none() => {
                self.ask(trouble.challenges.clone()).await
            }
            Source::Kept => {
                let refused = self.login.take();
                self.engine.credentials.forget(&self.place());
                if !self.ask(trouble.challenges.clone()).await? {
                    return Ok(false);
                }
                // The helpers may know a newer one; the same again would only count against us.
                if self.login == refused {
                    self.conversation.say(&Reply::LoginRefused).await?;
                    return Ok(false);
                }
                Ok(true)
            }
            Source::Asked { .. } => {
                self.conversation.say(&Reply::LoginRefused).await?;
                Ok(false)
            }
            Source::Nowhere | Source::Url => Ok(false),
        }
    }

    /// Upstream turned somebody away: what anybody could read, it may no longer be that anybody can.
    async fn note_private(&self) {
        let Ok(Some(mirror)) = self.engine.registry.find(&self.url) else {
            return;
        };
        let engine = self.engine.clone();
        let noting = move || engine.credentials.note_private(&mirror.git_dir);
        if let Ok(Err(err)) = tokio::task::spawn_blocking(noting).await {
            tracing::warn!("cannot note that '{}' is private: {err}", self.url);
        }
    }

    /// Asks this client for a login, unless somebody in the same place has just found one. Says whether there is one.
    async fn ask(&mut self, challenges: Vec<String>) -> Result<bool, WireError> {
        let place = self.place();
        let question = self.engine.credentials.question(&place);
        let mut progress = self.engine.listen(&self.url);
        let turn = tokio::time::timeout(TURN, question.lock_owned());
        let turn = self
            .conversation
            .wait(&self.host(), &mut progress, turn)
            .await?;
        if let Some(login) = self.engine.credentials.kept(&place) {
            (self.login, self.source) = (Some(login), Source::Kept);
            return Ok(true);
        }
        let question = Ask::Login {
            url: self.url.to_string(),
            username: self.fetch.username.clone(),
            challenges,
        };
        match self.conversation.ask(question).await? {
            Answer::Login(login) => {
                (self.login, self.source) = (Some(login), Source::Asked { _turn: turn.ok() });
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// What is said when upstream could not be asked: the copy that is here with its age, or the failure.
    async fn without_upstream(
        &mut self,
        failure: Failure,
    ) -> Result<Result<Fetched, Failure>, WireError> {
        let Ok(Some(mirror)) = self.engine.registry.find(&self.url) else {
            return Ok(Err(failure));
        };
        let refused = matches!(
            failure.kind,
            FailureKind::Refused | FailureKind::LoginNeeded
        );
        let serve = match self.fetch.stale {
            Some(Stale::Serve) => true,
            Some(Stale::Fail) => false,
            None => !refused,
        };
        if !serve || failure.kind == FailureKind::Cancelled {
            return Ok(Err(failure));
        }
        let mut known = self.has_read(&mirror).await;
        // Upstream had no chance to ask for a login; one that has read it before is as good today.
        if !known && self.login.is_none() && self.may_ask() && self.ask(Vec::new()).await? {
            known = self.has_read(&mirror).await;
        }
        if !known {
            let hint = "there is a copy here, but this login has never read it from upstream";
            return Ok(Err(failure.hinted(hint)));
        }
        let synced = self.engine.state(&mirror).synced;
        // A clock that was set back makes an answer of now, not of the future.
        let age = synced.map(|synced| SystemTime::now().duration_since(synced).unwrap_or_default());
        let aged = Aged {
            seconds: age.map(|age| age.as_secs()),
            reason: failure.message,
        };
        Ok(Ok(self.ready(mirror, Vec::new(), Some(aged))))
    }

    /// Whether what this request signs in with has read the upstream of a mirror before.
    async fn has_read(&self, mirror: &Mirror) -> bool {
        let access = Access::new(&self.url, self.login.clone(), &self.fetch.standing);
        let (engine, git_dir) = (self.engine.clone(), mirror.git_dir.clone());
        let reading = move || engine.credentials.has_read(&git_dir, &access.identity());
        tokio::task::spawn_blocking(reading).await.unwrap_or(false)
    }

    fn ready(&self, mirror: Mirror, warnings: Vec<String>, stale: Option<Aged>) -> Fetched {
        let ready = Ready {
            git_dir: mirror.git_dir.clone(),
            url: mirror.settings.url.to_string(),
            stale,
            warnings,
        };
        Fetched {
            ready,
            mirror,
            login: self.login.clone(),
            typed: self.login.is_some() && self.login == self.fetch.login,
        }
    }

    fn place(&self) -> Place {
        Place {
            url: self.url.clone(),
            username: self.fetch.username.clone(),
            standing: self.fetch.standing.place,
        }
    }

    fn host(&self) -> String {
        self.url.host().unwrap_or(self.url.path()).to_owned()
    }
}
