//! How a text becomes an upstream's URL, and what each part of one may be.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{BadUrl, Login, Scheme, UpstreamUrl};
use crate::address::redact::without_login;

/// The part that breaks a rule, and the rule.
pub(super) type Broken = (&'static str, &'static str);

pub(super) const DASH: &str = "it starts with '-'";
pub(super) const CONTROL: &str = "it contains a control character";
pub(super) const DOTS: &str = "'.' and '..' are not allowed in it";
pub(super) const EMPTY: &str = "it is empty";
pub(super) const PERCENT: &str =
    "'%' must be followed by two hexadecimal digits (write '%' itself as '%25')";
const PORT: &str = "it is not a number from 1 to 65535";
pub(super) const UTF8: &str = "it is not valid UTF-8";

impl UpstreamUrl {
    /// `address` has been found to be a URL, and free of control characters.
    pub(super) fn parse(address: &str) -> Result<(Self, Option<Login>), BadUrl> {
        let part = |(part, rule)| BadUrl::Part {
            part,
            rule,
            url: without_login(address),
        };
        if address.starts_with('/') {
            return Ok((Self::file(address).map_err(part)?, None));
        }
        if let Some((helper, _)) = address.split_once("::")
            && !helper.is_empty()
            && helper.bytes().all(is_scheme_byte)
        {
            return Err(BadUrl::Transport(helper.to_owned()));
        }
        let Some((scheme, rest)) = address.split_once("://") else {
            let host = address.split(':').next().unwrap_or_default();
            if matches!(
                host.to_ascii_lowercase().as_str(),
                "https" | "http" | "file" | "ssh" | "mirror"
            ) {
                return Err(part(("address", "'://' must follow the scheme")));
            }
            return Ok((Self::scp(address).map_err(part)?, None));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "https" => Self::http(Scheme::Https, rest).map_err(part),
            "http" => Self::http(Scheme::Http, rest).map_err(part),
            "file" => Ok((Self::file_url(rest).map_err(part)?, None)),
            "ssh" | "git+ssh" | "ssh+git" => Ok((Self::ssh_url(rest).map_err(part)?, None)),
            _ => Err(BadUrl::Scheme {
                scheme: without_login(scheme),
                url: without_login(address),
            }),
        }
    }

    fn http(scheme: Scheme, rest: &str) -> Result<(Self, Option<Login>), Broken> {
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        // Said before anything about the host: the host is not what the user meant by it. A whole host name is.
        let is_name = !authority.contains(['@', ':']) && authority.contains('.');
        if path.contains('@') && !is_name {
            return Err((
                "path",
                "write '@' as '%40', and '/', '?' or '#' in a password as '%2F', '%3F' or '%23'",
            ));
        }
        // The last '@', as curl and browsers have it; git's credential code takes the first, and asks
        // for the password of a host with '@' in its name.
        let (userinfo, host_and_port) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (Some(userinfo).filter(|text| !text.is_empty()), host),
            None => (None, authority),
        };
        let login = userinfo.map(Login::parse).transpose()?;
        let (host, port) = split_port(host_and_port)?;
        let host = match ipv4(host) {
            Some(address) => address.to_string(),
            None => canonical_host(host)?,
        };
        let port = port.filter(|&port| Some(port) != scheme.default_port());
        let path = without_dots(path).replace('@', "%40");
        let path = path.trim_end_matches('/');
        check_http_path(path)?;
        let shown_port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let canonical = format!("{scheme}://{host}{shown_port}{path}");
        Ok((
            Self {
                scheme,
                user: None,
                host,
                port,
                path: path.to_owned(),
                file: None,
                sent: None,
                canonical,
            },
            login,
        ))
    }

    fn file_url(rest: &str) -> Result<Self, Broken> {
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if !host.is_empty() && !host.eq_ignore_ascii_case("localhost") {
            return Err((
                "host",
                "a file URL has three slashes, or the host 'localhost'",
            ));
        }
        if path.contains(['?', '#']) {
            return Err(("path", "write '?' as '%3F' and '#' as '%23'"));
        }
        let path = percent_decode(path).ok_or(("path", PERCENT))?;
        Self::file(&String::from_utf8(path).map_err(|_| ("path", UTF8))?)
    }

    /// `path` is as the file system has it. Its one canonical URL escapes only what would read as
    /// something else in a URL or in a line of text.
    fn file(path: &str) -> Result<Self, Broken> {
        let mut file = String::new();
        for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
            if part == ".." {
                return Err(("path", DOTS));
            }
            file.push('/');
            file.push_str(part);
        }
        let rule = match file.strip_prefix('/') {
            None => Some(EMPTY),
            Some(first) if first.starts_with('-') => Some(DASH),
            Some(_) if file.contains(char::is_control) => Some(CONTROL),
            Some(_) => None,
        };
        if let Some(rule) = rule {
            return Err(("path", rule));
        }
        let path = escaped(&file, |c| c.is_whitespace() || "%?#".contains(c));
        let (scheme, host, canonical) = (Scheme::File, String::new(), format!("file://{path}"));
        Ok(Self {
            scheme,
            user: None,
            host,
            port: None,
            path,
            file: Some(file.into()),
            sent: None,
            canonical,
        })
    }
}

