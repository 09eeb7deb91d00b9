//! Clones: of a mirror that is in step, that upstream is ahead of, and that is not there yet.

use std::{fs, io, path::Path};

use crate::{
    contenders::Contender,
    figures::Job,
    stage::{Stage, Subject},
};

use super::{Way, Work, same};

/// The mirror has all that there is.
pub(crate) const WARM: &str = "mirror, warm";
/// Upstream has had a commit since.
const AFTER_ONE: &str = "mirror, after a new commit";
/// There is no mirror yet.
pub(crate) const COLD: &str = "mirror, cold";
/// There is no mirror yet, and what is wanted comes straight from upstream.
pub(crate) const THROUGH: &str = "mirror, passed through";
/// Somebody has wanted the same part before.
pub(crate) const HIT: &str = "mirror, hit";
/// Nobody has wanted this part before.
pub(crate) const MISS: &str = "mirror, miss";

/// Clones at once.
const CROWD: usize = 20;

/// How the mirror is found.
#[derive(Clone, Copy)]
enum Mirror {
    Warm,
    AfterOne,
    Cold,
    Through,
    Hit,
    Miss,
}

/// What is cloned and how.
#[derive(Clone, Copy)]
struct Clone<'a> {
    stage: &'a Stage,
    subject: &'a Subject,
    options: &'static [&'static str],
    count: usize,
}

pub(super) fn with_checkout<'a>(stage: &'a Stage, subject: &'a Subject) -> Work<'a> {
    let clone = Clone::new(stage, subject, &[]);
    let mut ways = clone.by(&[
        Contender::Git,
        Contender::Local,
        Contender::Reference,
        Contender::File,
    ]);
    ways.push(clone.mirror(WARM, Mirror::Warm));
    ways.push(clone.mirror(AFTER_ONE, Mirror::AfterOne));
    ways.push(clone.mirror(COLD, Mirror::Cold));
    ways.extend(clone.by(&Contender::peers(stage.world.search_path())));
    Work::of(ways)
}

pub(super) fn without_checkout<'a>(stage: &'a Stage, subject: &'a Subject) -> Work<'a> {
    let clone = Clone::new(stage, subject, &["-n"]);
    let mut ways = clone.by(&[Contender::Git, Contender::Local, Contender::File]);
    ways.push(clone.mirror(WARM, Mirror::Warm));
    ways.extend(clone.by(&Contender::peers(stage.world.search_path())));
    Work::of(ways)
}

pub(super) fn depth_1<'a>(stage: &'a Stage, subject: &'a Subject) -> Work<'a> {
    Clone::new(stage, subject, &["--depth=1"]).of_a_part()
}

pub(super) fn first_of_depth_1<'a>(stage: &'a Stage, subject: &'a Subject) -> Work<'a> {
    let clone = Clone::new(stage, subject, &["--depth=1"]);
    let mut ways = clone.by(&[Contender::Git]);
    let through = clone.mirror(THROUGH, Mirror::Through);
    ways.push(Way {
        // What goes on behind it is not to disturb whoever comes next.
        check: Box::new(move || {
            clone.check()?;
            stage.mirrord(&["stop"]);
            Ok(())
        }),
        ..through
    });
    Work::of(ways)
}

pub(super) fn depth_1_without_checkout<'a>(stage: &'a Stage, subject: &'a Subject) -> Work<'a> {
    Clone::new(stage, subject, &["-n", "--depth=1"]).of_a_part()
}

pub(super) fn depth_100_without_checkout<'a>(stage: &'a Stage, subject: &'a Subject) -> Work<'a> {
    Clone::new(stage, subject, &["-n", "--depth=100"]).of_a_part()
}

pub(super) fn blobless<'a>(stage: &'a Stage, subject: &'a Subject) -> Work<'a> {
    Clone::new(stage, subject, &["-n", "--filter=blob:none"]).of_a_part()
}

pub(super) fn one_branch<'a>(stage: &'a Stage, subject: &'a Subject) -> Work<'a> {
    Clone::new(stage, subject, &["-n", "--single-branch"]).of_a_part()
}

pub(super) fn at_once<'a>(stage: &'a Stage, subject: &'a Subject) -> Work<'a> {
    Clone::new(stage, subject, &[]).at_once()
}

pub(super) fn at_once_without_checkout<'a>(stage: &'a Stage, subject: &'a Subject) -> Work<'a> {
    Clone::new(stage, subject, &["-n"]).at_once()
}

