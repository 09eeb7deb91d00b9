//! Whether a directory can be a home: whether nobody else decides what lies there.
//!
//! Whoever may write into a directory on the way there, or change a link on it, could put a home of their own in its
//! place. sshd asks the same of `~/.ssh` (`StrictModes`).

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Component, Path, PathBuf},
};

/// More links are followed by no system.
const MAX_LINKS: usize = 40;

const STICKY: u32 = 0o1000;
const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITES: u32 = 0o020;

/// Why a directory cannot be a home.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// A link on the way there can be changed by its owner.
    #[error("the link '{}' belongs to another user", .0.display())]
    Link(PathBuf),
    /// Others may replace what lies in a directory on the way there.
    #[error("others can write to '{}'", .0.display())]
    Writable(PathBuf),
}

/// Looks at each link and each directory on the way to `home`, which need not exist. Its own permissions do not count:
/// they are taken away from others.
///
/// # Errors
/// Fails with the first that others have in their hands. What cannot be looked at is for whoever uses it to report.
pub(super) fn check(home: &Path) -> Result<(), Untrusted> {
    let me = rustix::process::geteuid().as_raw();
    let mut left: Vec<OsString> = names(home);
    let mut at = PathBuf::from("/");
    let mut links = 0;
    while let Some(name) = left.pop() {
        if name == ".." {
            at.pop();
            continue;
        }
        if let Ok(found) = fs::symlink_metadata(&at)
            && is_open(&found, me)
        {
            return Err(Untrusted::Writable(at));
        }
        let next = at.join(name);
        let Ok(found) = fs::symlink_metadata(&next) else {
            // Most often it is not there: it is made, with what lies in it, for nobody else.
            return Ok(());
        };
        if !found.is_symlink() {
            at = next;
            continue;
        }
        if found.uid() != me && found.uid() != 0 {
            return Err(Untrusted::Link(next));
        }
        links += 1;
        let (Ok(target), true) = (fs::read_link(&next), links <= MAX_LINKS) else {
            return Ok(());
        };
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        left.extend(names(&target));
    }
    Ok(())
}

/// The names in a path, the last one first.
fn names(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    names.rev().collect()
}

/// Whether others may remove and rename what lies in a directory. A group that has the number of its user is that user's
/// own, by the custom of most systems; and root's group has no others in it.
fn is_open(found: &fs::Metadata, me: u32) -> bool {
    let mode = found.permissions().mode();
    let own_group = found.gid() == 0 || found.uid() == me && found.gid() == me;
    let open = if own_group {
        OTHERS_WRITE
    } else {
        OTHERS_WRITE | GROUP_WRITES
    };
    found.is_dir() && mode & open != 0 && mode & STICKY == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, lchown, symlink};

    use super::*;

    fn set_mode(dir: &Path, mode: u32) {
        fs::set_permissions(dir, fs::Permissions::from_mode(mode)).expect("it is ours");
    }

    #[test]
    fn a_home_below_a_directory_that_others_can_write_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().canonicalize().expect("it is there");
        let shared = root.join("shared");
        fs::create_dir_all(shared.join("mine")).expect("it is ours");
        let homes = [shared.join("new"), shared.join("mine/new/er")];
        for (mode, expected) in [
            (0o755, Ok(())),
            (0o777, Err(Untrusted::Writable(shared.clone()))),
            (0o1777, Ok(())),
        ] {
            set_mode(&shared, mode);
            for home in &homes {
                assert_eq!(check(home), expected, "{mode:o} {}", home.display());
            }
        }
        set_mode(&shared, 0o777);
        assert_eq!(check(&shared), Ok(()), "its own is closed later");
        let link = root.join("link");
        symlink("shared/mine", &link).expect("it is ours");
        let through = Err(Untrusted::Writable(shared.clone()));
        assert_eq!(check(&link.join("home")), through);
        assert_eq!(check(&link.join("../home")), through);
        symlink("loop", root.join("loop")).expect("it is ours");
        assert_eq!(check(&root.join("loop/home")), Ok(()), "it ends");
    }

    #[test]
    fn a_link_of_another_user_leads_to_no_home() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().canonicalize().expect("it is there");
        fs::create_dir(root.join("there")).expect("it is ours");
        let link = root.join("link");
        symlink("there", &link).expect("it is ours");
        assert_eq!(check(&link), Ok(()));
        assert_eq!(check(&link.join("home")), Ok(()));
        // Only root can give something away.
        if lchown(&link, Some(65534), None).is_ok() {
            for home in [link.clone(), link.join("home")] {
                assert_eq!(check(&home), Err(Untrusted::Link(link.clone())));
            }
            let group = root.join("group");
            fs::create_dir(&group).expect("it is ours");
            chown(&group, None, Some(65534)).expect("root may");
            set_mode(&group, 0o775);
            assert_eq!(check(&group.join("home")), Err(Untrusted::Writable(group)));
        }
    }
}
