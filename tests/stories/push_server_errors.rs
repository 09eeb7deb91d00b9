//! Pushes to a GitLab that answers with an error: the push says so, and nothing is in the mirror.

use std::fmt::Write;

use tests::{Fault, On};

use crate::{push_pair::fill, stage::Stage};

#[test]
fn a_gitlab_that_does_not_begin_says_why_and_has_nothing() {
    let line = |text: &str| format!("{:04x}{text}", text.len() + 4);
    let (service, error) = (
        line("# service=git-receive-pack\n"),
        line("ERR GitLab is currently unable to handle this request due to load"),
    );
    let busy = Fault::status(200)
        .header(
            "Content-Type",
            "application/x-git-receive-pack-advertisement",
        )
        .body(format!("{service}0000{error}"));
    let faults = [
        ("busy", busy),
        ("503", Fault::status(503)),
        ("403", Fault::status(403).body("no")),
        ("404", Fault::status(404)),
        ("html", Fault::html()),
        ("hang-up", Fault::hang_up()),
    ];
    let stage = Stage::new(fill).with_ours();
    let mut all = String::new();
    for (name, fault) in faults {
        let mine = stage.commit("ours", name);
        let (packs, before) = (stage.packs(), stage.project.refs());
        stage.gitlab.fault(fault.on(On::PushInfoRefs));
        stage.world.forget_advertisement();
        let ran = stage.push("ours", &["main", ":spare"]).fails();
        if name == "hang-up" {
            // curl has more than one word for it.
            assert!(ran.stderr.contains("unable to access"), "{ran}");
            assert!(!ran.stderr.contains("may have reached"), "{ran}");
        } else {
            writeln!(all, "{name}:\n{}", ran.shown()).expect("into a string");
        }
        stage.nothing_came(&packs, &mine);
        assert_eq!(stage.project.refs(), before, "{name}");
        stage.gitlab.clear_faults();
        stage.push("ours", &["main", ":spare"]).ok();
        stage.project.branch("spare", "topic");
    }
    // Nothing was sent, and so nothing may have reached upstream.
    insta::assert_snapshot!(all, @r"
    busy:
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] main -> main (remote error: GitLab is currently unable to handle this request due to load)
     ! [remote rejected] spare (remote error: GitLab is currently unable to handle this request due to load)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'

    503:
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] main -> main (unable to access 'http://gitlab.example/group/project.git/': The requested URL returned error: 503)
     ! [remote rejected] spare (unable to access 'http://gitlab.example/group/project.git/': The requested URL returned error: 503)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'

    403:
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] main -> main (unable to access 'http://gitlab.example/group/project.git/': The requested URL returned error: 403)
     ! [remote rejected] spare (unable to access 'http://gitlab.example/group/project.git/': The requested URL returned error: 403)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'

    404:
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] main -> main (repository 'http://gitlab.example/group/project.git/' not found)
     ! [remote rejected] spare (repository 'http://gitlab.example/group/project.git/' not found)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'

    html:
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] main -> main (http://gitlab.example/group/project.git/info/refs not valid: is this a git repository?)
     ! [remote rejected] spare (http://gitlab.example/group/project.git/info/refs not valid: is this a git repository?)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'
    ");
}

#[test]
fn a_push_that_is_too_large_for_what_stands_before_gitlab_is_refused() {
    let stage = Stage::new(fill).with_ours();
    let mine = stage.commit("ours", "mine");
    let packs = stage.packs();
    let mut all = String::new();
    for status in [413, 403, 429] {
        stage.gitlab.fault(Fault::status(status).on(On::Push));
        let ran = stage.push("ours", &["main"]).fails();
        writeln!(all, "{status}:\n{}", ran.shown()).expect("into a string");
        stage.gitlab.clear_faults();
        stage.nothing_came(&packs, &mine);
    }
    stage.gitlab.fault(Fault::status(502).on(On::Push));
    let ran = stage.push("ours", &["main"]).fails();
    // Whether it has arrived, nobody knows.
    writeln!(all, "502:\n{}", ran.shown()).expect("into a string");
    insta::assert_snapshot!(all, @"
    413:
    remote: send-pack: unexpected disconnect while reading sideband packet
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] main -> main (RPC failed; HTTP 413 curl 22 The requested URL returned error: 413)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'

    403:
    remote: send-pack: unexpected disconnect while reading sideband packet
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] main -> main (RPC failed; HTTP 403 curl 22 The requested URL returned error: 403)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'

    429:
    remote: send-pack: unexpected disconnect while reading sideband packet
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] main -> main (RPC failed; HTTP 429 curl 22 The requested URL returned error: 429)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'

    502:
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] main -> main (cannot reach 'http://gitlab.example/group/project.git': the server answered with error 502; it may have reached upstream, the same push again tells)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'
    ");
    stage.gitlab.clear_faults();
    stage.push("ours", &["main"]).ok();
}
