//! Refs of which something is lost: which they are, and how they get out of the way of the others until it is there again.
//!
//! git clones nothing from a repository with one such branch, and takes no push. So a mirror's own goes into the history,
//! and comes back when it is whole, unless another has its name by then.

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

/// What is said where it is not the mirror's own that is lost.
const UPSTREAMS: &str = "what upstream had";

/// What is lost of a mirror.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Lost {
    /// Refs, those of the history among them.
    refs: BTreeSet<BString>,
    /// Whether it is something that upstream had once.
    upstreams: bool,
}

impl Lost {
    /// What is lost of a mirror now.
    pub(super) fn of(git_dir: &Path, watch: &Watch) -> io::Result<Self> {
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
            // What upstream has under the same name is told by its record.
            if !records.contains(oid) && !is_whole(git_dir, &BTreeSet::from([*oid]), known, watch)?
            {
                lost.refs.insert(name.clone());
            }
        }
        lost.upstreams = !are_whole;
        Ok(lost)
    }

    /// Whether something is lost that upstream had once, and may have still.
    pub(super) fn is_upstreams(&self) -> bool {
        self.upstreams
    }

    /// What of it to say, by the names that people know.
    pub(super) fn names(&self, git_dir: &Path) -> io::Result<Vec<String>> {
        let damaged = history::damaged(&refs::read(git_dir)?).into_iter();
        let damaged: BTreeMap<_, _> = damaged.map(|(name, entry)| (name, entry.name)).collect();
        let names = self.refs.iter();
        let names = names.map(|name| damaged.get(name).unwrap_or(name).to_string());
        let upstreams = self.upstreams.then(|| UPSTREAMS.to_owned());
        Ok(names.chain(upstreams).collect())
    }

    /// Takes the mirror's own refs out of the way of which something is lost, and brings those back of which nothing is any
    /// more. Says whether it has forgotten one, because another has its name.
    pub(super) fn settle(&self, mirror: &Mirror) -> io::Result<bool> {
        let refs = refs::read(&mirror.git_dir)?;
        let stamp = history::stamp(&refs, SystemTime::now());
        let (mut plan, mut forgets) = (Plan::default(), false);
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
                (is_lost, false) => forgets |= is_lost,
            }
            edit(kept, Some(entry.oid), None);
        }
        if plan.edits.is_empty() {
            return Ok(false);
        }
        let track = &mirror.settings.rules.track;
        publish::publish(&mirror.git_dir, &plan, None, track)?;
        Ok(forgets)
    }
}

/// Whether all is there that these reach and those do not.
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
    use crate::{
        mirrors::settings::{Rules, Settings},
        upkeep::{packs, store::Store},
    };

    fn mirror(dir: &Path) -> Mirror {
        let address =
            common::address::upstream_url::Address::parse("https://gitlab.example/a/b.git");
        let Ok(common::address::upstream_url::Address::Url(url, _)) = address else {
            panic!("it is a URL");
        };
        Mirror {
            git_dir: dir.to_owned(),
            settings: Settings::for_url(&url, Rules::default()),
        }
    }

    async fn lost(store: &Store) -> Lost {
        let git_dir = store.path().to_owned();
        let watch = Watch::new("", broadcast::channel(1).0, Vec::new());
        let lost = spawn_blocking(move || Lost::of(&git_dir, &watch)).await;
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
        assert!(!found.settle(&mirror).expect("written"));
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
        assert!(!found.settle(&mirror).expect("nothing to write"));
        // It is there again, and nobody has its name.
        fs::rename(&away, &index).expect("ours");
        let found = lost(&store).await;
        assert_eq!(found, Lost::default());
        found.settle(&mirror).expect("written");
        assert_eq!(store.git(&["rev-parse", "mine"], ""), mine);
        assert!(history::damaged(&refs::read(store.path()).expect("there")).is_empty());
        // Another has its name.
        fs::rename(&index, &away).expect("ours");
        lost(&store).await.settle(&mirror).expect("written");
        store.git(&["update-ref", "refs/heads/mine", &tip], "");
        store.git(&["pack-refs", "--all"], "");
        assert!(lost(&store).await.settle(&mirror).expect("written"));
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
