//! The server program of git at upstream: over ssh as git itself would run it, or on this machine.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use common::{
    address::upstream_url::{Scheme, UpstreamUrl},
    git::{
        self, child_log,
        ssh::{self, Variant},
    },
    progress::tell,
    protocol::Failure,
    text::{masked, shell_quoted},
};

use crate::invocation::Invocation;

/// The command that runs the service at upstream, or the program that the person has named for it.
///
/// # Errors
/// Fails where the user's ssh cannot be told what the address says.
pub(super) fn command(
    invocation: &Invocation,
    url: &UpstreamUrl,
    service: &str,
) -> Result<Command, Failure> {
    let program = invocation.options.server_program.as_deref();
    let program = program.unwrap_or(service);
    let mut command = match url.scheme() {
        Scheme::Ssh => over_ssh(invocation, url, program)?,
        _ => {
            let mut shell = git::as_user("sh");
            let path = url.file_path().map(Path::to_string_lossy);
            let path = shell_quoted(&path.unwrap_or_default());
            git::leave_repository(&mut shell).args(["-c", &format!("{program} {path}")]);
            shell
        }
    };
    // Only this one speaks version 2, and every git since 2.18 does.
    match service {
        "git-upload-pack" => command.env("GIT_PROTOCOL", "version=2"),
        _ => command.env_remove("GIT_PROTOCOL"),
    };
    Ok(command)
}

/// The user's ssh with the arguments that git gives to one of its kind: `push_ssh_options()` in git's connect.c.
fn over_ssh(invocation: &Invocation, url: &UpstreamUrl, program: &str) -> Result<Command, Failure> {
    let client = ssh::Client::new(&invocation.config.client_context());
    let family = match invocation.options.family.as_deref() {
        Some("ipv4") => Some("-4"),
        Some("ipv6") => Some("-6"),
        _ => None,
    };
    let port = ssh::port(url);
    let remote = format!(
        "{program} {}",
        shell_quoted(url.ssh_path().unwrap_or_default())
    );
    let end = [ssh::destination(url), remote];
    let openssh = |end: &[String]| -> Vec<String> {
        let protocol = ["-o".to_owned(), "SendEnv=GIT_PROTOCOL".to_owned()];
        let family = family.map(str::to_owned);
        let port = port.map(|port| ["-p".to_owned(), port.to_string()]);
        let options = protocol.into_iter().chain(family);
        let options = options.chain(port.into_iter().flatten());
        options.chain(end.iter().cloned()).collect()
    };
    let is_openssh = match client.variant {
        Variant::OpenSsh => true,
        // git finds out what it is by an option of OpenSSH's.
        Variant::Unknown => {
            let destination = openssh(&end[..1]);
            let args = ["-G".to_owned()].into_iter().chain(destination);
            let mut probe = client.of_user(args);
            probe.stdout(Stdio::null()).stderr(Stdio::null());
            child_log::status(&mut probe).is_ok_and(|status| status.success())
        }
        Variant::Other(_) => false,
    };
    if is_openssh {
        return Ok(client.of_user(openssh(&end)));
    }
    let name = match &client.variant {
        Variant::Other(name) => name.as_str(),
        _ => "simple",
    };
    let unsupported = |what: &str| {
        let message = format!("ssh variant '{name}' does not support {what}");
        Err(Failure::here(message))
    };
    let mut args = Vec::new();
    match (name, family) {
        ("simple", Some(family)) => return unsupported(family),
        (_, family) => args.extend(family.map(str::to_owned)),
    }
    if name == "tortoiseplink" {
        args.push("-batch".to_owned());
    }
    match (name, port) {
        ("simple", Some(_)) => return unsupported("setting port"),
        (_, port) => args.extend(
            port.into_iter()
                .flat_map(|port| ["-P".into(), port.to_string()]),
        ),
    }
    args.extend(end);
    Ok(client.of_user(args))
}

/// Shows a line of the program's stderr, made safe for a terminal.
pub(super) fn show_line(line: &[u8]) {
    tell(&masked(line));
}
