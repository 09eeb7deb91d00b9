//! Runs a command so many times at once and prints what that took, as JSON: `timed COUNT PROGRAM [ARGUMENT]…`, in whose
//! arguments `{}` is the number of each. `wall` is from the first start to the last end, `cpu` the processor time of all,
//! both in seconds, and `peak` the most memory that one process of them had, in KiB.
//!
//! A program of its own, because the kernel counts as a child's memory what its parent had when it was started. The exit
//! code is 1 when one of them failed, and stderr is theirs.

use std::{
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use wait4::Wait4;

#[expect(clippy::print_stdout, reason = "this is what the bench came for")]
fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let Some((count, [program, args @ ..])) = args.split_first() else {
        println!("usage: timed COUNT PROGRAM [ARGUMENT]...");
        return ExitCode::from(2);
    };
    let mut commands: Vec<_> = (0..count.parse().unwrap_or(1))
        .map(|number: usize| {
            let mut command = Command::new(program);
            let args = args
                .iter()
                .map(|arg| arg.replace("{}", &number.to_string()));
            command.args(args);
            command.stdin(Stdio::null()).stdout(Stdio::null());
            command
        })
        .collect();
    let began = Instant::now();
    let children: Vec<_> = commands.iter_mut().map(Command::spawn).collect();
    let (mut good, mut processor, mut peak) = (true, Duration::ZERO, 0);
    for child in children {
        let Ok(ended) = child.and_then(|child| child.wait4()) else {
            good = false;
            continue;
        };
        good &= ended.status.success();
        processor += ended.rusage.utime + ended.rusage.stime;
        peak = peak.max(ended.rusage.maxrss);
    }
    let wall = began.elapsed().as_secs_f64();
    println!(
        r#"{{"wall":{wall},"cpu":{},"peak":{}}}"#,
        processor.as_secs_f64(),
        peak / 1024
    );
    ExitCode::from(u8::from(!good))
}
