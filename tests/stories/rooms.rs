//! The order of the rooms: a room imports only rooms that stand below it. ARCHITECTURE.md says what each is for.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The rooms of `mirrord`, from the top down. A line may import the lines below it, and rooms on one line may not import
/// each other.
const MIRRORD: [&[&str]; 13] = [
    &["main"],
    &["commands"],
    &["daemon"],
    &["webhook"],
    &["requests"],
    &["sync"],
    &["upkeep"],
    &["schedule"],
    &["upstream"],
    &["credentials", "repository"],
    &["mirrors"],
    &["process"],
    &["sample"],
];

/// The rooms of `common`, in the same way. `lib.rs` only names them.
const COMMON: [&[&str]; 7] = [
    &["lib"],
    &["client", "refspec"],
    &["git", "paths"],
    &["daemon_process", "progress"],
    &["no_progress", "protocol"],
    &["address"],
    &["log_level", "packs", "private_dir", "text"],
];

/// The rooms of `git-remote-mirror`, in the same way.
const HELPER: [&[&str]; 9] = [
    &["main"],
    &["helper"],
    &["through"],
    &["children", "fetch", "push"],
    &["daemon"],
    &["on_demand"],
    &["invocation"],
    &[
        "caller",
        "local_repo",
        "login_in_url",
        "options",
        "server_program",
    ],
    &[
        "git_line",
        "log",
        "names",
        "process_tree",
        "trace",
        "view",
        "wants",
    ],
];

/// The source files below a folder, each with the room that it belongs to: its first folder, or its own name.
fn files(src: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    let mut folders = vec![src.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension() == Some("rs".as_ref()) {
                let within = path.strip_prefix(src).expect("below it");
                let room = within.iter().next().expect("a name");
                let room = room.to_string_lossy().trim_end_matches(".rs").to_owned();
                found.push((room, path));
            }
        }
    }
    found
}

/// The first names of all paths that begin with `crate::`, also within the braces of a `use`.
fn imported(source: &str) -> BTreeSet<String> {
    named_after(source, "crate::")
}

/// The names that follow this beginning of a path, also within the braces of a `use`. Comments do not count.
fn named_after(source: &str, path: &str) -> BTreeSet<String> {
    let code = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let code = code.collect::<Vec<_>>().join("\n");
    let mut names = BTreeSet::new();
    for (at, found) in code.match_indices(path) {
        let is_inside = |before: char| {
            before == '$' || before == '_' || before == ':' || before.is_alphanumeric()
        };
        if code[..at].ends_with(is_inside) {
            continue;
        }
        let rest = &code[at + found.len()..];
        match rest.strip_prefix('{') {
            None => drop(names.insert(first_name(rest))),
            Some(list) => names.extend(entries(list).into_iter().map(first_name)),
        }
    }
    names
}

