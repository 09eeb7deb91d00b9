//! git's own traces, read while git runs: they tell what git's progress and curl's limits do not.
//!
//! `GIT_TRACE_CURL` tells when curl waits for a connection. `http.lowSpeedLimit` holds only once there is one: for the
//! handshakes of TCP and TLS curl has five minutes (`DEFAULT_CONNECT_TIMEOUT` in its lib/connect.h), and git's http.c sets
//! no `CURLOPT_CONNECTTIMEOUT`. `GIT_TRACE_PACKET` tells what a server behind ssh sends to a push, signs of life
//! (`receive.keepAlive`) included, which git's progress leaves out; ssh's `ServerAliveInterval` is answered by sshd, also
//! where the git that it started hangs.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    ops::ControlFlow,
};

/// What one line of a trace tells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TraceEvent {
    /// curl tries to connect.
    Connecting,
    /// curl is connected, and sends a request.
    Connected,
    /// Upstream has sent a packet to a push.
    Packet,
    /// Upstream has sent a flush packet to a push: the advertisement of its refs, or its report, is complete.
    Flush,
    /// git has sent the commands of a push.
    CommandsSent,
}

impl TraceEvent {
    /// Reads a line of a trace. The server program of an upstream on this machine traces its own side into the same pipe,
    /// under other names.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        if let Some((_, info)) = line.split_once("== Info:") {
            let is_connecting = info.trim_start().starts_with("Trying ");
            return is_connecting.then_some(Self::Connecting);
        }
        if let Some((_, header)) = line.split_once("=> Send header: ") {
            // A CONNECT asks a proxy for the connection, which is not there yet.
            return (!header.starts_with("CONNECT ")).then_some(Self::Connected);
        }
        let (_, packet) = line.split_once("packet:")?;
        match packet.trim() {
            "push< 0000" => Some(Self::Flush),
            "push> 0000" => Some(Self::CommandsSent),
            packet if packet.starts_with("push<") || packet.starts_with("sideband<") => {
                Some(Self::Packet)
            }
            _ => None,
        }
    }
}

/// Reads a trace to its end. `on_event` gets each event until it breaks.
pub(crate) fn read(pipe: File, mut on_event: impl FnMut(TraceEvent) -> ControlFlow<()>) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    while let Ok(1..) = pipe.read_until(b'\n', &mut line) {
        let event = TraceEvent::parse(String::from_utf8_lossy(&line).trim_end());
        if event.is_some_and(|event| on_event(event).is_break()) {
            // A full pipe would block git.
            let _ = io::copy(&mut pipe, &mut io::sink());
        }
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_a_push_are_read_as_git_writes_them() {
        let packet = |text: &str| {
            let line = format!("23:19:09.399238 pkt-line.c:86           packet: {text}");
            TraceEvent::parse(&line)
        };
        assert_eq!(packet("    sideband< \\1"), Some(TraceEvent::Packet));
        assert_eq!(packet("        push< unpack ok"), Some(TraceEvent::Packet));
        assert_eq!(packet("        push< 0000"), Some(TraceEvent::Flush));
        assert_eq!(packet("        push> 0000"), Some(TraceEvent::CommandsSent));
        assert_eq!(packet("receive-pack< 0000"), None);
        assert_eq!(packet("receive-pack> push< 0000"), None);
    }

    #[test]
    fn curls_connections_are_read_as_git_writes_them() {
        let curl =
            |text: &str| TraceEvent::parse(&format!("23:19:09.4 http.c:879              {text}"));
        assert_eq!(
            curl("== Info:   Trying 127.0.0.1:80..."),
            Some(TraceEvent::Connecting)
        );
        assert_eq!(curl("== Info: Connected to h"), None);
        assert_eq!(curl("=> Send header: CONNECT h:443 HTTP/1.1"), None);
        assert_eq!(
            curl("=> Send header: GET /p/info/refs HTTP/1.1"),
            Some(TraceEvent::Connected)
        );
    }
}
