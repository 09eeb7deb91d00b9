//! What the pages link to and name: files, headings, stories; and how long they are.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Component, Path, PathBuf},
    process::Command,
};

use super::{pages, root};

/// The lines that README may have: four screens.
const MAX_README_LINES: usize = 160;

/// The characters that a line of prose may have. A row of a table cannot be broken.
const MAX_LINE: usize = 125;

/// Returns the lines of a page that are in no block.
fn prose(text: &str) -> Vec<&str> {
    let mut is_block = false;
    let is_prose = |line: &&str| {
        let is_fence = line.starts_with("```");
        is_block ^= is_fence;
        !is_block && !is_fence
    };
    text.lines().filter(is_prose).collect()
}

/// Returns the text outside backticks, and the pieces between them.
fn text_and_code(page: &str, prose: &str) -> (String, Vec<String>) {
    let pieces: Vec<_> = prose.split('`').map(str::to_owned).collect();
    assert_eq!(pieces.len() % 2, 1, "{page}: each backtick has another");
    let text: String = pieces.iter().step_by(2).map(String::as_str).collect();
    (text, pieces.into_iter().skip(1).step_by(2).collect())
}

/// Returns the targets of the links in a page.
fn targets(page: &str, text: &str) -> Vec<String> {
    let (text, _) = text_and_code(page, &prose(text).join("\n"));
    let links = text.split("](").skip(1);
    let targets = links.map(|rest| rest.split(')').next().unwrap_or_default().to_owned());
    targets.collect()
}

/// Returns the anchors that GitHub gives to the headings of a page.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut counts = HashMap::new();
    let lines = prose(text).into_iter();
    let headings = lines.filter(|line| line.starts_with('#'));
    let anchors = headings.map(|line| {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            _ => c.is_alphanumeric().then_some(c),
        });
        let anchor: String = kept.collect();
        let count = counts.entry(anchor.clone()).or_insert(0);
        *count += 1;
        match *count {
            1 => anchor,
            again => format!("{anchor}-{}", again - 1),
        }
    });
    anchors.collect()
}

/// Returns a path from the root, as a link of a page means it; None if it leads out of the project.
fn resolve(page: &str, target: &str) -> Option<PathBuf> {
    if target.is_empty() {
        return Some(page.into());
    }
    let mut path = Path::new(page).parent()?.to_owned();
    for part in Path::new(target).components() {
        match part {
            Component::ParentDir => path.pop().then_some(())?,
            Component::CurDir => {}
            part => path.push(part),
        }
    }
    Some(path)
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let pages: HashMap<_, _> = pages().into_iter().collect();
    let mut checked = 0;
    for (page, text) in &pages {
        for target in targets(page, text) {
            if target.contains("://") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = resolve(page, path).filter(|path| root().join(path).exists());
            let path = path.unwrap_or_else(|| panic!("{page} links to '{target}': no such file"));
            if !anchor.is_empty() {
                let text = pages.get(&path.display().to_string());
                let text = text.unwrap_or_else(|| panic!("{page}: '{target}' is no page"));
                let found = anchors(text).contains(anchor);
                assert!(found, "{page} links to '{target}': no such heading");
            }
            checked += 1;
        }
    }
    assert!(checked > 50, "there are more links than {checked}");
}

#[test]
fn every_file_that_a_page_names_exists() {
    let tops = [
        "common",
        "docs",
        "examples",
        "git-remote-mirror",
        "mirrord",
        "tests",
    ];
    let mut checked = 0;
    for (page, text) in pages() {
        for code in text_and_code(&page, &prose(&text).join("\n")).1 {
            let path = Path::new(&code);
            let top = path.components().next();
            let is_ours = tops
                .iter()
                .any(|it| top == Some(Component::Normal(it.as_ref())));
            if is_ours && path.extension().is_some() && !code.contains(char::is_whitespace) {
                assert!(root().join(path).exists(), "{page}: there is no '{code}'");
                checked += 1;
            }
        }
    }
    assert!(checked > 5, "there are more files than {checked}");
}

/// Returns the names of all stories.
fn stories() -> BTreeSet<String> {
    // It may have been built again since it was started.
    let listed = Command::new("/proc/self/exe").arg("--list").output();
    let listed = listed.expect("it lists its tests").stdout;
    let listed = String::from_utf8(listed).expect("names are text");
    let names = listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"));
    names.map(str::to_owned).collect()
}

#[test]
fn every_story_and_unit_test_that_a_page_names_exists() {
    let stories = stories();
    let is_name = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b':'))
    };
    let mut named = BTreeSet::new();
    for (page, text) in pages() {
        let files = text.split(['`', ' ', '\n']).filter(|word| {
            word.ends_with(".rs") && !word.contains('*') && root().join(word).is_file()
        });
        let sources: String = files
            .map(|file| fs::read_to_string(root().join(file)).expect("a source is text"))
            .collect();
        for word in text.split(['`', ' ', '\n']).filter(|word| is_name(word)) {
            if let Some((module, name)) = word.split_once("::") {
                if module == "mirror" || name.is_empty() {
                    continue;
                }
                assert!(stories.contains(word), "{page}: there is no story '{word}'");
                named.insert(word.to_owned());
            } else if word.matches('_').count() > 5 {
                let found = sources.contains(&format!("fn {word}("));
                assert!(found, "{page}: no file that it names has the test '{word}'");
            }
        }
    }
    assert!(named.len() > 100, "there are more stories than {named:?}");
}

#[test]
fn the_readme_has_four_screens_and_all_promises() {
    let pages: HashMap<_, _> = pages().into_iter().collect();
    let readme = &pages["README.md"];
    let lines = readme.lines().count();
    assert!(lines <= MAX_README_LINES, "README has {lines} lines");
    let (_, promises) = readme.split_once("\n## Promises\n").expect("it has them");
    let (promises, _) = promises.split_once("\n## ").expect("more follows");
    let is_numbered = |line: &&str| line.starts_with(|c: char| c.is_ascii_digit());
    let in_short = promises.lines().filter(is_numbered).count();
    let headings = pages["docs/promises.md"].lines();
    let headings = headings.filter_map(|line| line.strip_prefix("## "));
    assert_eq!(in_short, headings.filter(is_numbered).count());
}

#[test]
fn no_line_of_a_page_is_too_long() {
    for (page, text) in pages() {
        for line in prose(&text) {
            let is_too_long = line.chars().count() > MAX_LINE && !line.starts_with('|');
            assert!(!is_too_long, "{page}: a line over {MAX_LINE}: {line}");
        }
    }
}
