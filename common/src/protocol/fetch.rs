//! What a fetch asks for, how far it is, and what it is given.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{Login, Secret};
use crate::{address::name::Name, packs::link::Link};

/// The fetch of one client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// The mirror: a canonical upstream URL without credentials, or a name.
    pub mirror: Mirror,
    /// The login that was part of the URL, for this request only.
    pub login: Option<Login>,
    /// The user name that was part of the URL without a password: whoever is asked is asked for that one's. Some hosts
    /// take a token there.
    pub username: Option<Secret>,
    /// The configuration and environment of the client.
    pub context: ClientContext,
    /// The transports that git's own rules allow where the user stands (`protocol.<name>.allow`).
    pub transports: Vec<String>,
    /// Those to which they allow to be redirected.
    pub redirect_transports: Vec<String>,
    /// The user's word on stale answers (`MIRROR_STALE`); `None` leaves it to the mirror.
    pub stale: Option<Stale>,
    /// Whether somebody, or a program of theirs, can be asked what ssh wants to know.
    pub can_ask: bool,
    /// The objects that the client lacks.
    pub lacks: Lack,
    /// What this client may want beside branches and tags: the sources of refspecs.
    pub on_demand: Vec<String>,
}

/// The objects that a client lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lack {
    /// All there is: they have nothing yet.
    Everything,
    /// New objects, or a part of them.
    News,
    /// Objects that a partial clone left out. They do not change, and so the mirror is as good as upstream,
    /// however long ago it was in step.
    LeftOut,
}

/// The mirror that a client means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mirror {
    /// The URL of its upstream in canonical form. The mirror is made if it does not exist.
    Url(String),
    /// The name of the mirror, which must exist.
    Name(Name),
}

/// Whether an answer that could not be checked is better than none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stale {
    /// Serve what is here, with its age on stderr.
    Serve,
    /// Fail.
    Fail,
}

/// The configuration and environment of the client of a request. `Debug` shows no value: headers and proxies may
/// hold secrets.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClientContext {
    /// The settings that bear on talking to an upstream, in reading order: section and variable in lower case.
    pub config: Vec<(String, String)>,
    /// The variables that do.
    pub env: Vec<(String, String)>,
    /// The fingerprint of everything that a credential helper could decide by.
    pub credential_settings: [u8; 32],
}

impl fmt::Debug for ClientContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ClientContext({} settings, {} variables)",
            self.config.len(),
            self.env.len()
        )
    }
}

/// The progress of a sync. Amounts are totals, so that a lost message loses nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Progress {
    /// Waiting for an answer of upstream.
    Asking {
        /// The host that is asked.
        host: String,
        /// The seconds since it was asked.
        seconds: u32,
    },
    /// Upstream's own words, raw as they came, lines in pieces.
    Remote(Vec<u8>),
    /// Objects are coming in.
    Receiving(Amount, /** Bytes so far. */ u64),
    /// Deltas are being resolved.
    Resolving(Amount),
    /// The received pack is being checked.
    Checking,
}

/// A part of a total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Amount {
    /// The part that is done.
    pub done: u64,
    /// The total; 0 while it is not known.
    pub of: u64,
}

/// The mirror to be read, and its freshness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The bare repository.
    pub git_dir: PathBuf,
    /// The upstream's URL, without credentials.
    pub url: String,
    /// How clones get its packs, unless the client says otherwise.
    pub link: Link,
    /// Set when upstream could not be asked: the answer is of this age, for this reason.
    pub stale: Option<Aged>,
    /// Things that the person should know, one line each.
    pub warnings: Vec<String>,
}

/// An answer that is not fresh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aged {
    /// Seconds since upstream was last seen to be what the mirror has; `None` when nobody knows any more.
    pub seconds: Option<u64>,
    /// Why upstream could not be asked.
    pub reason: String,
    /// What the person can do about it.
    pub hint: Option<String>,
}
