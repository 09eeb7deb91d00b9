//! What git says of how to behave, and of which part it wants.

/// What git said of how to behave.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// `option progress`: git has looked at the terminal, at `--progress` and at `-q`.
    pub progress: bool,
    /// `option verbosity`: 0 is quiet, 1 the default.
    pub verbosity: u32,
    /// `option depth`: how many commits of each history are wanted. Without it, all of them are.
    pub depth: Option<u32>,
    /// `option filter`: which objects are not wanted before they are needed.
    pub filter: Option<String>,
    /// `option from-promisor`: what is missing in what comes is so on purpose.
    pub from_promisor: bool,
    /// `option followtags`: the tags that point into what is wanted are wanted, too. It comes before the first `connect`
    /// where not all branches are wanted.
    pub follow_tags: bool,
    /// Whether it depends on what is there already which part is wanted: only git's own protocol can say that.
    pub relative: bool,
    /// `option cloning`: nothing is there yet, and all of what is fetched is checked out or left at that.
    pub cloning: bool,
    /// `option check-connectivity`: whether git wants to hear that nothing is missing.
    pub check_connectivity: bool,
}

/// A history of this depth is all of it: what `--unshallow` asks for.
const INFINITE: u32 = 0x7fff_ffff;

impl Options {
    /// What holds until git says something.
    pub(crate) fn new() -> Self {
        Self {
            verbosity: 1,
            ..Self::default()
        }
    }

    /// Takes one, and returns what git is told of it.
    pub(crate) fn set(&mut self, name: &str, value: &[&str]) -> &'static str {
        let yes = value == ["true"];
        match name {
            "progress" => self.progress = yes,
            "verbosity" => self.verbosity = value.concat().parse().unwrap_or(1),
            "cloning" => self.cloning = yes,
            "check-connectivity" => self.check_connectivity = yes,
            "object-format" => {}
            // All of it travels in git's own protocol, too, where that is spoken.
            "depth" => match value.concat().parse() {
                Ok(0) => self.depth = None,
                Ok(depth) if depth < INFINITE => self.depth = Some(depth),
                _ => self.relative = true,
            },
            // What git has quoted, only git reads.
            "filter" if value.concat().starts_with('"') => self.relative = true,
            "filter" => self.filter = Some(value.join(" ")),
            "from-promisor" => self.from_promisor = true,
            "followtags" => self.follow_tags = yes,
            "deepen-since" | "deepen-not" | "deepen-relative" | "refetch" | "update-shallow" => {
                self.relative = true;
                return "unsupported\n";
            }
            _ => return "unsupported\n",
        }
        "ok\n"
    }

    /// Whether less than the whole is wanted, as far as that can be known before git says what.
    pub(crate) fn want_a_part(&self) -> bool {
        self.relative || self.depth.is_some() || self.filter.is_some() || self.follow_tags
    }
}
