//! Authentication of deliveries: compares the headers and the body of a request with the secrets of the hook.
//!
//! If the hook has a signing token, only a signature made with it counts (Standard Webhooks, as GitLab signs). Otherwise
//! the secret token counts, or a signature of the body made with it, as GitHub, Gitea and Forgejo send it. All
//! comparisons take the same time for right and wrong input, so that a sender learns nothing from it.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use common::protocol::Secret;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::hooks::Hook;

const GITLAB_TOKEN: HeaderName = HeaderName::from_static("x-gitlab-token");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");

/// The headers with a signature of the body alone, and the prefix before its hexadecimal digits.
const BODY_SIGNATURES: [(HeaderName, &str); 3] = [
    (HeaderName::from_static("x-hub-signature-256"), "sha256="),
    (HeaderName::from_static("x-gitea-signature"), ""),
    (HeaderName::from_static("x-forgejo-signature"), ""),
];

/// How long a signature with a timestamp can be replayed: the `standardwebhooks` crate accepts one from five minutes before
/// its timestamp to five minutes after it.
const TIMESTAMPED_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// How long a signature without a timestamp is remembered. After that the same delivery may have been sent again on purpose.
const UNTIMED_LIFETIME: Duration = Duration::from_secs(60);

/// The result of a check of the headers alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderCheck {
    /// The headers have a signature; whether it is right depends on the body.
    Signed,
    /// The headers have the right secret token.
    Authentic,
    /// The headers have nothing that could be right.
    Refused,
}

/// The key by which a delivery is recognised when it comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DeliveryKey {
    /// A hash of the hook's id and of the headers that authenticate the delivery.
    pub digest: [u8; 32],
    /// For how long the delivery is remembered.
    pub lifetime: Duration,
}

/// Checks the headers. The body of a request that is refused here is never read.
pub(super) fn check_headers(hook: &Hook, headers: &HeaderMap) -> HeaderCheck {
    if hook.signing.is_some() {
        let all = [&SIGNATURE, &ID, &TIMESTAMP];
        return match all.iter().all(|name| single(headers, name).is_some()) {
            true => HeaderCheck::Signed,
            false => HeaderCheck::Refused,
        };
    }
    if let Some(token) = single(headers, &GITLAB_TOKEN) {
        return match is_token(token.as_bytes(), &hook.token) {
            true => HeaderCheck::Authentic,
            false => HeaderCheck::Refused,
        };
    }
    match BODY_SIGNATURES
        .iter()
        .any(|(name, _)| single(headers, name).is_some())
    {
        true => HeaderCheck::Signed,
        false => HeaderCheck::Refused,
    }
}

/// Verifies the signature of a delivery; `None` if it is wrong.
pub(super) fn verify_signature(
    hook: &Hook,
    headers: &HeaderMap,
    body: &[u8],
) -> Option<DeliveryKey> {
    if let Some(Secret(token)) = &hook.signing {
        let webhook = standardwebhooks::Webhook::new(token).ok()?;
        webhook.verify(body, headers).ok()?;
        // GitLab's 'Resend' button sends the same id with another timestamp: that is a new delivery.
        let parts = [&ID, &TIMESTAMP].map(|name| single(headers, name));
        return Some(key(hook, parts.into_iter().flatten(), TIMESTAMPED_LIFETIME));
    }
    let Secret(token) = &hook.token;
    BODY_SIGNATURES.iter().find_map(|(name, prefix)| {
        let value = single(headers, name)?;
        let digits = value.to_str().ok()?.strip_prefix(prefix)?;
        let mut mac = Hmac::<Sha256>::new_from_slice(token.as_bytes()).ok()?;
        mac.update(body);
        mac.verify_slice(&hex::decode(digits).ok()?).ok()?;
        Some(key(hook, [value], UNTIMED_LIFETIME))
    })
}

/// The key under which refused deliveries of a hook are recorded, so that the log has one line a minute for them.
pub(super) fn refusal_key(hook: &Hook) -> DeliveryKey {
    key(hook, [], UNTIMED_LIFETIME)
}

/// Whether the sent text is the token. The comparison takes the same time whatever the two are.
fn is_token(sent: &[u8], Secret(token): &Secret) -> bool {
    let (sent, token) = (Sha256::digest(sent), Sha256::digest(token.as_bytes()));
    sent.as_slice().ct_eq(token.as_slice()).into()
}

fn key<'h>(
    hook: &Hook,
    parts: impl IntoIterator<Item = &'h HeaderValue>,
    lifetime: Duration,
) -> DeliveryKey {
    let mut hash = Sha256::new();
    hash.update(&hook.id);
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize().into();
    DeliveryKey { digest, lifetime }
}

