//! Mirrors are made and removed as wholes, and never share a directory.

use std::collections::BTreeSet;

use common::address::upstream_url::Address;

use super::*;
use crate::mirrors::settings::Rules;

fn url(text: &str) -> UpstreamUrl {
    match Address::parse(text) {
        Ok(Address::Url(url, _)) => url,
        other => panic!("'{text}' is no URL: {other:?}"),
    }
}

fn registry() -> (tempfile::TempDir, Registry) {
    let dir = tempfile::tempdir().expect("temp dir");
    let registry = Registry::new(dir.path().canonicalize().expect("there"));
    (dir, registry)
}

fn begin(registry: &Registry, settings: Settings) -> NewMirror {
    let begun = registry.begin_mirror(settings, gix::hash::Kind::Sha1);
    begun.expect("begun")
}

fn of_url(url: &UpstreamUrl) -> Settings {
    Settings::for_url(url, Rules::default())
}

fn named(name: &str, url: &UpstreamUrl) -> Settings {
    let name = Name::parse(name).expect("a name");
    Settings::new(name, url.clone(), Rules::default())
}

fn made(registry: &Registry, settings: Settings) -> Mirror {
    let dir = registry.free_dir(&settings.url).expect("readable");
    let made = registry.finish_mirror(begin(registry, settings), &dir);
    made.expect("finished")
}

#[test]
fn a_mirror_is_invisible_until_it_is_finished() {
    let (_dir, registry) = registry();
    let upstream = url("https://gitlab.example/group/project.git");
    let new = begin(&registry, of_url(&upstream));
    assert_eq!(registry.find(&upstream).expect("readable"), None);
    assert!(registry.mirrors().expect("readable").is_empty());
    let finished = registry.finish_mirror(new, &registry.first_dir(&upstream));
    let mirror = finished.expect("finished");
    let found = registry.find(&upstream).expect("readable");
    assert_eq!(found, Some(mirror.clone()));
    let found = registry.find_name(&upstream.mirror_name());
    assert_eq!(found.expect("readable"), Some(mirror));
}

#[test]
fn a_mirror_that_was_begun_and_not_finished_leaves_nothing() {
    let (dir, registry) = registry();
    drop(begin(&registry, of_url(&url("/some/where"))));
    let killed = begin(&registry, of_url(&url("/some/where")));
    std::mem::forget(killed);
    registry.sweep().expect("swept");
    assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 0);
}

#[test]
fn two_upstreams_never_share_a_directory() {
    let (_dir, registry) = registry();
    let urls = [
        "https://h/a/p",
        "https://h/A/p",
        "https://h/b/p",
        "http://h/a/p",
        "https://h:8443/a/p",
        "https://h/a/p.git",
    ];
    let dirs: BTreeSet<_> = urls
        .iter()
        .map(|text| {
            registry
                .first_dir(&url(text))
                .to_string_lossy()
                .to_lowercase()
        })
        .collect();
    assert_eq!(dirs.len(), urls.len(), "{dirs:?}");
}

#[test]
fn an_alias_leads_to_its_mirror_and_is_removed_with_it() {
    let (dir, registry) = registry();
    let (typed, real) = (url("https://h/g/p"), url("https://h/g/p.git"));
    let mirror = made(&registry, of_url(&real));
    registry.add_alias(&typed, &mirror).expect("linked");
    registry
        .add_alias(&typed, &mirror)
        .expect("again is no error");
    let found = registry.find(&typed).expect("readable");
    assert_eq!(found, Some(mirror.clone()));
    let all = registry.mirrors().expect("readable");
    assert_eq!(
        all,
        std::slice::from_ref(&mirror),
        "an alias is no second mirror"
    );
    registry.remove(&mirror.git_dir).expect("removed");
    assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 0);
}

#[test]
fn a_url_is_served_by_the_mirror_that_it_has_made_and_never_by_one_with_a_name() {
    let (_dir, registry) = registry();
    let upstream = url("https://h/g/p.git");
    let found = || registry.find(&upstream).expect("readable");
    let one = made(&registry, named("one", &upstream));
    assert_eq!(found(), None);
    let own = made(&registry, of_url(&upstream));
    made(&registry, named("two", &upstream));
    assert_eq!(found(), Some(own.clone()));
    // Another one that cannot be read changes nothing.
    fs::write(one.git_dir.join("config"), "[mirror").expect("ours");
    fs::remove_file(one.git_dir.join("config.copy")).expect("there");
    assert_eq!(found(), Some(own.clone()));
    registry.remove(&own.git_dir).expect("removed");
    assert!(registry.find(&upstream).is_err(), "it may be that one");
}

#[test]
fn an_alias_of_a_mirror_that_no_longer_serves_its_url_is_replaced() {
    let (_dir, registry) = registry();
    let (typed, real) = (url("https://h/g/p"), url("https://h/g/p.git"));
    let mirror = made(&registry, of_url(&real));
    registry.add_alias(&typed, &mirror).expect("linked");
    let renamed = Settings {
        serves_url: ServesUrl::Formerly,
        ..named("x", &real)
    };
    registry.change_settings(&mirror, renamed).expect("changed");
    assert_eq!(registry.find(&typed).expect("readable"), None);
    let next = made(&registry, of_url(&real));
    registry.add_alias(&typed, &next).expect("linked");
    assert_eq!(registry.find(&typed).expect("readable"), Some(next));
}

#[test]
fn no_two_mirrors_have_one_name() {
    let (_dir, registry) = registry();
    let (one, other) = (url("https://h/g/one"), url("https://h/g/other"));
    let begun = begin(&registry, named("x", &other));
    let mirror = made(&registry, named("x", &one));
    let refused = registry.finish_mirror(begun, &registry.first_dir(&other));
    assert!(refused.is_err());
    let second = made(&registry, named("y", &other));
    let same_name = Settings {
        name: mirror.settings.name.clone(),
        ..second.settings.clone()
    };
    assert!(registry.change_settings(&second, same_name).is_err());
    let free = |name: &str| {
        let name = Name::parse(name).expect("a name");
        registry.free_name(&name).expect("free").to_string()
    };
    assert_eq!((free("x"), free("z")), ("x-2".to_owned(), "z".to_owned()));
}

#[test]
fn a_mirror_follows_its_url_also_when_the_move_was_interrupted() {
    let (_dir, registry) = registry();
    let (old, new) = (url("https://h/g/old"), url("https://h/g/new"));
    let mirror = made(&registry, of_url(&old));
    let moved = Settings {
        url: new.clone(),
        ..mirror.settings.clone()
    };
    moved.write(&mirror.git_dir).expect("written");
    registry.sweep().expect("swept");
    assert_eq!(registry.find(&old).expect("readable"), None);
    let found = registry.find(&new).expect("readable").expect("there");
    assert_eq!(found.git_dir, registry.first_dir(&new));
    let back = Settings {
        url: old.clone(),
        ..found.settings.clone()
    };
    let back = registry.change_settings(&found, back).expect("moved");
    assert_eq!(back.git_dir, registry.first_dir(&old));
    assert_eq!(registry.find(&new).expect("readable"), None);
}
