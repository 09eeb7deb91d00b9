//! git's own traces, read while git runs: they tell what git's progress and curl's limits do not.
//!
//! `GIT_TRACE_CURL` tells when curl waits for a connection. `http.lowSpeedLimit` holds only once there is one: for TCP's
//! and TLS's handshakes curl has five minutes (`DEFAULT_CONNECT_TIMEOUT` of its lib/connect.h), and git's http.c sets no
//! `CURLOPT_CONNECTTIMEOUT`. `GIT_TRACE_PACKET` tells what a server behind ssh says to a push, signs of life
//! (`receive.keepAlive`) included, which git's progress leaves out; ssh's `ServerAliveInterval` is answered by sshd, also
//! where the git that it started hangs.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    ops::ControlFlow,
};

/// What one line of a trace tells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// curl asks for a connection.
    Connects,
    /// curl has the connection, and sends.
    Connected,
    /// Upstream said something to a push.
    Heard,
    /// Upstream has come to the end of something that it says to a push.
    Paused,
    /// git has told a push's upstream which refs are to change.
    CommandsSent,
}

impl Event {
    /// Reads a line of a trace. A repository on this machine traces its own end into the same pipe.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        if let Some((_, info)) = line.split_once("== Info:") {
            let connects = info.trim_start().starts_with("Trying ");
            return connects.then_some(Self::Connects);
        }
        if let Some((_, header)) = line.split_once("=> Send header: ") {
            // To a proxy it is only the wish for a connection.
            return (!header.starts_with("CONNECT ")).then_some(Self::Connected);
        }
        let (_, packet) = line.split_once("packet:")?;
        match packet.trim() {
            "push< 0000" => Some(Self::Paused),
            "push> 0000" => Some(Self::CommandsSent),
            packet if packet.starts_with("push<") || packet.starts_with("sideband<") => {
                Some(Self::Heard)
            }
            _ => None,
        }
    }
}

/// Reads a trace to its end, and hands on what it tells for as long as somebody wants to know.
pub(crate) fn read(pipe: File, mut tell: impl FnMut(Event) -> ControlFlow<()>) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    while let Ok(1..) = pipe.read_until(b'\n', &mut line) {
        let event = Event::parse(String::from_utf8_lossy(&line).trim_end());
        if event.is_some_and(|event| tell(event).is_break()) {
            // What git still has to say must not block it.
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
            Event::parse(&line)
        };
        assert_eq!(packet("    sideband< \\1"), Some(Event::Heard));
        assert_eq!(packet("        push< unpack ok"), Some(Event::Heard));
        assert_eq!(packet("        push< 0000"), Some(Event::Paused));
        assert_eq!(packet("        push> 0000"), Some(Event::CommandsSent));
        assert_eq!(packet("receive-pack< 0000"), None);
        assert_eq!(packet("receive-pack> push< 0000"), None);
    }

    #[test]
    fn curls_connections_are_read_as_git_writes_them() {
        let curl = |text: &str| Event::parse(&format!("23:19:09.4 http.c:879              {text}"));
        assert_eq!(
            curl("== Info:   Trying 127.0.0.1:80..."),
            Some(Event::Connects)
        );
        assert_eq!(curl("== Info: Connected to h"), None);
        assert_eq!(curl("=> Send header: CONNECT h:443 HTTP/1.1"), None);
        assert_eq!(
            curl("=> Send header: GET /p/info/refs HTTP/1.1"),
            Some(Event::Connected)
        );
    }
}
