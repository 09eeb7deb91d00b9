//! Probes an upstream: for `mirrord test`, before `mirrord add` makes a mirror of it, and where two URLs may be
//! spellings of one project. The steps themselves are in `upstream/probe`.

use common::{
    address::upstream_url::UpstreamUrl,
    protocol::{Check, Failure, FailureKind, Reply, Step, Verdict, wire::WireError},
    refspec::Refspecs,
};
use tokio::sync::mpsc;

use super::{MAX_REDIRECTS, MirrorRequest};
use crate::{
    mirrors::settings::Auth,
    process::watch::cancelled,
    requests::{
        error::RequestError,
        resolve::{new_target, target_of_url},
    },
    sync::{Outcome, Pending},
    upstream::{Advertised, Probe, Reading, Unread},
};

/// How much of an upstream is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Its refs, and the client is sent no steps.
    Refs,
    /// What a mirror needs.
    Needed,
    /// All that the mirror's owner should know.
    Full,
}

/// An upstream that answers a probe.
pub(crate) struct Probed {
    /// The URL that answered; upstream may have redirected the probe to it.
    pub url: UpstreamUrl,
    /// Its refs.
    pub advertised: Box<Advertised>,
}

/// Why a probe gives no [`Probed`].
pub(crate) enum ProbeError {
    /// No mirror can be made of the upstream.
    Unusable {
        /// Why.
        failure: Failure,
        /// Whether a step has told the client why.
        is_reported: bool,
    },
    /// The connection to the client is closed, or broken.
    Disconnected(WireError),
}

impl From<Failure> for ProbeError {
    fn from(failure: Failure) -> Self {
        Self::Unusable {
            failure,
            is_reported: false,
        }
    }
}

impl From<WireError> for ProbeError {
    fn from(err: WireError) -> Self {
        Self::Disconnected(err)
    }
}

impl From<RequestError> for ProbeError {
    fn from(err: RequestError) -> Self {
        match err {
            RequestError::Failed(failure) => failure.into(),
            RequestError::Disconnected(err) => err.into(),
        }
    }
}

impl From<ProbeError> for RequestError {
    fn from(err: ProbeError) -> Self {
        match err {
            ProbeError::Unusable { failure, .. } => failure.into(),
            ProbeError::Disconnected(err) => err.into(),
        }
    }
}

/// What comes next while a part of a probe is waited for.
enum Event<T> {
    Step(Step),
    End(T),
}

