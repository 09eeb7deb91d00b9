//! The names of the directories in which mirrors lie.

use sha2::{Digest, Sha256};

use super::upstream_url::UpstreamUrl;

/// How many characters of the last part of a URL are in the name of a directory.
const MAX_READABLE_CHARS: usize = 40;

/// Returns what the directories of all mirrors of an upstream begin with: the last part of the URL for people, and a hash
/// of the whole URL, so that two upstreams never share a directory on a file system without upper and lower case.
#[must_use]
pub fn stem(url: &UpstreamUrl) -> String {
    let last = url
        .path()
        .trim_end_matches(".git")
        .rsplit('/')
        .next()
        .unwrap_or_default();
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let readable: String = last.chars().map(plain).take(MAX_READABLE_CHARS).collect();
    let hash = Sha256::digest(url.as_str().as_bytes());
    format!(
        "{}-{}",
        readable.trim_matches('-'),
        hex::encode(&hash[..16])
    )
}

/// Returns the names of directories for mirrors of the upstream with this stem: `STEM.git`, `STEM-2.git`, `STEM-3.git`, …
pub fn dir_names(stem: &str) -> impl Iterator<Item = String> {
    let numbered = (2..).map(move |number| format!("{stem}-{number}.git"));
    std::iter::once(format!("{stem}.git")).chain(numbered)
}

/// Whether a directory of this name is for mirrors of the upstream with this stem.
#[must_use]
pub fn has_stem(dir_name: &str, stem: &str) -> bool {
    let suffix = dir_name
        .strip_prefix(stem)
        .and_then(|rest| rest.strip_suffix(".git"));
    suffix.is_some_and(|suffix| match suffix.strip_prefix('-') {
        Some(number) => !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()),
        None => suffix.is_empty(),
    })
}
