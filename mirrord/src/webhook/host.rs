//! Whether a request is meant for us: a page in a browser can make any name lead to an address of this machine, and can
//! make the browser send requests there, but it cannot choose what the browser says of itself.

use std::net::IpAddr;

use axum::http::{HeaderMap, StatusCode, Uri, header, uri::Authority};

/// The names that are ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    /// The address that is listened at.
    pub at: IpAddr,
    /// The host under which others reach it.
    pub public: Option<String>,
}

impl Names {
    /// Looks at where a request is meant to go, and whether a browser says that another page has made it.
    ///
    /// # Errors
    /// Fails with what is to be answered, and why.
    pub(super) fn check(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<(), (StatusCode, &'static str)> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err((StatusCode::BAD_REQUEST, "one Host header is needed"));
        };
        let host = host.to_str().ok().and_then(|host| host.parse().ok());
        let named = host.as_ref().into_iter().chain(uri.authority());
        if host.is_none() || !named.into_iter().all(|host| self.are_for(host)) {
            let why = "this is no name of mine; 'mirrord webhook on --public-url' gives me one";
            return Err((StatusCode::MISDIRECTED_REQUEST, why));
        }
        // No host of repositories sends either, and every browser does.
        let page = [header::ORIGIN.as_str(), "sec-fetch-site"];
        match page.iter().any(|name| headers.contains_key(*name)) {
            true => Err((StatusCode::FORBIDDEN, "this is not for browsers")),
            false => Ok(()),
        }
    }

    fn are_for(&self, authority: &Authority) -> bool {
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
        let here = self.at.is_loopback() || self.at.is_unspecified();
        if here && host.eq_ignore_ascii_case("localhost") {
            return true;
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        // An address is no name that somebody could make lead here.
        bare.parse::<IpAddr>()
            .is_ok_and(|ip| ip == self.at || self.at.is_unspecified() || here && ip.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn names(at: &str, public: Option<&str>) -> Names {
        Names {
            at: at.parse().expect("an address"),
            public: public.map(str::to_owned),
        }
    }

    fn asked(names: &Names, uri: &str, lines: &[(&str, &str)]) -> u16 {
        let pair = |(name, value): &(&str, &str)| {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            (name, HeaderValue::from_str(value).expect("a value"))
        };
        let headers = lines.iter().map(pair).collect();
        let uri = uri.parse().expect("a URI");
        names
            .check(&uri, &headers)
            .map_or_else(|(status, _)| status.as_u16(), |()| 202)
    }

    #[test]
    fn an_address_is_compared_as_one_and_a_name_as_a_whole() {
        let at_home = names("127.0.0.1", Some("hooks.example"));
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
        for (host, status) in table {
            assert_eq!(
                asked(&at_home, "/hooks/x", &[("host", host)]),
                status,
                "{host}"
            );
        }
        let everywhere = names("0.0.0.0", None);
        assert_eq!(
            asked(&everywhere, "/hooks/x", &[("host", "192.168.1.5")]),
            202
        );
        assert_eq!(asked(&everywhere, "/hooks/x", &[("host", "evil.com")]), 421);
        let there = names("192.168.1.5", None);
        assert_eq!(
            asked(&there, "/hooks/x", &[("host", "192.168.1.5:80")]),
            202
        );
        assert_eq!(asked(&there, "/hooks/x", &[("host", "localhost")]), 421);
    }

    #[test]
    fn a_request_names_one_host_and_no_other() {
        let names = names("127.0.0.1", None);
        assert_eq!(asked(&names, "/hooks/x", &[]), 400);
        let two = [("host", "127.0.0.1"), ("host", "127.0.0.1")];
        assert_eq!(asked(&names, "/hooks/x", &two), 400);
        let host = [("host", "127.0.0.1")];
        assert_eq!(asked(&names, "http://127.0.0.1/hooks/x", &host), 202);
        assert_eq!(asked(&names, "http://evil.com/hooks/x", &host), 421);
    }

    #[test]
    fn a_page_in_a_browser_gets_nothing() {
        let names = names("127.0.0.1", None);
        for page in [
            ("origin", "https://evil.com"),
            ("origin", "null"),
            ("origin", "http://127.0.0.1"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "none"),
        ] {
            let lines = [("host", "127.0.0.1"), page];
            assert_eq!(asked(&names, "/hooks/x", &lines), 403, "{page:?}");
        }
    }
}
