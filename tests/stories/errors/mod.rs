//! Errors of a clone: the message, nothing left behind, and a next try that works.

mod packs;

use tests::{Fault, GitLab, On, Ran, World, refs};

/// A project of a few commits, enough for a pack worth cutting.
fn fill(gitlab: &GitLab) {
    gitlab.project("group/project").history(30);
}

fn url(gitlab: &GitLab) -> String {
    format!("mirror::{}", gitlab.url("group/project"))
}

/// Asserts one `error:` line with this text, at most one `hint:` line, and nothing that looks like Rust.
#[track_caller]
fn one_error(ran: &Ran, expected: &str) {
    let errors: Vec<_> = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "one error line: {ran}");
    assert!(
        errors[0].contains(expected),
        "it should say '{expected}': {ran}"
    );
    let hints = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("hint: "))
        .count();
    assert!(hints <= 1, "at most one hint: {ran}");
    for inside in ["Some(", "Err(", "{ ", "panicked", "os error", "src/"] {
        assert!(
            !ran.stderr.contains(inside),
            "'{inside}' is not for people: {ran}"
        );
    }
}

/// A failed first clone leaves neither a clone nor a mirror, and the next one works.
#[track_caller]
fn nothing_is_left_and_the_next_try_works(world: &World, gitlab: &GitLab) {
    assert!(!world.path("clone").exists(), "no clone is left");
    let left: Vec<_> = std::fs::read_dir(world.mirror_home().join("mirrors"))
        .expect("the folder is there")
        .map(|entry| entry.expect("readable").file_name())
        .collect();
    assert!(left.is_empty(), "nothing is left of a mirror: {left:?}");
    gitlab.clear_faults();
    world.git(["clone", "--quiet", &url(gitlab), "clone"]).ok();
}

#[track_caller]
fn clone_fails(fault: Fault, expected: &str) {
    let world = World::new();
    let gitlab = world.gitlab();
    fill(&gitlab);
    gitlab.fault(fault);
    let ran = world.git(["clone", &url(&gitlab), "clone"]).code(128);
    one_error(&ran, expected);
    nothing_is_left_and_the_next_try_works(&world, &gitlab);
}

#[test]
fn nothing_listens_at_the_address_of_upstream() {
    let world = World::new();
    let gitlab = world.gitlab();
    fill(&gitlab);
    gitlab.stop();
    let ran = world.git(["clone", &url(&gitlab), "clone"]).code(128);
    one_error(
        &ran,
        &format!(
            "cannot reach '{}': connection refused",
            gitlab.url("group/project")
        ),
    );
    gitlab.start();
    nothing_is_left_and_the_next_try_works(&world, &gitlab);
}

#[test]
fn the_name_is_not_known() {
    let world = World::new();
    let ran = world
        .git([
            "clone",
            "mirror::https://gitlab.invalid/group/project.git",
            "clone",
        ])
        .code(128);
    one_error(
        &ran,
        "cannot reach 'https://gitlab.invalid/group/project.git': could not resolve host",
    );
}

#[test]
fn the_project_does_not_exist() {
    let world = World::new();
    let gitlab = world.gitlab();
    let ran = world
        .git([
            "clone",
            &format!("mirror::{}", gitlab.url("group/none")),
            "clone",
        ])
        .code(128);
    one_error(&ran, "not found");
    assert!(ran.stderr.contains("hint: check the address"), "{ran}");
}

#[test]
fn the_path_of_upstream_does_not_exist() {
    let world = World::new();
    let ran = world
        .git(["clone", "mirror::/nowhere/project.git", "clone"])
        .code(128);
    one_error(
        &ran,
        "'/nowhere/project.git' does not appear to be a git repository",
    );
}

#[test]
fn the_certificate_is_not_trusted() {
    let world = World::new();
    let gitlab = world.gitlab_tls();
    fill(&gitlab);
    let ran = world.git(["clone", &url(&gitlab), "clone"]).code(128);
    one_error(
        &ran,
        "certificate refused: it is signed by nobody who is trusted here",
    );
    world.config("http.sslCAInfo", gitlab.ca_file().to_str().expect("text"));
    nothing_is_left_and_the_next_try_works(&world, &gitlab);
}

#[test]
fn the_certificate_has_expired() {
    let world = World::new();
    let gitlab = world.gitlab_expired();
    fill(&gitlab);
    world.config("http.sslCAInfo", gitlab.ca_file().to_str().expect("text"));
    let ran = world.git(["clone", &url(&gitlab), "clone"]).code(128);
    one_error(&ran, "certificate refused: it has expired");
}

#[test]
fn upstream_hangs_in_each_phase() {
    for (fault, phase) in [
        (Fault::hang_on_accept(), "accept"),
        (Fault::hang_before_headers().on(On::InfoRefs), "headers"),
        (Fault::hang_after(20).on(On::InfoRefs), "advertisement"),
        (Fault::hang_before_headers().on(On::LsRefs), "ls-refs"),
        (Fault::hang_after(2000).on(On::Fetch), "pack"),
    ] {
        let world = World::new();
        let gitlab = world.gitlab();
        fill(&gitlab);
        world.config("http.lowSpeedLimit", "1");
        world.config("http.lowSpeedTime", "1");
        gitlab.fault(fault);
        let ran = world.git(["clone", &url(&gitlab), "clone"]).code(128);
        one_error(&ran, "cannot reach");
        assert!(
            ran.stderr.contains("no answer for 1 second") || ran.stderr.contains("timed out"),
            "{phase}: {ran}"
        );
        nothing_is_left_and_the_next_try_works(&world, &gitlab);
    }
}

