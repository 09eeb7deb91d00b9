//! Refs that have lost objects: which they are, and how local ones are moved out of the way until the objects are there
//! again.
//!
//! git clones nothing from a repository with one such branch, and takes no push. So a local branch goes into the history,
//! and comes back when it is whole, unless another branch has its name by then.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    process::Stdio,
    time::SystemTime,
};

use common::{git, refspec};
use gix::{
    ObjectId,
    bstr::{BString, ByteSlice},
};

use crate::{
    mirrors::registry::Mirror,
    process::{child, watch::Watch},
    repository::{
        history::{self, Why},
        plan::{Edit, Plan},
        publish, refs,
    },
};

/// The name under which lost objects are reported that upstream had.
const UPSTREAMS: &str = "what upstream had";

/// What a mirror has lost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Lost {
    /// The refs that need it, entries of the history among them.
    refs: BTreeSet<BString>,
    /// Whether records of upstream's refs need it.
    upstreams: bool,
}

impl Lost {
    /// Finds what a mirror has lost, by a walk from each ref.
    pub(super) fn find(git_dir: &Path, watch: &Watch) -> io::Result<Self> {
        let refs = refs::read(git_dir)?;
        let is_record = |name: &[u8]| refspec::recorded(name).is_some();
        let records = refs.iter().filter(|(name, _)| is_record(name));
        let records: BTreeSet<ObjectId> = records.map(|(_, oid)| *oid).collect();
        let are_whole = is_whole(git_dir, &records, &BTreeSet::new(), watch)?;
        let known = if are_whole {
            &records
        } else {
            &BTreeSet::new()
        };
        let mut lost = Self::default();
        for (name, oid) in refs.iter().filter(|(name, _)| !is_record(name)) {
            // A ref that is what upstream has is covered by its record.
            if !records.contains(oid) && !is_whole(git_dir, &BTreeSet::from([*oid]), known, watch)?
            {
                lost.refs.insert(name.clone());
            }
        }
        lost.upstreams = !are_whole;
        Ok(lost)
    }

    /// Whether upstream may still have some of what is lost.
    pub(super) fn is_upstreams(&self) -> bool {
        self.upstreams
    }

    /// The names of the refs as people know them, for `status` and the log.
    pub(super) fn names(&self, git_dir: &Path) -> io::Result<Vec<String>> {
        let damaged = history::damaged(&refs::read(git_dir)?).into_iter();
        let damaged: BTreeMap<_, _> = damaged.map(|(name, entry)| (name, entry.name)).collect();
        let names = self.refs.iter().filter(|name| !is_on_demand(name));
        let names = names.map(|name| damaged.get(name).unwrap_or(name).to_string());
        let upstreams = self.upstreams.then(|| UPSTREAMS.to_owned());
        Ok(names.chain(upstreams).collect())
    }

    /// Moves local refs that have lost something into the history, and brings those back that are whole again. Returns
    /// whether it has forgotten one, because another ref has its name.
    pub(super) fn move_refs(&self, mirror: &Mirror) -> io::Result<bool> {
        let refs = refs::read(&mirror.git_dir)?;
        let stamp = history::stamp(&refs, SystemTime::now());
        let (mut plan, mut has_forgotten) = (Plan::default(), false);
        let mut edit = |name: BString, old, new| plan.edits.insert(name, Edit { old, new });
        let own = self.refs.iter().filter(|name| !refspec::is_reserved(name));
        for (name, oid) in own.filter_map(|name| Some((name, *refs.get(name)?))) {
            edit(name.clone(), Some(oid), None);
            let kept = history::ref_name(stamp, Why::Damaged, name.as_bstr());
            edit(kept, None, Some(oid));
        }
        for (kept, entry) in history::damaged(&refs) {
            let is_free = !refs.contains_key(&entry.name)
                && refs::conflicting(&refs, entry.name.as_bstr()).is_none();
            match (self.refs.contains(&kept), is_free) {
                (true, true) => continue,
                (false, true) => drop(edit(entry.name, None, Some(entry.oid))),
                (is_lost, false) => has_forgotten |= is_lost,
            }
            edit(kept, Some(entry.oid), None);
        }
        // The next client that asks for one of these has it fetched again.
        for name in self.refs.iter().filter(|name| is_on_demand(name)) {
            let old = refs.get(name).copied();
            plan.edits.insert(name.clone(), Edit { old, new: None });
        }
        if plan.edits.is_empty() {
            return Ok(false);
        }
        let track = &mirror.settings.rules.track;
        publish::publish(&mirror.git_dir, &plan, None, track)?;
        Ok(has_forgotten)
    }
}

