use common::{packs::link::LINKS, protocol::Failure};
use proptest::prelude::*;

use super::*;

/// A new bare repository's configuration, as git's format requires it.
const BARE: &str = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n";

fn repository(config: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("temp dir");
    std::fs::write(dir.path().join("config"), config).expect("written");
    dir
}

fn config(dir: &tempfile::TempDir) -> String {
    std::fs::read_to_string(dir.path().join("config")).expect("readable")
}

fn read(dir: &tempfile::TempDir) -> Settings {
    let found = Settings::read(dir.path());
    found.expect("readable").expect("a mirror")
}

fn url(text: &str) -> UpstreamUrl {
    match Address::parse(text) {
        Ok(Address::Url(url, _)) => url,
        _ => panic!("'{text}' is no URL"),
    }
}

fn settings() -> Settings {
    Settings::for_url(
        &url("https://gitlab.example/group/project.git"),
        Rules::default(),
    )
}

/// What is said when a setting is refused.
fn refusal(key: &str, value: &str) -> (String, String) {
    let (mut changed, before) = (settings(), settings());
    let failure = Failure::from(changed.set(key, value).expect_err("refused"));
    assert_eq!(changed, before, "nothing changes");
    (failure.message, failure.hint.unwrap_or_default())
}

#[test]
fn a_new_mirrors_settings_read_back_as_they_were_written() {
    for upstream in [
        "https://gitlab.example/group/a;d.git",
        "/srv/a \"b\" #c;d\\e",
        "git@gitlab.example:group/project.git",
    ] {
        let dir = repository(BARE);
        let settings = Settings::for_url(&url(upstream), Rules::default());
        settings.write_new(dir.path()).expect("written");
        assert_eq!(read(&dir), settings);
    }
}

#[test]
fn a_repository_that_is_no_mirror_has_no_settings() {
    let dir = repository(BARE);
    assert_eq!(Settings::read(dir.path()).expect("readable"), None);
}

#[test]
fn a_mirror_that_was_made_before_there_were_settings_has_their_defaults() {
    let dir = repository(
        "[core]\n\tbare = true\n[mirror]\n\tname = gitlab.example//project\n\
         \turl = https://gitlab.example//project.git\n\
         \ttrack = +refs/heads/*:refs/heads/*\n\ttrack = +refs/tags/*:refs/tags/*\n",
    );
    let found = read(&dir);
    assert_eq!(
        found,
        Settings::for_url(
            &url("https://gitlab.example//project.git"),
            Rules::default()
        )
    );
    assert_eq!(
        found.name.as_ref(),
        "gitlab.example/@/project",
        "its old name is none today"
    );
}

#[test]
fn a_mirror_of_an_older_version_serves_its_url_if_a_clone_of_that_made_it() {
    let (own, main) = ("gitlab.example/group/project", "+refs/heads/main");
    let table = [
        (own, "", "", ServesUrl::Yes),
        (&format!("{own}-2"), "", "", ServesUrl::Yes),
        (own, main, "\tautomatic = yes\n", ServesUrl::Formerly),
        ("other", "", "\tautomatic = yes\n", ServesUrl::Yes),
        (own, main, "", ServesUrl::Formerly),
        ("fork", "", "", ServesUrl::Formerly),
        (&format!("{own}-fork"), "", "", ServesUrl::Formerly),
        (&format!("{own}2"), "", "", ServesUrl::Formerly),
        ("fork", main, "\tserves-url = no\n", ServesUrl::No),
        (own, "", "\tserves-url = no\n", ServesUrl::No),
    ];
    for (name, track, more, serves) in table {
        let url = "https://gitlab.example/group/project.git";
        let text =
            format!("{BARE}[mirror]\n\turl = {url}\n\tname = {name}\n\ttrack = {track}\n{more}");
        assert_eq!(read(&repository(&text)).serves_url, serves, "{text}");
    }
}

#[test]
fn a_change_leaves_the_rest_of_the_configuration_alone() {
    let dir = repository(BARE);
    settings().write_new(dir.path()).expect("written");
    let before = config(&dir).replace("push = yes", "push = yes ; for now")
        + "[mirror \"theirs\"]\n\tpush = maybe\n# a word\n[user]\n\tname = me\n";
    std::fs::write(dir.path().join("config"), &before).expect("written");
    let mut changed = read(&dir);
    changed.set("push", "no").expect("a setting");
    changed.write(dir.path()).expect("written");
    assert_eq!(config(&dir), before.replace("push = yes", "push = no"));
    assert_eq!(read(&dir), changed);
}

