//! The progress of a download in git's own format; a download that nobody waits for any more ends.

use tests::{Fault, On, Request, Run, Running, Signal};

use crate::stage::Stage;

/// A project whose download stands still in the middle until the faults are cleared.
///
/// Progress that a client shows during this pause comes from the daemon: git itself has received nothing yet.
fn stuck() -> Stage {
    let stage = Stage::new(|project| project.history(300));
    // Nothing but what a test does ends the wait.
    stage.world.config("http.lowSpeedTime", "600");
    stage.clone_plain("-q", "plain").ok();
    stage.stick();
    stage
}

impl Stage {
    /// Pauses the next download at half of the last one.
    fn stick(&self) {
        let requests = self.gitlab.requests();
        let last = requests.last().expect("something was downloaded");
        let half = Fault::hang_after(last.response_bytes / 2).on(On::Fetch);
        self.gitlab.fault(half);
        self.gitlab.forget_requests();
    }

    fn clone_plain(&self, option: &str, dir: &str) -> Run {
        self.world.git(["clone", option, &self.url, dir])
    }

    /// Prepares a clone through the mirror that is not quiet by itself.
    fn clone_with(&self, option: &str, dir: &str) -> Run {
        let address = format!("mirror::{}", self.url);
        self.world.git(["clone", option, &address, dir])
    }

    /// The number of objects that upstream has.
    fn objects_upstream(&self) -> usize {
        let listed = self.project.git(["rev-list", "--objects", "--all"]).ok();
        listed.stdout.lines().count()
    }

    /// Starts a clone and waits until it shows that the download is on its way.
    fn watched(&self, dir: &str) -> Running {
        let clone = self.clone_with("--progress", dir).start();
        clone.printed("Receiving objects:");
        clone
    }

    fn downloads(&self) -> Vec<Request> {
        let mut requests = self.gitlab.requests();
        requests.retain(|request| request.body_text().contains("command=fetch"));
        requests
    }
}

/// Returns what stood on a line at some time; a line that is drawn again counts each time.
fn drawn<'t>(text: &'t str, title: &str) -> Vec<&'t str> {
    let pieces = text.split(['\r', '\n']).map(str::trim_end);
    pieces.filter(|piece| piece.starts_with(title)).collect()
}

/// Takes `Receiving objects:  45% (450/1000), 1.20 MiB | 2.00 MiB/s, done.` apart as git's
/// `progress.c` puts it together; returns the count and whether it is done.
#[track_caller]
fn counted(line: &str, of: usize) -> (usize, bool) {
    let parse = || {
        let rest = line.strip_prefix("Receiving objects: ")?;
        let (percent, rest) = rest.split_once("% (")?;
        let (done, rest) = rest.split_once('/')?;
        let rest = rest.strip_prefix(&of.to_string())?.strip_prefix(')')?;
        let done: usize = done.parse().ok()?;
        let (rest, ended) = match rest.strip_suffix(", done.") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let is_size = |text: &str| match text.split_once(' ') {
            Some((number, "bytes")) => number.parse::<u32>().is_ok(),
            Some((number, "KiB" | "MiB")) => number
                .split_once('.')
                .is_some_and(|(_, rest)| rest.len() == 2),
            _ => false,
        };
        let throughput = match rest.strip_prefix(", ") {
            None => rest.is_empty(),
            Some(sizes) => match sizes.split_once(" | ") {
                None => is_size(sizes),
                Some((size, rate)) => is_size(size) && rate.strip_suffix("/s").is_some_and(is_size),
            },
        };
        let expected = format!("{:3}", done * 100 / of);
        (percent == expected && throughput).then_some((done, ended))
    };
    parse().unwrap_or_else(|| panic!("not in git's format, of {of} objects: {line:?}"))
}

#[test]
fn a_download_is_shown_in_gits_own_format() {
    let stuck = stuck();
    let clone = stuck.watched("ours");
    stuck.gitlab.clear_faults();
    let ran = clone.wait();
    assert!(ran.status.success(), "{ran}");
    let lines = drawn(&ran.stderr, "Receiving objects:");
    let objects = stuck.objects_upstream();
    let counts: Vec<_> = lines.iter().map(|line| counted(line, objects)).collect();
    let half = |(done, ended): &(usize, bool)| *done > 0 && *done < objects && !ended;
    assert!(counts.iter().any(half), "half of it was seen: {ran}");
    assert!(
        counts.contains(&(objects, true)),
        "it ends with 'done': {ran}"
    );
}

#[test]
fn upstreams_own_words_are_shown_as_it_wrote_them() {
    let stuck = stuck();
    let clone = stuck.watched("ours");
    stuck.gitlab.clear_faults();
    let (ours, plain) = (clone.wait(), stuck.clone_plain("--progress", "again").ok());
    // What follows the first object is either of the mirror's own, or comes at any time.
    let messages = |text: &str| -> Vec<String> {
        let (before, _) = text.split_once("Receiving objects:").unwrap_or_default();
        let stays = before.lines().filter_map(|line| line.rsplit('\r').next());
        stays.map(|line| line.trim_end().to_owned()).collect()
    };
    let expected = messages(&plain.stderr.replace("'again'", "'ours'"));
    assert_eq!(messages(&ours.stderr), expected, "as in a plain clone");
}

