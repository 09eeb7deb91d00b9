//! Addresses behind `mirror::`: many spellings of valid ones, and one plain error for the rest.

mod paths;
mod tokens;

use tests::{Ran, Run, World, same_clone};

use crate::clone::{fill, listed, local};
use crate::stage::Stage;

/// Prepares the smallest command that asks a remote.
fn ls_remote(world: &World, address: &str) -> Run {
    world.git(["ls-remote", "--", &format!("mirror::{address}")])
}

/// Asserts one `error:` line with this text, and nothing else but git's own last line.
#[track_caller]
fn assert_refused(ran: &Ran, text: &str) {
    let ours: Vec<_> = ran.stderr.lines().collect();
    let ours = match ours.as_slice() {
        [ours @ .., "fatal: remote helper 'mirror' aborted session"] => ours,
        ours => ours,
    };
    assert!(
        matches!(ours, [line] if line.starts_with("error: ") && line.contains(text)),
        "one line that says '{text}': {ran}"
    );
    assert_eq!(ran.stdout, "", "{ran}");
}

#[test]
fn invalid_addresses_are_refused_before_anything_is_started() {
    let world = World::new();
    let sentinel = world.path("sentinel");
    let touch = format!("touch {}", sentinel.display());
    let evil = |address: &str| address.replace("TOUCH", &touch);
    // Every other one is a row in the tests of the parser.
    let table = [
        ("ext::TOUCH", "transport 'ext' is not allowed"),
        ("ext::sh -c TOUCH% >&2", "transport 'ext' is not allowed"),
        (
            "mirror::mirror::ext::TOUCH",
            "transport 'mirror' is not allowed",
        ),
        ("ssh://-oProxyCommand=TOUCH/p", "it starts with '-'"),
        ("--upload-pack=TOUCH", "it starts with '-'"),
        ("https://h/a\rhost=evil", "it contains a control character"),
        ("~/relative", "is a relative path: use an absolute one"),
        ("", "the address of the upstream is empty"),
    ];
    for (address, args) in table {
        let ran = ls_remote(&world, &evil(address))
            .env("GIT_SSH_COMMAND", &touch)
            .env("GIT_PROXY_COMMAND", &touch)
            .code(128);
        assert_refused(&ran, args);
    }
    assert!(!sentinel.exists(), "nothing was run");
    assert!(
        !world.mirror_home().exists(),
        "nothing was made, nobody was started"
    );
}

/// Asserts that every spelling of one address shows the same refs, from one mirror.
#[track_caller]
fn are_one_mirror(stage: &Stage, url: &str, spellings: &[String]) {
    let plain = stage.world.git(["ls-remote", url]).ok();
    for spelling in spellings {
        let ours = ls_remote(&stage.world, spelling).ok();
        assert_eq!(
            (ours.stdout.as_str(), ours.stderr.as_str()),
            (plain.stdout.as_str(), ""),
            "{spelling}"
        );
        assert_eq!(listed(&stage.world, "url"), [url], "{spelling}");
    }
}

#[test]
fn spellings_of_an_http_address_are_one_mirror() {
    let stage = Stage::new(fill);
    let host = stage.gitlab.host();
    let spellings = [
        "http://HOST/P",
        "HTTP://HOST/P",
        "http://HOST/P/",
        "http://@HOST/P",
        "http://HOST/x/./../P",
        "http://127.1:PORT/P",
    ];
    let port = host.rsplit(':').next().expect("a port");
    let spell = |form: &str| {
        form.replace("PORT", port)
            .replace("HOST", &host)
            .replace("/P", "/group/project.git")
    };
    are_one_mirror(&stage, &stage.url, &spellings.map(spell));
}

#[test]
fn a_mirror_scheme_means_https() {
    let stage = Stage::with_tls(fill);
    let mut clone = stage.url.replacen("https://", "mirror://", 1);
    stage.world.git(["clone", "-q", &clone, "ours"]).ok();
    clone.insert_str(0, "mirror::");
    stage.world.git(["ls-remote", &clone]).ok();
    assert_eq!(listed(&stage.world, "url"), [stage.url.as_str()]);
}

#[test]
fn spellings_of_a_path_are_one_mirror() {
    let stage = Stage::new(|_| {});
    let project = stage.world.project("odd #1 100% bücher.git");
    fill(&project);
    let path = project.dir().to_string_lossy();
    let escaped = path
        .replace('%', "%25")
        .replace(' ', "%20")
        .replace('#', "%23");
    let url = format!("file://{escaped}");
    let spellings = [
        path.to_string(),
        format!("{path}/"),
        format!("/.{}", path.replace('/', "//")),
        url.clone(),
        format!("file://localhost{escaped}"),
        format!("FILE://{}", escaped.replace("ü", "%c3%bc")),
    ];
    let plain = stage.world.git(["ls-remote", &path]).ok();
    for spelling in spellings {
        let ours = ls_remote(&stage.world, &spelling).ok();
        assert_eq!(ours.stdout, plain.stdout, "{spelling}");
        assert_eq!(listed(&stage.world, "url"), [url.as_str()], "{spelling}");
    }
}

