//! The login of a proxy: git asks its credential helpers for the password where the proxy's URL has a user name and none.

use common::{
    address::proxy::ProxyUrl,
    protocol::{Login, Secret},
};
use reqwest::header::HeaderValue;

use super::http_settings::Http;

/// The question for the password of a proxy.
pub(crate) struct ProxyQuestion {
    /// The proxy's URL, without credentials.
    pub url: String,
    /// The user name in the URL.
    pub username: Secret,
}

impl Http {
    /// Returns the URL of the proxy with its scheme: as curl does, http is assumed.
    pub(crate) fn proxy_url(&self) -> Option<String> {
        let proxy = self.proxy.as_ref()?;
        Some(match proxy.contains("://") {
            true => proxy.clone(),
            false => format!("http://{proxy}"),
        })
    }

    /// The question to ask before the proxy is used; `None` where its URL has a password, or no user name.
    pub(crate) fn proxy_question(&self) -> Option<ProxyQuestion> {
        let url = self.proxy_url()?;
        let url = ProxyUrl::parse(&url)?;
        Some(ProxyQuestion {
            url: url.origin(),
            username: Secret(url.user_without_password()?),
        })
    }

    /// Whether the proxy's URL has a user name and a password.
    pub(super) fn has_proxy_login(&self) -> bool {
        let url = self.proxy_url().unwrap_or_default();
        ProxyUrl::parse(&url).is_some_and(|url| url.has_password())
    }

    /// Signs in to the proxy with this login.
    pub(crate) fn sign_in_to_proxy(&mut self, login: &Login) {
        let url = self.proxy_url().unwrap_or_default();
        let Some(url) = ProxyUrl::parse(&url) else {
            return;
        };
        self.proxy = Some(match login.authtype {
            Some(_) => url.without_login(),
            None => url.with_login(&login.username, &login.password),
        });
        self.proxy_login = Some(login.clone());
    }

    /// The header that signs in to the proxy, where a credential helper has chosen its scheme.
    pub(super) fn proxy_authorization(&self) -> Option<HeaderValue> {
        let login = self.proxy_login.as_ref()?;
        authorization(login.authtype.as_ref()?, &login.password)
    }
}

/// The value of `Authorization` for a scheme; `None` for a credential that no header can have.
pub(super) fn authorization(authtype: &str, credential: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("{authtype} {credential}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}
