//! Every kind of secret, through everything that the programs do, with the log at its fullest: none is ever seen outside
//! its store, in a file, a log, an argument list, or an environment.

mod lookout;
mod settings;

use std::{fs, path::PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD};
use tests::{Delivery, GitLab, Run, World};

use self::lookout::Lookout;

/// One secret of each kind, used only by this test.
struct Canaries {
    /// A password of a mirror's own.
    stored: String,
    /// A token that the person's credential helper has.
    helper: String,
    /// A token in an address.
    typed: String,
    /// The passphrase of a mirror's own key.
    passphrase: String,
    /// The answer of the user's askpass program.
    answer: String,
    /// A token that upstream refuses.
    refused: String,
    /// A token for GitLab's API, used once.
    api: String,
    /// The signing token of GitLab, in the form in which GitLab shows it.
    signing: String,
    /// In a header of the person's settings.
    header: String,
    /// In a proxy's URL of the person's settings.
    proxy: String,
}

impl Canaries {
    fn new() -> Self {
        let of = |kind: &str| format!("canary-{kind}-{}", std::process::id());
        Self {
            stored: of("stored"),
            helper: of("helper"),
            typed: of("typed"),
            passphrase: of("passphrase"),
            answer: of("answer"),
            refused: of("refused"),
            api: of("api"),
            header: of("header"),
            proxy: of("proxy"),
            signing: format!(
                "whsec_{}",
                BASE64_STANDARD.encode(format!("{:0<32}", of("signing")))
            ),
        }
    }

    fn all(&self) -> [&String; 10] {
        let Self {
            stored,
            helper,
            typed,
            passphrase,
            answer,
            refused,
            api,
            signing,
            header,
            proxy,
        } = self;
        [
            stored, helper, typed, passphrase, answer, refused, api, signing, header, proxy,
        ]
    }

    /// Each as it is, and as Basic authentication has it.
    fn forms(&self) -> Vec<String> {
        let plain = self.all().into_iter().cloned();
        let encoded = self
            .all()
            .map(|one| BASE64_STANDARD.encode(format!("me:{one}")));
        plain.chain(encoded).collect()
    }
}

/// Whether git itself shows this: the arguments of git and of the helper have the login of a typed address.
fn is_gits_own(hit: &str) -> bool {
    let shows_the_address = hit.contains("mirror::http://me:") || hit.contains("remote-mirror ");
    hit.starts_with("cmdline") && shows_the_address
}

/// A git of the person's that traces all that it does, and whose children of ours should not.
fn traced(run: Run, world: &World) -> Run {
    let file = world.path("trace");
    [
        "GIT_TRACE",
        "GIT_TRACE_CURL",
        "GIT_TRACE_PACKET",
        "GIT_TRACE2_EVENT",
        "GIT_TRACE_SETUP",
    ]
    .into_iter()
    .fold(run, |run, name| run.env(name, &file))
    .env("GIT_CURL_VERBOSE", "1")
    .env("MIRROR_LOG", "trace")
}

/// Sets up the user's own stores, beside the mirrors: a credential helper and an askpass program with a file each, and settings
/// with secrets for another host, which go to every child as well.
fn set_up_stores(world: &World, canaries: &Canaries, helper_url: &str) {
    let store = |name: &str, text: &str| {
        fs::create_dir_all(world.path("stores")).expect("the world is ours");
        fs::write(world.path(format!("stores/{name}")), text).expect("the world is ours");
        world.path(format!("stores/{name}")).display().to_string()
    };
    let login = store(
        "login",
        &format!("username=me\npassword={}\n", canaries.helper),
    );
    let helper = format!("!f() {{ test $1 != get || cat {login}; }}; f");
    let helper_key = format!("credential.{helper_url}.helper");
    world.config("credential.useHttpPath", "true");
    world.config(&helper_key, &helper);
    // Settings for another host go to every child as well.
    let of_host = |variable: &str| format!("http.http://other.example/.{variable}");
    world.config(&of_host("extraHeader"), &format!("X: {}", canaries.header));
    let proxy = format!("http://me:{}@proxy.example", canaries.proxy);
    world.config(&of_host("proxy"), &proxy);
    world.config("mirror.allowLoginInUrl", "true");
    let answer = store("answer", &format!("{}\n", canaries.answer));
    let ask = format!("#!/bin/sh\ncase $1 in User*) echo me;; *) cat '{answer}';; esac\n");
    world.script("ask", &ask);
}

/// Asserts that the daemon leaves no core file.
fn assert_no_core_dumps(world: &World) {
    let pid = world.daemon_pid().expect("it runs");
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("this is Linux");
    let cores = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let cores: Vec<_> = cores
        .expect("there is a limit")
        .split_whitespace()
        .collect();
    assert_eq!(cores[4], "0", "no core dump: {cores:?}");
}

