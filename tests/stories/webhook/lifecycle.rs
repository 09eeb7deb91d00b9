//! On, off, and on again: where it listens, and what is said of it.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    time::{Duration, Instant},
};

use tests::{World, free_port};

use super::{Shown, webhook_off, webhook_on};
use crate::stage::Stage;

/// The addresses at which a process listens for anybody, as the system says it.
fn listens(pid: u32) -> Vec<String> {
    let sockets: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("it runs")
        .filter_map(|fd| fs::read_link(fd.ok()?.path()).ok())
        .map(|link| link.display().to_string())
        .collect();
    let mut found = Vec::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let path = format!("/proc/{pid}/net/{table}");
        let text = fs::read_to_string(Path::new(&path)).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<_> = line.split_whitespace().collect();
            let is_open = fields[3] == "0A" || table.starts_with("udp");
            if is_open && sockets.contains(&format!("socket:[{}]", fields[9])) {
                found.push(fields[1].to_owned());
            }
        }
    }
    found
}

/// At how many addresses the daemon listens.
fn ports(stage: &Stage) -> usize {
    listens(stage.world.daemon_pid().expect("it runs")).len()
}

fn config(world: &World, key: &str) -> String {
    world.mirrord(["config", key]).ok().line().to_owned()
}

#[test]
fn no_port_is_open_until_somebody_asks_for_it_and_none_after() {
    let stage = webhook_off();
    assert_eq!(ports(&stage), 0);
    let ran = stage.mirrord(&["webhook", "show", "project"]).code(2);
    insta::assert_snapshot!(ran.shown(), @"
    error: the webhook is off
    hint: 'mirrord webhook on' switches it on
    ");
    stage.mirrord(&["webhook", "on"]).ok();
    assert_eq!(ports(&stage), 1, "at once");
    let delivery = stage.delivery();
    assert_eq!(delivery.send().status, 202);
    stage.mirrord(&["webhook", "off"]).ok();
    assert_eq!(ports(&stage), 0);
    delivery.try_send().expect_err("nobody listens");
    stage.mirrord(&["stop"]).ok();
    stage.mirrord(&["list"]).ok();
    assert_eq!(ports(&stage), 0, "off is off for the next daemon too");
    stage.mirrord(&["webhook", "off"]).ok();
}

#[test]
fn a_port_is_chosen_once_and_kept_and_everybody_says_the_real_one() {
    let stage = webhook_on();
    let Shown { url, .. } = stage.webhook();
    let delivery = stage.delivery();
    let at = config(&stage.world, "webhook-listen");
    assert!(at.starts_with("127.0.0.1:") && !at.ends_with(":0"), "{at}");
    assert!(url.starts_with(&format!("http://{at}/hooks/")), "{url}");
    let says_it = |command: &[&str]| {
        let ran = stage.mirrord(command).ok();
        assert!(ran.stdout.contains(&at), "{ran}");
    };
    says_it(&["status"]);
    says_it(&["status", "--json"]);
    says_it(&["webhook", "on"]);
    says_it(&["webhook", "on", "--listen", "127.0.0.1:0"]);
    says_it(&["webhook", "on", "--json"]);
    for end in ["stop", "kill", "off"] {
        match end {
            "stop" => drop(stage.mirrord(&["stop"]).ok()),
            "kill" => stage.world.kill_daemon(),
            _ => {
                stage.mirrord(&["webhook", "off"]).ok();
                stage.mirrord(&["webhook", "on"]).ok();
            }
        }
        stage.mirrord(&["list"]).ok();
        says_it(&["webhook", "show", "project"]);
        assert_eq!(delivery.send().status, 202, "{end}");
    }
}

/// Takes five seconds: so long the daemon waits before it tries a port again.
#[test]
fn a_port_that_is_taken_is_said_so_and_taken_when_it_is_free() {
    let stage = webhook_off();
    let at = format!("127.0.0.1:{}", free_port());
    let other = TcpListener::bind(&at).expect("it is free");
    let ran = stage.mirrord(&["webhook", "on", "--listen", &at]).code(1);
    insta::assert_snapshot!(ran.shown(), @"
    error: cannot listen at 'gitlab.example': Address already in use
    hint: another program has the port; --listen gitlab.example takes one that is free
    ");
    assert_eq!(config(&stage.world, "webhook"), "no", "nothing has changed");
    // It was free when it was chosen, and is taken when the next daemon starts.
    drop(other);
    stage.mirrord(&["webhook", "on", "--listen", &at]).ok();
    stage.mirrord(&["stop"]).ok();
    let other = TcpListener::bind(&at).expect("nobody has it");
    stage.mirrord(&["list"]).ok();
    let ran = stage.mirrord(&["webhook", "show", "project"]).code(1);
    insta::assert_snapshot!(ran.shown(), @"
    error: the webhook is on, and cannot listen at 'gitlab.example': Address already in use
    hint: 'mirrord webhook on --listen ADDRESS:PORT' has it listen elsewhere
    ");
    stage.mirrord(&["sync", "project"]).ok();
    drop(other);
    let deadline = Instant::now() + Duration::from_secs(30);
    while stage
        .mirrord(&["webhook", "show", "project"])
        .run()
        .status
        .code()
        != Some(0)
    {
        assert!(Instant::now() < deadline, "it never takes the port");
    }
    assert_eq!(stage.delivery().send().status, 202);
}

#[test]
fn the_webhook_moves_to_another_address_keeps_its_hooks_and_prints_its_public_url() {
    let stage = webhook_on();
    let old = stage.delivery();
    let at = format!("127.0.0.1:{}", free_port());
    let public = "https://hooks.example/mirror/";
    let on = ["webhook", "on", "--listen", &at, "--public-url", public];
    let ran = stage.mirrord(&on).ok();
    insta::assert_snapshot!(ran.stdout.replace(&at, "[address]"), @"the webhook listens at http://[address], and others reach it at https://hooks.example/mirror/hooks/");
    old.try_send().expect_err("it has moved");
    let Shown { url, token } = stage.webhook();
    assert!(
        url.starts_with("https://hooks.example/mirror/hooks/"),
        "{url}"
    );
    let id = url.rsplit('/').next().expect("an id");
    let local_url = format!("http://{at}/hooks/{id}");
    let delivery = old.to(&local_url).token(&token);
    assert_eq!(delivery.send().status, 202);
    assert_eq!(delivery.header("Host", "hooks.example").send().status, 202);
    stage.mirrord(&["webhook", "on", "--public-url", ""]).ok();
    assert_eq!(stage.webhook().url, local_url);
}

#[test]
fn invalid_options_of_webhook_on_are_refused_and_change_nothing() {
    let stage = webhook_on();
    let before = stage.webhook().url;
    let missing = stage.world.path("missing.pem").display().to_string();
    let table: [(&[&str], i32); 8] = [
        (&["--listen", "localhost:80"], 2),
        (&["--listen", "127.0.0.1"], 2),
        (&["--listen", "8080"], 2),
        (&["--public-url", "hooks.example"], 2),
        (&["--public-url", "ftp://hooks.example"], 2),
        (&["--public-url", "https://me:hunter2@hooks.example"], 2),
        (&["--tls-cert", "cert.pem"], 2),
        (&["--tls-cert", &missing, "--tls-key", &missing], 1),
    ];
    let refusals = table.map(|(options, code)| {
        let ran = stage.mirrord(&["webhook", "on"]).args(options).code(code);
        ran.shown()
    });
    insta::assert_snapshot!(refusals.concat(), @"
    error: 'gitlab.example' is not a value of 'webhook-listen'
    hint: it may be an address and a port, as in 'gitlab.example', '0.0.0.0:8080' or 'gitlab.example'
    error: '127.0.0.1' is not a value of 'webhook-listen'
    hint: it may be an address and a port, as in 'gitlab.example', '0.0.0.0:8080' or 'gitlab.example'
    error: '8080' is not a value of 'webhook-listen'
    hint: it may be an address and a port, as in 'gitlab.example', '0.0.0.0:8080' or 'gitlab.example'
    error: 'hooks.example' is not a value of 'webhook-public-url'
    hint: it may be the beginning of a URL without a login, as in 'https://hooks.example'
    error: 'ftp://hooks.example' is not a value of 'webhook-public-url'
    hint: it may be the beginning of a URL without a login, as in 'https://hooks.example'
    error: 'https://me:hunter2@hooks.example' is not a value of 'webhook-public-url'
    hint: it may be the beginning of a URL without a login, as in 'https://hooks.example'
    error: the following required arguments were not provided:
      --tls-key <FILE>

    Usage: mirrord webhook on --tls-cert <FILE> --tls-key <FILE>

    For more information, try '--help'.
    error: cannot use the certificate '/world/missing.pem': No such file or directory
    ");
    assert_eq!(stage.webhook().url, before);
    assert_eq!(stage.delivery().send().status, 202);
    stage.mirrord(&["webhook", "show", "nobody"]).code(1);
    stage.mirrord(&["webhook"]).code(2);
}

#[test]
fn every_subcommand_of_webhook_has_a_help() {
    let world = World::new();
    for part in ["on", "off", "show", "secret", "register", "check"] {
        let help = world.mirrord(["webhook", part, "--help"]).ok();
        let example = format!("    mirrord webhook {part}");
        assert!(help.stdout.contains(&example), "{help}");
    }
    assert_eq!(world.daemon_pid(), None, "nobody is started for that");
}
