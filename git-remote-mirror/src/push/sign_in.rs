//! How a push signs in at upstream: the helper writes it down as variables for its hooks, and the hook that sends reads it.

use std::{env, io, process::Command};

use common::{
    address::proxy::ProxyUrl,
    git::client_context::OwnCredential,
    protocol::{LOGIN_ID, OneTimeId, QUESTION_ID, Reply, Request, SignIn},
};

use crate::{daemon, names};

/// Writes down how to sign in, as variables for the hooks. [`own_credential`] and [`apply`] read them there.
pub(crate) fn variables(sign_in: &SignIn) -> Vec<(&'static str, String)> {
    let own_credential = (names::OWN_CREDENTIAL, "1".to_owned());
    match sign_in {
        SignIn::AsGit => Vec::new(),
        SignIn::LoginFirst(OneTimeId(id)) => vec![(LOGIN_ID, id.clone())],
        SignIn::LoginAlone(OneTimeId(id)) => vec![(LOGIN_ID, id.clone()), own_credential],
        SignIn::Anonymous => vec![own_credential],
        SignIn::Ssh {
            command,
            passphrase,
        } => {
            let passphrase = passphrase.iter();
            let passphrase = passphrase.map(|OneTimeId(id)| (QUESTION_ID, id.clone()));
            passphrase
                .chain([(names::SSH_COMMAND, command.clone())])
                .collect()
        }
    }
}

/// The credential of the mirror's own that the push signs in with; None where the user's git signs in.
pub(crate) fn own_credential() -> Option<OwnCredential> {
    env::var_os(names::OWN_CREDENTIAL)?;
    Some(match env::var_os(LOGIN_ID) {
        Some(_) => OwnCredential::Given,
        None => OwnCredential::Anonymous,
    })
}

/// The URL of the proxy with its login, which waits at the daemon.
pub(crate) async fn proxy() -> Option<String> {
    let (url, id) = (
        env::var(names::PROXY).ok()?,
        env::var(names::PROXY_LOGIN).ok()?,
    );
    let request = Request::Login {
        id: OneTimeId(id),
        push: env::var(names::PUSH_ID).ok(),
        origin: url.clone(),
    };
    match daemon::ask_running(&request).await {
        // A helper that has chosen another scheme asks no person, and may be asked again.
        Ok(Reply::Login(login)) if login.authtype.is_none() => {
            let url = ProxyUrl::parse(&url)?;
            Some(url.with_login(&login.username, &login.password))
        }
        _ => None,
    }
}

/// Tells the git that sends how to sign in, beyond its settings.
///
/// # Errors
/// Fails when the path of this program is unknown.
pub(crate) fn apply(push: &mut Command) -> io::Result<()> {
    if let Some(command) = env::var_os(names::SSH_COMMAND) {
        push.env("GIT_SSH_COMMAND", command)
            .env("GIT_SSH_VARIANT", "ssh");
        if let Some(id) = env::var_os(QUESTION_ID) {
            push.env("SSH_ASKPASS", env::current_exe()?)
                .env("SSH_ASKPASS_REQUIRE", "force")
                .env(QUESTION_ID, id);
        }
    }
    if let Some(id) = env::var_os(LOGIN_ID) {
        push.env(LOGIN_ID, id);
    }
    // The daemon puts the questions of these children to the person who pushes.
    push.env(
        names::PUSH_ID,
        env::var_os(names::PUSH_ID).unwrap_or_default(),
    );
    if let Some(own_credential) = own_credential() {
        push.env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "false")
            .env_remove("SSH_ASKPASS");
        if own_credential == OwnCredential::Anonymous {
            push.env_remove("GIT_SSL_CERT").env_remove("GIT_SSL_KEY");
        }
    }
    Ok(())
}
