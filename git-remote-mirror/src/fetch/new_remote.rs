//! What a remote gets when it is new: the address of its large files, and a word about submodules.

use std::process::{Command, Stdio};

use common::{
    address::upstream_url::{Address, Scheme, UpstreamUrl},
    git::{self, child_log, client_context::UserConfig},
    progress::tell,
};

use crate::helper::Invocation;

/// A remote that is new, and what it is to get. Nothing here is worth failing for.
pub(crate) struct NewRemote {
    name: String,
    url: UpstreamUrl,
    lfs: bool,
    submodules: bool,
}

impl NewRemote {
    /// Whether the remote of this upstream is new and is to get anything.
    pub(crate) fn look(invocation: &Invocation, url: &str) -> Option<Self> {
        let Invocation { remote, config, .. } = invocation;
        let Ok(Address::Url(url, _)) = Address::parse(url) else {
            return None;
        };
        config.get(&format!("remote.{remote}.url"))?;
        let lfs = url.scheme() == Scheme::Https && !says_where_lfs_is(config, remote);
        let submodules = config.get("submodule.active").is_some() && !allows_mirror(config);
        if !(lfs || submodules) || !is_new(remote) {
            return None;
        }
        Some(Self {
            name: remote.clone(),
            url,
            lfs,
            submodules,
        })
    }

    /// Gives it what it is to get; `git` works where its history is, which has these tips.
    pub(crate) fn set_up(&self, git: impl Fn() -> Command, tips: &[String]) {
        let tip_has = |tip: &String, file: &str| {
            let mut git = git();
            git.args(["rev-parse", "-q", "--verify", &format!("{tip}:{file}")])
                .env("GIT_NO_LAZY_FETCH", "1");
            let looked = child_log::status(quiet(&mut git));
            looked.is_ok_and(|status| status.success())
        };
        let has = |file: &str| tips.iter().any(|tip| tip_has(tip, file));
        if self.lfs && !has(".lfsconfig") {
            set_lfs_url(&self.name, &self.url);
        }
        if self.submodules && has(".gitmodules") {
            hint_at_submodules();
        }
    }
}

/// git-lfs would append its path to `mirror::https://…`, which no server has.
fn set_lfs_url(remote: &str, url: &UpstreamUrl) {
    let stem = url.as_str().strip_suffix(".git").unwrap_or(url.as_str());
    let (key, value) = (
        format!("remote.{remote}.lfsurl"),
        format!("{stem}.git/info/lfs"),
    );
    let mut git = git::of_user();
    let _ = child_log::status(quiet(git.args(["config", &key, &value])));
}

fn says_where_lfs_is(config: &UserConfig, remote: &str) -> bool {
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

/// git is about to refuse the submodules before it runs us for them, so this is the last chance to say how.
fn hint_at_submodules() {
    tell(
        "hint: submodules go through the mirror too when you allow it: git config --global protocol.mirror.allow always",
    );
}

/// A remote is new while nothing has been fetched from it.
fn is_new(remote: &str) -> bool {
    let refs = format!("refs/remotes/{remote}/");
    let mut git = git::of_user();
    quiet(git.args(["for-each-ref", "--count=1", &refs])).stdout(Stdio::piped());
    let fetched = child_log::output(&mut git);
    fetched.is_ok_and(|output| output.status.success() && output.stdout.is_empty())
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdout(Stdio::null()).stderr(Stdio::null())
}
