//! Tries out an upstream: for who asks for that, before a mirror is made of it, and where two addresses may be those of
//! one project.

use crate::{
    mirrors::{
        config::Config,
        registry::Target,
        settings::{Auth, Settings},
    },
    process::watch::cancelled,
    requests::{conversation::Conversation, credential::SuppliedCredential, edit},
    sync::{Engine, Outcome, Pending},
    upstream::{Advertised, Probe, Reading, Unread},
};
use std::sync::Arc;

use common::{
    address::upstream_url::UpstreamUrl,
    protocol::{
        Check, Failure, FailureKind, OrFailure, Reply, Step, Test, Verdict, wire::WireError,
    },
    refspec::Refspecs,
};
use tokio::sync::mpsc;

use super::{MAX_REDIRECTS, Request, new_target, resolve, target_of};

/// How much of a test is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The question what upstream has, and nobody is told.
    Answer,
    /// What a mirror needs.
    Needed,
    /// All that its owner should know.
    Full,
}

/// An upstream that no mirror can be made of.
pub(crate) struct Unfit {
    /// Why.
    pub failure: Failure,
    /// Whether a step has said so.
    told: bool,
}

impl Unfit {
    fn untold(failure: Failure) -> Self {
        Self {
            failure,
            told: false,
        }
    }
}

/// Tests an upstream for a client.
pub(crate) async fn test(
    engine: &Arc<Engine>,
    conversation: &mut Conversation,
    test: Test,
) -> Result<(), WireError> {
    let reply = match carry_out(engine, conversation, test).await? {
        Ok(reply) => reply,
        Err(failure) => Reply::Failed(failure),
    };
    conversation.say(&reply).await
}

async fn carry_out(
    engine: &Arc<Engine>,
    conversation: &mut Conversation,
    test: Test,
) -> Result<Result<Reply, Failure>, WireError> {
    let Test {
        fetch,
        settings,
        credential,
    } = test;
    let meant = resolve(engine, &fetch.mirror).and_then(|(typed, target)| {
        let settings = wanted(engine, &typed, &target, &settings)?;
        Ok((typed, target, settings.rules.track))
    });
    let (typed, target, track) = match meant {
        Ok(meant) => meant,
        Err(failure) => return Ok(Err(failure)),
    };
    let mut request = match Request::new(engine, conversation, fetch, typed, target) {
        Ok(request) => request,
        Err(failure) => return Ok(Err(failure)),
    };
    if let Some(credential) = credential {
        match SuppliedCredential::new(credential, &request.target.url) {
            Ok(given) => request.give(given),
            Err(failure) => return Ok(Err(failure)),
        }
    }
    let works = match request.test(&track, Extent::Full).await? {
        Ok(_) => true,
        Err(Unfit { told: true, .. }) => false,
        Err(Unfit { failure, .. }) => return Ok(Err(failure)),
    };
    let url = request.target.url.to_string();
    Ok(Ok(Reply::Tested { works, url }))
}

/// The settings of the mirror that is meant, or of the one that would be made, with what was typed for this test.
fn wanted(
    engine: &Engine,
    url: &UpstreamUrl,
    target: &Target,
    typed: &[(String, String)],
) -> Result<Settings, Failure> {
    let found = engine
        .registry
        .at(&target.git_dir)
        .or_failure("cannot read the mirror")?;
    let mut settings = match found {
        Some(mirror) => mirror.settings,
        None => Settings::of_url(url, Config::read(&engine.config)?.defaults),
    };
    edit::apply(&mut settings, typed)?;
    Ok(settings)
}

/// What comes next while a step is waited for.
enum Next<T> {
    Step(Step),
    End(T),
}

