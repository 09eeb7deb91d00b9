//! What a server says with a refusal, as plain git shows it.

use tests::{Front, Passage, Ran};

use super::{Stage, project_at};

fn remote_lines(ran: &Ran) -> Vec<&str> {
    let lines = ran.stderr.lines();
    lines.filter(|line| line.starts_with("remote: ")).collect()
}

/// Answers each request with a status and a body.
fn refusing(status: &'static str, kind: &'static str, body: Vec<u8>) -> Front {
    Front::new(move |_| {
        let length = body.len();
        let challenge = "WWW-Authenticate: Basic realm=\"x\"";
        let head = format!(
            "HTTP/1.1 {status}\r\n{challenge}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        );
        Passage::Answer([head.as_bytes(), &body].concat())
    })
}

#[test]
fn the_text_of_a_refusal_is_shown_as_plain_git_shows_it() {
    let text = "first line\n\nthird line\n";
    let utf16 = |text: &str| -> Vec<u8> {
        let units = format!("\u{feff}{text}");
        units.encode_utf16().flat_map(u16::to_be_bytes).collect()
    };
    for (status, kind, body, shown) in [
        ("404 Not Found", "text/plain", text.into(), 3),
        (
            "401 Unauthorized",
            "text/plain; charset=utf-8",
            text.into(),
            3,
        ),
        ("403 Forbidden", "text/plain", text.into(), 3),
        (
            "404 Not Found",
            "text/plain; charset=utf-16",
            utf16("na\u{ef}ve\n"),
            1,
        ),
        (
            "404 Not Found",
            "text/plain; foo=bar ;charset=utf-16",
            utf16(text),
            3,
        ),
        ("404 Not Found", "text/html", text.into(), 0),
        ("404 Not Found", "text/plain", Vec::new(), 0),
    ] {
        let stage = Stage::new();
        stage.replies("", "username=me\npassword=wrong\n");
        let front = refusing(status, kind, body);
        let url = project_at(&front);
        let plain = stage.ls_remote(&url).fails();
        let ours = stage.ls_remote(&format!("mirror::{url}")).fails();
        assert_eq!(remote_lines(&plain), remote_lines(&ours), "{plain}{ours}");
        assert_eq!(remote_lines(&ours).len(), shown, "{plain}{ours}");
    }
}

#[test]
fn a_refusal_that_is_shown_tells_a_terminal_nothing() {
    let stage = Stage::new();
    let front = refusing(
        "404 Not Found",
        "text/plain",
        b"\x1b]0;x\x07 and a token".to_vec(),
    );
    let ran = stage
        .ls_remote(&format!("mirror::{}", project_at(&front)))
        .fails();
    insta::assert_snapshot!(ran.shown(), @"
    remote: ^[]0;x^G and a token
    error: repository 'http://gitlab.example/group/project.git' not found
    hint: check the address; a private project needs a login
    ");
}
