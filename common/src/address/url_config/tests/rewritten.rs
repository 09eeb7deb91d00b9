//! Rewritten addresses (`url.<base>.insteadOf`), against what git makes of them.

use super::*;

#[test]
fn a_rewrite_is_the_one_git_makes() {
    let home = tempfile::tempdir().expect("a directory");
    let config = &[
        ("url.https://a.example/.insteadOf", "gh:"),
        ("url.https://a.example/.insteadOf", "https://old.example/"),
        (
            "url.https://b.example/.insteadOf",
            "https://old.example/group/",
        ),
        ("url.https://c.example/.insteadof", "https://old.example/"),
        ("url.https://d.example/.insteadOf", "https://Tie.example/"),
        ("url.https://a.example/.insteadOf", "https://Tie.example/"),
        ("url./srv/git/.insteadOf", "https://local.example/"),
        (
            "url.ssh://git@e.example/.pushInsteadOf",
            "https://push.example/",
        ),
        ("url.x.insteadOf", "https://dots.example"),
        (
            "url.https://f.example/?q=.insteadOf",
            "https://odd.example/",
        ),
        ("url.https://g.example.insteadOf", "https://g.ex"),
    ];
    let urls = [
        "gh:me/p",
        "https://old.example/p",
        "https://old.example/group/p",
        "https://old.example/group",
        "https://OLD.example/p",
        "https://Tie.example/p",
        "https://local.example/p",
        "https://push.example/p",
        "https://dots.example/p",
        "https://odd.example/p",
        "https://g.example/p",
        "https://none.example/p",
    ];
    for url in urls {
        let ours = instead_of(&pairs(config), url).unwrap_or_else(|| url.to_owned());
        let git = git(config, home.path(), &["ls-remote", "--get-url", url]);
        assert_eq!(
            format!("{ours}\n"),
            String::from_utf8_lossy(&git),
            "for {url}"
        );
    }
}

#[test]
fn an_empty_prefix_rewrites_everything_as_in_git() {
    let home = tempfile::tempdir().expect("a directory");
    let config = &[
        ("url.x/.insteadOf", ""),
        ("url.y/.insteadOf", ""),
        ("url.z/.insteadOf", "https://h/"),
    ];
    for url in ["https://h/p", "https://i/p"] {
        let ours = instead_of(&pairs(config), url).expect("rewritten");
        let git = git(config, home.path(), &["ls-remote", "--get-url", url]);
        assert_eq!(
            format!("{ours}\n"),
            String::from_utf8_lossy(&git),
            "for {url}"
        );
    }
}

#[test]
fn a_rewrite_never_leads_back_to_us() {
    let config = pairs(&[
        ("url.mirror::https://.insteadOf", "https://"),
        ("url.mirror://.insteadOf", "https://"),
        ("url.Mirror::https://.insteadOf", "https://h/"),
        ("url.mirror.insteadOf", "https"),
        ("url.https://b/.insteadOf", "https://a/"),
    ]);
    assert_eq!(instead_of(&config, "https://h/p"), None);
    assert_eq!(
        instead_of(&config, "https://a/p").as_deref(),
        Some("https://b/p")
    );
}
