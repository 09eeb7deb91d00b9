//! Receives a pack: a child of git indexes it while it is downloaded, unless it is small. For a first download the same
//! child checks that no object is missing.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
    thread,
};

use common::{
    git,
    protocol::{Failure, FailureKind},
};
use gix::{ObjectId, error::ErrorExt, objs::Exists, odb::pack};
use rustix::{io::Errno, process::Signal};
use tokio::runtime::Handle;

use super::Quarantine;
use crate::{
    process::{child, memory, relay::Relay, watch::Watch},
    repository::connected::INCOMPLETE,
};

impl Quarantine {
    /// Receives one pack from an upstream to which no commit of the mirror was named: all objects that it needs must be in it.
    pub(crate) fn index_self_contained(
        &self,
        pack: &mut dyn BufRead,
        watch: &Watch,
    ) -> gix::Result<()> {
        let mut git = git::at(&self.git_dir);
        // git does not see the objects of the mirror: they may be damaged.
        git.env("GIT_OBJECT_DIRECTORY", &self.dir);
        run_index_pack(git, "--check-self-contained-and-connected", pack, watch)
    }

    /// Receives one pack that may need objects of the mirror: a thin pack is completed.
    pub(crate) fn index_pack(&self, pack: &mut dyn BufRead, watch: &Watch) -> gix::Result<()> {
        let mut start = Vec::new();
        let header = pack.take(HEADER_BYTES).read_to_end(&mut start);
        header.map_err(ErrorExt::raise)?;
        if has_few_objects(&start) {
            let rest = pack.take(MAX_SMALL_BYTES - HEADER_BYTES);
            let rest = { rest }.read_to_end(&mut start);
            rest.map_err(ErrorExt::raise)?;
            let is_whole = (start.len() as u64) < MAX_SMALL_BYTES;
            if is_whole && self.index_small(&start, watch).is_ok() {
                watch.set_bytes(start.len() as u64);
                return Ok(());
            }
        }
        run_index_pack(self.git(), "--fix-thin", &mut start.chain(pack), watch)
    }

    /// Indexes a small pack in this process: to start a child would take longer.
    fn index_small(&self, pack: &[u8], watch: &Watch) -> gix::Result<()> {
        let repo = self.repository().map_err(ErrorExt::raise)?;
        let options = pack::bundle::write::Options {
            alloc_limit_bytes: Some(MAX_SMALL_OBJECT_BYTES),
            ..Default::default()
        };
        let outcome = pack::Bundle::write_to_directory(
            &mut BufReader::new(pack),
            Some(&self.path().join("pack")),
            &mut gix::progress::Discard,
            watch.flag(),
            Some(repo.objects.clone()),
            repo.object_hash(),
            options,
        )?;
        if let Some(keep) = outcome.keep_path {
            let _ = fs::remove_file(keep);
        }
        Ok(())
    }

    /// Whether the quarantine has all these objects.
    pub(crate) fn has_all(&self, tips: &BTreeSet<ObjectId>) -> io::Result<bool> {
        let format = self.repository()?.object_hash();
        let objects = gix::odb::at(&self.dir, format)?;
        Ok(tips.iter().all(|tip| objects.exists(tip)))
    }
}

/// The largest pack that is indexed in this process. It takes at most 32 MiB of memory: 32 objects of 1 MiB.
const MAX_SMALL_BYTES: u64 = 64 << 10;
const MAX_SMALL_OBJECTS: u32 = 32;
const MAX_SMALL_OBJECT_BYTES: usize = 1 << 20;

/// The length of a pack's header: `PACK`, the version and the number of objects, four bytes each (gitformat-pack).
const HEADER_BYTES: u64 = 12;

/// Whether a pack has so few objects, by its header, that they cannot take much memory.
fn has_few_objects(header: &[u8]) -> bool {
    let objects = header.get(8..12).and_then(|count| count.try_into().ok());
    let objects = objects.map(u32::from_be_bytes);
    objects.is_some_and(|objects| objects <= MAX_SMALL_OBJECTS)
}

/// Has a child of git index a pack while it is downloaded: its objects are never in the memory of this process.
fn run_index_pack(
    mut git: Command,
    option: &str,
    pack: &mut dyn BufRead,
    watch: &Watch,
) -> gix::Result<()> {
    // `Quarantine::release` syncs the files.
    git.args(["-c", "core.fsync=none", "-c", memory::STREAM_BLOBS])
        .args(["index-pack", "--stdin", "-v", option])
        .stdout(Stdio::null());
    let (reader, writer) = io::pipe().map_err(ErrorExt::raise)?;
    git.stdin(reader);
    let runtime = Handle::current();
    let (fed, ended) = thread::scope(|scope| {
        let child = scope.spawn(move || {
            let _runtime = runtime.enter();
            let mut relay = Relay::default();
            let on_stderr = |piece: &[u8]| relay.read(piece, watch);
            child::run_reading(git, Vec::new(), None, watch, on_stderr)
        });
        let fed = feed(pack, writer);
        (fed, child.join())
    });
    let ended = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    // When the download fails, the child only reports that its input has ended.
    let bytes = fed.map_err(ErrorExt::raise)?;
    let ended = ended.map_err(ErrorExt::raise)?;
    if ended.status.success() {
        watch.set_bytes(bytes);
        return Ok(());
    }
    Err(match ended.status.signal() {
        // A file would have become larger than the daemon's limit allows.
        Some(signal) if signal == Signal::XFSZ.as_raw() => io::Error::from(Errno::FBIG).raise(),
        Some(signal) => io::Error::other(format!("git died of signal {signal}")).raise(),
        None => error_of(&String::from_utf8_lossy(&ended.stderr)),
    })
}

/// Copies a pack to a child until either of them ends. Returns the number of bytes.
///
/// # Errors
/// Fails when the pack cannot be read. A child that fails reports that by itself.
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

/// The error that `git index-pack` reports on stderr.
fn error_of(stderr: &str) -> gix::Error {
    // The last line may follow half a line of progress.
    let mut lines = stderr.rsplit(['\n', '\r']);
    let fatal = lines.find_map(|line| line.strip_prefix("fatal: "));
    let fatal = fatal
        .unwrap_or("git index-pack ended without a word")
        .trim();
    if let Some(missing) = fatal.strip_prefix("did not receive expected object ") {
        let message = format!("{INCOMPLETE}: {missing} is missing");
        return Failure::new(FailureKind::Unusable, message).raise();
    }
    if let Some(failure) = memory::exhausted(fatal) {
        return failure.raise();
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
    let is_this = |err: &io::Error| fatal.ends_with(&common::text::io_message(err));
    match disk.find(is_this) {
        Some(err) => err.raise(),
        None => io::Error::other(fatal.to_owned()).raise(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_index_pack_are_understood() {
        let missing =
            error_of("Receiving objects: 100%\nfatal: did not receive expected object 12ab\n");
        let failure = missing.downcast_any_ref::<Failure>().expect("a failure");
        assert_eq!(
            failure.message,
            "upstream did not send all necessary objects: 12ab is missing"
        );
        let kind = |stderr: &str| {
            let error = error_of(stderr);
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
            error_of("error: x\nfatal: pack has bad object at offset 12: inflate returned -3\n");
        assert_eq!(
            damaged.probable_cause().to_string(),
            "pack has bad object at offset 12: inflate returned -3"
        );
    }
}