impl Login {
    fn parse(userinfo: &str) -> Result<Self, Broken> {
        let decode = |part, text: &str| {
            // A browser's parser ends the host at '\', which would turn 'evil\@good' around.
            if text.contains(|c: char| c == '\\' || c.is_whitespace()) {
                return Err((part, "write a space as '%20' and '\\' as '%5C'"));
            }
            let text = String::from_utf8(percent_decode(text).ok_or((part, PERCENT))?)
                .map_err(|_| (part, UTF8))?;
            if text.contains(char::is_control) {
                Err((part, CONTROL))
            } else {
                Ok(text)
            }
        };
        let (username, password) = match userinfo.split_once(':') {
            Some((username, password)) => (username, Some(decode("password", password)?)),
            None => (userinfo, None),
        };
        let username = decode("user", username)?;
        // A password may start with '-', tokens do: it never becomes an argument.
        if username.starts_with('-') {
            Err(("user", DASH))
        } else {
            Ok(Self { username, password })
        }
    }
}

/// Whether git allows a byte in the name of a helper or a scheme (`is_urlschemechar`).
fn is_scheme_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

/// Splits off the port, which must be a number if there is a `:`.
pub(super) fn split_port(host_and_port: &str) -> Result<(&str, Option<u16>), Broken> {
    let after_brackets = host_and_port.rfind(']').map_or(0, |at| at + 1);
    let Some(colon) = host_and_port[after_brackets..]
        .find(':')
        .map(|at| after_brackets + at)
    else {
        return Ok((host_and_port, None));
    };
    let (host, port) = (&host_and_port[..colon], &host_and_port[colon + 1..]);
    if port.contains(':') {
        return Err(("host", "an IPv6 address stands in brackets"));
    }
    // `u16::from_str` alone would accept '+443'.
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let number = port.parse().ok().filter(|&number| is_number && number != 0);
    Ok((host, Some(number.ok_or(("port", PORT))?)))
}

