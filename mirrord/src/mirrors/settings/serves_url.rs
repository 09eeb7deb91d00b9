//! Whether the URL of an upstream means a mirror of it. Only a mirror that the URL itself has made serves the URL.

use common::{
    address::{name::Name, upstream_url::UpstreamUrl},
    refspec::Refspecs,
};

use super::value::{Refusal, Value, choose, word};

/// Whether a mirror serves the URL of its upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServesUrl {
    /// A clone of the URL has made the mirror.
    Yes,
    /// A person has made it, and it is used by its name alone.
    No,
    /// It did until it got another name. Branches that clones of the URL pushed to it may be in it.
    Formerly,
}

const SERVES_URL: [(&str, ServesUrl); 3] = [
    ("yes", ServesUrl::Yes),
    ("no", ServesUrl::No),
    ("formerly", ServesUrl::Formerly),
];

impl ServesUrl {
    /// What holds for a mirror whose configuration does not say: a version of mirrord wrote it that let any mirror serve
    /// its URL. A mirror that was made by a clone of the URL, or looks so, still does if it tracks all of upstream.
    pub(super) fn of_older(
        name: &Name,
        url: &UpstreamUrl,
        track: &Refspecs,
        automatic: bool,
    ) -> Self {
        let own = url.mirror_name();
        let rest = name.as_ref().strip_prefix(own.as_ref());
        // A number stands behind the name where another mirror had it.
        let is_own = rest.is_some_and(|rest| {
            let digits = rest.strip_prefix('-').unwrap_or("1");
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            rest.is_empty() || (rest.starts_with('-') && is_number)
        });
        match (automatic || is_own) && *track == Refspecs::everything() {
            true => Self::Yes,
            false => Self::Formerly,
        }
    }
}

impl Value for ServesUrl {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        choose(self, text, &SERVES_URL)
    }

    fn lines(&self) -> Vec<String> {
        vec![word(self, &SERVES_URL)]
    }
}
