//! Errors of a clone: the message, nothing left behind, and a next try that works.

mod packs;

use tests::{Fault, On, Project, Ran, World, refs};

use crate::stage::Stage;

/// A project of a few commits, enough for a pack worth cutting.
fn fill(project: &Project) {
    project.history(30);
}

/// Asserts one `error:` line, at most one `hint:` line, and nothing that looks like Rust.
#[track_caller]
fn one_error(ran: &Ran) {
    let count = |start: &str| {
        let lines = ran.stderr.lines();
        lines.filter(|line| line.starts_with(start)).count()
    };
    assert_eq!(count("error: "), 1, "one error line: {ran}");
    assert!(count("hint: ") <= 1, "at most one hint: {ran}");
    for inside in ["Some(", "Err(", "{ ", "panicked", "os error", "src/"] {
        let is_inside = ran.stderr.contains(inside);
        assert!(!is_inside, "'{inside}' is not for people: {ran}");
    }
}

impl Stage {
    /// Runs a first clone that fails.
    #[track_caller]
    fn first_clone_fails(&self) -> Ran {
        let ran = self.clone(&self.url, "clone").code(128);
        one_error(&ran);
        ran
    }

    /// A failed first clone leaves neither a clone nor a mirror, and the next one works.
    #[track_caller]
    fn nothing_is_left_and_the_next_try_works(&self) {
        assert!(!self.world.path("clone").exists(), "no clone is left");
        assert_eq!(self.world.mirrors(), [""; 0], "nothing of a mirror is left");
        self.gitlab.clear_faults();
        self.clone(&self.url, "clone").ok();
    }

    /// Has a first clone meet a fault, and returns what it prints. Afterwards there is no mirror.
    #[track_caller]
    #[allow(clippy::print_stdout, reason = "a failing test names the case")]
    fn first_clone_meets(&self, case: &str, fault: Fault) -> Ran {
        println!("{case}");
        self.gitlab.fault(fault);
        let ran = self.first_clone_fails();
        self.nothing_is_left_and_the_next_try_works();
        self.mirrord(&["remove", &self.url]).ok();
        std::fs::remove_dir_all(self.world.path("clone")).expect("the world is ours");
        // The next fault meets a connection of its own.
        self.mirrord(&["stop"]).ok();
        ran
    }
}

#[test]
fn nothing_listens_at_the_address_of_upstream() {
    let stage = Stage::new(fill);
    stage.gitlab.stop();
    insta::assert_snapshot!(stage.first_clone_fails().shown(), @"error: cannot reach 'http://gitlab.example/group/project.git': connection refused");
    stage.gitlab.start();
    stage.nothing_is_left_and_the_next_try_works();
}

