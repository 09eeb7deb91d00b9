//! A fetch that goes by `list` and `fetch`: git hears what there is, says what it wants, and is given packs.

pub(crate) mod catch_up;
pub(crate) mod link;
pub(crate) mod local_repo;
pub(crate) mod new_remote;
pub(crate) mod pack_index;
pub(crate) mod pack_objects;
pub(crate) mod part;
pub(crate) mod pass_through;
pub(crate) mod promised;
pub(crate) mod refs;
pub(crate) mod serving;
pub(crate) mod stream;

use std::{
    collections::BTreeSet,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use common::{
    packs::{derived::Part, link::Link, verified::NotVerified},
    progress::tell,
    protocol::{Failure, Lack, OrFailure},
    text::masked,
};

use self::{catch_up::Tips, local_repo::LocalRepo, refs::Refs, serving::Serving};
use crate::{helper::Invocation, options::Options};

/// A fetch that goes by `list` and `fetch`, from a mirror that is in step.
pub(crate) struct Listed {
    invocation: Invocation,
    serving: Serving,
    refs: Refs,
    link: Link,
    kind: Kind,
    /// Whether upstream was asked what there is, or that is to be known first.
    is_fresh: bool,
    /// What is in the repository already, once git wants something.
    tips: Option<Tips>,
}

/// What it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// All there is, or all that is new.
    Whole,
    /// Less than the whole.
    Part,
    /// What was left out of what is there, and is needed now.
    LeftOut,
}

impl Kind {
    fn of(invocation: &Invocation) -> Self {
        if invocation.fetches_what_was_left_out() {
            return Self::LeftOut;
        }
        match invocation.options.want_a_part() {
            true => Self::Part,
            false => Self::Whole,
        }
    }
}

impl Listed {
    /// Brings the mirror in step. What cannot go by `list` goes by git's own protocol.
    pub(crate) fn begin(invocation: Invocation) -> Result<Result<Self, Serving>, Failure> {
        let config = &invocation.config;
        let typed = match config.get("mirror.link") {
            Some(text) => Some(text.parse().map_err(|_| bad_link(text))?),
            None => None,
        };
        let kind = Kind::of(&invocation);
        let has_nothing = invocation
            .place
            .as_ref()
            .is_some_and(LocalRepo::has_nothing);
        let by_git = invocation.options.relative
            || typed == Some(Link::Off)
            || local_repo::wants_fsck(config)
            || local_repo::negotiates_pushes(config)
            || match kind {
                Kind::Whole => invocation.is_partial(),
                // Of what is there, only git's own server is told.
                Kind::Part => !has_nothing,
                Kind::LeftOut => false,
            };
        let lacks = match kind {
            Kind::LeftOut if !by_git => Lack::LeftOut,
            Kind::Whole if has_nothing => Lack::Everything,
            _ => Lack::News,
        };
        let serving = Serving::begin(&invocation, lacks)?;
        let link = typed.unwrap_or(serving.ready.link);
        let refs = match by_git || link == Link::Off {
            true => None,
            false => read_refs(&serving)?,
        };
        Ok(match refs {
            Some(refs) => Ok(Self {
                invocation,
                serving,
                refs,
                link,
                kind,
                is_fresh: lacks != Lack::LeftOut,
                tips: None,
            }),
            // git's own server does not say what it lacks before it is too late.
            None if lacks == Lack::LeftOut => Err(Serving::begin(&invocation, Lack::News)?),
            None => {
                let why = match (by_git, link) {
                    (true, _) => "the options of this fetch want git's own server",
                    (false, Link::Off) => "link is off",
                    _ => "the refs cannot be listed",
                };
                tracing::debug!("decision: streamed, {why}");
                Err(serving)
            }
        })
    }

    /// Says what there is, in the lines that git expects.
    pub(crate) fn lines(&self) -> Vec<u8> {
        self.refs.lines()
    }

    /// git has looked at what there is, and is about to say what it wants.
    pub(crate) fn prepare(&mut self, options: &Options) -> Result<(), Failure> {
        if !options.cloning && self.kind == Kind::Whole {
            self.tips.get_or_insert_with(Tips::begin);
        }
        // What was left out, git asks for without a look.
        self.confirm()
    }

    /// Whoever has looked at what there is, or was, does not take it for what there is now unless it is.
    pub(crate) fn confirm(&mut self) -> Result<(), Failure> {
        if self.is_fresh {
            return Ok(());
        }
        self.refresh()?;
        let now = read_refs(&self.serving)?;
        if now.is_some_and(|now| now.lines() == self.refs.lines()) {
            return Ok(());
        }
        let url = &self.serving.ready.url;
        let failure = Failure::here(format!(
            "'{url}' has changed since git was told what is there"
        ));
        Err(failure.hinted("the same command again knows of it"))
    }

    /// Brings a mirror in step that need not have been until now.
    fn refresh(&mut self) -> Result<(), Failure> {
        self.serving = Serving::begin(&self.invocation, Lack::News)?;
        self.is_fresh = true;
        Ok(())
    }

