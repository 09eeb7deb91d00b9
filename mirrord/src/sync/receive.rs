//! Brings what upstream has into the mirror, checked, and judges whether it can be meant so.

use std::{collections::BTreeSet, io, path::Path};

use common::{
    address::upstream_url::UpstreamUrl,
    git,
    protocol::OrFailure,
    refspec::{self, UpstreamRef},
};
use gix::{ObjectId, bstr::BString};

use super::parts::{Download, Parts};
use crate::{
    process::watch::Watch,
    repository::{
        connected::{self, Trust},
        plan::{Advertisement, Head},
        refs::{self, Refs, UpstreamRefs},
        unserved::Reasons,
    },
    sync::guard,
    upstream::{Access, Session, Trouble, Upstreams},
};

/// What upstream still has of what the mirror says it has, and has lost: somebody removed a pack, or a disk did.
pub(super) fn lost(
    git_dir: &Path,
    refs: &Refs,
    upstream: &Advertisement,
) -> io::Result<BTreeSet<ObjectId>> {
    let repo = refs::open(git_dir)?;
    let recorded = |name: &UpstreamRef| refs.contains_key(&*name.record());
    let missing = upstream
        .refs
        .iter()
        .filter(|(name, oid)| recorded(name) && !repo.has_object(*oid));
    Ok(missing.map(|(_, oid)| *oid).collect())
}

/// What a sync brings, and what was there before.
pub(super) struct Source<'s> {
    /// Upstream.
    pub url: &'s UpstreamUrl,
    /// How it is signed in there.
    pub access: &'s Access,
    /// What it has.
    pub advertisement: &'s Advertisement,
    /// What the mirror had before it was asked.
    pub refs: &'s Refs,
    /// What upstream was seen to have since then, and is not believed.
    pub doubted: Option<&'s UpstreamRefs>,
    /// Public refs that pushes through this mirror change, or have just changed.
    pub pushed: &'s BTreeSet<BString>,
    /// Whether what comes is looked at for faults.
    pub fsck: bool,
    /// What the mirror is known to have. Where that is nothing, upstream is told of nothing, and sends all.
    pub trust: Trust<'s>,
    /// What upstream once had by the records of another mirror, whose packs this one has taken.
    pub taken: &'s Refs,
}

impl Source<'_> {
    /// What upstream once had and is here, by the names of the records or below one of them.
    fn known(&self) -> Refs {
        if self.trust == Trust::Nothing {
            return Refs::new();
        }
        let records = self.refs.iter().chain(self.taken);
        let records = records.filter(|(name, _)| refspec::recorded(name).is_some());
        let records = records.map(|(name, oid)| (name.clone(), *oid));
        let doubted = self.doubted.into_iter().flatten();
        let doubted = doubted.map(|(name, oid)| (name.record_below("doubted"), *oid));
        records.chain(doubted).collect()
    }

    /// What upstream had and is believed to have had: what is held back here has been believed, and what was pushed
    /// through this mirror is no surprise.
    fn believed(&self, track: &refspec::Refspecs) -> UpstreamRefs {
        let mut before = refs::records(self.refs, track);
        before.retain(|name, oid| {
            if let Some(held) = self.refs.get(&name.withheld()) {
                *oid = *held;
            }
            let public = track.public(name);
            !public.is_some_and(|public| self.pushed.contains(&*public))
        });
        before
    }
}

/// Brings the objects that a plan needs into the mirror, checked, but for what upstream cannot serve. Nothing is downloaded
/// that is already here.
pub(super) fn receive(
    session: &mut Session,
    upstreams: &Upstreams,
    git_dir: &Path,
    source: &Source<'_>,
    tips: &BTreeSet<ObjectId>,
    last_time: &Reasons,
    watch: &Watch,
) -> Result<Parts, Trouble> {
    if tips.is_empty() || connected::is_complete(git_dir, tips, source.trust, watch)? {
        return Ok(Parts::default());
    }
    let mut wants: UpstreamRefs = source
        .advertisement
        .refs
        .iter()
        .filter(|(_, oid)| tips.contains(*oid))
        .map(|(name, oid)| (name.clone(), *oid))
        .collect();
    if let Head::Detached(oid) = source.advertisement.head {
        wants.insert(UpstreamRef::head(), oid);
    }
    let download = Download {
        session,
        upstreams,
        git_dir,
        source,
        known: source.known(),
        watch,
    };
    download.receive(&wants, last_time)
}

/// Why what upstream has now is not to be believed without asking, when it is not. Its objects are here.
pub(super) fn suspicion(
    session: &mut Session,
    git_dir: &Path,
    source: &Source<'_>,
    track: &refspec::Refspecs,
    watch: &Watch,
) -> Result<Option<String>, Trouble> {
    let before = source.believed(track);
    let now = &source.advertisement.refs;
    if before.is_empty() || before == *now {
        return Ok(None);
    }
    // Refspecs may name the one branch that is gone, of many that are not.
    let is_empty = now.is_empty() && {
        let all = session.list_refs(&refspec::Refspecs::everything(), watch)?;
        let head = all.advertisement.head;
        all.advertisement.refs.is_empty() && !matches!(head, Head::Detached(_))
    };
    let repo = refs::open(git_dir).or_failure("cannot open the mirror")?;
    let words = guard::wiped(&before, now, is_empty, &repo, git::at(git_dir), watch)?;
    Ok(words.map(|words| format!("'{}' looks wiped: {words}", source.url)))
}
