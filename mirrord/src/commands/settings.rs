//! The settings of a mirror as options, and `mirrord set`, which changes them.

use std::process::ExitCode;

use clap::Args;
use common::{
    address::upstream_url::Address,
    paths::Paths,
    progress::masked,
    protocol::{self, Credential, Failure, FailureKind, Reply, Request, client::something_else},
};

use super::{
    address, carry_out, converse, credential, mirror, on_terminal,
    print::{print, warn},
    show::shown,
    user_config,
};

/// The settings that a mirror may be given. Values go to the daemon as they are typed: it knows what they may be.
#[derive(Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Options {
    /// What it is for, in your own words
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Which branches and tags follow upstream; once for each refspec (new mirrors: all)
    ///
    /// They are git's own refspecs:
    ///     refs/heads/main                     one branch; held back when upstream rewrites it
    ///     +refs/heads/main                    one branch, rewritten or not
    ///     +refs/heads/*                       all branches
    ///     ^refs/heads/wip/*                   but not these
    ///     +refs/heads/main:refs/heads/theirs  under another name
    /// All that are given are the whole list; '' alone means all branches and tags. Whatever is
    /// not tracked is local to the mirror: it can be pushed there, and never goes upstream.
    #[arg(long, value_name = "REFSPEC", verbatim_doc_comment)]
    track: Vec<String>,
    /// How often it is brought in step without anybody asking (new mirrors: 1h)
    ///
    /// Such as 10m, 1h or 1d, and about so often: not all mirrors at once. With 'never' only
    /// fetches, pushes, 'mirrord sync' and the webhook do it.
    #[arg(long, value_name = "TIME|never", verbatim_doc_comment)]
    every: Option<String>,
    /// Whether a fetch first asks upstream what is new (new mirrors: yes)
    ///
    /// With 'no' it is answered from the mirror, and says how old that is when the last sync
    /// failed or was long ago. 'mirrord sync' and every push bring the mirror in step.
    #[arg(long, value_name = "yes|no", verbatim_doc_comment)]
    sync_on_fetch: Option<String>,
    /// For how long after a sync a fetch does not ask upstream again (new mirrors: 0s)
    ///
    /// Such as 10s, 5m, 2h or 1d; with 0s it always asks.
    #[arg(long, value_name = "TIME", verbatim_doc_comment)]
    fresh_for: Option<String>,
    /// What a fetch does when upstream cannot be reached (new mirrors: serve)
    ///
    /// 'serve' gives what is here and says how old it is; 'fail' fails. The variable
    /// MIRROR_STALE says otherwise for one command.
    #[arg(long, value_name = "serve|fail", verbatim_doc_comment)]
    stale: Option<String>,
    /// How long a fetch waits for upstream to say something of use (new mirrors: 10s)
    ///
    /// After that it gets what is here, with its age, while the sync goes on. Only where
    /// '--stale serve' holds; a first clone, a push and 'mirrord sync' wait to the end.
    #[arg(long, value_name = "TIME", verbatim_doc_comment)]
    stale_after: Option<String>,
    /// Whether the tracked branches of one push stand or fall together (new mirrors: auto)
    ///
    /// 'yes' always, 'no' never, 'auto' when the push says --atomic, as in plain git.
    #[arg(long, value_name = "yes|no|auto", verbatim_doc_comment)]
    atomic: Option<String>,
    /// Whether the mirror takes pushes, to local branches too (new mirrors: yes)
    #[arg(long, value_name = "yes|no")]
    push: Option<String>,
    /// For how long 'mirrord restore' can bring old tips back (new mirrors: 30d)
    ///
    /// Those of branches and tags that were rewritten or deleted. Such as 12h or 90d.
    #[arg(long, value_name = "TIME", verbatim_doc_comment)]
    keep_history: Option<String>,
    /// Whether what comes is checked as by git fsck before it is let in (new mirrors: no)
    #[arg(long, value_name = "yes|no")]
    fsck: Option<String>,
    /// How a clone gets what is in the mirror (new mirrors: auto)
    ///
    /// 'auto' by what works, the cheapest first: 'reflink', 'hardlink', 'copy'; 'off' has git
    /// itself send it, which takes longer. What this mirror alone has is never hard-linked. The
    /// setting mirror.link of a clone's git, or 'git -c mirror.link=…', says otherwise there.
    #[arg(
        long,
        value_name = "auto|reflink|hardlink|copy|off",
        verbatim_doc_comment
    )]
    link: Option<String>,
}

impl Options {
    /// The settings that were given: key and value, as typed. The refspecs are one value, with spaces between them.
    pub(super) fn typed(&self) -> Vec<(String, String)> {
        let track = (!self.track.is_empty()).then(|| self.track.join(" "));
        [
            ("description", &self.description),
            ("track", &track),
            ("every", &self.every),
            ("sync-on-fetch", &self.sync_on_fetch),
            ("fresh-for", &self.fresh_for),
            ("stale", &self.stale),
            ("stale-after", &self.stale_after),
            ("atomic", &self.atomic),
            ("push", &self.push),
            ("keep-history", &self.keep_history),
            ("fsck", &self.fsck),
            ("link", &self.link),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)))
        .collect()
    }
}

