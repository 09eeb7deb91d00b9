//! The daemon that runs: who holds its lock, and what it has recorded beside the lock.
//!
//! The record tells those who look for its socket elsewhere (another `XDG_RUNTIME_DIR`, none, one that was made anew)
//! where it is. It is there while the daemon listens; it may outlive one that was killed, so it counts only together
//! with the lock or with somebody who answers.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::private_dir;

/// A longer file is no record.
const MAX_RECORD: u64 = 8192;

/// The signal on which a daemon checks that its socket still exists, and makes it anew if it does not.
pub const CHECK_SOCKET: Signal = Signal::USR1;

/// A file, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    /// The number of its device.
    pub device: u64,
    /// The number of the inode on it.
    pub inode: u64,
}

/// The record of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The file of the daemon's program.
    pub program: FileId,
    /// The path of the daemon's socket.
    pub socket: PathBuf,
}

impl FileId {
    /// The id of a file, from its metadata.
    #[must_use]
    pub fn of(found: &fs::Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
        }
    }
}

impl Record {
    /// Returns the content of the file: a line for the program, then the path of the socket.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let FileId { device, inode } = self.program;
        let mut bytes = format!("{device} {inode}\n").into_bytes();
        bytes.extend_from_slice(self.socket.as_os_str().as_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (program, socket) = (&bytes[..end], &bytes[end + 1..]);
        let (device, inode) = std::str::from_utf8(program).ok()?.split_once(' ')?;
        let (device, inode) = (device.parse().ok()?, inode.parse().ok()?);
        let socket = PathBuf::from(OsStr::from_bytes(socket));
        let program = FileId { device, inode };
        socket.is_absolute().then_some(Self { program, socket })
    }
}

/// Reads the record of the daemon that runs, or ran last; None if there is none, because no daemon listens.
#[must_use]
pub fn read_record(path: &Path) -> Option<Record> {
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(MAX_RECORD).read_to_end(&mut bytes).ok()?;
    Record::from_bytes(&bytes)
}

/// Reads the path of the recorded socket, if the socket and its directory belong to this user, and others cannot open the
/// directory.
#[must_use]
pub fn recorded_socket(record: &Path) -> Option<PathBuf> {
    let Record { socket, .. } = read_record(record)?;
    private_dir::checked(socket.parent()?.to_owned())?;
    match fs::symlink_metadata(&socket) {
        Ok(found) => {
            let me = rustix::process::geteuid().as_raw();
            (found.file_type().is_socket() && found.uid() == me).then_some(socket)
        }
        Err(_) => None,
    }
}

/// Returns the process that holds the daemon's lock; 0 if it has not written its id yet, None if no process does.
///
/// # Errors
/// Fails when the file cannot be used.
pub fn lock_holder(lock: &Path) -> io::Result<Option<u32>> {
    let mut file = match OpenOptions::new().read(true).write(true).open(lock) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(read_pid(&mut file).unwrap_or_default())),
        Err(TryLockError::Error(err)) => Err(err),
    }
}

/// Reads the process id in the file of a lock.
pub fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Sends a signal to a process, if that is a daemon.
pub fn send_signal(pid: u32, signal: Signal) {
    if !is_daemon(pid) {
        return;
    }
    if let Some(pid) = pid.try_into().ok().and_then(Pid::from_raw) {
        // It may have ended by itself in the meantime.
        let _ = kill_process(pid, signal);
    }
}

/// Whether a process is a mirrord, where the system tells: the lock may have changed hands a moment ago, and the number
/// in it be of a process that has ended, and of a stranger by now.
#[must_use]
pub fn is_daemon(pid: u32) -> bool {
    if !Path::new("/proc/self/exe").exists() {
        return true;
    }
    let process = Path::new("/proc").join(pid.to_string());
    let name = match fs::read_link(process.join("exe")) {
        // The system says '(deleted)' behind the name of one that was replaced.
        Ok(program) => program.file_name().map(OsStr::to_owned).unwrap_or_default(),
        // Of a process that nobody may look into, as a daemon is, only this is told.
        Err(_) => fs::read(process.join("comm"))
            .map(|name| OsStr::from_bytes(&name).to_owned())
            .unwrap_or_default(),
    };
    name.as_bytes().starts_with(b"mirrord")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_nothing_else_is_one() {
        let record = Record {
            program: FileId {
                device: 3,
                inode: 1 << 40,
            },
            socket: OsStr::from_bytes(b"/run/a\n\xff b/socket").into(),
        };
        assert_eq!(Record::from_bytes(&record.to_bytes()), Some(record));
        for other in ["", "3 4", "3 4\nrelative", "3\n/a", "a b\n/a", "3 4\n"] {
            assert_eq!(Record::from_bytes(other.as_bytes()), None, "{other:?}");
        }
    }
}
