//! A fetch that goes by `list` and `fetch`: git hears what there is, says what it wants, and is given packs.

use std::{collections::BTreeSet, io, path::PathBuf};

use common::{
    derived::Part,
    link::Link,
    progress::{masked, tell},
    protocol::Failure,
};

use crate::{
    catch_up::{self, Tips},
    derived,
    helper::Errand,
    list::Refs,
    options::Options,
    place::{self, Place},
    serving::Serving,
    stream,
};

/// A fetch that goes by `list` and `fetch`, from a mirror that is in step.
pub(crate) struct Listed {
    serving: Serving,
    refs: Refs,
    place: Option<Place>,
    link: Link,
    /// Whether less than the whole is wanted.
    part: bool,
    /// What is in the repository already, once git wants something.
    tips: Option<Tips>,
}

impl Listed {
    /// Brings the mirror in step. What cannot go by `list` goes by git's own protocol.
    ///
    /// # Errors
    /// Fails when there is nothing to serve.
    pub(crate) fn begin(errand: Errand) -> Result<Result<Self, Serving>, Failure> {
        let config = &errand.config;
        let typed = match config.get("mirror.link") {
            Some(text) => Some(text.parse().map_err(|_| bad_link(text))?),
            None => None,
        };
        let place = errand.place.as_ref();
        let part = errand.options.want_a_part();
        let by_git = errand.options.relative
            || typed == Some(Link::Off)
            || place::wants_fsck(config)
            || place.is_some_and(|place| place.is_partial(config))
            || place::negotiates_pushes(config)
            // Of what is there, only git's own server is told.
            || part && !place.is_some_and(Place::has_nothing);
        let serving = Serving::begin(&errand)?;
        let link = typed.unwrap_or(serving.ready.link);
        if by_git || link == Link::Off {
            return Ok(Err(serving));
        }
        let refs = Refs::read(&serving.ready.git_dir);
        let refs = refs.map_err(|err| Failure::io("cannot read the mirror's refs", &err))?;
        Ok(match refs {
            Some(refs) => Ok(Self {
                serving,
                refs,
                place: errand.place,
                link,
                part,
                tips: None,
            }),
            None => Err(serving),
        })
    }

    /// Says what there is, in the lines that git expects.
    pub(crate) fn lines(&self) -> Vec<u8> {
        self.refs.lines()
    }

    /// git is about to say what it wants.
    pub(crate) fn prepare(&mut self, options: &Options) {
        if !options.cloning && !self.part {
            self.tips.get_or_insert_with(Tips::begin);
        }
    }

    /// Brings what git wants into the repository. Returns what git is told of it.
    ///
    /// # Errors
    /// Fails when neither the mirror's packs nor git's own programs can be had.
    pub(crate) fn fetch(
        &mut self,
        wants: &BTreeSet<Vec<u8>>,
        options: &Options,
    ) -> Result<String, Failure> {
        let brought = if self.part {
            self.link_part(wants, options).map(Some)
        } else if options.cloning {
            self.link_all(wants).map(Some)
        } else {
            self.link_new(wants, options).map(|()| None)
        };
        let lock = match brought {
            Ok(lock) => lock,
            // Whatever was in the way: git's own programs get it there.
            Err(err) => {
                if options.verbosity > 1 {
                    tell(&format!(
                        "the mirror's packs are sent and not linked: {err}"
                    ));
                }
                let known = self.refs.name_all(wants);
                stream::fetch_pack(&self.serving, wants, known, options)?;
                None
            }
        };
        let mut words = String::new();
        if let Some(pack) = lock {
            words.push_str(&format!("lock {}.keep\n", pack.display()));
            if options.check_connectivity {
                words.push_str("connectivity-ok\n");
            }
        }
        words.push('\n');
        Ok(words)
    }

    /// Links a pack of a part of the mirror into a repository in which there is nothing.
    fn link_part(&self, wants: &BTreeSet<Vec<u8>>, options: &Options) -> io::Result<PathBuf> {
        if !self.refs.name_all(wants) {
            return Err(io::Error::other("what is wanted is what no ref names"));
        }
        let place = self.place()?;
        if !place.has_nothing() {
            return Err(io::Error::other("something is there already"));
        }
        let part = Part {
            wants,
            depth: options.depth,
            filter: options.filter.as_deref(),
            tags: options.follow_tags.then(|| self.refs.tags().collect()),
        };
        let mirror = &self.serving.ready.git_dir;
        derived::give(mirror, place, &part, self.link, options.progress)
    }

    /// Links all that the mirror has into a repository in which there is nothing.
    fn link_all(&self, wants: &BTreeSet<Vec<u8>>) -> io::Result<PathBuf> {
        // Whoever wants less than all branches is to have no more than that.
        if !self.refs.branches().all(|tip| wants.contains(tip)) {
            return Err(io::Error::other("not every branch is wanted"));
        }
        let objects = self.place()?.objects();
        let mirror = &self.serving.ready.git_dir;
        crate::link::link(mirror, objects, wants, self.link)
    }

    /// Gives a repository in which there is something what it lacks.
    fn link_new(&mut self, wants: &BTreeSet<Vec<u8>>, options: &Options) -> io::Result<()> {
        // What no ref names, only git's own server decides about.
        if !self.refs.name_all(wants) {
            return Err(io::Error::other("what is wanted is what no ref names"));
        }
        let mut tips = self.tips.take().unwrap_or_else(Tips::begin);
        let place = self.place()?;
        if place.has_refused(wants) {
            return Err(io::Error::other("git did not take them"));
        }
        catch_up::bring(
            &self.serving.ready.git_dir,
            place.objects(),
            self.refs.records(),
            &mut tips,
            wants,
            (self.link, options.progress),
        )?;
        place.note_given(wants)?;
        tips.add(wants);
        self.tips = Some(tips);
        Ok(())
    }

    fn place(&self) -> io::Result<&Place> {
        let place = self.place.as_ref();
        place.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn bad_link(text: &str) -> Failure {
    let text = masked(text.as_bytes());
    let failure = Failure::here(format!("'mirror.link' is '{text}'"));
    failure.hinted("it may be 'auto', 'reflink', 'hardlink', 'copy' or 'off'")
}
