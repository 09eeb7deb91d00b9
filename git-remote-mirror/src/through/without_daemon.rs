//! Whether a command goes through to upstream where no daemon can be had. Somebody who routes all URLs through the mirror
//! goes on as without it. Somebody who typed `mirror::` meant the mirror. What only the mirror has is never passed by.

use common::{address::upstream_url::UpstreamUrl, git::client_context::truth, paths::Paths};

use super::on_disk::OnDisk;
use crate::invocation::Invocation;

/// The setting: `yes`, `no`, or `auto`, which means 'where the URL was routed'.
const FAIL_OPEN: &str = "mirror.failopen";

/// Whether this command may go through.
pub(super) fn is_allowed(invocation: &Invocation, url: &UpstreamUrl, service: &str) -> bool {
    let is_wanted = match invocation.config.get(FAIL_OPEN) {
        None | Some("auto") => is_routed(invocation),
        Some(value) => truth(value),
    };
    is_wanted && has_nothing_of_its_own(url, service).unwrap_or(false)
}

/// Whether a rule of the user's has turned the URL into a mirror's, and nobody has typed it as one.
fn is_routed(invocation: &Invocation) -> bool {
    let Invocation { remote, config, .. } = invocation;
    let is_mirror = |url: &str| {
        let url = url.to_ascii_lowercase();
        url.starts_with("mirror::") || url.starts_with("mirror://")
    };
    let keys = ["url", "pushurl"].map(|key| format!("remote.{remote}.{key}"));
    let entries = config.entries().iter();
    let mut typed = entries.filter(|(key, _)| keys.contains(key));
    // A remote without a name is called by its URL.
    !is_mirror(remote) && !typed.any(|(_, url)| is_mirror(url))
}

/// Whether the mirror of this URL, if there is one, has neither refs nor a login that upstream does not give. None where
/// that cannot be told.
fn has_nothing_of_its_own(url: &UpstreamUrl, service: &str) -> Option<bool> {
    let paths = Paths::from_env().ok()?;
    let Some(mirror) = OnDisk::of_url(&paths, url).ok()? else {
        return Some(true);
    };
    let takes_it = service != "git-receive-pack" || mirror.takes_pushes();
    let has_local_refs = mirror.has_local_refs().ok()?;
    Some(takes_it && mirror.signs_in_as_git() && !has_local_refs)
}
