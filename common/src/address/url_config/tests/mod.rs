use std::path::Path;
use std::process::Command;

use super::*;
use crate::address::upstream_url::Address;

mod rewritten;

fn pairs(config: &[(&str, &str)]) -> Vec<(String, String)> {
    config
        .iter()
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn parse(typed: &str) -> (UpstreamUrl, Option<String>) {
    match Address::parse(typed) {
        Ok(Address::Url(url, login)) => (url, login.map(|login| login.username)),
        other => panic!("'{typed}' is a URL, not {other:?}"),
    }
}

fn http(config: &[(&str, &str)], typed: &str) -> Vec<(String, String)> {
    let (url, user) = parse(typed);
    matching_for("http", &pairs(config), &url, user.as_deref())
}

/// What the real git prints, with nothing but `config` for its configuration.
fn git(config: &[(&str, &str)], home: &Path, arguments: &[&str]) -> Vec<u8> {
    let mut text = String::new();
    for (key, value) in config {
        let (section, rest) = key.split_once('.').expect("a key has a section");
        let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let (header, name) = match rest.rsplit_once('.') {
            Some((subsection, name)) => (format!("{section} \"{}\"", quote(subsection)), name),
            None => (section.to_owned(), rest),
        };
        text += &format!("[{header}]\n\t{name} = \"{}\"\n", quote(value));
    }
    std::fs::write(home.join("config"), text).expect("writable");
    let mut git = Command::new("git");
    git.env_clear()
        .env("PATH", std::env::var_os("PATH").expect("a PATH"));
    git.env("HOME", home)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", home.join("config"));
    let output = git
        .args(arguments)
        .current_dir(home)
        .output()
        .expect("git runs");
    assert!(
        output.status.code().is_some_and(|code| code <= 1),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// `git config --get-urlmatch` keeps the last accepted value of every variable, lists included.
fn git_urlmatch(config: &[(&str, &str)], home: &Path, url: &str) -> Vec<(String, String)> {
    let output = git(
        config,
        home,
        &["config", "-z", "--get-urlmatch", "http", url],
    );
    let output = String::from_utf8(output).expect("text");
    let pair = |entry: &str| {
        let (key, value) = entry.split_once('\n').expect("a value");
        (
            key.strip_prefix("http.").expect("http").to_owned(),
            value.to_owned(),
        )
    };
    output.split_terminator('\0').map(pair).collect()
}

const PRECEDENCE: &[(&str, &str)] = &[
    ("http.proxy", "everyone"),
    ("http.https://example.com.proxy", "host"),
    ("http.https://me@example.com/a.proxy", "user, path"),
    ("http.https://example.com/a.proxy", "path"),
    ("http.https://example.com/a/b/.proxy", "longer path"),
    ("http.https://*.example.com.proxy", "any label"),
    (
        "http.https://*.example.com/a/b/c.proxy",
        "any label, long path",
    ),
    ("http.https://*.*.com.proxy", "any two labels"),
    ("http.https://sub.example.com.proxy", "label"),
    ("http.https://you:x@example.com/a.proxy", "other user, path"),
    ("http.https://me@*.example.com/.proxy", "user, any label"),
    ("http.https://example.com:8443.proxy", "port"),
    ("http.http://example.com.proxy", "plain http"),
    ("http.sslVerify", "true"),
    ("http.https://example.com/a.sslVerify", "false"),
    ("http.sslVerify", "late but worse"),
    ("https.proxy", "another section"),
    ("httpx.https://example.com.proxy", "another section"),
];

const SPELLINGS: &[(&str, &str)] = &[
    (
        "http.HTTPS://Example.COM:0443/x/../P%61th.cookieFile",
        "path",
    ),
    (
        "http.https://example.com/%7eme/a%2fb/.cookieFile",
        "escapes",
    ),
    ("http.https://example.com/sp%20ce/é.cookieFile", "bytes"),
    ("http.https://example.com/raw sp ce.cookieFile", "raw space"),
    ("http.https://example.com/..cookieFile", "a dot at the end"),
    ("http.https://example.com/../x.cookieFile", "above the root"),
    ("http.https://example.com/%zz.cookieFile", "bad escape"),
    ("http.https://example.com:0/.cookieFile", "bad port"),
    ("http.https://example.com:port/.cookieFile", "bad port"),
    ("http.https://example.com:/colon.cookieFile", "empty port"),
    ("http.https:///p.cookieFile", "no host"),
    ("http.https://exa mple.com.cookieFile", "bad host"),
    ("http.example.com.cookieFile", "no scheme"),
    ("http.https://example.com/q?x.cookieFile", "query"),
    ("http.https://[::1]/p.cookieFile", "ipv6"),
    ("http.https://[::1]:8443.cookieFile", "ipv6 and port"),
    (
        "http.https://me%40home@example.com.cookieFile",
        "encoded user",
    ),
    ("http.https://@example.com/none.cookieFile", "empty user"),
    ("http.https://*.cookieFile", "one label"),
    ("http.https://ex*.com/.cookieFile", "not a label"),
    ("http.file:///srv.cookieFile", "file"),
    ("http.https://example.com//double.cookieFile", "two slashes"),
    ("http.https://example.com/a/./b/c/...cookieFile", "dots"),
];

#[test]
fn the_value_of_a_variable_is_the_one_git_takes() {
    let home = tempfile::tempdir().expect("a directory");
    let precedence = [
        "https://example.com/x",
        "https://example.com/a",
        "https://example.com/ab",
        "https://example.com/a/b",
        "https://example.com/a/b/c",
        "https://example.com:8443/a",
        "https://example.com:8444/a",
        "https://me@example.com/a",
        "https://me@example.com/a/b",
        "https://you@example.com/a",
        "https://them@example.com/a",
        "https://me:secret@example.com/a",
        "https://sub.example.com/a/b/c",
        "https://other.example.com/a/b/c",
        "https://me@other.example.com/x",
        "https://other.example.com/x",
        "https://a.b.example.com/x",
        "https://some.where.com/x",
        "https://example.org/a",
        "http://example.com/a",
        "http://example.com:443/a",
        "file:///example.com/a",
    ];
    let spellings = [
        "https://example.com/Path",
        "https://example.com/P%61th/x",
        "https://EXAMPLE.com:443/Path.git",
        "https://example.com/path",
        "https://example.com/~me/a%2Fb/c",
        "https://example.com/~me/a/b",
        "https://example.com/sp%20ce/%C3%A9",
        "https://example.com/sp%20ce/é/x",
        "https://example.com/raw%20sp%20ce",
        "https://example.com/x",
        "https://example.com/p",
        "https://example.com/colon/x",
        "https://example.com/q",
        "https://[::1]/p",
        "https://[0::1]:8443/p",
        "https://me%40home@example.com/x",
        "https://me@example.com/x",
        "https://example.com/none",
        "https://localhost/x",
        "https://two.labels/x",
        "https://exam.com/x",
        "file:///srv/git",
        "/srv/git",
        "https://example.com//double/x",
        "https://example.com/double/x",
        "https://example.com/a/b/x",
        "https://example.com/a/b/c/.../x",
    ];
    let cases = precedence
        .map(|url| (PRECEDENCE, url))
        .into_iter()
        .chain(spellings.map(|url| (SPELLINGS, url)));
    for (config, typed) in cases {
        let mut ours = http(config, typed);
        ours.sort();
        // git knows no bare path here, and does not shorten an IPv6 address.
        let canonical = parse(typed).0;
        let for_git = if typed.contains('@') {
            typed
        } else {
            canonical.as_str()
        };
        assert_eq!(
            ours,
            git_urlmatch(config, home.path(), for_git),
            "for {typed}"
        );
    }
}

#[test]
fn the_last_value_of_a_list_is_the_one_git_takes() {
    let home = tempfile::tempdir().expect("a directory");
    let config = &[
        ("http.extraHeader", "X: all"),
        ("http.https://a.example.extraHeader", "X: host"),
        ("http.extraHeader", "X: all, too late"),
        ("http.https://a.example/p.extraHeader", "X: path"),
        (
            "http.https://*.example/p.extraHeader",
            "X: any label, longer than the host",
        ),
    ];
    for typed in [
        "https://a.example/p",
        "https://a.example/q",
        "https://bb.example/p",
        "https://c.d/p",
    ] {
        let last = http(config, typed).pop().into_iter().collect::<Vec<_>>();
        assert_eq!(
            last,
            git_urlmatch(config, home.path(), typed),
            "for {typed}"
        );
    }
}

#[test]
fn a_list_keeps_what_was_no_worse_and_is_reset_by_an_empty_value() {
    let values = |config: &[(&str, &str)]| -> Vec<String> {
        http(config, "https://h/g/p")
            .into_iter()
            .map(|(_, value)| value)
            .collect()
    };
    assert_eq!(
        values(&[
            ("http.extraHeader", "A"),
            ("http.https://h.extraHeader", "B"),
            ("http.https://h/g.extraheader", "C")
        ]),
        ["A", "B", "C"]
    );
    assert_eq!(
        values(&[
            ("http.https://h.extraHeader", "B"),
            ("http.extraHeader", "A")
        ]),
        ["B"]
    );
    assert_eq!(
        values(&[("http.extraHeader", "A"), ("http.extraHeader", "A")]),
        ["A", "A"]
    );
    assert_eq!(
        values(&[
            ("http.extraHeader", "A"),
            ("http.https://h.extraHeader", ""),
            ("http.https://h.extraHeader", "B")
        ]),
        ["B"]
    );
    assert_eq!(
        values(&[
            ("http.https://h.extraHeader", "B"),
            ("http.extraHeader", "")
        ]),
        ["B"]
    );
    assert_eq!(
        values(&[
            ("http.extraHeader", "A"),
            ("http.https://h.extraHeader", ""),
            ("http.extraHeader", "C")
        ]),
        Vec::<String>::new()
    );
    assert_eq!(
        values(&[("http.curloptResolve", "A"), ("http.curloptResolve", "B")]),
        ["A", "B"]
    );
    assert_eq!(
        values(&[("http.proxy", "A"), ("http.https://h.proxy", "")]),
        [""]
    );
}

#[test]
fn values_come_in_the_order_of_the_configuration() {
    let config = &[
        ("http.proxy", "old"),
        ("http.extraHeader", "A"),
        ("http.sslVerify", "false"),
        ("http.proxy", "new"),
        ("http.extraHeader", "B"),
        ("http.cookieFile", "c"),
    ];
    let expected = [
        ("extraheader", "A"),
        ("sslverify", "false"),
        ("proxy", "new"),
        ("extraheader", "B"),
        ("cookiefile", "c"),
    ];
    assert_eq!(http(config, "https://h/p"), pairs(&expected));
    assert_eq!(
        matching("http", &pairs(config), &parse("https://h/p").0),
        pairs(&expected)
    );
}

#[test]
fn an_entry_for_a_user_does_not_match_without_one() {
    let config = pairs(&[("http.https://me@h.extraHeader", "X")]);
    let (url, _) = parse("https://h/p");
    assert_eq!(matching("http", &config, &url), []);
    assert_eq!(matching_for("http", &config, &url, Some("you")), []);
    assert_eq!(
        matching_for("http", &config, &url, Some("me")),
        pairs(&[("extraheader", "X")])
    );
}