#[test]
fn a_change_of_refspecs_that_is_under_way_is_known_and_leaves_no_trace() {
    let dir = repository(BARE);
    let mut settings = settings();
    settings.write_new(dir.path()).expect("written");
    let track = settings.rules.track.clone();
    settings
        .set("track", "refs/heads/main:refs/heads/main")
        .expect("sound");
    settings.track_change = Some(TrackChange {
        before: track,
        keep_untracked: true,
    });
    settings.write(dir.path()).expect("written");
    assert_eq!(read(&dir), settings);
    settings.track_change = None;
    settings.write(dir.path()).expect("written");
    assert_eq!(read(&dir), settings);
    let after = config(&dir);
    let has = |word| after.contains(word);
    assert!(!has("before") && !has("untracked"), "{after}");
}

#[test]
fn every_setting_is_shown_as_it_is_typed() {
    let shown: Vec<String> = settings()
        .entries()
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let expected = [
        "name=gitlab.example/group/project",
        "url=https://gitlab.example/group/project.git",
        "description=",
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
    ];
    assert_eq!(shown, expected);
}

#[test]
fn an_unknown_setting_is_refused_with_the_one_that_was_meant() {
    let near = [
        ("fresh_for", "fresh-for"),
        ("freshfor", "fresh-for"),
        ("--fresh-for", "fresh-for"),
        ("mirror.fresh-for", "fresh-for"),
        ("fresh", "fresh-for"),
        ("tracks", "track"),
        ("Atomc", "atomic"),
    ];
    for (typed, meant) in near {
        let (message, hint) = refusal(typed, "yes");
        assert_eq!(message, format!("unknown setting '{typed}'"));
        assert_eq!(hint, format!("did you mean '{meant}'?"));
    }
    for typed in ["name", "url", "interval", "", "keep-untracked", "\u{1b}[2J"] {
        let (message, hint) = refusal(typed, "yes");
        assert!(!message.contains(char::is_control), "{message:?}");
        assert!(!hint.contains(&format!("'{typed}'")), "{hint}");
    }
    let (_, hint) = refusal("interval", "1h");
    assert_eq!(
        hint,
        "there are 'description', 'track', 'every', 'sync-on-fetch', 'fresh-for', 'stale', 'stale-after', 'atomic', 'push', \
         'keep-history', 'fsck', 'wipe-guard' and 'link'"
    );
}

#[test]
fn a_bad_value_is_refused_with_those_that_there_are() {
    let table = [
        (
            "push",
            "yse",
            "'yse' is not a value of 'push'",
            "it may be 'yes' or 'no'; did you mean 'yes'?",
        ),
        (
            "fsck",
            "maybe",
            "'maybe' is not a value of 'fsck'",
            "it may be 'yes' or 'no'",
        ),
        (
            "atomic",
            "atuo",
            "'atuo' is not a value of 'atomic'",
            "it may be 'yes', 'no' or 'auto'; did you mean 'auto'?",
        ),
        (
            "stale",
            "",
            "'' is not a value of 'stale'",
            "it may be 'serve' or 'fail'",
        ),
        (
            "every",
            "soon",
            "'soon' is not a value of 'every'",
            "it may be a number and one of 's', 'm', 'h', 'd', as in '10m' or '1h', or 'never'",
        ),
        (
            "fresh-for",
            "10 minutes",
            "'10 minutes' is not a value of 'fresh-for'",
            "it may be a number and one of 's', 'm', 'h', 'd', as in '90s', '10m', '2h' or '30d', up to '36500d'",
        ),
        (
            "description",
            "a\u{1b}b",
            "'a^[b' is not a value of 'description'",
            "it may be any text without control characters other than line breaks and tabs",
        ),
    ];
    for (key, value, message, hint) in table {
        assert_eq!(refusal(key, value), (message.to_owned(), hint.to_owned()));
    }
    let (message, _) = refusal("track", "refs/heads/a:refs/heads/a main:x");
    assert!(
        message.starts_with("'main:x' cannot be tracked"),
        "{message}"
    );
}

#[test]
fn no_setting_takes_a_value_that_is_none_of_its_own() {
    for (key, value) in [
        ("sync-on-fetch", "perhaps"),
        ("fresh-for", "soon"),
        ("fresh-for", ""),
        ("stale", "never"),
        ("atomic", "sometimes"),
        ("keep-history", "-1d"),
        ("track", "refs/heads/*:refs/heads/one"),
    ] {
        refusal(key, value);
    }
}

