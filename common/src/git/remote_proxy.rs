//! The proxy of one remote: `remote.<name>.proxy` and `remote.<name>.proxyAuthMethod`.

use super::client_context::UserConfig;

impl UserConfig {
    /// Has the proxy of a remote stand in the place of every `http.proxy`, as git does.
    pub fn use_proxy_of(&mut self, remote: &str) {
        for (of_remote, of_http) in [
            ("proxy", "http.proxy"),
            ("proxyauthmethod", "http.proxyauthmethod"),
        ] {
            let Some(value) = self.get(&format!("remote.{remote}.{of_remote}")) else {
                continue;
            };
            let value = value.to_owned();
            let ending = format!(".{of_remote}");
            self.entries
                .retain(|(key, _)| !(key.starts_with("http.") && key.ends_with(&ending)));
            self.entries.push((of_http.to_owned(), value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_of_a_remote_stands_in_the_place_of_every_other() {
        let list = "http.proxy\na\0http.https://b.example.proxy\nb\0http.proxyauthmethod\nbasic\0remote.origin.proxy\nc\0";
        let mut config = UserConfig::parse(list);
        config.use_proxy_of("other");
        assert_eq!(config.entries().len(), 4);
        config.use_proxy_of("origin");
        let of_http: Vec<_> = config
            .entries()
            .iter()
            .filter(|(key, _)| key.starts_with("http."))
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            of_http,
            [("http.proxyauthmethod", "basic"), ("http.proxy", "c")]
        );
    }
}
