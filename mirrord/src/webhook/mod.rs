//! The webhook: hosts tell of pushes by http, and the mirror looks at once what is new. Off until somebody asks for it.
//!
//! A delivery is a hint, never data. It comes for one mirror, by an id that nobody can guess, with a secret or a signature
//! that only its host knows; what comes of it is one check of that mirror, however many come together.

mod answer;
mod auth;
mod hooks;
mod host;
mod listener;
mod listening;
mod register;
mod replay;
mod slots;
mod tls;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use common::protocol::{
    self, Failure, FailureKind, Listen, Mirror as Wanted, OrFailure, Reply, Webhook as Request,
    WebhookSaid,
};

pub(crate) use self::hooks::has_hook;
use self::{
    answer::Receiver,
    hooks::{Hook, Hooks},
    host::Names,
    listener::Door,
    listening::Listening,
    replay::Seen,
};
use crate::{
    mirrors::{
        config::{self, Config},
        registry::Mirror,
    },
    requests::fetch::existing,
    sync::Engine,
};

/// How often it is tried to listen where that did not work: an address may come later than the daemon.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The webhook, on or off.
pub(crate) struct Webhook {
    engine: Arc<Engine>,
    hooks: Arc<Hooks>,
    seen: Arc<Seen>,
    /// Held while it is switched on or off.
    open: tokio::sync::Mutex<Option<Open>>,
    /// Where it listens, or why it does not.
    state: Mutex<Option<String>>,
}

/// An open door, and how it was asked for.
struct Open {
    door: Door,
    listening: Listening,
}

impl Webhook {
    /// One that is off.
    pub(crate) fn new(engine: &Arc<Engine>) -> Arc<Self> {
        Arc::new(Self {
            engine: engine.clone(),
            hooks: Arc::new(Hooks::new(engine.registry.clone())),
            seen: Arc::default(),
            open: tokio::sync::Mutex::default(),
            state: Mutex::default(),
        })
    }