    /// Brings what git wants into the repository. Returns the lines that answer git.
    pub(crate) fn fetch(
        &mut self,
        wants: &BTreeSet<Vec<u8>>,
        options: &Options,
    ) -> Result<Vec<u8>, Failure> {
        if self.kind == Kind::LeftOut {
            self.fetch_what_was_left_out(wants, options)?;
            return Ok(b"\n".to_vec());
        }
        let is_other = !options.cloning && self.refs.is_sha256() != self.invocation.is_sha256();
        let mut brought = match is_other {
            true => Err(io::Error::other("its objects are named in another way")),
            false => self.link(wants, options),
        };
        if brought.as_ref().is_err_and(NotVerified::is) {
            // Written into since the daemon has looked: it looks again, and has it mended.
            self.serving.leave();
            self.refresh()?;
            brought = self.link(wants, options);
        }
        let lock = match brought {
            Ok(lock) => {
                let how = match (self.kind, options.cloning) {
                    (Kind::Part, _) => "derived",
                    (_, true) => "linked, all packs",
                    (_, false) => "linked, what is new",
                };
                tracing::debug!("decision: {how}");
                lock
            }
            // Whatever was in the way: git's own programs get it there.
            Err(err) => {
                tracing::debug!("decision: streamed, {err}");
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
        let mut lines = match &lock {
            Some(pack) => pack_lines(pack, options.check_connectivity),
            None => Vec::new(),
        };
        lines.push(b'\n');
        Ok(lines)
    }

    /// Links what is wanted. Returns the pack that git is to lock, where there is one.
    fn link(
        &mut self,
        wants: &BTreeSet<Vec<u8>>,
        options: &Options,
    ) -> io::Result<Option<PathBuf>> {
        if self.kind == Kind::Part {
            self.link_part(wants, options).map(Some)
        } else if options.cloning {
            self.link_all(wants).map(Some)
        } else {
            self.link_new(wants, options).map(|()| None)
        }
    }

    /// Brings what was left out: from the mirror, and what that lacks even when it is in step from upstream.
    fn fetch_what_was_left_out(
        &mut self,
        wants: &BTreeSet<Vec<u8>>,
        options: &Options,
    ) -> Result<(), Failure> {
        let known = |serving: &Serving| {
            promised::has_all(&serving.ready.git_dir, wants)
                .or_failure("cannot look at the mirror's objects")
        };
        if !known(&self.serving)? {
            self.refresh()?;
            if !known(&self.serving)? {
                tracing::debug!("decision: fetched from upstream, the mirror lacks what is wanted");
                return promised::fetch_from(&self.serving.ready.url, wants, options);
            }
        }
        // Nobody has taken what there was for what there is.
        self.is_fresh = true;
        stream::fetch_pack(&self.serving, wants, true, options)
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
        part::give(mirror, place, &part, self.link, options.progress)
    }

    /// Links all that the mirror has into a repository in which there is nothing.
    fn link_all(&self, wants: &BTreeSet<Vec<u8>>) -> io::Result<PathBuf> {
        // Whoever wants less than all branches is to have no more than that.
        if !self.refs.branches().all(|tip| wants.contains(tip)) {
            return Err(io::Error::other("not every branch is wanted"));
        }
        let objects = self.place()?.objects();
        let mirror = &self.serving.ready.git_dir;
        crate::fetch::link::link(mirror, objects, wants, self.link)
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

    fn place(&self) -> io::Result<&LocalRepo> {
        let place = self.invocation.place.as_ref();
        place.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// The lines that name a complete pack to git. git removes the file that `lock` names, and reads its name up to the end
/// of the line: a path with a newline would name another file. Without these lines git checks the pack itself.
fn pack_lines(pack: &Path, is_checked: bool) -> Vec<u8> {
    let path = pack.as_os_str().as_bytes();
    if path.contains(&b'\n') {
        return Vec::new();
    }
    let mut lines = [b"lock ", path, b".keep\n"].concat();
    if is_checked {
        lines.extend_from_slice(b"connectivity-ok\n");
    }
    lines
}

fn read_refs(serving: &Serving) -> Result<Option<Refs>, Failure> {
    Refs::read(&serving.ready.git_dir).or_failure("cannot read the mirror's refs")
}

fn bad_link(text: &str) -> Failure {
    let text = masked(text.as_bytes());
    let failure = Failure::here(format!("'mirror.link' is '{text}'"));
    failure.hinted("it may be 'auto', 'reflink', 'hardlink', 'copy' or 'off'")
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    use super::*;

    #[test]
    fn a_lock_line_has_the_bytes_of_the_path_and_none_is_sent_for_a_path_with_a_newline() {
        let lines = |path: &[u8]| pack_lines(Path::new(OsStr::from_bytes(path)), true);
        assert_eq!(lines(b"/a b/p"), b"lock /a b/p.keep\nconnectivity-ok\n");
        assert_eq!(
            lines(b"/\xff\r/p"),
            b"lock /\xff\r/p.keep\nconnectivity-ok\n"
        );
        assert_eq!(lines(b"/n\nl/p"), b"");
    }
}
