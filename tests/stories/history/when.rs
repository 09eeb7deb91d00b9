//! `mirrord restore --at`: an old tip by time, or by commit.

use std::fs;

use super::{Stage, local};

/// The ref of an old tip.
const HISTORY: &str = "refs/mirror/history/";

impl Stage {
    /// Makes what is in the history have happened at these times, the newest first, in seconds since 1970. No daemon may
    /// run.
    #[track_caller]
    pub(super) fn happened(&self, times: &[u64]) {
        assert_eq!(self.world.daemon_pid(), None, "a daemon runs");
        let file = self.world.only_mirror().join("packed-refs");
        // Else it would be seen that names are lost.
        let _ = fs::remove_file(file.with_extension("copy"));
        let text = fs::read_to_string(&file).expect("the mirror is ours");
        let (header, body) = text.split_once('\n').expect("a header");
        // A ref, and the line after it that says what its tag points to.
        let mut refs: Vec<(String, String)> = Vec::new();
        for line in body.lines() {
            match (line.split_once(' '), refs.last_mut()) {
                (Some((oid, name)), _) => refs.push((name.to_owned(), format!("{oid} NAME\n"))),
                (None, Some((_, lines))) => lines.push_str(&format!("{line}\n")),
                (None, None) => panic!("a line of no ref: {line}"),
            }
        }
        let stamp = |name: &str| {
            let rest = name.strip_prefix(HISTORY)?;
            Some(rest.split_once('/')?.0.to_owned())
        };
        let mut stamps: Vec<_> = refs.iter().filter_map(|(name, _)| stamp(name)).collect();
        stamps.sort();
        stamps.dedup();
        stamps.reverse();
        assert_eq!(stamps.len(), times.len(), "so many transactions: {text}");
        for (name, _) in &mut refs {
            let Some(old) = stamp(name) else { continue };
            let at = stamps.iter().position(|stamp| *stamp == old);
            let time = times[at.expect("it is one of them")] * 1_000_000;
            *name = name.replacen(&old, &time.to_string(), 1);
        }
        refs.sort();
        let refs = refs
            .iter()
            .map(|(name, lines)| lines.replacen("NAME", name, 1));
        let text = format!("{header}\n{}", refs.collect::<String>());
        fs::write(&file, text).expect("the mirror is ours");
    }

    /// Restores `mine` as it was then, and returns what that is.
    #[track_caller]
    fn was(&self, at: &str) -> String {
        self.restore(&["mine", "--at", at, "--as", "back"]);
        let mine = self.public()["refs/heads/back"].clone();
        self.push("ours", &[":back"]).ok();
        mine
    }
}

/// A stage in which all branches but `main` are local, and no old tip expires.
fn for_ever() -> Stage {
    let stage = local();
    let keep = ["set", "project", "--keep-history", "36500d"];
    stage.mirrord(&keep).ok();
    stage
}

/// A local branch `mine` that was three things, until noon of the first three days of 2026; returns them, the oldest
/// first.
fn three_days() -> (Stage, [String; 3]) {
    let stage = for_ever();
    let was = ["one", "two", "three"].map(|message| {
        stage.ours(&["reset", "-q", "--hard", "origin/main"]).ok();
        let commit = stage.commit("ours", message);
        stage
            .push("ours", &["--force", "main:refs/heads/mine"])
            .ok();
        commit
    });
    stage.push("ours", &[":mine"]).ok();
    stage.mirrord(&["stop"]).ok();
    let noon = |day: u64| 1_767_225_600 + (day - 1) * 86_400 + 43_200;
    stage.happened(&[noon(3), noon(2), noon(1)]);
    (stage, was)
}

#[test]
fn restore_at_a_time_brings_back_what_the_branch_was_then() {
    let (stage, [one, two, _]) = three_days();
    let listed = stage.mirrord(&["history", "project"]).ok();
    let times: Vec<_> = listed.stdout.lines().map(|line| &line[..25]).collect();
    assert_eq!(
        times,
        [
            "2026-01-03 12:00:00 +0000",
            "2026-01-02 12:00:00 +0000",
            "2026-01-01 12:00:00 +0000"
        ]
    );
    for (at, expected) in [
        ("2026-01-01 12:00:00 +0000", &one),
        ("2026-01-01 12:00:01", &two),
        ("@1767312000", &two),
    ] {
        assert_eq!(&stage.was(at), expected, "at '{at}'");
    }
    stage.is_sound();
}

