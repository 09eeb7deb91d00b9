use std::collections::HashMap;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::address::redact;

mod refused;
mod ssh;

fn url(typed: &str) -> UpstreamUrl {
    match Address::parse(typed) {
        Ok(Address::Url(url, _)) => url,
        other => panic!("'{typed}' is a URL, not {other:?}"),
    }
}

fn refusal(typed: &str) -> String {
    match Address::parse(typed) {
        Err(bad) => bad.to_string(),
        Ok(address) => panic!("{typed:?} must be refused, not read as {address:?}"),
    }
}

#[test]
fn an_accepted_url_has_one_canonical_form_and_a_name() {
    let table = [
        // typed, canonical, name
        (
            "https://gitlab.example/g/p.git",
            "https://gitlab.example/g/p.git",
            "gitlab.example/g/p",
        ),
        (
            "https://gitlab.example/g/p",
            "https://gitlab.example/g/p",
            "gitlab.example/g/p",
        ),
        (
            "HTTPS://GitLab.Example:443/G/p//",
            "https://gitlab.example/G/p",
            "gitlab.example/G/p",
        ),
        (
            "mirror://gitlab.example/g/p",
            "https://gitlab.example/g/p",
            "gitlab.example/g/p",
        ),
        ("mirror://h:8443/p", "https://h:8443/p", "h+8443/p"),
        ("https://h:08443/p", "https://h:8443/p", "h+8443/p"),
        ("https://h:80/p", "https://h:80/p", "h+80/p"),
        ("http://h:80/p", "http://h/p", "http+h/p"),
        ("http://h:443/p", "http://h:443/p", "http+h+443/p"),
        ("https://u:p@h/p", "https://h/p", "h/p"),
        ("https://@h/p", "https://h/p", "h/p"),
        (
            "https://h/a%20b/%C3%A9",
            "https://h/a%20b/%C3%A9",
            "h/a%20b/%C3%A9",
        ),
        ("https://h/é", "https://h/é", "h/é"),
        ("https://h//a//b", "https://h//a//b", "h/@/a/@/b"),
        ("https://h/a/-b", "https://h/a/-b", "h/a/-b"),
        ("https://h/a/.git", "https://h/a/.git", "h/a/.git"),
        ("https://h/a.git.git", "https://h/a.git.git", "h/a.git"),
        ("https://h/a/..git", "https://h/a/..git", "h/a/..git"),
        ("https://h/~u/...", "https://h/~u/...", "h/~u/..."),
        (
            "https://h/https://g.example/p",
            "https://h/https://g.example/p",
            "h/https:/@/g.example/p",
        ),
        ("https://127.0.0.1/p", "https://127.0.0.1/p", "127.0.0.1/p"),
        ("https://127.1/p", "https://127.0.0.1/p", "127.0.0.1/p"),
        (
            "http://2130706433/p",
            "http://127.0.0.1/p",
            "http+127.0.0.1/p",
        ),
        ("https://0X7F.1/p", "https://127.0.0.1/p", "127.0.0.1/p"),
        ("https://1.2.3.0x4/p", "https://1.2.3.4/p", "1.2.3.4/p"),
        ("https://010.0.256/p", "https://8.0.1.0/p", "8.0.1.0/p"),
        ("https://h/a/./b/../../c//d/..", "https://h/c", "h/c"),
        ("https://h/../c", "https://h/c", "h/c"),
        (
            "https://h.example/@a/b@c",
            "https://h.example/%40a/b%40c",
            "h.example/%40a/b%40c",
        ),
        ("https://[::1]/p", "https://[::1]/p", "[--1]/p"),
        (
            "https://[0:0::1]:8443/p",
            "https://[::1]:8443/p",
            "[--1]+8443/p",
        ),
        ("https://my_host-1/p", "https://my_host-1/p", "my_host-1/p"),
        (
            "https://xn--bcher-kva.example/p",
            "https://xn--bcher-kva.example/p",
            "xn--bcher-kva.example/p",
        ),
        ("https://file/p", "https://file/p", "https+file/p"),
        ("https://http:80/p", "https://http:80/p", "http+80/p"),
        (
            "http://http:8080/p",
            "http://http:8080/p",
            "http+http+8080/p",
        ),
        ("/srv/git/p.git", "file:///srv/git/p.git", "file/srv/git/p"),
        (
            "file:///srv/git/p.git/",
            "file:///srv/git/p.git",
            "file/srv/git/p",
        ),
        (
            "FILE://LocalHost/srv//git/./p",
            "file:///srv/git/p",
            "file/srv/git/p",
        ),
        (
            "/home/me/p/.git",
            "file:///home/me/p/.git",
            "file/home/me/p/.git",
        ),
        (
            "/a b/c#?%20",
            "file:///a%20b/c%23%3F%2520",
            "file/a%20b/c%23%3F%2520",
        ),
        ("file:///a%20b/%C3%A9", "file:///a%20b/é", "file/a%20b/é"),
        ("/a/x://y@z", "file:///a/x:/y@z", "file/a/x:/y@z"),
    ];
    for (typed, canonical, name) in table {
        let url = url(typed);
        assert_eq!(url.as_str(), canonical, "canonical form of {typed:?}");
        assert_eq!(url.to_string(), canonical);
        assert_eq!(url.mirror_name().as_ref(), name, "name of {typed:?}");
    }
}

