//! A session with one upstream: opened, asked for a list of refs, and for a pack of what is missing. The protocol is in
//! [`super::v2`]; what an error means in [`super::answers`].

use crate::{
    mirrors::settings::Auth,
    process::{
        questions,
        watch::{Watch, cancelled},
    },
    repository::refs::UpstreamRefs,
};
use std::process::Command;

use common::protocol::{Failure, FailureKind};
use common::{
    address::upstream_url::{Scheme, UpstreamUrl},
    refspec::{OnDemand, Refspecs},
};
use gix::error::ErrorExt;
use gix_transport::{
    Protocol, Service,
    client::{
        Capabilities,
        blocking_io::{Transport, http::Transport as HttpTransport},
    },
};

use super::{
    Access, Advertised, Trouble, Upstreams,
    answers::{self, explain},
    child::{self, Child, ExplainStderr},
    fallback, http, local, ssh,
    v2::{self, FetchError, PackRequest, StoredPack},
};

/// A session with one upstream, with one set of credentials and settings.
pub(crate) struct Session {
    url: UpstreamUrl,
    access: Access,
    route: Route,
    /// git signed in by itself, with something that we do not have.
    signed_in_by_git: bool,
    /// Lets the child ask questions for as long as the session lives.
    _asking: Option<questions::Open>,
}

/// How upstream is reached.
enum Route {
    /// By our own http client.
    Http {
        http: http::HttpSession,
        transport: Box<HttpTransport<http::HttpSession>>,
        capabilities: Capabilities,
    },
    /// By an ssh, or a `git upload-pack` on this machine.
    Child {
        child: Child,
        transport: Box<child::Connection>,
        capabilities: Capabilities,
    },
    /// By `git ls-remote` and `git fetch`.
    Git(Box<fallback::Git>),
}

impl Route {
    fn by_git(url: &UpstreamUrl, access: &Access, upstreams: &Upstreams) -> Self {
        Self::Git(Box::new(fallback::Git::new(url, access, upstreams)))
    }
}

impl Session {
    /// Opens a session: sends the first request over http; starts a child for ssh, or for an upstream on this machine.
    pub(crate) fn open(
        url: &UpstreamUrl,
        access: &Access,
        upstreams: &Upstreams,
        watch: &Watch,
    ) -> Result<Self, Trouble> {
        let (mut signed_in_by_git, mut asking) = (false, None);
        let route = match url.scheme() {
            Scheme::File => Self::open_local(url, access, upstreams, watch)?,
            Scheme::Ssh => {
                let opened = match Self::open_ssh(url, access, upstreams, watch) {
                    // The connection that it shared may have broken.
                    Err(trouble) if trouble.retry_on_new_session && !watch.is_cancelled() => {
                        Self::open_ssh(url, access, upstreams, watch)
                    }
                    opened => opened,
                };
                let route;
                (route, asking) = opened?;
                route
            }
            Scheme::Http | Scheme::Https => match &access.http.needs_git {
                Some(_) => Route::by_git(url, access, upstreams),
                None => match Self::open_http(url, access, upstreams, watch) {
                    Err(trouble)
                        if access.auth == Auth::AsGit
                            && access.is_anonymous()
                            && trouble.wants_kerberos() =>
                    {
                        signed_in_by_git = true;
                        Route::by_git(url, access, upstreams)
                    }
                    Err(trouble) if trouble.wants_digest() && access.login_is_basic() => {
                        Route::by_git(url, access, upstreams)
                    }
                    // git tries each way of signing in that the proxy offers: Digest, NTLM, Negotiate.
                    Err(trouble) if trouble.proxy_refused && access.http.has_proxy_login() => {
                        Route::by_git(url, access, upstreams)
                    }
                    route => route?,
                },
            },
        };
        Ok(Self {
            url: url.clone(),
            access: access.clone(),
            route,
            signed_in_by_git,
            _asking: asking,
        })
    }

