//! Messages of GitLab: that it has too much to do, or that a project has moved. They come in an ERR line, on ssh's stderr,
//! or as the text of a refused request.

use common::{
    address::{
        redact,
        upstream_url::{Address, Scheme, UpstreamUrl},
    },
    protocol::{Failure, FailureKind},
    text::masked,
};

use crate::upstream::Trouble;

/// The longest quotation.
const MAX_MESSAGE_BYTES: usize = 200;

/// Parts of messages of GitLab, Gitaly and gitlab-shell where the server may be able to answer later.
const BUSY: [&str; 6] = [
    "currently unable to handle this request due to load",
    "Gitaly, is not available at this time",
    "has been requested too many times",
    "Too Many Requests",
    // gitlab-shell does not reach GitLab.
    "Internal API unreachable",
    "Internal API error (5",
];

/// Returns what a message means, if it is one that we know.
pub(in crate::upstream) fn meaning(url: &UpstreamUrl, message: &str) -> Option<Trouble> {
    busy(url, message).or_else(|| moved(url, message))
}

/// Returns what the text of an ERR line means, whether we know it or not.
pub(in crate::upstream) fn err_line(url: &UpstreamUrl, message: &str) -> Trouble {
    let refused = || {
        let shown = masked(redact(message.trim().trim_end_matches('.')).as_bytes());
        let message = format!("cannot read '{url}': {shown}");
        Failure::new(FailureKind::Refused, message).into()
    };
    meaning(url, message).unwrap_or_else(refused)
}

fn busy(url: &UpstreamUrl, message: &str) -> Option<Trouble> {
    let line = lines(message).find(|line| BUSY.iter().any(|busy| line.contains(busy)))?;
    let message = format!("cannot reach '{url}': {}", shown(line));
    Some(Failure::new(FailureKind::Unreachable, message).into())
}

/// `Project 'old' was moved to 'new'.` and, on the next lines, `git remote set-url origin URL`.
pub(in crate::upstream) fn moved(url: &UpstreamUrl, message: &str) -> Option<Trouble> {
    let line = lines(message).find(|line| line.contains("' was moved to '"))?;
    let mut commands = message.split("git remote set-url origin ").skip(1);
    let to = commands.find_map(|rest| showable_url(rest.split_whitespace().next()?));
    Some(match to {
        Some(to) => moved_to(url, to),
        None => {
            let failure = Failure::new(FailureKind::Refused, format!("'{url}' has moved"));
            failure.hinted(format!("it says: {}", shown(line))).into()
        }
    })
}

/// Returns the failure of an upstream that says that it is at `to` now. Whether to believe that is for a person to decide.
pub(crate) fn moved_to(url: &UpstreamUrl, to: UpstreamUrl) -> Trouble {
    let failure = Failure::new(FailureKind::Refused, format!("'{url}' has moved"));
    let failure = failure.hinted(format!("it is at '{to}' now"));
    Trouble {
        moved_to: Some(Box::new(to)),
        ..failure.into()
    }
}

