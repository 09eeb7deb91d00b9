//! The name of a stored secret, as a mirror's configuration has it.

use std::fmt;

/// How many hexadecimal digits an id has.
const ID_DIGITS: usize = 32;

/// The stores that may have a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Store {
    /// The keyring of the desktop.
    Keyring,
    /// A file below our home.
    File,
}

/// The name of a stored secret: its store and a random id. The name itself is no secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SecretId {
    /// The store that has the secret.
    pub(crate) store: Store,
    /// 32 hexadecimal digits, so that it can be the name of a file.
    pub(crate) id: String,
}

impl Store {
    /// Returns where a secret in this store is, for people.
    pub(crate) fn place(self) -> &'static str {
        match self {
            Self::Keyring => "in the keyring",
            Self::File => "in a file",
        }
    }
}

impl SecretId {
    /// Reads a name; None if the text is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (store, id) = text.split_once(':')?;
        let store = match store {
            "keyring" => Store::Keyring,
            "file" => Store::File,
            _ => return None,
        };
        is_secret_id(id).then(|| Self {
            store,
            id: id.to_owned(),
        })
    }

    /// Returns the store that has the secret.
    pub(crate) fn store(&self) -> Store {
        self.store
    }
}

impl fmt::Display for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let store = match self.store {
            Store::Keyring => "keyring",
            Store::File => "file",
        };
        write!(f, "{store}:{}", self.id)
    }
}

/// Whether a text can be the id of a secret. Upper case cannot, because a file system may not tell it from lower case.
pub(crate) fn is_secret_id(text: &str) -> bool {
    text.len() == ID_DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
