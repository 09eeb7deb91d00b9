//! The URL of a proxy, split as git splits it (`credential_from_url_1()` in its credential.c).

use super::upstream_url::{escaped, percent_decode};

/// The URL of a proxy. Its `Debug` would show a password, so it has none.
pub struct ProxyUrl<'u> {
    scheme: &'u str,
    /// The user name and the password, percent-encoded.
    user: Option<(&'u str, Option<&'u str>)>,
    /// Host and port.
    host: &'u str,
    rest: &'u str,
}

impl<'u> ProxyUrl<'u> {
    /// Splits a URL with a scheme.
    #[must_use]
    pub fn parse(url: &'u str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (user, host) = match authority.split_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let user = user.map(|user| match user.split_once(':') {
            Some((name, password)) => (name, Some(password)),
            None => (user, None),
        });
        Some(Self {
            scheme,
            user,
            host,
            rest,
        })
    }

    /// The user name, where there is one and no password: git asks its credential helpers for that then.
    #[must_use]
    pub fn user_without_password(&self) -> Option<String> {
        let (username, None) = self.user? else {
            return None;
        };
        let username = String::from_utf8(percent_decode(username)?).ok()?;
        (!username.is_empty()).then_some(username)
    }

    /// Whether there is a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        matches!(self.user, Some((_, Some(_))))
    }

    /// The URL without a login and a path.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.host)
    }

    /// The URL without a login.
    #[must_use]
    pub fn without_login(&self) -> String {
        format!("{}://{}{}", self.scheme, self.host, self.rest)
    }

    /// The URL with this login.
    #[must_use]
    pub fn with_login(&self, username: &str, password: &str) -> String {
        let is_special = |char: char| !char.is_ascii_alphanumeric() && !"-._~".contains(char);
        let (username, password) = (escaped(username, is_special), escaped(password, is_special));
        let Self {
            scheme, host, rest, ..
        } = self;
        format!("{scheme}://{username}:{password}@{host}{rest}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_asked_for_where_there_is_a_user_name_and_none() {
        let asks = |url: &str| {
            let url = ProxyUrl::parse(url).expect("it has a scheme");
            Some((url.origin(), url.user_without_password()?))
        };
        let question = |url: &str, user: &str| Some((url.to_owned(), user.to_owned()));
        assert_eq!(asks("http://me@h:80/"), question("http://h:80", "me"));
        assert_eq!(asks("http://m%40x@h"), question("http://h", "m@x"));
        assert_eq!(asks("socks5://me@h"), question("socks5://h", "me"));
        for none in [
            "http://h",
            "http://me:x@h",
            "http://me:@h",
            "http://@h",
            "http://h/me@x",
        ] {
            assert_eq!(asks(none), None, "{none}");
        }
    }

    #[test]
    fn a_login_is_encoded() {
        let url = ProxyUrl::parse("http://me@h:3128/").expect("it has a scheme");
        let with_login = url.with_login("m@x", "a:b/c%20");
        assert_eq!(with_login, "http://m%40x:a%3Ab%2Fc%2520@h:3128/");
        assert_eq!(url.without_login(), "http://h:3128/");
    }
}
