//! The webhook: a host sends an HTTP request after each push, and the mirror syncs at once. It is off until
//! `mirrord webhook on`.
//!
//! A delivery is for one mirror, by a random id in its URL, and has a secret or a signature of that mirror's hook. Its
//! content is never used: it starts a sync, and deliveries that come together start one. From the socket, a delivery goes
//! through `listener` to `answer`, which uses `host_check`, `hooks`, `auth` and, where it is signed, `replay`. Then the room
//! `schedule` plans the sync, and `daemon/jobs/scheduled` starts it. This file carries out the commands of `mirrord webhook`.

mod answer;
mod auth;
mod hooks;
mod host_check;
mod listen_config;
mod listener;
mod register;
mod replay;
mod tls;

use std::{sync::Arc, time::Duration};

use common::protocol::{
    self, Failure, FailureKind, Listen, Mirror as Wanted, OrFailure, Reply, Webhook as Request,
    WebhookReply,
};
use parking_lot::Mutex;

pub(crate) use self::hooks::has_hook;
use self::{
    answer::Receiver,
    hooks::{Hook, Hooks},
    host_check::OwnHosts,
    listen_config::ListenConfig,
    listener::Listener,
    replay::ReplayCache,
};
use crate::{
    mirrors::{
        config::{self, Config},
        registry::Mirror,
    },
    process::blocking::blocking,
    requests::resolve::existing_mirror,
    sync::Engine,
};

/// How often the daemon tries again to listen: at boot it may start before the network has its address.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The webhook, on or off.
pub(crate) struct Webhook {
    engine: Arc<Engine>,
    hooks: Arc<Hooks>,
    replays: Arc<ReplayCache>,
    /// The running listener; the lock is kept while the webhook is switched on or off.
    running: tokio::sync::Mutex<Option<Running>>,
    /// Where the webhook listens, or why it does not; `None` while it is off.
    state: Mutex<Option<String>>,
}

/// A running listener and its settings.
struct Running {
    listener: Listener,
    config: ListenConfig,
}

impl Webhook {
    /// Creates a webhook that is off.
    pub(crate) fn new(engine: &Arc<Engine>) -> Arc<Self> {
        Arc::new(Self {
            engine: engine.clone(),
            hooks: Arc::new(Hooks::new(engine.registry.clone())),
            replays: Arc::default(),
            running: tokio::sync::Mutex::default(),
            state: Mutex::default(),
        })
    }