/// Returns the host in lower case, an IPv6 address in its shortest form.
pub(super) fn canonical_host(host: &str) -> Result<String, Broken> {
    let bad = |rule| Err(("host", rule));
    if host.is_empty() {
        return bad(EMPTY);
    }
    if host.starts_with('-') {
        return bad(DASH);
    }
    if let Some(inner) = host.strip_prefix('[') {
        let address = inner
            .strip_suffix(']')
            .and_then(|inner| inner.parse::<Ipv6Addr>().ok());
        let Some(address) = address else {
            return bad("what stands in brackets is not an IPv6 address");
        };
        return Ok(format!("[{address}]"));
    }
    if !host.is_ascii() {
        return bad("write a name with letters beyond a to z in its 'xn--' form");
    }
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if !host.bytes().all(is_allowed) {
        return bad("only letters, digits, '-', '.' and '_' are allowed in it");
    }
    if host.split('.').any(str::is_empty) {
        return bad("nothing stands before or after one of its dots");
    }
    let host = host.to_ascii_lowercase();
    // Resolvers read '127.1', '0x7f.1' and '2130706433' as addresses; a comparison of hosts does not.
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_number = match last.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => last.bytes().all(|byte| byte.is_ascii_digit()),
    };
    if is_number && host.parse::<Ipv4Addr>().is_err() {
        return bad("write an IPv4 address as four decimal numbers");
    }
    Ok(host)
}

/// Reads an IPv4 address as resolvers do (inet_aton(3)): `127.1`, `0x7f.1`, `2130706433`.
fn ipv4(host: &str) -> Option<Ipv4Addr> {
    let number = |text: &str| match text.to_ascii_lowercase().strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None if text.len() > 1 && text.starts_with('0') => u32::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    };
    // `from_str_radix` alone would accept '+1'.
    let is_digits =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
    let parts: Vec<&str> = host.split('.').collect();
    if parts.len() > 4 || !parts.iter().all(|part| is_digits(part)) {
        return None;
    }
    let parts: Vec<u32> = parts.into_iter().map(number).collect::<Option<_>>()?;
    let (last, bytes) = parts.split_last()?;
    let mut address: u32 = 0;
    for (at, byte) in bytes.iter().enumerate() {
        address |= u32::from(u8::try_from(*byte).ok()?) << (24 - 8 * at);
    }
    // The last number fills all bytes that are left.
    let left = 32 - 8 * bytes.len();
    (u64::from(*last) < 1 << left).then(|| (address | last).into())
}

/// Removes `.` and `..` from a path as curl does, by RFC 3986. Others may not read `%2e` so, which is refused.
fn without_dots(path: &str) -> String {
    if !path.starts_with('/') {
        return path.to_owned();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').skip(1) {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.iter().map(|part| format!("/{part}")).collect()
}

/// Checks a path as typed and as a server will decode it.
fn check_http_path(path: &str) -> Result<(), Broken> {
    let bad = |rule| Err(("path", rule));
    let decoded = percent_decode(path).ok_or(("path", PERCENT))?;
    let decoded = String::from_utf8_lossy(&decoded);
    if path.is_empty() {
        bad(EMPTY)
    } else if path.contains(['?', '#']) {
        bad("a git server takes no '?' or '#'")
    } else if path.contains(char::is_whitespace) {
        bad("write a space as '%20'")
    } else if decoded.contains(char::is_control) {
        bad(CONTROL)
    } else if decoded.contains('\\') {
        bad("'\\' is not allowed in it")
    } else if decoded.split('/').any(|part| matches!(part, "." | "..")) {
        bad(DOTS)
    } else if decoded.trim_start_matches('/').starts_with('-') {
        bad(DASH)
    } else {
        Ok(())
    }
}

/// Percent-encodes the characters that would read as something else.
#[must_use]
pub fn escaped(text: &str, is_special: impl Fn(char) -> bool) -> String {
    let mut escaped = String::new();
    for char in text.chars() {
        if is_special(char) {
            let mut utf8 = [0; 4];
            let bytes = char.encode_utf8(&mut utf8).bytes();
            escaped.extend(bytes.map(|byte| format!("%{byte:02X}")));
        } else {
            escaped.push(char);
        }
    }
    escaped
}

/// Decodes `%20` and the like; None if a `%` is not followed by two hexadecimal digits.
#[must_use]
pub fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (high, low) = (
            char::from(bytes.next()?).to_digit(16)?,
            char::from(bytes.next()?).to_digit(16)?,
        );
        decoded.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(decoded)
}
