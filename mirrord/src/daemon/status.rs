//! The request of `mirrord status`: how the daemon and all its mirrors are.

use std::sync::atomic::Ordering;

use common::{
    daemon_process,
    protocol::{Reply, Status, wire::batches},
};

use super::server::Server;
use crate::{
    process::blocking::blocking,
    requests::{conversation::Conversation, error::RequestError, show},
};

/// The bytes of a mirror's health in a reply beside its description, at most; the size of a batch is reckoned with it.
const HEALTH_SIZE: usize = 8000;

impl Server {
    /// Sends how the daemon and its mirrors are.
    pub(super) async fn status(
        &self,
        conversation: &mut Conversation,
    ) -> Result<Reply, RequestError> {
        let engine = self.engine.clone();
        let healths = blocking(move || Ok(show::healths(&engine)));
        let healths = conversation
            .wait_quietly(healths)
            .await?
            .unwrap_or_default();
        let status = self.daemon_status(healths.len());
        conversation.send(&Reply::Status(status)).await?;
        for batch in batches(healths, |health| {
            health.info.description.len() + HEALTH_SIZE
        }) {
            conversation.send(&Reply::Healths(batch)).await?;
        }
        Ok(Reply::Done)
    }

    fn daemon_status(&self, mirrors: usize) -> Status {
        let syncing = self
            .engine
            .syncing_upstreams()
            .into_iter()
            .map(|url| url.to_string());
        Status {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").into(),
            uptime: self.started.elapsed().as_secs(),
            socket: daemon_process::read_record(&self.paths.daemon_record())
                .map_or_else(|| self.paths.socket(), |record| record.socket),
            mirrors_dir: self.paths.mirrors(),
            mirrors,
            // The client that asks is not counted.
            clients: self.clients.load(Ordering::Relaxed).saturating_sub(1),
            waiting: self.engine.waiting_clients(),
            syncing: syncing.collect(),
            first_clones: self.engine.first_clones(),
            webhook: self.webhook.state(),
            disk_budget: self.engine.config().disk_budget.0,
        }
    }
}
