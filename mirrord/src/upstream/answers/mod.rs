//! Explains what went wrong with an upstream: the kind of failure, one line in git's voice, and what to do about it.
//! [`server_message`] knows what GitLab says in text, [`retry_after`] the headers of a server that is busy.

mod cause;
mod refusal;
pub(super) mod retry_after;
pub(super) mod server_message;

use std::{io, time::Duration};

use common::{
    address::{redact, upstream_url::UpstreamUrl},
    protocol::{Failure, FailureKind},
    text::{masked, time_span},
};
use gix::ObjectId;
use reqwest::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderMap},
};

use self::cause::{PROXY_WANTS_LOGIN, TIMED_OUT};
pub(crate) use self::{cause::cause, refusal::Refusal};
use super::Trouble;
use crate::process::durable;

/// The hint where what answers is not git.
const SIGN_IN_PAGE: &str =
    "a network's sign-in page may be in the way, or the address may not be a repository's";

/// Returns the failure of a request without an answer: no connection, no trust, or a connection that broke.
pub(crate) fn unreachable(url: &UpstreamUrl, error: &reqwest::Error) -> Trouble {
    let cause = cause(error);
    if cause == PROXY_WANTS_LOGIN {
        return proxy_wants_login(url);
    }
    let failure = Failure::new(
        FailureKind::Unreachable,
        format!("cannot reach '{url}': {cause}"),
    );
    // A certificate that is not trusted is a fault that stays: somebody may be in the middle.
    if cause.starts_with("certificate") {
        let refused = Failure::new(FailureKind::Refused, failure.message);
        return Trouble::from(
            refused.hinted("if its authority is your own, name it: git config http.sslCAInfo FILE"),
        );
    }
    // A kept connection may have broken, and a new one may work; where nobody listens, none will.
    Trouble {
        retry_on_new_session: !error.is_connect(),
        no_answer: cause == TIMED_OUT,
        ..failure.into()
    }
}

/// Returns the failure of a request that the proxy before upstream does not let pass without a login.
pub(super) fn proxy_wants_login(url: &UpstreamUrl) -> Trouble {
    let message = format!("cannot reach '{url}': {PROXY_WANTS_LOGIN}");
    let failure = Failure::new(FailureKind::LoginNeeded, message);
    let hint =
        "with a user name in its URL (http.proxy=http://USER@HOST:PORT) the password is asked for";
    Trouble {
        proxy_refused: true,
        ..failure.hinted(hint).into()
    }
}

/// Returns the failure of a request that the proxy before upstream does not let pass with this login.
pub(super) fn proxy_login_refused(url: &UpstreamUrl) -> Trouble {
    let message = format!("cannot reach '{url}': the proxy refuses the login (error 407)");
    Trouble {
        proxy_refused: true,
        ..Failure::new(FailureKind::LoginNeeded, message).into()
    }
}

/// Returns the failure of an upstream that made no progress for `limit`.
pub(crate) fn timed_out(url: &UpstreamUrl, limit: Duration) -> Trouble {
    let message = format!(
        "cannot reach '{url}': no answer for {}",
        time_span(limit.as_secs())
    );
    Trouble {
        no_answer: true,
        ..Failure::new(FailureKind::Unreachable, message).into()
    }
}

/// Returns the failure of an answer that would fill the memory.
pub(crate) fn without_end(url: &UpstreamUrl) -> Trouble {
    let message = format!("cannot use what '{url}' sent: it has no end");
    Failure::new(FailureKind::Unusable, message).into()
}

/// Returns the failure of a redirect that is not followed. `tail` is what was asked for below the URL.
pub(crate) fn moved(
    url: &UpstreamUrl,
    status: StatusCode,
    target: Option<&str>,
    tail: &str,
) -> Trouble {
    let stem = target.and_then(|target| target.strip_suffix(tail));
    let shown = target.map(|target| masked(redact(stem.unwrap_or(target)).as_bytes()));
    let is_passing = matches!(status.as_u16(), 302 | 303 | 307);
    let trouble = match (stem.and_then(server_message::showable_url), shown) {
        (Some(to), _) => {
            let hint = format!("it redirects to '{to}'");
            let mut trouble = server_message::moved_to(url, to);
            trouble.failure.hint = Some(hint);
            trouble
        }
        // A server that knows the repository elsewhere would redirect to the same `tail` there.
        (None, Some(shown)) if is_passing && stem.is_none() => {
            let message = format!("cannot reach '{url}': it redirects to '{shown}', not to git");
            Failure::new(FailureKind::Unreachable, message)
                .hinted(SIGN_IN_PAGE)
                .into()
        }
        (None, shown) => {
            let failure = Failure::new(FailureKind::Refused, format!("'{url}' has moved"));
            match shown {
                Some(shown) => failure.hinted(format!("it redirects to '{shown}'")).into(),
                None => failure.into(),
            }
        }
    };
    Trouble {
        retry_on_new_session: true,
        ..trouble
    }
}

