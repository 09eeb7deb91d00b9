//! Decides for each command of a push: it is sent to upstream, or stays in the mirror as a local ref, or is refused.

use std::{collections::BTreeSet, io};

use common::{
    git::child_log,
    protocol::{ATOMIC_PUSH_FAILURE, CarryOutPush, Command, Lease, Outcome, Route},
    refspec::{self, PublicRef, UpstreamRef, is_reserved},
};
use gix::{
    ObjectId,
    bstr::{BStr, BString},
};

use crate::{
    mirrors::{
        registry::{Mirror, Registry},
        settings::Atomic,
    },
    repository::{
        ancestry, on_demand,
        plan::{Accepted, LocalEdit},
        refs::{self, Refs, conflicting},
    },
    sync::open_pushes::OpenPush,
};

/// The commands of a push, each with its route. A command that is refused here has not reached upstream.
pub(super) struct Routed {
    mirror: Mirror,
    commands: Vec<Command>,
    /// In the order of the commands.
    pub routes: Vec<Route>,
    /// Whether upstream is to take all or nothing.
    pub atomic: bool,
    incomplete: bool,
}

/// What a push changes in the mirror.
pub(super) struct PushChanges {
    /// The mirror, as it is while its refs are reserved.
    pub mirror: Mirror,
    /// The tracked refs that upstream has accepted.
    pub accepted: Vec<Accepted>,
    /// The local refs.
    pub local: Vec<LocalEdit>,
    /// Whether these are all refs for which the client sent objects.
    pub is_everything: bool,
}

impl Routed {
    /// Decides where each command of an open push goes. The refs of the commands are reserved.
    pub(super) fn new(
        registry: &Registry,
        opened: &OpenPush,
        commands: Vec<Command>,
        request: &CarryOutPush,
    ) -> io::Result<Self> {
        let gone = || io::Error::other("it was removed in the middle of the push");
        // The refspecs may have been changed since the push was opened; while refs are reserved they cannot.
        let mirror = registry
            .mirror_at(&opened.mirror.git_dir)?
            .ok_or_else(gone)?;
        let refs = refs::read(&mirror.git_dir)?;
        let mut router = Router {
            opened,
            mirror: &mirror,
            after: refs.clone(),
            refs: &refs,
            repo: opened.quarantine.repository_with_incoming()?,
        };
        // Deletions first: a deleted `a` makes room for a new `a/b`.
        let mut routes: Vec<Option<Route>> = vec![None; commands.len()];
        for deletes in [true, false] {
            for (command, route) in commands.iter().zip(&mut routes) {
                if command.new.is_none() == deletes {
                    *route = Some(router.route(command).unwrap_or_else(Route::Refused));
                }
            }
        }
        let mut names = BTreeSet::new();
        let routes = commands.iter().zip(routes.into_iter().flatten());
        let routes = routes.map(|(command, route)| match route {
            Route::Upstream { .. } | Route::Local { .. } if !names.insert(&command.name) => {
                Route::Refused("the push names it twice".to_owned())
            }
            route => route,
        });
        let routes = routes.collect();
        let mut routed = Self {
            mirror,
            commands,
            routes,
            atomic: false,
            incomplete: request.incomplete,
        };
        routed.apply_atomic(request.atomic);
        Ok(routed)
    }

    /// Whether a command changes a ref at upstream that the mirror keeps, too.
    pub(super) fn changes_kept_ref_upstream(&self) -> bool {
        let mut routes = self.commands.iter().zip(&self.routes);
        routes.any(|(command, route)| {
            matches!(route, Route::Upstream { .. }) && is_kept(&self.mirror, command, route)
        })
    }

    /// Whether all commands are refused.
    pub(super) fn are_all_refused(&self) -> bool {
        self.routes
            .iter()
            .all(|route| matches!(route, Route::Refused(_)))
    }

    /// Refuses the commands that are atomic with a refused one: all commands where the client has said `--atomic`, and
    /// those for upstream where the mirror's setting `atomic` says so.
    fn apply_atomic(&mut self, client: bool) {
        let setting = self.mirror.settings.rules.atomic;
        let is_refused = |route: &Route| matches!(route, Route::Refused(_));
        let goes_upstream = |route: &Route| matches!(route, Route::Upstream { .. });
        let upstream_count = self
            .routes
            .iter()
            .filter(|route| goes_upstream(route))
            .count();
        if client && setting == Atomic::No && upstream_count > 1 {
            let name = &self.mirror.settings.name;
            let reason = format!(
                "this mirror asks upstream for no atomic push; 'mirrord set {name} --atomic auto' lets it"
            );
            self.refuse(&reason, goes_upstream);
        }
        let missing = self.incomplete || self.routes.iter().any(is_refused);
        if client && missing {
            self.refuse(ATOMIC_PUSH_FAILURE, |route| !is_refused(route));
        }
        let track = &self.mirror.settings.rules.track;
        let is_local = |command: &Command| track.route(&command.name) == refspec::Route::Local;
        let missing = self.incomplete
            || self
                .commands
                .iter()
                .zip(&self.routes)
                .any(|(command, route)| is_refused(route) && !is_local(command));
        if setting == Atomic::Yes && missing {
            self.refuse(ATOMIC_PUSH_FAILURE, goes_upstream);
        }
        self.atomic = client || (setting == Atomic::Yes && upstream_count > 1);
        if setting == Atomic::No {
            self.atomic = false;
        }
    }

