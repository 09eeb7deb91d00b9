//! Keeps logins out of what is shown.

/// Drops the userinfo of every URL in a text that is not ours, such as a message of git or of a library.
///
/// When in doubt it drops too much: an `@` anywhere in what may be the URL ends the userinfo, since a
/// password typed with a raw `/` is no longer where a URL has it. Paths of `file://` URLs are left alone.
/// Not caught: a password with raw white space that starts like a port (`user:80 x@`), which no URL
/// library accepts, and none would repeat. The user of an ssh URL is part of its address and stays, as long as it can be
/// nothing but a name.
pub fn redact(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = rest.find("://") {
        let before = rest[..found].to_ascii_lowercase();
        let is_file = before.ends_with("file");
        clean.push_str(&rest[..found + 3]);
        rest = &rest[found + 3..];
        let mut words = before.rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '+'));
        let is_ssh = matches!(words.next(), Some("ssh" | "git+ssh" | "ssh+git"));
        if let Some((user, after)) = rest.split_once('@')
            && is_ssh
            && is_ssh_user(user)
        {
            clean.push_str(&rest[..=user.len()]);
            rest = after_userinfo(after);
        } else if !is_file {
            // `https:///user@host` is a host to a browser's parser.
            let slashes = rest.len() - rest.trim_start_matches(['/', '\\']).len();
            clean.push_str(&rest[..slashes]);
            rest = after_userinfo(&rest[slashes..]);
        } else if !rest.starts_with('/') {
            rest = after_userinfo(rest);
        }
    }
    clean + rest
}

/// Returns the part of `url`, without scheme and slashes, after the last `@` that may belong to its userinfo.
fn after_userinfo(url: &str) -> &str {
    let word = url.split(char::is_whitespace).next().unwrap_or_default();
    let authority = word.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit(']').next().unwrap_or_default();
    let is_number = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    // Where a port should be, the start of a password with a character that should have been escaped.
    let is_torn = !authority.contains('@')
        && match host.split_once(':') {
            None => false,
            // The text may go on behind the URL, as in 'https://host:8443': refused.
            Some((_, port)) if authority == word => {
                !is_number(port.trim_end_matches(|c: char| c.is_ascii_punctuation()))
            }
            Some((_, port)) => port.is_empty() || !is_number(port),
        };
    let reach = match url.split('\n').next() {
        Some(line) if is_torn => line,
        _ => word,
    };
    match reach.rfind('@') {
        Some(at) => after_userinfo(&url[at + 1..]),
        None => url,
    }
}

/// Returns an address for an error: on one line and without anything that could be a login. An address
/// is a single URL, so every `@` in it counts.
pub(crate) fn without_login(address: &str) -> String {
    let shown = match address.split_once("://") {
        _ if address.starts_with('/') => address.to_owned(),
        Some((scheme, rest)) if !scheme.contains('@') => match rest.rsplit_once('@') {
            Some((_, rest)) => format!("{scheme}://{rest}"),
            None => address.to_owned(),
        },
        _ => address
            .rsplit_once('@')
            .map_or(address, |(_, rest)| rest)
            .to_owned(),
    };
    shown
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// Whether a text can be a user name of ssh: it has no character with a meaning in a shell, a URL or an option.
pub(super) fn is_ssh_user(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+=".contains(&byte);
    !text.is_empty() && text.bytes().all(is_allowed)
}
