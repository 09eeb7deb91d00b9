//! Asks GitLab when a token expires: `GET /api/v4/personal_access_tokens/self`, which a token may ask about itself.

use std::time::Duration;

use common::address::upstream_url::{Scheme, UpstreamUrl};
use jiff::{civil::Date, tz::TimeZone};
use reqwest::{StatusCode, header::HeaderValue};

use super::{Access, http::Clients};

/// How long a host may take; a slower one is asked another day.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer: a few hundred bytes are expected.
const MAX_BODY_BYTES: usize = 1 << 16;

/// When a token expires, as its host says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenExpiry {
    /// The token expires at this time, in seconds since 1970.
    Expires(u64),
    /// The token does not expire.
    Never,
    /// The host does not say: it is no GitLab, or the token may not ask.
    Unknown,
    /// The host was not to be reached.
    Unreachable,
}

/// Asks the host of `url`. No redirect is followed: nobody else is to see the token.
pub(super) async fn ask(clients: &Clients, url: &UpstreamUrl, access: &Access) -> TokenExpiry {
    let is_http = matches!(url.scheme(), Scheme::Http | Scheme::Https);
    let (true, Some(login)) = (is_http, &access.login) else {
        return TokenExpiry::Unknown;
    };
    let (Ok(client), Ok(mut token)) = (
        clients.get(&access.http),
        HeaderValue::from_str(&login.password),
    ) else {
        return TokenExpiry::Unknown;
    };
    token.set_sensitive(true);
    let address = format!("{}/api/v4/personal_access_tokens/self", url.origin());
    let request = client.get(address).header("PRIVATE-TOKEN", token);
    let asking = async {
        let mut response = request.send().await.map_err(|_| TokenExpiry::Unreachable)?;
        match response.status() {
            StatusCode::OK => {}
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Err(TokenExpiry::Unreachable);
            }
            _ => return Err(TokenExpiry::Unknown),
        }
        let mut body = Vec::new();
        loop {
            let piece = response.chunk().await;
            let Some(piece) = piece.map_err(|_| TokenExpiry::Unreachable)? else {
                break;
            };
            body.extend_from_slice(&piece);
            if body.len() > MAX_BODY_BYTES {
                return Err(TokenExpiry::Unknown);
            }
        }
        Ok(parse(&body))
    };
    match tokio::time::timeout(REQUEST_TIMEOUT, asking).await {
        Ok(Ok(expiry) | Err(expiry)) => expiry,
        Err(_) => TokenExpiry::Unreachable,
    }
}

/// Reads GitLab's answer: a date, from whose beginning in UTC the token is no longer good.
fn parse(body: &[u8]) -> TokenExpiry {
    let Ok(answer) = serde_json::from_slice::<serde_json::Value>(body) else {
        return TokenExpiry::Unknown;
    };
    match answer.get("expires_at") {
        Some(serde_json::Value::Null) => TokenExpiry::Never,
        Some(serde_json::Value::String(date)) => {
            let begins = |date: Date| date.to_zoned(TimeZone::UTC).ok();
            let at = date.parse().ok().and_then(begins);
            let at = at.and_then(|at| u64::try_from(at.timestamp().as_second()).ok());
            at.map_or(TokenExpiry::Unknown, TokenExpiry::Expires)
        }
        _ => TokenExpiry::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gitlabs_answer_is_parsed_and_no_other() {
        let token =
            |expires| format!(r#"{{"id":1,"name":"t","active":true,"expires_at":{expires}}}"#);
        let of = |expires| parse(token(expires).as_bytes());
        assert_eq!(of("\"2026-12-01\""), TokenExpiry::Expires(1_796_083_200));
        assert_eq!(of("null"), TokenExpiry::Never);
        for odd in ["\"soon\"", "7", "\"0000-00-00\""] {
            assert_eq!(of(odd), TokenExpiry::Unknown, "{odd}");
        }
        assert_eq!(parse(b"<html>"), TokenExpiry::Unknown);
        assert_eq!(
            parse(b"{\"message\":\"401 Unauthorized\"}"),
            TokenExpiry::Unknown
        );
    }
}
