//! Changes that must raise the alarm, and everyday changes that must not.

use std::ops::RangeInclusive;

use tests::{Project, World};

use super::{empty, replace};

/// Something that happens to an upstream.
struct Scenario {
    what: &'static str,
    before: fn(&Project),
    then: fn(&Project),
}

/// Plays scenarios, each with a mirror of its own, and asserts of each whether there was an alarm; what was served is what
/// the mirror had, or else what upstream has, and then what has gone is in the history.
#[track_caller]
fn play(scenarios: &[Scenario], alarm: bool) {
    let world = World::new();
    let gitlab = world.gitlab();
    let mut wrong = Vec::new();
    for (number, scenario) in scenarios.iter().enumerate() {
        let path = format!("group/project-{number}");
        let project = gitlab.project(&path);
        (scenario.before)(&project);
        let address = format!("mirror::{}", gitlab.url(&path));
        let ask = || world.git(["ls-remote", "--refs", &address]);
        ask().ok();
        let had = project.refs();
        (scenario.then)(&project);
        let has = project.refs();
        let ran = ask().ok();
        let pair = |line: &str| {
            let (oid, name) = line.split_once('\t').expect("two columns");
            (name.to_owned(), oid.to_owned())
        };
        let mut served: Vec<_> = ran.stdout.lines().map(pair).collect();
        served.sort();
        let expected = if alarm { &had } else { &has };
        let is_said = ran.stderr.contains("looks wiped");
        let is_silent = ran.stderr.is_empty();
        if served != *expected || (alarm && !is_said) || (!alarm && !is_silent) {
            wrong.push(format!("{}: {ran}", scenario.what));
            continue;
        }
        let history = world
            .mirrord(["history", &gitlab.url(&path), "--json"])
            .ok();
        let gone = had.iter().filter(|(name, _)| {
            let mut has = has.iter();
            !has.any(|(other, _)| other == name)
        });
        for (name, oid) in gone {
            if !alarm && !history.stdout.contains(oid) {
                wrong.push(format!("{}: {name} is lost: {history}", scenario.what));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Branches that go their own ways from `main`, each with a commit.
fn branches(project: &Project, numbers: RangeInclusive<usize>) {
    for number in numbers {
        let name = format!("b{number}");
        project.branch(&name, "main");
        project.commit(&name, &name, "own");
    }
}

fn delete(project: &Project, numbers: RangeInclusive<usize>) {
    for number in numbers {
        project.delete(&format!("b{number}"));
    }
}

pub(super) fn main_and<const LAST: usize>(project: &Project) {
    project.history(3);
    branches(project, 1..=LAST);
}

/// Rewrites `main` from its first commit on.
fn begin_anew(project: &Project, commits: usize) {
    project.delete("main");
    project.commit("main", "other", "begun anew");
    if commits > 1 {
        project.history(commits - 1);
    }
}

#[test]
fn an_upstream_without_any_ref_is_an_alarm() {
    let scenarios = [
        Scenario {
            what: "its one branch, of one commit, is gone",
            before: |project| drop(project.commit("main", "a", "a")),
            then: empty,
        },
        Scenario {
            what: "twenty branches and a tag are gone",
            before: |project| {
                main_and::<19>(project);
                project.annotated_tag("v1", "main");
            },
            then: empty,
        },
        Scenario {
            what: "it has a HEAD that names another branch, unborn",
            before: main_and::<1>,
            then: |project| {
                empty(project);
                project.set_head("other");
            },
        },
        Scenario {
            what: "only what is neither branch nor tag is left",
            before: main_and::<1>,
            then: |project| {
                project.force("refs/merge-requests/1/head", "main");
                for name in ["main", "b1"] {
                    project.delete(name);
                }
            },
        },
    ];
    play(&scenarios, true);
}

#[test]
fn more_than_half_of_the_refs_gone_and_at_least_ten_is_an_alarm() {
    let scenarios = [
        Scenario {
            what: "11 of 20",
            before: main_and::<19>,
            then: |project| delete(project, 1..=11),
        },
        Scenario {
            what: "10 of 19",
            before: main_and::<18>,
            then: |project| delete(project, 1..=10),
        },
        Scenario {
            what: "19 of 20, and main has moved on",
            before: main_and::<19>,
            then: |project| {
                delete(project, 1..=19);
                project.commit("main", "a", "on");
            },
        },
        Scenario {
            what: "12 of 13, tags that no branch contains",
            before: |project| {
                main_and::<12>(project);
                for number in 1..=12 {
                    let branch = format!("b{number}");
                    project.annotated_tag(&format!("v{number}"), &branch);
                    project.delete(&branch);
                }
            },
            then: |project| {
                for number in 1..=12 {
                    project.delete(&format!("refs/tags/v{number}"));
                }
            },
        },
        Scenario {
            what: "12 of 13, and 30 others are new",
            before: main_and::<12>,
            then: |project| {
                delete(project, 1..=12);
                branches(project, 101..=130);
            },
        },
        Scenario {
            what: "all, and another branch of the same project is there",
            before: main_and::<12>,
            then: |project| {
                project.branch("trunk", "main~2");
                delete(project, 1..=12);
                project.delete("main");
            },
        },
    ];
    play(&scenarios, true);
}

#[test]
fn another_project_in_its_place_is_an_alarm() {
    let scenarios = [
        Scenario {
            what: "under the same branch names",
            before: |project| drop(project.history(11)),
            then: |project| replace(project, 30),
        },
        Scenario {
            what: "with one commit",
            before: |project| drop(project.history(11)),
            then: |project| replace(project, 1),
        },
        Scenario {
            what: "under another branch name",
            before: |project| drop(project.history(11)),
            then: |project| {
                replace(project, 3);
                project.branch("trunk", "main");
                project.delete("main");
            },
        },
        Scenario {
            what: "with the files of the old one, but not its history",
            before: |project| {
                project.history(11);
                project.annotated_tag("v1", "main");
            },
            then: |project| {
                let args = ["commit-tree", "-m", "import", "main^{tree}"];
                let import = project.git(args).ok();
                empty(project);
                project.force("main", import.line());
            },
        },
    ];
    play(&scenarios, true);
}

#[test]
fn everyday_merges_and_deletions_raise_no_alarm() {
    let scenarios = [
        Scenario {
            what: "GitLab's 'delete merged branches' on 14 of 20",
            before: |project| {
                main_and::<19>(project);
                for number in 1..=14 {
                    project.merge("main", &format!("b{number}"));
                }
            },
            then: |project| delete(project, 1..=14),
        },
        Scenario {
            what: "the same, merged and deleted between two fetches",
            before: main_and::<19>,
            then: |project| {
                for number in 1..=14 {
                    project.merge("main", &format!("b{number}"));
                }
                delete(project, 1..=14);
            },
        },
        Scenario {
            what: "14 of 20, merged into another branch than main",
            before: main_and::<19>,
            then: |project| {
                project.branch("next", "main");
                for number in 1..=14 {
                    project.merge("next", &format!("b{number}"));
                }
                delete(project, 1..=14);
            },
        },
        Scenario {
            what: "master renamed to main",
            before: |project| {
                project.history(15);
                project.branch("master", "main");
                project.set_head("master");
                project.delete("main");
            },
            then: |project| {
                project.branch("main", "master");
                project.set_head("main");
                project.delete("master");
            },
        },
        Scenario {
            what: "every branch renamed",
            before: main_and::<12>,
            then: |project| {
                let had = project.refs();
                empty(project);
                for (name, oid) in had {
                    project.force(&name.replace("/heads/", "/heads/old/"), &oid);
                }
            },
        },
        Scenario {
            what: "half of the branches deleted",
            before: main_and::<19>,
            then: |project| delete(project, 1..=10),
        },
        Scenario {
            what: "9 of 10 deleted",
            before: main_and::<9>,
            then: |project| delete(project, 1..=9),
        },
        Scenario {
            what: "all tags of what main contains deleted",
            before: |project| {
                project.history(14);
                for number in 1..=13 {
                    let name = format!("v{number}");
                    project.annotated_tag(&name, &format!("main~{number}"));
                    project.tag(&format!("light-{name}"), &name);
                }
            },
            then: |project| {
                let tags = project.refs().into_iter();
                for (name, _) in tags.filter(|(name, _)| name.contains("/tags/")) {
                    project.delete(&name);
                }
            },
        },
    ];
    play(&scenarios, false);
}

#[test]
fn a_history_that_is_rewritten_is_no_alarm() {
    let scenarios = [
        Scenario {
            what: "a first commit amended in a tiny repository",
            before: |project| drop(project.commit("main", "a", "a")),
            then: |project| begin_anew(project, 1),
        },
        Scenario {
            what: "ten commits begun anew",
            before: |project| drop(project.history(10)),
            then: |project| begin_anew(project, 1),
        },
        Scenario {
            what: "all but the first commit rewritten, on every branch",
            before: |project| {
                project.history(30);
                branches(project, 1..=3);
            },
            then: |project| {
                let first = project.git(["rev-list", "--max-parents=0", "main"]).ok();
                for name in ["main", "b1", "b2", "b3"] {
                    project.force(name, first.line());
                    project.commit(name, "anew", name);
                }
            },
        },
        Scenario {
            what: "main begun anew, and a tag of the old one left",
            before: |project| {
                project.history(30);
                project.tag("v1", "main~5");
            },
            then: |project| begin_anew(project, 20),
        },
        Scenario {
            what: "main begun anew, and the old one kept under another name",
            before: |project| drop(project.history(30)),
            then: |project| {
                project.branch("old", "main");
                begin_anew(project, 20);
            },
        },
        Scenario {
            what: "everything set back by ten commits",
            before: |project| {
                project.history(30);
                project.branch("other", "main");
            },
            then: |project| {
                project.force("other", "main~10");
                project.force("main", "main~10");
            },
        },
    ];
    play(&scenarios, false);
}
