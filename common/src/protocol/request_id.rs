//! The id of a request: lines that the helper and the daemon log about one request have the same.

use std::{
    env, fmt,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::OnceLock,
};

use serde::{Deserialize, Serialize};

/// The environment variable in which a process gives its id to those of its children that talk to the daemon as well.
pub const REQUEST_ID: &str = "MIRROR_REQUEST_ID";

/// The id of a request, eight hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestId(u32);

impl RequestId {
    /// The id of all requests of this process: its parent's where that has given one, else a new one.
    #[must_use]
    pub fn of_process() -> Self {
        static ID: OnceLock<RequestId> = OnceLock::new();
        *ID.get_or_init(|| {
            let given = env::var(REQUEST_ID).ok();
            let given = given.and_then(|digits| u32::from_str_radix(&digits, 16).ok());
            // The standard library keys each of these with random numbers of the system's.
            let new = || RandomState::new().build_hasher().finish() as u32;
            Self(given.unwrap_or_else(new))
        })
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}