    fn open_http(
        url: &UpstreamUrl,
        access: &Access,
        upstreams: &Upstreams,
        watch: &Watch,
    ) -> Result<Route, Trouble> {
        let http = http::HttpSession::new(url, access, &upstreams.clients, watch)?;
        let parsed = gix::url::parse(url.as_str()).map_err(|err| {
            Failure::new(FailureKind::Refused, format!("'{url}' is not a URL: {err}"))
        })?;
        let mut transport = Box::new(HttpTransport::new_http(
            http.clone(),
            parsed,
            Protocol::V2,
            false,
        ));
        let handshake = transport.handshake(Service::UploadPack, &[]);
        let result = handshake.map(|answer| (answer.actual_protocol, answer.capabilities));
        http.drain();
        match result {
            Ok((Protocol::V2, capabilities)) => Ok(Route::Http {
                http,
                transport,
                capabilities,
            }),
            Ok(_) => Ok(Route::by_git(url, access, upstreams)),
            Err(err) => match http.take_trouble() {
                Some(trouble) if trouble.proxy_refused && access.http.has_proxy_login() => {
                    Err(answers::proxy_login_refused(url))
                }
                Some(trouble) => Err(trouble),
                None => Err(explain(url, &err.raise(), None)),
            },
        }
    }

    fn open_local(
        url: &UpstreamUrl,
        access: &Access,
        upstreams: &Upstreams,
        watch: &Watch,
    ) -> Result<Route, Trouble> {
        let command = local::command(url, access);
        let route = Self::open_child(url, command, ("git", local::explain), access, watch)?;
        Ok(route.unwrap_or_else(|| Route::by_git(url, access, upstreams)))
    }

    fn open_ssh(
        url: &UpstreamUrl,
        access: &Access,
        upstreams: &Upstreams,
        watch: &Watch,
    ) -> Result<(Route, Option<questions::Open>), Trouble> {
        let ssh = upstreams.ssh.command(url, access, watch)?;
        if let Some(command) = ssh.direct {
            let opened = Self::open_child(url, command, ("ssh", ssh::explain), access, watch);
            let explained =
                |trouble| ssh::explain_refusal(url, access, ssh.asking.as_ref(), trouble);
            if let Some(route) = opened.map_err(explained)? {
                return Ok((route, ssh.asking));
            }
            upstreams.ssh.record_old_protocol(url);
        }
        let git = fallback::Git::new(url, access, upstreams);
        Ok((
            Route::Git(Box::new(git.over_ssh(ssh.git_variables))),
            ssh.asking,
        ))
    }

    /// Starts `command` and reads upstream's capabilities. Returns `None` where the other side does not speak protocol v2.
    fn open_child(
        url: &UpstreamUrl,
        command: Command,
        (name, meaning): (&str, ExplainStderr),
        access: &Access,
        watch: &Watch,
    ) -> Result<Option<Route>, Trouble> {
        let budget = access.http.no_progress;
        let (child, mut transport) = Child::start(command, name, meaning, budget, watch)?;
        let handshake = transport.handshake(Service::UploadPack, &[]);
        match handshake.map(|answer| (answer.actual_protocol, answer.capabilities)) {
            Ok((Protocol::V2, capabilities)) => Ok(Some(Route::Child {
                child,
                transport: Box::new(transport),
                capabilities,
            })),
            Ok(_) => Ok(None),
            Err(_) if watch.is_cancelled() => Err(cancelled().into()),
            Err(err) => {
                let err = err.raise();
                let explained = child.explain(url, &err);
                Err(explained.unwrap_or_else(|| explain(url, &err, None)))
            }
        }
    }

    /// Whether the next sync can use this session. A child cannot: `upload-pack` answers with the refs that it read when it
    /// started.
    pub(crate) fn can_be_kept(&self) -> bool {
        // Of a redirect only the next first request tells whether it still leads there.
        matches!(self.route, Route::Http { .. }) && self.moved_to().is_none()
    }

