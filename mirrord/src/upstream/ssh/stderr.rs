//! What the last words of ssh, or of the git behind it, mean: the kind of failure, one line in git's voice, and what to
//! do about it.

use common::{
    address::{redact, upstream_url::UpstreamUrl},
    git::ssh::port,
    protocol::{Failure, FailureKind},
    text::masked,
};

use super::host_key;
use crate::upstream::{Trouble, answers::server_message};

/// The status of a shell that does not find a program.
pub(super) const NOT_FOUND: i32 = 127;

/// The status of ssh itself; any other is that of the program on the other side.
const OF_SSH: i32 = 255;

/// The longest quotation.
const MAX_MESSAGE_BYTES: usize = 200;

/// Lines that ssh says when nothing is wrong.
const CHATTER: [&str; 5] = [
    "Warning: Permanently added",
    "Pseudo-terminal",
    "debug",
    "Authenticated to",
    "Transferred:",
];

/// What was said on stderr means this; None if nothing was.
pub(in crate::upstream) fn explain(
    url: &UpstreamUrl,
    words: &str,
    status: Option<i32>,
) -> Option<Trouble> {
    if let Some(trouble) = server_message::meaning(url, words) {
        return Some(trouble);
    }
    let line = |line: &str| {
        let line = line.trim();
        line.strip_prefix("remote:")
            .unwrap_or(line)
            .trim()
            .to_owned()
    };
    let lines: Vec<_> = words.lines().map(line).collect();
    let failure = host_key::explain(url, &lines)
        .or_else(|| of_key(url, &lines))
        .or_else(|| of_connection(url, &lines))
        .or_else(|| of_other_side(url, &lines))
        .or_else(|| of_program(&lines, status))
        .or_else(|| of_anything(url, &lines, status))?;
    Some(Trouble {
        // A shared connection that broke is worth one of its own.
        retry_on_new_session: has(&lines, "mux_client") || has(&lines, "Shared connection to"),
        key_refused: has(&lines, ": Permission denied ("),
        no_answer: failure.kind == FailureKind::Unreachable && has_timed_out(&lines),
        ..failure.into()
    })
}

pub(super) fn has(lines: &[String], text: &str) -> bool {
    lines.iter().any(|line| line.contains(text))
}

/// Words that are not ours, fit to be shown.
pub(super) fn shown(words: &str) -> String {
    let words = masked(redact(words).as_bytes());
    words
        .trim_end_matches('.')
        .chars()
        .take(MAX_MESSAGE_BYTES)
        .collect()
}

/// How a person would run ssh themselves.
pub(super) fn by_hand(url: &UpstreamUrl) -> String {
    let port = port(url);
    let port = port.map(|port| format!("-p {port} ")).unwrap_or_default();
    let user = url
        .user()
        .map(|user| format!("{user}@"))
        .unwrap_or_default();
    format!("{port}{user}{}", bare_host(url))
}

/// The host without the brackets of an IPv6 address.
pub(super) fn bare_host(url: &UpstreamUrl) -> &str {
    let host = url.host().unwrap_or_default();
    host.trim_start_matches('[').trim_end_matches(']')
}

pub(super) fn refused(message: String) -> Failure {
    Failure::new(FailureKind::Refused, message)
}

fn of_key(url: &UpstreamUrl, lines: &[String]) -> Option<Failure> {
    let hint = format!(
        "'ssh -v {}' shows which keys it tries; one with a passphrase must be in the agent: ssh-add",
        by_hand(url)
    );
    if has(lines, "Too many authentication failures") {
        let message = format!("'{url}' refuses your key: too many were tried");
        return Some(refused(message).hinted(hint));
    }
    // A file that may not be read has no list of methods behind it.
    has(lines, ": Permission denied (")
        .then(|| refused(format!("'{url}' refuses your key")).hinted(hint))
}

fn has_timed_out(lines: &[String]) -> bool {
    has(lines, "timed out") || has(lines, "not responding")
}

