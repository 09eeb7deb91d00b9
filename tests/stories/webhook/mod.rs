//! The webhook: a host tells of a push, and the mirror is in step before anybody asks.

mod at_gitlab;
mod behind;
mod hosts;
mod lifecycle;
mod refused;
mod secrets;
mod slow;

use serde_json::Value;
use tests::{Delivery, public_refs};

use crate::stage::Stage;

/// The output of `mirrord webhook show`.
pub(crate) struct Shown {
    pub(crate) url: String,
    pub(crate) token: String,
}

/// A mirror called `project` that nobody fetches from, whose webhook is on.
fn webhook_on() -> Stage {
    let stage = webhook_off();
    stage.mirrord(&["webhook", "on"]).ok();
    stage
}

/// The same, with the webhook off.
fn webhook_off() -> Stage {
    Stage::new(|project| drop(project.history(2))).mirrored("project", &[])
}

impl Stage {
    /// What `mirrord webhook show` says of the mirror.
    #[track_caller]
    fn webhook(&self) -> Shown {
        self.webhook_of("project")
    }

    /// The same, of the mirror with this name.
    #[track_caller]
    fn webhook_of(&self, name: &str) -> Shown {
        let show = ["webhook", "show", name, "--json"];
        let ran = self.mirrord(&show).ok();
        let shown: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        let text = |key: &str| shown[key].as_str().expect("text").to_owned();
        Shown {
            url: text("url"),
            token: text("secret_token"),
        }
    }

    /// A delivery of GitLab, with the secret token.
    #[track_caller]
    fn delivery(&self) -> Delivery {
        let Shown { url, token } = self.webhook();
        Delivery::of_gitlab(&url, "Push Hook", "{}").token(&token)
    }

    /// Waits until the mirror has what upstream has.
    #[track_caller]
    fn wait_until_in_step(&self) {
        let mirror = self.world.only_mirror();
        self.sync_until(|| public_refs(&self.world, &mirror) == self.project.refs());
    }

    /// Waits until this is so after a sync. Each sync is a line of the log.
    #[track_caller]
    fn sync_until(&self, is_so: impl FnMut() -> bool) {
        let follow = self.mirrord(&["log", "--follow"]).start();
        follow.printed_until(is_so);
    }

    /// How often upstream was asked, as far as that is over.
    fn questions(&self) -> usize {
        self.world.wait_until_no_sync();
        let received = self.gitlab.requests();
        let received = received.iter();
        received
            .filter(|request| request.body_text().contains("command=ls-refs"))
            .count()
    }
}