    /// Listens if `mirror.webhook` is on. Tries again until it works or the webhook is switched off.
    pub(crate) async fn resume(self: Arc<Self>) {
        loop {
            let config = self.engine.config();
            let mut running = self.running.lock().await;
            if !config.webhook.on || running.is_some() {
                return;
            }
            match self.listen(&mut running, config.webhook).await {
                Ok(_) => return,
                Err(failure) => {
                    let reason = failure.to_string();
                    if self.state().as_ref() != Some(&reason) {
                        tracing::warn!("the webhook is on, and {reason}");
                    }
                    self.set_state(Some(reason));
                }
            }
            drop(running);
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    /// Stops listening because the daemon ends. The setting stays on.
    pub(crate) async fn shutdown(&self) {
        let running = self.running.lock().await.take();
        if let Some(Running { listener, .. }) = running {
            listener.shutdown().await;
        }
    }

    /// Where the webhook listens, or why it does not although it is on; `None` while it is off.
    pub(crate) fn state(&self) -> Option<String> {
        let state = self.state.lock();
        state.clone()
    }

    /// Carries out one command of `mirrord webhook`.
    ///
    /// # Errors
    /// Fails with the message for the user.
    pub(crate) async fn execute(&self, request: Request) -> Result<Reply, Failure> {
        let reply = match request {
            Request::On(listen) => self.switch_on(listen).await?,
            Request::Off => self.switch_off().await?,
            Request::Show(mirror) => {
                WebhookReply::Hook(self.updated_hook(&mirror, |_| Ok(())).await?)
            }
            Request::Rotate(mirror) => {
                WebhookReply::Hook(self.updated_hook(&mirror, Hook::rotate).await?)
            }
            Request::Sign(mirror, token) => {
                let token = hooks::parse_signing_token(token)?;
                let sign = |hook: &mut Hook| {
                    hook.signing = Some(token);
                    Ok(())
                };
                WebhookReply::Hook(self.updated_hook(&mirror, sign).await?)
            }
            Request::Register(at) => self.register(*at).await?,
            Request::Check(at) => self.check(*at).await?,
        };
        Ok(Reply::Webhook(reply))
    }

    async fn switch_on(&self, listen: Listen) -> Result<WebhookReply, Failure> {
        let mut running = self.running.lock().await;
        let old = Config::read(&self.engine.config)?.webhook;
        let config = self.listen(&mut running, old.with(listen)?).await?;
        Ok(WebhookReply::Listens {
            address: config.url(),
            base: config.hooks_url(),
            warnings: config.warnings(),
        })
    }

    /// Starts a listener in place of the running one, and saves its settings, with the port that it has.
    async fn listen(
        &self,
        running: &mut Option<Running>,
        wanted: config::Webhook,
    ) -> Result<ListenConfig, Failure> {
        let (tls, mut config) = listen_config::prepare(wanted).await?;
        // The same address is free only after the old listener has ended.
        let old = match running.take() {
            Some(old) if old.listener.address == config.socket_address() => {
                old.listener.shutdown().await;
                None
            }
            old => old,
        };
        let socket = match config.bind() {
            Ok(socket) => socket,
            Err(failure) => {
                *running = old;
                if running.is_none() {
                    self.set_state(Some(failure.to_string()));
                }
                return Err(failure);
            }
        };
        let hooks = self.hooks.clone();
        // This fails only if it panics; then every delivery is answered with 404.
        let _ = tokio::task::spawn_blocking(move || hooks.reload()).await;
        let receiver = Receiver {
            engine: self.engine.clone(),
            hooks: self.hooks.clone(),
            replays: self.replays.clone(),
            own_hosts: OwnHosts {
                listen: config.socket_address().ip(),
                public: config.public_host(),
            },
        };
        let listener = Listener::start(socket, tls, answer::router(receiver))
            .or_failure("the webhook has no address")?;
        // A webhook that is not saved would end with this daemon, and the user would not know why.
        if let Err(failure) = config.save(&self.engine.config) {
            listener.shutdown().await;
            *running = old;
            if running.is_none() {
                self.set_state(Some(failure.to_string()));
            }
            return Err(failure);
        }
        tracing::info!("the webhook listens at {}", config.url());
        self.set_state(Some(config.url()));
        *running = Some(Running {
            listener,
            config: config.clone(),
        });
        if let Some(old) = old {
            old.listener.shutdown().await;
        }
        Ok(config)
    }

    async fn switch_off(&self) -> Result<WebhookReply, Failure> {
        let mut running = self.running.lock().await;
        Config::set(&self.engine.config, "webhook", "no")?;
        if let Some(Running { listener, .. }) = running.take() {
            listener.shutdown().await;
            tracing::info!("the webhook is off");
        }
        self.set_state(None);
        Ok(WebhookReply::Off)
    }

    /// Changes the hook of a mirror, and returns what the host must know of it.
    async fn updated_hook(
        &self,
        wanted: &Wanted,
        change: impl FnOnce(&mut Hook) -> Result<(), Failure> + Send + 'static,
    ) -> Result<protocol::Hook, Failure> {
        let config = self.listen_config().await?;
        let mirror = existing_mirror(&self.engine, wanted)?;
        let hook = self.update_hook(&mirror, change).await?;
        Ok(config.hook(&mirror, &hook))
    }

    /// Changes the hook of a mirror, which gets one if it has none.
    async fn update_hook(
        &self,
        mirror: &Mirror,
        change: impl FnOnce(&mut Hook) -> Result<(), Failure> + Send + 'static,
    ) -> Result<Hook, Failure> {
        let (hooks, mirror) = (self.hooks.clone(), mirror.clone());
        blocking(move || hooks.update(&mirror, change)).await
    }

    /// The settings of the running listener.
    async fn listen_config(&self) -> Result<ListenConfig, Failure> {
        if let Some(running) = &*self.running.lock().await {
            return Ok(running.config.clone());
        }
        Err(match self.state() {
            Some(why) => Failure::here(format!("the webhook is on, and {why}"))
                .hinted("'mirrord webhook on --listen ADDRESS:PORT' has it listen elsewhere"),
            None => Failure::new(FailureKind::Usage, "the webhook is off")
                .hinted("'mirrord webhook on' switches it on"),
        })
    }

    fn set_state(&self, state: Option<String>) {
        *self.state.lock() = state;
    }
}
