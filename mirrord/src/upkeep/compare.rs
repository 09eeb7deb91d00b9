//! The comparison of a mirror's packs with what was verified, before somebody is served from them: through a hard link,
//! whoever may write into one clone may write into the packs of all. Packs that differ are laid aside (`whole.rs`); the
//! next sync asks upstream for what was in them.

use std::{
    collections::BTreeSet,
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use common::{
    packs::listing::pack_dir,
    protocol::{Cause, ChangedFile, Entry, Outcome, What},
    text::unix_seconds,
};

use super::{Upkeep, check};
use crate::{
    mirrors::{
        gate::{Gate, Gates},
        journal,
        registry::Mirror,
    },
    process::{blocking::blocking_io, durable},
    repository::{
        changed, checked,
        verified::{self, Changed, Extent},
    },
};

/// How long readers of a changed pack are waited for before it is laid aside: they may never end.
pub(super) const READERS_TIMEOUT: Duration = Duration::from_secs(5);

/// The ending of the file of a pack that git does without.
const DISPENSABLE: &str = "rev";

impl Upkeep {
    /// Compares the files that somebody has touched, or all of them after git has complained, for a client that is about to
    /// read the mirror.
    pub(crate) async fn before_read(
        self: &Arc<Self>,
        gates: &Gates,
        mirror: &Mirror,
    ) -> io::Result<()> {
        let gate = gates.gate(&mirror.git_dir);
        if self
            .compare(&gate, mirror, Extent::Touched, Cause::Fetch)
            .await?
        {
            // What was laid aside is mended in the background.
            self.start(gate, mirror.clone());
        }
        Ok(())
    }

    /// Compares, and lays aside the packs that differ. Returns whether there were any.
    pub(super) async fn compare(
        &self,
        gate: &Arc<Gate>,
        mirror: &Mirror,
        extent: Extent,
        cause: Cause,
    ) -> io::Result<bool> {
        let _comparing = gate.comparing.lock().await;
        let (git_dir, watch) = (mirror.git_dir.clone(), self.watch.clone());
        let began = Instant::now();
        let changed = blocking_io(move || {
            let extent = match check::is_requested(&git_dir)? {
                true => Extent::All,
                false => extent,
            };
            let changed = verified::changed_files(&git_dir, extent, &watch)?;
            if extent == Extent::All {
                checked::record_check(&git_dir, SystemTime::now())?;
            }
            Ok(changed)
        })
        .await?;
        if changed.is_empty() {
            return Ok(false);
        }
        self.lay_aside(gate, mirror, changed, (cause, began))
            .await?;
        Ok(true)
    }

    async fn lay_aside(
        &self,
        gate: &Arc<Gate>,
        mirror: &Mirror,
        changed: Vec<Changed>,
        (cause, began): (Cause, Instant),
    ) -> io::Result<()> {
        let (name, git_dir) = (mirror.settings.name.to_string(), &mirror.git_dir);
        let files: Vec<ChangedFile> = changed.iter().map(file).collect();
        let message = files
            .iter()
            .map(changed::describe)
            .collect::<Vec<_>>()
            .join(", ");
        tracing::warn!("'{name}': {message}");
        let (dir, recorded) = (git_dir.clone(), files.clone());
        let packs = blocking_io(move || {
            changed::record(&dir, &recorded, SystemTime::now())?;
            let mut packs = BTreeSet::new();
            for Changed { path, .. } in changed {
                let is_needed = path.starts_with(pack_dir(&dir))
                    && path.extension() != Some(DISPENSABLE.as_ref());
                if is_needed {
                    let stem = path.file_stem().unwrap_or_default();
                    packs.insert(stem.to_string_lossy().into_owned());
                } else {
                    verified::forget_file(&dir, &path)?;
                    durable::remove(&path)?;
                }
            }
            Ok(packs)
        })
        .await?;
        if !packs.is_empty() {
            let packs = packs.into_iter().collect();
            self.mend(gate, mirror, packs, message.clone(), true)
                .await?;
        }
        let took = u64::try_from(began.elapsed().as_millis());
        let entry = Entry {
            at: journal::now(),
            mirror: name,
            what: What::Repair,
            cause,
            milliseconds: took.unwrap_or(u64::MAX),
            bytes: 0,
            refs: 0,
            outcome: Outcome::Replaced(format!("{message}; laid aside")),
        };
        self.journal.record(git_dir, entry);
        Ok(())
    }
}

fn file(changed: &Changed) -> ChangedFile {
    let Changed { path, at } = changed;
    let name: PathBuf = path.file_name().unwrap_or_default().into();
    ChangedFile {
        name: name.display().to_string(),
        at: unix_seconds(*at),
    }
}
