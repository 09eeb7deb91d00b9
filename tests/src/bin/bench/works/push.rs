//! Pushes: to upstream, straight and through the mirror, and of what stays on this machine.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::{
    contenders::args,
    figures::Job,
    repositories::{done, git},
    stage::{Stage, Subject},
};

use super::{Way, Work, same};

/// Plain git, to upstream over the line.
const STRAIGHT: &str = "plain git";
/// A branch that follows upstream.
pub(crate) const TRACKED: &str = "mirror, tracked branch";
/// Plain git, to a bare repository on this machine.
pub(crate) const BY_PATH: &str = "to a bare repository by path";
/// A branch that stays in the mirror.
pub(crate) const LOCAL: &str = "mirror, local branch";

/// What a push brings, and from what clone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    OneCommit,
    ManyCommits,
    FromDepth1,
}

/// So many commits are a large push, with so many bytes each that cannot be compressed.
const MANY: usize = 100;
const BYTES: usize = 200_000;

/// Where a push goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Straight,
    Tracked,
    ByPath,
    Local,
}

#[derive(Clone, Copy)]
struct Push<'a> {
    stage: &'a Stage,
    subject: &'a Subject,
    place: Place,
    what: What,
}

const UPSTREAM: [(&str, Place); 2] = [(STRAIGHT, Place::Straight), (TRACKED, Place::Tracked)];
const HERE: [(&str, Place); 2] = [(BY_PATH, Place::ByPath), (LOCAL, Place::Local)];

pub(super) fn one_commit<'a>(stage: &'a Stage, subject: &'a Subject) -> Work<'a> {
    Work {
        times: 2,
        ..pushes(stage, subject, What::OneCommit, &[UPSTREAM, HERE].concat())
    }
}

pub(super) fn many_commits<'a>(stage: &'a Stage, subject: &'a Subject) -> Work<'a> {
    pushes(stage, subject, What::ManyCommits, &UPSTREAM)
}

pub(super) fn from_depth_1<'a>(stage: &'a Stage, subject: &'a Subject) -> Work<'a> {
    pushes(stage, subject, What::FromDepth1, &UPSTREAM)
}

fn pushes<'a>(
    stage: &'a Stage,
    subject: &'a Subject,
    what: What,
    places: &[(&'static str, Place)],
) -> Work<'a> {
    let ways = places.iter().map(|&(name, place)| {
        let push = Push {
            stage,
            subject,
            place,
            what,
        };
        Way {
            name,
            prepare: Box::new(move || push.prepare()),
            check: Box::new(move || push.check()),
        }
    });
    Work::of(ways.collect())
}

impl Push<'_> {
    /// Makes a commit, and has whoever takes it know what upstream has.
    fn prepare(self) -> io::Result<Job> {
        let client = self.client()?;
        if self.place == Place::Tracked {
            self.subject.warm(self.stage);
        }
        match self.what {
            What::ManyCommits => {
                let mut random = File::open("/dev/urandom")?;
                for _ in 0..MANY {
                    let mut bytes = vec![0; BYTES];
                    random.read_exact(&mut bytes)?;
                    self.commit(&client, &bytes)?;
                }
            }
            What::OneCommit | What::FromDepth1 => {
                let mut text = fs::read(client.join("new")).unwrap_or_default();
                text.extend_from_slice(b"one more line\n");
                self.commit(&client, &text)?;
            }
        }
        Ok(Job {
            line: args(&["git", "push", "-q", "origin", &self.refspec()]),
            writes: client.clone(),
            dir: client,
            count: 1,
        })
    }

    /// There is no working tree, but an index that has all but what is new.
    fn commit(self, client: &Path, text: &[u8]) -> io::Result<()> {
        fs::write(client.join("new"), text)?;
        self.stage.git(client, &["add", "new"]);
        self.stage
            .git(client, &["commit", "-qm", "Say one thing more"]);
        Ok(())
    }

    fn target(self) -> String {
        let what = match self.what {
            What::OneCommit => "one",
            What::ManyCommits => "many",
            What::FromDepth1 => "shallow",
        };
        match self.place {
            Place::Straight => format!("refs/heads/pushed/straight-{what}"),
            Place::Tracked => format!("refs/heads/pushed/tracked-{what}"),
            Place::ByPath => format!("refs/heads/pushed/path-{what}"),
            Place::Local => "refs/heads/idea".to_owned(),
        }
    }

    fn refspec(self) -> String {
        format!("HEAD:{}", self.target())
    }

    /// Returns the clone that pushes there, and makes it if there is none.
    fn client(self) -> io::Result<PathBuf> {
        let Self { stage, subject, .. } = self;
        let (name, url) = match self.place {
            Place::Straight => ("push-straight", subject.url.clone()),
            Place::Tracked => {
                subject.warm(stage);
                ("push-tracked", format!("mirror::{}", subject.url))
            }
            Place::ByPath => {
                let bare = self.bare()?;
                ("push-path", bare.display().to_string())
            }
            Place::Local => {
                let name = format!("{}-local", subject.name);
                let branch = format!("+refs/heads/{}", subject.branch());
                let url = subject.alias(stage, "local")?;
                subject.in_step(stage, &name, &url, &["--track", &branch]);
                ("push-local", format!("mirror::{name}"))
            }
        };
        let client = match self.what {
            What::OneCommit => subject.client(stage, name, &url)?,
            What::ManyCommits => subject.client(stage, &format!("{name}-many"), &url)?,
            What::FromDepth1 => subject.shallow_client(stage, &format!("{name}-shallow"), &url)?,
        };
        if !client.join(".git/index").exists() {
            stage.git(&client, &["read-tree", "HEAD"]);
        }
        Ok(client)
    }

    /// Returns a bare repository like upstream, to push to by path.
    fn bare(self) -> io::Result<PathBuf> {
        let place = self
            .stage
            .world
            .path(format!("{}-bare.git", self.subject.name));
        if !place.exists() {
            let upstream = self.subject.upstream.dir();
            let mut clone = git(upstream, ["clone", "-q", "--bare", "--local"]);
            done(clone.arg(upstream).arg(&place))?;
        }
        Ok(place)
    }

    fn check(self) -> Result<(), String> {
        let text = |error: io::Error| error.to_string();
        let client = self.client().map_err(text)?;
        let head = self.stage.world.git(["rev-parse", "HEAD"]).at(&client).ok();
        let target = self.target();
        let there = match self.place {
            Place::Straight | Place::Tracked => {
                self.subject.upstream.tip(&target).unwrap_or_default()
            }
            Place::ByPath | Place::Local => {
                let listed = self
                    .stage
                    .world
                    .git(["ls-remote", "origin", &target])
                    .at(&client)
                    .run();
                let id = listed.line().split_whitespace().next();
                id.unwrap_or_default().to_owned()
            }
        };
        same(&target, &there, head.line())
    }
}
