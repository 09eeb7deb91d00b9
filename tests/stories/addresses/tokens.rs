//! A token in an address stays where git itself puts it.

use std::{fs, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use tests::{Fault, On};

use super::ls_remote;
use crate::clone::{fill, listed};
use crate::stage::Stage;

const TOKEN: &str = "glpat-S3CRET";

/// Every file below a directory that contains one of these texts.
fn files_with(dir: &Path, secrets: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("the world is ours") {
        let path = entry.expect("the world is ours").path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files_with(&path, secrets));
        } else {
            // A socket cannot be read, and keeps nothing.
            let text = fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            if secrets.iter().any(|secret| text.contains(secret)) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

/// The command lines and environments of living processes that contain one of these texts.
fn processes_with(secrets: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("this is Linux").flatten() {
        for file in ["cmdline", "environ"] {
            // Most are not ours, and some end while we look.
            let text = fs::read(entry.path().join(file)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).replace('\0', " ");
            if secrets.iter().any(|secret| text.contains(secret)) {
                found.push(text);
            }
        }
    }
    found
}

/// Clones with a login in the address and looks everywhere, in the middle and afterwards.
#[track_caller]
fn a_token_stays_where_git_puts_it(faults: &[Fault]) {
    let stage = Stage::new(fill);
    let host = stage.gitlab.host();
    // Other worlds have tokens, too.
    let token = format!("{TOKEN}-{}", host.replace(':', "-"));
    stage.gitlab.require_login("group/project", "me", &token);
    for fault in faults {
        stage.gitlab.fault(fault.clone());
    }
    let secrets = [token.clone(), BASE64_STANDARD.encode(format!("me:{token}"))];
    let address = stage.url.replace("http://", &format!("http://me:{token}@"));

    stage.world.config("mirror.allowLoginInUrl", "true");
    let paused = stage.gitlab.pause(On::Fetch);
    let clone = stage.clone(&address, "ours").arg("--no-quiet").start();
    paused.reached();
    let shown = processes_with(&secrets);
    assert!(!shown.is_empty(), "git's own command line is found");
    for process in shown {
        let gits =
            process.contains("clone -q mirror::http") || process.contains("remote-mirror origin");
        assert!(gits, "only git itself shows what it was given: {process}");
    }
    paused.release();
    let cloned = clone.wait();
    assert!(cloned.status.success(), "{cloned}");
    let again = stage.world.git(["fetch"]).at("ours").ok();

    let list = stage.world.mirrord(["list", "--json"]).ok();
    let status = stage.world.mirrord(["status", "--json"]).ok();
    for ran in [cloned, again, list, status] {
        let output = format!("{}{}", ran.stdout, ran.stderr);
        assert!(
            !secrets.iter().any(|secret| output.contains(secret)),
            "{ran}"
        );
    }
    assert_eq!(listed(&stage.world, "url"), [stage.url.as_str()]);
    for dir in ["m", "home", "run", "tmp"] {
        let files = files_with(&stage.world.path(dir), &secrets);
        assert!(
            files.is_empty(),
            "nothing that we write has the token: {files:?}"
        );
    }
    ls_remote(&stage.world, &stage.url).code(128);
}

#[test]
fn a_token_in_an_address_is_written_nowhere_and_shown_to_nobody() {
    a_token_stays_where_git_puts_it(&[]);
}

#[test]
fn a_token_in_an_address_is_hidden_from_an_old_server_too() {
    a_token_stays_where_git_puts_it(&[Fault::old_protocol()]);
}
