//! Ctrl-C: ends all that was started, removes what was made outside of `target/`, and ends this program.

use std::{
    fs, io, panic,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use parking_lot::Mutex;
use tests::kill_all;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

/// What a shell says of a program that Ctrl-C has ended.
const INTERRUPTED: i32 = 130;

static STOPPING: AtomicBool = AtomicBool::new(false);
static MADE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes this directory, too, when the program is interrupted, and kills whoever mentions it.
pub(crate) fn also_remove(dir: &Path) {
    let mut made = MADE.lock();
    made.push(dir.to_path_buf());
}

/// Waits for Ctrl-C, or a request to end, in the background.
pub(crate) fn listen() -> io::Result<()> {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        // What fails now has been killed, and whoever needed it must not start anything any more.
        stop_here_if_stopping();
        usual(info);
    }));
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::spawn(move || {
        runtime.block_on(async {
            let both = (
                signal(SignalKind::interrupt()),
                signal(SignalKind::terminate()),
            );
            if let (Ok(mut interrupt), Ok(mut terminate)) = both {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                end();
            }
        });
    });
    Ok(())
}

/// Goes no further once the program is being ended.
pub(crate) fn stop_here_if_stopping() {
    while STOPPING.load(Ordering::SeqCst) {
        thread::park();
    }
}

fn end() {
    STOPPING.store(true, Ordering::SeqCst);
    let made = MADE.lock();
    let dirs: Vec<_> = made.iter().map(PathBuf::as_path).collect();
    kill_all(&dirs);
    for dir in dirs {
        let _ = fs::remove_dir_all(dir);
    }
    process::exit(INTERRUPTED);
}
