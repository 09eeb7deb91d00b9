//! The tables of `docs/configuration.md`, which are generated from the two tables in the documentation of `settings`.
//!
//! The tests compare those tables with the code: each key, its default, and its values where these are a few words.

use std::{collections::BTreeSet, env, fs};

use common::address::upstream_url::{Address, UpstreamUrl};

use super::{
    config::Config,
    settings::{
        Auth, Rules, SecretId, Settings, TrackChange,
        entries::{Entries, SECTION},
        file::ConfigFile,
        value::Refusal,
    },
};

/// The source with the documentation of the settings.
const SOURCE: &str = include_str!("settings/mod.rs");

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");

/// The variable that has the tests write the page if its value is `pages`.
const WRITE_VARIABLE: &str = "MIRROR_TESTS_WRITE";

/// The line before each generated table of the page, in the order of the source, and the line after each.
const BEGINS: [&str; 2] = [
    "<!-- begin: settings of a mirror -->",
    "<!-- begin: settings of the daemon -->",
];
const END: &str = "<!-- end -->";

/// One row of a table.
struct Row<'a> {
    key: &'a str,
    values: &'a str,
    default: &'a str,
}

/// Returns the tables in the documentation of the settings, as the page has them.
fn tables() -> [String; 2] {
    let documentation = SOURCE.lines().map_while(|line| line.strip_prefix("//!"));
    let lines: Vec<_> = documentation.map(str::trim).collect();
    let tables = lines.split(|line| !line.starts_with('|'));
    let tables = tables.filter(|table| !table.is_empty());
    let tables: Vec<_> = tables.map(|table| table.join("\n")).collect();
    tables.try_into().expect("there are two tables")
}

fn rows(table: &str) -> Vec<Row<'_>> {
    let row = |line| match *str::split(line, " | ").collect::<Vec<_>>() {
        [key, _, values, default] => Row {
            key: key
                .strip_prefix("| `mirror.")
                .and_then(|key| key.strip_suffix('`'))
                .expect("a key in backticks"),
            values,
            default: default.strip_suffix(" |").expect("the row ends"),
        },
        _ => panic!("a row has a key, a meaning, values and a default: {line}"),
    };
    table.lines().skip(2).map(row).collect()
}

/// Compares the rows with the values of the code, where the code has one for the key.
fn compare(rows: &[Row<'_>], mut entries: Entries<'_>) {
    let shown = entries.shown();
    for ((key, value), (_, shown)) in entries.0.iter_mut().zip(shown) {
        let row = rows.iter().find(|row| row.key == *key);
        let row = row.unwrap_or_else(|| panic!("'{key}' is not in the table"));
        let default = match row.default {
            "blank" => "",
            "all branches and tags" => "+refs/heads/*:refs/heads/* +refs/tags/*:refs/tags/*",
            other => other.trim_matches('`'),
        };
        assert_eq!(default, shown, "the default of '{key}'");
        if let Err(Refusal::OneOf(choices)) = value.set("\u{1}") {
            let choices: Vec<_> = choices.iter().map(|word| format!("`{word}`")).collect();
            assert_eq!(row.values, choices.join(", "), "the values of '{key}'");
        }
    }
}

/// Returns every key that is written into the configuration of some mirror.
fn written_keys() -> BTreeSet<String> {
    let url = url();
    let secret = || SecretId::parse(&format!("file:{}", "0".repeat(32)));
    let ssh_key = Auth::SshKey {
        file: "/key".into(),
        passphrase: secret(),
    };
    let password = Auth::Password {
        username: "me".into(),
        secret: secret(),
    };
    let mut keys = BTreeSet::new();
    for auth in [ssh_key, password] {
        let dir = tempfile::tempdir().expect("a directory");
        let config = dir.path().join("config");
        fs::write(&config, "[core]\n\tbare = true\n").expect("ours");
        let rules = Rules::default();
        let settings = Settings {
            auth,
            automatic: true,
            track_change: Some(TrackChange {
                before: rules.track.clone(),
                keep_untracked: true,
            }),
            ..Settings::for_url(&url, rules)
        };
        settings.write_new(dir.path()).expect("written");
        keys.extend(ConfigFile::read(&config).expect("there").names(SECTION));
    }
    keys
}

fn url() -> UpstreamUrl {
    match Address::parse("https://gitlab.example/group/project.git") {
        Ok(Address::Url(url, _)) => url,
        _ => panic!("it is a URL"),
    }
}

/// Returns the page with these tables.
fn with_tables(page: &str, tables: &[String; 2]) -> String {
    let mut page = page.to_owned();
    for (begin, table) in BEGINS.iter().zip(tables) {
        let (before, rest) = page.split_once(begin).expect("the page has the place");
        let (_, after) = rest.split_once(END).expect("the place ends");
        page = format!("{before}{begin}\n\n{table}\n\n{END}{after}");
    }
    page
}

#[test]
fn the_page_about_the_settings_has_the_tables_of_their_documentation() {
    let found = fs::read_to_string(PAGE).expect("the page is there");
    let expected = with_tables(&found, &tables());
    if env::var(WRITE_VARIABLE).is_ok_and(|value| value == "pages") {
        fs::write(PAGE, expected).expect("written");
        return;
    }
    assert!(
        found == expected,
        "docs/configuration.md is out of date; {WRITE_VARIABLE}=pages writes its tables"
    );
}

#[test]
fn every_setting_of_a_mirror_is_documented_with_its_default_and_its_values() {
    let [table, _] = tables();
    let rows = rows(&table);
    let documented: BTreeSet<_> = rows.iter().map(|row| row.key.to_owned()).collect();
    assert_eq!(documented.len(), rows.len(), "each key has one row");
    assert_eq!(documented, written_keys());
    compare(&rows, Rules::default().values());
}

#[test]
fn every_setting_of_the_daemon_is_documented_with_its_default_and_its_values() {
    let [of_mirrors, of_daemon] = tables();
    let own = rows(&of_daemon);
    let mut rows = rows(&of_mirrors);
    let from_track = rows.iter().position(|row| row.key == "track");
    rows.drain(..from_track.expect("the defaults of new mirrors begin with it"));
    let to_link = rows.iter().position(|row| row.key == "link");
    rows.truncate(to_link.expect("the defaults of new mirrors end with it") + 1);
    rows.extend(own);
    let mut config = Config::default();
    let documented: Vec<_> = rows.iter().map(|row| row.key).collect();
    assert_eq!(documented, config.values().keys());
    compare(&rows, config.values());
}