#[test]
fn what_is_too_long_for_a_name_is_called_by_its_hash_and_its_end() {
    let deep = |top: &str| url(&format!("/{top}{}/project.git", "/some/where".repeat(40)));
    let (one, other) = (deep("a").mirror_name(), deep("b").mirror_name());
    assert_ne!(one, other);
    for name in [&one, &other] {
        assert!(name.as_ref().starts_with("long+"), "{name}");
        assert!(name.as_ref().ends_with("/some/where/project"), "{name}");
    }
    let unseen = |c: char| url(&format!("https://h/group/pro{c}ject")).mirror_name();
    let (one, other) = (unseen('\u{200b}'), unseen('\u{202e}'));
    assert_ne!(one, other);
    for name in [one, other] {
        let name = name.as_ref();
        assert!(
            name.starts_with("long+") && name.ends_with("/group/pro-ject"),
            "{name}"
        );
    }
    let wide = url(&format!("https://h/{}", "é".repeat(300))).mirror_name();
    assert!(wide.as_ref().ends_with("éé") && wide.as_ref().len() > 250);
}

#[test]
fn the_parts_of_a_url_are_told_apart() {
    let https = url("https://u:p@Gitlab.Example:8443/g/p.git");
    assert_eq!(https.scheme(), Scheme::Https);
    assert_eq!(
        (https.host(), https.port()),
        (Some("gitlab.example"), Some(8443))
    );
    assert_eq!(https.origin(), "https://gitlab.example:8443");
    assert_eq!(https.path(), "/g/p.git");
    assert_eq!(https.file_path(), None);
    assert_eq!(
        (url("https://h/p").port(), url("http://h/p").port()),
        (Some(443), Some(80))
    );

    let file = url("/a b/c%41");
    assert_eq!(
        (file.scheme(), file.host(), file.port()),
        (Scheme::File, None, None)
    );
    assert_eq!(file.origin(), "file://");
    assert_eq!(file.file_path(), Some(Path::new("/a b/c%41")));
    assert_eq!(url("file:///a%20b/c%2541"), file);
}

#[test]
fn a_login_is_decoded_and_kept_apart() {
    let table = [
        ("https://h/p", None),
        ("https://@h/p", None),
        ("https://u@h/p", Some(("u", None))),
        ("https://u:@h/p", Some(("u", Some("")))),
        ("https://:t@h/p", Some(("", Some("t")))),
        ("https://u:-t@h/p", Some(("u", Some("-t")))),
        ("https://u:a:b@h/p", Some(("u", Some("a:b")))),
        ("https://u:a@b@h/p", Some(("u", Some("a@b")))),
        ("https://me%40x:%2f%3A%25@h/p", Some(("me@x", Some("/:%")))),
        (
            "mirror://oauth2:glpat-x@h/p",
            Some(("oauth2", Some("glpat-x"))),
        ),
    ];
    for (typed, login) in table {
        let Ok(Address::Url(_, found)) = Address::parse(typed) else {
            panic!("'{typed}' must be accepted");
        };
        let found = found
            .as_ref()
            .map(|login| (login.username.as_str(), login.password.as_deref()));
        assert_eq!(found, login, "login of {typed:?}");
    }
}

