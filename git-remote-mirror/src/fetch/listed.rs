//! A fetch by git's commands `list` and `fetch`: git reads the mirror's refs, names the objects that it wants, and finds
//! their packs in its object directory. [`link`] puts whole packs there, [`part`] the pack of a part,
//! [`catch_up`](super::catch_up) what is new, and [`lazy`] serves a partial clone. What none of them can do, [`fetch_pack`]
//! does.

use std::{
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use common::{
    packs::{derived::Part, link::Link, verified::NotVerified},
    progress::tell,
    protocol::{Failure, Lack, OrFailure},
    refspec::OnDemand,
};

use super::{
    catch_up::{CatchUp, LocalTips},
    fetch_pack::{self, Reach},
    lazy,
    leased_mirror::LeasedMirror,
    link, part,
    refs::Refs,
    unpack,
};
use crate::{invocation::Invocation, local_repo::LocalRepo, options::Options, wants::Wants};

/// A fetch by `list` and `fetch`.
pub(crate) struct Listed {
    invocation: Invocation,
    mirror: LeasedMirror,
    refs: Refs,
    /// What git may want beside branches and tags.
    wanted: OnDemand,
    link: Link,
    kind: Kind,
    /// Whether the mirror was synced for this fetch, or nothing depends on that.
    is_fresh: bool,
    /// The tips that the repository has, read once git is about to name objects.
    tips: Option<LocalTips>,
}

/// What a fetch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The whole project, or all that is new in it.
    Whole,
    /// Less than the whole project: a shallow, partial or single-branch clone.
    Part,
    /// Objects that a partial clone lacks and needs now.
    Lazy,
}

impl Kind {
    pub(super) fn of(invocation: &Invocation) -> Self {
        if invocation.is_lazy_fetch() {
            return Self::Lazy;
        }
        match invocation.options.want_a_part() {
            true => Self::Part,
            false => Self::Whole,
        }
    }
}

impl Listed {
    pub(super) fn new(
        invocation: Invocation,
        mirror: LeasedMirror,
        (refs, wanted): (Refs, OnDemand),
        link: Link,
        kind: Kind,
        is_fresh: bool,
    ) -> Self {
        Self {
            invocation,
            mirror,
            refs,
            wanted,
            link,
            kind,
            is_fresh,
            tips: None,
        }
    }

    /// Returns the lines that answer git's `list`.
    pub(crate) fn ref_lines(&self) -> Vec<u8> {
        self.refs.lines()
    }

    /// Prepares for the objects that git is about to name, having read the refs.
    ///
    /// # Errors
    /// Fails as [`Listed::confirm`] does.
    pub(crate) fn prepare(&mut self, options: &Options) -> Result<(), Failure> {
        if !options.cloning && self.kind == Kind::Whole {
            self.tips.get_or_insert_with(LocalTips::begin);
        }
        // A lazy fetch names its objects without reading the refs, so whoever is here has read them.
        self.confirm()
    }

    /// Makes sure that the refs which git has read are those that upstream has now.
    ///
    /// # Errors
    /// Fails when the mirror cannot be synced, and when its refs have changed.
    pub(crate) fn confirm(&mut self) -> Result<(), Failure> {
        if self.is_fresh {
            return Ok(());
        }
        self.refresh()?;
        let now = read_refs(&self.mirror, &self.wanted)?;
        if now.is_some_and(|now| now.lines() == self.refs.lines()) {
            return Ok(());
        }
        let url = &self.mirror.ready.url;
        let failure = Failure::here(format!(
            "'{url}' has changed since git was told what is there"
        ));
        Err(failure.hinted("the same command again knows of it"))
    }

    /// Has the daemon sync the mirror again.
    fn refresh(&mut self) -> Result<(), Failure> {
        self.mirror = LeasedMirror::sync(&self.invocation, Lack::News)?;
        self.is_fresh = true;
        Ok(())
    }

    /// Brings the wanted objects into the repository. Returns the lines that answer git's `fetch`.
    ///
    /// # Errors
    /// Fails with what the person should read.
    pub(crate) fn fetch(&mut self, wants: &Wants, options: &Options) -> Result<Vec<u8>, Failure> {
        if self.kind == Kind::Lazy {
            let mut lines = self.fetch_lazily(wants, options)?;
            lines.push(b'\n');
            return Ok(lines);
        }
        let mut linked = self.link(wants, options);
        if linked.as_ref().is_err_and(NotVerified::is) {
            // A pack was written into since the daemon verified it: the daemon looks again, and has it mended.
            self.mirror.release();
            self.refresh()?;
            linked = self.link(wants, options);
        }
        let mut lines = match linked {
            Ok(pack) => {
                let how = match (self.kind, options.cloning) {
                    (Kind::Part, _) => "derived",
                    (_, true) => "linked, all packs",
                    (_, false) => "linked, what is new",
                };
                tracing::debug!("decision: {how}");
                let lines = pack.map(|pack| pack_lines(&pack, options.check_connectivity));
                lines.unwrap_or_default()
            }
            Err(err) => {
                tracing::debug!("decision: streamed, {err}");
                if options.verbosity > 1 {
                    tell(&format!(
                        "the mirror's packs are sent and not linked: {err}"
                    ));
                }
                let keeps = self.invocation.keeps_packs(options);
                let reach = match self.refs.name_all(wants) {
                    true => Reach::Refs,
                    false => Reach::Unknown,
                };
                fetch_pack::run(&self.mirror, wants, reach, options, keeps)?
            }
        };
        lines.push(b'\n');
        Ok(lines)
    }

