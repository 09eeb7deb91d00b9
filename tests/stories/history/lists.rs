//! How the past is listed, for people and for scripts, and when there is much of it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::cloned;

#[test]
fn a_mirror_without_history_says_so() {
    let stage = cloned(&[]);
    let shown = stage.mirrord_shows(&["history", "project"]);
    assert_eq!(shown, "nothing is in the history of 'project'\n");
    let shown = stage.mirrord_shows(&["history", "project", "--json"]);
    assert_eq!(shown, "[]\n");
    let ran = stage.mirrord(&["history", "no-such"]).code(1);
    insta::assert_snapshot!(ran.shown(), @r"
        error: no mirror is called 'no-such'
        hint: 'mirrord list' shows them; a URL makes a new one: mirror::https://HOST/GROUP/PROJECT.git
    ");
    let ran = stage.restoring(&["main"]).code(1);
    insta::assert_snapshot!(ran.shown(), @r"
        error: there is no history of 'main'
        hint: 'mirrord history NAME' shows what can be brought back
    ");
}

#[test]
fn a_branch_without_history_has_an_empty_one() {
    let stage = cloned(&[]);
    stage.project.delete("topic");
    stage.sync_project();
    let ran = stage.mirrord(&["history", "project", "main"]).ok();
    assert_eq!(
        ran.stdout,
        "nothing of 'main' is in the history of 'project'\n"
    );
    let ran = stage
        .mirrord(&["history", "project", "main", "--json"])
        .ok();
    assert_eq!(ran.line(), "[]");
}

#[test]
fn scripts_read_the_history_as_json() {
    let stage = cloned(&[]);
    let [main, topic] = ["main", "topic"].map(|name| stage.upstream_tip(name));
    stage.push("ours", &[":topic"]).ok();
    stage.project.force("main", "main~1");
    stage.sync_project();
    let ran = stage.mirrord(&["history", "project", "--json"]).ok();
    let facts = |text: &str, key: &str| {
        let begin = format!("\"{key}\": ");
        let values = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix(&begin));
        let values = values.map(|value| value.trim_end_matches(',').trim_matches('"').to_owned());
        values.collect::<Vec<_>>()
    };
    assert_eq!(
        facts(&ran.stdout, "ref"),
        ["refs/heads/main", "refs/heads/topic"]
    );
    assert_eq!(
        facts(&ran.stdout, "oid"),
        [main.as_str(), &topic],
        "in full"
    );
    assert_eq!(facts(&ran.stdout, "why"), ["rewritten", "deleted"]);
    let times: Vec<u64> = facts(&ran.stdout, "at")
        .iter()
        .map(|at| at.parse().expect("seconds since 1970"))
        .collect();
    assert!(times[0] >= times[1], "the newest first");
    for name in ["topic", "heads/topic", "refs/heads/topic"] {
        let ran = stage.mirrord(&["history", "project", name, "--json"]).ok();
        assert_eq!(facts(&ran.stdout, "oid"), [topic.as_str()]);
    }
}

/// Takes five seconds: two thousand branches come and are rewritten, which is what the story is about.
#[test]
fn two_thousand_branches_are_rewritten_in_one_sync() {
    let stage = cloned(&[]);
    stage.project.history(1000);
    stage.sync_project();
    let fill = |content: &str| {
        let base = stage.upstream_tip("main");
        let commits = (0..2000).map(|number| {
            format!(
                "commit refs/heads/many/{number}\ncommitter A <a@b> 1777225600 +0000\ndata 1\nx\nfrom {base}\nM 100644 inline f\ndata <<E\n{content} {number}\nE\n\n"
            )
        });
        let stream = commits.collect::<String>();
        let import = ["fast-import", "--quiet", "--force"];
        stage.project.git(import).stdin(stream).ok();
        let refs = stage.project.refs().into_iter();
        refs.collect::<BTreeMap<_, _>>()
    };
    let before = fill("first");
    let began = Instant::now();
    stage.sync_project();
    let plainly = began.elapsed();
    let after = fill("second");
    let began = Instant::now();
    stage.sync_project();
    let took = began.elapsed();
    // Beside what a sync of so many branches costs anyhow.
    assert!(
        took < plainly * 5 + Duration::from_secs(2),
        "{took:?}, and new ones took {plainly:?}"
    );
    assert_eq!(stage.public(), after);
    let history = stage.history();
    assert_eq!(history.len(), 2000);
    for (name, oid, why) in &history {
        assert_eq!(oid, &before[name][..7], "{name}");
        assert_eq!(why, "rewritten");
    }
    stage.restore(&["many/1234", "--as", "was"]);
    stage.shows("refs/heads/was", &before["refs/heads/many/1234"]);
}