/// The value of a header that occurs exactly once.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
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

    fn gitlab_headers(id: &str, at: i64, signature: &str) -> HeaderMap {
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
    fn the_library_signs_the_example_of_the_specification_alike() {
        assert_eq!(
            sign("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553),
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="
        );
    }

    #[test]
    fn a_signature_is_for_one_id_time_and_body_and_one_key() {
        let (hook, at) = (hook(Some(TOKEN)), now());
        let right = sign("one", at);
        let accepts = |headers: &HeaderMap, body: &str| {
            check_headers(&hook, headers) == HeaderCheck::Signed
                && verify_signature(&hook, headers, body.as_bytes()).is_some()
        };
        assert!(accepts(&gitlab_headers("one", at, &right), BODY));
        let several = format!("v1,AAAA v2,{} {right}", &right[3..]);
        assert!(
            accepts(&gitlab_headers("one", at, &several), BODY),
            "any of them will do"
        );
        assert!(!accepts(&gitlab_headers("two", at, &right), BODY));
        assert!(!accepts(&gitlab_headers("one", at + 1, &right), BODY));
        assert!(!accepts(&gitlab_headers("one", at, &right), "{}"));
        assert!(!accepts(&gitlab_headers("one", at, &right[..9]), BODY));
        assert!(!accepts(&gitlab_headers("one", at, "v1,"), BODY));
        let mut undecoded =
            Hmac::<Sha256>::new_from_slice(TOKEN.as_bytes()).expect("any key will do");
        undecoded.update(format!("one.{at}.{BODY}").as_bytes());
        let undecoded = base64::Engine::encode(
            &base64::prelude::BASE64_STANDARD,
            undecoded.finalize().into_bytes(),
        );
        assert!(
            !accepts(&gitlab_headers("one", at, &format!("v1,{undecoded}")), BODY),
            "the key is what the token decodes to"
        );
        for offset in [-301, 302] {
            let at = at + offset;
            assert!(
                !accepts(&gitlab_headers("one", at, &sign("one", at)), BODY),
                "{offset}"
            );
        }
    }

    #[test]
    fn a_hook_with_a_signing_token_accepts_no_other_authentication() {
        let hook = hook(Some(TOKEN));
        let Secret(token) = &hook.token;
        let plain = headers(&[("x-gitlab-token", token)]);
        assert_eq!(check_headers(&hook, &plain), HeaderCheck::Refused);
        let mut twice = gitlab_headers("one", now(), &sign("one", now()));
        twice.append("webhook-id", HeaderValue::from_static("two"));
        assert_eq!(check_headers(&hook, &twice), HeaderCheck::Refused);
    }

    #[test]
    fn gitlabs_secret_token_is_accepted_whole_and_not_in_part() {
        let hook = hook(None);
        let check = |token: &str| check_headers(&hook, &headers(&[("x-gitlab-token", token)]));
        let Secret(token) = &hook.token;
        assert_eq!(check(token), HeaderCheck::Authentic);
        for wrong in ["", "It's", "It's a Secret to Everybody!", "other"] {
            assert_eq!(check(wrong), HeaderCheck::Refused, "{wrong}");
        }
        assert_eq!(
            check_headers(&hook, &HeaderMap::new()),
            HeaderCheck::Refused
        );
    }

    #[test]
    fn github_gitea_and_forgejo_sign_the_body() {
        // GitHub's own example.
        let github_signature =
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let (hook, body) = (hook(None), b"Hello, World!");
        let verify = |name: &str, value: &str, body: &[u8]| {
            let headers = headers(&[(name, value)]);
            (check_headers(&hook, &headers) == HeaderCheck::Signed)
                .then(|| verify_signature(&hook, &headers, body))
                .flatten()
        };
        assert!(verify("x-hub-signature-256", github_signature, body).is_some());
        let bare = &github_signature["sha256=".len()..];
        for name in ["x-gitea-signature", "x-forgejo-signature"] {
            assert!(verify(name, bare, body).is_some(), "{name}");
            assert!(verify(name, github_signature, body).is_none(), "{name}");
        }
        for wrong in [
            bare,
            "sha256=",
            "sha256=75",
            "sha256=zz",
            &github_signature[..github_signature.len() - 1],
        ] {
            assert!(verify("x-hub-signature-256", wrong, body).is_none());
        }
        assert!(verify("x-hub-signature-256", github_signature, b"Hello, World").is_none());
    }

    #[test]
    fn a_replayed_delivery_has_the_same_key_and_a_resent_one_has_another() {
        let (hook, at) = (hook(Some(TOKEN)), now());
        let verify = |id: &str, at: i64| {
            verify_signature(
                &hook,
                &gitlab_headers(id, at, &sign(id, at)),
                BODY.as_bytes(),
            )
            .expect("right")
        };
        assert_eq!(verify("one", at), verify("one", at));
        assert_ne!(verify("one", at), verify("one", at + 1));
        assert_ne!(verify("one", at), verify("two", at));
    }
}
