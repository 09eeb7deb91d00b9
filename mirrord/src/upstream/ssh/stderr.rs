//! Explains the stderr of ssh, or of the git behind it: the kind of failure, one line in git's voice, and what to do about
//! it. The patterns are from OpenSSH's sshconnect.c, sshconnect2.c, packet.c, clientloop.c and mux.c.

use common::{
    address::{redact, upstream_url::UpstreamUrl},
    git::ssh::port,
    protocol::{Failure, FailureKind},
    text::masked,
};

use super::host_key;
use crate::upstream::{Trouble, answers::server_message};

/// The status of a shell that does not find a program (POSIX, "Shell Command Language").
pub(super) const NOT_FOUND: i32 = 127;

/// The status of ssh itself (ssh(1), EXIT STATUS); any other is that of the program on the other side.
const SSH_FAILED: i32 = 255;

/// The longest quotation.
const MAX_MESSAGE_BYTES: usize = 200;

/// How lines begin that ssh prints when nothing is wrong.
const HARMLESS: [&str; 5] = [
    "Warning: Permanently added",
    "Pseudo-terminal",
    "debug",
    "Authenticated to",
    "Transferred:",
];

/// Returns what the stderr of ssh means; `None` if there is nothing in it.
pub(in crate::upstream) fn explain(
    url: &UpstreamUrl,
    stderr: &str,
    status: Option<i32>,
) -> Option<Trouble> {
    if let Some(trouble) = server_message::meaning(url, stderr) {
        return Some(trouble);
    }
    let line = |line: &str| {
        let line = line.trim();
        line.strip_prefix("remote:")
            .unwrap_or(line)
            .trim()
            .to_owned()
    };
    let lines: Vec<_> = stderr.lines().map(line).collect();
    let failure = host_key::explain(url, &lines)
        .or_else(|| explain_key(url, &lines))
        .or_else(|| explain_connection(url, &lines))
        .or_else(|| explain_other_side(url, &lines))
        .or_else(|| explain_local(&lines, status))
        .or_else(|| explain_unknown(url, &lines, status))?;
    Some(Trouble {
        // A shared connection broke: a new one may work.
        retry_on_new_session: any_contains(&lines, "mux_client")
            || any_contains(&lines, "Shared connection to"),
        key_refused: any_contains(&lines, ": Permission denied ("),
        no_answer: failure.kind == FailureKind::Unreachable && has_timed_out(&lines),
        ..failure.into()
    })
}

pub(super) fn any_contains(lines: &[String], text: &str) -> bool {
    lines.iter().any(|line| line.contains(text))
}

/// Returns text that is not ours as it can be shown.
pub(super) fn shown(text: &str) -> String {
    let text = masked(redact(text).as_bytes());
    text.trim_end_matches('.')
        .chars()
        .take(MAX_MESSAGE_BYTES)
        .collect()
}