#[test]
fn a_time_after_the_last_loss_has_nothing_to_bring_back() {
    let (stage, _) = three_days();
    let args = ["mine", "--at", "2026-01-03 12:00:01", "--as", "back"];
    let ran = stage.restoring(&args).code(1);
    insta::assert_snapshot!(ran.shown(), @r"
        error: 'mine' has lost nothing since '[date]': the last time was [date]
        hint: 'mirrord history NAME' shows what can be brought back
    ");
    let args = ["mine", "--at", "1 minute ago", "--as", "back"];
    stage.restoring(&args).code(1);
    let args = ["mine", "--at", "the other day", "--as", "back"];
    let ran = stage.restoring(&args).fails();
    insta::assert_snapshot!(ran.shown(), @r"
        error: 'the other day' is neither an object id nor a time
        hint: a time is '[time] ago', 'yesterday', '2026-01-31' or '[date]'
    ");
    assert!(!stage.public().contains_key("refs/heads/back"));
}

#[test]
fn the_time_that_history_prints_means_the_same_wherever_it_is_read() {
    let (stage, was) = three_days();
    for zone in ["UTC", "Asia/Kolkata", "America/St_Johns"] {
        let listed = stage.mirrord(&["history", "project"]).env("TZ", zone).ok();
        let lines = listed.stdout.lines().rev();
        for (line, expected) in lines.zip(&was) {
            assert_eq!(&stage.was(&line[..25]), expected, "{line}");
        }
    }
}

#[test]
fn a_time_without_a_zone_is_one_of_who_types_it() {
    let (stage, [one, two, _]) = three_days();
    // Noon there is midnight or so in Greenwich; the daemon lives by that.
    stage.mirrord(&["list"]).ok();
    let restored = |at: &str| {
        let args = ["mine", "--at", at, "--as", "back"];
        let restoring = stage.restoring(&args).env("TZ", "Pacific/Auckland");
        restoring.ok();
        let mine = stage.public()["refs/heads/back"].clone();
        stage.push("ours", &[":back"]).ok();
        mine
    };
    let listed = stage
        .mirrord(&["history", "project"])
        .env("TZ", "Pacific/Auckland")
        .ok();
    assert!(
        listed.stdout.contains("2026-01-02 01:00:00 +1300"),
        "{listed}"
    );
    assert_eq!(restored("2026-01-02 00:59"), one);
    assert_eq!(restored("2026-01-02 01:01"), two);
}

#[test]
fn restore_at_a_commit_brings_back_that_commit() {
    let (stage, was) = three_days();
    for commit in &was {
        for at in [
            commit.clone(),
            commit[..7].to_owned(),
            commit[..12].to_uppercase(),
        ] {
            assert_eq!(&stage.was(&at), commit, "at '{at}'");
        }
    }
    let main = stage.upstream_tip("main");
    let elsewhere = "0123456789012345678901234567890123456789";
    for at in [main.as_str(), elsewhere] {
        let ran = stage
            .restoring(&["mine", "--at", at, "--as", "back"])
            .code(1);
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.shown(), @r"
                error: 'mine' was never at '[oid]' that is remembered
                hint: 'mirrord history NAME' shows what can be brought back
            ");
        }
    }
}

#[test]
fn without_a_time_it_is_the_newest() {
    let (stage, [.., three]) = three_days();
    stage.restore(&["mine"]);
    stage.shows("refs/heads/mine", &three);
}

#[test]
fn a_branch_that_went_back_and_forth_was_each_of_them_in_turn() {
    let stage = for_ever();
    let one = stage.commit("ours", "one");
    stage.push("ours", &["main:mine"]).ok();
    stage.ours(&["reset", "-q", "--hard", "HEAD~1"]).ok();
    let two = stage.commit("ours", "two");
    for commit in [&two, &one, &two] {
        stage
            .push("ours", &["--force", &format!("{commit}:refs/heads/mine")])
            .ok();
    }
    let listed = stage.history();
    let listed: Vec<_> = listed.iter().map(|(_, oid, _)| oid.as_str()).collect();
    assert_eq!(listed, [&one[..7], &two[..7], &one[..7]]);
    stage.mirrord(&["stop"]).ok();
    stage.happened(&[1_767_500_000, 1_767_400_000, 1_767_300_000]);
    assert_eq!(stage.was("@1767300000"), one);
    assert_eq!(stage.was("@1767300001"), two);
    assert_eq!(stage.was("@1767400001"), one);
}
