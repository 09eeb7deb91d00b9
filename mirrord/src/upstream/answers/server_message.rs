//! What GitLab says in words where something else was hoped for: that it has too much to do, or that a project has moved.
//! It says so in an ERR line, on ssh's stderr, or as the text of a refusal.

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

/// A server that could not, and may be able to later.
const BUSY: [&str; 6] = [
    "currently unable to handle this request due to load",
    "Gitaly, is not available at this time",
    "has been requested too many times",
    "Too Many Requests",
    // What stands before it over ssh does not reach it.
    "Internal API unreachable",
    "Internal API error (5",
];

/// What these words mean, when they are some that we know.
pub(in crate::upstream) fn meaning(url: &UpstreamUrl, words: &str) -> Option<Trouble> {
    busy(url, words).or_else(|| moved(url, words))
}

/// What these words mean in the place of an answer (an ERR line), whether we know them or not.
pub(in crate::upstream) fn refusal(url: &UpstreamUrl, words: &str) -> Trouble {
    let refused = || {
        let said = masked(redact(words.trim().trim_end_matches('.')).as_bytes());
        let message = format!("cannot read '{url}': {said}");
        Failure::new(FailureKind::Refused, message).into()
    };
    meaning(url, words).unwrap_or_else(refused)
}

fn busy(url: &UpstreamUrl, words: &str) -> Option<Trouble> {
    let line = lines(words).find(|line| BUSY.iter().any(|busy| line.contains(busy)))?;
    let message = format!("cannot reach '{url}': {}", shown(line));
    Some(Failure::new(FailureKind::Unreachable, message).into())
}

/// `Project 'old' was moved to 'new'.` and, on the next lines, `git remote set-url origin URL`.
pub(in crate::upstream) fn moved(url: &UpstreamUrl, words: &str) -> Option<Trouble> {
    let line = lines(words).find(|line| line.contains("' was moved to '"))?;
    let mut commands = words.split("git remote set-url origin ").skip(1);
    let to = commands.find_map(|rest| offered(rest.split_whitespace().next()?));
    Some(match to {
        Some(to) => moved_to(url, to),
        None => {
            let failure = Failure::new(FailureKind::Refused, format!("'{url}' has moved"));
            failure.hinted(format!("it says: {}", shown(line))).into()
        }
    })
}

/// An upstream says that it is elsewhere now. Whether to believe that is for a person to decide.
pub(crate) fn moved_to(url: &UpstreamUrl, to: UpstreamUrl) -> Trouble {
    let failure = Failure::new(FailureKind::Refused, format!("'{url}' has moved"));
    let failure = failure.hinted(format!("it is at '{to}' now"));
    Trouble {
        moved_to: Some(Box::new(to)),
        ..failure.into()
    }
}

/// A URL that somebody else names, when it is one that can be shown as a part of a command: of another machine, without
/// a login, and nothing in it means anything to a shell.
pub(in crate::upstream) fn offered(text: &str) -> Option<UpstreamUrl> {
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

/// Without what ssh's other side puts before each.
fn lines(words: &str) -> impl Iterator<Item = &str> {
    words.lines().map(|line| {
        let line = line.trim();
        let line = line.strip_prefix("remote:").unwrap_or(line).trim_start();
        let line = line.strip_prefix("fatal: ").unwrap_or(line);
        let line = line.strip_prefix("remote error: ").unwrap_or(line);
        line.strip_prefix("ERROR: ").unwrap_or(line)
    })
}

fn shown(words: &str) -> String {
    let words = masked(redact(words).as_bytes());
    words
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

    fn means(words: &str) -> Option<Trouble> {
        meaning(&url("https://h/g/p.git"), words)
    }

    #[test]
    fn a_server_that_has_too_much_to_do_may_have_less_later() {
        for words in [
            "GitLab is currently unable to handle this request due to load",
            "remote: \nremote: ====\nremote: ERROR: GitLab is currently unable to handle this request due to load\n",
            "fatal: remote error: GitLab is currently unable to handle this request due to load.\n",
            "The git server, Gitaly, is not available at this time. Please contact your administrator.",
            "remote: ERROR: This endpoint has been requested too many times. Try again later.",
            "ERROR: Internal API unreachable",
        ] {
            let failure = means(words).expect("it is known").failure;
            assert_eq!(failure.kind, FailureKind::Unreachable, "{words}");
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
            let words = format!(
                "remote: Project 'g/p' was moved to 'g/new'.\nremote: \nremote: Please update your Git remote:\n\
                 remote: \nremote:   git remote set-url origin {to}\nremote: \n"
            );
            let trouble = means(&words).expect("it is known");
            assert_eq!(trouble.failure.kind, FailureKind::Refused);
            assert_eq!(trouble.failure.message, "'https://h/g/p.git' has moved");
            let hint = trouble.failure.hint.expect("where to");
            assert!(!hint.contains("t0ken") && !hint.contains('\n'), "{hint}");
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
