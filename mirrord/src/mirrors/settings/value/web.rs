//! Addresses and URLs of the webhook.

use std::net::SocketAddr;

use super::{Refusal, Value};

/// An IP address and a port.
impl Value for SocketAddr {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        let kind = "an address and a port, as in '127.0.0.1:8080', '0.0.0.0:8080' or '[::1]:8080'";
        *self = text
            .parse()
            .map_err(|_| Refusal::Expected(kind.to_owned()))?;
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        vec![self.to_string()]
    }
}

/// The http or https URL under which others reach something, without a login; may be blank.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct WebUrl(String);

impl WebUrl {
    /// The URL as it was typed; blank if there is none.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for WebUrl {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        let is_plain = |url: reqwest::Url| {
            matches!(url.scheme(), "http" | "https")
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        };
        if !text.is_empty() && !reqwest::Url::parse(text).is_ok_and(is_plain) {
            let kind = "the beginning of a URL without a login, as in 'https://hooks.example'";
            return Err(Refusal::Expected(kind.to_owned()));
        }
        text.clone_into(&mut self.0);
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        vec![self.0.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Value>(mut value: T, text: &str) -> Option<T> {
        value.set(text).ok().map(|()| value)
    }

    #[test]
    fn an_address_is_no_name_and_has_a_port() {
        let nowhere = || SocketAddr::from(([0, 0, 0, 0], 0));
        for text in ["127.0.0.1:0", "0.0.0.0:8080", "[::1]:8080"] {
            let address = read(nowhere(), text).expect(text);
            assert_eq!(address.lines(), [text]);
        }
        for text in [
            "",
            "8080",
            ":8080",
            "127.0.0.1",
            "::1:8080",
            "localhost:80",
            "127.0.0.1:x",
        ] {
            assert_eq!(read(nowhere(), text), None, "{text:?}");
        }
    }

    #[test]
    fn a_url_that_others_are_told_has_no_login_in_it() {
        for text in ["", "https://h", "http://h:80/a/", "https://[::1]:1"] {
            let url = read(WebUrl::default(), text).expect(text);
            assert_eq!(url.lines(), [text]);
        }
        for text in [
            "h",
            "h:80",
            "ftp://h",
            "https://",
            "https://me@h",
            "https://me:x@h",
            "https://h/?a=b",
            "https://h/#a",
        ] {
            assert_eq!(read(WebUrl::default(), text), None, "{text:?}");
        }
    }
}
