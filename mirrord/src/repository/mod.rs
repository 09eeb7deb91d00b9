//! What is inside one bare repository: its refs, its history, and how objects and refs get in.

pub(crate) mod ancestry;
pub(crate) mod changed;
pub(crate) mod checked;
pub(crate) mod connected;
pub(crate) mod damage;
pub(crate) mod history;
pub(crate) mod local_refs;
pub(crate) mod objects;
pub(crate) mod plan;
pub(crate) mod publish;
pub(crate) mod quarantine;
pub(crate) mod refs;
pub(crate) mod retrack;
#[cfg(test)]
pub(crate) mod sample;
pub(crate) mod steps;
pub(crate) mod tips;
pub(crate) mod unserved;
pub(crate) mod verified;