/// Asserts that the passphrase and the password are in the store of the mirrors, each once, and the others in those of the
/// user, and where git itself puts an address.
fn assert_secrets_are_in_their_stores(world: &World, canaries: &Canaries, hook: &str) {
    let token = files_with(world, hook);
    let is_in_its_mirror =
        |file: &String| file.starts_with("m/mirrors/") && file.ends_with("/webhook");
    assert!(
        token.len() == 1 && token.iter().all(is_in_its_mirror),
        "{token:?}"
    );
    for form in canaries.forms() {
        let files = files_with(world, &form);
        if form == canaries.signing {
            assert_eq!(files, token, "beside the secret token");
            continue;
        }
        let ours = files.iter().filter(|file| file.starts_with("m/"));
        let stored = [&canaries.stored, &canaries.passphrase].contains(&&form);
        let ours: Vec<_> = ours.collect();
        assert_eq!(ours.len(), usize::from(stored), "'{form}' is in {ours:?}");
        assert!(
            ours.iter().all(|file| file.starts_with("m/secrets/")),
            "{ours:?}"
        );
        let is_known = |file: &&String| {
            let of_git = form == canaries.typed && file.starts_with("typed/.git/");
            let is_setting = [&canaries.header, &canaries.proxy].contains(&&form);
            let of_settings = is_setting && file.as_str() == "home/.gitconfig";
            file.starts_with("m/") || file.starts_with("stores/") || of_git || of_settings
        };
        let elsewhere = |file: &&String| !is_known(file);
        let elsewhere: Vec<_> = files.iter().filter(elsewhere).collect();
        // What git itself traces of an address that it was given is its own.
        let traces = |file: &&&String| form != canaries.typed || file.as_str() != "trace";
        let elsewhere: Vec<_> = elsewhere.iter().filter(traces).collect();
        assert!(elsewhere.is_empty(), "'{form}' is in {elsewhere:?}");
    }
}

/// Asserts that the daemon's children write no trace: those that sign in, and those that serve.
fn assert_children_write_no_trace(world: &World) {
    let trace =
        fs::read_to_string(world.path("trace")).expect("the person's own git has written one");
    // The lines of our own log come through git's sideband, where it traces them.
    let is_ours = |line: &&str| line.contains("DEBUG request{");
    let trace: Vec<&str> = trace.lines().filter(|line| !is_ours(line)).collect();
    let trace = trace.join("\n");
    for ours in [
        "credential fill",
        "push --porcelain",
        "remote-http",
        "receive-pack --",
    ] {
        assert!(!trace.contains(ours), "'{ours}' is traced");
    }
}

/// Adds a mirror with a token, one whose token is refused, and one with an ssh key.
fn add_mirrors(world: &World, canaries: &Canaries, url: &str, ssh_url: &str, key: &str) {
    let add = ["add", "stored", url, "--username", "me", "--password-stdin"];
    traced(world.mirrord(add), world)
        .stdin(format!("{}\n", canaries.stored))
        .ok();
    let wrong = ["add", "wrong", url, "--username", "me", "--password-stdin"];
    traced(world.mirrord(wrong), world)
        .stdin(format!("{}\n", canaries.refused))
        .fails();
    let by_key = [
        "add",
        "by-key",
        ssh_url,
        "--ssh-key",
        key,
        "--passphrase-stdin",
    ];
    traced(world.mirrord(by_key), world)
        .stdin(format!("{}\n", canaries.passphrase))
        .ok();
}

/// Clones, fetches, pushes and lists refs.
fn use_clone(world: &World, asking: &impl Fn(Run) -> Run, dir: &str, address: &str) {
    asking(world.git(["clone", "-q", address, dir])).ok();
    asking(world.git(["fetch", "-q"]).at(dir)).ok();
    world
        .git(["commit", "-q", "--allow-empty", "-m", "c"])
        .at(dir)
        .ok();
    asking(
        world
            .git(["push", "-q", "origin", "HEAD:refs/heads/pushed"])
            .at(dir),
    )
    .ok();
    asking(world.git(["ls-remote", "origin"]).at(dir)).ok();
}

