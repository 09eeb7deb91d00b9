//! A conversation with one upstream: opened, asked what upstream has, and what is missing received into a quarantine.

use crate::{
    mirrors::settings::Auth,
    process::{
        questions,
        watch::{Watch, cancelled},
    },
    repository::{
        quarantine::{Quarantine, Received},
        refs::{Refs, UpstreamRefs},
    },
};
use std::process::Command;

use common::protocol::{Failure, FailureKind};
use common::{
    address::upstream_url::{Scheme, UpstreamUrl},
    refspec::Refspecs,
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
    answers::explain,
    child::{self, Child, Meaning},
    fallback, http, local, ssh, v2,
};

/// A conversation with one upstream, by one access.
pub(crate) struct Session {
    url: UpstreamUrl,
    access: Access,
    way: Way,
    /// git signed in with something that only it has seen.
    signed_in_by_git: bool,
    /// What lets its child ask.
    _asking: Option<questions::Open>,
}

enum Way {
    Http {
        line: http::Line,
        transport: Box<HttpTransport<http::Line>>,
        capabilities: Capabilities,
    },
    Child {
        child: Child,
        transport: Box<child::Connection>,
        capabilities: Capabilities,
    },
    Git(Box<fallback::Git>),
}

impl Way {
    fn by_git(url: &UpstreamUrl, access: &Access, upstreams: &Upstreams) -> Self {
        Self::Git(Box::new(fallback::Git::new(url, access, upstreams)))
    }
}

impl Session {
    /// Opens a conversation: the first request of http, the start of a child for ssh and for an upstream on this machine.
    pub(crate) fn open(
        url: &UpstreamUrl,
        access: &Access,
        upstreams: &Upstreams,
        watch: &Watch,
    ) -> Result<Self, Trouble> {
        let (mut signed_in_by_git, mut asking) = (false, None);
        let way = match url.scheme() {
            Scheme::File => Self::open_local(url, access, upstreams, watch)?,
            Scheme::Ssh => {
                let opened = match Self::open_ssh(url, access, upstreams, watch) {
                    // It may have shared a connection that broke.
                    Err(trouble) if trouble.surprise && !watch.is_cancelled() => {
                        Self::open_ssh(url, access, upstreams, watch)
                    }
                    opened => opened,
                };
                let way;
                (way, asking) = opened?;
                way
            }
            Scheme::Http | Scheme::Https => match &access.http.needs_git {
                Some(_) => Way::by_git(url, access, upstreams),
                None => match Self::open_http(url, access, upstreams, watch) {
                    Err(trouble)
                        if access.auth == Auth::AsGit
                            && access.is_anonymous()
                            && trouble.wants_ticket() =>
                    {
                        signed_in_by_git = true;
                        Way::by_git(url, access, upstreams)
                    }
                    way => way?,
                },
            },
        };
        Ok(Self {
            url: url.clone(),
            access: access.clone(),
            way,
            signed_in_by_git,
            _asking: asking,
        })
    }