#[test]
fn a_mirror_with_a_bad_setting_is_not_read_and_the_file_is_named() {
    let head = "[mirror]\n\turl = https://h/p\n\t";
    for (line, said) in [
        ("push = yse", "'yse' is not a value of 'push'"),
        ("push", "'' is not a value of 'push'"),
        ("fresh-for = 1x", "'1x' is not a value of 'fresh-for'"),
        (
            "url = https://u:p@h/p",
            "bad mirror.url: it is not a URL without credentials",
        ),
        (
            "url = h/p",
            "bad mirror.url: it is not a URL without credentials",
        ),
        (
            "keep-untracked = 7",
            "'7' is not a value of 'keep-untracked'",
        ),
    ] {
        let dir = repository(&format!("{head}{line}\n"));
        let said_of = Settings::read(dir.path()).expect_err(line).to_string();
        assert!(said_of.contains(said), "{said_of}");
        assert!(said_of.contains("/config'"), "{said_of}");
    }
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let text = prop_oneof!["[ \"\\\\#;=\\[\\]ab\n\té😀]{0,12}", "\\PC{0,12}"];
    let span = || (0..40_000_000_u64).prop_map(Duration::from_secs);
    let track = || {
        prop::sample::select(vec![
            "",
            "refs/heads/main:refs/heads/main",
            "+refs/heads/*:refs/heads/up/* +refs/tags/v*:refs/tags/v*",
        ])
        .prop_map(|text| {
            let mut track = Refspecs::everything();
            track.set(text).expect("sound");
            track
        })
    };
    let every = prop::option::of(span().prop_map(|span| span.max(Duration::from_secs(1))));
    let stale = prop_oneof![Just(Stale::Serve), Just(Stale::Fail)];
    let atomic = prop_oneof![Just(Atomic::Yes), Just(Atomic::No), Just(Atomic::Auto)];
    let link = prop::sample::select(LINKS.map(|(_, link)| link).to_vec());
    let change = (track(), any::<bool>()).prop_map(|(before, keep_untracked)| TrackChange {
        before,
        keep_untracked,
    });
    let name = "[a-zé#;\"\\\\]{1,9}( [a-z]{1,3})?";
    (
        (name, text, track(), prop::option::of(change), auth()),
        (every, span(), span(), span(), stale, atomic, link),
        any::<[bool; 5]>(),
    )
        .prop_map(
            |(texts, others, [sync_on_fetch, push, fsck, wipe_guard, automatic])| {
                let (name, description, track, track_change, auth) = texts;
                let (every, fresh_for, stale_after, keep_history, stale, atomic, link) = others;
                Settings {
                    name: Name::parse(&name).expect("a name"),
                    url: url("https://gitlab.example/group/project.git"),
                    description,
                    rules: Rules {
                        track,
                        every,
                        sync_on_fetch,
                        fresh_for,
                        stale,
                        stale_after,
                        atomic,
                        push,
                        keep_history,
                        fsck,
                        wipe_guard,
                        link,
                    },
                    auth,
                    automatic,
                    serves_url: ServesUrl::Formerly,
                    track_change,
                }
            },
        )
}

fn auth() -> impl Strategy<Value = Auth> {
    let id = || prop_oneof!["keyring:[0-9a-f]{32}", "file:[0-9a-f]{32}"];
    let id = move || id().prop_map(|text| SecretId::parse(&text));
    let text = "[a-z@ \"#;\\\\]{0,8}[a-z]";
    let password = (text, id()).prop_map(|(username, secret)| Auth::Password { username, secret });
    let ssh_key = (text, any::<bool>(), id()).prop_map(|(name, has, id)| Auth::SshKey {
        file: format!("/{name}").into(),
        passphrase: id.filter(|_| has),
    });
    prop_oneof![Just(Auth::AsGit), Just(Auth::Anonymous), password, ssh_key]
}

proptest! {
    // Each of them writes files to disk.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_settings_read_back_as_they_were_written(first in any_settings(), then in any_settings()) {
        let dir = repository(BARE);
        first.write_new(dir.path()).expect("written");
        prop_assert_eq!(read(&dir), first);
        then.write(dir.path()).expect("written");
        prop_assert_eq!(read(&dir), then.clone());
        then.write(dir.path()).expect("written");
        prop_assert_eq!(read(&dir), then);
    }

    #[test]
    fn what_is_shown_can_be_typed(settings in any_settings()) {
        let mut typed = Settings::new(settings.name.clone(), settings.url.clone(), Rules::default());
        for (key, value) in settings.entries().into_iter().skip(2) {
            typed.set(key, &value).expect("a value");
        }
        // What signs in is not for `set`.
        typed.auth = settings.auth.clone();
        let unseen = Settings { automatic: false, serves_url: ServesUrl::No, track_change: None, ..settings };
        prop_assert_eq!(typed, unseen);
    }
}
