//! The kinds of malformed objects that git's own tests know.

/// The objects that malformed ones are made of.
pub(super) struct Places {
    /// A commit.
    pub base: String,
    /// Its tree.
    pub tree: String,
    /// A blob in it.
    pub blob: String,
}

/// One kind of object.
pub(super) enum Kind {
    /// The lines of a commit below `tree` and `parent`.
    Commit(&'static str),
    /// The lines of a commit.
    WholeCommit(&'static str),
    /// The lines of a tag below `object`.
    Tag(&'static str),
    /// The lines of a tag.
    WholeTag(&'static str),
    /// The entries of a commit's tree: mode, name, and what they name.
    Tree(&'static [(&'static str, &'static str, Target)]),
    /// The tree of a commit, cut short.
    CutTree,
}

/// The object that an entry of a tree names.
#[derive(Clone, Copy)]
pub(super) enum Target {
    Blob,
    Tree,
    Nothing,
}

use Kind::{Commit, CutTree, Tag, Tree, WholeCommit, WholeTag};

/// Malformed objects that git accepts.
pub(super) const TAKEN: &[Kind] = &[
    Commit("C\n\n"),
    Commit("A\n\n"),
    Commit("author A 1 +0000\nC\n\n"),
    Commit("A\ncommitter A 1 +0000\n\n"),
    Commit("author A<a@a> 1 +0000\nC\n\n"),
    Commit("A\ncommitter A <a@a 1 +0000\n\n"),
    Commit("A\ncommitter A <a@a> b> 1 +0000\n\n"),
    Commit("author A <a@a> then +0000\ncommitter A <a@a> then +0000\n\n"),
    Commit("A\ncommitter A <a@a> 18446744073709551617 +0000\n\n"),
    Commit("A\ncommitter A <a@a> -1 +0000\n\n"),
    Commit("author A <a@a>1 +0000\ncommitter A <a@a>1 +0000\n\n"),
    Commit("A\ncommitter A <a@a> 1 zone\n\n"),
    Commit("author A\0 <a@a> 1 +0000\nC\n\n"),
    Commit("A\nC\n\nm\0"),
    Commit("A\nC\nencoding no-such\n\n"),
    Commit("A\nA\nC\n\n"),
    Commit("A\nC\ngpgsig none\n\n"),
    Commit("A\nC\n"),
    Commit("P\nA\nC\n\n"),
    Tag("type commit\ntag t\n\n"),
    Tag("type commit\ntag t\ntagger A 1\n\n"),
    Tag("type commit\ntag a..b\nT\n\n"),
    Tag("type commit\ntag t\nT\nmore x\n\n"),
    Tag("type commit\ntag t\ntagger "),
    Tree(&[("040000", "d", Target::Tree)]),
    Tree(&[("0100644", "f", Target::Blob)]),
    Tree(&[("100644", "f", Target::Blob), ("100644", "f", Target::Blob)]),
    Tree(&[("100644", "g", Target::Blob), ("100644", "f", Target::Blob)]),
    Tree(&[("100644", "a/b", Target::Blob)]),
    Tree(&[("40000", ".git", Target::Tree)]),
    Tree(&[
        ("100644", ".", Target::Blob),
        ("100644", "..", Target::Blob),
    ]),
    Tree(&[("100664", "f", Target::Blob)]),
    Tree(&[("777", "f", Target::Blob)]),
    Tree(&[("120000", ".gitmodules", Target::Blob)]),
    Tree(&[]),
];

/// Malformed objects that git refuses.
pub(super) const FATAL: &[Kind] = &[
    WholeCommit("P\nA\nC\n\n"),
    WholeCommit("tree none\nA\nC\n\n"),
    Commit("parent none of forty and more hexadecimal digits\nA\nC\n\n"),
    Tag("type commit\nT\n\n"),
    Tag("type what\ntag t\nT\n\n"),
    WholeTag("type commit\ntag t\nT\n\n"),
    Tree(&[("100644", "f", Target::Nothing)]),
    Tree(&[("100644", "", Target::Blob)]),
    Tree(&[("1x0644", "f", Target::Blob)]),
    CutTree,
];

impl Kind {
    /// Below what its ref lies, and its bytes, which end with a message. A tree that it needs is written first.
    pub(super) fn body(
        &self,
        places: &Places,
        message: &str,
        write_tree: impl Fn(&[u8]) -> String,
    ) -> (&'static str, Vec<u8>) {
        let Places { base, tree, blob } = places;
        let lines = |text: &str| {
            let text = text
                .replace("A\n", "author A <a@a> 1 +0000\n")
                .replace("C\n", "committer A <a@a> 1700000000 +0000\n")
                .replace("T\n", "tagger A <a@a> 1 +0000\n")
                .replace("P\n", &format!("parent {base}\n"));
            format!("{text}{message}")
        };
        let bytes = |hex: &str| -> Vec<u8> {
            let digits = hex.as_bytes().chunks(2);
            let text = digits.map(|pair| std::str::from_utf8(pair).expect("hex"));
            text.map(|pair| u8::from_str_radix(pair, 16).expect("hex"))
                .collect()
        };
        let commit = |tree: &str| format!("tree {tree}\nparent {base}\n{}", lines("A\nC\n\n"));
        let body = match self {
            Commit(text) => format!("tree {tree}\nparent {base}\n{}", lines(text)),
            WholeCommit(text) | WholeTag(text) => lines(text),
            Tag(text) => format!("object {base}\n{}", lines(text)),
            Tree(entries) => {
                let mut content = Vec::new();
                for (mode, name, target) in *entries {
                    content.extend_from_slice(format!("{mode} {name}\0").as_bytes());
                    content.extend(match target {
                        Target::Blob => bytes(blob),
                        Target::Tree => bytes(tree),
                        Target::Nothing => vec![0; 20],
                    });
                }
                commit(&write_tree(&content))
            }
            CutTree => commit(&write_tree(b"100644 f\0cut")),
        };
        let folder = match self {
            Tag(_) | WholeTag(_) => "tags",
            _ => "heads",
        };
        (folder, body.into_bytes())
    }
}