impl<'a> Clone<'a> {
    fn new(stage: &'a Stage, subject: &'a Subject, options: &'static [&'static str]) -> Self {
        Self {
            stage,
            subject,
            options,
            count: 1,
        }
    }

    fn by(self, contenders: &[Contender]) -> Vec<Way<'a>> {
        let way = |contender: &Contender| {
            let contender = *contender;
            Way {
                name: contender.name(),
                prepare: Box::new(move || {
                    if let Contender::Peer(_) = contender {
                        self.fill(contender)?;
                    }
                    self.job(contender, &self.subject.url)
                }),
                check: Box::new(move || self.check()),
            }
        };
        contenders.iter().map(way).collect()
    }

    /// The ways to a part: somebody has wanted the same before, or nobody has.
    fn of_a_part(self) -> Work<'a> {
        let mut ways = self.by(&[Contender::Git, Contender::File]);
        ways.push(self.mirror(HIT, Mirror::Hit));
        ways.push(self.mirror(MISS, Mirror::Miss));
        Work::of(ways)
    }

    /// Many clients that all begin at the same time.
    fn at_once(self) -> Work<'a> {
        let clone = Self {
            count: CROWD,
            ..self
        };
        let mut ways = clone.by(&[Contender::Git, Contender::Local]);
        ways.push(clone.mirror(WARM, Mirror::Warm));
        ways.push(clone.mirror(COLD, Mirror::Cold));
        Work::of(ways)
    }

    fn mirror(self, name: &'static str, mirror: Mirror) -> Way<'a> {
        let prepare = move || match mirror {
            Mirror::Warm => {
                self.subject.warm(self.stage);
                self.job(Contender::Mirror, &self.subject.url)
            }
            Mirror::AfterOne => {
                self.subject.warm(self.stage);
                self.subject.advance(1)?;
                self.job(Contender::Mirror, &self.subject.url)
            }
            Mirror::Through => {
                let url = self.subject.alias(self.stage, "through")?;
                self.subject.forget(self.stage, &url);
                self.job(Contender::Mirror, &url)
            }
            Mirror::Hit => {
                self.subject.warm(self.stage);
                self.fill(Contender::Mirror)?;
                self.job(Contender::Mirror, &self.subject.url)
            }
            Mirror::Miss => {
                self.subject.warm(self.stage);
                for mirror in fs::read_dir(self.stage.world.mirror_home().join("mirrors"))? {
                    let parts = mirror?.path().join("derived");
                    if parts.exists() {
                        fs::remove_dir_all(parts)?;
                    }
                }
                self.job(Contender::Mirror, &self.subject.url)
            }
            Mirror::Cold => {
                let url = self.subject.alias(self.stage, "cold")?;
                self.subject.forget(self.stage, &url);
                self.job(Contender::Mirror, &url)
            }
        };
        Way {
            name,
            prepare: Box::new(prepare),
            check: Box::new(move || self.check()),
        }
    }

    /// Has another do the same first, who makes what all are given.
    fn fill(self, contender: Contender) -> io::Result<()> {
        let job = self.job(contender, &self.subject.url)?;
        let once = self.stage.world.program("timed", ["1"]);
        // What goes wrong here goes wrong again where it is recorded.
        let _ = once
            .args(&job.line)
            .at(&job.dir)
            .within(super::PATIENCE)
            .run();
        fresh(&job.dir)
    }

    fn job(self, contender: Contender, url: &str) -> io::Result<Job> {
        let dir = self.stage.world.path("clones");
        fresh(&dir)?;
        let line = contender.clone_line(self.stage, self.subject, self.options, url, "{}")?;
        Ok(Job {
            line,
            writes: dir.clone(),
            dir,
            count: self.count,
        })
    }

    fn check(self) -> Result<(), String> {
        let tip = self.subject.tip();
        for number in 0..self.count {
            let clone = self.stage.world.path(format!("clones/{number}"));
            let head = self.stage.world.git(["rev-parse", "HEAD"]).at(&clone).run();
            same("HEAD", head.line(), &tip)?;
            if !self.options.contains(&"-n") {
                let files = self.stage.world.git(["ls-files", "--deleted"]).at(&clone);
                same("what is missing", files.run().line(), "")?;
            }
        }
        fresh(&self.stage.world.path("clones")).map_err(|error| error.to_string())
    }
}

/// Makes an empty directory, whatever was there.
fn fresh(dir: &Path) -> io::Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::create_dir_all(dir)
}
