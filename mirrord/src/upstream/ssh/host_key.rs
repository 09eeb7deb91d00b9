//! Explains a host key that is not known, or has changed: with both fingerprints, and how to accept the new one.

use std::fs;

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD},
};
use common::{
    address::upstream_url::UpstreamUrl, git::ssh::port, protocol::Failure, text::shell_quoted,
};
use sha2::{Digest, Sha256};

use super::stderr::{any_contains, bare_host, refused, shown, ssh_args};

/// Returns what the stderr of ssh says of the host key; `None` if nothing.
pub(super) fn explain(url: &UpstreamUrl, lines: &[String]) -> Option<Failure> {
    if any_contains(lines, "REMOTE HOST IDENTIFICATION HAS CHANGED")
        || any_contains(lines, "REVOKED HOST KEY")
    {
        let name = match port(url) {
            Some(port) => format!("'[{}]:{port}'", bare_host(url)),
            None => bare_host(url).to_owned(),
        };
        let (now, offending) = (new_fingerprint(lines), offending(lines));
        let before = offending.and_then(|(file, line)| known_fingerprint(file, line));
        let which = match (before, now) {
            (Some(before), Some(now)) => format!(": {before} was known, {now} answers"),
            (None, Some(now)) => format!(": {now} answers"),
            _ => String::new(),
        };
        let file = match offending {
            Some((file, _)) => format!("-f {} ", shell_quoted(&shown(file))),
            None => String::new(),
        };
        return Some(
            refused(format!("cannot reach '{url}': its host key has changed{which}")).hinted(format!(
                "somebody may be in the middle; if it should have, forget the old one and look at the new: \
                 ssh-keygen {file}-R {name} && ssh {}",
                ssh_args(url)
            )),
        );
    }
    any_contains(lines, "Host key verification failed").then(|| {
        refused(format!("cannot reach '{url}': its host key is not known")).hinted(format!(
            "look at it, and accept it if it is right: ssh {}",
            ssh_args(url)
        ))
    })
}

/// Returns the fingerprint of the key that the server showed, which ssh prints in a line of its own.
fn new_fingerprint(lines: &[String]) -> Option<String> {
    let at = lines
        .iter()
        .position(|line| line.starts_with("The fingerprint for the ") && line.ends_with(" is"))?;
    let line = lines.get(at + 1)?.trim_end_matches('.');
    line.starts_with("SHA256:").then(|| shown(line))
}

/// Returns the file and the line of the key that was known: `Offending ED25519 key in FILE:LINE`.
fn offending(lines: &[String]) -> Option<(&str, usize)> {
    let line = lines
        .iter()
        .find_map(|line| line.strip_prefix("Offending "))?;
    let (file, number) = line.split_once(" key in ")?.1.rsplit_once(':')?;
    Some((file, number.parse().ok()?))
}

/// Returns the fingerprint of a key in a file of known hosts, as ssh prints it: the SHA-256 of the key in base64, without
/// `=`.
fn known_fingerprint(file: &str, line: usize) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().nth(line.checked_sub(1)?)?;
    // A marker such as `@revoked` may come first, then the hosts and the kind of key.
    let mut fields = line
        .split_whitespace()
        .skip_while(|field| field.starts_with('@'));
    let key = BASE64_STANDARD.decode(fields.nth(2)?).ok()?;
    let hash = BASE64_STANDARD_NO_PAD.encode(Sha256::digest(key));
    Some(format!("SHA256:{hash}"))
}
