//! Whether the URL of an upstream means a mirror of it. Only a mirror that the URL itself has made serves the URL.

use common::{
    address::{name::Name, upstream_url::UpstreamUrl},
    refspec::Refspecs,
};

use super::value::{Refusal, Value, set_by_word, word_of};

/// Whether a mirror serves the URL of its upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServesUrl {
    /// A clone of the URL made the mirror.
    Yes,
    /// A person made it, and only its name means it.
    No,
    /// The mirror did until it got another name. It may have branches that clones of the URL pushed.
    Formerly,
}

const SERVES_URL: [(&str, ServesUrl); 3] = [
    ("yes", ServesUrl::Yes),
    ("no", ServesUrl::No),
    ("formerly", ServesUrl::Formerly),
];

impl ServesUrl {
    /// Returns the value for a mirror whose configuration has none, because a version of mirrord made it in which every
    /// mirror served its URL. It still does if it tracks all of upstream and a clone of the URL made it, as far as that can
    /// be told.
    pub(super) fn from_older(
        name: &Name,
        url: &UpstreamUrl,
        track: &Refspecs,
        automatic: bool,
    ) -> Self {
        let own = url.mirror_name();
        let rest = name.as_ref().strip_prefix(own.as_ref());
        // The name has a number at its end if another mirror had it already.
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
        set_by_word(self, text, &SERVES_URL)
    }

    fn lines(&self) -> Vec<String> {
        vec![word_of(self, &SERVES_URL)]
    }
}