/// Change the settings of a mirror, or its upstream's address
///
/// Only what is given changes; 'mirrord show' says how everything is set. Nothing is
/// downloaded for it: the next fetch or sync goes by the new settings.
///
///     mirrord set project --fresh-for 10s --track "+refs/heads/*" --track "+refs/tags/*"
///
/// When --track changes which branches and tags follow upstream:
///
/// - One that is no longer tracked goes to the history, from where 'mirrord restore'
///   brings it back; with --keep it stays, as a local one. Where it differs from what
///   upstream had, it always stays.
/// - A local one that is tracked from now on is not overwritten when upstream has
///   another of that name: it is held, and 'mirrord show' and every fetch say so.
///
/// A mirror that was made by cloning a URL can be given settings in the same way.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Set {
    /// The mirror's name, or its URL
    name: String,
    /// The new address of the upstream, without a login in it. What was downloaded stays
    #[arg(long)]
    url: Option<String>,
    /// With --track: what is no longer tracked stays here, as local branches and tags
    #[arg(long, requires = "track")]
    keep: bool,
    /// Forget what the mirror signs in with: from now on it does as your git would
    #[arg(long, help_heading = "Signing in", conflicts_with_all = ["anonymous", "username", "ssh_key"])]
    forget_credential: bool,
    #[command(flatten)]
    credential: credential::SigningIn,
    #[command(flatten)]
    options: Options,
}

impl Set {
    /// Has the daemon change them.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let settings = self.options.typed();
        let credential = if self.forget_credential {
            Some(Credential::AsGit)
        } else {
            let at = || self.origin(paths);
            self.credential.read(at, &user_config()?)?
        };
        if settings.is_empty() && self.url.is_none() && credential.is_none() {
            let failure = Failure::new(FailureKind::Usage, "there is nothing to change");
            return Err(failure
                .hinted("see 'mirrord set --help' for what there is")
                .into());
        }
        let request = Request::Set(protocol::Set {
            mirror: mirror(&self.name)?,
            url: self.url.as_deref().map(storable).transpose()?,
            settings,
            credential,
            keep: self.keep,
        });
        let reply = converse(carry_out(paths, &request, on_terminal()))?;
        let Reply::Changed { name, warnings } = reply else {
            return Err(something_else().into());
        };
        print(&format!("{}: changed\n", masked(name.as_bytes())))?;
        warn(None, &warnings);
        Ok(ExitCode::SUCCESS)
    }
}

impl Set {
    /// The scheme, host and port that the mirror will sign in at.
    fn origin(&self, paths: &Paths) -> Result<String, Failure> {
        let url = match &self.url {
            Some(typed) => storable(typed)?,
            None => {
                converse(shown(paths, mirror(&self.name)?))
                    .map_err(|err| {
                        err.downcast::<Failure>()
                            .unwrap_or_else(|_| something_else())
                    })?
                    .0
                    .health
                    .info
                    .url
            }
        };
        match Address::parse(&url) {
            Ok(Address::Url(url, _)) => Ok(url.origin()),
            _ => Ok(url),
        }
    }
}

/// The address of an upstream, in the form in which it may be kept.
fn storable(typed: &str) -> Result<String, Failure> {
    match address(typed, &user_config()?)? {
        Address::Url(url, None) => Ok(url.to_string()),
        Address::Url(url, Some(_)) => {
            let failure = format!("the address '{url}' was typed with a login in it");
            Err(Failure::new(FailureKind::Usage, failure)
                .hinted("leave it out: --username NAME gives the mirror one of its own, and otherwise git's credential helpers are asked"))
        }
        Address::Name(name) => Err(no_url(name.as_ref())),
    }
}

/// The failure of something that is to be an upstream.
pub(super) fn no_url(typed: &str) -> Failure {
    Failure::new(FailureKind::Usage, format!("'{typed}' is not a URL")).hinted(
        "an upstream is https://HOST/GROUP/PROJECT.git, an address of ssh, or an absolute path",
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn typed(words: &[&str]) -> Vec<(String, String)> {
        let words = ["mirrord"].iter().chain(words);
        Line::parse_from(words).options.typed()
    }

    #[test]
    fn a_setting_goes_to_the_daemon_as_it_was_typed() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(typed(&[]), []);
        assert_eq!(
            typed(&["--fresh-for", "soon", "--push", "", "--description", "a b"]),
            [
                pair("description", "a b"),
                pair("fresh-for", "soon"),
                pair("push", "")
            ]
        );
    }

    #[test]
    fn refspecs_are_one_list_which_may_be_blank() {
        let pair = |value: &str| [("track".to_owned(), value.to_owned())];
        let two = ["--track", "+refs/heads/*", "--track", "^refs/heads/wip/*"];
        assert_eq!(typed(&two), pair("+refs/heads/* ^refs/heads/wip/*"));
        assert_eq!(typed(&["--track", ""]), pair(""));
    }
}