    fn refuse(&mut self, reason: &str, which: impl Fn(&Route) -> bool) {
        for route in self.routes.iter_mut().filter(|route| which(route)) {
            *route = Route::Refused(reason.to_owned());
        }
    }

    /// The outcome of the push when the commands at these indexes are accepted.
    pub(super) fn tally(&self, accepted: &BTreeSet<u32>) -> Outcome {
        let (mut sent, mut kept, mut refused) = (0, 0, 0);
        for (index, route) in self.routes.iter().enumerate() {
            let is_accepted = is_among(accepted, index);
            match route {
                Route::Upstream { .. } if is_accepted => sent += 1,
                Route::Local { .. } if is_accepted => kept += 1,
                _ => refused += 1,
            }
        }
        let reason = self.routes.iter().find_map(|route| match route {
            Route::Refused(reason) => Some(reason.clone()),
            Route::Upstream { .. } | Route::Local { .. } => None,
        });
        Outcome::Pushed {
            sent,
            kept,
            refused,
            reason,
        }
    }

    /// What the push changes in the mirror when the commands at these indexes are accepted.
    pub(super) fn changes(self, indexes: &BTreeSet<u32>) -> PushChanges {
        let count = self.commands.len();
        // The objects of commands that receive-pack itself has refused came along as well.
        let mut is_everything = !self.incomplete && indexes.len() == count;
        let (mut accepted, mut local) = (Vec::new(), Vec::new());
        let oid = |hex: &Option<String>| ObjectId::from_hex(hex.as_ref()?.as_bytes()).ok();
        for (index, (command, route)) in self.commands.iter().zip(self.routes).enumerate() {
            if !is_among(indexes, index) {
                continue;
            }
            let (old, new) = (oid(&command.old), oid(&command.new));
            if !is_kept(&self.mirror, command, &route) {
                is_everything = false;
                continue;
            }
            match route {
                Route::Local { .. } => local.push(LocalEdit {
                    name: PublicRef::new(command.name.clone()),
                    old,
                    new,
                }),
                Route::Upstream { name, lease } => accepted.push(Accepted {
                    name: UpstreamRef::new(name),
                    shown: old,
                    old: match lease {
                        Lease::Value(value) => oid(&Some(value)),
                        Lease::Absent | Lease::None => None,
                    },
                    new,
                }),
                Route::Refused(_) => is_everything = false,
            }
        }
        PushChanges {
            mirror: self.mirror,
            accepted,
            local,
            is_everything,
        }
    }
}

/// Whether the mirror will have the ref of a command with this route.
fn is_kept(mirror: &Mirror, command: &Command, route: &Route) -> bool {
    match route {
        Route::Upstream {
            lease: Lease::None, ..
        } => false,
        _ => mirror.settings.rules.track.route(&command.name) != refspec::Route::Through,
    }
}

fn is_among(indexes: &BTreeSet<u32>, index: usize) -> bool {
    u32::try_from(index).is_ok_and(|index| indexes.contains(&index))
}

/// Decides where commands go, one after the other.
struct Router<'p> {
    opened: &'p OpenPush,
    mirror: &'p Mirror,
    refs: &'p Refs,
    /// The mirror's objects, and those that the push has brought.
    repo: gix::Repository,
    /// What the refs will be if all commands so far are carried out.
    after: Refs,
}

