//! Secrets in the desktop's keyring: whatever offers the Secret Service on the session bus, and on macOS the login
//! keychain.
//!
//! A locked one asks the person for its password, and no call of its library ends before they answer, if they ever do. So
//! each use is a process of its own, this program once more, which opens the keyring anew and is killed when it is over
//! its limit; and with it goes the question on the desktop. Secrets travel through its pipes.

use std::{
    collections::HashMap,
    env,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::Duration,
};

#[cfg(target_os = "macos")]
use apple_native_keyring_store::keychain::Store;
use common::{git, protocol::Failure, text::masked};
use keyring_core::{Entry, Error, api::CredentialStoreApi};
use tokio::{io::AsyncWriteExt, process::Command, sync::Semaphore, time::timeout};
#[cfg(not(target_os = "macos"))]
use zbus_secret_service_keyring_store::Store;

use super::{locked, no_longer_there, out_of_reach};

/// What our entries are called there.
const SERVICE: &str = "mirror";

/// How long the keyring, and the person whom it asks for its password, may take.
const KEYRING_TIMEOUT: Duration = Duration::from_secs(10);

/// What the Secret Service says where nobody has made a keyring yet.
const NO_KEYRING: &str = "result not returned";

/// What it says where there is no bus, nobody on it who keeps secrets, or one who does not start.
const NOBODY_THERE: [&str; 5] = [
    "Failed to connect",
    "no secret service provider",
    "org.freedesktop.DBus.Error.ServiceUnknown",
    "org.freedesktop.DBus.Error.NameHasNoOwner",
    "org.freedesktop.DBus.Error.Spawn",
];

/// One at a time: of many who want something of a locked keyring, its owner is asked once.
static TURN: Semaphore = Semaphore::const_new(1);

/// How the process of a use ends, when it has not come to what was wanted.
const NOBODY: u8 = 3;
const LOCKED: u8 = 4;
const NO_ENTRY: u8 = 5;

/// Stores a secret; says whether there is a keyring for it.
pub(super) async fn put(id: &str, label: &str, secret: &str) -> Result<bool, Failure> {
    // A label is one line.
    let label = label.replace('\n', " ");
    let used = use_it("put", id, &format!("{label}\n{secret}")).await?;
    match used.code {
        Some(0) => Ok(true),
        Some(code) if code == i32::from(NOBODY) => Ok(false),
        _ => Err(used.failure()),
    }
}

/// Looks a secret up.
pub(super) async fn get(id: &str) -> Result<String, Failure> {
    let used = use_it("get", id, "").await?;
    if used.code != Some(0) {
        return Err(used.failure());
    }
    // The message must not quote what is in there.
    String::from_utf8(used.stdout)
        .map_err(|_| Failure::here("the secret in the keyring is not text"))
}

/// Removes a secret.
pub(super) async fn remove(id: &str) -> Result<(), Failure> {
    let used = use_it("remove", id, "").await?;
    match used.code {
        Some(0) => Ok(()),
        Some(code) if code == i32::from(NO_ENTRY) => Ok(()),
        _ => Err(used.failure()),
    }
}

/// How one use of the keyring ended.
struct Used {
    code: Option<i32>,
    stdout: Vec<u8>,
    words: String,
}

impl Used {
    fn failure(&self) -> Failure {
        match self.code.and_then(|code| u8::try_from(code).ok()) {
            Some(NOBODY) => out_of_reach(),
            Some(LOCKED) => locked(),
            Some(NO_ENTRY) => no_longer_there("keyring"),
            _ => Failure::here(format!(
                "cannot use the keyring: {}",
                masked(self.words.trim().trim_start_matches("error: ").as_bytes())
            )),
        }
    }
}

/// The program that this process runs, also when an upgrade has put another one into its place.
fn this_program() -> io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    match running.exists() {
        true => Ok(running.into()),
        false => env::current_exe(),
    }
}

async fn use_it(action: &str, id: &str, input: &str) -> Result<Used, Failure> {
    let using = async {
        let _turn = TURN.acquire().await;
        let mut child = Command::new(this_program()?)
            .args(["keyring", action, id])
            .env_clear()
            .envs(git::environment())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that ends early says why by its code.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    match timeout(KEYRING_TIMEOUT, using).await {
        Ok(Ok(output)) => Ok(Used {
            code: output.status.code(),
            stdout: output.stdout,
            words: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
        Ok(Err(err)) => Err(Failure::io("cannot use the keyring", &err)),
        // One that is not locked answers at once.
        Err(_) => Err(locked()),
    }
}

/// The other side: one use of the keyring, in a process of its own.
pub(crate) fn serve(action: &str, id: &str) -> io::Result<ExitCode> {
    let mut input = String::new();
    io::stdin().read_to_string(&mut input)?;
    let store = match Store::new() {
        Ok(store) => store,
        Err(err) => {
            let words = err.to_string();
            if NOBODY_THERE.iter().any(|said| words.contains(said)) {
                return Ok(NOBODY.into());
            }
            return Err(io::Error::other(words));
        }
    };
    let (label, secret) = input.split_once('\n').unwrap_or_default();
    let done = match action {
        "put" => entry(&*store, id, Some(label)).and_then(|entry| entry.set_password(secret)),
        "get" => match entry(&*store, id, None).and_then(|entry| entry.get_password()) {
            Ok(secret) => {
                return io::stdout()
                    .write_all(secret.as_bytes())
                    .map(|()| ExitCode::SUCCESS);
            }
            Err(err) => Err(err),
        },
        "remove" => entry(&*store, id, None).and_then(|entry| entry.delete_credential()),
        _ => return Err(io::Error::other("there is no such use of a keyring")),
    };
    Ok(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::NoEntry) => NO_ENTRY.into(),
        Err(Error::NoStorageAccess(why)) if why.to_string().contains(NO_KEYRING) => NOBODY.into(),
        Err(Error::NoStorageAccess(_)) => LOCKED.into(),
        // Locked again between two questions.
        Err(Error::PlatformFailure(why)) if why.to_string().contains("IsLocked") => LOCKED.into(),
        Err(Error::PlatformFailure(why)) => return Err(io::Error::other(why.to_string())),
        // What the others say may quote what is in there.
        Err(_) => return Err(io::Error::other("it does not do what was asked")),
    })
}

/// The entry of a secret, which need not be there.
fn entry(
    store: &dyn CredentialStoreApi,
    id: &str,
    label: Option<&str>,
) -> keyring_core::Result<Entry> {
    // The keychain has no labels.
    let label = label.filter(|label| !label.is_empty() && cfg!(not(target_os = "macos")));
    let label = label.map(|label| HashMap::from([("label", label)]));
    store.build(SERVICE, id, label.as_ref())
}
