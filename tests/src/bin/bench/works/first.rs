//! The first download of a large repository, and above all the memory that it takes.

use std::fs;

use crate::{
    contenders::args,
    figures::Job,
    stage::{Stage, Subject},
};

use super::{Way, Work};

/// Plain git, into an empty bare repository.
pub(crate) const FETCH: &str = "git fetch";
/// The daemon, for a new mirror.
pub(crate) const FIRST: &str = "mirrord add";

pub(super) fn download<'a>(stage: &'a Stage, subject: &'a Subject) -> Work<'a> {
    let fetch = Way {
        name: FETCH,
        prepare: Box::new(move || {
            let dir = stage.world.path("first.git");
            if dir.exists() {
                fs::remove_dir_all(&dir)?;
            }
            stage.git(stage.world.root(), &["init", "-q", "--bare", "first.git"]);
            Ok(Job {
                line: args(&["git", "fetch", "-q", &subject.url, "+refs/*:refs/*"]),
                writes: dir.clone(),
                dir,
                count: 1,
            })
        }),
        check: Box::new(move || {
            let dir = stage.world.path("first.git");
            is_whole(stage, subject, &dir.display().to_string())
        }),
    };
    let name = format!("{}-first", subject.name);
    let address = format!("mirror::{name}");
    let first = Way {
        name: FIRST,
        prepare: Box::new(move || {
            let url = subject.alias(stage, "first")?;
            subject.forget(stage, &name);
            let line = ["mirrord", "add", &name, &url, "--quiet", "--no-test"];
            Ok(Job {
                line: args(&line),
                dir: stage.world.root().to_path_buf(),
                writes: stage.world.path("nothing"),
                count: 1,
            })
        }),
        check: Box::new(move || is_whole(stage, subject, &address)),
    };
    Work::of(vec![fetch, first])
}

/// Looks whether all refs of upstream are there.
fn is_whole(stage: &Stage, subject: &Subject, address: &str) -> Result<(), String> {
    let refs = |address: &str| {
        let listed = stage.world.git(["ls-remote", "--refs", address]).run();
        listed.stdout
    };
    if refs(&subject.file_url()) == refs(address) {
        Ok(())
    } else {
        Err("not all refs are there".to_owned())
    }
}