/// Checks that git's protocol follows, and not a page: most often that is the sign-in page of a network, which says nothing
/// of upstream. `answer` is git's name for what was asked for, such as `upload-pack-result`.
pub(crate) fn check_content_type(
    url: &UpstreamUrl,
    headers: &HeaderMap,
    answer: &str,
) -> Result<(), Trouble> {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim();
    if kind == format!("application/x-git-{answer}") {
        return Ok(());
    }
    let kind = if kind.is_empty() {
        "something untyped".to_owned()
    } else {
        format!("'{}'", masked(kind.as_bytes()))
    };
    let failure = Failure::new(
        FailureKind::Unreachable,
        format!("cannot reach '{url}': {kind} answered, not git"),
    )
    .hinted(SIGN_IN_PAGE);
    Err(failure.into())
}

/// Whether this is the file `info/refs` of a repository, and no answer of git: `OBJECT TAB NAME` lines
/// (gitrepository-layout(5)).
pub(crate) fn is_ref_file(body: &[u8]) -> bool {
    let first = body.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Some(tab) = first.iter().position(|byte| *byte == b'\t') else {
        return false;
    };
    let (object, name) = first.split_at(tab);
    ObjectId::from_hex(object).is_ok() && name[1..].starts_with(b"refs/")
}

/// Returns the failure of an upstream behind a server that knows nothing of git: what git calls the dumb protocol.
pub(crate) fn file_server(url: &UpstreamUrl) -> Trouble {
    let message = format!("'{url}' is served as plain files, by no git");
    Failure::new(FailureKind::CannotMirror, message).into()
}

/// Explains an error of gix, with what upstream said on the error band.
pub(super) fn explain(
    url: &UpstreamUrl,
    error: &gix::Error,
    server_message: Option<String>,
) -> Trouble {
    if let Some(message) = server_message {
        let message = masked(message.as_bytes());
        return Failure::new(
            FailureKind::Unreachable,
            format!("'{url}' gave up: {message}"),
        )
        .into();
    }
    if let Some(failure) = error.downcast_any_ref::<Failure>() {
        return failure.clone().into();
    }
    if let Some(trouble) = err_line(url, error) {
        return trouble;
    }
    let io = error.downcast_any_ref::<io::Error>();
    if let Some(io) = io.filter(|io| durable::is_our_disk(io)) {
        return Failure::io(format_args!("cannot store what '{url}' sent"), io).into();
    }
    if has_ended(error) {
        let failure = Failure::new(
            FailureKind::Unreachable,
            format!("cannot read '{url}': the answer ended too early"),
        );
        return Trouble {
            retry_on_new_session: true,
            ..failure.into()
        };
    }
    let cause = redact(&error.probable_cause().to_string());
    let cause = cause.split_whitespace().collect::<Vec<_>>().join(" ");
    let cause = masked(cause.as_bytes());
    let cause = cause.trim_end_matches('.');
    let message = format!("cannot use what '{url}' sent: {cause}");
    Trouble {
        retry_on_new_session: true,
        ..Failure::new(FailureKind::Unusable, message).into()
    }
}

/// Explains an ERR line, which a git sends in the place of an answer.
fn err_line(url: &UpstreamUrl, error: &gix::Error) -> Option<Trouble> {
    use gix_transport::packetline::read::Error as ErrLine;
    let within =
        |io: &io::Error| Some(io.get_ref()?.downcast_ref::<ErrLine>()?.message.to_string());
    let message = error
        .downcast_any_ref::<ErrLine>()
        .map(|line| line.message.to_string())
        .or_else(|| within(error.downcast_any_ref::<io::Error>()?))?;
    Some(server_message::err_line(url, &message))
}

/// Whether the other side has ended the connection.
pub(super) fn has_ended(error: &gix::Error) -> bool {
    let io = error.downcast_any_ref::<io::Error>();
    io.is_some_and(|io| {
        matches!(
            io.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_refs_is_told_from_a_page() {
        let object = "0123456789abcdef0123456789abcdef01234567";
        for line in [
            format!("{object}\trefs/heads/main\n"),
            format!("{object}\trefs/tags/v1"),
        ] {
            assert!(is_ref_file(line.as_bytes()), "{line}");
        }
        for other in [
            String::new(),
            "<html>\trefs/".to_owned(),
            object.to_owned(),
            format!("{object}\t/etc"),
        ] {
            assert!(!is_ref_file(other.as_bytes()), "{other}");
        }
    }
}