#[test]
fn the_server_is_in_trouble() {
    clone_fails(Fault::status(500), "the server answered with error 500");
    clone_fails(
        Fault::status(503)
            .header("Content-Type", "text/plain")
            .body("GitLab is not responding"),
        "error 503: GitLab is not responding",
    );
    clone_fails(
        Fault::status(403)
            .header("Content-Type", "text/plain")
            .body("Forbidden"),
        "returned error: 403: Forbidden",
    );
}

#[test]
fn the_server_answers_429_with_retry_after() {
    clone_fails(
        Fault::status(429).header("Retry-After", "30"),
        "asks for patience",
    );
}

#[test]
fn a_page_answers_instead_of_git() {
    clone_fails(Fault::html(), "'text/html' answered, not git");
}

#[test]
fn the_disk_is_full() {
    let world = World::new();
    let gitlab = world.gitlab();
    let project = gitlab.project("group/project");
    let mut seed = 1_u64;
    let mut noise = String::new();
    while noise.len() < 400_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        noise.push_str(&format!("{:016x}", seed ^ (seed >> 29)));
    }
    project.commit("main", "big", &noise);
    // No file of the daemon may become larger than 64 KiB: the closest to a full disk that needs no rights.
    world
        .program("bash", ["-c", "ulimit -f 64; exec mirrord list"])
        .ok();
    let clone = || world.git(["clone", &url(&gitlab), "clone"]).code(128);
    let address = url(&gitlab);
    let upstream = address.trim_start_matches("mirror::");
    let add = || world.mirrord(["add", "-q", "work", upstream]).code(1);
    let reason = ": File too large";
    for ran in [clone(), add()] {
        one_error(&ran, "cannot store what");
        assert!(ran.stderr.contains(reason), "the reason is in it: {ran}");
    }
    world.mirrord(["stop"]).ok();
    // Not even an empty mirror can be made.
    world
        .program("bash", ["-c", "ulimit -f 1; exec mirrord list"])
        .ok();
    for ran in [clone(), add()] {
        one_error(&ran, "cannot make a mirror");
        assert!(ran.stderr.contains(reason), "the reason is in it: {ran}");
    }
    world.mirrord(["stop"]).ok();
    nothing_is_left_and_the_next_try_works(&world, &gitlab);
}

#[test]
fn an_old_server_is_asked_through_git_itself() {
    let world = World::new();
    let gitlab = world.gitlab();
    fill(&gitlab);
    gitlab.require_login("group/project", "me", "the-token");
    gitlab.fault(Fault::old_protocol());
    world.config(
        "credential.helper",
        "!f() { echo username=me; echo password=the-token; }; f",
    );
    world.git(["clone", "--quiet", &url(&gitlab), "clone"]).ok();
    gitlab.project("group/other");
    let plain = format!(
        "http://me:the-token@{}",
        gitlab.url("group/project").trim_start_matches("http://")
    );
    world.git(["clone", "--quiet", &plain, "plain"]).ok();
    tests::same_clone(&world, &world.path("clone"), &world.path("plain"));
}

#[test]
fn half_a_list_of_refs_deletes_nothing() {
    let world = World::new();
    let gitlab = world.gitlab();
    let project = gitlab.project("group/project");
    project.commit("main", "a", "a");
    project.commit("topic", "a", "b");
    world
        .git(["clone", "--quiet", "--mirror", &url(&gitlab), "clone"])
        .ok();
    let before = refs(&world, &world.path("clone"));
    // A proxy ends the answer in order, after its first line and without its end mark.
    let line = format!("{} refs/heads/main\n", project.tip("main").expect("there"));
    let half = format!("{:04x}{line}", line.len() + 4);
    let kind = ("Content-Type", "application/x-git-upload-pack-result");
    for body in [half.as_str(), ""] {
        gitlab.fault(
            Fault::status(200)
                .header(kind.0, kind.1)
                .body(body)
                .on(On::LsRefs),
        );
        let ran = world.git(["fetch", "--prune"]).at("clone").ok();
        assert!(ran.stderr.contains("warning: cannot read"), "{ran}");
        assert_eq!(refs(&world, &world.path("clone")), before);
        gitlab.clear_faults();
    }
}

#[test]
fn a_client_certificate_is_shown_by_git_itself() {
    let world = World::new();
    let gitlab = world.gitlab_tls();
    fill(&gitlab);
    let own = rcgen::generate_simple_self_signed(["me".to_owned()]).expect("made");
    let (cert, key) = (world.path("me.pem"), world.path("me.key"));
    std::fs::write(&cert, own.cert.pem()).expect("written");
    std::fs::write(&key, own.signing_key.serialize_pem()).expect("written");
    for (setting, file) in [
        ("http.sslCAInfo", gitlab.ca_file()),
        ("http.sslCert", &cert),
        ("http.sslKey", &key),
    ] {
        world.config(setting, file.to_str().expect("text"));
    }
    world.git(["clone", "--quiet", &url(&gitlab), "clone"]).ok();
    for request in gitlab.requests() {
        let agent = request.header("user-agent").unwrap_or_default();
        assert!(
            agent.starts_with("git/2."),
            "only git's own client can: {request:?}"
        );
    }
    let plain = gitlab.url("group/project");
    world.git(["clone", "--quiet", &plain, "plain"]).ok();
    tests::same_clone(&world, &world.path("clone"), &world.path("plain"));
}

#[test]
fn a_sign_in_by_kerberos_is_left_to_git_and_fails_without_a_ticket() {
    let world = World::new();
    let gitlab = world.gitlab();
    fill(&gitlab);
    gitlab.fault(Fault::status(401).header("WWW-Authenticate", "Negotiate"));
    let ran = world.git(["clone", &url(&gitlab), "clone"]).code(128);
    one_error(&ran, "could not read Username");
    nothing_is_left_and_the_next_try_works(&world, &gitlab);
}
