//! The settings of a mirror as command line options, for `add`, `set` and `test`.

use clap::Args;
use common::protocol::{Failure, FailureKind};

/// The settings of a mirror. Values go to the daemon as they were typed; it checks them.
#[derive(Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct SettingOptions {
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
    /// How often it is synced by schedule (new mirrors: 1h)
    ///
    /// Such as 10m, 1h or 1d. The times of many mirrors are spread out. With 'never' only
    /// fetches, pushes, 'mirrord sync' and the webhook sync it.
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
    /// 'serve' serves the copy and says how old it is; 'fail' fails. The variable MIRROR_STALE
    /// overrides it for one command.
    #[arg(long, value_name = "serve|fail", verbatim_doc_comment)]
    stale: Option<String>,
    /// How long a fetch waits for an answer of upstream (new mirrors: 10s)
    ///
    /// After that it gets the copy, with its age, while the sync goes on. Only with
    /// '--stale serve'; a first clone, a push and 'mirrord sync' wait to the end.
    #[arg(long, value_name = "TIME", verbatim_doc_comment)]
    stale_after: Option<String>,
    /// Whether the tracked branches of one push are pushed all or none (new mirrors: auto)
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
    /// Whether new objects are checked as by git fsck before they are accepted (new mirrors: no)
    #[arg(long, value_name = "yes|no")]
    fsck: Option<String>,
    /// Whether an upstream that looks wiped changes nothing until 'mirrord accept' (new mirrors: yes)
    ///
    /// 'no' is for scratch repositories that are made anew again and again.
    #[arg(long, value_name = "yes|no", verbatim_doc_comment)]
    wipe_guard: Option<String>,
    /// How a clone gets what is in the mirror (new mirrors: auto)
    ///
    /// 'auto' by what works, the cheapest first: 'reflink', 'hardlink', 'copy'; 'off' has git
    /// itself send it, which takes longer. What this mirror alone has is never hard-linked. The
    /// setting mirror.link of a clone's git, or 'git -c mirror.link=…', overrides it there.
    #[arg(
        long,
        value_name = "auto|reflink|hardlink|copy|off",
        verbatim_doc_comment
    )]
    link: Option<String>,
}

impl SettingOptions {
    /// The keys and values of the options that were typed. The refspecs are one value, with spaces between them.
    pub(super) fn as_typed(&self) -> Vec<(String, String)> {
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
            ("wipe-guard", &self.wipe_guard),
            ("link", &self.link),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)))
        .collect()
    }
}

/// The failure if something else than a URL is typed for an upstream.
pub(super) fn not_a_url(typed: &str) -> Failure {
    Failure::new(FailureKind::Usage, format!("'{typed}' is not a URL")).hinted(
        "an upstream is https://HOST/GROUP/PROJECT.git, an address of ssh, or an absolute path",
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        settings: SettingOptions,
    }

    fn parse(args: &[&str]) -> Vec<(String, String)> {
        let args = ["mirrord"].iter().chain(args);
        CommandLine::parse_from(args).settings.as_typed()
    }

    #[test]
    fn a_setting_goes_to_the_daemon_as_it_was_typed() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(parse(&[]), []);
        assert_eq!(
            parse(&["--fresh-for", "soon", "--push", "", "--description", "a b"]),
            [
                pair("description", "a b"),
                pair("fresh-for", "soon"),
                pair("push", "")
            ]
        );
    }

    #[test]
    fn refspecs_are_one_value_which_may_be_blank() {
        let pair = |value: &str| [("track".to_owned(), value.to_owned())];
        let two = ["--track", "+refs/heads/*", "--track", "^refs/heads/wip/*"];
        assert_eq!(parse(&two), pair("+refs/heads/* ^refs/heads/wip/*"));
        assert_eq!(parse(&["--track", ""]), pair(""));
    }
}
