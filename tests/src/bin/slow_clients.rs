//! Clients that keep connections to themselves: `cargo run --release -p tests --bin slow_clients -- [IDLE [DRIBBLING
//! [SECONDS]]]` opens so many that say nothing (1,000) and so many that say a byte now and then (1,000), half of them
//! about their headers and half about a body, and opens each again a second after it was closed. Meanwhile (30 s) a real
//! delivery is sent four times a second, and `mirrord status` asked once.
//!
//! The exit code is 1 when a real one was not taken within a second.

use std::{
    fs,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tests::{Delivery, World};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

/// A byte of a dribbling client.
const BYTE: Duration = Duration::from_millis(200);

/// A closed connection is opened again after this.
const AGAIN: Duration = Duration::from_secs(1);

/// A real delivery must be taken within this.
const QUICK: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Count {
    open: AtomicUsize,
    most: AtomicUsize,
    opened: AtomicUsize,
}

#[expect(clippy::print_stdout, reason = "this is what the person came for")]
fn main() -> ExitCode {
    let numbers: Result<Vec<usize>, _> = std::env::args().skip(1).map(|it| it.parse()).collect();
    let (idle, dribbling, seconds) = match numbers.as_deref() {
        Ok([]) => (1000, 1000, 30),
        Ok([idle]) => (*idle, 1000, 30),
        Ok([idle, dribbling]) => (*idle, *dribbling, 30),
        Ok([idle, dribbling, seconds]) => (*idle, *dribbling, *seconds),
        _ => {
            println!("usage: slow_clients [IDLE [DRIBBLING [SECONDS]]]");
            return ExitCode::from(2);
        }
    };
    raise_limits();
    let world = World::new();
    let gitlab = world.gitlab();
    gitlab.project("group/project").history(3);
    let url = gitlab.url("group/project");
    world.mirrord(["add", "project", &url, "--quiet"]).ok();
    world.mirrord(["webhook", "on"]).ok();
    let shown = world.mirrord(["webhook", "show", "project", "--json"]).ok();
    let shown: Value = serde_json::from_str(&shown.stdout).expect("JSON");
    let text = |key: &str| shown[key].as_str().expect("text").to_owned();
    let (url, token) = (text("url"), text("secret_token"));
    let delivery = Delivery::of_gitlab(&url, "Push Hook", "{}").token(&token);
    let pid = world.daemon_pid().expect("it runs");
    let before = memory(pid, "VmRSS:");

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a thread can be started");
    let count = Arc::new(Count::default());
    let address = url.split('/').nth(2).expect("a host").to_owned();
    let head = delivery.clone().header("Content-Length", "1000000").head();
    for number in 0..idle + dribbling {
        let (start, rest) = match number {
            number if number < idle => (String::new(), false),
            number if number % 2 == 0 => ("POST /hooks/".to_owned(), true),
            _ => (head.clone(), true),
        };
        runtime.spawn(linger(address.clone(), start, rest, count.clone()));
    }
    let began = Instant::now();
    let (mut took, mut odd, mut status) = (Vec::new(), 0, Duration::ZERO);
    while began.elapsed() < Duration::from_secs(seconds as u64) {
        let sent = Instant::now();
        match delivery.try_send() {
            Ok(answer) if answer.status == 202 => took.push(sent.elapsed()),
            _ => odd += 1,
        }
        if took.len() % 4 == 0 {
            let asked = Instant::now();
            world.mirrord(["status"]).ok();
            status = status.max(asked.elapsed());
        }
        thread::sleep(Duration::from_millis(250));
    }
    runtime.shutdown_background();
    took.sort();
    let of = |hundredths: usize| {
        let at = took.len().saturating_sub(1) * hundredths / 100;
        took.get(at).copied().unwrap_or(Duration::MAX).as_secs_f64() * 1000.0
    };
    println!(
        "{idle} idle and {dribbling} dribbling clients opened {} connections in {seconds} s, {} at once",
        count.opened.load(Ordering::Relaxed),
        count.most.load(Ordering::Relaxed)
    );
    println!("real deliveries: {} taken, {odd} not", took.len());
    println!(
        "answered after: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        of(50),
        of(99),
        of(100)
    );
    println!(
        "the slowest 'mirrord status': {:.0} ms",
        status.as_secs_f64() * 1000.0
    );
    println!(
        "daemon's memory: {} MiB before, {} MiB at its highest",
        before / 1024,
        memory(pid, "VmHWM:") / 1024
    );
    let good = odd == 0 && took.last().is_some_and(|slowest| *slowest < QUICK);
    ExitCode::from(u8::from(!good))
}

/// Opens a connection again and again, and says as little as it can.
async fn linger(address: String, start: String, dribbles: bool, count: Arc<Count>) {
    loop {
        if let Ok(mut stream) = TcpStream::connect(&address).await {
            count.opened.fetch_add(1, Ordering::Relaxed);
            let open = count.open.fetch_add(1, Ordering::Relaxed) + 1;
            count.most.fetch_max(open, Ordering::Relaxed);
            // It may be closed by now.
            let _ = stream.write_all(start.as_bytes()).await;
            let mut answer = [0; 256];
            loop {
                match timeout(BYTE, stream.read(&mut answer)).await {
                    Ok(Ok(0) | Err(_)) => break,
                    Ok(Ok(_)) => {}
                    Err(_) if !dribbles => {}
                    Err(_) if stream.write_all(b"x").await.is_err() => break,
                    Err(_) => {}
                }
            }
            count.open.fetch_sub(1, Ordering::Relaxed);
        }
        sleep(AGAIN).await;
    }
}

/// A line of what the kernel says of a process, in KiB.
fn memory(pid: u32, name: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with(name));
    let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    number.unwrap_or_default()
}

/// Two thousand connections need more descriptors than the customary soft limit.
fn raise_limits() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let _ = setrlimit(Resource::Nofile, raised);
}