#[test]
fn upstream_is_not_there() {
    let stage = Stage::new(|_| ());
    let none = stage.gitlab.url("group/none");
    let upstreams = [
        ("unknown host", "https://gitlab.invalid/group/project.git"),
        ("no such project", &none),
        ("no such path", "/nowhere/project.git"),
    ];
    let mut shown = String::new();
    for (case, url) in upstreams {
        let ran = stage.clone(url, "clone").code(128);
        one_error(&ran);
        shown.push_str(&format!("{case}:\n{}", ran.shown()));
    }
    insta::assert_snapshot!(shown, @"
    unknown host:
    error: cannot reach 'https://gitlab.invalid/group/project.git': could not resolve host
    no such project:
    remote: The project you were looking for could not be found or you don't have permission to view it.
    error: repository 'http://gitlab.example/group/none.git' not found
    hint: check the address; a private project needs a login
    no such path:
    error: cannot read 'file:///nowhere/project.git': '/nowhere/project.git' does not appear to be a git repository
    ");
}

#[test]
fn the_certificate_is_not_trusted() {
    let world = World::new();
    let gitlab = world.gitlab_tls();
    let stage = Stage::on(world, gitlab, fill);
    insta::assert_snapshot!(stage.first_clone_fails().shown(), @"
    error: cannot reach 'https://gitlab.example/group/project.git': certificate refused: it is signed by nobody who is trusted here
    hint: if its authority is your own, name it: git config http.sslCAInfo FILE
    ");
    let authority = stage.gitlab.ca_file().to_string_lossy();
    stage.world.config("http.sslCAInfo", &authority);
    stage.nothing_is_left_and_the_next_try_works();
}

#[test]
fn the_certificate_has_expired() {
    let world = World::new();
    let gitlab = world.gitlab_expired();
    let stage = Stage::on(world, gitlab, fill);
    let authority = stage.gitlab.ca_file().to_string_lossy();
    stage.world.config("http.sslCAInfo", &authority);
    insta::assert_snapshot!(stage.first_clone_fails().shown(), @"
    error: cannot reach 'https://gitlab.example/group/project.git': certificate refused: it has expired
    hint: if its authority is your own, name it: git config http.sslCAInfo FILE
    ");
}

#[test]
fn upstream_hangs_in_each_phase() {
    let stage = Stage::new(fill);
    stage.world.config("http.lowSpeedLimit", "1");
    stage.world.config("http.lowSpeedTime", "1");
    for (fault, phase) in [
        (Fault::hang_on_accept(), "accept"),
        (Fault::hang_before_headers().on(On::InfoRefs), "headers"),
        (Fault::hang_after(20).on(On::InfoRefs), "advertisement"),
        (Fault::hang_before_headers().on(On::LsRefs), "ls-refs"),
        (Fault::hang_after(2000).on(On::Fetch), "pack"),
    ] {
        let ran = stage.first_clone_meets(phase, fault);
        assert!(ran.stderr.contains("cannot reach"), "{phase}: {ran}");
        // Who gives up first, what waits for a connection or what waits for all, is open.
        let is_silence = ran.stderr.contains("no answer for 1 second");
        let is_timeout = ran.stderr.contains("timed out");
        assert!(is_silence || is_timeout, "{phase}: {ran}");
    }
}

#[test]
fn the_server_answers_with_something_else() {
    let stage = Stage::new(fill);
    let plain = |fault: Fault| fault.header("Content-Type", "text/plain");
    let faults = [
        ("500", Fault::status(500)),
        (
            "503 with a reason",
            plain(Fault::status(503)).body("GitLab is not responding"),
        ),
        (
            "403 with a reason",
            plain(Fault::status(403)).body("Forbidden"),
        ),
        (
            "429 with Retry-After",
            Fault::status(429).header("Retry-After", "30"),
        ),
        ("a page", Fault::html()),
        (
            "sign-in by Kerberos, which git itself tries without a ticket",
            Fault::status(401).header("WWW-Authenticate", "Negotiate"),
        ),
    ];
    let mut shown = String::new();
    for (case, fault) in faults {
        let ran = stage.first_clone_meets(case, fault);
        shown.push_str(&format!("{case}:\n{}", ran.shown()));
    }
    insta::assert_snapshot!(shown, @"
    500:
    error: cannot reach 'http://gitlab.example/group/project.git': the server answered with error 500
    503 with a reason:
    error: cannot reach 'http://gitlab.example/group/project.git': the server answered with error 503: GitLab is not responding
    403 with a reason:
    error: cannot read 'http://gitlab.example/group/project.git': the requested URL returned error: 403: Forbidden
    hint: this login may not read it, or too many failed ones have closed the door for a while
    429 with Retry-After:
    error: 'http://gitlab.example/group/project.git' asks for patience (error 429); it wants to be left alone for [time]
    a page:
    error: cannot reach 'http://gitlab.example/group/project.git': 'text/html' answered, not git
    hint: a network's sign-in page may be in the way, or the address may not be a repository's
    sign-in by Kerberos, which git itself tries without a ticket:
    error: could not read Username for 'http://gitlab.example': terminal prompts disabled
    hint: give the mirror a login of its own: mirrord add NAME http://gitlab.example/group/project.git --username USER
    ");
}

#[test]
fn the_disk_is_full() {
    let mut seed = 1_u64;
    let mut noise = String::new();
    while noise.len() < 400_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        noise.push_str(&format!("{:016x}", seed ^ (seed >> 29)));
    }
    let stage = Stage::new(|project| drop(project.commit("main", "big", &noise)));
    let world = &stage.world;
    // No file of the daemon may become larger than 64 KiB: the closest to a full disk that needs no rights.
    world
        .program("bash", ["-c", "ulimit -f 64; exec mirrord list"])
        .ok();
    let add = || stage.add("work", &[]).code(1);
    let mut shown = String::new();
    for ran in [stage.first_clone_fails(), add()] {
        one_error(&ran);
        shown.push_str(&ran.shown());
    }
    stage.mirrord(&["stop"]).ok();
    // Not even an empty mirror can be made.
    world
        .program("bash", ["-c", "ulimit -f 1; exec mirrord list"])
        .ok();
    for ran in [stage.first_clone_fails(), add()] {
        one_error(&ran);
        shown.push_str(&ran.shown());
    }
    insta::assert_snapshot!(shown, @"
    error: cannot store what 'http://gitlab.example/group/project.git' sent: File too large
    error: cannot store what 'http://gitlab.example/group/project.git' sent: File too large
    error: cannot make a mirror: File too large
    error: cannot make a mirror: File too large
    ");
    stage.mirrord(&["stop"]).ok();
    stage.nothing_is_left_and_the_next_try_works();
}

#[test]
fn an_old_server_is_asked_through_git_itself() {
    let stage = Stage::new(fill);
    let Stage { world, gitlab, .. } = &stage;
    gitlab.require_login("group/project", "me", "the-token");
    gitlab.fault(Fault::old_protocol());
    world.config(
        "credential.helper",
        "!f() { echo username=me; echo password=the-token; }; f",
    );
    stage.clone(&stage.url, "clone").ok();
    let plain = stage.url.replace("http://", "http://me:the-token@");
    world.git(["clone", "--quiet", &plain, "plain"]).ok();
    tests::same_clone(world, &world.path("clone"), &world.path("plain"));
}

#[test]
fn half_a_list_of_refs_deletes_nothing() {
    let stage = Stage::new(|project| {
        project.commit("main", "a", "a");
        project.commit("topic", "a", "b");
    });
    let Stage { world, gitlab, .. } = &stage;
    stage.clone(&stage.url, "clone").arg("--mirror").ok();
    let before = refs(world, &world.path("clone"));
    // A proxy ends the answer in order, after its first line and without its end mark.
    let tip = stage.project.tip("main").expect("there");
    let line = format!("{tip} refs/heads/main\n");
    let half = format!("{:04x}{line}", line.len() + 4);
    let kind = ("Content-Type", "application/x-git-upload-pack-result");
    let mut shown = String::new();
    for body in [half.as_str(), ""] {
        let answer = Fault::status(200).header(kind.0, kind.1).body(body);
        gitlab.fault(answer.on(On::LsRefs));
        let ran = stage.git("clone", &["fetch", "--prune"]).ok();
        shown.push_str(&ran.shown());
        assert_eq!(refs(world, &world.path("clone")), before);
        gitlab.clear_faults();
    }
    insta::assert_snapshot!(shown, @"
    warning: cannot read 'http://gitlab.example/group/project.git': the answer ended too early
    hint: serving the copy synced [time] ago
    warning: cannot read 'http://gitlab.example/group/project.git': the answer ended too early
    hint: serving the copy synced [time] ago
    ");
}

#[test]
fn a_client_certificate_is_shown_by_git_itself() {
    let stage = Stage::with_tls(fill);
    let Stage { world, url, .. } = &stage;
    let own = rcgen::generate_simple_self_signed(["me".to_owned()]).expect("made");
    let (cert, key) = (world.path("me.pem"), world.path("me.key"));
    std::fs::write(&cert, own.cert.pem()).expect("written");
    std::fs::write(&key, own.signing_key.serialize_pem()).expect("written");
    for (setting, file) in [("http.sslCert", &cert), ("http.sslKey", &key)] {
        world.config(setting, file.to_str().expect("text"));
    }
    stage.clone(url, "clone").ok();
    for request in stage.gitlab.requests() {
        let agent = request.header("user-agent").unwrap_or_default();
        let is_git = agent.starts_with("git/2.");
        assert!(is_git, "only git's own client can: {request:?}");
    }
    world.git(["clone", "--quiet", url, "plain"]).ok();
    tests::same_clone(world, &world.path("clone"), &world.path("plain"));
}