#[test]
fn what_is_no_url_is_a_name() {
    let names = [
        "gitlab.example/group/project",
        "project",
        "h+8443/p",
        "http+h/p",
        "[--1]+8443/p",
        "file/abs/path",
        "a/b:c",
        "[foo]bar/baz:qux", // t5601 'is not ssh'
        "[foo/bar]:baz",
        "a name/with spaces",
        ".hidden/x",
        "...",
    ];
    for name in names {
        let read = Name::parse(name).expect(name);
        assert_eq!(Address::parse(name), Ok(Address::Name(read)));
    }
}

#[test]
fn redaction_drops_userinfo_and_little_else() {
    let table = [
        ("no url, a@b", "no url, a@b"),
        ("https://h/p", "https://h/p"),
        ("https://u@h/p", "https://h/p"),
        ("https://u:p@h/p", "https://h/p"),
        ("https://u:a@b@h/p", "https://h/p"),
        ("https:///u:p@h/p", "https:///h/p"),
        ("mirror::https://u:p@h/p", "mirror::https://h/p"),
        ("ssh://git@h/p", "ssh://git@h/p"),
        ("'git+ssh://git@h/p': x@y", "'git+ssh://git@h/p': x@y"),
        ("ssh://u:p@h/p", "ssh://h/p"),
        ("ssh://git@u:p@h/p", "ssh://git@h/p"),
        ("ssh://a b@h/p", "ssh://a b@h/p"),
        (
            "fatal: unable to access 'https://u:p@h/p/': refused",
            "fatal: unable to access 'https://h/p/': refused",
        ),
        (
            "'https://h:8443/p' and 'http://u:p@i': x@y",
            "'https://h:8443/p' and 'http://i': x@y",
        ),
        ("https://h/p: ask admin@h", "https://h/p: ask admin@h"),
        (
            "'https://[::1]:8443': ask admin@h",
            "'https://[::1]:8443': ask admin@h",
        ),
        ("https://u:p/q@h/p", "https://h/p"),
        ("https://u:p q@h/p", "https://h/p"),
        ("https://u:it's@h/p", "https://h/p"),
        ("https://u:1/2@h/p", "https://h/p"),
        ("https://a:b@https://c:d@h/p", "https://h/p"),
        ("https://a:b@x https://c:d@h/p", "https://x https://h/p"),
        ("file:///home/a@b/c", "file:///home/a@b/c"),
        ("file://u:p@h/c", "file://h/c"),
        ("://u:p@h", "://h"),
        ("https://", "https://"),
    ];
    for (text, clean) in table {
        assert_eq!(redact(text), clean, "redacting {text:?}");
    }
}

#[test]
fn debug_shows_no_password() {
    let login = Login {
        username: "me".to_owned(),
        password: Some("S3CRET".to_owned()),
    };
    assert_eq!(
        format!("{login:?}"),
        r#"Login { username: "me", password: Some("<redacted>") }"#
    );
    let address = Address::parse("https://me:S3CRET@h/p").expect("valid");
    assert!(!format!("{address:?}").contains("S3CRET"));
}

