//! The pages: each transcript in them is replayed word for word, and what they link to and name exists.

mod examples;
mod links;
mod transcript;

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

use tests::World;

use transcript::Transcript;

/// The directory of the whole project.
fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.expect("the tests are a part of it").to_owned()
}

/// Every Markdown file of the project: its path from the root, and its text.
fn pages() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    let mut dirs = vec![root()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("the project can be read") {
            let path = entry.expect("the project can be read").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    dirs.push(path);
                }
            } else if name.ends_with(".md") {
                let text = fs::read_to_string(&path).expect("a page is text");
                let path = path.strip_prefix(root()).expect("it is below the root");
                pages.push((path.display().to_string(), text));
            }
        }
    }
    pages.sort();
    pages
}

/// All transcripts of all pages.
fn transcripts() -> Vec<Transcript> {
    let pages = pages();
    let transcripts = pages
        .iter()
        .flat_map(|(page, text)| transcript::all(page, text));
    let transcripts: Vec<_> = transcripts.collect();
    let shown: usize = pages
        .iter()
        .map(|(_, text)| text.matches("```console").count())
        .sum();
    assert_eq!(transcripts.len(), shown, "none is left out");
    for page in ["README.md", "docs/"] {
        let found = transcripts.iter().any(|it| it.title.starts_with(page));
        assert!(found, "{page} has transcripts");
    }
    transcripts
}

#[test]
fn a_block_of_a_page_is_a_transcript_or_text() {
    for (page, text) in pages() {
        let fences = text
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix("```"));
        for kind in fences.step_by(2) {
            assert!(
                ["console", "text"].contains(&kind),
                "{page} has a block '{kind}' that nothing tries: a transcript is 'console', and what users copy is in examples/"
            );
        }
    }
}

// Slow: each transcript has a daemon and a server of its own, all at once.
#[test]
fn every_transcript_of_the_pages_is_what_happens() {
    let (of_service, others): (Vec<_>, Vec<_>) = transcripts()
        .into_iter()
        .partition(Transcript::needs_systemd);
    assert!(!of_service.is_empty() && !others.is_empty());
    thread::scope(|scope| {
        let replays: Vec<_> = others
            .iter()
            .map(|transcript| scope.spawn(|| transcript.replay(&World::new())))
            .collect();
        let results = replays.into_iter().map(|replay| replay.join());
        // Each thread has printed what was wrong.
        let wrong = results.zip(&others).filter(|(result, _)| result.is_err());
        let wrong: Vec<_> = wrong.map(|(_, transcript)| &transcript.title).collect();
        assert!(wrong.is_empty(), "not what happens: {wrong:?}");
    });
}

#[test]
fn every_transcript_of_the_service_is_what_happens() {
    for transcript in transcripts().iter().filter(|it| it.needs_systemd()) {
        let world = World::new();
        if let Some(_systemd) = world.systemd() {
            transcript.replay(&world);
        }
    }
}
