//! Other mirrors of the same upstream. The first sync of a mirror takes their packs, so that nothing is downloaded twice. It
//! takes no refs, settings or credentials.
//!
//! Packs are taken after upstream has accepted the login of the sync: who may read the upstream may read what its mirrors
//! have from it. Packs of what another mirror alone has stay there. Where only another spelling of the URL suggests that the
//! upstream is the same, the objects that upstream advertises to this login are packed, and no others.

use std::{collections::BTreeSet, fs, io, path::Path, process::Stdio};

use common::{
    address::upstream_url::UpstreamUrl,
    git,
    packs::{
        lease,
        listing::pack_dir,
        verified::{self, ENDINGS, NotVerified, Verified},
    },
    refspec,
};
use rustix::fs::ioctl_ficlone;
use tokio::runtime::Handle;

use super::Engine;
use crate::{
    mirrors::{
        registry::{Mirror, Registry},
        settings::ServesUrl,
        spelling::other_spelling,
    },
    process::{child, watch::Watch},
    repository::{
        local_refs,
        quarantine::{Origin, Quarantine},
        refs::{self, Refs, UpstreamRefs},
    },
};

/// Takes the packs of all other mirrors of an upstream for the mirror in `git_dir`. Returns their records, whose objects the
/// mirror has now. What cannot be taken is downloaded. Blocks.
pub(super) fn take_packs(
    engine: &Engine,
    url: &UpstreamUrl,
    git_dir: &Path,
    advertised: &UpstreamRefs,
    watch: &Watch,
) -> Refs {
    let mut taken = Refs::new();
    let of_url = |url| engine.registry.mirrors_of_url(url).unwrap_or_default();
    let mut siblings = of_url(url);
    siblings.extend(other_spelling(url).iter().flat_map(of_url));
    for sibling in siblings.iter().filter(|mirror| mirror.git_dir != git_dir) {
        let advertised = (sibling.settings.url != *url).then_some(advertised);
        match take_packs_of(engine, sibling, git_dir, advertised, watch) {
            Ok(records) => taken.extend(records),
            Err(err) => {
                let name = &sibling.settings.name;
                tracing::warn!("cannot take the packs of '{name}' for another mirror: {err}");
            }
        }
    }
    taken
}

/// Takes the packs of one mirror: all that it has from upstream, or only the objects of the refs that are `advertised`.
fn take_packs_of(
    engine: &Engine,
    sibling: &Mirror,
    git_dir: &Path,
    advertised: Option<&UpstreamRefs>,
    watch: &Watch,
) -> io::Result<Refs> {
    let from = &sibling.git_dir;
    // A mirror that is read is not moved, and keeps its packs.
    let _reading = Handle::current().block_on(engine.gates.gate(from).begin_read());
    let _lease = lease::share(from)?;
    if refs::open(from)?.object_hash() != refs::open(git_dir)?.object_hash() {
        return Ok(Refs::new());
    }
    // Read before the packs are listed: packs come before the refs that need them.
    let mut records = refs::read(from)?;
    records.retain(|name, oid| {
        let name = refspec::recorded(name);
        name.is_some_and(|name| advertised.is_none_or(|refs| refs.get(&name) == Some(oid)))
    });
    let Some(fit) = verified::fit(from)?.filter(|_| !records.is_empty()) else {
        return Ok(Refs::new());
    };
    // Packs that somebody has changed are not taken.
    verified::require(from)?;
    let quarantine = Quarantine::new(git_dir)?;
    let is_shared = |pack: &Verified| !pack.apart && advertised.is_none();
    let (shared, rest): (Vec<_>, Vec<_>) = fit.packs.into_iter().partition(is_shared);
    let present = pack_dir(git_dir);
    for pack in &shared {
        if !present.join(format!("{}.idx", pack.name)).exists() {
            let to = quarantine.path().join("pack");
            link(&pack_dir(from), pack, &to)?;
        }
    }
    let linked = quarantine.path().join("pack");
    for pack in verified::packs(&linked)? {
        let digests = shared.iter().find(|shared| shared.name == pack.name);
        if digests.is_none_or(|digests| !pack.digests(&linked).is_ok_and(|of| of == digests.files))
        {
            return Err(io::Error::other(NotVerified(linked.join(pack.name))));
        }
    }
    // Hard links have changed the ctimes of the files.
    let folder = pack_dir(from);
    let name = |pack: &Verified, ending| folder.join(format!("{}.{ending}", pack.name));
    let files = shared
        .iter()
        .flat_map(|pack| pack.files.keys().map(move |ending| name(pack, *ending)));
    crate::repository::verified::record_stamps(from, files.collect::<Vec<_>>().into_iter());
    if !rest.is_empty() {
        // Objects that were pushed through the other mirror may be upstream's by now, in a pack with others that are not.
        pack_rest(from, &records, &shared, quarantine.path(), watch)?;
    }
    quarantine.release(Origin::Upstream)?;
    Ok(records)
}

/// Links the files of a pack into the directory `to`: as reflinks, else as hard links, else as copies.
fn link(from: &Path, pack: &Verified, to: &Path) -> io::Result<()> {
    for ending in ENDINGS
        .into_iter()
        .filter(|ending| pack.files.contains_key(ending))
    {
        let name = format!("{}.{ending}", pack.name);
        let (source, target) = (from.join(&name), to.join(&name));
        let file = fs::File::open(&source)?;
        let new = fs::File::create_new(&target)?;
        if ioctl_ficlone(&new, &file).is_ok() {
            continue;
        }
        fs::remove_file(&target)?;
        if fs::hard_link(&source, &target).is_err() {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

/// Packs the objects that `refs` need and none of `packs` has.
fn pack_rest(
    git_dir: &Path,
    refs: &Refs,
    packs: &[Verified],
    quarantine: &Path,
    watch: &Watch,
) -> io::Result<()> {
    let names = packs.iter().map(|pack| format!("{}.pack", pack.name));
    let mut git = git::at(git_dir);
    git.args(["pack-objects", "--revs", "--non-empty", "-q"])
        .arg("--delta-base-offset")
        .args(names.map(|name| format!("--keep-pack={name}")))
        .arg(quarantine.join("pack/pack"))
        .stdout(Stdio::null());
    let tips: BTreeSet<_> = refs.values().collect();
    let input: String = tips.iter().map(|tip| format!("{tip}\n")).collect();
    let ended = child::run(git, input.into_bytes(), watch)?;
    if ended.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&ended.stderr);
    let message = stderr.trim().trim_start_matches("fatal: ").to_owned();
    Err(io::Error::other(message))
}

/// The warnings of a new mirror that serves a URL: one line for each mirror that served the URL before and has local branches
/// or tags, which clones of the URL pushed to it.
pub(super) fn local_refs_elsewhere(registry: &Registry, new: &Mirror) -> Vec<String> {
    if new.settings.serves_url != ServesUrl::Yes {
        return Vec::new();
    }
    let url = &new.settings.url;
    let mut lines = Vec::new();
    for Mirror { git_dir, settings } in registry.mirrors_of_url(url).unwrap_or_default() {
        let refs = refs::read(&git_dir).unwrap_or_default();
        if settings.serves_url == ServesUrl::Formerly
            && !local_refs::list(&refs, &settings.rules.track).is_empty()
        {
            let name = settings.name;
            lines.push(format!(
                "local branches and tags of '{url}' are in the mirror '{name}': git ls-remote 'mirror::{name}'"
            ));
        }
    }
    lines
}
