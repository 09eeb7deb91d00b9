//! The refs of a mirror as git's `list` gets them, read from `packed-refs`.

use std::{
    collections::{BTreeSet, HashSet},
    fs, io,
    ops::Range,
    path::Path,
};

use common::{
    packs::{
        packed_refs::{self, PackedRefs, has_loose},
        steps::State,
    },
    refspec::{self, OnDemand},
};

use crate::{view::wanted_name, wants::Wants};

/// The refs of a mirror that a client may see. There may be a hundred thousand, so all names and objects stay in the text
/// that they were read from.
pub(crate) struct Refs {
    /// The content of `packed-refs`, and behind it names that are not in it.
    text: Vec<u8>,
    head: Head,
    /// Sorted by name.
    refs: Vec<Ref>,
    /// The mirror's records of what upstream has: names and objects.
    records: Vec<(Span, Span)>,
    /// Objects that were fetched because somebody asked for them.
    objects: Vec<Span>,
    is_sha256: bool,
}

/// What `HEAD` names.
enum Head {
    Ref(Vec<u8>),
    Object(Vec<u8>),
}

/// A part of the text.
type Span = Range<usize>;

/// A ref, with objects in hexadecimal.
struct Ref {
    name: Span,
    object: Span,
    /// What a tag points to in the end.
    peeled: Option<Span>,
    /// The ref to which this one leads, where it is symbolic at upstream.
    target: Option<Vec<u8>>,
}

