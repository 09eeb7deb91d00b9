//! Fetches: of nothing new, and of commits that upstream has had since.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    contenders::{Contender, args},
    figures::Job,
    stage::{Stage, Subject},
};

use super::{Way, Work, same};

/// The mirror must fetch before it can answer.
const FIRST_CLIENT: &str = "mirror, first client";
/// Another client has fetched just before.
const IN_STEP: &str = "mirror, in step";
/// A helper that prints a file.
pub(crate) const FLOOR: &str = "git's floor";
/// A mirror that is set not to ask upstream.
pub(crate) const UNASKED: &str = "mirror, not asking";

/// What is over so soon is done more often.
const OFTEN: usize = 4;

/// Where a clone fetches from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    By(Contender),
    NotAsking,
    Floor,
}

/// A clone that fetches, and what it is called in the report.
#[derive(Clone, Copy)]
struct Client<'a> {
    stage: &'a Stage,
    subject: &'a Subject,
    from: From,
    name: &'static str,
}

pub(super) fn nothing<'a>(stage: &'a Stage, subject: &'a Subject) -> Work<'a> {
    let mut contenders = vec![Contender::Git, Contender::File, Contender::Mirror];
    contenders.extend(Contender::peers(stage.world.search_path()));
    contenders.retain(|contender| contender.fetch_line().is_some());
    let clients = contenders
        .into_iter()
        .map(|contender| (From::By(contender), contender.name()));
    Work {
        times: OFTEN,
        ..fetches(stage, subject, clients.collect(), 0)
    }
}

pub(super) fn unasked<'a>(stage: &'a Stage, subject: &'a Subject) -> Work<'a> {
    let file = Contender::File;
    let clients = vec![
        (From::Floor, FLOOR),
        (From::NotAsking, UNASKED),
        (From::By(file), file.name()),
    ];
    Work {
        times: 2 * OFTEN,
        ..fetches(stage, subject, clients, 0)
    }
}

pub(super) fn commits<'a>(stage: &'a Stage, subject: &'a Subject, count: usize) -> Work<'a> {
    let clients = vec![
        (From::By(Contender::Git), Contender::Git.name()),
        (From::By(Contender::File), Contender::File.name()),
        (From::By(Contender::Mirror), FIRST_CLIENT),
        (From::By(Contender::Mirror), IN_STEP),
    ];
    Work {
        in_order: true,
        ..fetches(stage, subject, clients, count)
    }
}

/// Clients that have all there is, after which upstream has so many more commits.
fn fetches<'a>(
    stage: &'a Stage,
    subject: &'a Subject,
    clients: Vec<(From, &'static str)>,
    commits: usize,
) -> Work<'a> {
    let client = |(from, name)| Client {
        stage,
        subject,
        from,
        name,
    };
    let clients: Vec<_> = clients.into_iter().map(client).collect();
    let ways = clients.iter().map(|client| client.way()).collect();
    let begin = move || {
        subject.warm(stage);
        for client in &clients {
            client.catch_up()?;
        }
        match commits {
            0 => Ok(()),
            _ => subject.advance(commits),
        }
    };
    Work {
        begin: Box::new(begin),
        ..Work::of(ways)
    }
}

impl<'a> Client<'a> {
    fn way(self) -> Way<'a> {
        Way {
            name: self.name,
            prepare: Box::new(move || {
                let dir = self.dir()?;
                Ok(Job {
                    line: self.line(),
                    writes: dir.clone(),
                    dir,
                    count: 1,
                })
            }),
            check: Box::new(move || self.check()),
        }
    }

    fn line(self) -> Vec<String> {
        let own = match self.from {
            From::By(contender) => contender.fetch_line(),
            From::NotAsking | From::Floor => None,
        };
        own.unwrap_or_else(|| args(&["git", "fetch", "-q"]))
    }

    /// Returns its clone, and makes it if there is none.
    fn dir(self) -> io::Result<PathBuf> {
        let Self { stage, subject, .. } = self;
        let name: String = self
            .name
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect();
        let url = match self.from {
            From::By(peer @ Contender::Peer(_)) => return self.by_peer(peer, &name),
            From::By(contender) => contender.address(subject, &subject.url),
            From::NotAsking => {
                let name = format!("{}-not-asking", subject.name);
                let url = subject.alias(stage, "not-asking")?;
                subject.in_step(stage, &name, &url, &["--sync-on-fetch", "no"]);
                format!("mirror::{name}")
            }
            From::Floor => {
                let file = stage.world.path(format!("{}-refs", subject.name));
                write_list(subject, &file)?;
                format!("floor::{}", file.display())
            }
        };
        subject.client(stage, &name, &url)
    }

    /// Only a clone that a peer has made is one that it knows.
    fn by_peer(self, peer: Contender, name: &str) -> io::Result<PathBuf> {
        let Self { stage, subject, .. } = self;
        let dir = stage.world.path("clients");
        let place = dir.join(format!("{}-{name}", subject.name));
        if !place.exists() {
            fs::create_dir_all(&dir)?;
            let to = place.display().to_string();
            let line = peer.clone_line(stage, subject, &["-n"], &subject.url, &to)?;
            let clone = stage.world.program("timed", ["1"]).args(&line);
            clone.at(&dir).within(super::PATIENCE).ok();
        }
        Ok(place)
    }

    /// Fetches what there is by now.
    fn catch_up(self) -> io::Result<()> {
        let fetch = self.stage.world.program("timed", ["1"]).args(self.line());
        // What goes wrong here goes wrong again where it is recorded.
        let _ = fetch.at(self.dir()?).within(super::PATIENCE).run();
        Ok(())
    }

    fn check(self) -> Result<(), String> {
        let dir = self.dir().map_err(|error| error.to_string())?;
        let branch = format!("refs/remotes/origin/{}", self.subject.branch());
        let parsed = self.stage.world.git(["rev-parse", &branch]).at(dir);
        same(&branch, parsed.run().line(), &self.subject.tip())
    }
}

/// Writes upstream's refs as a helper says them.
fn write_list(subject: &Subject, file: &Path) -> io::Result<()> {
    let dir = subject.upstream.dir().display().to_string();
    let refs = subject.upstream.git(["ls-remote", &dir]).ok();
    let mut list = format!("@refs/heads/{} HEAD\n", subject.branch());
    for line in refs.stdout.lines() {
        if let Some((id, name)) = line.split_once('\t')
            && name != "HEAD"
            // A helper does not say what a tag is of.
            && !name.ends_with("^{}")
        {
            list.push_str(&format!("{id} {name}\n"));
        }
    }
    fs::write(file, list)
}
