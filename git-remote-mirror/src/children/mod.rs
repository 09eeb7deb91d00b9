//! What children of the helper and of the daemon run this program as: a credential helper ([`login`]) and an askpass
//! program ([`askpass`]).

pub(crate) mod askpass;
pub(crate) mod login;