impl Router<'_> {
    fn route(&mut self, command: &Command) -> Result<Route, String> {
        if gix::validate::reference::name(BStr::new(&command.name)).is_err() {
            return Err("funny refname".to_owned());
        }
        let route = match self.mirror.settings.rules.track.route(&command.name) {
            refspec::Route::Tracked(upstream) => self.route_tracked(command, upstream)?,
            refspec::Route::Through => self.route_through(command)?,
            refspec::Route::Local => {
                self.require_unmoved(command)?;
                self.require_commit(command)?;
                Route::Local { reveals: false }
            }
            refspec::Route::Forbidden if is_reserved(&command.name) => {
                return Err("the name is kept for the mirror's own records".to_owned());
            }
            refspec::Route::Forbidden => return Err("funny refname".to_owned()),
        };
        if let (Route::Upstream { .. }, Some(trouble)) = (&route, &self.opened.trouble) {
            return Err(trouble.message.clone());
        }
        let name = BStr::new(&command.name);
        if command.new.is_none() {
            self.after.remove(name);
        } else if !self.after.contains_key(name) && is_kept(self.mirror, command, &route) {
            if let Some(other) = conflicting(&self.after, name)
                && (matches!(route, Route::Local { .. }) || self.is_local(other))
            {
                return Err(format!("'{other}' exists"));
            }
            let oid = ObjectId::null(gix::hash::Kind::Sha1);
            self.after.insert(BString::from(command.name.clone()), oid);
        }
        Ok(route)
    }

    /// Whether a ref is local. Whether a ref of upstream's is in the way, upstream itself judges.
    fn is_local(&self, name: &BString) -> bool {
        let track = &self.mirror.settings.rules.track;
        match track.route(name) {
            refspec::Route::Tracked(upstream) => self.value(name) != self.value(&upstream.record()),
            _ => true,
        }
    }

    /// Sends a command for a ref beside branches and tags upstream. A client that was shown upstream's value, because it
    /// asked for it, has decided by that value; any other leaves the decision to upstream.
    fn route_through(&self, command: &Command) -> Result<Route, String> {
        let name = UpstreamRef::new(command.name.clone());
        let kept = on_demand::value(self.refs, &name).map(|oid| oid.to_string());
        let lease = match &command.old {
            Some(old) if kept.as_ref() == Some(old) => Lease::Value(old.clone()),
            // A ref that the mirror alone has, or none.
            old if *old == self.value(&command.name) => Lease::None,
            _ => return Err("stale info".to_owned()),
        };
        Ok(Route::Upstream {
            name: name.into(),
            lease,
        })
    }

    /// Decides whether a command for a tracked ref goes upstream, and with which lease.
    fn route_tracked(&self, command: &Command, upstream: UpstreamRef) -> Result<Route, String> {
        self.require_unmoved(command)?;
        let public = self.value(&command.name);
        let record = self.value(&upstream.record());
        let lease = match (record, &command.new) {
            // The ref was never upstream: it is local, and may be sent there now.
            (None, Some(_)) => Lease::Absent,
            (None, None) if public.is_some() => return Ok(Route::Local { reveals: false }),
            // A fetch has not shown the ref: upstream may hide it, or not have it, and only upstream knows. The client names
            // no old value, and a lease on the ref's absence would fail where upstream shows it to pushes and hides it from
            // fetches. So the deletion is sent as plain git sends it, without a lease, and deletes whatever upstream has
            // when it arrives, also a branch that somebody has made since the last sync. The mirror does not change.
            (None, None) => Lease::None,
            // The public ref is upstream's.
            (Some(record), _) if Some(&record) == public.as_ref() => Lease::Value(record),
            // No public ref: a local ref with another name, `a` beside `a/b`, keeps upstream's from being shown.
            (Some(record), None) if public.is_none() => Lease::Value(record),
            // The public ref is local, and its deletion makes room for upstream's.
            (Some(_), None) => return Ok(Route::Local { reveals: true }),
            // A commit that contains upstream's loses none of it. With any other, the client has not seen upstream's.
            (Some(record), Some(new)) if self.contains(new, &record)? => Lease::Value(record),
            (Some(_), Some(_)) => {
                return Err("upstream has another one; see 'mirrord show'".to_owned());
            }
        };
        Ok(Route::Upstream {
            name: upstream.into(),
            lease,
        })
    }

    /// Refuses a command whose old value is no longer that of the ref: somebody was faster than the client.
    fn require_unmoved(&self, command: &Command) -> Result<(), String> {
        let now = self.value(&command.name);
        let is_there_already = now.is_some() && now == command.new;
        if now == command.old || is_there_already {
            Ok(())
        } else {
            Err("stale info".to_owned())
        }
    }

    /// Refuses a branch that is no commit, as git does.
    fn require_commit(&self, command: &Command) -> Result<(), String> {
        let oid = |hex: &String| ObjectId::from_hex(hex.as_bytes()).ok();
        match command.new.as_ref().and_then(oid) {
            Some(oid)
                if command.name.starts_with(b"refs/heads/")
                    && ancestry::peel_to_commit(&self.repo, oid) != Some(oid) =>
            {
                Err("not a commit".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn value(&self, name: &[u8]) -> Option<String> {
        self.refs.get(BStr::new(name)).map(ToString::to_string)
    }

    /// Whether a commit of the push has another commit among its ancestors.
    fn contains(&self, new: &str, old: &str) -> Result<bool, String> {
        let mut git = self.opened.quarantine.git();
        git.args(["merge-base", "--is-ancestor", old, new]);
        let checked = child_log::status(&mut git);
        checked
            .map(|status| status.success())
            .map_err(|err| err.to_string())
    }
}