/// The words that the http side uses for the same.
fn of_connection(url: &UpstreamUrl, lines: &[String]) -> Option<Failure> {
    let cause = if has(lines, "Could not resolve hostname") {
        "could not resolve host".to_owned()
    } else if let Some(why) = lines
        .iter()
        .find_map(|line| line.strip_prefix("ssh: connect to host ")?.split_once(": "))
    {
        shown(why.1).to_ascii_lowercase()
    } else if has_timed_out(lines) {
        "connection timed out".into()
    } else if let Some(why) = lines
        .iter()
        .find(|line| line.starts_with("Unable to negotiate with "))
    {
        let why = why.split_once(": ").map_or(why.as_str(), |(_, why)| why);
        return Some(refused(format!("cannot reach '{url}': {}", shown(why))));
    } else {
        return None;
    };
    Some(Failure::new(
        FailureKind::Unreachable,
        format!("cannot reach '{url}': {cause}"),
    ))
}

/// A git, or what stands before one, that says no.
fn of_other_side(url: &UpstreamUrl, lines: &[String]) -> Option<Failure> {
    if has(lines, "git-upload-pack: ") && has(lines, "not found") {
        let message = format!("cannot read '{url}': the server has no git-upload-pack");
        return Some(refused(message));
    }
    let said = |prefix: &str| {
        let mut found = lines.iter().filter_map(|line| {
            let start = line.get(..prefix.len())?;
            start
                .eq_ignore_ascii_case(prefix)
                .then(|| line[prefix.len()..].trim())
        });
        // git's own last word, where it is git that ran ssh.
        found.find(|said| !said.starts_with("Could not read from remote") && !said.is_empty())
    };
    let failure = |said: &str| refused(format!("cannot read '{url}': {}", shown(said)));
    said("error:")
        .map(|said| {
            failure(said).hinted("check the address; a key without permission is told the same")
        })
        .or_else(|| said("fatal:").map(failure))
}

/// The user's ssh is not there. The shell's words would show the whole command, and that may hold anything.
pub(super) fn not_found() -> Failure {
    Failure::here("cannot run ssh: it is not found")
        .hinted("see GIT_SSH_COMMAND and GIT_SSH, and 'git config core.sshCommand'")
}

/// Something on this machine.
fn of_program(lines: &[String], status: Option<i32>) -> Option<Failure> {
    if status == Some(NOT_FOUND) {
        return Some(not_found());
    }
    let line = lines.iter().find(|line| {
        line.contains("Bad owner or permissions") || line.contains("ad configuration option")
    })?;
    Some(Failure::here(format!("cannot run ssh: {}", shown(line))))
}

/// Words that we do not know.
fn of_anything(url: &UpstreamUrl, lines: &[String], status: Option<i32>) -> Option<Failure> {
    let is_chatter = |line: &str| CHATTER.iter().any(|start| line.starts_with(start));
    let is_last = |line: &&&String| {
        !is_chatter(line)
            && line.contains(char::is_alphanumeric)
            && !line.starts_with("fatal: Could not read")
    };
    let cut = [
        "closed by",
        "Connection closed",
        "Shared connection to",
        "mux_client",
        "Broken pipe",
    ];
    if has(lines, "reset by peer") {
        let message = format!("cannot reach '{url}': connection reset by peer");
        return Some(Failure::new(FailureKind::Unreachable, message));
    }
    if cut.iter().any(|text| has(lines, text)) {
        let message = format!("cannot reach '{url}': the connection was cut");
        return Some(Failure::new(FailureKind::Unreachable, message));
    }
    let last = lines.iter().rev().find(|line| is_last(&line))?;
    Some(match status {
        Some(status) if status != OF_SSH => {
            refused(format!("cannot read '{url}': {}", shown(last)))
        }
        _ => Failure::new(
            FailureKind::Unreachable,
            format!("cannot reach '{url}': {}", shown(last)),
        ),
    })
}

#[cfg(test)]
mod tests {
    use common::address::upstream_url::Address;

    use super::*;

    fn explained(words: &str, status: i32) -> (FailureKind, String) {
        let Ok(Address::Url(url, _)) = Address::parse("ssh://git@h:2222/g/p.git") else {
            unreachable!("it is a URL");
        };
        let trouble = explain(&url, words, Some(status)).expect("it means something");
        let hint = trouble.failure.hint.unwrap_or_default();
        assert!(!hint.contains('\n') && !trouble.failure.message.contains(char::is_control));
        (trouble.failure.kind, trouble.failure.message)
    }

