//! Nothing that a person has set for other repositories reaches a mirror, and nothing in a mirror is run.

use std::fs;
use std::path::Path;

use tests::{Fault, Run, same_clone};

use crate::stage::Stage;

/// The hooks that git may run in a repository that is fetched into or served from.
const HOOKS: &str = "post-checkout post-receive post-update pre-auto-gc pre-receive \
proc-receive reference-transaction update";

/// A world with a program that writes down where it was run, under the name of every hook.
fn poisoned() -> Stage {
    let stage = Stage::new(|project| {
        project.history(5);
        project.branch("side", "main~1");
        project.annotated_tag("v1", "main");
    });
    let script = "mkdir hooks template
        echo '#!/bin/sh' >poison
        echo \"echo \\$0 in \\$(pwd) with \\$GIT_DIR >>'$PWD/ran'\" >>poison
        chmod 755 poison
        for hook in $0; do cp poison hooks/$hook; done
        cp -r hooks template";
    stage.world.program("sh", ["-c", script, HOOKS]).ok();
    stage
}

impl Stage {
    fn address(&self) -> String {
        format!("mirror::{}", self.url)
    }

    /// Puts the world's directory where a value names it.
    fn with_root(&self, value: &str) -> String {
        value.replace("ROOT", &self.world.root().to_string_lossy())
    }

    /// Prepares a git that nothing is set for.
    fn clean_git(&self, args: &[&str]) -> Run {
        self.world.git(args).env("GIT_CONFIG_GLOBAL", "/dev/null")
    }

    /// Asserts that nothing was run, and no trace written, where the mirrors are. The person's
    /// own git does what it is told to.
    #[track_caller]
    fn nothing_ran_in_a_mirror(&self) {
        let home = self.world.mirror_home();
        for file in ["ran", "trace"] {
            let text = fs::read_to_string(self.world.path(file)).unwrap_or_default();
            let in_mirror = |line: &&str| line.contains(&*home.to_string_lossy());
            let leaked = text.lines().find(in_mirror);
            assert_eq!(leaked, None, "nothing of the person's runs in a mirror");
        }
    }

