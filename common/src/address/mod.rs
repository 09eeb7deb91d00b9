//! Which repository an address means: URLs, names, and what git's configuration makes of them.

pub mod mirror_dir;
pub mod name;
pub mod proxy;
mod redact;
pub mod upstream_url;
pub mod url_config;

pub use redact::redact;