impl Request<'_> {
    /// Tests upstream, with one login after the other; gives the URL that answered, too. Its door is looked for once.
    pub(crate) async fn test(
        &mut self,
        track: &Refspecs,
        extent: Extent,
    ) -> Result<Result<(UpstreamUrl, Box<Advertised>), Unfit>, WireError> {
        let told = extent != Extent::Answer;
        let (mut moves, mut reached) = (0, None);
        loop {
            if let Err(failure) = self.fetch_own().await? {
                return Ok(Err(Unfit::untold(failure)));
            }
            let origin = self.target.url.origin();
            if told && reached.as_ref() != Some(&origin) {
                match self.probe(told, |probe: &Probe<'_>| probe.reach()).await? {
                    Ok(Ok(())) => reached = Some(origin),
                    Ok(Err(failure)) => {
                        let told = failure.kind != FailureKind::Cancelled;
                        return Ok(Err(Unfit { failure, told }));
                    }
                    Err(unfit) => return Ok(Err(unfit)),
                }
            }
            let refspecs = track.clone();
            let reading = move |probe: &Probe<'_>| probe.read(&refspecs);
            let read = match self.probe(told, reading).await? {
                Ok(Ok(read)) => read,
                Ok(Err(unread)) => {
                    if self.try_another_login(&unread.trouble).await? {
                        continue;
                    }
                    return Ok(Err(self.give_up(&unread, told).await?));
                }
                Err(unfit) => return Ok(Err(unfit)),
            };
            let asked = match read {
                Reading::Moved(url) => {
                    if let Err(unfit) = self.follow(url, moves, told).await? {
                        return Ok(Err(unfit));
                    }
                    moves += 1;
                    continue;
                }
                Reading::Here(asked) => asked,
            };
            self.accepted().await?;
            let (url, everything) = (self.target.url.clone(), asked.everything.clone());
            if extent == Extent::Full {
                let refspecs = track.clone();
                let looking = move |probe: &Probe<'_>| probe.look_around(&refspecs, &asked);
                match self.probe(told, looking).await? {
                    Ok(Ok(())) => {}
                    Ok(Err(failure)) => return Ok(Err(Unfit::untold(failure))),
                    Err(unfit) => return Ok(Err(unfit)),
                }
            }
            return Ok(Ok((url, everything)));
        }
    }

    /// Goes where upstream says that it is.
    async fn follow(
        &mut self,
        url: UpstreamUrl,
        moves: usize,
        told: bool,
    ) -> Result<Result<(), Unfit>, WireError> {
        let follows = moves < MAX_REDIRECTS;
        if told {
            let step = Reply::Step(redirect(&url, follows));
            self.conversation.say(&step).await?;
        }
        if !follows {
            let failure = self.nowhere(&Outcome::Moved(url));
            return Ok(Err(Unfit { failure, told }));
        }
        let target = match self.makes_new {
            true => new_target(self.engine, &url),
            false => target_of(self.engine, &url),
        };
        match target {
            Ok(target) => self.retarget(target),
            Err(failure) => return Ok(Err(Unfit::untold(failure))),
        }
        Ok(Ok(()))
    }

    /// Says why upstream cannot be read.
    async fn give_up(&mut self, unread: &Unread, told: bool) -> Result<Unfit, WireError> {
        let mut failure = self.explained((*unread.trouble).clone());
        let told = told && failure.kind != FailureKind::Cancelled;
        if told {
            let step = unread.step(&self.target.url, &self.access());
            // What is said of the mirror's own credential, or of a move, says more.
            let has_moved = unread.trouble.moved_to.is_some();
            let step = match self.auth {
                Auth::AsGit if !has_moved => step,
                _ => Step {
                    hint: failure.hint.clone().or(step.hint),
                    ..step
                },
            };
            failure.hint.clone_from(&step.hint);
            self.conversation.say(&Reply::Step(step)).await?;
        }
        Ok(Unfit { failure, told })
    }

    /// Does a part of a test, and passes its steps on as they come.
    async fn probe<T: Send + 'static>(
        &mut self,
        told: bool,
        work: impl FnOnce(&Probe<'_>) -> T + Send + 'static,
    ) -> Result<Result<T, Unfit>, WireError> {
        let (tell, mut steps) = mpsc::unbounded_channel();
        let (url, access) = (self.target.url.clone(), self.access());
        let Pending {
            mut progress,
            mut outcome,
            mut questions,
            asking: _,
            moves: _,
        } = self.engine.ask(
            &self.target.url,
            &self.access(),
            self.fetch.can_ask,
            move |upstreams, watch| {
                work(&Probe {
                    url: &url,
                    access: &access,
                    upstreams,
                    watch,
                    // Whoever has gone need not know.
                    tell: &|step| drop(tell.send(step)),
                })
            },
        );
        let host = self.host();
        loop {
            let next = async {
                tokio::select! {
                    biased;
                    Some(step) = steps.recv() => Next::Step(step),
                    outcome = &mut outcome => Next::End(outcome),
                }
            };
            let next = self
                .conversation
                .wait_asked(&host, &mut progress, &mut questions, next)
                .await?;
            if let Some(passphrase) = self.conversation.take_passphrase() {
                // The next part of the test runs an ssh of its own, and nobody wants to be asked twice.
                self.passphrase = Some(passphrase);
            }
            match next {
                Next::Step(step) if told => self.conversation.say(&Reply::Step(step)).await?,
                Next::Step(_) => {}
                Next::End(outcome) => {
                    let outcome = outcome.unwrap_or_else(|_| Err(cancelled().into()));
                    return Ok(outcome.map_err(|trouble| Unfit::untold(trouble.failure)));
                }
            }
        }
    }
}

/// The step that tells where upstream says that it is.
fn redirect(to: &UpstreamUrl, follows: bool) -> Step {
    let (verdict, words) = match follows {
        true => (
            Verdict::Passed,
            format!("to '{to}': the mirror would be of that"),
        ),
        false => (Verdict::Failed, format!("to '{to}', and before elsewhere")),
    };
    Step {
        check: Check::Redirect,
        verdict,
        took: 0,
        words,
        hint: None,
    }
}
