//! Pushes: to upstream, straight and through the mirror, and of what stays on this machine.

use std::{fs, io, path::PathBuf};

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
}

pub(super) fn one_commit<'a>(stage: &'a Stage, subject: &'a Subject) -> Work<'a> {
    let places = [
        (STRAIGHT, Place::Straight),
        (TRACKED, Place::Tracked),
        (BY_PATH, Place::ByPath),
        (LOCAL, Place::Local),
    ];
    let ways = places.into_iter().map(|(name, place)| {
        let push = Push {
            stage,
            subject,
            place,
        };
        Way {
            name,
            prepare: Box::new(move || push.prepare()),
            check: Box::new(move || push.check()),
        }
    });
    Work {
        times: 2,
        ..Work::of(ways.collect())
    }
}

impl Push<'_> {
    /// Makes a commit, and has whoever takes it know what upstream has.
    fn prepare(self) -> io::Result<Job> {
        let client = self.client()?;
        if self.place == Place::Tracked {
            self.subject.warm(self.stage);
        }
        // There is no working tree, but an index that has all but what is new.
        let path = client.join("new");
        let before = fs::read_to_string(&path).unwrap_or_default();
        fs::write(&path, format!("{before}one more line\n"))?;
        self.stage.git(&client, &["add", "new"]);
        self.stage
            .git(&client, &["commit", "-qm", "Say one thing more"]);
        Ok(Job {
            line: args(&["git", "push", "-q", "origin", &self.refspec()]),
            writes: client.clone(),
            dir: client,
            count: 1,
        })
    }

    fn target(self) -> String {
        match self.place {
            Place::Straight => "refs/heads/pushed/straight".to_owned(),
            Place::Tracked => "refs/heads/pushed/tracked".to_owned(),
            Place::ByPath => "refs/heads/pushed/path".to_owned(),
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
        let client = subject.client(stage, name, &url)?;
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
