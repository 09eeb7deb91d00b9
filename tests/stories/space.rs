//! The page on which JetBrains Space mirrored a repository from GitLab, field by field, on one's own machine.

use std::time::{Duration, Instant};

use tests::{World, public_refs};

/// How long a mirror may take to be in step after it was told of something.
const SOON: Duration = Duration::from_secs(30);

/// What upstream has of its branches.
fn branches(world: &World, url: &str) -> Vec<String> {
    let listed = world.git(["-c", "credential.helper=", "ls-remote", "--heads", url]);
    let listed = listed.ok();
    let names = listed
        .stdout
        .lines()
        .filter_map(|line| line.split("refs/heads/").nth(1));
    names.map(str::to_owned).collect()
}

#[test]
fn the_page_is_filled_in_field_by_field_and_every_box_does_what_it_says() {
    let world = World::new();
    let gitlab = world.gitlab();
    let upstream = gitlab.project("group/project");
    upstream.history(3);
    upstream.branch("topic", "main~1");
    // As GitLab refuses a branch that is protected.
    let protected =
        "test \"$1\" != refs/heads/protected || { echo 'GitLab: protected' >&2; exit 1; }";
    upstream.hook("update", protected);
    gitlab.require_login("group/project", "me", "glpat-token");
    let url = gitlab.url("group/project");
    let signed = url.replace("http://", "http://me:glpat-token@");

    // "Name", "Description", "Repository URL", "Authentication: password or access token", "Mirror only the branches …:
    // refs/heads/main", "Check remote repository on fetch", "Atomic push". The password is typed into its field.
    let page = [
        &url,
        "--username",
        "me",
        "--track",
        "+refs/heads/main",
        "--track",
        "+refs/heads/protected",
        "--sync-on-fetch",
        "yes",
        "--atomic",
        "yes",
        "--description",
        "The project, as GitLab has it",
    ];

    // "Test connection".
    let mut terminal = world.mirrord(["test"]).args(page).on_terminal();
    terminal.shows("Password for 'me' at 'http://");
    terminal.types("glpat-token\n");
    for step in [
        "name resolved",
        "connected",
        "signed in",
        "may read",
        "may push",
        "refspecs",
    ] {
        terminal.shows(step);
    }
    terminal.shows("would work");
    let (code, shown) = terminal.ended();
    assert!(code == 0 && !shown.contains("glpat"), "{shown}");
    assert_eq!(world.mirrors(), [""; 0], "a test makes nothing");

    // "Create".
    let mut terminal = world.mirrord(["add", "project"]).args(page).on_terminal();
    terminal.shows("Password for 'me' at 'http://");
    terminal.types("glpat-token\n");
    terminal.shows("'project' mirrors http://");
    assert_eq!(terminal.ended().0, 0);
    let shown = world.mirrord(["show", "project"]).ok();
    for line in [
        "description: The project, as GitLab has it\n",
        "auth: password\n",
        "username: me\n",
        "sync-on-fetch: yes\n",
        "atomic: yes\n",
    ] {
        assert!(shown.stdout.contains(line), "{line}: {shown}");
    }

    // Only the branches that were selected are there.
    world.git(["clone", "-q", "mirror::project", "ours"]).ok();
    let ran = world
        .git(["branch", "-r", "--list", "origin/topic"])
        .at("ours")
        .ok();
    assert_eq!(ran.stdout, "");

    // "Check remote repository on fetch": somebody else's commit is there with the next one.
    let tip = upstream.commit("main", "theirs", "theirs");
    world.git(["pull", "-q"]).at("ours").ok();
    let ours = world.git(["rev-parse", "HEAD"]).at("ours").ok();
    assert_eq!(ours.line(), tip);

    // A branch that was not selected is local to the mirror: everybody who clones it sees it, and GitLab does not.
    world.git(["switch", "-q", "-c", "idea"]).at("ours").ok();
    world
        .git(["commit", "-q", "--allow-empty", "-m", "An idea"])
        .at("ours")
        .ok();
    let pushed = world.git(["push", "-u", "origin", "idea"]).at("ours").ok();
    assert!(
        pushed
            .stderr
            .contains("idea is local to this mirror; not sent to"),
        "{pushed}"
    );
    world
        .git(["clone", "-q", "-b", "idea", "mirror::project", "theirs"])
        .ok();
    assert!(!branches(&world, &signed).contains(&"idea".to_owned()));

    // A push to a selected branch goes through to GitLab.
    world
        .git(["push", "-q", "origin", "idea:main"])
        .at("ours")
        .ok();
    let idea = world.git(["rev-parse", "idea"]).at("ours").ok();
    let there = world.git(["ls-remote", &signed, "main"]).ok();
    assert!(there.stdout.starts_with(idea.line()), "{there}");

    // "Atomic push": where GitLab refuses one branch of a push, it has none of it.
    world
        .git(["commit", "-q", "--allow-empty", "-m", "More"])
        .at("ours")
        .ok();
    let both = ["push", "origin", "idea:main", "idea:protected"];
    world.git(both).at("ours").fails();
    let there = world.git(["ls-remote", &signed, "main"]).ok();
    assert!(
        there.stdout.starts_with(idea.line()),
        "all or nothing: {there}"
    );

    // "Check remote repository periodically", and told by GitLab in between: nobody fetches, and it is in step.
    world
        .mirrord(["set", "project", "--every", "1h", "--sync-on-fetch", "no"])
        .ok();
    world.mirrord(["webhook", "on"]).ok();
    gitlab.maintainer("group/project", "glpat-api");
    let register = ["webhook", "register", "project", "--token-stdin"];
    world.mirrord(register).stdin("glpat-api\n").ok();
    let pushed = upstream.commit("main", "told", "of");
    assert_eq!(gitlab.deliver("group/project"), [202]);
    let (mirror, deadline) = (world.only_mirror(), Instant::now() + SOON);
    let is_told = |(name, oid): &(String, String)| name == "refs/heads/main" && *oid == pushed;
    while !public_refs(&world, &mirror).iter().any(is_told) {
        assert!(Instant::now() < deadline, "it was told, and is not in step");
    }

    // Periodically alone: an hour is a second here.
    world.mirrord(["webhook", "off"]).ok();
    world.mirrord(["set", "project", "--every", "1s"]).ok();
    let untold = upstream.commit("main", "untold", "of");
    let deadline = Instant::now() + SOON;
    let is_there = |(name, oid): &(String, String)| name == "refs/heads/main" && *oid == untold;
    while !public_refs(&world, &mirror).iter().any(is_there) {
        assert!(
            Instant::now() < deadline,
            "its time has come, and it is not in step"
        );
    }

    // "Authentication: anonymous".
    gitlab.project("group/public").commit("main", "a", "a");
    let public = gitlab.url("group/public");
    world
        .mirrord(["add", "public", &public, "--anonymous"])
        .ok();
    world.git(["clone", "-q", "mirror::public", "public"]).ok();

    // "Authentication: SSH key", with a passphrase.
    let sshd = world.sshd();
    let over_ssh = sshd.project("project.git");
    over_ssh.commit("main", "a", "a");
    world.ssh_key("ssh/own");
    let key = world.path("ssh/own").display().to_string();
    let arguments = ["-q", "-p", "-P", "", "-N", "open sesame", "-f", &key];
    world.program("ssh-keygen", arguments).ok();
    sshd.authorize(&["ssh/own"]);
    let arguments = ["add", "by-ssh", &sshd.url(&over_ssh), "--ssh-key", &key];
    let mut terminal = world.mirrord(arguments).on_terminal();
    terminal.shows("Enter passphrase for key '");
    terminal.types("open sesame\n");
    terminal.shows("'by-ssh' mirrors ssh://");
    let (code, shown) = terminal.ended();
    assert!(code == 0 && !shown.contains("sesame"), "{shown}");
    world.git(["clone", "-q", "mirror::by-ssh", "by-ssh"]).ok();
}
