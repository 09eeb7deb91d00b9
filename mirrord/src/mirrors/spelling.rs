//! The other spelling of a URL that may mean the same project.

use common::address::upstream_url::{Address, Scheme, UpstreamUrl};

/// The same http URL with `.git`, or without it.
pub(crate) fn other_spelling(url: &UpstreamUrl) -> Option<UpstreamUrl> {
    if !matches!(url.scheme(), Scheme::Http | Scheme::Https) {
        return None;
    }
    let other = match url.as_str().strip_suffix(".git") {
        Some(stem) => stem.to_owned(),
        None => format!("{url}.git"),
    };
    match Address::parse(&other) {
        Ok(Address::Url(url, None)) => Some(url),
        _ => None,
    }
}
