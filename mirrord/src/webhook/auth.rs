//! Whether a delivery comes from who may send it: its headers and its body against what is known of the hook.
//!
//! Where a signing token has been agreed on, nothing but its signature counts (Standard Webhooks, as GitLab signs). Else
//! it is GitLab's plain token, or a signature made with it: GitHub's, Gitea's, Forgejo's. Everything is compared in a
//! time that tells nothing.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use common::protocol::Secret;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::hooks::Hook;

const GITLAB: HeaderName = HeaderName::from_static("x-gitlab-token");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");

/// Signatures over the body alone, in hexadecimal, and what stands before it.
const OVER_BODY: [(HeaderName, &str); 3] = [
    (HeaderName::from_static("x-hub-signature-256"), "sha256="),
    (HeaderName::from_static("x-gitea-signature"), ""),
    (HeaderName::from_static("x-forgejo-signature"), ""),
];

/// The library takes a signature for five minutes after its time and five before.
const CACHE_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// A signature without a time may be a replay, or somebody who wants it sent again.
const RECHECK_INTERVAL: Duration = Duration::from_secs(60);

/// What the headers alone tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtFirstSight {
    /// The body decides.
    Signed,
    /// It may.
    Proven,
    /// It may not.
    Refused,
}

/// By what the same delivery is recognised when it comes again, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// A hash of the proof.
    pub of: [u8; 32],
    /// For how long it is worth remembering.
    pub keep: Duration,
}

/// Looks at the headers, so that nobody's body is read who could not prove anything with it.
pub(super) fn at_first_sight(hook: &Hook, headers: &HeaderMap) -> AtFirstSight {
    if hook.signing.is_some() {
        let all = [&SIGNATURE, &ID, &TIMESTAMP];
        return match all.iter().all(|name| only(headers, name).is_some()) {
            true => AtFirstSight::Signed,
            false => AtFirstSight::Refused,
        };
    }
    if let Some(token) = only(headers, &GITLAB) {
        return match same(token.as_bytes(), &hook.token) {
            true => AtFirstSight::Proven,
            false => AtFirstSight::Refused,
        };
    }
    match OVER_BODY
        .iter()
        .any(|(name, _)| only(headers, name).is_some())
    {
        true => AtFirstSight::Signed,
        false => AtFirstSight::Refused,
    }
}

/// Looks at a signature; `None` when it is not right.
pub(super) fn signed(hook: &Hook, headers: &HeaderMap, body: &[u8]) -> Option<Mark> {
    if let Some(Secret(token)) = &hook.signing {
        let webhook = standardwebhooks::Webhook::new(token).ok()?;
        webhook.verify(body, headers).ok()?;
        // The same id with another time is GitLab's own 'Resend', and news.
        let parts = [&ID, &TIMESTAMP].map(|name| only(headers, name));
        return Some(mark(hook, parts.into_iter().flatten(), CACHE_LIFETIME));
    }
    let Secret(token) = &hook.token;
    OVER_BODY.iter().find_map(|(name, prefix)| {
        let value = only(headers, name)?;
        let digits = value.to_str().ok()?.strip_prefix(prefix)?;
        let mut mac = Hmac::<Sha256>::new_from_slice(token.as_bytes()).ok()?;
        mac.update(body);
        mac.verify_slice(&bytes(digits)?).ok()?;
        Some(mark(hook, [value], RECHECK_INTERVAL))
    })
}

/// By what it is recognised that this hook is sent what proves nothing.
pub(super) fn unproven(hook: &Hook) -> Mark {
    mark(hook, [], RECHECK_INTERVAL)
}

/// Whether what was sent is the token, in a time that depends on neither.
fn same(sent: &[u8], Secret(token): &Secret) -> bool {
    let (sent, token) = (Sha256::digest(sent), Sha256::digest(token.as_bytes()));
    sent.as_slice().ct_eq(token.as_slice()).into()
}

fn mark<'h>(hook: &Hook, parts: impl IntoIterator<Item = &'h HeaderValue>, keep: Duration) -> Mark {
    let mut hash = Sha256::new();
    hash.update(&hook.id);
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let of = hash.finalize().into();
    Mark { of, keep }
}

