//! Other mirrors of the same upstream. A mirror that has nothing yet takes their packs, so that nothing is downloaded
//! twice; of refs, settings and credentials it takes nothing.
//!
//! Packs are taken within a sync, after upstream has accepted the login that the sync was asked for with: what a mirror
//! has is shown to whoever may read its upstream. Packs of what another mirror alone has are left there. Where only the
//! spelling of a URL says that the upstream is the same, what this login is advertised is packed, and nothing else.

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
    sync::Engine,
};

/// Takes the packs of all other mirrors of an upstream, for the mirror in `git_dir`. Returns what upstream had by their
/// records, all of which the mirror now has. What cannot be taken is downloaded. Blocks.
pub(crate) fn take_packs(
    engine: &Engine,
    url: &UpstreamUrl,
    git_dir: &Path,
    advertised: &UpstreamRefs,
    watch: &Watch,
) -> Refs {
    let mut taken = Refs::new();
    let of_url = |url| engine.registry.mirrors_of_url(url).unwrap_or_default();
    let mut others = of_url(url);
    others.extend(other_spelling(url).iter().flat_map(of_url));
    for other in others.iter().filter(|other| other.git_dir != git_dir) {
        let advertised = (other.settings.url != *url).then_some(advertised);
        match take_packs_of(engine, other, git_dir, advertised, watch) {
            Ok(records) => taken.extend(records),
            Err(err) => {
                let name = &other.settings.name;
                tracing::warn!("cannot take the packs of '{name}' for another mirror: {err}");
            }
        }
    }
    taken
}

/// Takes the packs of one mirror, or of what is `advertised` alone.
fn take_packs_of(
    engine: &Engine,
    other: &Mirror,
    git_dir: &Path,
    advertised: Option<&UpstreamRefs>,
    watch: &Watch,
) -> io::Result<Refs> {
    let from = &other.git_dir;
    // While somebody reads a mirror it stays where it is, and its packs stay in it.
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
    // What somebody has changed is not taken.
    verified::require(from)?;
    let quarantine = Quarantine::new(git_dir)?;
    let is_shared = |pack: &Verified| !pack.apart && advertised.is_none();
    let (shared, rest): (Vec<_>, Vec<_>) = fit.packs.into_iter().partition(is_shared);
    let there = pack_dir(git_dir);
    for pack in &shared {
        if !there.join(format!("{}.idx", pack.name)).exists() {
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
    // Links have changed their ctimes.
    let folder = pack_dir(from);
    let name = |pack: &Verified, ending| folder.join(format!("{}.{ending}", pack.name));
    let files = shared
        .iter()
        .flat_map(|pack| pack.files.keys().map(move |ending| name(pack, *ending)));
    crate::repository::verified::record_stamps(from, files.collect::<Vec<_>>().into_iter());
    if !rest.is_empty() {
        // What was pushed through the other mirror may be upstream's by now, in a pack with what is not.
        pack_rest(from, &records, &shared, quarantine.path(), watch)?;
    }
    quarantine.release(Origin::Upstream)?;
    Ok(records)
}

/// Gives the files of a pack to a quarantine: as reflinks, else as hard links, else as copies.
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

/// Packs what these refs need and no pack of those has.
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

/// Where branches and tags are that clones of a URL pushed to a mirror which does not serve the URL any more: one line for
/// each such mirror, when another one has just been made that serves it.
pub(crate) fn left_behind(registry: &Registry, new: &Mirror) -> Vec<String> {
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
