//! What our own children run us as: the credential helper and the askpass program.

pub(crate) mod askpass;
pub(crate) mod login;
