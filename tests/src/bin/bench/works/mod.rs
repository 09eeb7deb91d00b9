//! The work: what is done, by whom, and on which repositories.

mod clone;
mod fetch;
mod first;
mod push;

use std::{io, time::Duration};

use crate::{
    figures::Job,
    repositories::Kind::{self, Large, ManyRefs, Small},
    stage::{Stage, Subject},
};

pub(crate) use clone::{COLD, HIT, MISS, THROUGH, WARM};
pub(crate) use fetch::{FLOOR, UNASKED};
pub(crate) use first::{FETCH, FIRST};
pub(crate) use push::{BY_PATH, LOCAL, TRACKED};

/// How long what is not measured may take.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Titles that the targets name, too.
pub(crate) const CHECKOUT: &str = "clone, with checkout (T1 cold, T2 warm)";
pub(crate) const AT_ONCE: &str = "20 clones at once";
pub(crate) const AT_ONCE_BARE: &str = "20 clones at once, no checkout";
pub(crate) const NOTHING: &str = "fetch of nothing new";
pub(crate) const PUSH: &str = "push of one commit (T6)";
pub(crate) const PUSH_LARGE: &str = "push of 100 commits, 20 MB (T6)";
pub(crate) const PUSH_SHALLOW: &str = "push of one commit from a clone of depth 1 (T6)";
pub(crate) const SHARE: &str = "fetch of nothing new, upstream not asked";
pub(crate) const FIRST_PART: &str = "first clone, depth 1";
pub(crate) const DEPTH_1: &str = "clone, no checkout, depth 1 (T3)";
pub(crate) const BLOBLESS: &str = "clone, no checkout, blob:none (T4)";
pub(crate) const DOWNLOAD: &str = "first download";

/// Every piece of work, and the repositories that it is done on.
pub(crate) const ALL: &[Entry] = &[
    Entry(CHECKOUT, &[Small, Large], clone::with_checkout),
    Entry(
        "clone, no checkout",
        &[Small, Large, ManyRefs],
        clone::without_checkout,
    ),
    Entry(FIRST_PART, &[Small, Large], clone::first_of_depth_1),
    Entry("clone, depth 1 (T3)", &[Small, Large], clone::depth_1),
    Entry(DEPTH_1, &[Small, Large], clone::depth_1_without_checkout),
    Entry(
        "clone, no checkout, depth 100 (T3)",
        &[Small, Large],
        clone::depth_100_without_checkout,
    ),
    Entry(BLOBLESS, &[Small, Large], clone::blobless),
    Entry(
        "clone, no checkout, single branch",
        &[Small, Large],
        clone::one_branch,
    ),
    Entry(AT_ONCE, &[Small], clone::at_once),
    Entry(AT_ONCE_BARE, &[Small], clone::at_once_without_checkout),
    Entry(NOTHING, &[Small, Large, ManyRefs], fetch::nothing),
    Entry(SHARE, &[Small], fetch::unasked),
    Entry(
        "fetch of 1 commit",
        &[Small, Large, ManyRefs],
        |stage, subject| fetch::commits(stage, subject, 1),
    ),
    Entry(
        "fetch of 10 commits (T5)",
        &[Small, Large],
        |stage, subject| fetch::commits(stage, subject, 10),
    ),
    Entry(
        "fetch of 100 commits (T5)",
        &[Small, Large],
        |stage, subject| fetch::commits(stage, subject, 100),
    ),
    Entry(
        "fetch of 1,000 commits (T5)",
        &[Small, Large],
        |stage, subject| fetch::commits(stage, subject, 1_000),
    ),
    Entry("fetch of 10,000 commits", &[Large], |stage, subject| {
        fetch::commits(stage, subject, 10_000)
    }),
    Entry(PUSH, &[Small], push::one_commit),
    Entry(PUSH_LARGE, &[Small], push::many_commits),
    Entry(PUSH_SHALLOW, &[Small, Large], push::from_depth_1),
    Entry(DOWNLOAD, &[Large], first::download),
];

/// A title, the repositories, and how it is done.
pub(crate) struct Entry(
    pub(crate) &'static str,
    pub(crate) &'static [Kind],
    pub(crate) for<'a> fn(&'a Stage, &'a Subject) -> Work<'a>,
);

/// Something to do, and what may go wrong with it.
type Step<'a, T> = Box<dyn Fn() -> io::Result<T> + 'a>;

/// A piece of work.
pub(crate) struct Work<'a> {
    /// Done before each round, and not measured.
    pub(crate) begin: Step<'a, ()>,
    /// Who does it. The first is what the others are compared with.
    pub(crate) ways: Vec<Way<'a>>,
    /// Each round goes through the ways in the same order, because the one makes what the next finds.
    pub(crate) in_order: bool,
    /// So many rounds in place of one: for what is over at once.
    pub(crate) times: usize,
}

/// One way to do it.
pub(crate) struct Way<'a> {
    pub(crate) name: &'static str,
    /// Prepares a turn, and says what is to be measured.
    pub(crate) prepare: Step<'a, Job>,
    /// Looks whether the result is right, and says what is not.
    pub(crate) check: Box<dyn Fn() -> Result<(), String> + 'a>,
}

impl Work<'_> {
    /// Work with nothing to be done before a round, in any order.
    fn of(ways: Vec<Way<'_>>) -> Work<'_> {
        Work {
            begin: Box::new(|| Ok(())),
            ways,
            in_order: false,
            times: 1,
        }
    }
}

/// Compares two ids, or other lines.
fn same(what: &str, is: &str, should: &str) -> Result<(), String> {
    if is == should {
        Ok(())
    } else {
        Err(format!("{what} is '{is}' and should be '{should}'"))
    }
}