    #[test]
    fn what_ssh_says_is_said_in_gits_voice() {
        use FailureKind::{Here, Refused, Unreachable};
        let table = [
            (
                "Host key verification failed.\r\n",
                255,
                Refused,
                "cannot reach 'U': its host key is not known",
            ),
            (
                "@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key verification failed.\n",
                255,
                Refused,
                "cannot reach 'U': its host key has changed",
            ),
            (
                "git@h: Permission denied (publickey).\r\n",
                255,
                Refused,
                "'U' refuses your key",
            ),
            (
                "Received disconnect from 10.0.0.1 port 22:2: Too many authentication failures\n",
                255,
                Refused,
                "'U' refuses your key: too many were tried",
            ),
            (
                "ssh: Could not resolve hostname h: Name or service not known\r\n",
                255,
                Unreachable,
                "cannot reach 'U': could not resolve host",
            ),
            (
                "ssh: connect to host h port 2222: Connection refused\r\n",
                255,
                Unreachable,
                "cannot reach 'U': connection refused",
            ),
            (
                "ssh: connect to host h port 2222: No route to host\r\n",
                255,
                Unreachable,
                "cannot reach 'U': no route to host",
            ),
            (
                "Connection timed out during banner exchange\nConnection to 10.0.0.1 port 2222 timed out\n",
                255,
                Unreachable,
                "cannot reach 'U': connection timed out",
            ),
            (
                "Timeout, server h not responding.\n",
                255,
                Unreachable,
                "cannot reach 'U': connection timed out",
            ),
            (
                "kex_exchange_identification: Connection closed by remote host\nConnection closed by 10.0.0.1 port 2222\n",
                255,
                Unreachable,
                "cannot reach 'U': the connection was cut",
            ),
            (
                "kex_exchange_identification: read: Connection reset by peer\n",
                255,
                Unreachable,
                "cannot reach 'U': connection reset by peer",
            ),
            (
                "Unable to negotiate with 10.0.0.1 port 22: no matching host key type found. Their offer: ssh-rsa\n",
                255,
                Refused,
                "cannot reach 'U': no matching host key type found. Their offer: ssh-rsa",
            ),
            (
                "fatal: '/g/p.git' does not appear to be a git repository\n",
                128,
                Refused,
                "cannot read 'U': '/g/p.git' does not appear to be a git repository",
            ),
            (
                "remote: \nremote: ====\nremote: \nremote: ERROR: The project you were looking for could not be found or you don't have permission to view it.\nremote: \nremote: ====\n",
                1,
                Refused,
                "cannot read 'U': The project you were looking for could not be found or you don't have permission to view it",
            ),
            (
                "ERROR: Repository not found.\nfatal: Could not read from remote repository.\n",
                128,
                Refused,
                "cannot read 'U': Repository not found",
            ),
            (
                "FATAL: R any p me DENIED by fallthru\n(or you mis-spelled the reponame)\n",
                1,
                Refused,
                "cannot read 'U': R any p me DENIED by fallthru",
            ),
            (
                "This service allows sftp connections only.\n",
                1,
                Refused,
                "cannot read 'U': This service allows sftp connections only",
            ),
            (
                "bash: line 1: git-upload-pack: command not found\n",
                127,
                Refused,
                "cannot read 'U': the server has no git-upload-pack",
            ),
            (
                "sshpass -p S3CRET ssh: 1: sshpass: not found\n",
                127,
                Here,
                "cannot run ssh: it is not found",
            ),
            (
                "/home/me/.ssh/config: line 1: Bad configuration option: frob\n",
                255,
                Here,
                "cannot run ssh: /home/me/.ssh/config: line 1: Bad configuration option: frob",
            ),
            (
                "odd \x1b[31mwords\n",
                255,
                Unreachable,
                "cannot reach 'U': odd ^[[31mwords",
            ),
        ];
        for (words, status, kind, message) in table {
            let message = message.replace("'U'", "'ssh://git@h:2222/g/p.git'");
            assert_eq!(explained(words, status), (kind, message), "of {words:?}");
        }
    }

    #[test]
    fn chatter_means_nothing() {
        let Ok(Address::Url(url, _)) = Address::parse("git@h:p") else {
            unreachable!("it is a URL");
        };
        let words =
            "Warning: Permanently added 'h' (ED25519) to the list of known hosts.\r\n====\n";
        assert!(explain(&url, words, Some(0)).is_none());
        assert!(explain(&url, "", None).is_none());
    }
}
