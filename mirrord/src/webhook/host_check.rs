//! Refuses requests that a web page makes a browser send to the listener. A page can point any host name at an address of
//! this machine (DNS rebinding), but it cannot change the `Host` and `Origin` headers that the browser sends.

use std::net::IpAddr;

use axum::http::{HeaderMap, StatusCode, Uri, header, uri::Authority};

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: StatusCode,
    /// The text of the answer.
    pub reason: &'static str,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, reason: &'static str) -> Self {
        Self { status, reason }
    }
}

/// The host names and addresses under which the listener is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OwnHosts {
    /// The address that it listens at.
    pub listen: IpAddr,
    /// The host of `mirror.webhook-public-url`.
    pub public: Option<String>,
}

impl OwnHosts {
    /// Checks that a request names one of these hosts, and that no browser has sent it.
    ///
    /// # Errors
    /// Returns the refusal that is to be answered.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "one Host header is needed",
            ));
        };
        let host = host.to_str().ok().and_then(|host| host.parse().ok());
        let named = host.as_ref().into_iter().chain(uri.authority());
        if host.is_none() || !named.into_iter().all(|host| self.contains(host)) {
            let why = "this is no name of mine; 'mirrord webhook on --public-url' gives me one";
            return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, why));
        }
        // Every browser sends one of them with such a request; GitLab, GitHub, Gitea and Forgejo send neither.
        let of_browsers = [header::ORIGIN.as_str(), "sec-fetch-site"];
        match of_browsers.iter().any(|name| headers.contains_key(*name)) {
            true => Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "this is not for browsers",
            )),
            false => Ok(()),
        }
    }

    /// Whether a host, without regard to the port, is one of these.
    fn contains(&self, authority: &Authority) -> bool {
        if authority.as_str().contains('@') {
            return false;
        }
        let host = authority.host();
        if self
            .public
            .as_ref()
            .is_some_and(|public| public.eq_ignore_ascii_case(host))
        {
            return true;
        }
        let has_loopback = self.listen.is_loopback() || self.listen.is_unspecified();
        if has_loopback && host.eq_ignore_ascii_case("localhost") {
            return true;
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        // A literal address cannot be pointed elsewhere, as a name can.
        bare.parse::<IpAddr>().is_ok_and(|ip| {
            ip == self.listen || self.listen.is_unspecified() || has_loopback && ip.is_loopback()
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn own_hosts(listen: &str, public: Option<&str>) -> OwnHosts {
        OwnHosts {
            listen: listen.parse().expect("an address"),
            public: public.map(str::to_owned),
        }
    }

    fn status(hosts: &OwnHosts, uri: &str, lines: &[(&str, &str)]) -> u16 {
        let pair = |(name, value): &(&str, &str)| {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            (name, HeaderValue::from_str(value).expect("a value"))
        };
        let headers = lines.iter().map(pair).collect();
        let uri = uri.parse().expect("a URI");
        hosts
            .check(&uri, &headers)
            .map_or_else(|refusal| refusal.status.as_u16(), |()| 202)
    }

    #[test]
    fn a_request_for_another_host_is_refused() {
        let loopback = own_hosts("127.0.0.1", Some("hooks.example"));
        let table = [
            ("127.0.0.1", 202),
            ("127.0.0.1:4711", 202),
            ("localhost:4711", 202),
            ("LOCALHOST", 202),
            ("[::1]:4711", 202),
            ("127.8.8.8", 202),
            ("hooks.example", 202),
            ("Hooks.Example:443", 202),
            ("127.evil.com", 421),
            ("127.0.0.1.evil.com", 421),
            ("localhost.", 421),
            ("localhost.evil.com", 421),
            ("evil.com", 421),
            ("hooks.example.evil.com", 421),
            ("evil.hooks.example", 421),
            ("192.168.1.5", 421),
            ("127.0.0.1@evil.com", 421),
            ("evil.com@127.0.0.1", 421),
            ("2130706433", 421),
            ("0x7f.1", 421),
            ("", 421),
        ];
        for (host, expected) in table {
            assert_eq!(
                status(&loopback, "/hooks/x", &[("host", host)]),
                expected,
                "{host}"
            );
        }
        let everywhere = own_hosts("0.0.0.0", None);
        assert_eq!(
            status(&everywhere, "/hooks/x", &[("host", "192.168.1.5")]),
            202
        );
        assert_eq!(
            status(&everywhere, "/hooks/x", &[("host", "evil.com")]),
            421
        );
        let lan = own_hosts("192.168.1.5", None);
        assert_eq!(status(&lan, "/hooks/x", &[("host", "192.168.1.5:80")]), 202);
        assert_eq!(status(&lan, "/hooks/x", &[("host", "localhost")]), 421);
    }

    #[test]
    fn a_request_has_one_host_header_that_agrees_with_its_uri() {
        let hosts = own_hosts("127.0.0.1", None);
        assert_eq!(status(&hosts, "/hooks/x", &[]), 400);
        let two = [("host", "127.0.0.1"), ("host", "127.0.0.1")];
        assert_eq!(status(&hosts, "/hooks/x", &two), 400);
        let host = [("host", "127.0.0.1")];
        assert_eq!(status(&hosts, "http://127.0.0.1/hooks/x", &host), 202);
        assert_eq!(status(&hosts, "http://evil.com/hooks/x", &host), 421);
    }

    #[test]
    fn a_request_of_a_browser_is_refused() {
        let hosts = own_hosts("127.0.0.1", None);
        for header in [
            ("origin", "https://evil.com"),
            ("origin", "null"),
            ("origin", "http://127.0.0.1"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "none"),
        ] {
            let lines = [("host", "127.0.0.1"), header];
            assert_eq!(status(&hosts, "/hooks/x", &lines), 403, "{header:?}");
        }
    }
}
