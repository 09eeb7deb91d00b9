//! Secrets in the desktop's keyring: whatever offers the Secret Service on the session bus, and on macOS the login
//! keychain.
//!
//! A locked keyring asks the person for its password, and no call of its library ends before they answer, if they ever do.
//! So each use runs in a process of its own, this program once more ([`serve`]), which is killed when it takes too long; the
//! question on the desktop goes with it. Secrets travel through its pipes.

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

/// The attribute `service` of our entries.
const SERVICE: &str = "mirror";

/// How long the keyring, and the person whom it asks for its password, may take.
const KEYRING_TIMEOUT: Duration = Duration::from_secs(10);

/// The message of zbus-secret-service where there is no keyring yet.
const NO_KEYRING: &str = "result not returned";

/// Messages where there is no session bus, no Secret Service on it, or one that does not start.
const NO_SERVICE: [&str; 5] = [
    "Failed to connect",
    "no secret service provider",
    "org.freedesktop.DBus.Error.ServiceUnknown",
    "org.freedesktop.DBus.Error.NameHasNoOwner",
    "org.freedesktop.DBus.Error.Spawn",
];

/// One use at a time: the owner of a locked keyring is asked once, however many requests want it.
static ONE_AT_A_TIME: Semaphore = Semaphore::const_new(1);

/// Exit codes of the process: no keyring, a locked one, no such entry.
const EXIT_NO_KEYRING: u8 = 3;
const EXIT_LOCKED: u8 = 4;
const EXIT_NO_ENTRY: u8 = 5;

/// Stores a secret; says whether there is a keyring for it.
pub(super) async fn put(id: &str, label: &str, secret: &str) -> Result<bool, Failure> {
    // A label is one line.
    let label = label.replace('\n', " ");
    let outcome = run_process("put", id, &format!("{label}\n{secret}")).await?;
    match outcome.code {
        Some(0) => Ok(true),
        Some(code) if code == i32::from(EXIT_NO_KEYRING) => Ok(false),
        _ => Err(outcome.failure()),
    }
}

/// Looks a secret up.
pub(super) async fn get(id: &str) -> Result<String, Failure> {
    let outcome = run_process("get", id, "").await?;
    if outcome.code != Some(0) {
        return Err(outcome.failure());
    }
    // The message must not quote what is in there.
    String::from_utf8(outcome.stdout)
        .map_err(|_| Failure::here("the secret in the keyring is not text"))
}

/// Removes a secret.
pub(super) async fn remove(id: &str) -> Result<(), Failure> {
    let outcome = run_process("remove", id, "").await?;
    match outcome.code {
        Some(0) => Ok(()),
        Some(code) if code == i32::from(EXIT_NO_ENTRY) => Ok(()),
        _ => Err(outcome.failure()),
    }
}

/// How one use of the keyring ended.
struct Outcome {
    code: Option<i32>,
    stdout: Vec<u8>,
    stderr: String,
}

impl Outcome {
    fn failure(&self) -> Failure {
        match self.code.and_then(|code| u8::try_from(code).ok()) {
            Some(EXIT_NO_KEYRING) => out_of_reach(),
            Some(EXIT_LOCKED) => locked(),
            Some(EXIT_NO_ENTRY) => no_longer_there("keyring"),
            _ => Failure::here(format!(
                "cannot use the keyring: {}",
                masked(self.stderr.trim().trim_start_matches("error: ").as_bytes())
            )),
        }
    }
}

/// Returns the path of the running program, also when an upgrade has replaced its file.
fn this_program() -> io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    match running.exists() {
        true => Ok(running.into()),
        false => env::current_exe(),
    }
}

async fn run_process(action: &str, id: &str, input: &str) -> Result<Outcome, Failure> {
    let using = async {
        let _turn = ONE_AT_A_TIME.acquire().await;
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
            // A process that ends early gives the reason by its exit code.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    match timeout(KEYRING_TIMEOUT, using).await {
        Ok(Ok(output)) => Ok(Outcome {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
        Ok(Err(err)) => Err(Failure::io("cannot use the keyring", &err)),
        // A keyring that is not locked answers at once.
        Err(_) => Err(locked()),
    }
}

/// Runs in the process of its own: uses the keyring once.
pub(crate) fn serve(action: &str, id: &str) -> io::Result<ExitCode> {
    let mut input = String::new();
    io::stdin().read_to_string(&mut input)?;
    let store = match Store::new() {
        Ok(store) => store,
        Err(err) => {
            let message = err.to_string();
            if NO_SERVICE.iter().any(|part| message.contains(part)) {
                return Ok(EXIT_NO_KEYRING.into());
            }
            return Err(io::Error::other(message));
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
        Err(Error::NoEntry) => EXIT_NO_ENTRY.into(),
        Err(Error::NoStorageAccess(why)) if why.to_string().contains(NO_KEYRING) => {
            EXIT_NO_KEYRING.into()
        }
        Err(Error::NoStorageAccess(_)) => EXIT_LOCKED.into(),
        // Locked again between two questions.
        Err(Error::PlatformFailure(why)) if why.to_string().contains("IsLocked") => {
            EXIT_LOCKED.into()
        }
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
