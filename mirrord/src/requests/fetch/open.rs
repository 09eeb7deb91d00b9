//! Opens a mirror for the client of a request: from then on nobody changes or removes it while the client reads.

use common::protocol::{Aged, Ready};

use super::{MirrorRequest, Purpose, ReadableMirror};
use crate::{mirrors::registry::Mirror, repository::changed, sync::Download};

impl MirrorRequest<'_> {
    /// Opens a mirror to be read from now on. Returns None where it is no longer there.
    pub(super) async fn open_for_reading(
        &self,
        mirror: Mirror,
        mut warnings: Vec<String>,
        stale: Option<Aged>,
        purpose: &Purpose,
    ) -> Option<ReadableMirror> {
        let is_sync = matches!(purpose, Purpose::Sync(_));
        let reading = self.engine.gates.gate(&mirror.git_dir).begin_read().await;
        let mirror = match self.engine.registry.mirror_at(&mirror.git_dir) {
            Ok(Some(now)) if now.settings.url == mirror.settings.url && self.means(&now) => now,
            // Nobody reads after a sync: a mirror that was removed since then was in step all the same.
            _ if is_sync => mirror,
            _ => return None,
        };
        self.engine.upkeep.after_read(&self.engine.gates, &mirror);
        if !is_sync {
            // Of a sync that no client waits for, nobody would read them.
            match changed::take_unreported(&mirror.git_dir) {
                Ok(unreported) => warnings.extend(unreported),
                Err(err) => tracing::warn!("cannot record what clients were told: {err}"),
            }
        }
        let ready = Ready {
            git_dir: mirror.git_dir.clone(),
            // Two spellings with the same refs today may be two projects all the same.
            url: if self.is_other_spelling {
                self.typed.to_string()
            } else {
                mirror.settings.url.to_string()
            },
            link: mirror.settings.rules.link,
            stale,
            warnings,
        };
        Some(ReadableMirror {
            ready,
            mirror,
            changed_refs: 0,
            download: Download::default(),
            access: self.access(),
            is_login_of_url: self.login.is_some() && self.login == self.fetch.login,
            trouble: None,
            reached: None,
            reading,
        })
    }
}
