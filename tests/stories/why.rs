//! `mirrord why`: what decides how fresh a fetch is, and what would change that.

use regex::Regex;
use tests::Fault;

use crate::{named::small, stage::Stage};

impl Stage {
    /// The output of `mirrord why`, without what differs from run to run.
    #[track_caller]
    pub(crate) fn why(&self, name: &str) -> String {
        let why = self.mirrord_shows(&["why", name]);
        let days = Regex::new(r"\d{4} days").expect("a pattern");
        days.replace_all(&why, "[days]").into_owned()
    }
}

#[test]
fn why_says_what_decides_and_what_would_change_it() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    insta::assert_snapshot!(stage.why("work"), @"
    work
      now: in step [time] ago ([date])
        'mirrord sync work' brings it in step now
      a fetch: asks upstream first: sync-on-fetch is 'yes', fresh-for is '[time]'
        'mirrord set work --fresh-for 10m' lets an answer be ten minutes old, --sync-on-fetch no any age
      upstream down: a fetch is served from here, and says how old that is: stale is 'serve'
        'mirrord set work --stale fail' lets it fail; MIRROR_STALE=fail does for one command
      nobody asking: next sync in [time]: every is '1h'
        'mirrord set work --every 10m' goes more often, --every never not at all; 'mirrord webhook on' lets upstream tell
      on disk: [size]; it stays until it is removed
        'mirrord remove work' removes it
    ");
    let set = |setting| {
        stage.mirrord(&["set", "work", setting]).ok();
        stage.why("work")
    };
    insta::assert_snapshot!(set("--every=1h"), @"
    work
      now: in step [time] ago ([date])
        'mirrord sync work' brings it in step now
      a fetch: asks upstream first: sync-on-fetch is 'yes', fresh-for is '[time]'
        'mirrord set work --fresh-for 10m' lets an answer be ten minutes old, --sync-on-fetch no any age
      upstream down: a fetch is served from here, and says how old that is: stale is 'serve'
        'mirrord set work --stale fail' lets it fail; MIRROR_STALE=fail does for one command
      nobody asking: next sync in [time]: every is '1h'
        'mirrord set work --every 10m' goes more often, --every never not at all; 'mirrord webhook on' lets upstream tell
      on disk: [size]; it stays until it is removed
        'mirrord remove work' removes it
    ");
    insta::assert_snapshot!(set("--sync-on-fetch=no"), @"
    work
      now: in step [time] ago ([date])
        'mirrord sync work' brings it in step now
      a fetch: is served from here without asking: sync-on-fetch is 'no'
        'mirrord set work --sync-on-fetch yes' lets every fetch ask
      upstream down: a fetch is served from here, and says how old that is: stale is 'serve'
        'mirrord set work --stale fail' lets it fail; MIRROR_STALE=fail does for one command
      nobody asking: next sync in [time]: every is '1h'
        'mirrord set work --every 10m' goes more often, --every never not at all; 'mirrord webhook on' lets upstream tell
      on disk: [size]; it stays until it is removed
        'mirrord remove work' removes it
    ");
    insta::assert_snapshot!(set("--fresh-for=1h"), @"
    work
      now: in step [time] ago ([date])
        'mirrord sync work' brings it in step now
      a fetch: is served from here without asking: fresh-for is '1h'
        'mirrord set work --fresh-for [time]' lets every fetch ask
      upstream down: a fetch is served from here, and says how old that is: stale is 'serve'
        'mirrord set work --stale fail' lets it fail; MIRROR_STALE=fail does for one command
      nobody asking: next sync in [time]: every is '1h'
        'mirrord set work --every 10m' goes more often, --every never not at all; 'mirrord webhook on' lets upstream tell
      on disk: [size]; it stays until it is removed
        'mirrord remove work' removes it
    ");
    insta::assert_snapshot!(set("--stale=fail"), @"
    work
      now: in step [time] ago ([date])
        'mirrord sync work' brings it in step now
      a fetch: is served from here without asking: fresh-for is '1h'
        'mirrord set work --fresh-for [time]' lets every fetch ask
      upstream down: a fetch fails: stale is 'fail'
        'mirrord set work --stale serve' serves what is here, with its age; MIRROR_STALE=serve does for one command
      nobody asking: next sync in [time]: every is '1h'
        'mirrord set work --every 10m' goes more often, --every never not at all; 'mirrord webhook on' lets upstream tell
      on disk: [size]; it stays until it is removed
        'mirrord remove work' removes it
    ");
    insta::assert_snapshot!(set("--every=never"), @"
    work
      now: in step [time] ago ([date])
        'mirrord sync work' brings it in step now
      a fetch: is served from here without asking: fresh-for is '1h'
        'mirrord set work --fresh-for [time]' lets every fetch ask
      upstream down: a fetch fails: stale is 'fail'
        'mirrord set work --stale serve' serves what is here, with its age; MIRROR_STALE=serve does for one command
      nobody asking: next sync when somebody asks: every is 'never'
        'mirrord set work --every 1h' brings it in step about hourly
      on disk: [size]; it stays until it is removed
        'mirrord remove work' removes it
    ");
    insta::assert_snapshot!(set("--track=+refs/heads/main"), @"
    work
      now: in step [time] ago ([date])
        'mirrord sync work' brings it in step now
      a fetch: asks upstream, however fresh the mirror is: a push may have reached it, or what is tracked has changed
      upstream down: a fetch fails: stale is 'fail'
        'mirrord set work --stale serve' serves what is here, with its age; MIRROR_STALE=serve does for one command
      nobody asking: next sync when somebody asks: every is 'never'
        'mirrord set work --every 1h' brings it in step about hourly
      on disk: [size]; it stays until it is removed
        'mirrord remove work' removes it
    ");
    let json = stage.mirrord(&["why", "work", "--json"]).ok().stdout;
    insta::assert_snapshot!(tests::shown(&json), @r#"
    {
      "name": "work",
      "why": [
        {
          "about": "now",
          "change": "'mirrord sync work' brings it in step now",
          "is": "in step [time] ago ([date])"
        },
        {
          "about": "a fetch",
          "change": null,
          "is": "asks upstream, however fresh the mirror is: a push may have reached it, or what is tracked has changed"
        },
        {
          "about": "upstream down",
          "change": "'mirrord set work --stale serve' serves what is here, with its age; MIRROR_STALE=serve does for one command",
          "is": "a fetch fails: stale is 'fail'"
        },
        {
          "about": "nobody asking",
          "change": "'mirrord set work --every 1h' brings it in step about hourly",
          "is": "next sync when somebody asks: every is 'never'"
        },
        {
          "about": "on disk",
          "change": "'mirrord remove work' removes it",
          "is": "[size]; it stays until it is removed"
        }
      ]
    }
    "#);
    let unknown = stage.mirrord(&["why", "nothing"]).code(1);
    insta::assert_snapshot!(unknown.shown(), @"
    error: no mirror is called 'nothing'
    hint: 'mirrord list' shows them; a URL makes a new one: mirror::https://HOST/GROUP/PROJECT.git
    ");
}

#[test]
fn why_says_that_somebody_is_needed_and_for_what() {
    let private = Stage::private();
    private.add_with_password("project", "right").ok();
    private.gitlab.revoke("me");
    private.look_at("project").code(128);
    private.mirrord(&["sync", "project"]).code(1);
    insta::assert_snapshot!(private.why("project"), @"
    project
      now: needs you: Authentication failed for 'http://gitlab.example/group/project.git'; it was last in step ([date])
        a login that upstream takes: 'mirrord set project --help' says how to give it one, or fetch where you can be asked
      a fetch: asks upstream first: sync-on-fetch is 'yes', fresh-for is '[time]'
        'mirrord set project --fresh-for 10m' lets an answer be ten minutes old, --sync-on-fetch no any age
      upstream down: a fetch is served from here, and says how old that is: stale is 'serve'
        'mirrord set project --stale fail' lets it fail; MIRROR_STALE=fail does for one command
      nobody asking: not before its login is mended: too many failures would shut you out
      on disk: [size], last used [time] ago; it stays until it is removed
        'mirrord remove project' removes it
    ");
}

#[test]
fn why_says_that_upstream_refuses_it() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    stage.gitlab.fault(Fault::status(403));
    stage.mirrord(&["sync", "work"]).code(1);
    insta::assert_snapshot!(stage.why("work"), @"
    work
      now: behind since [time]: cannot read 'http://gitlab.example/group/project.git': the requested URL returned error: 403; it was last in step ([date])
        'mirrord sync work' brings it in step now
      a fetch: asks upstream first: sync-on-fetch is 'yes', fresh-for is '[time]'
        'mirrord set work --fresh-for 10m' lets an answer be ten minutes old, --sync-on-fetch no any age
      upstream down: a fetch is served from here, and says how old that is: stale is 'serve'
        'mirrord set work --stale fail' lets it fail; MIRROR_STALE=fail does for one command
      nobody asking: next try in [time]: upstream refuses it, and that seldom passes by itself
        'mirrord test work' says what is wrong, step by step
      on disk: [size], last used [time] ago; it stays until it is removed
        'mirrord remove work' removes it
    ");
}
