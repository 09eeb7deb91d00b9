//! Which repository an address means: URLs, names, and what git's configuration makes of them.

pub mod name;
pub mod policy;
pub mod resolve;
pub mod upstream_url;
pub mod url_config;