    /// Listens if it was on when a daemon last ran. Where that does not work now, it is tried again and again.
    pub(crate) async fn resume(self: Arc<Self>) {
        loop {
            let config = self.engine.config();
            let mut open = self.open.lock().await;
            if !config.webhook.on || open.is_some() {
                return;
            }
            match self.listen(&mut open, config.webhook).await {
                Ok(_) => return,
                Err(failure) => {
                    let words = failure.to_string();
                    if self.address().as_ref() != Some(&words) {
                        tracing::warn!("the webhook is on, and {words}");
                    }
                    self.is(Some(words));
                }
            }
            drop(open);
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    /// Does not listen any more, until the next daemon does.
    pub(crate) async fn end(&self) {
        let open = self.open.lock().await.take();
        if let Some(Open { door, .. }) = open {
            door.close().await;
        }
    }

    /// Where it listens, or why it does not although it should; `None` while it is off.
    pub(crate) fn address(&self) -> Option<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clone()
    }

    /// Carries out what was asked.
    ///
    /// # Errors
    /// Fails with what the person should read.
    pub(crate) async fn carry_out(&self, request: Request) -> Result<Reply, Failure> {
        let said = match request {
            Request::On(listen) => self.on(listen).await?,
            Request::Off => self.off().await?,
            Request::Show(mirror) => WebhookSaid::Hook(self.changed(&mirror, |_| Ok(())).await?),
            Request::Rotate(mirror) => {
                WebhookSaid::Hook(self.changed(&mirror, Hook::rotate).await?)
            }
            Request::Sign(mirror, token) => {
                let token = hooks::signing(token)?;
                let sign = |hook: &mut Hook| {
                    hook.signing = Some(token);
                    Ok(())
                };
                WebhookSaid::Hook(self.changed(&mirror, sign).await?)
            }
            Request::Register(at) => self.register(*at).await?,
            Request::Check(at) => self.check(*at).await?,
        };
        Ok(Reply::Webhook(said))
    }

    async fn on(&self, listen: Listen) -> Result<WebhookSaid, Failure> {
        let mut open = self.open.lock().await;
        let before = Config::read(&self.engine.config)?.webhook;
        let wanted = before.changed(listen)?;
        let listening = self.listen(&mut open, wanted).await?;
        Ok(WebhookSaid::Listens {
            address: listening.address(),
            base: listening.base(),
            warnings: listening.warnings(),
        })
    }

    /// Listens as is wanted, and writes that down with the port that it has got.
    async fn listen(
        &self,
        open: &mut Option<Open>,
        wanted: config::Webhook,
    ) -> Result<Listening, Failure> {
        let (tls, mut listening) = listening::prepare(wanted).await?;
        // The same place can only be had again when it has been left.
        let old = match open.take() {
            Some(old) if old.door.address == listening.at() => {
                old.door.close().await;
                None
            }
            old => old,
        };
        let listener = match listening.bind() {
            Ok(listener) => listener,
            Err(failure) => {
                *open = old;
                if open.is_none() {
                    self.is(Some(failure.to_string()));
                }
                return Err(failure);
            }
        };
        let hooks = self.hooks.clone();
        // Nothing but a bug fails here, and then no hook is known.
        let _ = tokio::task::spawn_blocking(move || hooks.look()).await;
        let receiver = Receiver {
            engine: self.engine.clone(),
            hooks: self.hooks.clone(),
            seen: self.seen.clone(),
            names: Names {
                at: listening.at().ip(),
                public: listening.public_host(),
            },
        };
        let door = Door::open(listener, tls, answer::router(receiver))
            .or_failure("the webhook has no address")?;
        // What is not written down ends with this daemon, and the person would not know why.
        if let Err(failure) = listening.write(&self.engine.config) {
            door.close().await;
            *open = old;
            if open.is_none() {
                self.is(Some(failure.to_string()));
            }
            return Err(failure);
        }
        tracing::info!("the webhook listens at {}", listening.address());
        self.is(Some(listening.address()));
        let new = Open {
            door,
            listening: listening.clone(),
        };
        *open = Some(new);
        if let Some(old) = old {
            old.door.close().await;
        }
        Ok(listening)
    }

    async fn off(&self) -> Result<WebhookSaid, Failure> {
        let mut open = self.open.lock().await;
        Config::set(&self.engine.config, "webhook", "no")?;
        if let Some(Open { door, .. }) = open.take() {
            door.close().await;
            tracing::info!("the webhook is off");
        }
        self.is(None);
        Ok(WebhookSaid::Off)
    }

    /// The hook of a mirror, after a change of it.
    async fn changed(
        &self,
        wanted: &Wanted,
        change: impl FnOnce(&mut Hook) -> Result<(), Failure> + Send + 'static,
    ) -> Result<protocol::Hook, Failure> {
        let listening = self.listening().await?;
        let mirror = existing(&self.engine, wanted)?;
        let hook = self.change(&mirror, change).await?;
        Ok(listening.told(&mirror, &hook))
    }

    async fn change(
        &self,
        mirror: &Mirror,
        change: impl FnOnce(&mut Hook) -> Result<(), Failure> + Send + 'static,
    ) -> Result<Hook, Failure> {
        let (hooks, mirror) = (self.hooks.clone(), mirror.clone());
        let changing = move || hooks.of(&mirror, change);
        let changed = tokio::task::spawn_blocking(changing).await;
        changed.unwrap_or_else(|_| Err(Failure::here("it broke; the daemon's log says how")))
    }

    /// How it listens.
    async fn listening(&self) -> Result<Listening, Failure> {
        if let Some(open) = &*self.open.lock().await {
            return Ok(open.listening.clone());
        }
        Err(match self.address() {
            Some(why) => Failure::here(format!("the webhook is on, and {why}"))
                .hinted("'mirrord webhook on --listen ADDRESS:PORT' has it listen elsewhere"),
            None => Failure::new(FailureKind::Usage, "the webhook is off")
                .hinted("'mirrord webhook on' switches it on"),
        })
    }

    fn is(&self, state: Option<String>) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}