    /// Whether the session was opened for this upstream and access.
    pub(crate) fn is_for(&self, url: &UpstreamUrl, access: &Access) -> bool {
        self.url == *url && self.access == *access
    }

    /// Whether git signed in with something that we do not have, such as a Kerberos ticket.
    pub(crate) fn signed_in_by_git(&self) -> bool {
        self.signed_in_by_git
    }

    /// Where upstream redirected the first request to.
    pub(crate) fn moved_to(&self) -> Option<UpstreamUrl> {
        match &self.route {
            Route::Http { http, .. } => http.moved_to(),
            Route::Git(git) => git.moved_to(),
            Route::Child { .. } => None,
        }
    }

    /// Lists the refs of upstream that are tracked or wanted `on_demand`. One request over http.
    pub(crate) fn list_refs(
        &mut self,
        track: &Refspecs,
        on_demand: &OnDemand,
        watch: &Watch,
    ) -> Result<Advertised, Trouble> {
        watch.asking();
        let url = &self.url;
        let explain = |err: &gix::Error| explain(url, err, None);
        let (listed, capabilities) = match &mut self.route {
            Route::Http {
                http,
                transport,
                capabilities,
            } => {
                http.set_watch(watch);
                let listed = v2::list_refs(transport.as_mut(), capabilities, track, on_demand);
                http.drain();
                let trouble = |err| http.take_trouble().unwrap_or_else(|| explain(&err));
                (listed.map_err(trouble)?, capabilities)
            }
            Route::Child {
                child,
                transport,
                capabilities,
            } => {
                let listed = v2::list_refs(transport.as_mut(), capabilities, track, on_demand);
                let trouble = |err| child.explain(url, &err).unwrap_or_else(|| explain(&err));
                (listed.map_err(trouble)?, capabilities)
            }
            Route::Git(git) => return git.list_refs(track, on_demand, watch),
        };
        Advertised::new(
            url,
            listed,
            v2::object_format(capabilities),
            track,
            on_demand,
        )
    }

    /// Whether refs can be asked for by name, whatever they are now.
    pub(crate) fn has_ref_in_want(&self) -> bool {
        match &self.route {
            Route::Http { capabilities, .. } | Route::Child { capabilities, .. } => {
                v2::has_ref_in_want(capabilities)
            }
            Route::Git(_) => false,
        }
    }

    /// Fetches all objects that the wanted refs need and the mirror's records do not have.
    ///
    /// Upstream is told only of commits that it once had itself, and of none that exist in the mirror alone.
    pub(crate) fn fetch_pack(&mut self, request: PackRequest<'_>) -> Result<StoredPack, Trouble> {
        let (url, watch) = (&self.url, request.watch);
        let explain = |err: FetchError| explain(url, &err.error, err.server_message);
        let result = match &mut self.route {
            Route::Http {
                http,
                transport,
                capabilities,
            } => {
                http.set_watch(watch);
                let result = v2::fetch_pack(transport.as_mut(), capabilities, request);
                http.drain();
                result.map_err(|err| http.take_trouble().unwrap_or_else(|| explain(err)))
            }
            Route::Child {
                child,
                transport,
                capabilities,
            } => v2::fetch_pack(transport.as_mut(), capabilities, request).map_err(|err| {
                child
                    .explain(url, &err.error)
                    .unwrap_or_else(|| explain(err))
            }),
            Route::Git(git) => {
                let PackRequest {
                    wants,
                    records,
                    quarantine,
                    ..
                } = request;
                let received = git.fetch_pack(wants, records, quarantine, watch);
                received.map(|completeness| StoredPack {
                    completeness,
                    named: UpstreamRefs::new(),
                })
            }
        };
        if watch.is_cancelled() {
            Err(cancelled().into())
        } else {
            result
        }
    }
}
