//! git's pkt-lines (gitprotocol-common(5)): four hexadecimal digits of length, which count themselves, then so many bytes.
//! Lengths below four are packets without a content.
//!
//! The crate `gix-packetline` reads a line without content, `0004`, as an error. git sends one for an empty push option.

use std::io::{self, BufRead, BufReader, Read, Write};

/// The digits before the content.
const HEADER_BYTES: usize = 4;

/// The longest content that git takes: `LARGE_PACKET_DATA_MAX` in its pkt-line.h.
const MAX_CONTENT_BYTES: usize = 65516;

/// What the four digits say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// `0000`, a flush packet: the end of a section.
    Flush,
    /// `0001`, a delimiter packet: the end of a part of a section.
    Delimiter,
    /// `0002`, a response-end packet: the end of an answer, for a connection that has no end of its own.
    ResponseEnd,
    /// A line with so many bytes of content.
    Line(usize),
}

impl Header {
    /// Reads the four digits; None where they are no length.
    #[must_use]
    pub fn parse(digits: [u8; HEADER_BYTES]) -> Option<Self> {
        let mut length = 0;
        for digit in digits {
            length = length << 4 | char::from(digit).to_digit(16)? as usize;
        }
        match length {
            0 => Some(Self::Flush),
            1 => Some(Self::Delimiter),
            2 => Some(Self::ResponseEnd),
            3 => None,
            length => Some(Self::Line(length - HEADER_BYTES)),
        }
    }
}

fn no_length() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "what should be a length is none",
    )
}

/// Reads lines up to the flush packet at their end, without the line ends behind them.
///
/// # Errors
/// Fails when the section is cut off, or has another packet in it.
pub fn read_section(from: &mut impl Read) -> io::Result<Vec<Vec<u8>>> {
    let mut section = Vec::new();
    loop {
        let mut digits = [0; HEADER_BYTES];
        from.read_exact(&mut digits)?;
        match Header::parse(digits) {
            Some(Header::Flush) => return Ok(section),
            Some(Header::Line(length)) => {
                let mut line = vec![0; length];
                from.read_exact(&mut line)?;
                if line.last() == Some(&b'\n') {
                    line.pop();
                }
                section.push(line);
            }
            _ => return Err(no_length()),
        }
    }
}

/// Copies packets up to the flush packet at the end of a section, byte for byte.
///
/// # Errors
/// Fails when the section is cut off; what came before is copied.
pub fn copy_section(from: &mut impl Read, to: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let mut digits = [0; HEADER_BYTES];
        from.read_exact(&mut digits)?;
        to.extend_from_slice(&digits);
        match Header::parse(digits).ok_or_else(no_length)? {
            Header::Flush => return Ok(()),
            Header::Line(length) => {
                let start = to.len();
                to.resize(start + length, 0);
                from.read_exact(&mut to[start..])?;
            }
            Header::Delimiter | Header::ResponseEnd => {}
        }
    }
}

/// Writes one line, cut off where it is too long for git.
///
/// # Errors
/// Fails when it cannot be written.
pub fn write(to: &mut impl Write, line: &[u8]) -> io::Result<()> {
    let line = &line[..line.len().min(MAX_CONTENT_BYTES)];
    write!(to, "{:04x}", line.len() + HEADER_BYTES)?;
    to.write_all(line)
}

/// Writes a flush packet, and flushes.
///
/// # Errors
/// Fails when it cannot be written.
pub fn end(to: &mut impl Write) -> io::Result<()> {
    to.write_all(b"0000")?;
    to.flush()
}

/// Passes packets on as they come, to the end of the input, without response-end packets. `filter` gets each line, and
/// None for a flush packet, and returns whether it is passed on.
///
/// # Errors
/// Fails with [`io::ErrorKind::UnexpectedEof`] in the middle of a packet, and when a pipe breaks.
pub fn relay(
    from: &mut BufReader<impl Read>,
    to: &mut impl Write,
    mut filter: impl FnMut(Option<&[u8]>) -> bool,
) -> io::Result<()> {
    let mut line = Vec::new();
    while !from.fill_buf()?.is_empty() {
        let mut digits = [0; HEADER_BYTES];
        from.read_exact(&mut digits)?;
        match Header::parse(digits).ok_or_else(no_length)? {
            Header::ResponseEnd => {}
            Header::Flush if !filter(None) => {}
            Header::Flush | Header::Delimiter => to.write_all(&digits)?,
            Header::Line(length) => {
                line.resize(length, 0);
                from.read_exact(&mut line)?;
                if filter(Some(&line)) {
                    to.write_all(&digits)?;
                    to.write_all(&line)?;
                }
            }
        }
        // What has come is passed on before the next packet is waited for.
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
        let (mut copied, whole) = (Vec::new(), wire.clone());
        copy_section(&mut whole.as_slice(), &mut copied).expect("sound");
        assert!(whole.starts_with(&copied) && copied.ends_with(b"0000"));
        let mut wire = wire.as_slice();
        assert_eq!(read_section(&mut wire).expect("sound"), lines);
        assert!(read_section(&mut wire).is_err(), "it has no end");
    }

    #[test]
    fn packets_are_relayed_without_response_ends() {
        let relayed = |wire: &[u8]| {
            let mut relayed = Vec::new();
            let mut wire = BufReader::with_capacity(5, wire);
            relay(&mut wire, &mut relayed, |_| true).map(|()| relayed)
        };
        let answers = b"0009abc\n\n00010007\xff\0\xfe00000002" as &[u8];
        let passed_on = b"0009abc\n\n00010007\xff\0\xfe0000" as &[u8];
        let twice = relayed(&[answers, answers].concat());
        assert_eq!(twice.expect("sound"), [passed_on, passed_on].concat());
        assert!(relayed(b"0009abc").is_err(), "a line without its end");
        assert!(relayed(b"0003").is_err());
        assert_eq!(relayed(b"").expect("nothing"), b"");
    }

    #[test]
    fn what_is_no_pkt_line_is_an_error() {
        for garbled in [
            &b""[..],
            b"00",
            b"0001",
            b"xyzw",
            b"0009abc",
            b"+004",
            b"0003",
        ] {
            let mut wire = garbled;
            assert!(read_section(&mut wire).is_err(), "{garbled:?}");
        }
    }
}
