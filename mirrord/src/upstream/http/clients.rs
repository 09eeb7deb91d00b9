//! The reqwest clients that share connections: one per set of http settings.

use std::{collections::HashMap, time::Duration};

use common::protocol::Failure;
use parking_lot::Mutex;

use crate::upstream::{answers, http_settings::Http};

/// How long a connection may take, TLS included: longer only where nobody answers.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// How long an idle connection is kept; servers keep theirs about as long.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// How many sets of http settings have a client.
const MAX_CLIENTS: usize = 64;

/// The clients that share connections: one per set of http settings.
#[derive(Default)]
pub(crate) struct Clients(Mutex<HashMap<Http, reqwest::Client>>);

impl Clients {
    pub(in crate::upstream) fn get(&self, http: &Http) -> Result<reqwest::Client, Failure> {
        let mut clients = self.0.lock();
        if let Some(client) = clients.get(http) {
            return Ok(client.clone());
        }
        let client = build(http)?;
        // Settings seldom differ; if they do all the time, old pools must not pile up.
        if clients.len() >= MAX_CLIENTS {
            clients.clear();
        }
        clients.insert(http.clone(), client.clone());
        Ok(client)
    }
}

fn build(http: &Http) -> Result<reqwest::Client, Failure> {
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        // With the certificate of the host in each answer, for `mirrord test` to show.
        .tls_info(true)
        .connect_timeout(CONNECT_TIMEOUT.min(http.no_progress))
        .pool_idle_timeout(IDLE_TIMEOUT)
        // As git reads them: old servers fold long challenges.
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .tcp_keepalive(Duration::from_secs(30))
        .user_agent(
            http.user_agent
                .as_deref()
                .unwrap_or(concat!("git/mirrord-", env!("CARGO_PKG_VERSION"))),
        );
    if let Some(url) = http.proxy_url() {
        let proxy = reqwest::Proxy::all(url)
            .map_err(|_| Failure::here("the proxy's address (http.proxy) is not a URL"))?;
        let exceptions = http
            .no_proxy
            .as_deref()
            .and_then(reqwest::NoProxy::from_string);
        let proxy = match http.proxy_authorization() {
            Some(authorization) => proxy.custom_http_auth(authorization),
            None => proxy,
        };
        builder = builder.proxy(proxy.no_proxy(exceptions));
    }
    if let Some(path) = &http.ca_file {
        let bad = |why: &dyn std::fmt::Display| {
            Failure::here(format!(
                "cannot use the certificate authorities in '{}': {why}",
                path.display()
            ))
        };
        let pem = std::fs::read(path).map_err(|err| bad(&err))?;
        let authorities = reqwest::Certificate::from_pem_bundle(&pem)
            .map_err(|_| bad(&"it is not a PEM file"))?;
        builder = builder.tls_certs_only(authorities);
    }
    if !http.verify {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    if !http.http2 {
        builder = builder.http1_only();
    }
    builder
        .build()
        .map_err(|err| Failure::here(format!("cannot set up http: {}", answers::cause(&err))))
}
