//! The refs that upstream advertises, reduced to those that are tracked and have a valid name.

use common::{
    address::upstream_url::UpstreamUrl,
    protocol::{Failure, FailureKind},
    refspec::{OnDemand, Refspecs, UpstreamRef},
};
use gix::{
    ObjectId,
    bstr::{BStr, BString, ByteSlice},
};

use super::{Trouble, v2::ListedRef};
use crate::repository::{
    plan::{Advertisement, Head},
    refs::UpstreamRefs,
};

/// The refs that upstream advertises.
#[derive(Debug, Clone)]
pub(crate) struct Advertised {
    /// Refs that are tracked, and HEAD.
    pub advertisement: Advertisement,
    /// Refs beside these that a client wants.
    pub on_demand: UpstreamRefs,
    /// The hash by which upstream names objects.
    pub format: gix::hash::Kind,
    /// The number of refs that are left out because their names are not valid.
    pub invalid: usize,
}

impl Advertised {
    /// Reads the answer to `ls-refs`.
    pub(super) fn new(
        url: &UpstreamUrl,
        listed: Vec<ListedRef>,
        format: gix::hash::Kind,
        track: &Refspecs,
        on_demand: &OnDemand,
    ) -> Result<Self, Trouble> {
        let (mut refs, mut symrefs) = (Vec::new(), Vec::new());
        for ListedRef { name, oid, target } in listed {
            if let Some(target) = target {
                symrefs.push((name.clone(), target));
            }
            if let Some(oid) = oid {
                refs.push((name, oid));
            }
        }
        Self::from_refs(url, refs, symrefs, format, track, on_demand)
    }

    /// Keeps the refs that are tracked and have a name that git allows: names become paths, here and in every clone. Each of
    /// `symrefs` is the name of a symbolic ref, HEAD among them, and its target.
    pub(super) fn from_refs(
        url: &UpstreamUrl,
        listed: Vec<(BString, ObjectId)>,
        symrefs: Vec<(BString, BString)>,
        format: gix::hash::Kind,
        track: &Refspecs,
        on_demand: &OnDemand,
    ) -> Result<Self, Trouble> {
        let valid = |name: &BStr| gix::validate::reference::name(name).is_ok();
        let mut advertised = Self {
            advertisement: Advertisement::default(),
            on_demand: UpstreamRefs::new(),
            format,
            invalid: 0,
        };
        for (name, target) in symrefs {
            if !valid(target.as_bstr()) {
                advertised.invalid += usize::from(name == "HEAD");
                continue;
            }
            if name == "HEAD" {
                advertised.advertisement.head = Head::Branch(UpstreamRef::new(target));
                continue;
            }
            if !valid(name.as_bstr()) {
                continue;
            }
            let name = UpstreamRef::new(name);
            if track.public(&name).is_some() {
                let target = UpstreamRef::new(target);
                advertised.advertisement.symrefs.insert(name, target);
            }
        }
        // They come sorted, and to make a map of sorted entries at once takes a fraction of the time.
        let mut tracked = Vec::with_capacity(listed.len());
        for (name, oid) in listed {
            if oid.kind() != format {
                let message =
                    format!("'{url}' names an object by another hash than it says it uses");
                return Err(Failure::new(FailureKind::Unusable, message).into());
            }
            if name == "HEAD" {
                if advertised.advertisement.head == Head::Unknown {
                    advertised.advertisement.head = Head::Detached(oid);
                }
            } else if !valid(name.as_bstr()) {
                advertised.invalid += 1;
            } else {
                let name = UpstreamRef::new(name);
                let public = track.public(&name);
                if on_demand.wants(&name) && public.as_deref() != Some(name.as_bstr()) {
                    advertised.on_demand.insert(name.clone(), oid);
                }
                if public.is_some() {
                    tracked.push((name, oid));
                }
            }
        }
        advertised.advertisement.refs = tracked.into_iter().collect();
        Ok(advertised)
    }
}
