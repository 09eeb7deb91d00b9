//! Connections that ssh keeps open for the next check, each behind a socket of its own.
//!
//! They end by themselves when they were not used for a while. The daemon ends them when it stops, and those that a
//! killed one left when it starts.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::{ffi::OsStrExt, fs::DirBuilderExt, net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};

use super::ConnectionKey;

/// A connection that is told to end does so at once.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);

/// Where the sockets are; nowhere, and then no connection is kept.
pub(super) struct ControlSockets(Option<PathBuf>);

impl ControlSockets {
    /// In this folder, which is made when the first connection is kept.
    pub(super) fn new(folder: Option<PathBuf>) -> Self {
        // ssh expands some characters of a path, and splits at others.
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+@,:".contains(byte);
        Self(folder.filter(|folder| folder.as_os_str().as_bytes().iter().all(is_plain)))
    }

    /// The socket for one end of a connection and the other. A hash, for what is in it need not be short or public.
    pub(super) fn socket(&self, connection: &ConnectionKey) -> Option<String> {
        let folder = self.0.as_ref()?;
        let mut builder = fs::DirBuilder::new();
        // What it lies in is ours alone, too.
        if let Err(err) = builder.recursive(true).mode(0o700).create(folder) {
            tracing::warn!("no ssh connection is kept: '{}': {err}", folder.display());
            return None;
        }
        let mut hash = Sha256::new();
        let mut add = |part: &str| {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        };
        connection.client.identity().into_iter().for_each(&mut add);
        if let Some(key) = &connection.client.key {
            add("key");
            add(&key.to_string_lossy());
        }
        add(&connection.destination);
        add(&connection.port.unwrap_or_default().to_string());
        for (name, value) in &connection.environment {
            add(name);
            add(value);
        }
        let name = hex::encode(&hash.finalize()[..8]);
        Some(folder.join(name).to_str()?.to_owned())
    }

    /// Ends every connection. Blocks until they have ended.
    pub(super) fn end(&self) {
        let Some(entries) = self.0.as_ref().and_then(|folder| fs::read_dir(folder).ok()) else {
            return;
        };
        std::thread::scope(|scope| {
            for entry in entries.flatten() {
                scope.spawn(move || {
                    let socket = entry.path();
                    // One that nobody listens at any more is a dead one's.
                    if let Err(err) = end(&socket) {
                        tracing::debug!("no ssh behind '{}': {err}", socket.display());
                    }
                    let _ = fs::remove_file(&socket);
                });
            }
        });
    }
}

/// What `ssh -O exit` says to a connection (OpenSSH's PROTOCOL.mux), and waits for what that does not: its end.
fn end(socket: &Path) -> io::Result<()> {
    const HELLO: [u32; 2] = [1, 4];
    const TERMINATE: [u32; 2] = [0x1000_0005, 0];
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(EXIT_TIMEOUT))?;
    stream.set_write_timeout(Some(EXIT_TIMEOUT))?;
    for message in [HELLO, TERMINATE] {
        let words = [8, message[0], message[1]];
        stream.write_all(&words.map(u32::to_be_bytes).concat())?;
    }
    stream.read_to_end(&mut Vec::new()).map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use common::{git::ssh::Client, protocol::ClientContext};

    use super::*;

    fn key(agent: &str, destination: &str, port: Option<u16>) -> ConnectionKey {
        ConnectionKey {
            client: Client::new(&ClientContext::default()),
            environment: vec![("SSH_AUTH_SOCK".into(), agent.into())],
            destination: destination.into(),
            port,
        }
    }

    #[test]
    fn a_connection_serves_nobody_else() {
        let dir = tempfile::tempdir().expect("temp dir");
        let kept = ControlSockets::new(Some(dir.path().join("ssh")));
        let socket =
            |connection: &ConnectionKey| kept.socket(connection).expect("there is a folder");
        let one = key("/agent", "git@h", None);
        assert_eq!(socket(&one), socket(&one.clone()));
        let others = [
            key("/other", "git@h", None),
            key("/agent", "me@h", None),
            key("/agent", "git@h", Some(2222)),
        ];
        for other in &others {
            assert_ne!(socket(&one), socket(other));
        }
        let spaced = ControlSockets::new(Some(dir.path().join("a b")));
        assert_eq!(spaced.socket(&one), None, "ssh would split the path");
        assert_eq!(ControlSockets::new(None).socket(&one), None);
    }

    #[test]
    fn a_dead_ones_socket_is_removed() {
        let dir = tempfile::tempdir().expect("temp dir");
        let socket = dir.path().join("0123456789abcdef");
        drop(UnixListener::bind(&socket).expect("bound"));
        ControlSockets::new(Some(dir.path().to_owned())).end();
        assert!(!socket.exists());
    }
}
