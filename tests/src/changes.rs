//! The changes on disk during a push, as inotify reports them. They are moments at which a process can be killed that are
//! the same in every run, whatever the load of the machine.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::{Part, Running, World};

/// The changes of a directory and of all that is below it, from now on.
#[derive(Debug)]
pub struct Changes {
    inotify: OwnedFd,
    dirs: HashMap<i32, PathBuf>,
    count: usize,
}

impl Changes {
    /// Starts to watch a directory.
    #[track_caller]
    pub fn of(dir: &Path) -> Self {
        let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
        let mut changes = Self {
            inotify: inotify::init(flags).expect("the kernel can watch"),
            dirs: HashMap::new(),
            count: 0,
        };
        changes.watch(dir);
        changes
    }

    /// The number of changes so far.
    pub fn count(&self) -> usize {
        self.count
    }

    fn watch(&mut self, dir: &Path) {
        let what = WatchFlags::CREATE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE;
        // A directory that is gone has no more changes.
        let Ok(watched) = inotify::add_watch(&self.inotify, dir, what) else {
            return;
        };
        self.dirs.insert(watched, dir.to_owned());
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            if path.is_dir() && !path.is_symlink() {
                self.watch(&path);
            }
        }
    }

    /// Counts changes up to a number; returns whether there were as many.
    fn reach(&mut self, many: usize) -> bool {
        let mut new = Vec::new();
        // Small, so that little is read ahead of the moment that is meant.
        let mut buffer = [MaybeUninit::uninit(); 512];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        while self.count < many {
            match reader.next() {
                Ok(event) => {
                    self.count += 1;
                    let is_new = ReadFlags::CREATE | ReadFlags::ISDIR;
                    if event.events().contains(is_new)
                        && let (Some(dir), Some(name)) =
                            (self.dirs.get(&event.wd()), event.file_name())
                    {
                        new.push(dir.join(OsStr::from_bytes(name.to_bytes())));
                    }
                }
                Err(Errno::AGAIN) => break,
                Err(error) => panic!("cannot watch a directory: {error}"),
            }
        }
        new.iter().for_each(|dir| self.watch(dir));
        self.count >= many
    }
}

impl World {
    /// Kills one part of a push at its so-manieth change on disk; `false` when it ended before, or had no such part then.
    pub fn kill_part_at(
        &self,
        push: &Running,
        part: Part,
        changes: &mut Changes,
        at: usize,
    ) -> bool {
        // Looked for before: what is killed must not get much further meanwhile.
        let daemon = self.daemon();
        loop {
            if changes.reach(at) {
                return match daemon.filter(|_| part == Part::Daemon) {
                    Some(daemon) => {
                        daemon.signal(Signal::KILL);
                        daemon.ended(crate::parts::TIMEOUT)
                    }
                    None => self.kill_part(push, part),
                };
            }
            if push.has_ended() {
                return false;
            }
            let mut both = [
                PollFd::new(&changes.inotify, PollFlags::IN),
                PollFd::new(push.end(), PollFlags::IN),
            ];
            match poll(&mut both, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => panic!("cannot wait for a push: {error}"),
            }
        }
    }
}
