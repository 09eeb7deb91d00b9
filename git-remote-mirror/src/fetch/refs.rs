//! What `list` tells git: the refs of a mirror, as the packed file has them.

use std::{collections::BTreeSet, fs, io, path::Path};

use common::{packs::steps::State, refspec};

/// The refs of a mirror that a client may see.
pub(crate) struct Refs {
    /// What `HEAD` is: a ref, or an object.
    head: Head,
    /// Sorted by name.
    refs: Vec<Ref>,
    /// What upstream had, by the names of the records.
    records: Vec<(Vec<u8>, Vec<u8>)>,
    is_sha256: bool,
}

enum Head {
    Ref(Vec<u8>),
    Object(Vec<u8>),
}

struct Ref {
    name: Vec<u8>,
    object: Vec<u8>,
    /// What a tag points to in the end.
    peeled: Option<Vec<u8>>,
}

impl Refs {
    /// Reads them; None where `list` cannot say them as they are: there are none, `HEAD` names one that is not there,
    /// some are in files of their own, or nobody knows what a tag points to.
    pub(crate) fn read(git_dir: &Path) -> io::Result<Option<Self>> {
        let packed = match fs::read(git_dir.join("packed-refs")) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            packed => packed?,
        };
        if has_loose(&git_dir.join("refs"))? {
            return Ok(None);
        }
        let head = fs::read(git_dir.join("HEAD"))?;
        Ok(Self::parse(&packed, &head))
    }

    fn parse(packed: &[u8], head: &[u8]) -> Option<Self> {
        let mut lines = packed.split(|byte| *byte == b'\n');
        let header = String::from_utf8_lossy(lines.next()?);
        if !header.split(' ').any(|word| word == "fully-peeled") {
            return None;
        }
        let mut refs: Vec<Ref> = Vec::new();
        let mut records = Vec::new();
        let mut is_hidden = false;
        for line in lines.filter(|line| !line.is_empty()) {
            if let Some(peeled) = line.strip_prefix(b"^") {
                if !is_hidden {
                    refs.last_mut()?.peeled = Some(peeled.to_vec());
                }
                continue;
            }
            let space = line.iter().position(|byte| *byte == b' ')?;
            let (object, name) = (&line[..space], &line[space + 1..]);
            is_hidden = refspec::is_ours(name);
            if name.starts_with(refspec::RECORDS.as_bytes()) {
                records.push((name.to_vec(), object.to_vec()));
            }
            if !is_hidden {
                refs.push(Ref {
                    name: name.to_vec(),
                    object: object.to_vec(),
                    peeled: None,
                });
            }
        }
        let head = match head.strip_prefix(b"ref: ") {
            Some(name) => Head::Ref(name.trim_ascii().to_vec()),
            None => Head::Object(head.trim_ascii().to_vec()),
        };
        let is_sha256 = refs.first()?.object.len() == 64;
        let list = Self {
            head,
            refs,
            records,
            is_sha256,
        };
        list.head().is_some().then_some(list)
    }

    /// The object that `HEAD` is, if it is there.
    fn head(&self) -> Option<&[u8]> {
        match &self.head {
            Head::Object(object) => Some(object),
            Head::Ref(name) => {
                let at = self.refs.binary_search_by(|each| each.name.cmp(name));
                at.ok().map(|at| &*self.refs[at].object)
            }
        }
    }

    /// The lines of the answer, without the blank one at its end.
    pub(crate) fn lines(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        let mut add = |words: &[&[u8]]| {
            lines.extend_from_slice(&words.concat());
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
            add(&[&each.object, b" ", &each.name]);
            if let Some(peeled) = &each.peeled {
                add(&[peeled, b" ", &each.name, b"^{}"]);
            }
        }
        lines
    }

    /// What upstream had when the mirror was last in step.
    pub(crate) fn records(&self) -> State<'_> {
        let records = self.records.iter();
        records.map(|(name, object)| (&**name, &**object)).collect()
    }

    /// Whether each of these is what a ref, or `HEAD`, names.
    pub(crate) fn name_all(&self, wants: &BTreeSet<Vec<u8>>) -> bool {
        let mut left: BTreeSet<&[u8]> = wants.iter().map(|want| &**want).collect();
        if let Some(head) = self.head() {
            left.remove(head);
        }
        for each in &self.refs {
            left.remove(&*each.object);
        }
        left.is_empty()
    }

    /// Whether its objects are named by SHA-256.
    pub(crate) fn is_sha256(&self) -> bool {
        self.is_sha256
    }

    /// What all tags are, in hexadecimal.
    pub(crate) fn tags(&self) -> impl Iterator<Item = &[u8]> {
        let tags = self.refs.iter();
        let tags = tags.filter(|each| each.name.starts_with(b"refs/tags/"));
        tags.map(|each| &*each.object)
    }

    /// The tips of all branches, in hexadecimal.
    pub(crate) fn branches(&self) -> impl Iterator<Item = &[u8]> {
        let branches = self.refs.iter();
        let branches = branches.filter(|each| each.name.starts_with(b"refs/heads/"));
        branches.map(|each| &*each.object)
    }
}

fn has_loose(dir: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || has_loose(&entry.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "# pack-refs with: peeled fully-peeled sorted \n";

    fn lines(packed: &str, head: &str) -> Option<String> {
        let refs = Refs::parse(packed.as_bytes(), head.as_bytes())?;
        Some(String::from_utf8_lossy(&refs.lines()).into_owned())
    }

    #[test]
    fn git_is_told_what_is_public_with_what_tags_point_to() {
        let packed = format!(
            "{HEADER}1 refs/heads/main\n2 refs/mirror/history/x\n3 refs/tags/a\n^4\n5 refs/upstream/tags/a\n^4\n"
        );
        assert_eq!(
            lines(&packed, "ref: refs/heads/main\n").as_deref(),
            Some("@refs/heads/main HEAD\n1 refs/heads/main\n3 refs/tags/a\n4 refs/tags/a^{}\n")
        );
        assert_eq!(
            lines(&packed, "1\n").map(|lines| lines.lines().next().map(str::to_owned)),
            Some(Some("1 HEAD".to_owned()))
        );
    }

    #[test]
    fn what_list_cannot_say_is_left_to_git() {
        let one = format!("{HEADER}1 refs/heads/main\n");
        assert_eq!(lines(&one, "ref: refs/heads/other\n"), None, "unborn");
        assert_eq!(lines(HEADER, "ref: refs/heads/main\n"), None, "empty");
        let hidden = format!("{HEADER}1 refs/upstream/heads/main\n");
        assert_eq!(
            lines(&hidden, "ref: refs/heads/main\n"),
            None,
            "nothing public"
        );
        let unpeeled = "# pack-refs with: peeled sorted \n1 refs/heads/main\n";
        assert_eq!(lines(unpeeled, "ref: refs/heads/main\n"), None);
    }
}
