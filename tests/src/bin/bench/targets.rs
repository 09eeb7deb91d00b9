//! What is to be reached, as ratios against another way in the same rounds.

use crate::{
    contenders::Contender,
    figures::{Figure, Sample},
    repositories::Kind::{self, Large, Small},
    results::{Outcome, by_work},
    works::{
        AT_ONCE, AT_ONCE_BARE, BLOBLESS, BY_PATH, CHECKOUT, COLD, DEPTH_1, DOWNLOAD, FETCH, FIRST,
        FIRST_PART, FLOOR, HIT, LOCAL, MISS, NOTHING, PUSH, PUSH_LARGE, PUSH_SHALLOW, SHARE,
        THROUGH, TRACKED, UNASKED, WARM,
    },
};

/// One line of the table.
struct Target {
    what: &'static str,
    kind: Kind,
    work: &'static str,
    way: &'static str,
    measure: Measure,
    limit: f64,
}

/// What is compared with the limit.
enum Measure {
    /// A figure as a multiple of another way's.
    Ratio(Figure, &'static str, Figure),
    /// So many more milliseconds than another way.
    Milliseconds(&'static str),
    /// A number of requests.
    Count(Figure),
}

/// What became of a target on a repository.
#[derive(Debug)]
pub(crate) struct Reached {
    pub(crate) repository: String,
    pub(crate) what: &'static str,
    /// The limit, with its unit.
    pub(crate) limit: String,
    /// The measured figure, with its unit; nothing where a way has failed in all rounds.
    pub(crate) is: Option<String>,
    pub(crate) reached: bool,
}

const fn wall(way: &'static str) -> Measure {
    Measure::Ratio(WALL, way, WALL)
}

const WALL: Figure = |sample: &Sample| sample.wall;
const REQUESTS: Figure = |sample: &Sample| sample.requests;
const PACKS: Figure = |sample: &Sample| sample.packs;
const CLIENT_MEMORY: Figure = |sample: &Sample| sample.client_memory;
const CLIENT_OWN: Figure = |sample: &Sample| sample.client_own_memory;
const DAEMON_MEMORY: Figure = |sample: &Sample| sample.daemon_memory;
const DAEMON_OWN: Figure = |sample: &Sample| sample.daemon_own_memory;

const GIT: &str = Contender::Git.name();
const BY_LINKS: &str = Contender::Local.name();
const MIRROR: &str = Contender::Mirror.name();

#[rustfmt::skip]
const TARGETS: &[Target] = &[
    Target { what: "warm clone with checkout, against plain git", kind: Small, work: CHECKOUT, way: WARM, measure: wall(GIT), limit: 0.08 },
    Target { what: "warm clone with checkout, against plain git", kind: Large, work: CHECKOUT, way: WARM, measure: wall(GIT), limit: 0.02 },
    Target { what: "warm clone with checkout, against clone --local", kind: Large, work: CHECKOUT, way: WARM, measure: wall(BY_LINKS), limit: 1.05 },
    Target { what: "20 warm clones at once, against plain git", kind: Small, work: AT_ONCE, way: WARM, measure: wall(GIT), limit: 0.05 },
    Target { what: "20 warm clones at once without checkout, against plain git", kind: Small, work: AT_ONCE_BARE, way: WARM, measure: wall(GIT), limit: 0.06 },
    Target { what: "20 cold clones at once, against plain git", kind: Small, work: AT_ONCE, way: COLD, measure: wall(GIT), limit: 0.15 },
    Target { what: "20 cold clones at once, requests for a pack", kind: Small, work: AT_ONCE, way: COLD, measure: Measure::Count(PACKS), limit: 1.0 },
    Target { what: "fetch of nothing new, against plain git", kind: Small, work: NOTHING, way: MIRROR, measure: wall(GIT), limit: 0.40 },
    Target { what: "fetch of nothing new, against plain git", kind: Large, work: NOTHING, way: MIRROR, measure: wall(GIT), limit: 0.40 },
    Target { what: "fetch of nothing new, requests", kind: Small, work: NOTHING, way: MIRROR, measure: Measure::Count(REQUESTS), limit: 1.0 },
    Target { what: "cold clone, against plain git", kind: Small, work: CHECKOUT, way: COLD, measure: wall(GIT), limit: 1.0 },
    Target { what: "cold clone, against plain git", kind: Large, work: CHECKOUT, way: COLD, measure: wall(GIT), limit: 1.0 },
    Target { what: "clone of depth 1 that was wanted before, against plain git", kind: Small, work: DEPTH_1, way: HIT, measure: wall(GIT), limit: 0.12 },
    Target { what: "clone of depth 1 that nobody wanted before, against plain git", kind: Small, work: DEPTH_1, way: MISS, measure: wall(GIT), limit: 1.0 },
    Target { what: "clone without blobs that was wanted before, against plain git", kind: Small, work: BLOBLESS, way: HIT, measure: wall(GIT), limit: 0.12 },
    Target { what: "clone without blobs that nobody wanted before, against plain git", kind: Small, work: BLOBLESS, way: MISS, measure: wall(GIT), limit: 1.0 },
    Target { what: "clone of depth 1 that was wanted before, against plain git", kind: Large, work: DEPTH_1, way: HIT, measure: wall(GIT), limit: 0.12 },
    Target { what: "clone of depth 1 that nobody wanted before, against plain git", kind: Large, work: DEPTH_1, way: MISS, measure: wall(GIT), limit: 1.0 },
    Target { what: "clone without blobs that was wanted before, against plain git", kind: Large, work: BLOBLESS, way: HIT, measure: wall(GIT), limit: 0.12 },
    Target { what: "clone without blobs that nobody wanted before, against plain git", kind: Large, work: BLOBLESS, way: MISS, measure: wall(GIT), limit: 1.0 },
    Target { what: "first clone of depth 1, of what has no mirror, against plain git", kind: Large, work: FIRST_PART, way: THROUGH, measure: wall(GIT), limit: 1.1 },
    Target { what: "push of one commit upstream, against plain git", kind: Small, work: PUSH, way: TRACKED, measure: wall(GIT), limit: 1.25 },
    Target { what: "push of 100 commits of 20 MB, against plain git", kind: Small, work: PUSH_LARGE, way: TRACKED, measure: wall(GIT), limit: 1.05 },
    Target { what: "push from a clone of depth 1, against plain git", kind: Small, work: PUSH_SHALLOW, way: TRACKED, measure: wall(GIT), limit: 1.0 },
    Target { what: "push from a clone of depth 1, against plain git", kind: Large, work: PUSH_SHALLOW, way: TRACKED, measure: wall(GIT), limit: 1.0 },
    Target { what: "push of one local commit, against a push by path", kind: Small, work: PUSH, way: LOCAL, measure: wall(BY_PATH), limit: 2.0 },
    Target { what: "our own share of a fetch of nothing new, over git's floor", kind: Small, work: SHARE, way: UNASKED, measure: Measure::Milliseconds(FLOOR), limit: 3.0 },
    Target { what: "daemon's memory in the first download, against git fetch's", kind: Large, work: DOWNLOAD, way: FIRST, measure: Measure::Ratio(DAEMON_MEMORY, FETCH, CLIENT_MEMORY), limit: 1.1 },
    Target { what: "the same without the files that they map", kind: Large, work: DOWNLOAD, way: FIRST, measure: Measure::Ratio(DAEMON_OWN, FETCH, CLIENT_OWN), limit: 1.1 },
];

/// Compares what was measured with the targets; what was not done is left out.
pub(crate) fn reached(outcomes: &[Outcome]) -> Vec<Reached> {
    let mut all = Vec::new();
    for target in TARGETS {
        for ways in by_work(outcomes) {
            if ways
                .iter()
                .any(|way| way.work == target.work && way.kind == target.kind)
            {
                all.extend(target.on(ways));
            }
        }
    }
    all
}

impl Target {
    fn on(&self, ways: &[Outcome]) -> Option<Reached> {
        let find = |name: &str| ways.iter().find(|way| way.way == name);
        let own = find(self.way)?;
        let (is, unit) = match self.measure {
            Measure::Ratio(figure, other, others) => (own.ratio(figure, find(other)?, others), "x"),
            Measure::Milliseconds(other) => {
                let difference = own.difference(WALL, find(other)?);
                (difference.map(|seconds| seconds * 1000.0), " ms")
            }
            Measure::Count(figure) => (own.range(figure).map(|(_, most)| most), ""),
        };
        Some(Reached {
            repository: own.repository.clone(),
            what: self.what,
            limit: format!("≤ {}{unit}", self.limit),
            is: is.map(|is| format!("{}{unit}", short(is))),
            reached: is.is_some_and(|is| is <= self.limit),
        })
    }
}

/// Returns a number with three digits that say something.
pub(crate) fn short(number: f64) -> String {
    let decimals = match number.abs() {
        0.0 => 0,
        it if it >= 100.0 => 0,
        it if it >= 10.0 => 1,
        it if it >= 1.0 => 2,
        it if it >= 0.1 => 3,
        _ => 4,
    };
    format!("{number:.decimals$}")
}
