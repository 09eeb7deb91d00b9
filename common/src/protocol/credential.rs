//! How somebody signs in at an upstream.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// A password, a token, a passphrase, or what may be one. Its `Debug` shows nothing, and its memory is overwritten when it
/// is dropped.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Secret(pub String);

/// A user name and a password or token. Its `Debug` shows neither: some hosts take a token for the name. Their memory is
/// overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Login {
    /// The user name; empty when upstream does not care.
    pub username: String,
    /// The password or token; with an `authtype`, what follows that in `Authorization`.
    pub password: String,
    /// The scheme of `Authorization` where a credential helper has chosen one (`authtype`, for example `Bearer`). `None` is
    /// `Basic`, by user name and password.
    pub authtype: Option<String>,
}

/// A login that the credential helpers or the person gave, with what the helpers said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilledLogin {
    /// The login.
    pub login: Login,
    /// Whether it is one step of several (`continue`): upstream answers it with a challenge for the next.
    pub continues: bool,
    /// Whether it is for this request alone (`ephemeral`).
    pub ephemeral: bool,
    /// When it expires, in seconds since 1970 (`password_expiry_utc`).
    pub expires: Option<u64>,
}

/// The credential that a mirror is to sign in with, whoever uses the mirror.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Credential {
    /// The credential of the user's git.
    AsGit,
    /// No credential, even if the user's git knows one.
    Anonymous,
    /// A password or token.
    Password(Login),
    /// An ssh key, used where it lies.
    SshKey {
        /// The private key, an absolute path.
        file: PathBuf,
        /// The passphrase of the key, to be stored.
        passphrase: Option<Secret>,
    },
}

/// The credential of the `git push` to upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignIn {
    /// The credential of the user's git.
    AsGit,
    /// The login that waits under a one-time id; when it is refused, whatever git would use where the user stands.
    LoginFirst(OneTimeId),
    /// The login that waits under a one-time id, and nothing else.
    LoginAlone(OneTimeId),
    /// No credential.
    Anonymous,
    /// The credential of this ssh.
    Ssh {
        /// The command, as a line for the shell.
        command: String,
        /// The one-time id under which the passphrase of the mirror's own key waits.
        passphrase: Option<OneTimeId>,
    },
}

/// The variable with the one-time id of a login, for a credential helper of ours.
pub const LOGIN_ID: &str = "MIRROR_LOGIN";

/// The variable with the one-time id of ssh's questions, for an askpass program of ours.
pub const QUESTION_ID: &str = "MIRROR_QUESTION";

/// An id under which a secret waits for one child, which gets it once. Its `Debug` shows nothing: until it is used, it
/// is as good as the secret.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OneTimeId(pub String);

impl Secret {
    /// The text, for whoever takes over the care for it.
    #[must_use]
    pub fn into_inner(mut self) -> String {
        std::mem::take(&mut self.0)
    }
}

impl Login {
    /// A login by user name and password.
    #[must_use]
    pub fn basic(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            username: username.into(),
            password: password.into(),
            authtype: None,
        }
    }

    /// The user name and the password, for whoever takes over the care for them.
    #[must_use]
    pub fn into_parts(mut self) -> (String, String) {
        (
            std::mem::take(&mut self.username),
            std::mem::take(&mut self.password),
        )
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        self.username.zeroize();
        self.password.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(…)")
    }
}

impl fmt::Debug for OneTimeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTimeId(…)")
    }
}
