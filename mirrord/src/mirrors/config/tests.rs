//! The file of the daemon's own settings, as people leave it and as we change it.

use proptest::prelude::*;

use super::*;

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("config");
    (dir, path)
}

fn written(content: &str) -> (tempfile::TempDir, PathBuf) {
    let (dir, path) = place();
    fs::write(&path, content).expect("written");
    (dir, path)
}

#[test]
fn without_a_file_everything_has_its_default() {
    let (_dir, path) = place();
    assert_eq!(Config::read(&path).expect("absent"), Config::default());
    let entries = Config::entries(&path).expect("absent");
    assert!(entries.iter().all(|setting| setting.is_default));
    let shown: Vec<String> = entries
        .into_iter()
        .map(|setting| format!("{}={}", setting.key, setting.value))
        .collect();
    let expected = [
        "track=+refs/heads/*:refs/heads/* +refs/tags/*:refs/tags/*",
        "every=1h",
        "sync-on-fetch=yes",
        "fresh-for=0s",
        "stale=serve",
        "stale-after=10s",
        "atomic=auto",
        "push=yes",
        "keep-history=30d",
        "fsck=no",
        "wipe-guard=yes",
        "link=auto",
        "syncs=16",
        "syncs-per-host=8",
        "remind-after=1d",
        "keep-unused=30d",
        "disk-budget=50G",
        "pass-through=yes",
        "webhook=no",
        "webhook-listen=127.0.0.1:0",
        "webhook-public-url=",
        "webhook-tls-cert=",
        "webhook-tls-key=",
    ];
    assert_eq!(shown, expected);
    assert!(!path.exists(), "to ask is to write nothing");
}

#[test]
fn what_is_set_is_kept_until_it_is_unset() {
    let (dir, _) = place();
    let path = dir.path().join("new/folder/config");
    Config::set(&path, "fresh-for", "600s").expect("a setting");
    Config::set(&path, "SYNCS", "4").expect("a setting");
    assert_eq!(Config::get(&path, "fresh-for").expect("readable"), "10m");
    let config = Config::read(&path).expect("readable");
    assert_eq!(config.defaults.fresh_for, Duration::from_secs(600));
    assert_eq!(config.syncs, 4);
    let own: Vec<_> = Config::entries(&path)
        .expect("readable")
        .into_iter()
        .filter(|setting| !setting.is_default)
        .map(|setting| setting.key)
        .collect();
    assert_eq!(own, ["fresh-for", "syncs"]);
    for key in ["fresh-for", "syncs", "push"] {
        Config::unset(&path, key).expect("a setting");
    }
    assert_eq!(Config::read(&path).expect("readable"), Config::default());
}

#[test]
fn comments_and_what_is_not_ours_stay() {
    let before =
        "# how I like it\n[mirror]\n\t# CI is slow\n\tstale = fail # really\n[alias]\n\tx = y\n";
    let (_dir, path) = written(before);
    Config::set(&path, "stale", "serve").expect("a setting");
    Config::set(
        &path,
        "track",
        "refs/heads/a:refs/heads/a refs/heads/b:refs/heads/b",
    )
    .expect("a setting");
    Config::unset(&path, "track").expect("a setting");
    let after = fs::read_to_string(&path).expect("readable");
    assert_eq!(after, before.replace("fail", "serve"));
}

#[test]
fn a_bad_file_is_named_with_what_is_bad_in_it() {
    for (content, said, hint) in [
        (
            "[mirror]\nfreshfor = 1m\n",
            "unknown setting 'freshfor' in '",
            "'fresh-for'",
        ),
        (
            "[mirror]\nname = x\n",
            "unknown setting 'name' in '",
            "'remind-after'",
        ),
        (
            "[mirror \"x\"]\npush = no\n",
            "unknown setting 'x.push' in '",
            "'push'",
        ),
        (
            "[mirror]\nsyncs = 0\n",
            "'0' is not a value of 'syncs' in '",
            "a number from 1 to",
        ),
        (
            "[mirror]\nevery = soon\n",
            "'soon' is not a value of 'every' in '",
            "or 'never'",
        ),
        (
            "[mirror]\npush = yse\n",
            "'yse' is not a value of 'push' in '",
            "'yes'",
        ),
        (
            "[mirror]\npush = no\n[mirror\n",
            "bad config line 3 in '",
            "",
        ),
        ("\0", "bad config line 1 in '", ""),
    ] {
        let (_dir, path) = written(content);
        let failure = Config::read(&path).expect_err(content);
        assert!(failure.message.contains(said), "{failure}");
        assert!(
            failure.message.contains(&path.display().to_string()),
            "{failure}"
        );
        assert!(failure.hint.unwrap_or_default().contains(hint), "{content}");
    }
}

