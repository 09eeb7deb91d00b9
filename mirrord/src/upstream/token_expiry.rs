//! Asks GitLab when a token expires: `GET /api/v4/personal_access_tokens/self`, which a token may ask about itself.

use std::time::Duration;

use common::address::upstream_url::{Scheme, UpstreamUrl};
use jiff::{civil::Date, tz::TimeZone};
use reqwest::{StatusCode, header::HeaderValue};

use super::{Access, http::Clients};

/// A host that takes longer is asked another day.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The answer is a few hundred bytes.
const MAX_BODY_BYTES: usize = 1 << 16;

/// What a host says of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenExpiry {
    /// It expires then, in seconds since 1970.
    Expires(u64),
    /// It does not expire.
    Never,
    /// The host does not say: it is no GitLab, or the token may not ask.
    Unknown,
    /// The host was not to be reached.
    Unreachable,
}

/// Asks the host of `url`, and nobody else: no redirect is followed.
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
        Ok(read(&body))
    };
    match tokio::time::timeout(REQUEST_TIMEOUT, asking).await {
        Ok(Ok(told) | Err(told)) => told,
        Err(_) => TokenExpiry::Unreachable,
    }
}

/// GitLab gives a date, from whose beginning in UTC the token is no longer good.
fn read(body: &[u8]) -> TokenExpiry {
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
    fn gitlabs_answer_is_understood_and_no_other() {
        let token =
            |expires| format!(r#"{{"id":1,"name":"t","active":true,"expires_at":{expires}}}"#);
        let of = |expires| read(token(expires).as_bytes());
        assert_eq!(of("\"2026-12-01\""), TokenExpiry::Expires(1_796_083_200));
        assert_eq!(of("null"), TokenExpiry::Never);
        for odd in ["\"soon\"", "7", "\"0000-00-00\""] {
            assert_eq!(of(odd), TokenExpiry::Unknown, "{odd}");
        }
        assert_eq!(read(b"<html>"), TokenExpiry::Unknown);
        assert_eq!(
            read(b"{\"message\":\"401 Unauthorized\"}"),
            TokenExpiry::Unknown
        );
    }
}
