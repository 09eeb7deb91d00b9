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
pub(crate) enum Told {
    /// It expires then, in seconds since 1970.
    Expires(u64),
    /// It does not expire.
    Never,
    /// Nothing: it is no GitLab, or this is no token that may ask.
    Nothing,
    /// The host was not to be reached.
    Unreachable,
}

/// Asks the host of `url`, and nobody else: no redirect is followed.
pub(super) async fn expiry(clients: &Clients, url: &UpstreamUrl, access: &Access) -> Told {
    let is_http = matches!(url.scheme(), Scheme::Http | Scheme::Https);
    let (true, Some(login)) = (is_http, &access.login) else {
        return Told::Nothing;
    };
    let (Ok(client), Ok(mut token)) = (
        clients.get(&access.http),
        HeaderValue::from_str(&login.password),
    ) else {
        return Told::Nothing;
    };
    token.set_sensitive(true);
    let address = format!("{}/api/v4/personal_access_tokens/self", url.origin());
    let request = client.get(address).header("PRIVATE-TOKEN", token);
    let asking = async {
        let mut response = request.send().await.map_err(|_| Told::Unreachable)?;
        match response.status() {
            StatusCode::OK => {}
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Err(Told::Unreachable);
            }
            _ => return Err(Told::Nothing),
        }
        let mut body = Vec::new();
        loop {
            let piece = response.chunk().await;
            let Some(piece) = piece.map_err(|_| Told::Unreachable)? else {
                break;
            };
            body.extend_from_slice(&piece);
            if body.len() > MAX_BODY_BYTES {
                return Err(Told::Nothing);
            }
        }
        Ok(read(&body))
    };
    match tokio::time::timeout(REQUEST_TIMEOUT, asking).await {
        Ok(Ok(told) | Err(told)) => told,
        Err(_) => Told::Unreachable,
    }
}

/// GitLab gives a date, from whose beginning in UTC the token is no longer good.
fn read(body: &[u8]) -> Told {
    let Ok(answer) = serde_json::from_slice::<serde_json::Value>(body) else {
        return Told::Nothing;
    };
    match answer.get("expires_at") {
        Some(serde_json::Value::Null) => Told::Never,
        Some(serde_json::Value::String(date)) => {
            let begins = |date: Date| date.to_zoned(TimeZone::UTC).ok();
            let at = date.parse().ok().and_then(begins);
            let at = at.and_then(|at| u64::try_from(at.timestamp().as_second()).ok());
            at.map_or(Told::Nothing, Told::Expires)
        }
        _ => Told::Nothing,
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
        assert_eq!(of("\"2026-12-01\""), Told::Expires(1_796_083_200));
        assert_eq!(of("null"), Told::Never);
        for odd in ["\"soon\"", "7", "\"0000-00-00\""] {
            assert_eq!(of(odd), Told::Nothing, "{odd}");
        }
        assert_eq!(read(b"<html>"), Told::Nothing);
        assert_eq!(read(b"{\"message\":\"401 Unauthorized\"}"), Told::Nothing);
    }
}
