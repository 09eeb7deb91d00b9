//! Who competes: the ways in which git itself can clone, the mirror, and the peers that are on `PATH`.

use std::{ffi::OsStr, io};

use crate::stage::{Stage, Subject};

/// A way to get at a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// Plain git, over the line.
    Git,
    /// By path: hard links, upstream is not asked.
    Local,
    /// Over the line, with an older copy to borrow objects from.
    Reference,
    /// `file://`: what git sends, without a line.
    File,
    Mirror,
    Peer(&'static Peer),
}

/// Another program that keeps copies, and how it is called.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// What must be on `PATH`.
    program: &'static str,
    clone: &'static [&'static str],
    /// What stands for `git fetch`; nothing where that does without the program.
    fetch: &'static [&'static str],
}

const PEERS: &[Peer] = &[
    // https://github.com/seeraven/gitcache
    Peer {
        program: "gitcache",
        clone: &["gitcache", "git", "clone"],
        fetch: &["gitcache", "git", "fetch"],
    },
    // https://github.com/kaspar030/git-cache-rs; `-U` asks upstream.
    Peer {
        program: "git-cache",
        clone: &["git", "cache", "clone", "-U"],
        fetch: &[],
    },
];

impl Contender {
    /// Returns the peers whose programs there are.
    pub(crate) fn peers(path: &OsStr) -> Vec<Self> {
        let is_there =
            |peer: &&Peer| std::env::split_paths(path).any(|dir| dir.join(peer.program).is_file());
        PEERS.iter().filter(is_there).map(Self::Peer).collect()
    }

    /// Returns what it is called in the report.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Git => "plain git",
            Self::Local => "clone --local",
            Self::Reference => "clone --reference",
            Self::File => "file://",
            Self::Mirror => "mirror",
            Self::Peer(peer) => peer.program,
        }
    }

    /// Returns the address that it clones, of a repository that is at this URL over the line.
    pub(crate) fn address(self, subject: &Subject, url: &str) -> String {
        match self {
            Self::Git | Self::Reference | Self::Peer(_) => url.to_owned(),
            Self::Local => subject.upstream.dir().display().to_string(),
            Self::File => subject.file_url(),
            Self::Mirror => format!("mirror::{url}"),
        }
    }

    /// Returns what is typed to clone this URL into a directory.
    pub(crate) fn clone_line(
        self,
        stage: &Stage,
        subject: &Subject,
        options: &[&str],
        url: &str,
        to: &str,
    ) -> io::Result<Vec<String>> {
        let command: &[&str] = match self {
            Self::Peer(peer) => peer.clone,
            _ => &["git", "clone"],
        };
        let mut line = args(command);
        line.extend(args(&["-q"]));
        line.extend(args(options));
        match self {
            Self::Local => line.extend(args(&["--local"])),
            Self::Reference => {
                let reference = subject.reference(stage)?.display().to_string();
                line.extend(["--reference".to_owned(), reference]);
            }
            _ => {}
        }
        line.extend([self.address(subject, url), to.to_owned()]);
        Ok(line)
    }

    /// Returns what is typed to fetch in a clone; nothing where git's own fetch has nothing to do with it.
    pub(crate) fn fetch_line(self) -> Option<Vec<String>> {
        match self {
            Self::Peer(Peer { fetch: [], .. }) => None,
            Self::Peer(peer) => Some(args(&[peer.fetch, &["-q"]].concat())),
            _ => Some(args(&["git", "fetch", "-q"])),
        }
    }
}

/// Returns words to be typed.
pub(crate) fn args(args: &[&str]) -> Vec<String> {
    args.iter().copied().map(str::to_owned).collect()
}
