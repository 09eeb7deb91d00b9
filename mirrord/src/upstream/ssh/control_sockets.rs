//! The sockets (`ControlPath`) of connections that ssh keeps open for the next sync.
//!
//! A connection ends by itself when it was not used for a while (`ControlPersist`). The daemon ends all of them when it
//! stops, and when it starts those that a killed one has left.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::{ffi::OsStrExt, fs::DirBuilderExt, net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};

use super::ConnectionKey;

/// How long a connection may take to end when it is told to.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);

/// The directory of the sockets; without one no connection is kept.
pub(super) struct ControlSockets(Option<PathBuf>);

impl ControlSockets {
    /// Takes the directory, which is made when the first connection is kept.
    pub(super) fn new(dir: Option<PathBuf>) -> Self {
        // ssh expands some characters of `ControlPath`, and splits it at others.
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+@,:".contains(byte);
        Self(dir.filter(|dir| dir.as_os_str().as_bytes().iter().all(is_plain)))
    }

    /// Returns the path of the socket for a connection. The name is a hash, because the parts may be long or secret.
    pub(super) fn path(&self, connection: &ConnectionKey) -> Option<String> {
        let dir = self.0.as_ref()?;
        let mut builder = fs::DirBuilder::new();
        // A directory above that is made here is closed to others, too.
        if let Err(err) = builder.recursive(true).mode(0o700).create(dir) {
            tracing::warn!("no ssh connection is kept: '{}': {err}", dir.display());
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
        Some(dir.join(name).to_str()?.to_owned())
    }

    /// Ends every connection. Blocks until they have ended.
    pub(super) fn end_all(&self) {
        let Some(entries) = self.0.as_ref().and_then(|dir| fs::read_dir(dir).ok()) else {
            return;
        };
        std::thread::scope(|scope| {
            for entry in entries.flatten() {
                scope.spawn(move || {
                    let socket = entry.path();
                    // At the socket of an ssh that was killed nobody listens.
                    if let Err(err) = end_connection(&socket) {
                        tracing::debug!("no ssh behind '{}': {err}", socket.display());
                    }
                    let _ = fs::remove_file(&socket);
                });
            }
        });
    }
}

/// Ends a connection as `ssh -O exit` does (OpenSSH's PROTOCOL.mux), and waits until it has ended, which that does not.
fn end_connection(socket: &Path) -> io::Result<()> {
    /// `MUX_MSG_HELLO`, and the version of the protocol.
    const HELLO: [u32; 2] = [1, 4];
    /// `MUX_C_TERMINATE`, and the id of the request.
    const TERMINATE: [u32; 2] = [0x1000_0005, 0];
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(EXIT_TIMEOUT))?;
    stream.set_write_timeout(Some(EXIT_TIMEOUT))?;
    for message in [HELLO, TERMINATE] {
        // The length of a message, in bytes, precedes it.
        let message = [8, message[0], message[1]];
        stream.write_all(&message.map(u32::to_be_bytes).concat())?;
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
    fn connections_with_other_ends_have_other_sockets() {
        let dir = tempfile::tempdir().expect("temp dir");
        let sockets = ControlSockets::new(Some(dir.path().join("ssh")));
        let socket = |connection: &ConnectionKey| sockets.path(connection).expect("there is a dir");
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
        assert_eq!(spaced.path(&one), None, "ssh would split the path");
        assert_eq!(ControlSockets::new(None).path(&one), None);
    }

    #[test]
    fn the_socket_of_a_dead_ssh_is_removed() {
        let dir = tempfile::tempdir().expect("temp dir");
        let socket = dir.path().join("0123456789abcdef");
        drop(UnixListener::bind(&socket).expect("bound"));
        ControlSockets::new(Some(dir.path().to_owned())).end_all();
        assert!(!socket.exists());
    }
}