/// Texts that are nearly, and often, addresses.
fn addresses() -> impl Strategy<Value = String> {
    let scheme = prop_oneof![
        Just("https://"),
        Just("HTTP://"),
        Just("file://"),
        Just("mirror://"),
        Just("ssh://"),
        Just("git+ssh://"),
        Just("ext::"),
        Just("/"),
        Just("")
    ];
    let userinfo = prop_oneof![3 => Just(String::new()), 1 => "[ -~]{0,6}@", 1 => "[a-z%0-9-]{0,4}:[a-z%0-9@/-]{0,6}@"];
    let host = prop_oneof![4 => "(http|file|h|h\\.x|H|127\\.0\\.0\\.1|\\[::1\\]|80)", 1 => "[a-zA-Z0-9.:_%-]{0,6}", 1 => "\\PC{0,4}"];
    let port = prop_oneof![3 => Just(String::new()), 1 => "(:443|:80|:8443)", 1 => ":[0-9+-]{0,6}"];
    let path = prop_oneof![
        3 => "(/(a|b|A|\\.{1,3}git|a?\\.git(\\.git)?|x:|\\+1|443|a%2Fb|%61)){0,3}/{0,2}",
        1 => "(/[a-z%0-9:.+ -]{0,4}){0,4}",
        1 => any::<String>(),
        1 => "(/([a-c.é]{100}|git|@)){1,4}(\\.git)?",
    ];
    (scheme, userinfo, host, port, path).prop_map(|(a, b, c, d, e)| format!("{a}{b}{c}{d}{e}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        let _ = Address::parse(&text);
        let _ = redact(&text);
    }

    #[test]
    fn what_is_accepted_is_canonical_and_harmless(typed in addresses()) {
        let clean = redact(&typed);
        prop_assert_eq!(redact(&clean), clean.clone());
        match Address::parse(&typed) {
            Err(bad) => prop_assert!(!bad.to_string().contains(char::is_control)),
            Ok(Address::Name(name)) => prop_assert_eq!(name.as_ref(), typed),
            Ok(Address::Url(url, _)) => {
                let again = Address::parse(url.as_str());
                prop_assert_eq!(again, Ok(Address::Url(url.clone(), None)));
                let name = url.mirror_name();
                prop_assert_eq!(Address::parse(name.as_ref()), Ok(Address::Name(name.clone())));
                let file = url.file_path().map(|path| path.to_str().expect("made from a str"));
                for text in [url.as_str(), &url.origin(), name.as_ref(), url.path(), file.unwrap_or_default(), url.ssh_path().unwrap_or_default()] {
                    prop_assert!(!text.contains(char::is_control), "control character in {text:?}");
                    prop_assert!(!text.starts_with('-') && !text.trim_start_matches('/').starts_with('-'));
                }
                prop_assert!(!url.host().unwrap_or_default().starts_with('-'));
                prop_assert!(!url.user().unwrap_or_default().starts_with('-'));
                prop_assert_eq!(redact(url.as_str()), url.as_str());
            }
        }
    }

    #[test]
    fn a_password_is_never_shown(secret in "[!-~]{0,4}S3CRET[!-~]{0,4}", end in "[ -~]{0,8}") {
        let typed = format!("https://u:{secret}@h/p{end}");
        let shown = match Address::parse(&typed) {
            Err(bad) => format!("{bad} {bad:?}"),
            Ok(Address::Url(url, login)) => format!("{url} {url:?} {login:?} {} {}", url.origin(), url.mirror_name()),
            Ok(Address::Name(_)) => unreachable!("it contains ://"),
        };
        prop_assert!(!shown.contains("S3CRET"), "{typed:?} shows {shown:?}");
        let said = redact(&format!("fatal: unable to access '{typed}': refused"));
        prop_assert!(!said.contains("S3CRET"), "{typed:?} says {said:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn two_urls_share_nothing_unless_they_are_one(typed in prop::collection::vec(addresses(), 1000)) {
        let mut canonical = HashMap::new();
        let mut parts = HashMap::new();
        let mut names = HashMap::new();
        for typed in typed {
            let Ok(Address::Url(url, _)) = Address::parse(&typed) else {
                continue;
            };
            let text = url.as_str().to_owned();
            let its_parts = (url.scheme(), url.user().map(str::to_owned), url.host().map(str::to_owned), url.port(), url.path().to_owned());
            let stem = text.strip_suffix(".git").unwrap_or(&text).to_owned();
            prop_assert_eq!(canonical.entry(text.clone()).or_insert(its_parts.clone()), &its_parts);
            prop_assert_eq!(parts.entry(its_parts).or_insert(text.clone()), &text);
            prop_assert_eq!(names.entry(url.mirror_name()).or_insert(stem.clone()), &stem);
        }
        prop_assert!(names.len() > 100, "the strategy makes URLs: {}", names.len());
    }
}