impl MirrorRequest<'_> {
    /// Probes upstream, with one login after the other. The host is connected to for the step 'reach' once, however many
    /// logins are tried.
    ///
    /// # Errors
    /// Fails where a mirror could not be made of the upstream.
    pub(crate) async fn probe(
        &mut self,
        track: &Refspecs,
        extent: Extent,
    ) -> Result<Probed, ProbeError> {
        let reports_steps = extent != Extent::Refs;
        let (mut redirects, mut reached) = (0, None);
        loop {
            self.load_own_credential().await?;
            if let Some(failure) = self.find_proxy_login().await? {
                return Err(failure.into());
            }
            self.sign_in_proactively().await?;
            let origin = self.target.url.origin();
            if reports_steps && reached.as_ref() != Some(&origin) {
                let reaching = self.run_probe(reports_steps, |probe: &Probe<'_>| probe.connect());
                if let Err(failure) = reaching.await? {
                    let is_reported = failure.kind != FailureKind::Cancelled;
                    return Err(ProbeError::Unusable {
                        failure,
                        is_reported,
                    });
                }
                reached = Some(origin);
            }
            let refspecs = track.clone();
            let reading = move |probe: &Probe<'_>| probe.read(&refspecs);
            let read = match self.run_probe(reports_steps, reading).await? {
                Ok(read) => read,
                Err(unread) => {
                    if self.try_another_login(&unread.trouble).await? {
                        continue;
                    }
                    return Err(self.report_unread(&unread, reports_steps).await?);
                }
            };
            let asked = match read {
                Reading::Moved(url) => {
                    self.follow_probe_redirect(url, redirects, reports_steps)
                        .await?;
                    redirects += 1;
                    continue;
                }
                Reading::Answered(asked) => asked,
            };
            self.keep_login().await?;
            let probed = Probed {
                url: self.target.url.clone(),
                advertised: asked.everything.clone(),
            };
            if extent == Extent::Full {
                let refspecs = track.clone();
                let checking = move |probe: &Probe<'_>| probe.check_offers(&refspecs, &asked);
                self.run_probe(reports_steps, checking).await??;
            }
            return Ok(probed);
        }
    }

    /// Means the upstream to which the probed one redirects.
    async fn follow_probe_redirect(
        &mut self,
        url: UpstreamUrl,
        redirects: usize,
        reports_steps: bool,
    ) -> Result<(), ProbeError> {
        let follows = redirects < MAX_REDIRECTS;
        if reports_steps {
            let step = Reply::Step(redirect_step(&url, follows));
            self.conversation.send(&step).await?;
        }
        if !follows {
            let failure = self.not_found(&Outcome::Moved(url));
            return Err(ProbeError::Unusable {
                failure,
                is_reported: reports_steps,
            });
        }
        let target = match self.makes_new {
            true => new_target(self.engine, &url)?,
            false => target_of_url(self.engine, &url)?,
        };
        self.retarget(target);
        Ok(())
    }

    /// Sends the client the step that says why upstream cannot be read, and returns the same as an error.
    async fn report_unread(
        &mut self,
        unread: &Unread,
        reports_steps: bool,
    ) -> Result<ProbeError, WireError> {
        let mut failure = self.explain((*unread.trouble).clone());
        let is_reported = reports_steps && failure.kind != FailureKind::Cancelled;
        if is_reported {
            let step = unread.step(&self.target.url, &self.access());
            // A hint about the mirror's own credential, or about a redirect, says more than that of the step.
            let was_moved = unread.trouble.moved_to.is_some();
            let step = match self.auth {
                Auth::AsGit if !was_moved => step,
                _ => Step {
                    hint: failure.hint.clone().or(step.hint),
                    ..step
                },
            };
            failure.hint.clone_from(&step.hint);
            self.conversation.send(&Reply::Step(step)).await?;
        }
        Ok(ProbeError::Unusable {
            failure,
            is_reported,
        })
    }

    /// Runs a part of a probe in its turn, and sends its steps to the client as they come.
    async fn run_probe<T: Send + 'static>(
        &mut self,
        reports_steps: bool,
        work: impl FnOnce(&Probe<'_>) -> T + Send + 'static,
    ) -> Result<T, RequestError> {
        let (step_sender, mut steps) = mpsc::unbounded_channel();
        let (url, access) = (self.target.url.clone(), self.access());
        let Pending {
            mut progress,
            mut outcome,
            mut questions,
            asking: _,
            moves: _,
        } = self.engine.run_at_upstream(
            &self.target.url,
            &self.access(),
            self.fetch.can_ask,
            move |upstreams, watch| {
                work(&Probe {
                    url: &url,
                    access: &access,
                    upstreams,
                    watch,
                    // A client that is gone needs no steps.
                    report: &|step| drop(step_sender.send(step)),
                })
            },
        );
        let host = self.host();
        loop {
            let event = async {
                tokio::select! {
                    biased;
                    Some(step) = steps.recv() => Event::Step(step),
                    outcome = &mut outcome => Event::End(outcome),
                }
            };
            let event = self
                .conversation
                .wait_with_questions(&host, &mut progress, &mut questions, event)
                .await?;
            if let Some(passphrase) = self.conversation.take_passphrase() {
                // The next part of the probe starts another ssh, which would ask for it again.
                self.passphrase = Some(passphrase);
            }
            match event {
                Event::Step(step) if reports_steps => {
                    self.conversation.send(&Reply::Step(step)).await?;
                }
                Event::Step(_) => {}
                Event::End(outcome) => {
                    let outcome = outcome.unwrap_or_else(|_| Err(cancelled().into()));
                    return outcome.map_err(|trouble| (*trouble.failure).into());
                }
            }
        }
    }
}

/// The step that reports_steps where upstream redirects to.
fn redirect_step(to: &UpstreamUrl, follows: bool) -> Step {
    let (verdict, message) = match follows {
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
        detail: message,
        hint: None,
    }
}
