//! Makes every child of git, in one of two places: fenced, or where the user stands.
//!
//! A fenced child sees an environment made from an allow-list and none of the user's or the system's configuration, so
//! that nothing that was set for other repositories (hooks, rewritten URLs, templates, replaced objects, traces) reaches
//! a mirror. A child in the user's place sees exactly what the user's own git would.

use std::{
    env,
    ffi::{OsStr, OsString},
    io,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::PermissionsExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::text::shell_quoted;

/// The faults of objects that GitLab accepts, and our checks of objects therefore accept, too.
pub const TOLERATED: [&str; 3] = [
    "badTimezone",
    "missingSpaceBeforeDate",
    "zeroPaddedFilemode",
];

/// The variable that is set for every child. A helper that finds it was started by one of our children, and refuses: some rule of
/// the user's rewrites an upstream into a mirror of itself.
pub const GUARD: &str = "MIRROR_INSIDE";

/// The variable with the user's current directory, for a fenced child whose hooks run children there.
const PLACE: &str = "MIRROR_PLACE";

/// The prefix under which a fenced child carries the user's variables.
const CARRIED: &str = "MIRROR_CARRIED_";

/// The variables by which a child finds programs, its home and its locale; and our own, so that a child of ours that
/// comes back to us finds the same daemon.
const ENVIRONMENT: [&str; 17] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TMPDIR",
    "TZ",
    "XDG_RUNTIME_DIR",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
    "SSH_AUTH_SOCK",
    "LD_LIBRARY_PATH",
    "MIRROR_HOME",
    "MIRROR_LOG",
];

/// The part of this process's environment that our own processes inherit.
pub fn environment() -> impl Iterator<Item = (&'static str, OsString)> {
    ENVIRONMENT
        .into_iter()
        .filter_map(|name| Some((name, env::var_os(name)?)))
}

/// Finds a program in PATH. If a command has an environment of its own and its program is a mere name, the standard library
/// copies this process first to look for it there, and a daemon of some size pays for that with each child.
#[must_use]
pub fn found(name: impl AsRef<OsStr>) -> PathBuf {
    found_on(&env::var_os("PATH").unwrap_or_default(), name.as_ref())
}

/// Finds a program in another PATH, as [`found`] does.
#[must_use]
pub fn found_on(path: &OsStr, name: &OsStr) -> PathBuf {
    if name.as_bytes().contains(&b'/') {
        return name.into();
    }
    let is_program = |path: &PathBuf| {
        let found = path.metadata();
        found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    let places = env::split_paths(path).filter(|dir| dir.is_absolute());
    let mut programs = places.map(|dir| dir.join(name)).filter(is_program);
    // Where there is none, its start says so.
    programs.next().unwrap_or_else(|| name.into())
}

/// Returns a fenced git, without input.
#[must_use]
pub fn fenced() -> Command {
    let mut git = Command::new(found("git"));
    git.env_clear()
        .envs(environment())
        .env(GUARD, "1")
        .env("LC_ALL", "C")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_ATTR_NOSYSTEM", "1")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ALLOW_PROTOCOL", "http:https")
        .args([
            "-c",
            "core.hooksPath=/dev/null",
            "-c",
            "core.fsmonitor=false",
        ])
        .args(["-c", "gc.auto=0", "-c", "maintenance.auto=false"])
        .stdin(Stdio::null())
        .current_dir("/");
    git
}

/// Returns a fenced git at work in a bare repository.
///
/// The directory is named rather than searched for, which `safe.bareRepository=explicit` would forbid.
#[must_use]
pub fn at(git_dir: &Path) -> Command {
    let mut git = fenced();
    git.arg("--git-dir").arg(git_dir);
    git
}

/// Lets a child of git read the objects of another object directory, too. The variable is a list with colons between its
/// paths; a path in double quotes is one path whatever is in it.
pub fn add_alternate<'c>(git: &'c mut Command, objects: &Path) -> &'c mut Command {
    let mut quoted = vec![b'"'];
    for byte in objects.as_os_str().as_bytes() {
        if matches!(byte, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(*byte);
    }
    quoted.push(b'"');
    git.env(
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        OsString::from_vec(quoted),
    )
}

/// Returns a fenced child with a low priority, so that it does not delay those for whom somebody waits.
#[must_use]
pub fn niced(fenced: &Command) -> Command {
    let mut nice = Command::new(found("nice"));
    nice.args(["-n", "10"])
        .arg(fenced.get_program())
        .args(fenced.get_args())
        .env_clear()
        .envs(
            fenced
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .stdin(Stdio::null())
        .current_dir(fenced.get_current_dir().unwrap_or(Path::new("/")));
    nice
}

/// Returns a git in the user's directory, with their environment, configuration and credential helpers. In a hook of a fenced
/// child that is what [`carry_user`] gave along.
#[must_use]
pub fn of_user() -> Command {
    as_user("git")
}

/// Returns a git with the user's environment and configuration, in no repository.
#[must_use]
pub fn of_user_at_large() -> Command {
    let mut git = of_user();
    leave_repository(&mut git).current_dir("/");
    git
}

/// Keeps from a child in which repository its parent is at work, as git does with those that are not about it.
pub fn leave_repository(child: &mut Command) -> &mut Command {
    for name in OF_REPOSITORY {
        child.env_remove(name);
    }
    child
}

/// The variables that `git rev-parse --local-env-vars` lists.
const OF_REPOSITORY: [&str; 15] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
    "GIT_OBJECT_DIRECTORY",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_GRAFT_FILE",
    "GIT_INDEX_FILE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_COMMON_DIR",
];