/// Returns the arguments with which a person would run ssh.
pub(super) fn ssh_args(url: &UpstreamUrl) -> String {
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

fn explain_key(url: &UpstreamUrl, lines: &[String]) -> Option<Failure> {
    let hint = format!(
        "'ssh -v {}' shows which keys it tries; one with a passphrase must be in the agent: ssh-add",
        ssh_args(url)
    );
    if any_contains(lines, "Too many authentication failures") {
        let message = format!("'{url}' refuses your key: too many were tried");
        return Some(refused(message).hinted(hint));
    }
    // Behind `Permission denied` for a file there is no list of methods.
    any_contains(lines, ": Permission denied (")
        .then(|| refused(format!("'{url}' refuses your key")).hinted(hint))
}

fn has_timed_out(lines: &[String]) -> bool {
    any_contains(lines, "timed out") || any_contains(lines, "not responding")
}

/// Explains why there is no connection, in the same words as for http.
fn explain_connection(url: &UpstreamUrl, lines: &[String]) -> Option<Failure> {
    let cause = if any_contains(lines, "Could not resolve hostname") {
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

/// Explains the message of a git, or of what stands before one, such as gitlab-shell.
fn explain_other_side(url: &UpstreamUrl, lines: &[String]) -> Option<Failure> {
    if any_contains(lines, "git-upload-pack: ") && any_contains(lines, "not found") {
        let message = format!("cannot read '{url}': the server has no git-upload-pack");
        return Some(refused(message));
    }
    let after_prefix = |prefix: &str| {
        let mut found = lines.iter().filter_map(|line| {
            let start = line.get(..prefix.len())?;
            start
                .eq_ignore_ascii_case(prefix)
                .then(|| line[prefix.len()..].trim())
        });
        // The last line of git, where it is git that ran ssh.
        found.find(|message| {
            !message.starts_with("Could not read from remote") && !message.is_empty()
        })
    };
    let failure = |message: &str| refused(format!("cannot read '{url}': {}", shown(message)));
    after_prefix("error:")
        .map(|message| {
            failure(message).hinted("check the address; a key without permission is told the same")
        })
        .or_else(|| after_prefix("fatal:").map(failure))
}

/// Returns the failure of an ssh that is not found. The shell's message would show the whole command, which may hold
/// secrets.
pub(super) fn not_found() -> Failure {
    Failure::here("cannot run ssh: it is not found")
        .hinted("see GIT_SSH_COMMAND and GIT_SSH, and 'git config core.sshCommand'")
}

/// Explains what is wrong on this machine.
fn explain_local(lines: &[String], status: Option<i32>) -> Option<Failure> {
    if status == Some(NOT_FOUND) {
        return Some(not_found());
    }
    let line = lines.iter().find(|line| {
        line.contains("Bad owner or permissions") || line.contains("ad configuration option")
    })?;
    Some(Failure::here(format!("cannot run ssh: {}", shown(line))))
}

/// Explains a connection that broke, or else returns the last line.
fn explain_unknown(url: &UpstreamUrl, lines: &[String], status: Option<i32>) -> Option<Failure> {
    let is_harmless = |line: &str| HARMLESS.iter().any(|start| line.starts_with(start));
    let is_last = |line: &&&String| {
        !is_harmless(line)
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
    if any_contains(lines, "reset by peer") {
        let message = format!("cannot reach '{url}': connection reset by peer");
        return Some(Failure::new(FailureKind::Unreachable, message));
    }
    if cut.iter().any(|text| any_contains(lines, text)) {
        let message = format!("cannot reach '{url}': the connection was cut");
        return Some(Failure::new(FailureKind::Unreachable, message));
    }
    let last = lines.iter().rev().find(|line| is_last(&line))?;
    Some(match status {
        Some(status) if status != SSH_FAILED => {
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

    fn explained(stderr: &str, status: i32) -> (FailureKind, String) {
        let Ok(Address::Url(url, _)) = Address::parse("ssh://git@h:2222/g/p.git") else {
            unreachable!("it is a URL");
        };
        let trouble = explain(&url, stderr, Some(status)).expect("it means something");
        let hint = trouble.failure.hint.unwrap_or_default();
        assert!(!hint.contains('\n') && !trouble.failure.message.contains(char::is_control));
        (trouble.failure.kind, trouble.failure.message)
    }

    #[test]
    fn messages_of_ssh_are_explained_in_gits_voice() {
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
        for (stderr, status, kind, message) in table {
            let message = message.replace("'U'", "'ssh://git@h:2222/g/p.git'");
            assert_eq!(explained(stderr, status), (kind, message), "of {stderr:?}");
        }
    }

    #[test]
    fn harmless_lines_mean_nothing() {
        let Ok(Address::Url(url, _)) = Address::parse("git@h:p") else {
            unreachable!("it is a URL");
        };
        let stderr =
            "Warning: Permanently added 'h' (ED25519) to the list of known hosts.\r\n====\n";
        assert!(explain(&url, stderr, Some(0)).is_none());
        assert!(explain(&url, "", None).is_none());
    }
}
