//! Secrets in the desktop's keyring: whatever offers the Secret Service on the session bus, and on macOS the login
//! keychain.
//!
//! It is opened anew each time: a daemon that was started before the desktop finds the keyring once it is there. A locked
//! one asks the person for its password, and no call of it ends before they answer; so each runs beside, with a limit,
//! and one that is over its limit is left to end by itself.

use std::{collections::HashMap, time::Duration};

#[cfg(target_os = "macos")]
use apple_native_keyring_store::keychain::Store;
use common::{progress::masked, protocol::Failure};
use keyring_core::{Entry, Error, api::CredentialStoreApi};
use tokio::{
    sync::{Semaphore, oneshot},
    task::spawn_blocking,
    time::timeout,
};
#[cfg(not(target_os = "macos"))]
use zbus_secret_service_keyring_store::Store;

use super::{locked, no_longer_there, out_of_reach};

/// What our entries are called there.
const SERVICE: &str = "mirror";

/// How long the keyring, and the person whom it asks for its password, may take.
const LIMIT: Duration = Duration::from_secs(10);

/// One use at a time: a keyring that waits for its owner holds up one thread, and not one for each who asks.
static TURN: Semaphore = Semaphore::const_new(1);

/// What the Secret Service says where nobody has made a keyring yet.
const NO_KEYRING: &str = "result not returned";

/// Stores a secret; says whether there is a keyring for it.
///
/// # Errors
/// Fails when there is one that is locked or cannot take it.
pub(super) async fn put(id: &str, label: &str, secret: &str) -> Result<bool, Failure> {
    let (id, label, secret) = (id.to_owned(), label.to_owned(), secret.to_owned());
    let undone = id.clone();
    let storing = move || {
        let Some(entry) = open(&id, Some(&label)) else {
            return Ok(false);
        };
        match entry.set_password(&secret) {
            Ok(()) => Ok(true),
            Err(Error::NoStorageAccess(why)) if why.to_string().contains(NO_KEYRING) => Ok(false),
            Err(err) => Err(refused(&err)),
        }
    };
    // Nobody will ever name what was stored too late.
    let undo = move || {
        let _ = delete(&undone);
    };
    within(storing, undo).await
}

/// Looks a secret up.
///
/// # Errors
/// Fails when the keyring cannot be reached, is locked, or does not have it.
pub(super) async fn get(id: &str) -> Result<String, Failure> {
    let id = id.to_owned();
    let getting = move || match open(&id, None).ok_or_else(out_of_reach)?.get_password() {
        Ok(secret) => Ok(secret),
        Err(Error::NoEntry) => Err(no_longer_there("keyring")),
        // What is in there must not be quoted.
        Err(Error::BadEncoding(_) | Error::BadDataFormat(..)) => {
            Err(Failure::here("the secret in the keyring is not text"))
        }
        Err(err) => Err(refused(&err)),
    };
    within(getting, || ()).await
}

/// Removes a secret.
///
/// # Errors
/// Fails when the keyring cannot be reached or is locked.
pub(super) async fn remove(id: &str) -> Result<(), Failure> {
    let id = id.to_owned();
    within(move || delete(&id), || ()).await
}

fn delete(id: &str) -> Result<(), Failure> {
    match open(id, None).ok_or_else(out_of_reach)?.delete_credential() {
        Ok(()) | Err(Error::NoEntry) => Ok(()),
        Err(err) => Err(refused(&err)),
    }
}

/// Reaches the keyring, and in it the entry of a secret, which need not be there; `None` when there is no keyring: no
/// bus, or nobody on it who keeps secrets.
fn open(id: &str, label: Option<&str>) -> Option<Entry> {
    let store = Store::new().ok()?;
    let label = label.filter(|_| cfg!(not(target_os = "macos")));
    let label = label.map(|label| HashMap::from([("label", label)]));
    store.build(SERVICE, id, label.as_ref()).ok()
}

/// Runs what may wait for a person, beside and not for ever; `undo` is run when it has succeeded too late.
async fn within<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    undo: impl FnOnce() + Send + 'static,
) -> Result<T, Failure> {
    let using = async {
        let turn = TURN.acquire().await;
        let (answer, answered) = oneshot::channel();
        spawn_blocking(move || {
            let _turn = turn;
            if let Err(Ok(_)) = answer.send(work()) {
                undo();
            }
        });
        answered.await
    };
    match timeout(LIMIT, using).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(Failure::here("the keyring's library has failed")),
        // One that is not locked answers at once.
        Err(_) => Err(locked()),
    }
}

/// What the keyring does not do.
fn refused(error: &Error) -> Failure {
    match error {
        Error::NoStorageAccess(_) => locked(),
        // Locked again between two questions.
        Error::PlatformFailure(why) if why.to_string().contains("IsLocked") => locked(),
        Error::PlatformFailure(why) => {
            let why = masked(why.to_string().as_bytes());
            Failure::here(format!("cannot use the keyring: {why}"))
        }
        _ => Failure::here("cannot use the keyring"),
    }
}