/// Returns a program in the user's directory, as [`of_user`] does for git. It writes no trace that they have turned on:
/// what it is told and says may be secret.
#[must_use]
pub fn as_user(program: impl AsRef<OsStr>) -> Command {
    let mut git = Command::new(program);
    if let Some(place) = env::var_os(PLACE) {
        let carried = |(name, value): (OsString, OsString)| {
            let name = name.as_bytes().strip_prefix(CARRIED.as_bytes())?;
            Some((OsString::from_vec(name.to_vec()), value))
        };
        git.current_dir(place)
            .env_clear()
            .envs(env::vars_os().filter_map(carried));
    }
    for name in TRACES {
        git.env_remove(name);
    }
    // These three the user's configuration may turn on, too.
    for name in ["GIT_TRACE2", "GIT_TRACE2_EVENT", "GIT_TRACE2_PERF"] {
        git.env(name, "0");
    }
    // Only `git config` obeys GIT_CONFIG, and what it then reads is not what the user's other commands do.
    git.env(GUARD, "1")
        .env_remove("GIT_CONFIG")
        .stdin(Stdio::null());
    git
}

/// The variables that make git and curl write traces, which may contain secrets.
const TRACES: [&str; 17] = [
    "GIT_CURL_VERBOSE",
    "GIT_TRACE",
    "GIT_TRACE_BARE",
    "GIT_TRACE_BARE_OPTIONS",
    "GIT_TRACE_CURL",
    "GIT_TRACE_CURL_NO_DATA",
    "GIT_TRACE_CURL_COMPONENTS",
    "GIT_TRACE_FSMONITOR",
    "GIT_TRACE_PACKET",
    "GIT_TRACE_PACKFILE",
    "GIT_TRACE_PACK_ACCESS",
    "GIT_TRACE_PERFORMANCE",
    "GIT_TRACE_REDACT",
    "GIT_TRACE_REFS",
    "GIT_TRACE_SETUP",
    "GIT_TRACE_SHALLOW",
    "GIT_TRACE2_DST_DEBUG",
];

/// Lets the hooks of a fenced child make children where the user stands: it sees the user's variables only under names
/// that mean nothing to it.
///
/// # Errors
/// Fails when this process stands nowhere.
pub fn carry_user(fenced: &mut Command) -> io::Result<()> {
    fenced.env(PLACE, env::current_dir()?);
    for (name, value) in env::vars_os() {
        let mut carried = OsString::from(CARRIED);
        carried.push(name);
        fenced.env(carried, value);
    }
    Ok(())
}

/// Returns a git that talks to a server as the user's would, at work in a scratch repository of ours: of the user's variables it
/// sees those that are not about the repository that they stand in, and of their configuration what is given to it.
#[must_use]
pub fn to_upstream(scratch: &Path) -> Command {
    let mut git = of_user();
    let is_elsewhere = |name: &OsStr| {
        let name = name.as_bytes();
        ELSEWHERE.iter().any(|prefix| name.starts_with(prefix))
    };
    let others: Vec<_> = git
        .get_envs()
        .map(|(name, _)| name.to_owned())
        .filter(|name| is_elsewhere(name))
        .collect();
    for name in others {
        git.env_remove(name);
    }
    git.env("GIT_DIR", scratch)
        .env("LC_ALL", "C")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_NO_LAZY_FETCH", "1");
    git
}

/// Keeps git's http client from looking into `~/.netrc`. Returns what a credential helper of ours, in the words of the
/// shell, must begin with to find its home again.
pub fn hide_netrc(git: &mut Command) -> String {
    git.env("HOME", "/nonexistent");
    match env::var("HOME") {
        Ok(home) => format!("HOME={} ", shell_quoted(&home)),
        Err(_) => String::new(),
    }
}

/// The prefixes of git's variables that are about the current repository, or about how git works.
/// All other variables with `GIT_` are about how to talk to a server.
const ELSEWHERE: [&[u8]; 24] = [
    b"GIT_ALLOW_PROTOCOL",
    b"GIT_ALTERNATE_",
    b"GIT_ATTR_",
    b"GIT_CEILING_",
    b"GIT_COMMON_DIR",
    b"GIT_CONFIG",
    b"GIT_DEFAULT_",
    b"GIT_DIR",
    b"GIT_GRAFT_FILE",
    b"GIT_IMPLICIT_",
    b"GIT_INDEX_",
    b"GIT_INTERNAL_",
    b"GIT_NAMESPACE",
    b"GIT_NO_",
    b"GIT_OBJECT_",
    b"GIT_PREFIX",
    b"GIT_PROTOCOL",
    b"GIT_PUSH_",
    b"GIT_QUARANTINE_",
    b"GIT_REF",
    b"GIT_REPLACE_",
    b"GIT_SHALLOW_FILE",
    b"GIT_TRACE",
    b"GIT_WORK_TREE",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fenced_child_sees_no_variable_that_is_not_allowed() {
        let output = fenced()
            .args(["-c", "alias.env=!env", "env"])
            .env_remove("LC_ALL")
            .output()
            .expect("git runs");
        let seen = String::from_utf8_lossy(&output.stdout);
        for line in seen.lines() {
            let name = line.split('=').next().unwrap_or_default();
            let ours =
                name.starts_with("GIT_") || [GUARD, "PWD", "_", "SHLVL", "OLDPWD"].contains(&name);
            assert!(
                ours || ENVIRONMENT.contains(&name),
                "'{name}' got through the fence"
            );
        }
        assert!(seen.contains("GIT_CONFIG_GLOBAL=/dev/null"), "{seen}");
    }
}
