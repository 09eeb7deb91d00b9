//! The file of the log: it outlives the daemon, its size has a limit, and damaged entries are left out.

use std::{
    fs::{self, File},
    io::Write,
};

use super::cloned;

/// How long each of the two files may become, in bytes.
const FULL: u64 = 16 * 1024 * 1024;

#[test]
fn the_log_outlives_a_kill_and_a_stop_of_the_daemon() {
    let stage = cloned();
    stage.commit("ours", "file-1");
    stage.ours(&["push", "-q", "origin", "main"]).ok();
    let before = stage.log(&[]);
    assert_eq!(before.len(), 4, "{before:?}");
    stage.world.kill_daemon();
    assert_eq!(stage.log(&[]), before);
    stage.mirrord(&["stop"]).ok();
    stage.ours(&["fetch", "-q"]).ok();
    let after = stage.log(&[]);
    assert_eq!(after[..4], before);
    assert_eq!(after[4..], ["project sync (fetch) unchanged"]);
}

#[test]
fn a_torn_entry_or_one_of_another_version_is_left_out_and_no_other() {
    let stage = cloned();
    let ours = fs::read_to_string(stage.journal()).expect("text");
    let other = ours.replace("\"form\":1", "\"form\":2");
    assert_ne!(ours, other);
    let append = |bytes: &[u8]| {
        let mut file = File::options()
            .append(true)
            .open(stage.journal())
            .expect("ours");
        file.write_all(bytes).expect("the world is ours");
    };
    append(other.as_bytes());
    append(&[0xff, 0, 1, b'\n']);
    append(&ours.as_bytes()[..50]);
    stage.ours(&["fetch", "-q"]).ok();
    append(&[0; 300]);
    stage.ours(&["fetch", "-q"]).ok();
    let lines = stage.log(&[]);
    assert_eq!(lines.len(), 4, "{lines:?}");
}

#[test]
fn the_log_does_not_grow_beyond_its_limit() {
    let stage = cloned();
    let old = stage.world.mirror_home().join("journal.old");
    let ours = fs::read(stage.journal()).expect("ours");
    for round in 0..3 {
        // As if that had been written while many mirrors synced.
        let room = usize::try_from(FULL).expect("it fits") / ours.len();
        fs::write(stage.journal(), ours.repeat(room)).expect("the world is ours");
        stage.ours(&["fetch", "-q"]).ok();
        stage.ours(&["fetch", "-q"]).ok();
        let sizes = [stage.journal(), old.clone()].map(|path| {
            let found = fs::metadata(path).expect("it is there");
            found.len()
        });
        assert!(sizes.iter().all(|size| *size <= FULL), "{round}: {sizes:?}");
        assert!(sizes[0] < 1000, "{round}: {sizes:?}");
        let last = stage.log(&["-n", "3"]);
        assert_eq!(last[1..], ["project sync (fetch) unchanged"; 2], "{last:?}");
    }
    let files = fs::read_dir(stage.world.mirror_home()).expect("ours");
    let names = files.map(|file| file.expect("readable").file_name());
    let journals = names.filter(|name| name.to_string_lossy().starts_with("journal"));
    assert_eq!(journals.count(), 2);
}

#[test]
fn if_the_log_cannot_be_written_all_else_works_and_one_line_says_so() {
    let stage = cloned();
    fs::remove_file(stage.journal()).expect("it is there");
    fs::create_dir(stage.journal()).expect("the world is ours");
    for _ in 0..3 {
        stage.ours(&["fetch", "-q"]).ok();
    }
    stage.commit("ours", "file-2");
    stage.ours(&["push", "-q", "origin", "main"]).ok();
    let ran = stage.mirrord(&["log"]).code(1);
    assert!(
        ran.stderr.starts_with("error: cannot read what happened: "),
        "{ran}"
    );
    stage.mirrord(&["stop"]).ok();
    let log = stage.world.log();
    assert_eq!(
        log.matches("cannot write to the journal '").count(),
        1,
        "{log}"
    );
    fs::remove_dir(stage.journal()).expect("it is empty");
    stage.ours(&["fetch", "-q"]).ok();
    assert_eq!(stage.log(&[]), ["project sync (fetch) unchanged"]);
}
