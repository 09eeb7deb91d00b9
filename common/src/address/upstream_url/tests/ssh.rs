//! ssh addresses: what git's t5500, t5601 and t5813 know of them, and what attackers have put into them.

use super::{refusal, url};
use crate::address::upstream_url::Scheme;

#[test]
fn an_ssh_address_is_read_as_git_reads_it() {
    let table = [
        // typed, canonical, path that is sent, name
        (
            "ssh://git@gitlab.example/g/p.git",
            "ssh://git@gitlab.example/g/p.git",
            "/g/p.git",
            "ssh+git@gitlab.example/g/p",
        ),
        (
            "git+ssh://git@gitlab.example/g/p",
            "ssh://git@gitlab.example/g/p",
            "/g/p",
            "ssh+git@gitlab.example/g/p",
        ),
        (
            "SSH+GIT://git@GitLab.Example:22/g/p//",
            "ssh://git@gitlab.example/g/p",
            "/g/p",
            "ssh+git@gitlab.example/g/p",
        ),
        ("ssh://h/p", "ssh://h/p", "/p", "ssh+h/p"),
        ("ssh://h:2222/p", "ssh://h:2222/p", "/p", "ssh+h+2222/p"),
        (
            "ssh://u@h:2222/p",
            "ssh://u@h:2222/p",
            "/p",
            "ssh+u@h+2222/p",
        ),
        ("ssh://h//p", "ssh://h//p", "//p", "ssh+h/@/p"),
        ("ssh://h/~/p", "ssh://h/~/p", "~/p", "ssh+h/~/p"),
        (
            "ssh://h/~u/p.git",
            "ssh://h/~u/p.git",
            "~u/p.git",
            "ssh+h/~u/p",
        ),
        ("ssh://h/%7Eu/p", "ssh://h/~u/p", "~u/p", "ssh+h/~u/p"),
        ("ssh://h//~u/p", "ssh://h//~u/p", "//~u/p", "ssh+h/@/~u/p"),
        (
            "ssh://h/a%20b%3f%23%25%40",
            "ssh://h/a%20b%3F%23%25%40",
            "/a b?#%@",
            "ssh+h/a%20b%3F%23%25%40",
        ),
        (
            "ssh://h/a'b\"$(c);`d`",
            "ssh://h/a'b\"$(c);`d`",
            "/a'b\"$(c);`d`",
            "ssh+h/a'b\"$(c);`d`",
        ),
        ("ssh://h/a://b", "ssh://h/a://b", "/a://b", "ssh+h/a:/@/b"),
        ("ssh://[::1]/p", "ssh://[::1]/p", "/p", "ssh+[--1]/p"),
        (
            "ssh://u@[0:0::1]:2222/p",
            "ssh://u@[::1]:2222/p",
            "/p",
            "ssh+u@[--1]+2222/p",
        ),
        (
            "ssh://[u@::1]:2222/p",
            "ssh://u@[::1]:2222/p",
            "/p",
            "ssh+u@[--1]+2222/p",
        ),
        (
            "ssh://[u@h:2222]/p",
            "ssh://u@h:2222/p",
            "/p",
            "ssh+u@h+2222/p",
        ),
        ("ssh://[h]:2222/p", "ssh://h:2222/p", "/p", "ssh+h+2222/p"),
        // An alias of the user's ssh configuration is no name of a host.
        (
            "ssh://git@Work/p",
            "ssh://git@Work/p",
            "/p",
            "ssh+git@Work/p",
        ),
        // scp's form with a path that does not depend on the login
        (
            "git@h:/g/p.git",
            "ssh://git@h/g/p.git",
            "/g/p.git",
            "ssh+git@h/g/p",
        ),
        ("h:/a%20b", "ssh://h/a%2520b", "/a%20b", "ssh+h/a%2520b"),
        ("h:/a b", "ssh://h/a%20b", "/a b", "ssh+h/a%20b"),
        ("h:~/p", "ssh://h/~/p", "~/p", "ssh+h/~/p"),
        ("h:~u/p", "ssh://h/~u/p", "~u/p", "ssh+h/~u/p"),
        ("h:/~u/p", "ssh://h/~u/p", "~u/p", "ssh+h/~u/p"),
        ("[u@h:2222]:/p", "ssh://u@h:2222/p", "/p", "ssh+u@h+2222/p"),
        (
            "user@[::1]:/~p",
            "ssh://user@[::1]/~p",
            "~p",
            "ssh+user@[--1]/~p",
        ),
        // and with one that does
        (
            "git@gitlab.example:g/p.git",
            "git@gitlab.example:g/p.git",
            "g/p.git",
            "scp+git@gitlab.example/g/p",
        ),
        (
            "git@GitLab.Example:g/p",
            "git@gitlab.example:g/p",
            "g/p",
            "scp+git@gitlab.example/g/p",
        ),
        ("h:p/", "h:p", "p", "scp+h/p"),
        ("c:temp", "c:temp", "temp", "scp+c/temp"),
        ("h:.git", "h:.git", ".git", "scp+h/.git"),
        ("h:22/p", "h:22/p", "22/p", "scp+h/22/p"),
        ("h:100%", "h:100%", "100%", "scp+h/100%"),
        ("[h:123]:p", "[h:123]:p", "p", "scp+h+123/p"),
        ("[h:22]:p", "h:p", "p", "scp+h/p"),
        (
            "[git@h:2222]:g/p.git",
            "[git@h:2222]:g/p.git",
            "g/p.git",
            "scp+git@h+2222/g/p",
        ),
        (
            "git@[h:2222]:g/p.git",
            "[git@h:2222]:g/p.git",
            "g/p.git",
            "scp+git@h+2222/g/p",
        ),
        ("[::1]:p", "[::1]:p", "p", "scp+[--1]/p"),
        ("[user@::1]:p", "user@[::1]:p", "p", "scp+user@[--1]/p"),
        ("u@h:a:b", "u@h:a:b", "a:b", "scp+u@h/a:b"),
        ("u@https:p", "u@https:p", "p", "scp+u@https/p"),
        ("u@h:a@b/c", "u@h:a@b/c", "a@b/c", "scp+u@h/a@b/c"),
        ("ssh://u@h/a@b", "ssh://u@h/a%40b", "/a@b", "ssh+u@h/a%40b"),
        ("u@h:/a@b", "ssh://u@h/a%40b", "/a@b", "ssh+u@h/a%40b"),
        // `..` is the server's.
        (
            "h:../p",
            "h:../p",
            "../p",
            "long+0eb9088b90f8569e555019a3f03485a4/-/p",
        ),
        (
            "ssh://h/a/%2e%2e/b/./c",
            "ssh://h/a/../b/./c",
            "/a/../b/./c",
            "long+42fc52a77b95bd49b238f9b324082408/a/-/b/-/c",
        ),
    ];
    for (typed, canonical, sent, name) in table {
        let url = url(typed);
        assert_eq!(url.as_str(), canonical, "canonical form of {typed:?}");
        assert_eq!(url.ssh_path(), Some(sent), "what is sent of {typed:?}");
        assert_eq!(url.mirror_name().as_ref(), name, "name of {typed:?}");
        assert_eq!(url.scheme(), Scheme::Ssh);
        assert_eq!(super::url(canonical), url, "{canonical} is canonical");
    }
}

