//! The file `packed-refs` of a repository, as git's refs/packed-backend.c writes it: a header, then a line for each ref,
//! sorted by name, and behind the line of a tag a line with what it points to in the end.

use std::{error::Error, fmt, fs, io, path::Path};

use bstr::ByteSlice;

/// The name of the file, in a repository.
pub const FILE: &str = "packed-refs";

/// The file of a mirror beside it that says which of the refs are symbolic at upstream: on each line a target and a name. It
/// may be gone or older than the refs.
pub const SYMREFS: &str = "symrefs";

/// The header of a file in which each tag is followed by what it points to.
pub const HEADER: &[u8] = b"# pack-refs with: peeled fully-peeled sorted \n";

/// What every header begins with.
const HEADER_START: &[u8] = b"# pack-refs with:";

/// A ref in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedRef<'f> {
    /// The full name. Its bytes are as they are in the file: nobody has checked whether git allows them.
    pub name: &'f [u8],
    /// The object, in hexadecimal.
    pub object: &'f [u8],
    /// The object that a tag points to in the end, in hexadecimal; None where the file has none for this ref.
    pub peeled: Option<&'f [u8]>,
}

/// The refs in the text of a file, in its order.
#[derive(Debug, Clone)]
pub struct PackedRefs<'f> {
    rest: &'f [u8],
    is_fully_peeled: bool,
}

/// A line of the file is not as git writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damaged;

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a line of 'packed-refs' is damaged")
    }
}

impl Error for Damaged {}

impl From<Damaged> for io::Error {
    fn from(damaged: Damaged) -> Self {
        Self::new(io::ErrorKind::InvalidData, damaged)
    }
}

impl<'f> PackedRefs<'f> {
    /// Reads the header, where there is one; the refs are read by iterating.
    ///
    /// # Errors
    /// Fails when the header is damaged.
    pub fn parse(text: &'f [u8]) -> Result<Self, Damaged> {
        if !text.starts_with(b"#") {
            return Ok(Self {
                rest: text,
                is_fully_peeled: false,
            });
        }
        let (header, rest) = split_line(text)?;
        let traits = header.strip_prefix(HEADER_START).ok_or(Damaged)?;
        let mut traits = traits.split(|byte| *byte == b' ');
        Ok(Self {
            rest,
            is_fully_peeled: traits.any(|name| name == b"fully-peeled"),
        })
    }

    /// Whether a ref without a peeled object certainly names no tag.
    #[must_use]
    pub fn is_fully_peeled(&self) -> bool {
        self.is_fully_peeled
    }

    fn read_ref(&mut self) -> Result<PackedRef<'f>, Damaged> {
        let (line, mut rest) = split_line(self.rest)?;
        let (object, name) = line.split_at(line.find_byte(b' ').ok_or(Damaged)?);
        let (object, name) = (hex(object)?, &name[1..]);
        if name.is_empty() {
            return Err(Damaged);
        }
        let mut peeled = None;
        if rest.starts_with(b"^") {
            let (line, behind) = split_line(rest)?;
            peeled = Some(hex(&line[1..])?);
            rest = behind;
        }
        self.rest = rest;
        Ok(PackedRef {
            name,
            object,
            peeled,
        })
    }
}

impl<'f> Iterator for PackedRefs<'f> {
    type Item = Result<PackedRef<'f>, Damaged>;

    /// Reads the next ref. A damaged line is the last item.
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = self.read_ref();
        if read.is_err() {
            self.rest = &[];
        }
        Some(read)
    }
}

/// Splits the first line off. A line without an end is cut off.
fn split_line(text: &[u8]) -> Result<(&[u8], &[u8]), Damaged> {
    let end = text.find_byte(b'\n').ok_or(Damaged)?;
    Ok((&text[..end], &text[end + 1..]))
}

/// Checks that this is an object of SHA-1 or SHA-256, in hexadecimal.
fn hex(object: &[u8]) -> Result<&[u8], Damaged> {
    // Without an end at the first other byte, several bytes are looked at in one step.
    let count = |sum: usize, byte: &u8| sum + usize::from(byte.is_ascii_hexdigit());
    let is_object = matches!(object.len(), 40 | 64) && object.iter().fold(0, count) == object.len();
    is_object.then_some(object).ok_or(Damaged)
}

/// Whether a repository's folder of refs has loose ones, which come before those in `packed-refs`.
///
/// # Errors
/// Fails when the folder cannot be read.
pub fn has_loose(refs: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(refs)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || has_loose(&entry.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &[u8]) -> Result<Vec<PackedRef<'_>>, Damaged> {
        PackedRefs::parse(text)?.collect()
    }

    #[test]
    fn refs_are_read_with_what_tags_point_to() {
        let (one, two) = ("1".repeat(40), "a".repeat(40));
        let mut text = HEADER.to_vec();
        text.extend(format!("{one} refs/heads/main\n{two} refs/tags/v1\n^{one}\n").bytes());
        let main = PackedRef {
            name: b"refs/heads/main",
            object: one.as_bytes(),
            peeled: None,
        };
        let tag = PackedRef {
            name: b"refs/tags/v1",
            object: two.as_bytes(),
            peeled: Some(one.as_bytes()),
        };
        assert_eq!(parsed(&text), Ok(vec![main, tag]));
        assert!(PackedRefs::parse(&text).is_ok_and(|refs| refs.is_fully_peeled()));
        assert_eq!(parsed(b""), Ok(Vec::new()));
        let older = b"# pack-refs with: peeled \n";
        assert!(PackedRefs::parse(older).is_ok_and(|refs| !refs.is_fully_peeled()));
    }

    #[test]
    fn a_line_that_git_does_not_write_is_damaged() {
        let one = "1".repeat(40);
        for text in [
            "# pack-refs with: sorted".to_owned(),
            "# something else\n".to_owned(),
            "\n".to_owned(),
            format!("{one} refs/heads/main"),
            format!("{one} \n"),
            format!("{one}\n"),
            format!("{one}1 refs/heads/main\n"),
            format!("{}g refs/heads/main\n", &one[1..]),
            format!("^{one}\n"),
            format!("{one} refs/tags/v1\n^{one}\n^{one}\n"),
            format!("{one} refs/tags/v1\n^\n"),
            format!("{one} refs/heads/main\n# pack-refs with: sorted\n"),
        ] {
            assert_eq!(parsed(text.as_bytes()), Err(Damaged), "{text:?}");
        }
    }

    fn any_object() -> impl Strategy<Value = String> {
        "[0-9a-f]{40}"
    }

    proptest! {
        #[test]
        fn refs_read_back_as_they_were_written(
            refs in proptest::collection::vec(
                ("refs/[a-z/]{1,20}", any_object(), proptest::option::of(any_object())), 0..20,
            ),
        ) {
            let mut text = HEADER.to_vec();
            for (name, object, peeled) in &refs {
                text.extend(format!("{object} {name}\n").bytes());
                text.extend(peeled.iter().flat_map(|peeled| format!("^{peeled}\n").into_bytes()));
            }
            let read = parsed(&text).expect("whole");
            let read = read.iter().map(|each| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                (text(each.name), text(each.object), each.peeled.map(text))
            });
            prop_assert_eq!(read.collect::<Vec<_>>(), refs);
        }

        #[test]
        fn no_bytes_make_it_panic(text: Vec<u8>) {
            let _ = parsed(&text);
        }
    }
}
