//! Logins on their way to a child of ours: git asks its credential helper, which is ours and asks this daemon.

use std::{collections::HashMap, io};

use common::protocol::{Login, OneTimeId};
use parking_lot::{Mutex, MutexGuard};

use crate::process::id;

/// Logins that wait to be fetched by a child, by their one-time ids.
#[derive(Default)]
pub(crate) struct OneTimeLogins(Mutex<HashMap<OneTimeId, Waiting>>);

/// A login that a push has asked for with its one-time id.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RedeemedLogin {
    /// The scheme, host and port that the login is for.
    pub origin: String,
    /// The login.
    pub login: Login,
    /// Whether it is a mirror's own.
    pub is_own: bool,
}

/// A login, and who may have it.
struct Waiting {
    /// The scheme, host and port that it is for.
    origin: String,
    /// The push that it is for, when it is for one.
    push: Option<String>,
    /// Whether it is a mirror's own.
    own: bool,
    login: Login,
    taken: bool,
}

impl OneTimeLogins {
    /// Keeps a login for one child, and for one push when it is part of one; `own` says whether it is a mirror's own.
    /// Returns the id to ask for it with.
    pub(crate) fn offer(
        &self,
        origin: &str,
        login: &Login,
        own: bool,
        push: Option<&str>,
    ) -> io::Result<OneTimeId> {
        let id = OneTimeId(id::random()?);
        let waiting = Waiting {
            origin: origin.to_owned(),
            push: push.map(str::to_owned),
            own,
            login: login.clone(),
            taken: false,
        };
        self.waiting().insert(id.clone(), waiting);
        Ok(id)
    }

    /// Gives a login away, once, and only where it belongs. Whoever brings the id of another push, or wants it for
    /// elsewhere, gets nothing, and nobody does any more.
    pub(crate) fn redeem(&self, id: &OneTimeId, push: Option<&str>, origin: &str) -> Option<Login> {
        let mut all = self.waiting();
        let waiting = all.get_mut(id)?;
        if waiting.taken || waiting.origin != origin || waiting.push.as_deref() != push {
            all.remove(id);
            return None;
        }
        waiting.taken = true;
        Some(waiting.login.clone())
    }

    /// Returns the login that a push has redeemed with this id: git says how signing in with it went. Where nothing is
    /// pushed, whoever started the child learns that from the child.
    pub(crate) fn redeemed_by_push(&self, id: &OneTimeId) -> Option<RedeemedLogin> {
        let all = self.waiting();
        let waiting = all.get(id)?;
        let is_it = waiting.taken && waiting.push.is_some();
        is_it.then(|| RedeemedLogin {
            origin: waiting.origin.clone(),
            login: waiting.login.clone(),
            is_own: waiting.own,
        })
    }

    /// Forgets a login: what it waited for is over.
    pub(crate) fn withdraw(&self, id: &OneTimeId) {
        self.waiting().remove(id);
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<OneTimeId, Waiting>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "https://gitlab.example";

    fn login() -> Login {
        Login {
            username: "me".into(),
            password: "secret".into(),
        }
    }

    #[test]
    fn a_login_is_given_once_and_only_for_where_it_is_meant() {
        let logins = OneTimeLogins::default();
        let id = logins.offer(HERE, &login(), false, None).expect("random");
        let other = OneTimeId("another".into());
        assert_eq!(logins.redeem(&other, None, HERE), None);
        assert_eq!(logins.redeem(&id, None, HERE), Some(login()));
        assert_eq!(logins.redeemed_by_push(&id), None);
        assert_eq!(logins.redeem(&id, None, HERE), None, "a used one");
        let id = logins.offer(HERE, &login(), false, None).expect("random");
        assert_eq!(logins.redeem(&id, None, "https://elsewhere.example"), None);
        assert_eq!(
            logins.redeem(&id, None, HERE),
            None,
            "and not afterwards either"
        );
        assert!(!format!("{id:?}").contains(&id.0));
    }

    #[test]
    fn a_login_of_one_push_is_not_for_another() {
        let logins = OneTimeLogins::default();
        for stranger in [None, Some("mine")] {
            let id = logins
                .offer(HERE, &login(), true, Some("theirs"))
                .expect("random");
            assert_eq!(logins.redeem(&id, stranger, HERE), None);
            assert_eq!(logins.redeem(&id, Some("theirs"), HERE), None);
        }
        let id = logins
            .offer(HERE, &login(), true, Some("mine"))
            .expect("random");
        assert_eq!(logins.redeemed_by_push(&id), None);
        assert_eq!(logins.redeem(&id, Some("mine"), HERE), Some(login()));
        assert_eq!(
            logins.redeemed_by_push(&id),
            Some(RedeemedLogin {
                origin: HERE.to_owned(),
                login: login(),
                is_own: true,
            })
        );
        logins.withdraw(&id);
        assert_eq!(
            logins.redeem(&id, Some("mine"), HERE),
            None,
            "the push is over"
        );
    }
}
