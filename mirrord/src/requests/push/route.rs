//! Where each command of a push goes: to upstream, into the mirror and no further, or nowhere.

use std::{collections::BTreeSet, io};

use common::{
    git::child_log,
    protocol::{ATOMIC_PUSH_FAILURE, Command, Lease, Outcome as Came, Reserve, Route},
    refspec::{self, PublicRef, UpstreamRef, is_ours},
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
        ancestry,
        plan::{Accepted, LocalEdit},
        refs::{self, Refs, conflicting},
    },
    sync::open_pushes::Opened,
};

/// The commands of a push, each with where it goes. What is refused here has not reached upstream.
pub(super) struct Routed {
    mirror: Mirror,
    commands: Vec<Command>,
    /// In the order of the commands.
    pub routes: Vec<Route>,
    /// Whether upstream is to take all or nothing.
    pub atomic: bool,
    incomplete: bool,
}

/// What is to be written of a push.
pub(super) struct Outcome {
    /// The mirror, as it is while its refs are reserved.
    pub mirror: Mirror,
    /// What upstream has accepted.
    pub accepted: Vec<Accepted>,
    /// What stays here.
    pub here: Vec<LocalEdit>,
    /// Whether that is everything which the client sent.
    pub all: bool,
}

impl Routed {
    /// Looks at each command of an open push, whose refs are reserved.
    pub(super) fn new(
        registry: &Registry,
        opened: &Opened,
        commands: Vec<Command>,
        request: &Reserve,
    ) -> io::Result<Self> {
        let gone = || io::Error::other("it was removed in the middle of the push");
        // Its refspecs may have been changed since the push was opened; from now on they cannot.
        let mirror = registry.at(&opened.mirror.git_dir)?.ok_or_else(gone)?;
        let refs = refs::read(&mirror.git_dir)?;
        let mut desk = Router {
            opened,
            mirror: &mirror,
            after: refs.clone(),
            refs: &refs,
            repo: opened.quarantine.repository_with_incoming()?,
        };
        // What goes makes room for what comes.
        let mut routes: Vec<Option<Route>> = vec![None; commands.len()];
        for deletes in [true, false] {
            for (command, route) in commands.iter().zip(&mut routes) {
                if command.new.is_none() == deletes {
                    *route = Some(desk.route(command).unwrap_or_else(Route::Refused));
                }
            }
        }
        let mut seen = BTreeSet::new();
        let routes = commands.iter().zip(routes.into_iter().flatten());
        let routes = routes.map(|(command, route)| match route {
            Route::Upstream { .. } | Route::Local { .. } if !seen.insert(&command.name) => {
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
        routed.stand_or_fall(request.atomic);
        Ok(routed)
    }

    /// Whether something is to be sent to upstream that the mirror keeps.
    pub(super) fn goes_upstream(&self) -> bool {
        let kept =
            |route: &Route| matches!(route, Route::Upstream { lease, .. } if *lease != Lease::None);
        self.routes.iter().any(kept)
    }

    /// Whether nothing is left to do.
    pub(super) fn are_all_refused(&self) -> bool {
        self.routes
            .iter()
            .all(|route| matches!(route, Route::Refused(_)))
    }

    /// Decides what stands or falls together: what the client says does, and what goes upstream if the mirror's switch
    /// says so.
    fn stand_or_fall(&mut self, client: bool) {
        let switch = self.mirror.settings.rules.atomic;
        let is_refused = |route: &Route| matches!(route, Route::Refused(_));
        let goes_up = |route: &Route| matches!(route, Route::Upstream { .. });
        let upstreams = self.routes.iter().filter(|route| goes_up(route)).count();
        if client && switch == Atomic::No && upstreams > 1 {
            let name = &self.mirror.settings.name;
            let reason = format!(
                "this mirror asks upstream for no atomic push; 'mirrord set {name} --atomic auto' lets it"
            );
            self.refuse(&reason, goes_up);
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
        if switch == Atomic::Yes && missing {
            self.refuse(ATOMIC_PUSH_FAILURE, goes_up);
        }
        self.atomic = client || (switch == Atomic::Yes && upstreams > 1);
        if switch == Atomic::No {
            self.atomic = false;
        }
    }

    fn refuse(&mut self, reason: &str, which: impl Fn(&Route) -> bool) {
        for route in self.routes.iter_mut().filter(|route| which(route)) {
            *route = Route::Refused(reason.to_owned());
        }
    }

    /// What comes of it when the commands in these places are accepted.
    pub(super) fn tally(&self, places: &BTreeSet<u32>) -> Came {
        let (mut sent, mut kept, mut refused) = (0, 0, 0);
        for (at, route) in self.routes.iter().enumerate() {
            let is_accepted = u32::try_from(at).is_ok_and(|at| places.contains(&at));
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
        Came::Pushed {
            sent,
            kept,
            refused,
            reason,
        }
    }

    /// What is to be written, of the commands in these places.
    pub(super) fn outcome(self, places: &BTreeSet<u32>) -> Outcome {
        let count = self.commands.len();
        // Also what receive-pack refused by itself came along.
        let mut all = !self.incomplete && places.len() == count;
        let (mut accepted, mut here) = (Vec::new(), Vec::new());
        let oid = |hex: &Option<String>| ObjectId::from_hex(hex.as_ref()?.as_bytes()).ok();
        for (at, (command, route)) in self.commands.iter().zip(self.routes).enumerate() {
            if !u32::try_from(at).is_ok_and(|at| places.contains(&at)) {
                continue;
            }
            let (old, new) = (oid(&command.old), oid(&command.new));
            match route {
                Route::Local { .. } => here.push(LocalEdit {
                    name: PublicRef::new(command.name.clone()),
                    old,
                    new,
                }),
                Route::Upstream {
                    lease: Lease::None, ..
                } => all = false,
                Route::Upstream { name, lease } => accepted.push(Accepted {
                    name: UpstreamRef::new(name),
                    shown: old,
                    old: match lease {
                        Lease::Value(value) => oid(&Some(value)),
                        Lease::Absent | Lease::None => None,
                    },
                    new,
                }),
                Route::Refused(_) => all = false,
            }
        }
        Outcome {
            mirror: self.mirror,
            accepted,
            here,
            all,
        }
    }
}

/// Where commands are looked at, one after the other.
struct Router<'d> {
    opened: &'d Opened,
    mirror: &'d Mirror,
    refs: &'d Refs,
    /// With what the push has brought.
    repo: gix::Repository,
    /// What the refs will be after the commands that have been looked at, if all of them are carried out.
    after: Refs,
}

impl Router<'_> {
    fn route(&mut self, command: &Command) -> Result<Route, String> {
        if gix::validate::reference::name(BStr::new(&command.name)).is_err() {
            return Err("funny refname".to_owned());
        }
        let route = match self.mirror.settings.rules.track.route(&command.name) {
            refspec::Route::Tracked(upstream) => self.tracked(command, upstream)?,
            refspec::Route::Through => Route::Upstream {
                name: command.name.clone(),
                lease: Lease::None,
            },
            refspec::Route::Local => {
                self.require_unmoved(command)?;
                self.require_commit(command)?;
                Route::Local { reveals: false }
            }
            refspec::Route::Forbidden if is_ours(&command.name) => {
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
        } else if !self.after.contains_key(name) && self.is_kept(&route) {
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

    /// Whether a ref is the user's own. What is upstream's, upstream itself judges.
    fn is_local(&self, name: &BString) -> bool {
        let track = &self.mirror.settings.rules.track;
        match track.route(name) {
            refspec::Route::Tracked(upstream) => self.value(name) != self.value(&upstream.record()),
            _ => true,
        }
    }

    /// Whether the mirror will show what goes there.
    fn is_kept(&self, route: &Route) -> bool {
        !matches!(
            route,
            Route::Upstream {
                lease: Lease::None,
                ..
            }
        )
    }

    fn tracked(&self, command: &Command, upstream: UpstreamRef) -> Result<Route, String> {
        self.require_unmoved(command)?;
        let here = self.value(&command.name);
        let record = self.value(&upstream.record());
        let lease = match (record, &command.new) {
            // It has never been upstream: the user's own, which may go there now.
            (None, Some(_)) => Lease::Absent,
            (None, None) if here.is_some() => return Ok(Route::Local { reveals: false }),
            // Upstream has not shown it: it may hide it, or not have it. Only upstream can say which. The client names no
            // value, and a lease on its absence would fail where upstream shows the ref to pushes and not to fetches. So it
            // is sent as plain git sends it: what is there when it arrives goes, also a branch that somebody has made since
            // this mirror asked. Nothing here changes with it.
            (None, None) => Lease::None,
            // Nothing of the user's own is in the way of upstream's.
            (Some(record), _) if Some(&record) == here.as_ref() => Lease::Value(record),
            // A local ref with another name, as `a` beside `a/b`, keeps it from being shown: upstream's is the only one.
            (Some(record), None) if here.is_none() => Lease::Value(record),
            // It is, and makes room for it.
            (Some(_), None) => return Ok(Route::Local { reveals: true }),
            // What contains upstream's takes nothing from it; else the client decided without having seen that.
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

    /// Somebody may have been faster than the client, which decided by what was there before.
    fn require_unmoved(&self, command: &Command) -> Result<(), String> {
        let here = self.value(&command.name);
        let is_there_already = here.is_some() && here == command.new;
        if here == command.old || is_there_already {
            Ok(())
        } else {
            Err("stale info".to_owned())
        }
    }

    /// A branch that is no commit would be a fault of the mirror's.
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

    /// Whether a commit that was pushed has another one among its ancestors.
    fn contains(&self, new: &str, old: &str) -> Result<bool, String> {
        let mut git = self.opened.quarantine.git();
        git.args(["merge-base", "--is-ancestor", old, new]);
        let asked = child_log::status(&mut git);
        asked
            .map(|status| status.success())
            .map_err(|err| err.to_string())
    }
}
