//! The settings page on which JetBrains Space mirrored a repository from GitLab, field by field, with `mirrord`.

use std::time::{Duration, Instant};

use tests::{Terminal, public_refs};

use crate::stage::Stage;

/// How long a mirror may take to be in step after a delivery, or after its scheduled time.
const SYNC_TIMEOUT: Duration = Duration::from_secs(30);

/// "Name", "Description", "Authentication: password or access token", "Mirror only the branches …: refs/heads/main", "Check
/// remote repository on fetch", "Atomic push". The password is not among them: it is typed at the terminal.
const FIELDS: [&str; 12] = [
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

/// A private project at GitLab, with a branch that nobody may push to.
fn page() -> Stage {
    let stage = Stage::new(|project| {
        project.history(3);
        project.branch("topic", "main~1");
        // As GitLab refuses a branch that is protected.
        let protected =
            "test \"$1\" != refs/heads/protected || { echo 'GitLab: protected' >&2; exit 1; }";
        project.hook("update", protected);
    });
    let gitlab = &stage.gitlab;
    gitlab.require_login("group/project", "me", "glpat-token");
    stage
}

impl Stage {
    /// Starts a command with the URL and all fields, and types the password.
    fn fill_in(&self, command: &[&str]) -> Terminal {
        let run = self.world.mirrord(command).arg(&self.url).args(FIELDS);
        let mut terminal = run.on_terminal();
        terminal.shows("Password for 'me' at 'http://");
        terminal.types("glpat-token\n");
        terminal
    }

    /// "Test connection".
    fn test_connection(&self) {
        let mut terminal = self.fill_in(&["test"]);
        terminal.shows("would work");
        let (code, shown) = terminal.ended();
        assert_eq!(code, 0, "{shown}");
        insta::assert_snapshot!(tests::shown(&shown), @r"
        Password for 'me' at 'http://gitlab.example':
        ok     name resolved  [time]  127.0.0.1
        ok     connected  [time]  gitlab.example
        ok     signed in  [time]  as 'me'
        ok     may read  [time]  2 branches, 0 tags, default branch main
        ok     may push  [time]  as far as upstream tells beforehand
        ok     atomic pushes  [time]  advertised
        ok     push options  [time]  advertised
        ok     LFS endpoint  [time]  http://gitlab.example/group/project.git/info/lfs
        FAILED refspecs  [time]  1 ref: main; '+refs/heads/protected:refs/heads/protected' matches nothing
        hint: this shows what there is: git ls-remote http://gitlab.example/group/project.git
        a mirror of 'http://gitlab.example/group/project.git' would work
        ");
        assert_eq!(self.world.mirrors(), [""; 0], "a test makes nothing");
    }

    /// "Create".
    fn create(&self) {
        let mut terminal = self.fill_in(&["add", "project"]);
        terminal.shows("'project' mirrors http://");
        assert_eq!(terminal.ended().0, 0);
        insta::assert_snapshot!(self.shown_settings(), @r"
        name: project
        url: http://gitlab.example/group/project.git
        description: The project, as GitLab has it
        directory: /world/m/mirrors/project-[oid].git
        track: +refs/heads/main:refs/heads/main +refs/heads/protected:refs/heads/protected
        every: 1h
        sync-on-fetch: yes
        fresh-for: [time]
        stale: serve
        stale-after: [time]
        atomic: yes
        push: yes
        keep-history: 30d
        fsck: no
        wipe-guard: yes
        link: auto
        auth: password
        username: me
        secret: in a file
        tracked refs: 1
        ");
    }

    /// The clone has only the branches that were selected.
    fn clone_selected_branches(&self) {
        self.clone("project", "ours").ok();
        let ran = self.ours(&["branch", "-r", "--list", "origin/topic"]).ok();
        assert_eq!(ran.stdout, "");
    }

    /// "Check remote repository on fetch": a commit at GitLab arrives with the next fetch.
    fn fetch_a_commit_of_upstream(&self) {
        let tip = self.project.commit("main", "theirs", "theirs");
        self.ours(&["pull", "-q"]).ok();
        assert_eq!(self.tip("ours", "HEAD"), Some(tip));
    }

    /// A branch that was not selected is local to the mirror: every clone of the mirror sees it, and GitLab does not.
    fn push_a_local_branch(&self) {
        self.ours(&["switch", "-q", "-c", "idea"]).ok();
        self.ours(&["commit", "-q", "--allow-empty", "-m", "An idea"])
            .ok();
        let pushed = self.ours(&["push", "-u", "origin", "idea"]).ok();
        insta::assert_snapshot!(pushed.shown(), @r"
        branch 'idea' set up to track 'origin/idea'.
        --- stderr
        remote: idea is local to this mirror; not sent to 127.0.0.1
        To mirror::project
         * [new branch]      idea -> idea
        ");
        self.world
            .git(["clone", "-q", "-b", "idea", "mirror::project", "theirs"])
            .ok();
        assert_eq!(self.project.tip("idea"), None);
    }

    /// A push to a selected branch goes through to GitLab. "Atomic push": if GitLab refuses one branch of a push, it takes
    /// none of it.
    fn push_to_upstream(&self) {
        self.ours(&["push", "-q", "origin", "idea:main"]).ok();
        let idea = self.tip("ours", "idea");
        assert_eq!(self.project.tip("main"), idea);

        self.ours(&["commit", "-q", "--allow-empty", "-m", "More"])
            .ok();
        let both = ["push", "origin", "idea:main", "idea:protected"];
        self.ours(&both).fails();
        assert_eq!(self.project.tip("main"), idea, "all or nothing");
    }

    /// GitLab sends a delivery after a push, and the mirror syncs without a fetch.
    fn deliver_to_the_webhook(&self) {
        self.mirrord(&["set", "project", "--every", "1h", "--sync-on-fetch", "no"])
            .ok();
        self.mirrord(&["webhook", "on"]).ok();
        self.gitlab.maintainer("group/project", "glpat-api");
        let register = ["webhook", "register", "project", "--token-stdin"];
        self.world.mirrord(register).stdin("glpat-api\n").ok();
        let pushed = self.project.commit("main", "told", "of");
        assert_eq!(self.gitlab.deliver("group/project"), [202]);
        self.wait_for_main(&pushed, "it was told, and is not in step");
    }

    /// "Check remote repository periodically", without a webhook: every second instead of every hour.
    fn sync_by_schedule(&self) {
        self.mirrord(&["webhook", "off"]).ok();
        self.mirrord(&["set", "project", "--every", "1s"]).ok();
        let untold = self.project.commit("main", "untold", "of");
        self.wait_for_main(&untold, "its time has come, and it is not in step");
    }

    /// Waits until the mirror's `main` is this commit.
    fn wait_for_main(&self, commit: &str, message: &str) {
        let (mirror, deadline) = (self.world.only_mirror(), Instant::now() + SYNC_TIMEOUT);
        let is_main = |(name, oid): &(String, String)| name == "refs/heads/main" && oid == commit;
        while !public_refs(&self.world, &mirror).iter().any(is_main) {
            assert!(Instant::now() < deadline, "{message}");
        }
    }

    /// "Authentication: anonymous".
    fn add_anonymously(&self) {
        self.gitlab.project("group/public").commit("main", "a", "a");
        let public = self.gitlab.url("group/public");
        self.mirrord(&["add", "public", &public, "--anonymous"])
            .ok();
        self.clone("public", "public").ok();
    }

    /// "Authentication: SSH key", with a passphrase.
    fn add_with_an_ssh_key(&self) {
        let sshd = self.world.sshd();
        let over_ssh = sshd.project("project.git");
        over_ssh.commit("main", "a", "a");
        self.world.ssh_key("ssh/own");
        let key = self.world.path("ssh/own").display().to_string();
        let arguments = ["-q", "-p", "-P", "", "-N", "open sesame", "-f", &key];
        self.world.program("ssh-keygen", arguments).ok();
        sshd.authorize(&["ssh/own"]);
        let arguments = ["add", "by-ssh", &sshd.url(&over_ssh), "--ssh-key", &key];
        let mut terminal = self.world.mirrord(arguments).on_terminal();
        terminal.shows("Enter passphrase for key '");
        terminal.types("open sesame\n");
        terminal.shows("'by-ssh' mirrors ssh://");
        let (code, shown) = terminal.ended();
        assert!(code == 0 && !shown.contains("sesame"), "{shown}");
        self.clone("by-ssh", "by-ssh").ok();
    }
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn each_field_and_box_of_the_page_has_a_command_that_does_the_same() {
    let page = page();
    page.test_connection();
    page.create();
    page.clone_selected_branches();
    page.fetch_a_commit_of_upstream();
    page.push_a_local_branch();
    page.push_to_upstream();
    page.deliver_to_the_webhook();
    page.sync_by_schedule();
    page.add_anonymously();
    page.add_with_an_ssh_key();
}
