//! The stage on which the stories play: a [`World`] of temporary directories with the built
//! programs, a [`GitLab`] stand-in that serves real `git http-backend`, and upstream
//! [`Project`]s. Nothing here is faked that could be real: git, the wire, the programs.
//!
//! No test sleeps. A test waits for an event (a process ended, a request arrived, a paused request was
//! released), and every wait has a deadline after which the test says what it waited for.

mod changes;
mod compare;
mod cuts;
mod delivery;
mod front;
mod gitlab;
mod keyring;
mod leftovers;
pub mod measure;
mod nginx;
mod output;
mod parts;
mod port;
mod process;
mod programs;
mod project;
mod run;
mod shown;
mod skipped;
mod ssh;
mod systemd;
mod terminal;
mod trial;
mod world;

pub use changes::Changes;
pub use compare::{Twins, public_refs, refs, same_clone};
pub use cuts::{Cut, positions_to_cut};
pub use delivery::{Answer, Delivery, signature};
pub use front::{Front, Head, Passage};
pub use gitlab::{Fault, GitLab, On, Paused, Request};
pub use keyring::Keyring;
pub use nginx::Nginx;
pub use parts::Part;
pub use port::free_port;
pub use process::kill_all;
pub use project::Project;
pub use run::{Ran, Run, Running};
pub use rustix::process::Signal;
pub use shown::shown;
pub use ssh::{Sshd, processes};
pub use systemd::Systemd;
pub use terminal::Terminal;
pub use trial::{Kind, Trial, Trials, Verdict, mixed};
pub use world::{CertificateFiles, World};
