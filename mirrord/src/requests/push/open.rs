//! Opens a push: makes the mirror fresh, and tells the client where its objects go and what it signs in with at upstream.

use std::sync::Arc;

use common::address::upstream_url::Address;
use common::protocol::{Failure, FailureKind, Fetch, OneTimeId, Open, OrFailure, Outcome, Reply};

use super::{
    journal::JournalEntry,
    login::{PushLogin, login_id, proxy_sign_in, push_login},
};
use crate::{
    process::{blocking::blocking, id, questions},
    repository::quarantine::{self, Quarantine},
    requests::{
        conversation::Conversation,
        error::RequestError,
        fetch::{Purpose, ReadableMirror, make_fresh},
    },
    sync::{Engine, open_pushes::OpenPush},
};

/// An open push, as its client is told of it.
struct PreparedPush {
    open: Open,
    /// Closes the push when its client has gone.
    guard: OpenGuard,
}

/// Closes a push and withdraws its logins when it is dropped, however the conversation ends.
struct OpenGuard {
    engine: Arc<Engine>,
    id: String,
    logins: Vec<OneTimeId>,
    _questions: Option<questions::Open>,
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.engine.pushes.close(&self.id);
        for login in &self.logins {
            self.engine.upstreams.logins.withdraw(login);
        }
    }
}

/// Makes the mirror fresh and opens a push, which stays open until the client has gone. What follows,
/// [`execute`](super::execute), comes from the client's hook, over a connection of its own.
///
/// # Errors
/// Fails where the mirror takes no pushes, and where there is no mirror to push to.
pub(crate) async fn open(
    engine: &Arc<Engine>,
    conversation: &mut Conversation,
    request: Fetch,
) -> Result<(), RequestError> {
    let mirror = make_fresh(engine, conversation, request, Purpose::Push).await?;
    let mut entry = JournalEntry::begin(engine, &mirror.mirror);
    let preparing = engine.clone();
    let prepared = blocking(move || prepare(&preparing, mirror));
    let PreparedPush { open, guard } = match conversation.wait_quietly(prepared).await? {
        Ok(prepared) => prepared,
        Err(failure) => {
            entry.outcome = Some(Outcome::Failed(failure.message.clone()));
            return Err(failure.into());
        }
    };
    conversation.send(&Reply::Open(open)).await?;
    conversation.wait_until_closed().await;
    drop(guard);
    Ok(())
}

/// Prepares a push: its quarantine, its id, its login. Blocks.
fn prepare(engine: &Arc<Engine>, mirror: ReadableMirror) -> Result<PreparedPush, Failure> {
    let ReadableMirror {
        ready,
        mirror,
        access,
        is_login_of_url,
        mut trouble,
        reached,
        reading,
        ..
    } = mirror;
    if !mirror.settings.rules.push {
        let name = &mirror.settings.name;
        let message = format!("the mirror '{name}' takes no pushes");
        let failure = Failure::new(FailureKind::Refused, message);
        return Err(failure.hinted(format!("'mirrord set {name} --push yes' lets it take them")));
    }
    let context = "cannot prepare the push";
    // Quarantines of pushes that outlived the daemon that opened them.
    quarantine::sweep(&mirror.git_dir).or_failure(context)?;
    let quarantine = Quarantine::new(&mirror.git_dir).or_failure(context)?;
    let id = id::random().or_failure(context)?;
    // No redirect is followed in the push itself, so that no login goes elsewhere with it.
    let url = reached.as_ref().unwrap_or(&mirror.settings.url);
    let login = push_login(engine, url, &access, is_login_of_url, &id);
    let PushLogin { sign_in, questions } = login.unwrap_or_else(|failure| {
        // Tracked refs cannot go upstream; local ones need no login.
        trouble.get_or_insert(failure);
        PushLogin::anonymous()
    });
    let proxy = proxy_sign_in(engine, &access, &id).or_failure(context)?;
    let proxy_login = proxy.as_ref().map(|proxy| &proxy.login);
    let guard = OpenGuard {
        engine: engine.clone(),
        id: id.clone(),
        logins: login_id(&sign_in)
            .into_iter()
            .chain(proxy_login)
            .cloned()
            .collect(),
        _questions: questions,
    };
    let upstream = reached.map_or_else(|| ready.url.clone(), |url| url.to_string());
    let receive_pack = match (&trouble, Address::parse(&upstream)) {
        (None, Ok(Address::Url(url, _))) => engine.upstreams.receive_pack(&url, &access),
        _ => None,
    };
    let is_in_step = ready.warnings.is_empty();
    let login = sign_in.clone();
    let open = Open {
        upstream,
        ready,
        id: id.clone(),
        fsck: mirror.settings.rules.fsck,
        quarantine: quarantine.path().to_owned(),
        sign_in,
        proxy,
    };
    let opened = OpenPush {
        mirror,
        quarantine,
        trouble,
        is_in_step,
        login,
        receive_pack,
        _reading: reading,
    };
    engine.pushes.open(&id, opened);
    Ok(PreparedPush { open, guard })
}
