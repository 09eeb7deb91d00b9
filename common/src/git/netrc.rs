//! Reads `~/.netrc`, which libcurl obeys underneath git: a login for a host, whatever the port.

use crate::protocol::Login;

/// The login that the text of a `.netrc` has for a host, and for this user where one is wanted.
#[must_use]
pub fn login(text: &str, host: &str, username: Option<&str>) -> Option<Login> {
    let mut words = without_macros(text).flat_map(str::split_whitespace);
    let mut applies = false;
    let mut found: (Option<&str>, Option<&str>) = (None, None);
    while let Some(word) = words.next() {
        match word {
            "machine" | "default" => {
                if let Some(login) = complete(found, username) {
                    return Some(login);
                }
                found = (None, None);
                applies = word == "default"
                    || words
                        .next()
                        .is_some_and(|name| name.eq_ignore_ascii_case(host));
            }
            "login" if applies => found.0 = words.next(),
            "password" if applies => found.1 = words.next(),
            "login" | "password" | "account" => drop(words.next()),
            _ => {}
        }
    }
    complete(found, username)
}

fn complete(found: (Option<&str>, Option<&str>), wanted: Option<&str>) -> Option<Login> {
    let (username, password) = (found.0?, found.1?);
    wanted
        .is_none_or(|wanted| wanted == username)
        .then(|| Login::basic(username, password))
}

/// The lines outside macros, which begin with `macdef` and end with an empty line.
fn without_macros(text: &str) -> impl Iterator<Item = &str> {
    let mut in_macro = false;
    text.lines().filter(move |line| {
        in_macro = (in_macro && !line.trim().is_empty()) || line.trim_start().starts_with("macdef");
        !in_macro && !line.trim_start().starts_with('#')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# mine\nmachine gitlab.example login me password one\n\
        machine other.example\n  login you\n  password two\nmacdef init\nmachine gitlab.example login evil password x\n\n\
        machine gitlab.example login second password three\ndefault login any password four\n";

    fn found(host: &str, username: Option<&str>) -> Option<(String, String)> {
        login(TEXT, host, username).map(Login::into_parts)
    }

    fn pair(username: &str, password: &str) -> Option<(String, String)> {
        Some((username.to_owned(), password.to_owned()))
    }

    #[test]
    fn a_host_gets_its_own_login_and_any_other_the_default() {
        assert_eq!(found("gitlab.example", None), pair("me", "one"));
        assert_eq!(
            found("GitLab.Example", Some("second")),
            pair("second", "three")
        );
        assert_eq!(found("other.example", None), pair("you", "two"));
        assert_eq!(found("elsewhere.example", None), pair("any", "four"));
        assert_eq!(found("other.example", Some("me")), None);
        assert_eq!(
            login("machine h login me", "h", None),
            None,
            "half a login is none"
        );
    }
}
