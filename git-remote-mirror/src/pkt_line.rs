//! git's pkt-lines: four hexadecimal digits of length, then so many bytes less four; a length of zero ends a section.

use std::io::{self, BufRead, BufReader, Read, Write};

/// The longest line that git takes.
const MAX_PAYLOAD_BYTES: usize = 65516;

/// What is no line, by its length: the ends of a section and of a part of one, and that of an answer, of which only
/// those need to hear for whom not everything comes over one line.
const FLUSH: usize = 0;
const DELIMITER: usize = 1;
const RESPONSE_END: usize = 2;

/// Reads lines up to the end of their section, without the line breaks behind them.
pub(crate) fn read_section(from: &mut impl Read) -> io::Result<Vec<Vec<u8>>> {
    let mut section = Vec::new();
    loop {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let length = std::str::from_utf8(&length)
            .ok()
            .and_then(|hex| usize::from_str_radix(hex, 16).ok());
        match length {
            Some(0) => return Ok(section),
            // An empty line is one, too: a push option may be empty.
            Some(length @ 4..) => {
                let mut line = vec![0; length - 4];
                from.read_exact(&mut line)?;
                if line.last() == Some(&b'\n') {
                    line.pop();
                }
                section.push(line);
            }
            _ => return Err(io::Error::other("what should be a length is none")),
        }
    }
}

/// Writes one line, and cuts what does not fit.
pub(crate) fn write(to: &mut impl Write, line: &[u8]) -> io::Result<()> {
    let line = &line[..line.len().min(MAX_PAYLOAD_BYTES)];
    write!(to, "{:04x}", line.len() + 4)?;
    to.write_all(line)
}

/// Ends a section, and sends it on its way.
pub(crate) fn end(to: &mut impl Write) -> io::Result<()> {
    to.write_all(b"0000")?;
    to.flush()
}

/// Passes lines on as they come, to their end, without the ends of answers. Each is `seen` on its way, and so is the end
/// of a section; it returns whether that goes on.
pub(crate) fn relay(
    from: &mut BufReader<impl Read>,
    to: &mut impl Write,
    mut seen: impl FnMut(Option<&[u8]>) -> bool,
) -> io::Result<()> {
    let mut line = Vec::new();
    while !from.fill_buf()?.is_empty() {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let text = std::str::from_utf8(&length).unwrap_or_default();
        match usize::from_str_radix(text, 16) {
            Ok(RESPONSE_END) => {}
            Ok(FLUSH) if !seen(None) => {}
            Ok(FLUSH) => to.write_all(&length)?,
            Ok(DELIMITER) => to.write_all(&length)?,
            Ok(whole @ 4..) => {
                line.resize(whole - 4, 0);
                from.read_exact(&mut line)?;
                if seen(Some(&line)) {
                    to.write_all(&length)?;
                    to.write_all(&line)?;
                }
            }
            _ => return Err(io::Error::other("what should be a length is none")),
        }
        // Nobody waits for what has come already.
        if from.buffer().is_empty() {
            to.flush()?;
        }
    }
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_reads_back_as_it_was_written() {
        let lines: [&[u8]; 3] = [b"refs/heads/main", b"", b"\xff\0"];
        let mut wire = Vec::new();
        for line in lines {
            write(&mut wire, line).expect("written");
        }
        end(&mut wire).expect("written");
        write(&mut wire, b"the next section\n").expect("written");
        let mut wire = wire.as_slice();
        assert_eq!(read_section(&mut wire).expect("sound"), lines);
        assert!(read_section(&mut wire).is_err(), "it has no end");
    }

    #[test]
    fn what_is_passed_on_has_no_ends_of_answers() {
        let passed = |wire: &[u8]| {
            let mut passed = Vec::new();
            let mut wire = BufReader::with_capacity(5, wire);
            relay(&mut wire, &mut passed, |_| true).map(|()| passed)
        };
        let answers = b"0009abc\n\n00010007\xff\0\xfe00000002" as &[u8];
        let passed_on = b"0009abc\n\n00010007\xff\0\xfe0000" as &[u8];
        let twice = passed(&[answers, answers].concat());
        assert_eq!(twice.expect("sound"), [passed_on, passed_on].concat());
        assert!(passed(b"0009abc").is_err(), "a line without its end");
        assert!(passed(b"0003").is_err());
        assert_eq!(passed(b"").expect("nothing"), b"");
    }

    #[test]
    fn what_is_no_pkt_line_is_an_error() {
        for garbled in [&b""[..], b"00", b"0001", b"xyzw", b"0009abc", b"+004"] {
            let mut wire = garbled;
            assert!(read_section(&mut wire).is_err(), "{garbled:?}");
        }
    }
}