fn is_on_demand(name: &BString) -> bool {
    name.starts_with(refspec::ON_DEMAND.as_bytes())
}

/// Whether all is there that `tips` reach and `known` do not.
fn is_whole(
    git_dir: &Path,
    tips: &BTreeSet<ObjectId>,
    known: &BTreeSet<ObjectId>,
    watch: &Watch,
) -> io::Result<bool> {
    let tips = tips.iter().map(|oid| format!("{oid}\n"));
    let walk = tips.chain(known.iter().map(|oid| format!("^{oid}\n")));
    let mut git = git::at(git_dir);
    git.args(["-c", "core.commitGraph=false"]).args([
        "rev-list",
        "--objects",
        "--quiet",
        "--stdin",
    ]);
    let mut nice = git::niced(&git);
    nice.stdout(Stdio::null());
    let input: String = walk.collect();
    let ended = child::run(nice, input.into_bytes(), watch)?;
    if watch.is_cancelled() {
        return Err(io::ErrorKind::Interrupted.into());
    }
    Ok(ended.status.success())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::{sync::broadcast, task::spawn_blocking};

    use super::*;
    use crate::upkeep::{
        packs,
        store::{Store, mirror},
    };

    async fn lost(store: &Store) -> Lost {
        let git_dir = store.path().to_owned();
        let watch = Watch::new("", broadcast::channel(1).0, Vec::new());
        let lost = spawn_blocking(move || Lost::find(&git_dir, &watch)).await;
        lost.expect("no panic").expect("known")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_lost_is_out_of_the_way_until_it_is_there_again() {
        let mut store = Store::new();
        store.history("main", 2);
        let tip = store.git(&["rev-parse", "main"], "");
        store.git(&["update-ref", "refs/upstream/heads/main", &tip], "");
        store.git(&["pack-refs", "--all"], "");
        store.history("mine", 2);
        store.history("other", 2);
        let (mirror, mine) = (mirror(store.path()), store.git(&["rev-parse", "mine"], ""));
        assert_eq!(lost(&store).await, Lost::default());
        let index = |store: &Store| {
            let mut names = store.names();
            names.retain(|name| {
                let index = store.file(&format!("{name}.idx"));
                let index = index.to_str().expect("plain");
                store.git(&["verify-pack", "-v", index], "").contains(&mine)
            });
            store.file(&format!("{}.idx", names.pop().expect("it is in one")))
        };
        let index = index(&store);
        let away = index.with_extension("away");
        fs::rename(&index, &away).expect("ours");
        let found = lost(&store).await;
        assert_eq!(
            found.names(store.path()).expect("known"),
            ["refs/heads/mine"]
        );
        assert!(!found.move_refs(&mirror).expect("written"));
        assert_eq!(
            refs::read(store.path())
                .expect("there")
                .get("refs/heads/mine".as_bytes().as_bstr()),
            None
        );
        let found = lost(&store).await;
        assert_eq!(
            found.names(store.path()).expect("known"),
            ["refs/heads/mine"]
        );
        assert!(!found.move_refs(&mirror).expect("nothing to write"));
        // It is there again, and nobody has its name.
        fs::rename(&away, &index).expect("ours");
        let found = lost(&store).await;
        assert_eq!(found, Lost::default());
        found.move_refs(&mirror).expect("written");
        assert_eq!(store.git(&["rev-parse", "mine"], ""), mine);
        assert!(history::damaged(&refs::read(store.path()).expect("there")).is_empty());
        // Another has its name.
        fs::rename(&index, &away).expect("ours");
        lost(&store).await.move_refs(&mirror).expect("written");
        store.git(&["update-ref", "refs/heads/mine", &tip], "");
        store.git(&["pack-refs", "--all"], "");
        assert!(lost(&store).await.move_refs(&mirror).expect("written"));
        assert_eq!(lost(&store).await, Lost::default());
        assert_eq!(store.git(&["rev-parse", "mine"], ""), tip);
    }

    #[test]
    fn a_pack_without_its_index_is_no_rubbish() {
        let mut store = Store::new();
        let pack = store.pack(1);
        fs::remove_file(store.file(&format!("{pack}.idx"))).expect("ours");
        let (now, day) = (SystemTime::now(), std::time::Duration::from_secs(24 * 3600));
        let found = |now| packs::without_index(store.path(), now).expect("readable");
        assert!(found(now).is_empty(), "it may just be let in");
        assert_eq!(found(now + 2 * day), [pack]);
        assert!(!packs::has_leftovers(store.path(), now + 2 * day).expect("readable"));
    }
}