#[test]
fn a_mirror_is_cloned_by_its_name() {
    let stage = Stage::new(fill);
    let twins = stage.world.clone_twins(&stage.url, &[]);
    let names = listed(&stage.world, "name");
    assert_eq!(names.len(), 1, "{names:?}");
    stage.clone(&names[0], "named").ok();
    same_clone(&stage.world, &stage.world.path("named"), twins.plain());
    assert_eq!(
        listed(&stage.world, "name"),
        names,
        "a name makes no mirror"
    );
}

#[test]
fn an_unknown_name_is_an_error() {
    let stage = Stage::new(|_| {});
    let failed = stage
        .clone("gitlab.example/group/project", "ours")
        .code(128);
    insta::assert_snapshot!(failed.shown(), @"
    error: no mirror is called 'gitlab.example/group/project'
    hint: 'mirrord list' shows them; a URL makes a new one: mirror::https://HOST/GROUP/PROJECT.git
    ");
}

#[test]
fn an_address_without_git_at_its_end_is_the_same_mirror() {
    let stage = Stage::new(fill);
    let Stage { world, url, .. } = &stage;
    let short = url.trim_end_matches(".git");
    for typed in [short, url, short] {
        let twins = world.clone_twins(typed, &[]);
        world.git(["fetch"]).at(twins.ours()).ok();
        assert_eq!(listed(world, "url"), [url.as_str()], "after {typed}");
    }
}

#[test]
fn a_submodule_may_name_a_path_only_where_git_would_let_it() {
    let stage = Stage::new(fill);
    let local = local(&stage.world);
    stage.world.config("protocol.mirror.allow", "always");
    let asked_by_submodule =
        |address: &str| ls_remote(&stage.world, address).env("GIT_PROTOCOL_FROM_USER", "0");
    asked_by_submodule(&stage.url).ok();
    let addresses = [local.url(), local.dir().to_string_lossy().into_owned()];
    for address in &addresses {
        let ran = asked_by_submodule(address).code(128);
        let args = "error: transport 'file' not allowed\nhint: a submodule may name a path";
        assert!(ran.stderr.starts_with(args), "{ran}");
    }
    assert_eq!(listed(&stage.world, "url"), [stage.url.as_str()]);
    stage.world.config("protocol.file.allow", "always");
    for address in &addresses {
        asked_by_submodule(address).ok();
    }
}

#[test]
fn a_submodule_may_not_reach_a_path_by_a_mirrors_name() {
    let stage = Stage::new(|_| {});
    let local = local(&stage.world);
    ls_remote(&stage.world, &local.url()).ok();
    stage.world.config("protocol.mirror.allow", "always");
    let names = listed(&stage.world, "name");
    ls_remote(&stage.world, &names[0])
        .env("GIT_PROTOCOL_FROM_USER", "0")
        .code(128);
}

#[test]
fn a_protocol_that_the_user_forbids_is_forbidden_behind_the_mirror() {
    let stage = Stage::new(fill);
    stage.world.config("protocol.http.allow", "never");
    let ran = ls_remote(&stage.world, &stage.url).code(128);
    assert!(
        ran.stderr
            .starts_with("error: transport 'http' not allowed\nhint: "),
        "{ran}"
    );
    assert!(stage.gitlab.requests().is_empty());
}

#[test]
fn an_address_is_rewritten_by_the_users_instead_of() {
    let stage = Stage::new(fill);
    let key = format!("url.http://{}/.insteadOf", stage.gitlab.host());
    stage.world.config(&key, "https://gitlab.example/");
    ls_remote(&stage.world, "https://gitlab.example/group/project.git").ok();
    assert_eq!(listed(&stage.world, "url"), [stage.url.as_str()]);
}

#[test]
fn a_rule_that_leads_back_to_the_mirror_is_passed_over() {
    let stage = Stage::new(fill);
    let base = format!("http://{}/", stage.gitlab.host());
    stage
        .world
        .config(&format!("url.mirror::{base}.insteadOf"), &base);
    for address in [stage.url.clone(), format!("mirror::{}", stage.url)] {
        stage.world.git(["ls-remote", &address]).ok();
    }
    assert_eq!(
        listed(&stage.world, "url"),
        [stage.url.as_str()],
        "both went through the mirror"
    );
}

#[test]
fn a_rule_cannot_lead_to_what_is_refused() {
    let world = World::new();
    let sentinel = world.path("sentinel");
    let key = format!("url.ext::touch {} .insteadOf", sentinel.display());
    world.config(&key, "https://gitlab.example/");
    let ran = ls_remote(&world, "https://gitlab.example/p").code(128);
    assert_refused(&ran, "transport 'ext' is not allowed");
    assert!(!sentinel.exists() && !world.mirror_home().exists());
}

#[test]
fn running_the_helper_by_hand_prints_that_git_runs_it() {
    let world = World::new();
    for args in [&[][..], &["one", "two", "three"]] {
        let ran = world.helper(args).code(128);
        let expected = "error: this program is run by git, for URLs that begin with 'mirror::'\n\
                        hint: git clone mirror::https://HOST/GROUP/PROJECT.git\n";
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", expected));
    }
    assert!(!world.mirror_home().exists());
}