    /// Links packs with the wanted objects. Returns the pack that git is to lock, where there is one.
    fn link(&mut self, wants: &Wants, options: &Options) -> io::Result<Option<PathBuf>> {
        if !options.cloning && self.refs.is_sha256() != self.invocation.is_sha256() {
            return Err(io::Error::other("its objects are named in another way"));
        }
        if self.kind == Kind::Part {
            self.link_part(wants, options).map(Some)
        } else if options.cloning {
            match self.refs.are_wanted(wants) {
                true => self.link_all(wants, options).map(Some),
                // Less than all branches and tags, as with `--no-tags`.
                false => self.link_part(wants, options).map(Some),
            }
        } else {
            self.link_new(wants, options).map(|()| None)
        }
    }

    /// Brings objects that a partial clone lacks: from the mirror, or from upstream where the mirror lacks them even after
    /// a sync.
    fn fetch_lazily(&mut self, wants: &Wants, options: &Options) -> Result<Vec<u8>, Failure> {
        let has_all = |mirror: &LeasedMirror| {
            lazy::has_all(&mirror.ready.git_dir, wants)
                .or_failure("cannot look at the mirror's objects")
        };
        if !has_all(&self.mirror)? {
            self.refresh()?;
            if !has_all(&self.mirror)? {
                tracing::debug!("decision: fetched from upstream, the mirror lacks what is wanted");
                let (url, config) = (&self.mirror.ready.url, &self.invocation.config);
                lazy::fetch_from_upstream(url, config, wants, options)?;
                return Ok(Vec::new());
            }
        }
        // git has not read the refs, so it does not matter how fresh they are.
        self.is_fresh = true;
        fetch_pack::run(&self.mirror, wants, Reach::Refs, options, false)
    }

    /// Links the pack of a part of the mirror into a repository without objects.
    fn link_part(&self, wants: &Wants, options: &Options) -> io::Result<PathBuf> {
        self.require_named(wants)?;
        let local_repo = self.local_repo()?;
        if !local_repo.has_no_objects() {
            return Err(io::Error::other("something is there already"));
        }
        let part = Part {
            wants,
            depth: options.depth,
            filter: options.filter.as_deref(),
            tags: options.follow_tags.then(|| self.refs.tags().collect()),
        };
        let mirror = &self.mirror.ready.git_dir;
        let wanted = self.refs.lines_of(wants);
        part::link(
            mirror,
            local_repo,
            &part,
            &wanted,
            self.link,
            options.progress,
        )
    }

    /// Links all packs of the mirror into a repository without objects.
    fn link_all(&self, wants: &Wants, options: &Options) -> io::Result<PathBuf> {
        let objects = self.local_repo()?.objects();
        let mirror = &self.mirror.ready.git_dir;
        link::link_all(mirror, objects, wants, self.link, options.progress)
    }

    /// Links or writes packs of what a repository with objects lacks.
    fn link_new(&mut self, wants: &Wants, options: &Options) -> io::Result<()> {
        self.require_named(wants)?;
        let mut tips = self.tips.take().unwrap_or_else(LocalTips::begin);
        let local_repo = self.local_repo()?;
        if local_repo.has_refused(wants) {
            return Err(io::Error::other("git did not take them"));
        }
        let config = &self.invocation.config;
        let catch_up = CatchUp {
            mirror: &self.mirror.ready.git_dir,
            objects: local_repo.objects(),
            records: &self.refs.records(),
            link: self.link,
            unpack_limit: unpack::limit(config, self.invocation.keeps_packs(options))?,
            progress: options.progress,
        };
        catch_up.run(&mut tips, wants)?;
        local_repo.record_linked(wants)?;
        tips.add(wants);
        self.tips = Some(tips);
        Ok(())
    }

    /// Leaves objects that no ref names to git's own server, which decides whether it gives them.
    fn require_named(&self, wants: &Wants) -> io::Result<()> {
        match self.refs.name_all(wants) {
            true => Ok(()),
            false => Err(io::Error::other("what is wanted is what no ref names")),
        }
    }

    fn local_repo(&self) -> io::Result<&LocalRepo> {
        let local_repo = self.invocation.local_repo.as_ref();
        local_repo.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Reads the refs that git's `list` is answered with; None where they cannot be listed.
pub(super) fn read_refs(mirror: &LeasedMirror, wanted: &OnDemand) -> Result<Option<Refs>, Failure> {
    Refs::read(&mirror.ready.git_dir, wanted).or_failure("cannot read the mirror's refs")
}

/// The lines that name a pack with all wanted objects to git. git removes the file that `lock` names, and reads its name
/// up to the end of the line: a path with a newline would name another file. Without these lines git checks the pack
/// itself.
fn pack_lines(pack: &Path, check_connectivity: bool) -> Vec<u8> {
    let path = pack.as_os_str().as_bytes();
    if path.contains(&b'\n') {
        return Vec::new();
    }
    let mut lines = [b"lock ", path, b".keep\n"].concat();
    if check_connectivity {
        lines.extend_from_slice(b"connectivity-ok\n");
    }
    lines
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
