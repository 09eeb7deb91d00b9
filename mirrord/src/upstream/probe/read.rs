//! Signs in and lists refs, as a sync does.

use std::time::Duration;

use common::{
    address::upstream_url::UpstreamUrl,
    protocol::{Check, FailureKind, Step, Verdict},
    refspec::{OnDemand, Refspecs},
};

use super::{Probe, connect::proxy_hint, failed, step, timed};
use crate::{
    repository::{
        plan::{Advertisement, Head},
        refs::UpstreamRefs,
    },
    upstream::{Access, Advertised, Session, Trouble},
};

/// An upstream that answered.
pub(crate) enum Reading {
    /// Upstream redirects to this URL.
    Moved(UpstreamUrl),
    /// Upstream has listed its refs.
    Answered(Read),
}

/// The refs of an upstream.
pub(crate) struct Read {
    /// All branches and tags.
    pub everything: Box<Advertised>,
    /// The refs that would be tracked.
    pub(super) tracked: UpstreamRefs,
    /// Whether only git itself can sign in here.
    pub(super) by_git: bool,
}

/// An upstream that did not answer as hoped.
pub(crate) struct Unread {
    /// The reason.
    pub trouble: Box<Trouble>,
    /// The time that it took.
    pub took: Duration,
}

impl Probe<'_> {
    /// Signs in and lists refs. A failure is not reported yet: another login may help.
    pub(crate) fn read(&self, track: &Refspecs) -> Result<Reading, Unread> {
        let attempt = self
            .upstreams
            .trials
            .begin(self.url, self.access, self.watch);
        let attempt = attempt.map_err(|trouble| Unread {
            trouble: Box::new(trouble),
            took: Duration::ZERO,
        })?;
        let read = self.try_to_read(track);
        match &read {
            // A redirect says nothing of the login.
            Ok(Reading::Moved(_)) => {}
            Ok(Reading::Answered(_)) => attempt.ended(None),
            Err(unread) => attempt.ended(Some(&unread.trouble)),
        }
        read
    }

    fn try_to_read(&self, track: &Refspecs) -> Result<Reading, Unread> {
        let (session, opening) =
            timed(|| Session::open(self.url, self.access, self.upstreams, self.watch));
        let unread = |trouble, took| Unread {
            trouble: Box::new(trouble),
            took,
        };
        let mut session = match session {
            Ok(session) => session,
            Err(trouble) => {
                if let Some(url) = trouble.asked_at {
                    return Ok(Reading::Moved(*url));
                }
                return Err(unread(trouble, opening));
            }
        };
        if let Some(url) = session.moved_to() {
            return Ok(Reading::Moved(url));
        }
        let everything = Refspecs::everything();
        let (asked, asking) = timed(|| {
            let asked = session.list_refs(&everything, &OnDemand::default(), self.watch)?;
            // Refs outside these prefixes have not been listed.
            let is_asked = |prefix: &str| {
                let mut asked = everything.prefixes();
                asked.any(|asked| prefix.starts_with(asked))
            };
            let refs = match track.prefixes().all(is_asked) {
                true => asked.advertisement.refs.clone(),
                false => {
                    session
                        .list_refs(track, &OnDemand::default(), self.watch)?
                        .advertisement
                        .refs
                }
            };
            Ok((asked, refs))
        });
        let (asked, refs) = asked.map_err(|trouble| unread(trouble, opening + asking))?;
        let by_git = session.signed_in_by_git() || self.access.http.needs_git.is_some();
        if self.is_http() {
            let who = describe_login(self.access, session.signed_in_by_git());
            self.passed(Check::SignIn, opening, who);
        }
        let took = if self.is_http() {
            asking
        } else {
            opening + asking
        };
        self.passed(Check::Read, took, described(&asked.advertisement));
        let tracked = refs.into_iter();
        Ok(Reading::Answered(Read {
            everything: Box::new(asked),
            tracked: tracked
                .filter(|(name, _)| track.public(name).is_some())
                .collect(),
            by_git: by_git && self.is_http(),
        }))
    }
}

impl Unread {
    /// Returns the step at which the test ended.
    pub(crate) fn step(&self, url: &UpstreamUrl, access: &Access) -> Step {
        let Self { trouble, took } = self;
        let failure = &trouble.failure;
        let fail = |check| failed(url, check, *took, failure);
        let refused = |text: String| Step {
            hint: token_hint(url, trouble).or_else(|| failure.hint.clone()),
            ..step(Check::SignIn, Verdict::Failed, *took, text)
        };
        if failure.kind == FailureKind::LoginNeeded {
            return refused("upstream wants a login, and none was found".to_owned());
        }
        if trouble.login_refused {
            let who = describe_login(access, false);
            return refused(format!("upstream refuses the login {who}"));
        }
        if failure.message == format!("'{url}' has moved") {
            return Step {
                detail: "elsewhere, and a redirect to there is not followed".into(),
                ..fail(Check::Redirect)
            };
        }
        let step = fail(Check::Read);
        Step {
            hint: step.hint.or_else(|| proxy_hint(url, access)),
            ..step
        }
    }
}

/// Returns the hint where to make a token, which GitLab takes as the password.
fn token_hint(url: &UpstreamUrl, trouble: &Trouble) -> Option<String> {
    let is_gitlab = |challenge: &String| challenge.contains("\"GitLab\"");
    trouble.challenges.iter().any(is_gitlab).then(|| {
        format!(
            "make a token at {}/-/user_settings/personal_access_tokens \
             with scopes read_repository, write_repository, and store it with a credential helper, \
             or in the mirror: --username NAME",
            url.origin()
        )
    })
}

/// Describes with what we sign in over http.
fn describe_login(access: &Access, by_kerberos: bool) -> String {
    match (&access.login, &access.http.needs_git) {
        (Some(login), _) if login.username.is_empty() => "without a user name".to_owned(),
        // As in `https://TOKEN@host` and `https://TOKEN:x-oauth-basic@host`.
        (Some(login), _) if ["", "x-oauth-basic"].contains(&login.password.as_str()) => {
            "with a token for a user name".to_owned()
        }
        (Some(login), _) => format!("as '{}'", login.username),
        (None, Some(setting)) => format!("as git does it with '{setting}'"),
        (None, None) if by_kerberos => "with a Kerberos ticket".to_owned(),
        (None, None) if !access.http.headers.is_empty() => "with 'http.extraHeader'".to_owned(),
        (None, None) => "anonymous".to_owned(),
    }
}

fn described(upstream: &Advertisement) -> String {
    let count = |space: &[u8], one: &str, many: &str| {
        let names = upstream.refs.keys();
        match names
            .filter(|name| name.as_bstr().starts_with(space))
            .count()
        {
            1 => format!("1 {one}"),
            number => format!("{number} {many}"),
        }
    };
    let has = match upstream.refs.is_empty() {
        true => "it is empty".to_owned(),
        false => {
            let branches = count(b"refs/heads/", "branch", "branches");
            format!("{branches}, {}", count(b"refs/tags/", "tag", "tags"))
        }
    };
    let head = match &upstream.head {
        Head::Branch(name) => {
            let name = name.to_string();
            let short = name.strip_prefix("refs/heads/").unwrap_or(&name);
            format!(", default branch {short}")
        }
        Head::Detached(_) | Head::Unknown => ", no default branch".to_owned(),
    };
    has + &head
}