#[test]
fn what_there_is_not_can_be_neither_set_nor_asked() {
    let (_dir, path) = place();
    for failure in [
        Config::set(&path, "remind", "1d").expect_err("unknown"),
        Config::unset(&path, "remind").expect_err("unknown"),
        Config::get(&path, "remind").expect_err("unknown"),
    ] {
        assert_eq!(failure.message, "unknown setting 'remind'");
        assert_eq!(
            failure.hint.as_deref(),
            Some("did you mean 'remind-after'?")
        );
    }
    Config::set(&path, "syncs", "many").expect_err("no number");
    Config::set(&path, "description", "x").expect_err("every mirror has its own");
    assert!(!path.exists());
}

#[test]
fn how_the_webhook_listens_is_written_as_a_whole_and_without_its_defaults() {
    let (_dir, path) = written("# mine\n[mirror]\n\tsyncs = 2\n");
    let before = fs::read_to_string(&path).expect("readable");
    Config::set_webhook(&path, &Webhook::default()).expect("nothing to do");
    assert_eq!(fs::read_to_string(&path).expect("readable"), before);
    let mut webhook = Webhook::default();
    for (key, value) in [
        ("webhook", "yes"),
        ("webhook-listen", "[::1]:4711"),
        ("webhook-public-url", "https://hooks.example/mirror"),
        ("webhook-tls-cert", "/etc/a certificate;#.pem"),
        ("webhook-tls-key", "/etc/key.pem"),
    ] {
        webhook.set(key, value).expect("a setting");
    }
    Config::set_webhook(&path, &webhook).expect("written");
    assert_eq!(Config::read(&path).expect("readable").webhook, webhook);
    Config::set_webhook(&path, &Webhook::default()).expect("written");
    assert_eq!(fs::read_to_string(&path).expect("readable"), before);
}

#[test]
fn what_makes_the_file_bad_can_be_taken_out() {
    let (_dir, path) = written("[mirror]\n\tfreshfor = 1m\n\tsyncs = 2\n");
    Config::read(&path).expect_err("unknown key");
    Config::unset(&path, "FreshFor").expect("it stands there");
    assert_eq!(Config::read(&path).expect("readable").syncs, 2);
}

#[test]
fn a_file_that_is_kept_elsewhere_stays_there() {
    let (dir, path) = place();
    let kept = dir.path().join("dotfiles");
    fs::write(&kept, "").expect("written");
    std::os::unix::fs::symlink(&kept, &path).expect("linked");
    Config::set(&path, "syncs", "3").expect("a setting");
    assert!(path.is_symlink());
    assert!(
        fs::read_to_string(&kept)
            .expect("readable")
            .contains("syncs = 3")
    );
}

proptest! {
    // Each of them writes many files to disk.
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn whatever_is_shown_can_be_set_and_is_shown_again(
        seconds in 0..9_000_000_u64, syncs in 1..=1000_usize, yes in any::<bool>()
    ) {
        let (_dir, path) = place();
        let mut config = Config { syncs, remind_after: Duration::from_secs(seconds), ..Config::default() };
        config.defaults.fsck = yes;
        config.defaults.keep_history = Duration::from_secs(seconds * 60);
        for (key, value) in config.clone().values().shown() {
            Config::set(&path, key, &value).expect("a setting");
            prop_assert_eq!(Config::get(&path, key).expect("readable"), value);
        }
        prop_assert_eq!(Config::read(&path).expect("readable"), config);
    }
}