/// Takes ten seconds: five kinds of login each clone, fetch, push and list, and every process and every file is
/// searched for ten secrets meanwhile.
#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn no_secret_is_outside_its_store() {
    let canaries = Canaries::new();
    let world = World::new();
    let gitlab = world.gitlab();
    let kinds = [
        ("stored", &canaries.stored),
        ("helper", &canaries.helper),
        ("typed", &canaries.typed),
        ("answer", &canaries.answer),
    ];
    for (project, token) in kinds {
        gitlab.project(&format!("group/{project}")).history(3);
        gitlab.require_login(&format!("group/{project}"), "me", token);
    }
    let url = |project: &str| gitlab.url(&format!("group/{project}"));
    let sshd = world.sshd();
    let over_ssh = sshd.project("project.git");
    over_ssh.history(3);
    let key = world.path("ssh/own").display().to_string();
    // ssh-keygen takes a new passphrase in an argument, which is over before anybody looks.
    let args = [
        "-q",
        "-t",
        "ed25519",
        "-N",
        &canaries.passphrase,
        "-f",
        &key,
    ];
    world.program("ssh-keygen", args).ok();
    sshd.authorize(&["ssh/own"]);
    set_up_stores(&world, &canaries, &url("helper"));

    let lookout = Lookout::new(canaries.forms());
    let daemon = world.mirrord(["run", "--log-level", "trace"]).start();
    daemon.printed("listens at");

    add_mirrors(
        &world,
        &canaries,
        &url("stored"),
        &sshd.url(&over_ssh),
        &key,
    );
    let typed = url("typed").replace("http://", &format!("mirror::http://me:{}@", canaries.typed));
    let addresses = [
        ("stored", "mirror::stored".to_owned()),
        ("by-key", "mirror::by-key".to_owned()),
        ("typed", typed),
        ("helper", format!("mirror::{}", url("helper"))),
        ("answer", format!("mirror::{}", url("answer"))),
    ];
    let asking = |run: Run| traced(run, &world).env("GIT_ASKPASS", world.path("ask"));
    for (dir, address) in &addresses {
        use_clone(&world, &asking, dir, address);
    }
    let hook = tell_of_pushes(&world, &gitlab, &canaries);
    for name in ["stored", "by-key"] {
        for command in ["test", "show", "sync", "history"] {
            asking(world.mirrord([command, name])).ok();
        }
    }
    for command in ["list", "status", "log", "config"] {
        asking(world.mirrord([command])).ok();
    }
    // git alone signs in where a setting is one that only it knows.
    world.config("http.proxyAuthMethod", "anyauth");
    asking(world.git(["fetch", "-q"]).at("stored")).ok();
    asking(world.mirrord(["sync", "stored"])).ok();
    // A refusal is reported in many places.
    gitlab.revoke("me");
    for (dir, _) in &addresses[2..] {
        asking(world.git(["fetch"]).at(dir)).fails();
    }
    asking(world.git(["fetch"]).at("stored")).fails();
    asking(world.mirrord(["status"])).ok();

    assert_no_core_dumps(&world);

    world.mirrord(["stop"]).ok();
    let ran = daemon.wait();
    let (hits, looks) = lookout.end();
    let hits: Vec<_> = hits.into_iter().filter(|hit| !is_gits_own(hit)).collect();
    assert!(looks > 100, "somebody looked: {looks}");
    assert_eq!(hits, [""; 0], "no process shows a secret");
    for form in canaries.forms().iter().chain([&hook]) {
        let log = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!log.contains(form), "the log does not have '{form}'");
    }
    assert!(
        ran.stderr.contains("TRACE") || ran.stderr.contains("DEBUG") || ran.stderr.contains("INFO")
    );
    assert_secrets_are_in_their_stores(&world, &canaries, &hook);
    assert_children_write_no_trace(&world);
    world.mirrord(["remove", "stored"]).ok();
    world.mirrord(["remove", "by-key"]).ok();
    for secret in [
        &canaries.stored,
        &canaries.passphrase,
        &canaries.signing,
        &hook,
    ] {
        let files = files_with(&world, secret);
        assert!(files.is_empty(), "'{secret}' is in {files:?}");
    }
}

/// The webhook from the first to the last: on, shown, registered, signed, told, checked, refused. Returns the secret
/// token, which is only printed where somebody asks for it.
fn tell_of_pushes(world: &World, gitlab: &GitLab, canaries: &Canaries) -> String {
    traced(world.mirrord(["webhook", "on"]), world).ok();
    let show = ["webhook", "show", "stored", "--json"];
    let shown = traced(world.mirrord(show), world).ok().stdout;
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    let text = |key: &str| shown[key].as_str().expect("text").to_owned();
    let (url, token) = (text("url"), text("secret_token"));
    let delivery = Delivery::of_gitlab(&url, "Push Hook", "{}");
    assert_eq!(delivery.clone().token(&token).send().status, 202);
    gitlab.maintainer("group/stored", &canaries.api);
    gitlab.without_signing();
    for command in ["register", "check", "register"] {
        let args = ["webhook", command, "stored", "--token-stdin"];
        let output = traced(world.mirrord(args), world).stdin(format!("{}\n", canaries.api));
        let ran = output.ok();
        assert!(!format!("{ran}").contains(&canaries.api), "{ran}");
    }
    assert_eq!(gitlab.deliver("group/stored"), [202]);
    let sign = ["webhook", "secret", "stored", "--signing-token-stdin"];
    traced(world.mirrord(sign), world)
        .stdin(format!("{}\n", canaries.signing))
        .ok();
    let now = Delivery::now();
    let signed = delivery.clone().signed(&canaries.signing, "one", now);
    assert_eq!(signed.send().status, 202);
    for refused in [delivery.clone().token(&token), delivery] {
        assert_eq!(refused.send().status, 401);
    }
    token
}

/// The files of a world that have a text, by their paths in it.
fn files_with(world: &World, text: &str) -> Vec<String> {
    let grep = ["-rlF", "--", text, "."];
    let found = world.program("grep", grep).run();
    let paths = found
        .stdout
        .lines()
        .map(|line| PathBuf::from(line.trim_start_matches("./")));
    paths.map(|path| path.display().to_string()).collect()
}
