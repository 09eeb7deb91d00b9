//! Paths on this machine as git takes them: relative to where git runs, and with `..` in them. A mirror follows a path
//! wherever the daemon stands, so it gets the absolute one.

use std::{
    env, fs, io,
    path::{Component, Path, PathBuf},
};

use crate::address::upstream_url::percent_decode;

/// The absolute path without `..` of an address that is a relative path, or a path or `file://` URL with `..` in it; None
/// for any other address.
///
/// # Errors
/// Fails where a `..` follows what is no directory.
pub(super) fn absolute(typed: &str) -> Option<io::Result<String>> {
    let of_url = file_url_path(typed);
    let path = of_url.as_deref().unwrap_or(typed);
    let mut parts = path.split('/');
    let is_path = path.starts_with('/') && parts.clone().any(|part| part == "..");
    let is_relative = matches!(parts.next(), Some("." | ".."));
    (is_path || is_relative).then(|| absolute_path(path))
}

/// The absolute path of a repository or bundle that a relative path names in the current directory; None where it names
/// none. As git does, it may leave out `.git`.
#[must_use]
pub fn existing(path: &str) -> Option<String> {
    let path = path.trim_end_matches('/');
    let exists = |path: &str| Path::new(path).exists();
    let is_there = !path.is_empty() && (exists(path) || exists(&format!("{path}.git")));
    is_there.then(|| absolute_path(path).ok()).flatten()
}

/// The path of a `file://` URL on this machine.
fn file_url_path(typed: &str) -> Option<String> {
    let (scheme, rest) = typed.split_once("://")?;
    let (host, path) = rest.split_at(rest.find('/')?);
    let is_here = host.is_empty() || host.eq_ignore_ascii_case("localhost");
    let is_file = scheme.eq_ignore_ascii_case("file") && is_here;
    let is_path = is_file && !path.contains(['?', '#']);
    let path = is_path.then(|| percent_decode(path)).flatten()?;
    String::from_utf8(path).ok()
}

fn absolute_path(path: &str) -> io::Result<String> {
    let mut walked = env::current_dir()?;
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => walked = parent(walked)?,
            Component::CurDir => {}
            part => walked.push(part),
        }
    }
    let walked = walked.into_os_string().into_string();
    walked.map_err(|_| io::Error::other("it is not valid UTF-8"))
}

/// The directory above, as the system finds it: above the directory that a symbolic link leads to.
fn parent(mut dir: PathBuf) -> io::Result<PathBuf> {
    if !fs::metadata(&dir)?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    if dir.is_symlink() {
        dir = fs::canonicalize(dir)?;
    }
    dir.pop();
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_is_the_one_that_the_system_finds() {
        let here = env::current_dir().expect("a directory");
        let here = here.to_str().expect("text");
        let dir = tempfile::tempdir().expect("temp dir");
        let dir = fs::canonicalize(dir.path()).expect("there");
        fs::create_dir_all(dir.join("real/below")).expect("ours");
        symlink(dir.join("real/below"), dir.join("link")).expect("ours");
        let dir = dir.to_str().expect("text");
        let table = [
            ("./a", format!("{here}/a")),
            (".", here.to_owned()),
            ("./a//b/./c/", format!("{here}/a/b/c")),
            (&format!("{dir}/real/../x"), format!("{dir}/x")),
            (&format!("{dir}/link/../x"), format!("{dir}/real/x")),
            (
                &format!("file://{dir}/real/%2e./a%20b"),
                format!("{dir}/a b"),
            ),
            (&format!("FILE://localhost{dir}/real/.."), dir.to_owned()),
            ("/..", "/".to_owned()),
        ];
        for (typed, path) in table {
            let found = absolute(typed).map(|path| path.expect(typed));
            assert_eq!(found, Some(path), "{typed}");
        }
        for missing in [format!("{dir}/none/../x"), format!("{dir}/real/none/../x")] {
            assert!(absolute(&missing).is_some_and(|path| path.is_err()));
        }
    }

    #[test]
    fn what_is_no_such_path_is_left_to_the_parser_of_addresses() {
        for typed in [
            "/a/b",
            "/a/./b",
            "a",
            "a/b",
            "a/../b",
            "~/a",
            "h:../p",
            "https://h/../p",
            "file:///a/b",
            "file://h/../p",
            "file:///a/../b?x",
            "...",
            "",
        ] {
            assert!(absolute(typed).is_none(), "{typed}");
        }
    }
}
