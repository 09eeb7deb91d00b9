//! Upstream takes the name of a local branch: that is never overwritten, everybody is told, and both ways out work as
//! they are printed.

use super::{Stage, fork, stayed};

/// The line of a fetch that does not show upstream's `feat`.
const HIDDEN: &str =
    "warning: 'refs/heads/feat' is local to this mirror; upstream's 'refs/heads/feat' is not shown";

/// Makes all branches and tags tracked but those below `wip/`.
pub(super) fn widen(fork: &Stage) {
    fork.set(
        "fork",
        &[
            "--track",
            "+refs/heads/*",
            "--track",
            "+refs/tags/*",
            "--track",
            "^refs/heads/wip/*",
        ],
    )
    .ok();
}

/// A fork with a local `feat`, which upstream makes, too, when its name is tracked already. Returns what upstream has.
pub(super) fn taken() -> (Stage, String) {
    let fork = fork();
    fork.begin("feat");
    fork.push("ours", &["feat"]).ok();
    widen(&fork);
    let theirs = fork.project.commit("feat", "theirs", "of somebody else");
    (fork, theirs)
}

#[track_caller]
fn nothing_is_held(fork: &Stage) {
    let shown = fork.show("fork");
    assert!(!shown.contains("held:"), "{shown}");
}

/// Returns what somebody is told to type, without the words before it; `feat` is what it is about.
#[track_caller]
fn way_out(output: &str, begin: &str) -> String {
    let line = output.lines().find_map(|line| line.split_once(begin));
    let (_, way) = line.unwrap_or_else(|| panic!("'{begin}' is told: {output}"));
    way.trim().to_owned()
}

