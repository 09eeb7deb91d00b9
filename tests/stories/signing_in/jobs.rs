//! Two jobs of a CI machine with different tokens on one mirror, one of them bad: neither ever gets what is the other's.

use tests::{On, Ran, Run};

use crate::stage::Stage;

/// When the bad job runs.
#[derive(Debug, Clone, Copy)]
enum Order {
    AtOnce,
    GoodFirst,
    BadFirst,
}

/// How a job brings its token.
#[derive(Debug, Clone, Copy)]
enum By {
    Helper,
    Address,
}

fn job(private: &Stage, token: &str, by: By, dir: &str) -> Run {
    let url = &private.url;
    match by {
        By::Helper => {
            let helper = format!(
                "!f() {{ test $1 != get || printf 'username=me\\npassword={token}\\n'; }}; f"
            );
            let helper = format!("credential.helper={helper}");
            let address = format!("mirror::{url}");
            private.world.git([
                "-c",
                "credential.helper=",
                "-c",
                &helper,
                "clone",
                "-q",
                &address,
                dir,
            ])
        }
        By::Address => {
            let address = url.replace("http://", &format!("mirror::http://me:{token}@"));
            private.world.git(["clone", "-q", &address, dir])
        }
    }
}

#[track_caller]
fn judge(private: &Stage, good: &Ran, bad: &Ran, dirs: [&str; 2], what: &str) {
    assert!(good.status.success(), "{what}: {good}");
    assert!(
        !good.stderr.contains("Authentication failed"),
        "{what}: {good}"
    );
    assert!(private.world.path(dirs[0]).join("a").exists(), "{what}");
    assert_eq!(bad.status.code(), Some(128), "{what}: {bad}");
    assert!(
        !private.world.path(dirs[1]).exists(),
        "{what}: it has nothing"
    );
}

#[test]
fn a_bad_token_never_sees_what_needs_a_good_one_and_the_good_one_never_its_refusal() {
    for by in [By::Helper, By::Address] {
        for fresh_for in ["0s", "1h"] {
            let private = Stage::private();
            let mut number = 0;
            for up in [true, false] {
                for order in [Order::AtOnce, Order::GoodFirst, Order::BadFirst] {
                    let what = format!("{by:?} {fresh_for} up: {up} {order:?}");
                    number += 1;
                    let dirs = [format!("good-{number}"), format!("bad-{number}")];
                    let good = job(&private, "right", by, &dirs[0]);
                    let bad = job(&private, "wr0ng", by, &dirs[1]);
                    let (good, bad) = match order {
                        Order::AtOnce if up && number == 1 => {
                            // Both are there before upstream has said a word.
                            let paused = private.gitlab.pause(On::InfoRefs);
                            let bad = bad.start();
                            paused.reached();
                            let good = good.start();
                            private.world.wait_until_clients(2);
                            paused.release();
                            (good.wait(), bad.wait())
                        }
                        Order::AtOnce => {
                            let (good, bad) = (good.start(), bad.start());
                            (good.wait(), bad.wait())
                        }
                        Order::GoodFirst => (good.run(), bad.run()),
                        Order::BadFirst => {
                            let bad = bad.run();
                            (good.run(), bad)
                        }
                    };
                    judge(&private, &good, &bad, [&dirs[0], &dirs[1]], &what);
                    if number == 1 {
                        let args = ["set", &private.url, "--fresh-for", fresh_for];
                        private.world.mirrord(args).ok();
                    }
                }
                private.gitlab.stop();
            }
            // Nor by an object's name, nor after a restart.
            private.world.mirrord(["stop"]).ok();
            let tip = private.world.git(["rev-parse", "HEAD"]).at("good-1").ok();
            private.world.git(["init", "-q", "thief"]).ok();
            let address = private.url.replace("http://", "mirror::http://me:wr0ng@");
            let ran = private
                .world
                .git(["fetch", "-q", &address, tip.line()])
                .at("thief")
                .fails();
            assert!(
                ran.stdout.is_empty() && ran.stderr.starts_with("error: "),
                "{ran}"
            );
            let has = private
                .world
                .git(["cat-file", "-e", tip.line()])
                .at("thief");
            has.fails();
        }
    }
}

#[test]
fn a_mirrors_own_token_does_not_help_a_client_with_a_bad_one() {
    let private = Stage::private();
    private.add_with_password("project", "right").ok();
    private
        .world
        .mirrord(["set", "project", "--fresh-for", "1h"])
        .ok();
    for up in [true, false] {
        private.look_at("project").ok();
        let bad = job(&private, "wr0ng", By::Address, "bad").fails();
        assert!(!private.world.path("bad").exists(), "up: {up}: {bad}");
        private.gitlab.stop();
    }
}