#[test]
fn the_parts_of_an_ssh_address_are_told_apart() {
    let scp = url("[git@h:2222]:g/p.git");
    assert_eq!((scp.user(), scp.host()), (Some("git"), Some("h")));
    assert_eq!((scp.port(), scp.path()), (Some(2222), "g/p.git"));
    assert_eq!(scp.origin(), "ssh://git@h:2222");
    let plain = url("ssh://h/~/p");
    assert_eq!((plain.user(), plain.port()), (None, Some(22)));
    assert_eq!((plain.origin().as_str(), plain.path()), ("ssh://h", "/~/p"));
    assert_eq!(url("https://git@h/p").user(), None);
    assert_eq!(url("https://git@h/p").ssh_path(), None);
}

#[test]
fn nothing_can_be_slipped_into_ssh() {
    let table = [
        // CVE-2017-1000117 and its kin: an option in the place of a user, a host, a port, a path
        ("ssh://-oProxyCommand=x/p", "invalid host"),
        ("ssh://-oProxyCommand=x@h/p", "invalid user"),
        ("ssh://u@-oProxyCommand=x/p", "invalid host"),
        ("ssh://-/p", "invalid host"),
        ("ssh://[-oProxyCommand=x]/p", "invalid host"),
        ("ssh://[-oProxyCommand=x]:22/p", "invalid host"),
        ("ssh://[u@-oProxyCommand=x:22]/p", "invalid host"),
        ("ssh://[-oProxyCommand=x@h]:22/p", "invalid user"),
        ("ssh://h:-oProxyCommand=x/p", "invalid port"),
        ("ssh://h/-oProxyCommand=x", "invalid path"),
        ("ssh://h//-oProxyCommand=x", "invalid path"),
        ("ssh://h/%2doProxyCommand=x", "invalid path"),
        ("ssh://%2doProxyCommand=x/p", "invalid host"),
        ("ssh://%2doProxyCommand=x@h/p", "invalid user"),
        ("git+ssh://-F/p", "invalid host"),
        ("-oProxyCommand=x:p", "starts with '-'"),
        ("u@-oProxyCommand=x:p", "invalid host"),
        ("[-oProxyCommand=x]:p", "invalid host"),
        ("[-oProxyCommand=x:22]:p", "invalid host"),
        ("[-oProxyCommand=x@h]:p", "invalid user"),
        ("-u@[h:22]:p", "starts with '-'"),
        ("[h:-oProxyCommand=x]:p", "invalid port"),
        ("h:-oProxyCommand=x", "invalid path"),
        ("[h:22]:-p", "invalid path"),
        // what a shell, an OpenSSH token or another reader of the URL could make something of
        ("ssh://u;x@h/p", "invalid user"),
        ("ssh://$(x)@h/p", "invalid user"),
        ("ssh://`x`@h/p", "invalid user"),
        ("ssh://u|x@h/p", "invalid user"),
        ("ssh://u'x@h/p", "invalid user"),
        ("ssh://u%x@h/p", "invalid user"),
        ("ssh://%25h@h/p", "invalid user"),
        ("ssh://u%0a@h/p", "invalid user"),
        ("ssh://u x@h/p", "invalid user"),
        ("ssh://u@v@h/p", "invalid user"),
        ("ssh://u\\@h/p", "invalid user"),
        ("ssh://é@h/p", "invalid user"),
        ("ssh://@h/p", "invalid user"),
        ("@h:p", "invalid user"),
        ("u@v@h:p", "invalid user"),
        ("u@[v@h]:p", "invalid user"),
        ("ssh://h;x/p", "invalid host"),
        ("ssh://$(x)/p", "invalid host"),
        ("ssh://h%2fx/p", "invalid host"),
        ("ssh://h%00/p", "invalid host"),
        ("ssh://%68/p", "invalid host"),
        ("ssh://h h/p", "invalid host"),
        ("ssh://127.1/p", "invalid host"),
        ("ssh://h./p", "invalid host"),
        ("h;x:p", "invalid host"),
        ("h h:p", "invalid host"),
        ("ssh:///p", "invalid host"),
        ("ssh://", "invalid host"),
        (":p", "invalid host"),
        ("ssh://::1/p", "invalid host"),
        ("ssh://[::1/p", "invalid host"),
        ("ssh://[::1]x/p", "invalid host"),
        ("ssh://[]/p", "invalid host"),
        ("[h:p", "invalid host"),
        ("[h]x:p", "invalid host"),
        ("[[::1]:22]:p", "invalid host"),
        // a password is for http
        ("ssh://u:p@h/p", "invalid password"),
        ("ssh://:p@h/p", "invalid password"),
        ("ssh://u:p/q@h/p", "invalid path"),
        ("u:p@h:q", "invalid path"),
        ("ssh://h:/p", "invalid port"),
        ("ssh://h:0/p", "invalid port"),
        ("ssh://h:65536/p", "invalid port"),
        ("ssh://h:+22/p", "invalid port"),
        ("ssh://[h:22]:23/p", "invalid port"),
        ("ssh://h", "invalid path"),
        ("ssh://h/", "invalid path"),
        ("h:", "invalid path"),
        ("h:/", "invalid path"),
        ("ssh://h/p?x", "invalid path"),
        ("ssh://h/p#x", "invalid path"),
        ("ssh://h/%zz", "invalid path"),
        ("ssh://h/%ff", "invalid path"),
        ("ssh://h/a%0ab", "invalid path"),
        ("ssh://h/a%0db", "invalid path"),
        ("ssh://h/a%00b", "invalid path"),
        ("ssh://h/a%1bb", "invalid path"),
        ("ssh://h/a\nb", "a control character"),
        ("h:a\0b", "a control character"),
        ("ssh://h/a\\b", "'\\' is not allowed"),
        ("h:a\\b", "'\\' is not allowed"),
        // git would look for the host's end, or its beginning, in the path
        ("ssh://h/a%40[b]/c", "'@[' is not allowed"),
        ("h:a@[b]:c", "invalid path"),
        ("h:a~b", "git would drop"),
        ("h:a b", "'%20'"),
        // another reader would find a helper, or a scheme
        ("h::p", "transport 'h' is not allowed"),
        ("[h]::p", "invalid path"),
        ("u@h::p", "invalid path"),
        ("https:p", "'://' must follow the scheme"),
        ("[ssh]:p", "'://' must follow the scheme"),
        ("git@h:a://b", "scheme 'h:a' is not one of"),
        ("ssh:h/p", "'://' must follow the scheme"),
    ];
    assert!(table.len() >= 60);
    for (typed, part) in table {
        let message = refusal(typed);
        assert!(
            message.contains(part),
            "{typed:?} says {message:?}, not {part:?}"
        );
        assert!(!message.contains(char::is_control), "{message:?}");
    }
}