#[test]
fn each_fetch_and_show_say_that_a_local_branch_hides_upstreams() {
    let (fork, theirs) = taken();
    let mine = fork.tip("ours", "feat");
    for person in ["ours", "theirs", "ours"] {
        let fetched = fork.world.git(["fetch"]).at(person).ok();
        let hidden = fetched.shown().lines().next().map(str::to_owned);
        assert_eq!(hidden.as_deref(), Some(HIDDEN), "{fetched}");
        assert_eq!(fork.tip(person, "origin/feat"), mine, "it is as it was");
        assert_eq!(fork.mirror_tip("refs/heads/feat"), mine);
    }
    let shown = fork.show("fork").replace(&theirs, "THEIRS");
    insta::assert_snapshot!(tests::shown(&shown), @"
    name: fork
    url: http://gitlab.example/group/project.git
    description:
    directory: /world/m/mirrors/project-[oid].git
    state: in step [time] ago
    track: +refs/heads/*:refs/heads/* +refs/tags/*:refs/tags/* ^refs/heads/wip/*
    every: 1h
    sync-on-fetch: yes
    fresh-for: [time]
    stale: serve
    stale-after: [time]
    atomic: auto
    push: yes
    keep-history: 30d
    fsck: no
    wipe-guard: yes
    link: auto
    auth: git
    tracked refs: 5
    local: refs/heads/feat [oid]
    held: 'refs/heads/feat' is local to this mirror; upstream's is THEIRS
    held: to keep 'feat' and see upstream's: git push --atomic origin origin/feat:refs/heads/wip/feat :refs/heads/feat
    held: to send 'feat' to upstream: rebase it onto upstream's ('mirrord show' names the commit, 'git fetch origin COMMIT' brings it), then git push --force-with-lease origin feat
    ");
    // Nor does a daemon that was started anew forget it, nor upstream that goes on.
    fork.world.kill_daemon();
    let theirs = fork.project.commit("feat", "theirs", "more");
    let fetched = fork.ours(&["fetch"]).ok();
    insta::assert_snapshot!(fetched.shown(), @"warning: 'refs/heads/feat' is local to this mirror; upstream's 'refs/heads/feat' is not shown");
    insta::assert_snapshot!(tests::shown(&fork.refs_in_show("fork").replace(&theirs, "THEIRS")), @"
    track: +refs/heads/*:refs/heads/* +refs/tags/*:refs/tags/* ^refs/heads/wip/*
    tracked refs: 5
    local: refs/heads/feat [oid]
    held: 'refs/heads/feat' is local to this mirror; upstream's is THEIRS
    held: to keep 'feat' and see upstream's: git push --atomic origin origin/feat:refs/heads/wip/feat :refs/heads/feat
    held: to send 'feat' to upstream: rebase it onto upstream's ('mirrord show' names the commit, 'git fetch origin COMMIT' brings it), then git push --force-with-lease origin feat
    ");
    fork.project.delete("feat");
    let fetched = fork.ours(&["fetch"]).ok();
    insta::assert_snapshot!(fetched.shown(), @"");
    assert_eq!(fork.mirror_tip("refs/heads/feat"), mine);
    fork.is_sound();
}

#[test]
fn also_a_fetch_that_asks_nobody_says_that_a_local_branch_hides_upstreams() {
    let (fork, _) = taken();
    fork.ours(&["fetch", "-q"]).ok();
    for settings in [["--sync-on-fetch", "no"], ["--fresh-for", "1d"]] {
        fork.set("fork", &settings).ok();
        let fetched = fork.ours(&["fetch"]).ok();
        assert_eq!(fetched.stderr.trim_end(), HIDDEN, "{settings:?}");
        fork.set("fork", &["--sync-on-fetch", "yes", "--fresh-for", "0s"])
            .ok();
    }
    fork.gitlab.stop();
    let fetched = fork.ours(&["fetch"]).ok();
    insta::assert_snapshot!(fetched.shown(), @r"
        warning: cannot reach 'http://gitlab.example/group/project.git': connection refused
        hint: serving the copy synced [time] ago
        warning: 'refs/heads/feat' is local to this mirror; upstream's 'refs/heads/feat' is not shown
    ");
}

#[test]
fn set_names_the_ways_out_when_a_local_name_becomes_tracked() {
    let fork = fork();
    fork.project.branch("feat", "topic");
    fork.begin("feat");
    fork.push("ours", &["feat", "feat:refs/heads/wip/x"]).ok();
    let args = [
        "set",
        "fork",
        "--track",
        "+refs/heads/*",
        "--track",
        "^refs/heads/wip/*",
    ];
    let set = fork.world.mirrord(args).ok();
    insta::assert_snapshot!(set.shown(), @r"
        fork: changed
        --- stderr
        warning: 'refs/heads/feat' is local to this mirror and has a tracked name now; if upstream has another one, yours stays
        warning: to keep 'feat' and see upstream's: git push --atomic origin origin/feat:refs/heads/wip/feat :refs/heads/feat
        warning: to send 'feat' to upstream: rebase it onto upstream's ('mirrord show' names the commit, 'git fetch origin COMMIT' brings it), then git push --force-with-lease origin feat
    ");
    fork.ours(&["fetch", "-q"]).ok();
    assert_eq!(fork.mirror_tip("refs/heads/feat"), fork.tip("ours", "feat"));
}

#[test]
fn a_hidden_branch_appears_when_the_local_one_was_renamed_by_the_printed_command() {
    for by_set in [true, false] {
        let fork = fork();
        let theirs = fork.project.commit("feat", "theirs", "of somebody else");
        let mine = fork.begin("feat");
        fork.push("ours", &["feat"]).ok();
        let args = ["--track", "+refs/heads/*", "--track", "^refs/heads/wip/*"];
        let set = fork.set("fork", &args).ok();
        fork.ours(&["fetch", "-q"]).ok();
        let output = if by_set {
            set.stderr
        } else {
            fork.show("fork")
        };
        let typed = way_out(&output, "to keep 'feat' and see upstream's: ");
        let type_it = ["-c", typed.as_str()];
        fork.upstream_stays(|| {
            let ran = fork.world.program("sh", type_it).at("ours").ok();
            insta::allow_duplicates! {
                insta::assert_snapshot!(ran.shown(), @r"
                    warning: 'refs/heads/feat' is local to this mirror; upstream's 'refs/heads/feat' is not shown
                    remote: feat was local to this mirror; the next fetch shows what 127.0.0.1 has
                    remote: wip/feat is local to this mirror; not sent to 127.0.0.1
                    To mirror::fork
                     - [deleted]         feat
                     * [new branch]      origin/feat -> wip/feat
                ");
            }
        });
        let fetched = fork.ours(&["fetch"]).ok();
        insta::allow_duplicates! {
            insta::assert_snapshot!(fetched.shown(), @r"
                From mirror::fork
                 * [new branch]      feat       -> origin/feat
            ");
        }
        assert_eq!(fork.tip("ours", "origin/feat"), Some(theirs.clone()));
        assert_eq!(fork.tip("ours", "origin/wip/feat"), Some(mine.clone()));
        nothing_is_held(&fork);
        fork.is_sound();
    }
}

#[test]
fn a_local_branch_is_sent_upstream_by_the_printed_command() {
    let (fork, theirs) = taken();
    fork.ours(&["fetch", "-q"]).ok();
    let output = fork.show("fork");
    let typed = way_out(&output, "to send 'feat' to upstream: ");
    insta::assert_snapshot!(typed, @"rebase it onto upstream's ('mirrord show' names the commit, 'git fetch origin COMMIT' brings it), then git push --force-with-lease origin feat");
    assert!(
        output.contains(&theirs),
        "the commit is named in full: {output}"
    );
    // As it is, it would take something from upstream.
    let refused = fork.upstream_stays(|| {
        fork.commit("ours", "more");
        fork.push("ours", &["feat"]).code(1)
    });
    insta::assert_snapshot!(refused.shown(), @r"
        warning: 'refs/heads/feat' is local to this mirror; upstream's 'refs/heads/feat' is not shown
        To mirror::fork
         ! [remote rejected] feat -> feat (upstream has another one; see 'mirrord show')
        error: failed to push some refs to 'mirror::fork'
    ");
    let forced = fork.upstream_stays(|| fork.push("ours", &["--force", "feat"]).code(1));
    insta::assert_snapshot!(forced.shown(), @r"
        warning: 'refs/heads/feat' is local to this mirror; upstream's 'refs/heads/feat' is not shown
        To mirror::fork
         ! [remote rejected] feat -> feat (upstream has another one; see 'mirrord show')
        error: failed to push some refs to 'mirror::fork'
    ");
    fork.ours(&["fetch", "-q", "origin", &theirs]).ok();
    fork.ours(&["rebase", "-q", "FETCH_HEAD"]).ok();
    let ran = fork.push("ours", &["--force-with-lease", "feat"]).ok();
    insta::assert_snapshot!(ran.shown(), @r"
        warning: 'refs/heads/feat' is local to this mirror; upstream's 'refs/heads/feat' is not shown
        To mirror::fork
         + [oid]...[oid] feat -> feat (forced update)
    ");
    assert_eq!(fork.project.tip("feat"), fork.tip("ours", "feat"));
    let fetched = fork.theirs(&["fetch"]).ok();
    insta::assert_snapshot!(fetched.shown(), @r"
        From mirror::fork
         * [new branch]      feat       -> origin/feat
         * [new branch]      spare      -> origin/spare
         * [new branch]      topic      -> origin/topic
         * [new tag]         light      -> light
         * [new tag]         v1         -> v1
    ");
    assert_eq!(fork.tip("theirs", "origin/feat"), fork.project.tip("feat"));
    nothing_is_held(&fork);
    fork.is_sound();
}

#[test]
fn a_local_tag_is_kept_beside_upstreams_by_the_printed_command() {
    let fork = fork();
    fork.begin("mine");
    fork.ours(&["tag", "v9"]).ok();
    fork.push("ours", &["v9"]).ok();
    fork.set(
        "fork",
        &["--track", "+refs/heads/*", "--track", "+refs/tags/v*"],
    )
    .ok();
    fork.project.tag("v9", "topic");
    let fetched = fork.ours(&["fetch"]).ok();
    insta::assert_snapshot!(fetched.shown(), @r"
        warning: 'refs/tags/v9' is local to this mirror; upstream's 'refs/tags/v9' is not shown
        From mirror::fork
         * [new branch]      spare      -> origin/spare
         * [new branch]      topic      -> origin/topic
         * [new tag]         v1         -> v1
    ");
    assert_eq!(fork.mirror_tip("refs/tags/v9"), fork.tip("ours", "mine"));
    let output = fork.show("fork");
    let line = output
        .lines()
        .find_map(|line| line.strip_prefix("held: to keep "));
    let (_, typed) = line.and_then(|line| line.split_once(": ")).expect("told");
    let type_it = ["-c", typed];
    fork.upstream_stays(|| fork.world.program("sh", type_it).at("ours").ok());
    fork.theirs(&["fetch", "-q", "--tags"]).ok();
    assert_eq!(
        fork.mirror_tip("refs/tags/v9"),
        fork.project.tip("refs/tags/v9")
    );
    assert_eq!(
        fork.mirror_tip("refs/tags/local/v9"),
        fork.tip("ours", "mine")
    );
}

#[test]
fn the_way_out_takes_no_branch_away_when_its_new_name_cannot_be_made() {
    let fork = fork();
    let mine = fork.begin("feat");
    fork.push("ours", &["feat"]).ok();
    // Every name is tracked, and so the new one goes upstream.
    fork.set("fork", &["--track", ""]).ok();
    fork.project.branch("feat", "topic");
    fork.ours(&["fetch", "-q"]).ok();
    let typed = way_out(&fork.show("fork"), "to keep 'feat' and see upstream's: ");
    fork.gitlab.stop();
    let type_it = ["-c", typed.as_str()];
    fork.world.program("sh", type_it).at("ours").ok();
    assert_eq!(
        fork.tip("ours", "local/feat"),
        Some(mine),
        "it is kept where it cannot be pushed"
    );
}

#[test]
fn a_local_name_that_is_in_the_way_of_upstreams_is_kept_and_named() {
    let fork = fork();
    fork.begin("a");
    fork.push("ours", &["a", "a:refs/heads/b/mine"]).ok();
    widen(&fork);
    fork.project.branch("a/theirs", "topic");
    fork.project.branch("b", "topic");
    let mut shown = String::new();
    for _ in 0..2 {
        let fetched = fork.theirs(&["fetch"]).ok();
        shown += &fetched.shown();
        assert_eq!(
            fork.tip("theirs", "origin/topic"),
            fork.project.tip("topic")
        );
    }
    let held = fork.show("fork");
    for line in held.lines().filter(|line| line.starts_with("held: ")) {
        shown += &format!("{line}\n");
    }
    insta::assert_snapshot!(tests::shown(&shown), @r"
        warning: 'refs/heads/a/theirs' is not shown: 'refs/heads/a' exists
        warning: 'refs/heads/b' is not shown: 'refs/heads/b/mine' exists
        From mirror::fork
         * [new branch]      a          -> origin/a
         * [new branch]      b/mine     -> origin/b/mine
         * [new branch]      spare      -> origin/spare
         * [new branch]      topic      -> origin/topic
         * [new tag]         light      -> light
         * [new tag]         v1         -> v1
        warning: 'refs/heads/a/theirs' is not shown: 'refs/heads/a' exists
        warning: 'refs/heads/b' is not shown: 'refs/heads/b/mine' exists
        held: 'refs/heads/a/theirs' is not shown: 'refs/heads/a' exists
        held: 'refs/heads/b' is not shown: 'refs/heads/b/mine' exists
    ");
    // Out of the way, by the person alone.
    fork.upstream_stays(|| {
        let args = ["a:refs/heads/wip/a", ":a", ":b/mine"];
        stayed(fork.push("ours", &args), &["wip/a"]);
    });
    let fetched = fork.theirs(&["fetch", "--prune"]).ok();
    insta::assert_snapshot!(fetched.shown(), @r"
        From mirror::fork
         - [deleted]         (none)     -> origin/a
         - [deleted]         (none)     -> origin/b/mine
         * [new branch]      a/theirs   -> origin/a/theirs
         * [new branch]      b          -> origin/b
         * [new branch]      wip/a      -> origin/wip/a
    ");
    for name in ["a/theirs", "b"] {
        let fetched_tip = fork.tip("theirs", &format!("origin/{name}"));
        assert_eq!(fetched_tip, fork.project.tip(name), "{name}");
    }
    fork.is_sound();
}
