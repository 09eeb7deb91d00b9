//! The options that git sets by `option` commands, as gitremote-helpers(7) has them.

/// How the helper is to behave, and which part of the project is wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// `option progress`: whether progress is shown. git has looked at the terminal, at `--progress` and at `-q`.
    pub progress: bool,
    /// `option verbosity`: 0 is quiet, 1 the default.
    pub verbosity: u32,
    /// `option depth`: how many commits of each history are wanted; all of them without it.
    pub depth: Option<u32>,
    /// `option filter`: which objects are not wanted before they are needed.
    pub filter: Option<String>,
    /// `option from-promisor`: whether objects that are missing in the pack are missing on purpose.
    pub from_promisor: bool,
    /// `option followtags`: whether tags that point into the wanted histories are wanted, too. Where not all branches are
    /// wanted, git sets it before the first `connect`.
    pub follow_tags: bool,
    /// Whether the wanted part depends on what the repository has already: only git's own protocol can say that.
    pub is_relative: bool,
    /// `option cloning`: whether the repository is new.
    pub cloning: bool,
    /// `option servpath`: the program that git wants run at upstream in the place of its own.
    pub server_program: Option<String>,
    /// `option family`: the version of the internet protocol, `ipv4` or `ipv6`.
    pub family: Option<String>,
    /// All options as git sent them, for whoever they are passed on to.
    pub lines: Vec<String>,
    /// `option check-connectivity`: whether git wants to be told that no object is missing.
    pub check_connectivity: bool,
}

/// The depth that `--unshallow` sends: git's INFINITE_DEPTH in shallow.h, which stands for all of a history.
const INFINITE_DEPTH: u32 = 0x7fff_ffff;

/// Undoes git's C-style quotes (`quote_c_style()` in its quote.c), which only a value with unusual characters has.
fn unquoted(value: &str) -> String {
    match gix_quote::ansi_c::undo(value.into()) {
        Ok((unquoted, _)) => unquoted.to_string(),
        Err(_) => value.to_owned(),
    }
}

impl Options {
    /// The options before git has set any.
    pub(crate) fn new() -> Self {
        Self {
            verbosity: 1,
            ..Self::default()
        }
    }

    /// Sets an option, and returns the answer for git.
    pub(crate) fn set(&mut self, name: &str, value: &[&str]) -> &'static str {
        let is_true = value == ["true"];
        self.lines
            .push(format!("option {name} {}", value.join(" ")));
        match name {
            "progress" => self.progress = is_true,
            "verbosity" => self.verbosity = value.concat().parse().unwrap_or(1),
            "cloning" => self.cloning = is_true,
            "check-connectivity" => self.check_connectivity = is_true,
            "object-format" => {}
            "servpath" => self.server_program = Some(unquoted(&value.join(" "))),
            "family" => self.family = Some(value.concat()),
            // Where git's own protocol is spoken in the end, the options below are a part of it and go along anyway.
            "depth" => match value.concat().parse() {
                Ok(0) => self.depth = None,
                Ok(depth) if depth < INFINITE_DEPTH => self.depth = Some(depth),
                _ => self.is_relative = true,
            },
            // A value in git's C-style quotes is left to git.
            "filter" if value.concat().starts_with('"') => self.is_relative = true,
            "filter" => self.filter = Some(value.join(" ")),
            "from-promisor" => self.from_promisor = true,
            "followtags" => self.follow_tags = is_true,
            "deepen-since" | "deepen-not" | "deepen-relative" | "refetch" | "update-shallow" => {
                self.is_relative = true;
                return "unsupported\n";
            }
            _ => return "unsupported\n",
        }
        "ok\n"
    }

    /// Whether progress is to be shown, and the helper is not told to be quiet.
    pub(crate) fn shows_progress(&self) -> bool {
        self.progress && self.verbosity > 0
    }

    /// Whether less than the whole project is wanted, as far as that is known before git names the objects.
    pub(crate) fn want_a_part(&self) -> bool {
        self.is_relative || self.depth.is_some() || self.filter.is_some() || self.follow_tags
    }
}