    fn open_http(
        url: &UpstreamUrl,
        access: &Access,
        upstreams: &Upstreams,
        watch: &Watch,
    ) -> Result<Way, Trouble> {
        let line = http::Line::new(url, access, &upstreams.clients, watch)?;
        let parsed = gix::url::parse(url.as_str()).map_err(|err| {
            Failure::new(FailureKind::Refused, format!("'{url}' is not a URL: {err}"))
        })?;
        let mut transport = Box::new(HttpTransport::new_http(
            line.clone(),
            parsed,
            Protocol::V2,
            false,
        ));
        let shake = transport.handshake(Service::UploadPack, &[]);
        let result = shake.map(|answer| (answer.actual_protocol, answer.capabilities));
        line.drain();
        match result {
            Ok((Protocol::V2, capabilities)) => Ok(Way::Http {
                line,
                transport,
                capabilities,
            }),
            Ok(_) => Ok(Way::by_git(url, access, upstreams)),
            Err(err) => match line.trouble() {
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
    ) -> Result<Way, Trouble> {
        let command = local::command(url, access);
        let way = Self::open_child(url, command, ("git", local::explain), access, watch)?;
        Ok(way.unwrap_or_else(|| Way::by_git(url, access, upstreams)))
    }

    fn open_ssh(
        url: &UpstreamUrl,
        access: &Access,
        upstreams: &Upstreams,
        watch: &Watch,
    ) -> Result<(Way, Option<questions::Open>), Trouble> {
        let line = upstreams.ssh.line(url, access, watch)?;
        if let Some(command) = line.ours {
            let opened = Self::open_child(url, command, ("ssh", ssh::explain), access, watch);
            let explained =
                |trouble| ssh::explain_refusal(url, access, line.asking.as_ref(), trouble);
            if let Some(way) = opened.map_err(explained)? {
                return Ok((way, line.asking));
            }
            upstreams.ssh.note_old(url);
        }
        let git = fallback::Git::new(url, access, upstreams);
        Ok((Way::Git(Box::new(git.over_ssh(line.for_git))), line.asking))
    }

    /// None where the other side speaks an old protocol.
    fn open_child(
        url: &UpstreamUrl,
        command: Command,
        (name, meaning): (&str, Meaning),
        access: &Access,
        watch: &Watch,
    ) -> Result<Option<Way>, Trouble> {
        let budget = access.http.no_progress;
        let (child, mut transport) = Child::start(command, name, meaning, budget, watch)?;
        let shake = transport.handshake(Service::UploadPack, &[]);
        match shake.map(|answer| (answer.actual_protocol, answer.capabilities)) {
            Ok((Protocol::V2, capabilities)) => Ok(Some(Way::Child {
                child,
                transport: Box::new(transport),
                capabilities,
            })),
            Ok(_) => Ok(None),
            Err(_) if watch.is_cancelled() => Err(cancelled().into()),
            Err(err) => {
                let err = err.raise();
                let said = child.explain(url, &err);
                Err(said.unwrap_or_else(|| explain(url, &err, None)))
            }
        }
    }

    /// Whether this conversation can go on with the next sync. One with a child cannot: it would answer from what it
    /// read when it started.
    pub(crate) fn can_be_kept(&self) -> bool {
        matches!(self.way, Way::Http { .. })
    }

    /// Whether it was opened for this upstream and access.
    pub(crate) fn is_for(&self, url: &UpstreamUrl, access: &Access) -> bool {
        self.url == *url && self.access == *access
    }

    /// Whether git signed in with something that only it has seen, such as a Kerberos ticket.
    pub(crate) fn signed_in_by_git(&self) -> bool {
        self.signed_in_by_git
    }

    /// Where upstream redirected the first request to.
    pub(crate) fn moved_to(&self) -> Option<UpstreamUrl> {
        match &self.way {
            Way::Http { line, .. } => line.moved_to(),
            Way::Child { .. } | Way::Git(_) => None,
        }
    }

    /// Asks what upstream has of what is tracked. One request over http.
    pub(crate) fn ask(&mut self, track: &Refspecs, watch: &Watch) -> Result<Advertised, Trouble> {
        watch.asking();
        match &mut self.way {
            Way::Http {
                line,
                transport,
                capabilities,
            } => {
                line.serve(watch);
                let refs = v2::list(transport.as_mut(), capabilities, track);
                line.drain();
                refs.map_err(|err| {
                    line.trouble()
                        .unwrap_or_else(|| explain(&self.url, &err, None))
                })
                .and_then(|refs| Advertised::new(&self.url, refs, v2::format(capabilities), track))
            }
            Way::Child {
                child,
                transport,
                capabilities,
            } => v2::list(transport.as_mut(), capabilities, track)
                .map_err(|err| {
                    child
                        .explain(&self.url, &err)
                        .unwrap_or_else(|| explain(&self.url, &err, None))
                })
                .and_then(|refs| Advertised::new(&self.url, refs, v2::format(capabilities), track)),
            Way::Git(git) => git.ask(track, watch),
        }
    }

    /// Receives everything that `wants` need and the mirror's `records` do not have.
    ///
    /// Only what upstream itself once had is named to it: commits that exist in the mirror alone are nobody's business.
    pub(crate) fn fetch(
        &mut self,
        wants: &UpstreamRefs,
        records: &Refs,
        quarantine: &Quarantine,
        watch: &Watch,
    ) -> Result<Received, Trouble> {
        let result = match &mut self.way {
            Way::Http {
                line,
                transport,
                capabilities,
            } => {
                line.serve(watch);
                let mut said = None;
                let result = v2::receive(
                    transport.as_mut(),
                    capabilities,
                    wants,
                    records,
                    quarantine,
                    watch,
                    &mut said,
                );
                line.drain();
                result.map_err(|err| {
                    line.trouble()
                        .unwrap_or_else(|| explain(&self.url, &err, said))
                })
            }
            Way::Child {
                child,
                transport,
                capabilities,
            } => {
                let mut said = None;
                v2::receive(
                    transport.as_mut(),
                    capabilities,
                    wants,
                    records,
                    quarantine,
                    watch,
                    &mut said,
                )
                .map_err(|err| {
                    child
                        .explain(&self.url, &err)
                        .unwrap_or_else(|| explain(&self.url, &err, said))
                })
            }
            Way::Git(git) => git.fetch(wants, records, quarantine, watch),
        };
        if watch.is_cancelled() {
            Err(cancelled().into())
        } else {
            result
        }
    }
}
