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
    /// The password or token.
    pub password: String,
}

/// What a mirror is to sign in with, whoever uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Credential {
    /// Nothing of its own: what git would use where the user stands.
    AsGit,
    /// Nothing at all, even if the user's git knows something.
    Anonymous,
    /// A password or token.
    Password(Login),
    /// An ssh key, used where it lies.
    SshKey {
        /// The private key, an absolute path.
        file: PathBuf,
        /// Its passphrase, to be stored.
        passphrase: Option<Secret>,
    },
}

/// What the `git push` to upstream signs in with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignIn {
    /// What git would use where the user stands.
    AsGit,
    /// The login that waits under a one-time id; when it is refused, whatever git would use where the user stands.
    LoginFirst(OneTimeId),
    /// The login that waits under a one-time id, and nothing else.
    LoginAlone(OneTimeId),
    /// Nothing at all.
    Anonymous,
    /// What this ssh signs in with.
    Ssh {
        /// How it is run, as a line for the shell.
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
