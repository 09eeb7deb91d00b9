//! One run of the helper: which mirror is meant, in which repository, with which options. [`crate::helper`] makes an
//! [`Invocation`] as soon as git has said what it wants, and hands it to [`crate::fetch`] or [`crate::push`].

use std::{env, io};

use common::{
    address::upstream_url::Address,
    client::resolve,
    git::{client_context::UserConfig, reading_config::ReadingConfig},
    protocol::{Failure, OrFailure},
};

use crate::{caller::Caller, local_repo::LocalRepo, login_in_url, options::Options};

/// What a run of the helper is about.
pub(crate) struct Invocation {
    /// The remote's name, or its URL when it has no name.
    pub remote: String,
    /// The upstream or the mirror that is meant.
    pub address: Address,
    /// git's configuration where git runs the helper.
    pub config: UserConfig,
    /// The repository that git runs the helper in.
    pub local_repo: Option<LocalRepo>,
    /// The git command that runs the helper, where the system shows it.
    pub caller: Option<Caller>,
    /// The options that git has set.
    pub options: Options,
}

impl Invocation {
    /// Finds the repository, while git's configuration is being read. `typed` is the address behind `mirror::`.
    ///
    /// # Errors
    /// Fails when either cannot be read, when the address means no mirror, and when it has a password that git would write
    /// down.
    pub(crate) fn new(
        remote: &str,
        typed: &str,
        config: io::Result<ReadingConfig>,
        options: Options,
    ) -> Result<Self, Failure> {
        let local_repo = LocalRepo::find();
        let caller = Caller::find();
        let config = config.and_then(ReadingConfig::finish);
        let mut config = config.or_failure("cannot read git's configuration")?;
        config.use_proxy_of(remote);
        login_in_url::refuse(remote, typed, &config)?;
        let local_repo = local_repo.or_failure("cannot look at the repository")?;
        Ok(Self {
            remote: remote.to_owned(),
            address: resolve::resolve(typed, &config)?,
            config,
            local_repo,
            caller,
            options,
        })
    }

    /// The user name that was typed into the URL.
    pub(crate) fn username(&self) -> Option<&str> {
        match &self.address {
            Address::Url(_, Some(login)) => Some(login.username.as_str()),
            _ => None,
        }
    }

    /// Whether git fetches objects by itself that a partial clone lacks: what git calls a lazy fetch.
    ///
    /// A lazy fetch is known by the setting that `fetch_objects()` in git's promisor-remote.c puts on its child's command
    /// line.
    pub(crate) fn is_lazy_fetch(&self) -> bool {
        const SETTING: &str = "fetch.negotiationalgorithm";
        let options = &self.options;
        // A setting in a file is the user's own.
        let from_command_line = env::var("GIT_CONFIG_PARAMETERS").unwrap_or_default();
        let is_by_itself = from_command_line.to_ascii_lowercase().contains(SETTING)
            && self.config.get(SETTING) == Some("noop");
        let is_promised = options.filter.is_some() && options.from_promisor;
        is_by_itself && is_promised && options.depth.is_none() && self.is_partial()
    }

    /// Whether the repository names its objects by SHA-256.
    pub(crate) fn is_sha256(&self) -> bool {
        let format = self.config.get("extensions.objectformat");
        format.is_some_and(|format| format.eq_ignore_ascii_case("sha256"))
    }

    /// Whether the repository is a shallow or a partial clone.
    pub(crate) fn is_partial(&self) -> bool {
        let local_repo = self.local_repo.as_ref();
        local_repo.is_some_and(|local_repo| local_repo.is_partial(&self.config))
    }

    /// Whether git keeps every pack, whatever its size: a clone does, and a fetch with an option that it tells no helper.
    pub(crate) fn keeps_packs(&self, options: &Options) -> bool {
        let caller = self.caller.as_ref();
        options.cloning || caller.is_some_and(|caller| caller.has("--keep") || caller.has("-k"))
    }

    /// Whether the repository borrows objects of other ones.
    pub(crate) fn borrows(&self) -> bool {
        self.local_repo.as_ref().is_some_and(LocalRepo::borrows)
    }

    /// Whether git clones: the remote has its URL and no refspecs yet.
    pub(crate) fn is_unfinished_clone(&self) -> bool {
        let has = |key| {
            self.config
                .get(&format!("remote.{}.{key}", self.remote))
                .is_some()
        };
        has("url") && !has("fetch")
    }

    /// Whether the repository has no objects, of its own or borrowed ones.
    pub(crate) fn has_no_objects(&self) -> bool {
        self.local_repo
            .as_ref()
            .is_some_and(LocalRepo::has_no_objects)
    }
}
