//! The settings of a remote that is new: its absolute path, the URL of its large files, and those of its submodules.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use common::{
    address::upstream_url::{Address, Scheme, UpstreamUrl},
    git::{self, child_log, client_context::UserConfig},
    progress::tell,
};

use super::submodules;
use crate::{invocation::Invocation, local_repo::set_config};

/// A remote that is new, and what it is to get. A fetch does not fail when it cannot get it.
pub(crate) struct NewRemote {
    name: String,
    url: UpstreamUrl,
    /// Whether git-lfs is to be told the URL.
    lfs: bool,
    /// Whether its submodules are to be cloned, too, and get their URLs.
    submodules: bool,
    /// Whether the URLs of submodules may begin with `mirror::`.
    is_mirror_allowed: bool,
    /// The configuration file that gets it.
    config: PathBuf,
}

impl NewRemote {
    /// Finds out what the remote of this upstream is to get; None where it is not new, or has all.
    pub(crate) fn find(invocation: &Invocation, url: &str) -> Option<Self> {
        let Invocation { remote, config, .. } = invocation;
        let Ok(Address::Url(url, _)) = Address::parse(url) else {
            return None;
        };
        config.get(&format!("remote.{remote}.url"))?;
        let lfs = url.scheme() == Scheme::Https && !has_lfs_url(config, remote);
        let is_mirror_allowed = allows_mirror(config);
        let is_named = matches!(invocation.address, Address::Name(_));
        let submodules =
            config.get("submodule.active").is_some() && (is_named || !is_mirror_allowed);
        if !(lfs || submodules) || !is_new(remote, config) {
            return None;
        }
        Some(Self {
            name: remote.clone(),
            url,
            lfs,
            submodules,
            is_mirror_allowed,
            config: invocation.local_repo.as_ref()?.config(),
        })
    }

    /// Gives the remote what it is to get. `git` makes a git in the repository that has its history, with these tips.
    pub(crate) fn configure(&self, git: impl Fn() -> Command, tips: &[String]) {
        let tip_has = |tip: &String, file: &str| {
            let mut git = git();
            git.args(["rev-parse", "-q", "--verify", &format!("{tip}:{file}")])
                .env("GIT_NO_LAZY_FETCH", "1");
            let found = child_log::status(discard_output(&mut git));
            found.is_ok_and(|status| status.success())
        };
        let has = |file: &str| tips.iter().any(|tip| tip_has(tip, file));
        if self.lfs && !has(".lfsconfig") {
            self.set_lfs_url();
        }
        let write_urls = |tip: &String| {
            submodules::write_urls(git(), tip, &self.url, self.is_mirror_allowed, &self.config)
        };
        if self.submodules && tips.iter().any(write_urls) && !self.is_mirror_allowed {
            print_submodule_hint();
        }
    }

    /// git-lfs would append its path to `mirror::https://…`, which no server has.
    fn set_lfs_url(&self) {
        let stem = self.url.as_str();
        let stem = stem.strip_suffix(".git").unwrap_or(stem);
        let key = format!("remote.{}.lfsurl", self.name);
        set_config(&self.config, &key, &format!("{stem}.git/info/lfs"));
    }
}

/// Gives the remote of a clone that was typed as a relative path the absolute one, as git does: later fetches run in the
/// clone. A clone does not fail where the path cannot be written.
pub(crate) fn write_absolute_path(invocation: &Invocation, typed: &str) {
    let Invocation { remote, config, .. } = invocation;
    let path = match &invocation.address {
        Address::Url(url, _) => url.file_path(),
        Address::Name(_) => None,
    };
    let (Some(path), Some(local_repo)) = (path, &invocation.local_repo) else {
        return;
    };
    let key = format!("remote.{remote}.url");
    let is_relative = !typed.starts_with('/') && !typed.contains("://");
    if is_relative
        && is_clone(remote, config)
        && config.get(&key) == Some(&format!("mirror::{typed}"))
    {
        let value = format!("mirror::{}", path.display());
        set_config(&local_repo.config(), &key, &value);
    }
}

fn has_lfs_url(config: &UserConfig, remote: &str) -> bool {
    let keys = [
        "lfs.url".to_owned(),
        "lfs.pushurl".into(),
        format!("remote.{remote}.lfsurl"),
        format!("remote.{remote}.lfspushurl"),
    ];
    keys.iter().any(|key| config.get(key).is_some())
}

fn allows_mirror(config: &UserConfig) -> bool {
    let rule = config
        .get("protocol.mirror.allow")
        .or_else(|| config.get("protocol.allow"));
    rule == Some("always") || std::env::var_os("GIT_ALLOW_PROTOCOL").is_some()
}

/// Says how submodules go through a mirror. git refuses their URLs before it runs a helper for them, so this is the last
/// occasion.
fn print_submodule_hint() {
    tell(
        "hint: submodules with relative URLs come straight from upstream; they go through the mirror when you allow it: \
         git config --global protocol.mirror.allow always",
    );
}

/// Whether git has begun the clone of this remote: it has no refspecs yet.
fn is_clone(remote: &str, config: &UserConfig) -> bool {
    config.get(&format!("remote.{remote}.fetch")).is_none()
}

/// Whether nothing has been fetched from the remote.
fn is_new(remote: &str, config: &UserConfig) -> bool {
    let refs = format!("refs/remotes/{remote}/");
    let mut git = git::of_user();
    discard_output(git.args(["for-each-ref", "--count=1", &refs])).stdout(Stdio::piped());
    match child_log::output(&mut git) {
        Ok(output) if output.status.success() => output.stdout.is_empty(),
        // git 2.44 opens no repository that a clone has begun.
        _ => is_clone(remote, config),
    }
}

fn discard_output(command: &mut Command) -> &mut Command {
    command.stdout(Stdio::null()).stderr(Stdio::null())
}
