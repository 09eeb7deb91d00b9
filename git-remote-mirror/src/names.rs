//! The names by which the processes of one push find each other: hooks, and variables of the environment. The two names
//! that the daemon gives to its own children as well are [`common::protocol::LOGIN_ID`] and
//! [`common::protocol::QUESTION_ID`].

/// The hook that counts the commands of a push; githooks(5) says when git runs each hook.
pub(crate) const PRE_RECEIVE: &str = "pre-receive";
/// The hook that carries the commands of a push out.
pub(crate) const PROC_RECEIVE: &str = "proc-receive";
/// The hook that git runs when it has read upstream's refs and is about to send.
pub(crate) const PRE_PUSH: &str = "pre-push";

/// The name under which git runs this program as the connection of a push over the daemon.
pub(crate) const CONNECTION: &str = "connection";

/// The variable with the daemon's id of the push.
pub(crate) const PUSH_ID: &str = "MIRROR_PUSH";
/// The variable with the path of the push's quarantine.
pub(crate) const QUARANTINE: &str = "MIRROR_QUARANTINE";
/// The variable with the git directory of the mirror.
pub(crate) const GIT_DIR: &str = "MIRROR_GIT_DIR";
/// The variable with the URL of the upstream.
pub(crate) const UPSTREAM_URL: &str = "MIRROR_UPSTREAM";
/// The variable with the name of the remote, where it is configured.
pub(crate) const REMOTE: &str = "MIRROR_REMOTE";
/// The variable that is set when the push signs in with a credential of the mirror's own, or with none at all: no
/// credential helper and no person is asked.
pub(crate) const OWN_CREDENTIAL: &str = "MIRROR_ALONE";
/// The variable with the URL of the proxy whose login waits at the daemon, and that with the id under which it waits.
pub(crate) const PROXY: &str = "MIRROR_PROXY";
pub(crate) const PROXY_LOGIN: &str = "MIRROR_PROXY_LOGIN";
/// The variable with the command by which ssh is run, where the daemon knows it.
pub(crate) const SSH_COMMAND: &str = "MIRROR_SSH";
/// The variable with the user name that was typed into the URL.
pub(crate) const USERNAME: &str = "MIRROR_USERNAME";
/// The variable that is set when git wants the progress of the push shown.
pub(crate) const PROGRESS: &str = "MIRROR_PROGRESS";
