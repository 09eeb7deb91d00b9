//! Asks the user's ssh whether it is OpenSSH, and what its configuration is for a host (`ssh -G`).

use crate::{
    process::{
        child,
        watch::{Watch, cancelled},
    },
    upstream::Trouble,
};
use std::{io, process::Stdio};

use common::{git::ssh::Variant, protocol::Failure};

use super::{ConnectionKey, stderr};

/// The part of ssh's configuration for one connection that matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClientConfig {
    /// Whether ssh takes OpenSSH's options.
    pub is_openssh: bool,
    /// Whether the configuration shares connections in its own way, or has ssh print what it does, which a kept connection
    /// would go on to print to nobody. That none is to be shared cannot be told from `ssh -G`; the command can say it, and
    /// wins: `ssh -o ControlPath=none`.
    pub sets_control: bool,
    /// Whether the configuration sets `ConnectTimeout`.
    pub sets_timeout: bool,
    /// Whether the configuration sets `ServerAliveInterval`.
    pub sets_alive: bool,
    /// The whole output of `ssh -G`.
    pub configuration: String,
}

/// Runs `ssh -G`, which connects to nobody.
pub(super) fn read(connection: &ConnectionKey, watch: &Watch) -> Result<ClientConfig, Trouble> {
    let nothing = ClientConfig {
        is_openssh: false,
        sets_control: true,
        sets_timeout: false,
        sets_alive: false,
        configuration: String::new(),
    };
    if let Variant::Other(_) = connection.client.variant {
        return Ok(nothing);
    }
    let args = ["-G".to_owned()]
        .into_iter()
        .chain(connection.port())
        .chain([connection.destination.clone()]);
    let mut command = connection.client.fenced(args, &connection.environment);
    command.stdout(Stdio::piped());
    let failed = |err: io::Error| match err.kind() {
        io::ErrorKind::NotFound => stderr::not_found(),
        _ => Failure::io("cannot run ssh", &err),
    };
    let ended = child::run(command, Vec::new(), watch).map_err(failed)?;
    if watch.is_cancelled() {
        return Err(cancelled().into());
    }
    if ended.status.code() == Some(stderr::NOT_FOUND) {
        return Err(stderr::not_found().into());
    }
    if ended.status.success() {
        return Ok(parse(&String::from_utf8_lossy(&ended.stdout)));
    }
    Ok(ClientConfig {
        // An OpenSSH before 6.8 has no `-G`, and takes the options.
        is_openssh: connection.client.variant == Variant::OpenSsh,
        ..nothing
    })
}

fn parse(configuration: &str) -> ClientConfig {
    let get = |key: &str| {
        let mut pairs = configuration
            .lines()
            .filter_map(|line| line.split_once(' '));
        pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
    };
    let is = |key: &str, default: &str| get(key).is_none_or(|value| value == default);
    ClientConfig {
        is_openssh: true,
        sets_control: !is("controlmaster", "false")
            || get("controlpath").is_some()
            || get("loglevel").is_some_and(|level| level.starts_with("DEBUG")),
        sets_timeout: !is("connecttimeout", "none"),
        sets_alive: !is("serveraliveinterval", "0"),
        configuration: configuration.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_has_configured_is_found() {
        let plain = "host h\ncontrolmaster false\nconnecttimeout none\nserveraliveinterval 0\n";
        let config = parse(plain);
        assert!(
            config.is_openssh && !config.sets_control && !config.sets_timeout && !config.sets_alive
        );
        assert!(parse(&plain.replace("controlmaster false", "controlmaster auto")).sets_control);
        assert!(parse(&format!("{plain}controlpath /tmp/%C\n")).sets_control);
        assert!(parse(&format!("{plain}loglevel DEBUG\n")).sets_control);
        assert!(!parse(&format!("{plain}loglevel INFO\n")).sets_control);
        assert!(parse(&plain.replace("connecttimeout none", "connecttimeout 5")).sets_timeout);
        assert!(parse(&plain.replace("interval 0", "interval 60")).sets_alive);
    }
}
