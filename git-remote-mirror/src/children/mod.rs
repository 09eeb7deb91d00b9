//! Children of git: what they run us as (the credential helper, the askpass program), what their traces tell, and how they
//! are ended with all that they have started.

pub(crate) mod askpass;
pub(crate) mod family;
pub(crate) mod login;
pub(crate) mod trace;
