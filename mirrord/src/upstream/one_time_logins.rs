//! Logins for children of ours: git asks its credential helper, which is our program and asks this daemon with a one-time
//! id.

use std::{collections::HashMap, io};

use common::protocol::{Login, OneTimeId};
use parking_lot::{Mutex, MutexGuard};

use crate::process::id;

/// Logins that children may ask for, by their one-time ids.
#[derive(Default)]
pub(crate) struct OneTimeLogins(Mutex<HashMap<OneTimeId, OfferedLogin>>);

/// A login that a push has asked for with its one-time id.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RedeemedLogin {
    /// The scheme, host and port that the login is for.
    pub origin: String,
    /// The login.
    pub login: Login,
    /// Whether the login is a mirror's own.
    pub is_own: bool,
}

/// A login, and who may have it.
struct OfferedLogin {
    /// The scheme, host and port that the login is for.
    origin: String,
    /// The push that the login is for, if it is for one.
    push: Option<String>,
    /// Whether the login is a mirror's own.
    own: bool,
    login: Login,
    is_redeemed: bool,
}

impl OneTimeLogins {
    /// Keeps a login for one child, which belongs to `push` if that is given; `own` says whether the login is a mirror's own.
    /// Returns the id to ask for the login with.
    pub(crate) fn offer(
        &self,
        origin: &str,
        login: &Login,
        own: bool,
        push: Option<&str>,
    ) -> io::Result<OneTimeId> {
        let id = OneTimeId(id::random()?);
        let offer = OfferedLogin {
            origin: origin.to_owned(),
            push: push.map(str::to_owned),
            own,
            login: login.clone(),
            is_redeemed: false,
        };
        self.offers().insert(id.clone(), offer);
        Ok(id)
    }

    /// Gives a login away, once, and only for its origin and push. A request with the id for another push or origin gets
    /// nothing, and ends the offer.
    pub(crate) fn redeem(&self, id: &OneTimeId, push: Option<&str>, origin: &str) -> Option<Login> {
        let mut all = self.offers();
        let offer = all.get_mut(id)?;
        if offer.is_redeemed || offer.origin != origin || offer.push.as_deref() != push {
            all.remove(id);
            return None;
        }
        offer.is_redeemed = true;
        Some(offer.login.clone())
    }

    /// Returns the login that a push has redeemed with this id: git says how signing in with it went. Where nothing is
    /// pushed, whoever started the child learns that from the child.
    pub(crate) fn redeemed_by_push(&self, id: &OneTimeId) -> Option<RedeemedLogin> {
        let all = self.offers();
        let offer = all.get(id)?;
        let is_of_push = offer.is_redeemed && offer.push.is_some();
        is_of_push.then(|| RedeemedLogin {
            origin: offer.origin.clone(),
            login: offer.login.clone(),
            is_own: offer.own,
        })
    }

    /// Forgets a login: the child that it was for has ended.
    pub(crate) fn withdraw(&self, id: &OneTimeId) {
        self.offers().remove(id);
    }

    fn offers(&self) -> MutexGuard<'_, HashMap<OneTimeId, OfferedLogin>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &str = "https://gitlab.example";

    fn login() -> Login {
        Login::basic("me", "secret")
    }

    #[test]
    fn a_login_is_given_once_and_only_for_where_it_is_meant() {
        let logins = OneTimeLogins::default();
        let id = logins.offer(ORIGIN, &login(), false, None).expect("random");
        let other = OneTimeId("another".into());
        assert_eq!(logins.redeem(&other, None, ORIGIN), None);
        assert_eq!(logins.redeem(&id, None, ORIGIN), Some(login()));
        assert_eq!(logins.redeemed_by_push(&id), None);
        assert_eq!(logins.redeem(&id, None, ORIGIN), None, "a used one");
        let id = logins.offer(ORIGIN, &login(), false, None).expect("random");
        assert_eq!(logins.redeem(&id, None, "https://elsewhere.example"), None);
        assert_eq!(
            logins.redeem(&id, None, ORIGIN),
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
                .offer(ORIGIN, &login(), true, Some("theirs"))
                .expect("random");
            assert_eq!(logins.redeem(&id, stranger, ORIGIN), None);
            assert_eq!(logins.redeem(&id, Some("theirs"), ORIGIN), None);
        }
        let id = logins
            .offer(ORIGIN, &login(), true, Some("mine"))
            .expect("random");
        assert_eq!(logins.redeemed_by_push(&id), None);
        assert_eq!(logins.redeem(&id, Some("mine"), ORIGIN), Some(login()));
        assert_eq!(
            logins.redeemed_by_push(&id),
            Some(RedeemedLogin {
                origin: ORIGIN.to_owned(),
                login: login(),
                is_own: true,
            })
        );
        logins.withdraw(&id);
        assert_eq!(
            logins.redeem(&id, Some("mine"), ORIGIN),
            None,
            "the push is over"
        );
    }
}
