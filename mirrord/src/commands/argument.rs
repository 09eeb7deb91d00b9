//! The argument NAME of most commands: the name of a mirror, or the URL of an upstream, as git would read it here.

use common::{
    address::{redact, upstream_url::Address},
    client::resolve,
    git::client_context::UserConfig,
    protocol::{Failure, Mirror, OrFailure},
    text::masked,
};

/// Reads git's configuration as a git command in the current directory would.
pub(super) fn read_user_config() -> Result<UserConfig, Failure> {
    UserConfig::read().or_failure("cannot read git's configuration")
}

/// Resolves a typed name or URL by git's configuration (`url.<base>.insteadOf`).
pub(super) fn resolve_address(typed: &str, config: &UserConfig) -> Result<Address, Failure> {
    resolve::resolve(without_prefix(typed), config)
}

/// Resolves a typed name or URL to the mirror that is meant.
pub(super) fn resolve_mirror(typed: &str) -> Result<Mirror, Failure> {
    Ok(match resolve_address(typed, &read_user_config()?)? {
        Address::Url(url, _) => Mirror::Url(url.to_string()),
        Address::Name(name) => Mirror::Name(name),
    })
}

/// A typed name or URL as it is printed: without a login that may be in it.
pub(super) fn display_name(typed: &str) -> String {
    masked(redact(without_prefix(typed)).as_bytes())
}

/// A name or URL without `mirror::`, with which it is typed for git.
fn without_prefix(typed: &str) -> &str {
    typed.strip_prefix("mirror::").unwrap_or(typed)
}
