//! A bundle (gitformat-bundle(5)) at the address: a file that never changes needs no mirror, and git reads it by itself.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::Stdio,
};

use common::{
    address::upstream_url::Address,
    git::{
        self,
        child_log::{self, ChildLog},
    },
    protocol::{Failure, FailureKind, OrFailure},
    text::masked,
};

use crate::{
    invocation::Invocation,
    options::Options,
    wants::{self, Wants},
};

/// What a bundle begins with; the number of its format follows.
const SIGNATURE: &[u8] = b"# v";
/// What ends that line.
const TITLE: &[u8] = b" git bundle\n";

/// The URL that git is told for the bundle: no rule of the user's rewrites it.
const ALIAS: &str = "mirror-bundle://";
/// The variable with that URL, for git's `--config-env`.
const ALIAS_VARIABLE: &str = "MIRROR_ALIAS";

/// A bundle.
pub(crate) struct Bundle {
    path: PathBuf,
}

impl Bundle {
    /// The bundle that the address means; None where it means something else.
    ///
    /// # Errors
    /// Fails where a bundle is no answer to `service`.
    pub(crate) fn find(invocation: &Invocation, service: &str) -> Result<Option<Self>, Failure> {
        let Address::Url(url, None) = &invocation.address else {
            return Ok(None);
        };
        let path = url.file_path().filter(|path| is_bundle(path));
        let Some(path) = path.map(Path::to_owned) else {
            return Ok(None);
        };
        if service == "git-upload-pack" {
            return Ok(Some(Self { path }));
        }
        let what = match service {
            "git-receive-pack" => "push to",
            _ => "make an archive of",
        };
        let message = format!("cannot {what} '{}': it is a bundle", shown(&path));
        Err(Failure::new(FailureKind::Usage, message))
    }

    /// Returns the lines that answer `list`.
    ///
    /// # Errors
    /// Fails when git cannot read the bundle.
    pub(crate) fn ref_lines(&self) -> Result<Vec<u8>, Failure> {
        let unreadable = || format!("cannot read the bundle '{}'", shown(&self.path));
        let mut git = git::of_user();
        git.args(["bundle", "list-heads"]).arg(&self.path);
        let heads = child_log::output(git.stdin(Stdio::null())).or_failure(unreadable())?;
        if !heads.status.success() {
            let reason = masked(heads.stderr.trim_ascii());
            let reason = reason.strip_prefix("error: ").unwrap_or(&reason);
            return Err(Failure::here(format!("{}: {reason}", unreadable())));
        }
        let is_sha256 = heads.stdout.iter().position(|byte| *byte == b' ') == Some(64);
        let format: &[u8] = match is_sha256 {
            true => b":object-format sha256\n",
            false => b"",
        };
        // git, too, lists them from the last to the first.
        let lines = heads.stdout.split_inclusive(|byte| *byte == b'\n').rev();
        let lines: Vec<u8> = lines.flatten().copied().collect();
        Ok([format, &lines, b"\n"].concat())
    }

    /// Has git fetch the wanted objects from the bundle.
    ///
    /// # Errors
    /// Fails when git does; git has then said why on stderr.
    pub(crate) fn fetch(&self, wants: &Wants, options: &Options) -> Result<(), Failure> {
        let mut git = git::of_user();
        let mut setting = OsString::from("--config-env=url.");
        setting.push(&self.path);
        setting.push(format!(".insteadOf={ALIAS_VARIABLE}"));
        git.arg(setting).env(ALIAS_VARIABLE, ALIAS);
        git.args(["fetch", "--quiet", "--stdin", "--no-tags"])
            .args(["--no-write-fetch-head", "--no-auto-maintenance"])
            .arg("--recurse-submodules=no")
            .args(options.shows_progress().then_some("--progress"))
            .arg(ALIAS)
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        let failed = || format!("cannot fetch from the bundle '{}'", shown(&self.path));
        let log = ChildLog::begin(&git);
        let mut child = git.spawn().or_failure(failed())?;
        if let Some(mut stdin) = child.stdin.take() {
            // A git that did not read all of it ends with a failure.
            let _ = stdin.write_all(&wants::lines(wants));
        }
        let status = child.wait().or_failure(failed())?;
        log.ended(status);
        match status.success() {
            true => Ok(()),
            false => Err(Failure::here(failed())),
        }
    }
}

fn shown(path: &Path) -> String {
    masked(path.as_os_str().as_encoded_bytes())
}

/// Whether a file begins as a bundle does.
fn is_bundle(path: &Path) -> bool {
    let begin = || -> io::Result<[u8; 16]> {
        let mut begin = [0; SIGNATURE.len() + 1 + TITLE.len()];
        if path.metadata()?.is_file() {
            File::open(path)?.read_exact(&mut begin)?;
        }
        Ok(begin)
    };
    begin().is_ok_and(|begin| begin.starts_with(SIGNATURE) && begin.ends_with(TITLE))
}
