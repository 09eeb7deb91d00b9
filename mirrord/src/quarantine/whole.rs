//! The pack of a first download: git indexes it as it comes, and sees in the same pass whether anything is missing.

use std::{
    collections::BTreeSet,
    io::{self, BufRead, Write},
    os::unix::process::ExitStatusExt,
    process::Stdio,
    thread,
};

use common::{
    git,
    protocol::{Failure, FailureKind},
};
use gix::{ObjectId, error::ErrorExt, objs::Exists};
use rustix::{io::Errno, process::Signal};
use tokio::runtime::Handle;

use super::Quarantine;
use crate::{children, relay::Relay, watch::Watch};

impl Quarantine {
    /// Receives one pack from an upstream that was told of nothing that is here: whatever its objects need must be in it.
    ///
    /// # Errors
    /// Fails when the pack is damaged, ends early, lacks an object, or the disk refuses.
    pub(crate) fn receive_whole(&self, pack: &mut dyn BufRead, watch: &Watch) -> gix::Result<()> {
        let mut git = git::at(&self.git_dir);
        // What the mirror has already is not looked at: it may be what is broken.
        git.env("GIT_OBJECT_DIRECTORY", &self.dir)
            // It is made to last when it is let in.
            .args(["-c", "core.fsync=none", "index-pack", "--stdin", "-v"])
            .arg("--check-self-contained-and-connected")
            .stdout(Stdio::null());
        let (theirs, ours) = io::pipe().map_err(ErrorExt::raise)?;
        git.stdin(theirs);
        let runtime = Handle::current();
        let (fed, ended) = thread::scope(|scope| {
            let child = scope.spawn(move || {
                let _runtime = runtime.enter();
                let mut relay = Relay::default();
                let hear = |piece: &[u8]| relay.hear(piece, watch);
                children::run_reading(git, Vec::new(), None, watch, hear)
            });
            let fed = feed(pack, ours);
            (fed, child.join())
        });
        let ended = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // The child knows no more than that nothing came any more.
        let bytes = fed.map_err(ErrorExt::raise)?;
        let ended = ended.map_err(ErrorExt::raise)?;
        if ended.status.success() {
            watch.came(bytes);
            return Ok(());
        }
        Err(match ended.status.signal() {
            // A file would have become larger than the daemon's limit allows.
            Some(signal) if signal == Signal::XFSZ.as_raw() => io::Error::from(Errno::FBIG).raise(),
            Some(signal) => io::Error::other(format!("git died of signal {signal}")).raise(),
            None => meaning(&String::from_utf8_lossy(&ended.stderr)),
        })
    }

    /// Whether all of these have come.
    ///
    /// # Errors
    /// Fails when the disk refuses.
    pub(crate) fn has_all(&self, tips: &BTreeSet<ObjectId>) -> io::Result<bool> {
        let format = self.repository()?.object_hash();
        let objects = gix::odb::at(&self.dir, format)?;
        Ok(tips.iter().all(|tip| objects.exists(tip)))
    }
}

/// Gives a child what comes until either of them ends. Says how many bytes that were.
///
/// # Errors
/// Fails with what is wrong with what comes; what is wrong with the child, it says itself.
fn feed(pack: &mut dyn BufRead, mut child: io::PipeWriter) -> io::Result<u64> {
    let mut bytes = 0;
    loop {
        let piece = match pack.fill_buf() {
            Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
            piece => piece?,
        };
        let length = piece.len();
        if length == 0 || child.write_all(piece).is_err() {
            return Ok(bytes);
        }
        pack.consume(length);
        bytes += length as u64;
    }
}

/// What `git index-pack` means by its last words.
fn meaning(words: &str) -> gix::Error {
    // They may follow half a line of progress.
    let mut lines = words.rsplit(['\n', '\r']);
    let fatal = lines.find_map(|line| line.strip_prefix("fatal: "));
    let fatal = fatal
        .unwrap_or("git index-pack ended without a word")
        .trim();
    if let Some(missing) = fatal.strip_prefix("did not receive expected object ") {
        let message = format!("upstream did not send all necessary objects: {missing} is missing");
        return Failure::new(FailureKind::Unusable, message).raise();
    }
    if fatal.contains("early EOF") {
        return io::Error::from(io::ErrorKind::UnexpectedEof).raise();
    }
    let disk = [
        Errno::NOSPC,
        Errno::DQUOT,
        Errno::FBIG,
        Errno::ROFS,
        Errno::ACCESS,
    ];
    let mut disk = disk.map(io::Error::from).into_iter();
    let is_it = |err: &io::Error| fatal.ends_with(&common::protocol::words(err));
    match disk.find(is_it) {
        Some(err) => err.raise(),
        None => io::Error::other(fatal.to_owned()).raise(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gits_last_words_are_understood() {
        let missing =
            meaning("Receiving objects: 100%\nfatal: did not receive expected object 12ab\n");
        let failure = missing.downcast_any_ref::<Failure>().expect("a failure");
        assert_eq!(
            failure.message,
            "upstream did not send all necessary objects: 12ab is missing"
        );
        let kind = |words: &str| {
            let error = meaning(words);
            error
                .downcast_any_ref::<io::Error>()
                .expect("of this machine")
                .kind()
        };
        assert_eq!(kind("fatal: early EOF\n"), io::ErrorKind::UnexpectedEof);
        let full = "Receiving objects:  45% (9/20)\rfatal: write error: No space left on device\n";
        assert_eq!(kind(full), io::ErrorKind::StorageFull);
        assert_eq!(kind(""), io::ErrorKind::Other);
        let damaged =
            meaning("error: x\nfatal: pack has bad object at offset 12: inflate returned -3\n");
        assert_eq!(
            damaged.probable_cause().to_string(),
            "pack has bad object at offset 12: inflate returned -3"
        );
    }
}