/// The entries of a list in braces, up to the brace that ends it.
fn entries(list: &str) -> Vec<&str> {
    let (mut entries, mut depth, mut begin) = (Vec::new(), 0, 0);
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => {
                entries.push(list[begin..at].trim());
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                entries.push(list[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    entries.retain(|entry| !entry.is_empty());
    entries
}

fn first_name(path: &str) -> String {
    let is_part = |character: &char| *character == '_' || character.is_alphanumeric();
    path.chars().take_while(is_part).collect()
}

/// The imports of these sources that go upwards, and the sources that are in no room.
fn faults(src: &Path, order: &[&[&str]]) -> Vec<String> {
    let floor = |room: &str| order.iter().position(|floor| floor.contains(&room));
    let mut faults = Vec::new();
    for (room, path) in files(src) {
        let name = path.strip_prefix(src).expect("below it").display();
        let Some(own) = floor(&room) else {
            faults.push(format!("'{name}' is in no room of the order"));
            continue;
        };
        let source = fs::read_to_string(&path).expect("a source");
        for other in imported(&source).into_iter().filter(|other| *other != room) {
            if floor(&other).is_none_or(|other| other <= own) {
                faults.push(format!(
                    "'{name}' imports '{other}', which is not below '{room}'"
                ));
            }
        }
    }
    faults.sort();
    faults
}

/// Files of a room that import each other in a circle. A folder in the room counts as one file, and the room's `mod.rs` is
/// not imported by name.
fn circle(src: &Path, room: &str) -> Vec<String> {
    let dir = src.join(room);
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, path) in files(&dir) {
        let source = fs::read_to_string(&path).expect("a source");
        let depth = path.strip_prefix(&dir).expect("below it").iter().count();
        let is_mod = path.ends_with("mod.rs");
        let above = "super::".repeat(depth - usize::from(is_mod));
        let own = imports.entry(file).or_default();
        own.extend(named_after(&source, &format!("crate::{room}::")));
        if !above.is_empty() {
            own.extend(named_after(&source, &above));
        }
    }
    let known: BTreeSet<String> = imports.keys().cloned().collect();
    for (file, names) in &mut imports {
        names.retain(|name| name != file && known.contains(name));
    }
    // A file that imports none of the others is in no circle.
    while let Some(free) = imports
        .iter()
        .find(|(_, names)| names.is_empty())
        .map(|(file, _)| file.clone())
    {
        imports.remove(&free);
        for names in imports.values_mut() {
            names.remove(&free);
        }
    }
    imports.into_keys().collect()
}

fn sources(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(name)
        .join("src")
}

#[test]
fn a_room_imports_only_rooms_that_stand_below_it() {
    assert_eq!(faults(&sources("mirrord"), &MIRRORD), Vec::<String>::new());
    assert_eq!(faults(&sources("common"), &COMMON), Vec::<String>::new());
    let helper = sources("git-remote-mirror");
    assert_eq!(faults(&helper, &HELPER), Vec::<String>::new());
}

#[test]
fn no_files_of_a_room_of_the_helper_import_each_other_in_a_circle() {
    for room in ["children", "fetch", "push"] {
        let src = sources("git-remote-mirror");
        assert_eq!(circle(&src, room), Vec::<String>::new(), "in '{room}'");
    }
}

#[test]
fn files_that_import_each_other_in_a_circle_are_named() {
    let src = tempfile::tempdir().expect("a folder");
    let put = |name: &str, source: &str| fs::write(src.path().join(name), source).expect("ours");
    fs::create_dir_all(src.path().join("fetch/link")).expect("ours");
    put("fetch/mod.rs", "mod link;\nuse self::refs::Refs;\n");
    put("fetch/refs.rs", "use super::{part, pack::Pack};\n");
    put("fetch/part.rs", "// use super::pack;\n");
    put("fetch/pack.rs", "use crate::fetch::{link::Linked};\n");
    put(
        "fetch/link/mod.rs",
        "mod method;\nuse self::method::Method;\n",
    );
    put("fetch/link/method.rs", "use super::super::refs;\n");
    assert_eq!(circle(src.path(), "fetch"), ["link", "pack", "refs"]);
}

#[test]
fn a_room_that_imports_upwards_is_named() {
    let src = tempfile::tempdir().expect("a folder");
    let put = |name: &str, source: &str| fs::write(src.path().join(name), source).expect("ours");
    fs::create_dir(src.path().join("sync")).expect("ours");
    put("main.rs", "mod sync;\nmod process;\n");
    put(
        "process.rs",
        "// crate::sync may be named here.\nuse crate::{\n    sync::{Engine, State},\n};\n",
    );
    put(
        "sync/mod.rs",
        "use crate::process::Watch;\nfn x() { crate::main::y() }\n",
    );
    put("other.rs", "");
    let order: [&[&str]; 3] = [&["main"], &["sync"], &["process"]];
    assert_eq!(
        faults(src.path(), &order),
        [
            "'other.rs' is in no room of the order",
            "'process.rs' imports 'sync', which is not below 'process'",
            "'sync/mod.rs' imports 'main', which is not below 'sync'",
        ]
    );
}