/// Parses a URL that a server names, if it can be shown as a part of a command: a URL of another machine, without a login,
/// and with nothing in it that means anything to a shell.
pub(in crate::upstream) fn showable_url(text: &str) -> Option<UpstreamUrl> {
    let Ok(Address::Url(url, _)) = Address::parse(text) else {
        return None;
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/@%+[]".contains(&byte);
    let is_elsewhere = match url.scheme() {
        Scheme::Https | Scheme::Http => true,
        // Without a user, `word:word` is a host and a path.
        Scheme::Ssh => url.user().is_some(),
        Scheme::File => false,
    };
    (is_elsewhere && url.as_str().bytes().all(is_plain)).then_some(url)
}

/// Returns the lines without what git and gitlab-shell put before each.
fn lines(message: &str) -> impl Iterator<Item = &str> {
    message.lines().map(|line| {
        let line = line.trim();
        let line = line.strip_prefix("remote:").unwrap_or(line).trim_start();
        let line = line.strip_prefix("fatal: ").unwrap_or(line);
        let line = line.strip_prefix("remote error: ").unwrap_or(line);
        line.strip_prefix("ERROR: ").unwrap_or(line)
    })
}

/// Returns a part of a message as it can be shown.
fn shown(message: &str) -> String {
    let message = masked(redact(message).as_bytes());
    message
        .trim_end_matches(['.', '…'])
        .chars()
        .take(MAX_MESSAGE_BYTES)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> UpstreamUrl {
        let Ok(Address::Url(url, _)) = Address::parse(text) else {
            unreachable!("it is a URL");
        };
        url
    }

    fn means(message: &str) -> Option<Trouble> {
        meaning(&url("https://h/g/p.git"), message)
    }

    #[test]
    fn a_server_that_has_too_much_to_do_may_have_less_later() {
        for message in [
            "GitLab is currently unable to handle this request due to load",
            "remote: \nremote: ====\nremote: ERROR: GitLab is currently unable to handle this request due to load\n",
            "fatal: remote error: GitLab is currently unable to handle this request due to load.\n",
            "The git server, Gitaly, is not available at this time. Please contact your administrator.",
            "remote: ERROR: This endpoint has been requested too many times. Try again later.",
            "ERROR: Internal API unreachable",
        ] {
            let failure = means(message).expect("it is known").failure;
            assert_eq!(failure.kind, FailureKind::Unreachable, "{message}");
            let why = failure
                .message
                .strip_prefix("cannot reach 'https://h/g/p.git': ");
            let why = why.expect("it says what cannot be reached");
            let starts = ["GitLab is", "The git server", "This endpoint", "Internal"];
            assert!(starts.iter().any(|start| why.starts_with(start)), "{why}");
        }
        assert!(means("fatal: repository 'x' not found").is_none());
        let escape = means("\x1b]0;x\x07 is currently unable to handle this request due to load");
        let message = escape.expect("it is known").failure.message;
        assert!(!message.contains(char::is_control), "{message:?}");
    }

    #[test]
    fn a_project_that_moved_is_named_as_it_can_be_typed() {
        let says = |to: &str| {
            let message = format!(
                "remote: Project 'g/p' was moved to 'g/new'.\nremote: \nremote: Please update your Git remote:\n\
                 remote: \nremote:   git remote set-url origin {to}\nremote: \n"
            );
            let trouble = means(&message).expect("it is known");
            assert_eq!(trouble.failure.kind, FailureKind::Refused);
            assert_eq!(trouble.failure.message, "'https://h/g/p.git' has moved");
            let hint = trouble.failure.hint.expect("where to");
            assert!(!hint.contains("t0ken") && !hint.contains('\n'), "{hint}");
            if trouble.moved_to.is_none() {
                let line = "it says: Project 'g/p' was moved to 'g/new'";
                assert_eq!(hint, line, "nothing is offered to type");
            }
            trouble.moved_to.map(|to| to.to_string())
        };
        let same = |text: &str| assert_eq!(says(text).as_deref(), Some(text));
        same("https://h/g/new.git");
        same("ssh://git@h:2222/g/new.git");
        same("git@h:g/new.git");
        let with_login = says("https://me:t0ken@h/g/new.git");
        assert_eq!(with_login.as_deref(), Some("https://h/g/new.git"));
        for odd in [
            "",
            "ext::sh",
            "file:///etc/passwd",
            "/etc/passwd",
            "javascript:x",
            "ftp://h/p",
            "--upload-pack=x",
            "https://h/$(id).git",
            "https://h/a;b",
            "https://h/a`b`",
            "https://h/a&b",
            "https://h/a'b",
            "mirror::https://h/p",
            "name",
        ] {
            assert_eq!(says(odd), None, "{odd}");
        }
    }
}