/// A header that stands there once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// What hexadecimal digits stand for.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let pair = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok();
    rest.is_empty().then(|| pairs.iter().map(pair).collect())?
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    /// From the specification of Standard Webhooks.
    const TOKEN: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const BODY: &str = r#"{"email":"test@example.com","username":"test_user"}"#;

    fn hook(signing: Option<&str>) -> Hook {
        Hook {
            id: "0123456789abcdef0123456789abcdef".into(),
            token: Secret("It's a Secret to Everybody".into()),
            signing: signing.map(|text| Secret(text.to_owned())),
        }
    }

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            (name, HeaderValue::from_str(value).expect("a value"))
        };
        lines.iter().map(pair).collect()
    }

    fn now() -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        i64::try_from(now.expect("after 1970").as_secs()).expect("before the sun goes out")
    }

    fn of_gitlab(id: &str, at: i64, signature: &str) -> HeaderMap {
        let at = at.to_string();
        headers(&[
            ("webhook-id", id),
            ("webhook-timestamp", &at),
            ("webhook-signature", signature),
        ])
    }

    fn sign(id: &str, at: i64) -> String {
        let webhook = standardwebhooks::Webhook::new(TOKEN).expect("a token");
        webhook.sign(id, at, BODY.as_bytes()).expect("text")
    }

    #[test]
    fn the_golden_vector_is_what_the_library_signs() {
        assert_eq!(
            sign("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553),
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="
        );
    }

    #[test]
    fn a_signature_is_for_one_id_time_and_body_and_one_key() {
        let (hook, at) = (hook(Some(TOKEN)), now());
        let right = sign("one", at);
        let taken = |headers: &HeaderMap, body: &str| {
            at_first_sight(&hook, headers) == AtFirstSight::Signed
                && signed(&hook, headers, body.as_bytes()).is_some()
        };
        assert!(taken(&of_gitlab("one", at, &right), BODY));
        let among = format!("v1,AAAA v2,{} {right}", &right[3..]);
        assert!(
            taken(&of_gitlab("one", at, &among), BODY),
            "any of them will do"
        );
        assert!(!taken(&of_gitlab("two", at, &right), BODY));
        assert!(!taken(&of_gitlab("one", at + 1, &right), BODY));
        assert!(!taken(&of_gitlab("one", at, &right), "{}"));
        assert!(!taken(&of_gitlab("one", at, &right[..9]), BODY));
        assert!(!taken(&of_gitlab("one", at, "v1,"), BODY));
        let mut undecoded =
            Hmac::<Sha256>::new_from_slice(TOKEN.as_bytes()).expect("any key will do");
        undecoded.update(format!("one.{at}.{BODY}").as_bytes());
        let undecoded = base64::Engine::encode(
            &base64::prelude::BASE64_STANDARD,
            undecoded.finalize().into_bytes(),
        );
        assert!(
            !taken(&of_gitlab("one", at, &format!("v1,{undecoded}")), BODY),
            "the key is what the token decodes to"
        );
        for away in [-301, 302] {
            let at = at + away;
            assert!(
                !taken(&of_gitlab("one", at, &sign("one", at)), BODY),
                "{away}"
            );
        }
    }

    #[test]
    fn with_a_signing_token_nothing_else_will_do() {
        let hook = hook(Some(TOKEN));
        let Secret(token) = &hook.token;
        let plain = headers(&[("x-gitlab-token", token)]);
        assert_eq!(at_first_sight(&hook, &plain), AtFirstSight::Refused);
        let mut twice = of_gitlab("one", now(), &sign("one", now()));
        twice.append("webhook-id", HeaderValue::from_static("two"));
        assert_eq!(at_first_sight(&hook, &twice), AtFirstSight::Refused);
    }

    #[test]
    fn gitlabs_plain_token_is_enough_and_part_of_it_is_not() {
        let hook = hook(None);
        let seen = |token: &str| at_first_sight(&hook, &headers(&[("x-gitlab-token", token)]));
        let Secret(token) = &hook.token;
        assert_eq!(seen(token), AtFirstSight::Proven);
        for wrong in ["", "It's", "It's a Secret to Everybody!", "other"] {
            assert_eq!(seen(wrong), AtFirstSight::Refused, "{wrong}");
        }
        assert_eq!(
            at_first_sight(&hook, &HeaderMap::new()),
            AtFirstSight::Refused
        );
    }

    #[test]
    fn github_gitea_and_forgejo_sign_the_body() {
        // GitHub's own example.
        let of_github = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let (hook, body) = (hook(None), b"Hello, World!");
        let mark = |name: &str, value: &str, body: &[u8]| {
            let headers = headers(&[(name, value)]);
            (at_first_sight(&hook, &headers) == AtFirstSight::Signed)
                .then(|| signed(&hook, &headers, body))
                .flatten()
        };
        assert!(mark("x-hub-signature-256", of_github, body).is_some());
        let bare = &of_github["sha256=".len()..];
        for name in ["x-gitea-signature", "x-forgejo-signature"] {
            assert!(mark(name, bare, body).is_some(), "{name}");
            assert!(mark(name, of_github, body).is_none(), "{name}");
        }
        for wrong in [
            bare,
            "sha256=",
            "sha256=75",
            "sha256=zz",
            &of_github[..of_github.len() - 1],
        ] {
            assert!(mark("x-hub-signature-256", wrong, body).is_none());
        }
        assert!(mark("x-hub-signature-256", of_github, b"Hello, World").is_none());
    }

    #[test]
    fn the_same_delivery_is_recognised_and_a_resent_one_is_news() {
        let (hook, at) = (hook(Some(TOKEN)), now());
        let mark = |id: &str, at: i64| {
            signed(&hook, &of_gitlab(id, at, &sign(id, at)), BODY.as_bytes()).expect("right")
        };
        assert_eq!(mark("one", at), mark("one", at));
        assert_ne!(mark("one", at), mark("one", at + 1));
        assert_ne!(mark("one", at), mark("two", at));
    }
}
