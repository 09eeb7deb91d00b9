//! What a server says in plain text, as git reads it (`extract_content_type()` in its http.c): other types are ugly in a
//! terminal.

use encoding_rs::Encoding;

/// The charset of a text that names none, in HTTP.
const USUAL: &str = "iso-8859-1";

/// Returns the text of a body of this `Content-Type`; an empty one where it is no plain text.
pub(super) fn read(content_type: &str, body: &[u8]) -> String {
    let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let kind: String = kind.split_whitespace().collect();
    if !kind.eq_ignore_ascii_case("text/plain") {
        return String::new();
    }
    let charset = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        name.eq_ignore_ascii_case("charset").then_some(value.trim())
    });
    let charset = charset.unwrap_or(USUAL).trim_matches('"');
    match Encoding::for_label(charset.as_bytes()) {
        Some(encoding) => encoding.decode(body).0.into_owned(),
        None => String::from_utf8_lossy(body).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_in_its_charset() {
        let utf16: Vec<u8> = "\u{feff}né"
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        for (kind, body) in [
            ("text/plain", &b"n\xe9"[..]),
            ("text/plain; charset=utf-8", "né".as_bytes()),
            ("text / plain;Charset=\"UTF-8\"", "né".as_bytes()),
            ("text/plain; charset=utf-16", &utf16),
            (
                "text/plain; foo=bar ;charset=utf-16; other=nonsense",
                &utf16,
            ),
            ("TEXT/PLAIN; charset=unknown", "né".as_bytes()),
        ] {
            assert_eq!(read(kind, body), "né", "{kind}");
        }
        assert_eq!(read("text/html; charset=utf-8", b"<p>"), "");
    }
}