#[test]
fn every_waiting_client_sees_the_one_download() {
    let stuck = stuck();
    let clones = [stuck.watched("one"), stuck.watched("two")];
    assert_eq!(stuck.downloads().len(), 1, "upstream serves it once");
    stuck.gitlab.clear_faults();
    for clone in clones {
        let ran = clone.wait();
        assert!(ran.status.success(), "{ran}");
        let lines = drawn(&ran.stderr, "Receiving objects: 100%");
        assert!(!lines.is_empty(), "it saw the end: {ran}");
    }
    assert_eq!(stuck.downloads().len(), 1, "upstream serves it once");
}

#[test]
fn a_download_is_silent_where_git_is() {
    let stuck = stuck();
    let watched = stuck.watched("watched");
    let quiet = stuck.clone(&stuck.url, "quiet").start();
    // Not a terminal, and nobody said --progress.
    let piped = stuck.clone_with("--no-tags", "piped").start();
    stuck.world.wait_until_clients(3);
    stuck.gitlab.clear_faults();
    assert_eq!(quiet.wait().stderr, "");
    assert_eq!(piped.wait().stderr, "Cloning into 'piped'...\n");
    watched.wait();
}

#[test]
fn an_update_is_shown_as_well() {
    let stuck = stuck();
    stuck.gitlab.clear_faults();
    stuck.clone(&stuck.url, "ours").ok();
    stuck.project.history(300);
    stuck.world.git(["fetch", "-q"]).at("plain").ok();
    stuck.stick();
    let fetch = stuck.world.git(["fetch", "--progress"]).at("ours").start();
    fetch.printed("Receiving objects:");
    stuck.gitlab.clear_faults();
    let ran = fetch.wait();
    assert!(ran.status.success(), "{ran}");
}

#[test]
fn a_silent_upstream_is_named_while_it_is_waited_for() {
    let stuck = stuck();
    stuck.gitlab.clear_faults();
    stuck.gitlab.fault(Fault::hang_before_headers());
    let clone = stuck.clone_with("--progress", "ours").start();
    clone.printed("Asking 127.0.0.1");
    let quiet = stuck.clone(&stuck.url, "quiet").start();
    stuck.world.wait_until_clients(2);
    stuck.gitlab.clear_faults();
    assert!(clone.wait().status.success());
    assert_eq!(quiet.wait().stderr, "", "not to those who did not ask");
}

#[test]
fn ctrl_c_of_the_only_client_ends_the_download_and_leaves_nothing() {
    let stuck = stuck();
    let clone = stuck.watched("ours");
    assert_ne!(stuck.world.mirrors(), [""; 0], "it has begun");
    clone.kill_group(Signal::INT);
    assert!(!clone.wait().status.success());
    stuck
        .gitlab
        .wait_for(|requests| requests.iter().any(|request| request.cancelled));
    stuck.gitlab.clear_faults();
    // The next of this mirror comes after the last has ended, whatever it comes to.
    stuck.gitlab.fault(Fault::status(404));
    stuck.clone(&stuck.url, "ours").fails();
    assert_eq!(stuck.world.mirrors(), [""; 0], "nothing is left");
    stuck.gitlab.clear_faults();
    stuck.clone(&stuck.url, "ours").ok();
}

#[test]
fn of_two_waiting_clients_one_may_go_and_the_other_gets_its_clone() {
    for first_goes in [true, false] {
        let stuck = stuck();
        let (first, second) = (stuck.watched("first"), stuck.watched("second"));
        let (goes, stays) = match first_goes {
            true => (first, second),
            false => (second, first),
        };
        goes.kill_group(Signal::INT);
        goes.wait();
        stuck.world.wait_until_clients(1);
        stuck.gitlab.clear_faults();
        let ran = stays.wait();
        assert!(ran.status.success(), "{ran}");
        let downloads = stuck.downloads();
        assert!(
            downloads.len() == 1 && downloads[0].finished,
            "{downloads:?}"
        );
    }
}

#[test]
fn a_clone_that_is_linked_shows_the_files_that_it_is_handed() {
    let stage = Stage::new(|project| project.history(3)).with_ours();
    for (dir, option) in [("whole", "--no-checkout"), ("part", "--single-branch")] {
        let ran = stage.clone_with("--progress", dir).arg(option).ok();
        let shown = drawn(&ran.stderr, "Linking files:").pop();
        let is_whole =
            |shown: &str| shown.starts_with("Linking files: 100% (") && shown.ends_with("), done.");
        assert!(shown.is_some_and(is_whole), "{ran}");
    }
    let silent = stage.clone_with("--no-checkout", "silent").ok();
    assert_eq!(silent.stderr, "Cloning into 'silent'...\n");
}
