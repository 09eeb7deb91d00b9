//! The inside of a mirror, which is one bare repository: its refs, its objects, and how both get in.
//!
//! A sync receives objects into a [`quarantine`], checks with [`connected`] that none is missing, makes a [`plan`] for the
//! refs and writes it with [`publish`]. A push and a change of the refspecs ([`retrack`]) make other plans. [`refs`] reads
//! the refs and repairs them, [`local_refs`] tells which of them upstream does not have, and [`history`] keeps their past
//! values. [`on_demand`] keeps for a while what a client wanted beside what is tracked.
//!
//! Files about the packs: [`verified`], [`steps`], [`tips`]. Files about what is wrong: [`damage`], [`changed`],
//! [`unserved`], [`checked`].

pub(crate) mod ancestry;
pub(crate) mod changed;
pub(crate) mod checked;
pub(crate) mod connected;
pub(crate) mod damage;
pub(crate) mod history;
pub(crate) mod local_refs;
pub(crate) mod objects;
pub(crate) mod on_demand;
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
