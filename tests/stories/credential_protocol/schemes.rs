//! What a credential helper is told and may answer.

use tests::{Front, Passage};

use super::{Stage, project_at};

/// `alice:secret-passwd`, as a header.
const BASIC: &str = "Basic YWxpY2U6c2VjcmV0LXBhc3N3ZA==";

const PASSWORD: &str = "username=alice\npassword=secret-passwd\n";

const BEARER: &str = "capability[]=authtype\nauthtype=Bearer\ncredential=YS1naXQtdG9rZW4=\n";

const UNAUTHORIZED: &str = "HTTP/1.1 401 Authorization Required";

#[test]
fn a_helper_is_told_what_we_understand_and_every_challenge() {
    let stage = Stage::new();
    let gate = stage.gate(
        BASIC,
        &[
            UNAUTHORIZED,
            "WWW-Authenticate: FooBar param1=\"value1\" param2=\"value2\"",
            "www-authenticate: Bearer authorize_uri=\"id.example.com\" p=1 q=0",
            "WWW-AUTHENTICATE: Basic realm=\"example.com\", Other a=\"b\", c=\"d\"",
        ],
    );
    stage.replies("", PASSWORD);
    let (works, told) = stage.alike(&project_at(&gate), |run| run);
    assert!(works);
    insta::assert_snapshot!(tests::shown(&told), @r#"
    [get]
    capability[]=authtype
    capability[]=state
    protocol=http
    host=gitlab.example
    wwwauth[]=FooBar param1="value1" param2="value2"
    wwwauth[]=Bearer authorize_uri="id.example.com" p=1 q=0
    wwwauth[]=Basic realm="example.com", Other a="b", c="d"
    [store]
    protocol=http
    host=gitlab.example
    username=alice
    password=secret-passwd
    "#);
}

#[test]
fn a_folded_challenge_is_one_challenge() {
    let stage = Stage::new();
    let gate = stage.gate(
        BASIC,
        &[
            UNAUTHORIZED,
            "WWW-Authenticate: FooBar param1=\"value1\"",
            " ",
            "\tparam2=\"value2\"",
            "WWW-Authenticate: Bearer authorize_uri=\"id.example.com\"",
            " p=1",
            "  q=0",
            "WWW-Authenticate: Basic realm=\"example.com\"",
        ],
    );
    stage.replies("", PASSWORD);
    let (works, told) = stage.alike(&project_at(&gate), |run| run);
    assert!(works);
    insta::assert_snapshot!(tests::shown(&told), @r#"
    [get]
    capability[]=authtype
    capability[]=state
    protocol=http
    host=gitlab.example
    wwwauth[]=FooBar param1="value1" param2="value2"
    wwwauth[]=Bearer authorize_uri="id.example.com" p=1 q=0
    wwwauth[]=Basic realm="example.com"
    [store]
    protocol=http
    host=gitlab.example
    username=alice
    password=secret-passwd
    "#);
}

#[test]
fn an_upstream_may_want_digest() {
    let stage = Stage::new();
    let gitlab = stage.gitlab.host();
    // It believes any response: whether it is right is curl's business.
    let gate = Front::new(move |head| match head.header("authorization") {
        Some(login) if login.starts_with("Digest username=\"alice\"") => {
            Passage::Admitted(gitlab.clone())
        }
        _ => Passage::head(&[
            UNAUTHORIZED,
            "WWW-Authenticate: Digest realm=\"x\", nonce=\"1\", qop=\"auth\", algorithm=MD5",
        ]),
    });
    stage.replies("", PASSWORD);
    let (works, told) = stage.alike(&project_at(&gate), |run| run);
    assert!(works, "{told}");
}

#[test]
fn a_helper_may_answer_with_a_scheme_of_its_own() {
    for reply in [
        BEARER,
        "capability[]=authtype\nauthtype=Basic\ncredential=YWxpY2U6c2VjcmV0LXBhc3N3ZA==\n",
    ] {
        let stage = Stage::new();
        let accepted = if reply == BEARER {
            "Bearer YS1naXQtdG9rZW4="
        } else {
            BASIC
        };
        let gate = stage.gate(
            accepted,
            &[UNAUTHORIZED, "WWW-Authenticate: Bearer x=\"y\""],
        );
        stage.replies("", reply);
        let url = project_at(&gate);
        let (works, told) = stage.alike(&url, |run| run);
        assert!(
            works && told.contains("[store]\ncapability[]=authtype\n"),
            "{told}"
        );
        // The daemon keeps it as it keeps a password.
        stage.ls_remote(&format!("mirror::{url}")).ok();
        assert_eq!(stage.told(), "");
    }
}

#[test]
fn a_wrong_credential_is_rejected_with_the_challenges_of_the_refusal() {
    for reply in [
        "capability[]=authtype\nauthtype=Bearer\ncredential=incorrect-token\n",
        "username=baduser\npassword=wrong-passwd\n",
    ] {
        let stage = Stage::new();
        const LINES: &[&str] = &[
            UNAUTHORIZED,
            "WWW-Authenticate: Bearer x=\"y\"",
            "WWW-Authenticate: Basic realm=\"z\"",
        ];
        let gate = stage.gate("Bearer right", LINES);
        stage.replies("", reply);
        let (works, told) = stage.alike(&project_at(&gate), |run| run);
        assert!(!works && told.contains("[erase]"), "{told}");
    }
}

#[test]
fn a_helper_may_sign_in_by_steps() {
    let stage = Stage::new();
    let gitlab = stage.gitlab.host();
    let gate = Front::new(move |head| match head.header("authorization") {
        Some("Multistage YW5vdGhlci10b2tlbg==") => Passage::Admitted(gitlab.clone()),
        Some("Multistage YS1naXQtdG9rZW4=") => Passage::head(&[
            UNAUTHORIZED,
            "WWW-Authenticate: Multistage challenge=\"456\"",
        ]),
        _ => Passage::head(&[
            UNAUTHORIZED,
            "WWW-Authenticate: Multistage challenge=\"123\"",
        ]),
    });
    let begin = "capability[]=authtype\ncapability[]=state\nauthtype=Multistage\n";
    let first = format!("{begin}credential=YS1naXQtdG9rZW4=\nstate[]=helper:foobar\ncontinue=1\n");
    let second = format!("{begin}credential=YW5vdGhlci10b2tlbg==\nstate[]=helper:bazquux\n");
    stage.replies("", &first);
    stage.replies("foobar", &second);
    let (works, told) = stage.alike(&project_at(&gate), |run| run);
    assert!(works, "{told}");
    insta::assert_snapshot!(tests::shown(&told), @r#"
    [get]
    capability[]=authtype
    capability[]=state
    protocol=http
    host=gitlab.example
    wwwauth[]=Multistage challenge="123"
    [get]
    capability[]=authtype
    capability[]=state
    authtype=Multistage
    protocol=http
    host=gitlab.example
    wwwauth[]=Multistage challenge="456"
    state[]=helper:foobar
    [store]
    capability[]=authtype
    capability[]=state
    authtype=Multistage
    credential=YW5vdGhlci10b2tlbg==
    protocol=http
    host=gitlab.example
    state[]=helper:bazquux
    "#);
}

#[test]
fn a_sign_in_by_steps_that_does_not_end_is_given_up_as_by_plain_git() {
    let stage = Stage::new();
    let gate = stage.gate(
        "never",
        &[UNAUTHORIZED, "WWW-Authenticate: Multistage challenge=\"1\""],
    );
    let reply = "capability[]=authtype\ncapability[]=state\nauthtype=Multistage\ncredential=eA==\nstate[]=helper:\ncontinue=1\n";
    stage.replies("", reply);
    let plain = stage.ls_remote(&project_at(&gate)).fails();
    let tries = gate.heads().len();
    let ours = stage
        .ls_remote(&format!("mirror::{}", project_at(&gate)))
        .fails();
    assert_eq!(gate.heads().len(), 2 * tries, "{plain}{ours}");
}

#[test]
fn an_ephemeral_or_expired_credential_is_used_once_and_the_helper_hears_of_its_end() {
    for field in [
        "ephemeral=1",
        "password_expiry_utc=4102444800",
        "password_expiry_utc=1",
    ] {
        let stage = Stage::new();
        let gate = stage.gate(
            "Bearer YS1naXQtdG9rZW4=",
            &[UNAUTHORIZED, "WWW-Authenticate: Bearer x=\"y\""],
        );
        stage.replies("", &format!("{BEARER}{field}\n"));
        let url = project_at(&gate);
        let (works, told) = stage.alike(&url, |run| run);
        assert_eq!(
            works,
            !field.ends_with("=1") || field == "ephemeral=1",
            "{told}"
        );
        let again = stage.ls_remote(&format!("mirror::{url}")).run();
        assert_eq!(again.status.success(), works, "{again}");
        assert_eq!(stage.told().is_empty(), field.ends_with("800"), "{field}");
    }
}

#[test]
fn the_first_request_signs_in_where_the_user_has_set_that() {
    for (method, reply, accepted) in [
        ("basic", PASSWORD, BASIC),
        ("auto", PASSWORD, BASIC),
        ("auto", BEARER, "Bearer YS1naXQtdG9rZW4="),
    ] {
        let stage = Stage::new();
        let gate = stage.gate(accepted, &["HTTP/1.1 403 Forbidden"]);
        stage.replies("", reply);
        stage.world.config("http.proactiveAuth", method);
        let (works, told) = stage.alike(&project_at(&gate), |run| run);
        assert!(works, "{method}: {told}");
    }
}

#[test]
fn a_push_signs_in_by_the_scheme_that_the_sync_was_let_in_with() {
    let stage = Stage::new();
    let gate = stage.gate(
        "Bearer YS1naXQtdG9rZW4=",
        &[UNAUTHORIZED, "WWW-Authenticate: Bearer x=\"y\""],
    );
    stage.replies("", BEARER);
    stage.world.clone_mirror(&project_at(&gate), "ours").ok();
    let commit = ["commit", "-q", "--allow-empty", "-m", "c"];
    stage.world.git(commit).at("ours").ok();
    stage.world.git(["push", "-q"]).at("ours").ok();
    let head = stage.world.git(["rev-parse", "HEAD"]).at("ours").ok();
    assert_eq!(
        stage.project.tip("refs/heads/main").as_deref(),
        Some(head.line())
    );
}
