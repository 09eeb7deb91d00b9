//! What is no address is refused, in one line and without a login.

use super::*;

/// Vectors of git's t5500 (parse urls), t5601, t5813 and t0300, of gix-url, and of the CVEs named.
#[test]
fn everything_else_is_refused_in_one_line() {
    let table = [
        ("empty", "", "the address of the upstream is empty"),
        ("empty", " \t", "is empty"),
        // other helpers and transports (threat T2)
        (
            "ext",
            "ext::sh -c touch% /tmp/x",
            "transport 'ext' is not allowed",
        ),
        ("ext", "ext::ext://x", "transport 'ext'"),
        ("ext", "EXT::x", "transport 'EXT'"),
        ("fd", "fd::17", "transport 'fd'"),
        ("file", "file::/etc", "transport 'file'"),
        ("mirror", "mirror::https://h/p", "transport 'mirror'"),
        ("mirror", "mirror::mirror::ext::sh", "transport 'mirror'"),
        (
            "any",
            "codecommit::eu-central-1://repo",
            "transport 'codecommit'",
        ),
        ("any", "https::https://h/p", "transport 'https'"),
        ("nested", "mirror://mirror::ext::sh/p", "invalid host"),
        ("nested", "mirror://ext::sh/p", "invalid host"),
        ("unnamed", "::x", "invalid host"),
        (
            "scheme",
            "git://h/p",
            "scheme 'git' is not one of https, http, ssh, file",
        ),
        ("scheme", "git://-h/p", "scheme 'git'"),
        ("scheme", "ftp://h/p", "scheme 'ftp'"),
        ("scheme", "ftps://h/p", "scheme 'ftps'"),
        ("scheme", "rsync://h/p", "scheme 'rsync'"),
        ("scheme", "ext://sh -c x", "scheme 'ext'"),
        ("scheme", "javascript://h/p", "scheme 'javascript'"),
        ("scheme", "http+unix://sock/p", "scheme 'http+unix'"),
        ("scheme", "://h/p", "scheme ''"),
        ("scheme", " https://h/p", "scheme ' https'"),
        ("scheme", "foo/bar://h/p", "scheme 'foo/bar'"),
        ("scheme", "https:/h/p", "'://' must follow the scheme"),
        ("scheme", "https:h/p", "'://' must follow the scheme"),
        ("scheme", "file:/p", "'://' must follow the scheme"),
        ("scheme", "https:\\\\h\\p", "'://' must follow the scheme"),
        // CVE-2017-1000117, CVE-2024-32884, RUSTSEC-2023-0064
        ("dash", "-oProxyCommand=x/p", "starts with '-'"),
        ("dash", "--upload-pack=x", "starts with '-'"),
        ("dash", "-h:p", "starts with '-'"),
        ("dash", "ssh://-oProxyCommand=x/p", "invalid host"),
        ("dash", "ssh://u@-oProxyCommand=x/p", "invalid host"),
        ("dash", "ssh://[-oProxyCommand=x]:22/p", "invalid host"),
        ("dash", "ssh://-Fx@h/p", "invalid user"),
        ("dash", "ssh://h:-p/p", "invalid port"),
        ("dash", "ssh://h/-p", "invalid path"),
        ("dash", "u@-h:p", "invalid host"),
        ("dash", "h:-p", "invalid path"),
        (
            "dash",
            "https://-h/p",
            "invalid host in 'https://-h/p': it starts with '-'",
        ),
        ("dash", "https://u@-h/p", "invalid host"),
        ("dash", "https://-u@h/p", "invalid user"),
        ("dash", "https://%2du@h/p", "invalid user"),
        ("dash", "https://h:-1/p", "invalid port"),
        ("dash", "https://h/-p", "invalid path"),
        ("dash", "https://h//-p", "invalid path"),
        ("dash", "https://h/%2Dp", "invalid path"),
        ("dash", "mirror://-h/p", "invalid host"),
        ("dash", "/-p", "invalid path"),
        ("dash", "file:///-p", "it starts with '-'"),
        ("dash", "file:///%2d", "invalid path"),
        // CVE-2020-5260, CVE-2020-11008, CVE-2024-50349, CVE-2024-52006
        ("control", "https://h/p\n", "a control character"),
        ("control", "https://h/p\0", "a control character"),
        ("control", "ht\ttps://h/p", "a control character"),
        ("control", "https://h/p\u{7f}", "a control character"),
        ("control", "https://h/p\u{9b}31m", "a control character"),
        ("control", "name\rx", "a control character"),
        ("control", "https://h/a\rhost=evil", "a control character"),
        ("control", "https://u:%0d@h/p", "a control character"),
        ("control", "/tmp/a\nb", "a control character"),
        ("control", "https://h/%0ahost=evil", "invalid path"),
        ("control", "https://h/a%0Db", "invalid path"),
        ("control", "https://h/a%00b", "invalid path"),
        ("control", "https://h/a%1bb", "invalid path"),
        ("control", "https://h/a%7Fb", "invalid path"),
        ("control", "https://h/a%c2%9bb", "invalid path"),
        ("control", "https://u%0Ahost=evil@h/p", "invalid user"),
        ("control", "https://u:p%0dq@h/p", "invalid password"),
        ("control", "https://h%0ahost=evil/p", "invalid host"),
        ("control", "https://h%0d/p", "invalid host"),
        ("control", "https://%1b[31mh/p", "invalid host"),
        ("control", "file:///a%0Ab", "invalid path"),
        ("control", "file:///a%00", "invalid path"),
        // t0300: 'url parser handles bare query marker' and friends
        ("host", "https://", "invalid host"),
        ("host", "https:///p", "invalid host"),
        ("host", "mirror://", "invalid host"),
        ("host", "https://:443/p", "invalid host"),
        ("host", "https://u@/p", "invalid host"),
        ("host", "https://u:p@/p", "it is empty"),
        ("host", "https://good\\@evil/p", "write a space as '%20'"),
        ("host", "https://?host=h/p", "invalid host"),
        ("host", "https://h%2e/p", "invalid host"),
        ("host", "https://h h/p", "invalid host"),
        ("host", "https://h\u{a0}/p", "'xn--' form"),
        ("host", "https://bücher.example/p", "'xn--' form"),
        ("host", "https://h\\evil/p", "invalid host"),
        ("host", "https://a..b/p", "invalid host"),
        ("host", "https://h./p", "invalid host"),
        ("host", "https://../p", "invalid host"),
        ("host", "https://*.example/p", "invalid host"),
        ("host", "https://[::1/p", "invalid host"),
        ("host", "https://[]/p", "invalid host"),
        ("host", "https://[u@::1]/p", "invalid host"),
        ("host", "https://[::1]x/p", "invalid host"),
        ("host", "https://[fe80::1%25eth0]/p", "invalid host"),
        (
            "host",
            "https://::1/p",
            "an IPv6 address stands in brackets",
        ),
        ("host", "file://h/p", "a file URL has three slashes"),
        ("host", "file://u:p@localhost/p", "invalid host"),
        ("host", "https://1.2.3.4.5/p", "four decimal numbers"),
        ("host", "https://1.2.3.256/p", "four decimal numbers"),
        ("host", "https://256.1/p", "four decimal numbers"),
        ("host", "https://4294967296/p", "four decimal numbers"),
        ("host", "https://0x/p", "four decimal numbers"),
        ("host", "https://1.08/p", "four decimal numbers"),
        ("host", "https://1..2/p", "one of its dots"),
        ("port", "https://h:/p", "invalid port"),
        ("port", "https://h:0/p", "invalid port"),
        ("port", "https://h:65536/p", "invalid port"),
        ("port", "https://h:+443/p", "invalid port"),
        ("port", "https://h:443x/p", "invalid port"),
        ("port", "https://h:99999999999999999999/p", "invalid port"),
        ("port", "https://https://h/p", "invalid port"),
        (
            "path",
            "https://h",
            "invalid path in 'https://h': it is empty",
        ),
        ("path", "https://h//", "it is empty"),
        ("path", "/", "it is empty"),
        ("path", "file://", "it is empty"),
        ("path", "file://localhost/.", "it is empty"),
        ("path", "https://h/p?x", "takes no '?' or '#'"),
        ("path", "https://h?x/p", "takes no '?' or '#'"),
        ("path", "https://h/p#x", "takes no '?' or '#'"),
        ("path", "file:///p?x", "'%3F'"),
        ("path", "https://h/%zz", "two hexadecimal digits"),
        ("path", "https://h/p%4", "two hexadecimal digits"),
        ("path", "https://h/p%", "two hexadecimal digits"),
        ("path", "file:///p%+1", "two hexadecimal digits"),
        ("path", "file:///%ff", "not valid UTF-8"),
        ("path", "https://h/a/..", "it is empty"),
        ("path", "https://h?/../b", "takes no '?' or '#'"),
        ("path", "https://h/a/%2E./b", "'.' and '..'"),
        ("path", "https://h/a%2f..%2Fb", "'.' and '..'"),
        ("path", "/a/../b", "'.' and '..'"),
        ("path", "file:///a/%2e%2e/b", "'.' and '..'"),
        ("path", "https://h/a\\b", "'\\' is not allowed"),
        ("path", "https://h/a%5Cb", "'\\' is not allowed"),
        ("path", "https://h/a b", "'%20'"),
        ("path", "git@h:a b", "write a space as '%20'"),
        ("path", "https://h/a\u{2028}b", "'%20'"),
        ("path", "https://h/@a/b", "'%40'"),
        ("path", "https://u@h.example/@a/b", "'%40'"),
        ("path", "https://h.example:8443/@a/b", "'%40'"),
        ("login", "https://u%zz@h/p", "invalid user"),
        ("login", "https://u:%f@h/p", "invalid password"),
        ("login", "https://u:%ff@h/p", "not valid UTF-8"),
        ("login", "https://evil\\@h/p", "invalid user"),
        ("login", "https://u:p q@h/p", "invalid password"),
        (
            "relative",
            "./p",
            "'./p' is a relative path: use an absolute one, or one that begins with './'",
        ),
        ("relative", "../p", "is a relative path"),
        ("relative", ".", "is a relative path"),
        ("relative", "~/p", "is a relative path"),
        ("name", "p/", "it ends with '/'"),
        ("name", "a/../b", "'..' is not allowed"),
        ("name", "a/..", "'..' is not allowed"),
        ("name", "a//b", "'//' is not allowed"),
        ("name", " a", "white space"),
    ];
    assert!(table.len() >= 60);
    for (why, typed, part) in table {
        let message = refusal(typed);
        assert!(
            message.contains(part),
            "{why}: {typed:?} says {message:?}, not {part:?}"
        );
        assert!(
            !message.contains(char::is_control),
            "one plain line for {typed:?}: {message:?}"
        );
    }
}

#[test]
fn a_refusal_shows_nothing_of_a_login() {
    let secrets = [
        "S3CRET",
        "S3/CRET",
        "S3#CRET",
        "S3?CRET",
        "S3 CRET",
        "S3'CRET",
        "a://S3CRET",
        "12/S3CRET",
        "S3@CRET",
        "S3\nCRET",
        "%zzS3CRET",
    ];
    let shapes = [
        "https://u:{}@h:0/p",
        "https://{}@h/%2e./p",
        "http://u:{}@-h/p",
        "ftp://u:{}@h/p",
        "ssh://u:{}@h/p",
        "u:{}@h:p",
        "https:/u:{}@h/p",
        "file://u:{}@h/p",
        "mirror://u:{}@h/?",
        "https://u:{}@",
    ];
    for (secret, shape) in secrets
        .iter()
        .flat_map(|secret| shapes.map(|shape| (secret, shape)))
    {
        let typed = shape.replace("{}", secret);
        let bad = Address::parse(&typed).expect_err("every shape is refused");
        let shown = format!("{bad} {bad:?}");
        assert!(
            !shown.contains("S3") && !shown.contains("CRET"),
            "{typed:?} shows {shown:?}"
        );
    }
}