    /// Asserts that the mirror has all that upstream has, read by a git that nothing is set for.
    #[track_caller]
    fn the_mirror_is_whole(&self) {
        let mirror = self.world.only_mirror();
        let list = ["rev-list", "--objects", "--no-object-names", "--all"];
        let objects = |run: Run| {
            let listed = run.ok();
            let mut lines: Vec<_> = listed.stdout.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let ours = self.clean_git(&list).env("GIT_DIR", &mirror);
        assert_eq!(objects(ours), objects(self.project.git(list)));
    }

    #[track_caller]
    fn daemon_environ(&self) -> String {
        let pid = self.world.daemon_pid().expect("the daemon runs");
        fs::read_to_string(format!("/proc/{pid}/environ")).expect("it is ours")
    }

    /// Sets variables for a command that starts the daemon and for one that finds it there,
    /// and asserts that neither the daemon nor the mirror nor the answer is another for it.
    #[track_caller]
    fn variables_change_nothing(&self, variables: &[(&str, &str)]) {
        let poisoned = |args: &[&str]| {
            let set = |run: Run, (name, value): &(&str, &str)| run.env(name, self.with_root(value));
            variables.iter().fold(self.world.git(args), set)
        };
        let listed = poisoned(&["ls-remote", &self.address()]).ok();
        let plain = self.clean_git(&["ls-remote", &self.url]).ok();
        assert_eq!(listed.stdout, plain.stdout, "{listed}");
        self.the_mirror_is_whole();
        let environ = self.daemon_environ();
        for (name, _) in variables {
            let is_set = |line: &&str| line.split('=').next() == Some(*name);
            let inherited = environ.split('\0').find(is_set);
            assert_eq!(inherited, None, "the daemon inherits nothing of git's");
        }
        self.project.commit("main", "new", "new");
        let cloned = [(self.address(), "ours"), (self.url.clone(), "plain")].map(|(url, dir)| {
            let ran = poisoned(&["clone", "-q", "--bare", &url, dir]).run();
            let show = ["for-each-ref"];
            let refs = ran.status.success().then(|| poisoned(&show).at(dir).ok());
            (ran, refs.map(|refs| refs.stdout))
        });
        let [(ours, our_refs), (_, plain_refs)] = cloned;
        assert_eq!(our_refs, plain_refs, "git does the same without us: {ours}");
        self.the_mirror_is_whole();
        self.nothing_ran_in_a_mirror();
    }
}

/// Tries each variable, with those that it needs, in a world of its own.
#[track_caller]
#[allow(clippy::print_stdout, reason = "a failing test names the variable")]
fn each_changes_nothing(variables: &[&[(&str, &str)]]) {
    for variables in variables {
        println!("with {variables:?}");
        poisoned().variables_change_nothing(variables);
    }
}

#[test]
fn variables_that_say_where_things_lie_do_not_reach_a_mirror() {
    each_changes_nothing(&[
        &[("GIT_OBJECT_DIRECTORY", "ROOT/objects")],
        &[("GIT_ALTERNATE_OBJECT_DIRECTORIES", "ROOT/nowhere")],
        &[("GIT_INDEX_FILE", "ROOT/index")],
        &[("GIT_WORK_TREE", "ROOT/tree")],
        &[("GIT_COMMON_DIR", "ROOT/nowhere")],
        &[("GIT_SHALLOW_FILE", "ROOT/nowhere")],
        &[("GIT_QUARANTINE_PATH", "ROOT/nowhere")],
        &[("GIT_NAMESPACE", "other")],
        &[("GIT_PREFIX", "below/")],
        &[("GIT_CEILING_DIRECTORIES", "/")],
        &[("GIT_TEMPLATE_DIR", "ROOT/template")],
        &[("GIT_GRAFT_FILE", "ROOT/nowhere")],
        &[("GIT_REPLACE_REF_BASE", "refs/heads/")],
        &[("GIT_ATTR_SOURCE", "nothing")],
        &[("GIT_DEFAULT_HASH", "sha256")],
        &[("GIT_DEFAULT_REF_FORMAT", "reftable")],
    ]);
}

#[test]
fn variables_that_are_configuration_do_not_reach_a_mirror() {
    let hooks = "ROOT/hooks";
    each_changes_nothing(&[
        &[("GIT_CONFIG_GLOBAL", "ROOT/nowhere")],
        &[
            ("GIT_CONFIG_SYSTEM", "ROOT/nowhere"),
            ("GIT_CONFIG_NOSYSTEM", "0"),
        ],
        &[("GIT_CONFIG_PARAMETERS", "'core.hooksPath=ROOT/hooks'")],
        &[
            ("GIT_CONFIG_COUNT", "2"),
            ("GIT_CONFIG_KEY_0", "core.hooksPath"),
            ("GIT_CONFIG_VALUE_0", hooks),
            ("GIT_CONFIG_KEY_1", "uploadpack.packObjectsHook"),
            ("GIT_CONFIG_VALUE_1", "ROOT/poison"),
        ],
        &[("GIT_PROTOCOL", "version=1")],
        &[("GIT_ALLOW_PROTOCOL", "http:mirror")],
        &[("GIT_NO_REPLACE_OBJECTS", "1")],
        &[("GIT_REF_PARANOIA", "0")],
        &[("GIT_LITERAL_PATHSPECS", "1")],
        &[("GIT_OPTIONAL_LOCKS", "0")],
        &[("GIT_FLUSH", "1")],
    ]);
}

#[test]
fn a_variable_that_is_for_git_config_alone_changes_nothing() {
    each_changes_nothing(&[&[("GIT_CONFIG", "ROOT/nowhere")]]);
}

#[test]
fn variables_that_name_programs_do_not_reach_a_mirror() {
    each_changes_nothing(&[
        &[("GIT_SSH", "ROOT/poison")],
        &[("GIT_SSH_COMMAND", "ROOT/poison")],
        &[("GIT_PROXY_COMMAND", "ROOT/poison")],
        &[("GIT_ASKPASS", "ROOT/poison")],
        &[("SSH_ASKPASS", "ROOT/poison")],
        &[("GIT_EXTERNAL_DIFF", "ROOT/poison")],
        &[("GIT_EDITOR", "ROOT/poison")],
        &[("GIT_PAGER", "ROOT/poison")],
        &[("BASH_ENV", "ROOT/poison"), ("ENV", "ROOT/poison")],
        &[("LD_PRELOAD", "ROOT/nowhere.so")],
    ]);
}

#[test]
fn variables_that_trace_do_not_reach_a_mirror() {
    each_changes_nothing(&[
        &[("GIT_TRACE", "ROOT/trace")],
        &[("GIT_TRACE_SETUP", "ROOT/trace")],
        &[("GIT_TRACE_REFS", "ROOT/trace")],
        &[("GIT_TRACE_PACKET", "ROOT/trace")],
        &[("GIT_TRACE_CURL", "ROOT/trace")],
        &[("GIT_TRACE_PERFORMANCE", "ROOT/trace")],
        &[("GIT_TRACE2", "ROOT/trace")],
        &[("GIT_TRACE2_EVENT", "ROOT/trace")],
        &[("GIT_TRACE2_PERF", "ROOT/trace")],
    ]);
}

#[test]
fn a_persons_configuration_does_not_reach_a_mirror() {
    let poisoned = poisoned();
    for (key, value) in [
        ("core.hooksPath", "ROOT/hooks"),
        ("init.templateDir", "ROOT/template"),
        ("init.defaultObjectFormat", "sha256"),
        ("init.defaultRefFormat", "reftable"),
        ("safe.bareRepository", "explicit"),
        ("transfer.hideRefs", "refs/heads"),
        ("transfer.fsckObjects", "true"),
        ("transfer.unpackLimit", "10000"),
        ("transfer.advertiseSID", "true"),
        ("uploadpack.hideRefs", "refs/tags"),
        ("uploadpack.packObjectsHook", "ROOT/poison"),
        ("uploadpack.allowFilter", "false"),
        ("uploadpack.allowAnySHA1InWant", "false"),
        ("lsrefs.unborn", "ignore"),
        ("protocol.version", "0"),
        ("fetch.fsckObjects", "true"),
        ("fetch.writeCommitGraph", "true"),
        ("fetch.negotiationAlgorithm", "skipping"),
        ("gc.auto", "1"),
        ("gc.pruneExpire", "now"),
        ("maintenance.auto", "true"),
        ("core.fsmonitor", "ROOT/poison"),
        ("core.alternateRefsCommand", "ROOT/poison"),
        ("core.sshCommand", "ROOT/poison"),
        ("core.gitProxy", "ROOT/poison"),
        ("core.askPass", "ROOT/poison"),
        ("core.pager", "ROOT/poison"),
        ("core.editor", "ROOT/poison"),
        ("core.attributesFile", "ROOT/poison"),
        ("core.sharedRepository", "0777"),
        ("core.logAllRefUpdates", "always"),
        ("core.bigFileThreshold", "1"),
        ("core.compression", "0"),
        ("pack.packSizeLimit", "1m"),
        ("pack.window", "0"),
        ("diff.external", "ROOT/poison"),
        ("gpg.program", "ROOT/poison"),
        ("alias.upload-pack", "!ROOT/poison"),
        ("alias.rev-list", "!ROOT/poison"),
        ("trace2.eventTarget", "ROOT/trace"),
    ] {
        poisoned.world.config(key, &poisoned.with_root(value));
    }
    let twins = poisoned.world.clone_twins(&poisoned.url, &[]);
    poisoned.the_mirror_is_whole();
    poisoned.project.commit("main", "new", "new");
    poisoned.project.delete("side");
    twins.git(&["fetch", "-q", "--prune"]);
    twins.same();
    poisoned.the_mirror_is_whole();
    poisoned.nothing_ran_in_a_mirror();
    for works in ["ran", "trace"] {
        assert!(poisoned.world.path(works).exists(), "the poison works");
    }
}

#[test]
fn replaced_objects_change_nothing() {
    let poisoned = poisoned();
    let replace = ["replace", "main", "main~1"];
    poisoned.project.git(replace).ok();
    poisoned.world.clone_twins(&poisoned.url, &[]);
    poisoned.project.git(["replace", "-d", "main"]).ok();
    // As if somebody had worked in the mirror.
    let mirror = poisoned.world.only_mirror();
    poisoned.clean_git(&replace).env("GIT_DIR", mirror).ok();
    poisoned.project.commit("side", "new", "new");
    poisoned.world.clone_twins(&poisoned.url, &[]);
}

#[test]
fn hooks_in_a_mirror_are_not_run() {
    let poisoned = poisoned();
    let twins = poisoned.world.clone_twins(&poisoned.url, &[]);
    let script = "cp -r hooks \"$0\"";
    let mirror = poisoned.world.only_mirror();
    let install = ["-c", script, &*mirror.to_string_lossy()];
    poisoned.world.program("sh", install).ok();
    assert!(mirror.join("hooks/reference-transaction").exists());
    for old_protocol in [false, true] {
        if old_protocol {
            // Then it is git itself that asks and fetches.
            poisoned.world.mirrord(["stop"]).ok();
            poisoned.gitlab.fault(Fault::old_protocol());
        }
        let file = format!("old protocol: {old_protocol}");
        poisoned.project.commit("main", &file, "new");
        twins.git(&["pull", "-q"]);
        twins.same();
    }
    assert!(!poisoned.world.path("ran").exists(), "no hook has run");
}

#[test]
fn a_fetch_from_a_hook_of_a_worktree_starts_a_daemon_that_knows_nothing_of_either() {
    let poisoned = poisoned();
    let script = "git init -q there && cd there && git commit -q --allow-empty -m first
        git remote add origin \"$0\" && git worktree add -q ../tree && cd ../tree
        echo 'exec git fetch -q origin' >../there/.git/hooks/post-commit
        chmod 755 ../there/.git/hooks/post-commit
        git commit -q --allow-empty -m second && git rev-parse origin/main";
    let args = ["-c", script, &poisoned.address()];
    let ran = poisoned.world.program("sh", args).ok();
    assert_eq!(Some(ran.line()), poisoned.project.tip("main").as_deref());
    poisoned.the_mirror_is_whole();
    let environ = poisoned.daemon_environ();
    assert!(!environ.contains("GIT_"), "{environ:?}");
}

#[test]
fn a_helper_started_by_our_own_children_refuses_at_once() {
    let poisoned = poisoned();
    let args = ["ls-remote", &poisoned.address()];
    let ran = poisoned.world.git(args).env("MIRROR_INSIDE", "1").code(128);
    insta::assert_snapshot!(ran.shown(), @"
    error: the upstream of a mirror leads back to a mirror: 'http://gitlab.example/group/project.git'
    hint: look for the rule: git config --show-origin --get-regexp 'url.*insteadof'
    fatal: remote helper 'mirror' aborted session
    ");
    assert_eq!(poisoned.world.daemon_pid(), None, "nothing was started");
}

/// Makes every address of this GitLab one of its mirror, for plain git.
fn always_through_the_mirror(poisoned: &Stage) {
    let base = format!("http://{}/", poisoned.gitlab.host());
    let rule = format!("url.mirror::{base}.insteadOf");
    poisoned.world.config(&rule, &base);
}

#[track_caller]
fn cloned_through_the_mirror(poisoned: &Stage) {
    poisoned
        .world
        .git(["clone", "-q", &poisoned.url, "ours"])
        .ok();
    let plain = ["clone", "-q", &poisoned.url, "plain"];
    poisoned.clean_git(&plain).ok();
    let dir = |name: &str| poisoned.world.path(name);
    same_clone(&poisoned.world, &dir("ours"), &dir("plain"));
    poisoned.the_mirror_is_whole();
}

#[test]
fn a_rule_that_sends_everything_through_the_mirror_is_no_loop() {
    let poisoned = poisoned();
    always_through_the_mirror(&poisoned);
    cloned_through_the_mirror(&poisoned);
    let tip = poisoned.project.commit("main", "new", "new");
    poisoned.ours(&["pull", "-q"]).ok();
    let pulled = poisoned.ours(&["rev-parse", "HEAD"]).ok();
    assert_eq!(pulled.line(), tip);
}

#[test]
fn a_rule_that_sends_everything_through_the_mirror_is_no_loop_where_git_itself_asks() {
    let poisoned = poisoned();
    poisoned.gitlab.fault(Fault::old_protocol());
    always_through_the_mirror(&poisoned);
    cloned_through_the_mirror(&poisoned);
}

#[test]
fn a_rule_that_rewrites_an_upstream_holds_behind_the_mirror() {
    let poisoned = poisoned();
    let rule = format!("url.http://{}/.insteadOf", poisoned.gitlab.host());
    poisoned.world.config(&rule, "https://gitlab.example/");
    let address = "mirror::https://gitlab.example/group/project.git";
    poisoned.world.git(["clone", "-q", address, "ours"]).ok();
    assert!(Path::exists(&poisoned.world.path("ours/log.txt")));
}