impl Refs {
    /// Reads the refs, and those that are `wanted` beside branches and tags; None where `list` cannot show them as they are:
    /// there are none, `HEAD` names one that is not there, some are loose, or it is not known what a tag points to.
    ///
    /// # Errors
    /// Fails when a file cannot be read.
    pub(crate) fn read(git_dir: &Path, wanted: &OnDemand) -> io::Result<Option<Self>> {
        let packed = match fs::read(git_dir.join(packed_refs::FILE)) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            packed => packed?,
        };
        if has_loose(&git_dir.join("refs"))? {
            return Ok(None);
        }
        let head = fs::read(git_dir.join("HEAD"))?;
        let mut refs = Self::parse(packed, &head, wanted);
        if let Some(refs) = &mut refs {
            match fs::read(git_dir.join(packed_refs::SYMREFS)) {
                // No symbolic ref, or a mirror that was last synced before they were kept.
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                symrefs => refs.set_targets(&symrefs?),
            }
        }
        Ok(refs)
    }

    /// Marks the symbolic refs, by lines of a target and a name. A line that is not of this moment does not count: one of the
    /// two is not shown, or they name different objects. git follows one step, so a target, also that of HEAD, is no symbolic
    /// ref itself.
    fn set_targets(&mut self, symrefs: &[u8]) {
        let lines = symrefs.split(|byte| *byte == b'\n').filter_map(|line| {
            let space = line.iter().position(|byte| *byte == b' ')?;
            Some((&line[..space], &line[space + 1..]))
        });
        let lines: Vec<_> = lines.collect();
        let names: HashSet<_> = lines.iter().map(|(_, name)| *name).collect();
        for (target, name) in lines {
            let (Some(from), Some(to)) = (self.find(name), self.find(target)) else {
                continue;
            };
            let is_last = !names.contains(target);
            let is_of_head = matches!(&self.head, Head::Ref(of_head) if of_head == name);
            let object = |at: usize| self.part(&self.refs[at].object);
            if object(from) == object(to) && is_last && !is_of_head {
                self.refs[from].target = Some(target.to_vec());
            }
        }
    }

    /// A part of the text.
    fn part(&self, span: &Span) -> &[u8] {
        &self.text[span.clone()]
    }

    /// The index of a ref.
    fn find(&self, name: &[u8]) -> Option<usize> {
        let order = |each: &Ref| self.part(&each.name).cmp(name);
        self.refs.binary_search_by(order).ok()
    }

    fn parse(mut text: Vec<u8>, head: &[u8], wanted: &OnDemand) -> Option<Self> {
        let mut refs: Vec<Ref> = Vec::new();
        let (mut records, mut objects, mut names) = (Vec::new(), Vec::new(), Vec::new());
        let packed = PackedRefs::parse(&text).ok()?;
        if !packed.is_fully_peeled() {
            return None;
        }
        // Each part follows the one before it.
        let (start, length) = (text.as_ptr().addr(), text.len());
        let span = |part: &[u8]| {
            let from = part.as_ptr().addr() - start;
            from..from + part.len()
        };
        for packed in packed {
            let packed = packed.ok()?;
            let object = span(packed.object);
            if packed.name.starts_with(refspec::RECORDS.as_bytes()) {
                records.push((span(packed.name), object.clone()));
            }
            let name = match wanted_name(packed.name, wanted) {
                Some(name) => {
                    let from = length + names.len();
                    names.extend(name);
                    Some(from..length + names.len())
                }
                None if refspec::is_reserved(packed.name) => None,
                None => Some(span(packed.name)),
            };
            if packed.name.starts_with(refspec::ON_DEMAND.as_bytes()) {
                objects.push(object.clone());
            }
            if let Some(name) = name {
                let peeled = packed.peeled.map(span);
                refs.push(Ref {
                    name,
                    object,
                    peeled,
                    target: None,
                });
            }
        }
        text.extend(names);
        let name = |each: &Ref| &text[each.name.clone()];
        refs.sort_by(|one, other| name(one).cmp(name(other)));
        // A ref that is tracked by now is shown as the mirror shows it.
        refs.dedup_by(|one, other| name(one) == name(other));
        let head = match head.strip_prefix(b"ref: ") {
            Some(name) => Head::Ref(name.trim_ascii().to_vec()),
            None => Head::Object(head.trim_ascii().to_vec()),
        };
        let is_sha256 = refs.first()?.object.len() == 64;
        let list = Self {
            text,
            head,
            refs,
            records,
            objects,
            is_sha256,
        };
        list.head_object().is_some().then_some(list)
    }

    /// The object that `HEAD` stands for; None where `HEAD` names a ref that is not there.
    fn head_object(&self) -> Option<&[u8]> {
        match &self.head {
            Head::Object(object) => Some(object),
            Head::Ref(name) => {
                let at = self.find(name)?;
                Some(self.part(&self.refs[at].object))
            }
        }
    }

    /// Returns the lines that answer `list`, without the blank one at their end.
    pub(crate) fn lines(&self) -> Vec<u8> {
        let mut lines = Vec::with_capacity(self.text.len());
        let mut add = |parts: &[&[u8]]| {
            for part in parts {
                lines.extend_from_slice(part);
            }
            lines.push(b'\n');
        };
        if self.is_sha256 {
            add(&[b":object-format sha256"]);
        }
        match &self.head {
            Head::Ref(name) => add(&[b"@", name, b" HEAD"]),
            Head::Object(object) => add(&[object, b" HEAD"]),
        }
        for each in &self.refs {
            let name = self.part(&each.name);
            match &each.target {
                Some(target) => add(&[b"@", target, b" ", name]),
                None => add(&[self.part(&each.object), b" ", name]),
            }
            if let Some(peeled) = &each.peeled {
                add(&[self.part(peeled), b" ", name, b"^{}"]);
            }
        }
        lines
    }

    /// Returns a line for `HEAD` and for each ref that names a wanted object: the object and the name.
    pub(crate) fn lines_of(&self, wants: &Wants) -> Vec<u8> {
        let head = self.head_object().map(|object| (object, &b"HEAD"[..]));
        let refs = self.refs.iter();
        let refs = refs.map(|each| (self.part(&each.object), self.part(&each.name)));
        let all = head.into_iter().chain(refs);
        let wanted = all.filter(|(object, _)| wants.contains(*object));
        wanted
            .flat_map(|(object, name)| [object, b" ", name, b"\n"].concat())
            .collect()
    }

    /// The mirror's records: what upstream had at the last sync.
    pub(crate) fn records(&self) -> State<'_> {
        let records = self.records.iter();
        let records = records.map(|(name, object)| (self.part(name), self.part(object)));
        records.collect()
    }

    /// Whether each of these objects is named by a ref or by `HEAD`, or was asked for.
    pub(crate) fn name_all(&self, wants: &Wants) -> bool {
        let mut left: BTreeSet<&[u8]> = wants.iter().map(|want| &**want).collect();
        if let Some(head) = self.head_object() {
            left.remove(head);
        }
        let named = self.refs.iter().map(|each| &each.object);
        for object in named.chain(&self.objects) {
            left.remove(self.part(object));
        }
        left.is_empty()
    }

    /// Whether the mirror names its objects by SHA-256.
    pub(crate) fn is_sha256(&self) -> bool {
        self.is_sha256
    }

    /// The objects that the tags name, in hexadecimal.
    pub(crate) fn tags(&self) -> impl Iterator<Item = &[u8]> {
        self.objects_below(b"refs/tags/")
    }

    /// Whether every branch and every tag is wanted.
    pub(crate) fn are_wanted(&self, wants: &Wants) -> bool {
        let branches = self.objects_below(b"refs/heads/");
        branches.chain(self.tags()).all(|tip| wants.contains(tip))
    }

    fn objects_below(&self, prefix: &'static [u8]) -> impl Iterator<Item = &[u8]> {
        let refs = self.refs.iter();
        let refs = refs.filter(move |each| self.part(&each.name).starts_with(prefix));
        refs.map(|each| self.part(&each.object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads refs from lines in which each object is one digit, and returns the answer to `list` in the same form.
    fn lines(header: &str, refs: &str, head: &str) -> Option<String> {
        let mut packed = header.to_owned();
        for line in refs.lines() {
            let (prefix, line) = line.split_at(usize::from(line.starts_with('^')));
            let (object, rest) = line.split_at(1);
            packed.push_str(&format!("{prefix}{}{rest}\n", object.repeat(40)));
        }
        let refs = Refs::parse(packed.into_bytes(), head.as_bytes(), &OnDemand::default())?;
        let mut lines = String::from_utf8_lossy(&refs.lines()).into_owned();
        for digit in ["1", "2", "3", "4", "5"] {
            lines = lines.replace(&digit.repeat(40), digit);
        }
        Some(lines)
    }

    fn header() -> String {
        String::from_utf8_lossy(packed_refs::HEADER).into_owned()
    }

    #[test]
    fn list_shows_public_refs_with_what_tags_point_to() {
        let refs = "1 refs/heads/main\n2 refs/mirror/history/x\n3 refs/tags/a\n^4\n5 refs/upstream/tags/a\n^4\n";
        assert_eq!(
            lines(&header(), refs, "ref: refs/heads/main\n").as_deref(),
            Some("@refs/heads/main HEAD\n1 refs/heads/main\n3 refs/tags/a\n4 refs/tags/a^{}\n")
        );
        assert_eq!(
            lines(&header(), refs, "1\n").map(|lines| lines.lines().next().map(str::to_owned)),
            Some(Some("1 HEAD".to_owned()))
        );
    }

    #[test]
    fn a_symbolic_ref_leads_to_a_ref_that_is_not_symbolic() {
        let names = ["a", "b", "c", "d", "main"].map(|name| format!("1 refs/heads/{name}\n"));
        let packed = header() + &names.concat().replace('1', &"1".repeat(40));
        let head = b"ref: refs/heads/d\n";
        let refs = Refs::parse(packed.into_bytes(), head, &OnDemand::default());
        let mut refs = refs.expect("they can be shown");
        let symrefs = [("b", "a"), ("main", "b"), ("main", "d"), ("gone", "c")];
        let symrefs =
            symrefs.map(|(target, name)| format!("refs/heads/{target} refs/heads/{name}\n"));
        refs.set_targets(symrefs.concat().as_bytes());
        let targets = refs.refs.iter().map(|each| each.target.as_deref());
        let main = Some(&b"refs/heads/main"[..]);
        assert_eq!(targets.collect::<Vec<_>>(), [None, main, None, None, None]);
    }

    #[test]
    fn refs_that_list_cannot_show_are_left_to_git() {
        let main = "1 refs/heads/main\n";
        let head = "ref: refs/heads/main\n";
        let unborn = lines(&header(), main, "ref: refs/heads/other\n");
        assert_eq!(unborn, None, "unborn");
        assert_eq!(lines(&header(), "", head), None, "empty");
        let hidden = "1 refs/upstream/heads/main\n";
        assert_eq!(lines(&header(), hidden, head), None, "nothing public");
        let unpeeled = "# pack-refs with: peeled sorted \n";
        assert_eq!(lines(unpeeled, main, head), None);
        let damaged = lines(&header(), "g refs/heads/main\n", head);
        assert_eq!(damaged, None);
    }
}
