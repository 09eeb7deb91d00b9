//! Greets, sends and receives: one framed bincode message at a time. The only file that names bincode.
//!
//! A connection begins with eight raw bytes from each side, the magic and the [`VERSION`], so that a program of another
//! version is named instead of being misread. After that each message is a four-byte length and its bincode form.

use std::{io, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use zeroize::Zeroizing;

use crate::{protocol::VERSION, text::io_message};

/// The maximal length of a message, checked before anything is read. Long lists are sent in batches.
pub const MAX_FRAME: u32 = 1 << 20;

/// A frame that has begun must be complete within this time.
pub const FRAME_TIMEOUT: Duration = Duration::from_secs(10);

/// Most messages are shorter: room for so many bytes is made at once.
const FIRST_ROOM: usize = 4096;

const MAGIC: [u8; 6] = *b"mirror";

/// Why a message did not come or go through.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The other side closed the connection between two messages.
    #[error("the connection was closed")]
    Closed,
    /// The other side speaks another version of the protocol.
    #[error("the other side speaks version {0} of the protocol, this program version {VERSION}")]
    OtherVersion(u16),
    /// The other side is not one of our programs.
    #[error("the other side does not speak this protocol")]
    NotOurs,
    /// The message is longer than [`MAX_FRAME`].
    #[error("a message of {0} bytes is too long")]
    TooLong(u64),
    /// The bytes are not a message.
    #[error("a message could not be understood")]
    Garbled,
    /// A message began and did not end in time.
    #[error("a message did not arrive in time")]
    Late,
    /// The connection broke.
    #[error("{}", io_message(.0))]
    Io(#[from] io::Error),
}

/// Sends our magic and version, and checks those of the other side, within a time limit.
///
/// # Errors
/// [`WireError::OtherVersion`] and [`WireError::NotOurs`] tell the two ways in which they are not like us.
pub async fn greet(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    within: Duration,
) -> Result<(), WireError> {
    let mut ours = [0; 8];
    ours[..6].copy_from_slice(&MAGIC);
    ours[6..].copy_from_slice(&VERSION.to_be_bytes());
    let exchange = async {
        stream.write_all(&ours).await?;
        stream.flush().await?;
        let mut theirs = [0; 8];
        stream.read_exact(&mut theirs).await?;
        Ok::<_, io::Error>(theirs)
    };
    let theirs = match timeout(within, exchange).await {
        Err(_) => return Err(WireError::Late),
        Ok(Err(err)) if err.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(WireError::Closed);
        }
        Ok(theirs) => theirs?,
    };
    let [magic @ .., high, low] = theirs;
    if magic != MAGIC {
        return Err(WireError::NotOurs);
    }
    match u16::from_be_bytes([high, low]) {
        VERSION => Ok(()),
        other => Err(WireError::OtherVersion(other)),
    }
}

/// Sends one message.
///
/// # Errors
/// Fails when the message is too long or the connection breaks.
pub async fn send<M: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &M,
) -> Result<(), WireError> {
    let body = bincode::serde::encode_to_vec(message, bincode::config::standard())
        .map_err(|_| WireError::Garbled)?;
    let body = Zeroizing::new(body);
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    if length > MAX_FRAME {
        return Err(WireError::TooLong(body.len() as u64));
    }
    let mut frame = Zeroizing::new(Vec::with_capacity(4 + body.len()));
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&body);
    stream.write_all(&frame).await?;
    stream.flush().await?;
    Ok(())
}

/// Receives one message, waiting for its beginning without limit and for its end a few seconds.
///
/// # Errors
/// [`WireError::Closed`] when the other side left between two messages; everything else is a broken conversation.
pub async fn recv<M: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<M, WireError> {
    let mut length = [0; 4];
    if stream.read(&mut length[..1]).await? == 0 {
        return Err(WireError::Closed);
    }
    let rest = async {
        stream.read_exact(&mut length[1..]).await?;
        let length = u32::from_be_bytes(length);
        if length > MAX_FRAME {
            return Err(WireError::TooLong(length.into()));
        }
        let mut body = Zeroizing::new(Vec::with_capacity(FIRST_ROOM.min(length as usize)));
        read_body(stream, length, &mut body).await?;
        Ok(body)
    };
    let body = timeout(FRAME_TIMEOUT, rest)
        .await
        .map_err(|_| WireError::Late)??;
    let limit = bincode::config::standard().with_limit::<{ MAX_FRAME as usize }>();
    let (message, read) =
        bincode::serde::decode_from_slice(&body, limit).map_err(|_| WireError::Garbled)?;
    if read == body.len() {
        Ok(message)
    } else {
        Err(WireError::Garbled)
    }
}

/// Reads so many bytes. Room is made as they come: whoever announces much and sends nothing takes none.
async fn read_body(
    stream: &mut (impl AsyncRead + Unpin),
    length: u32,
    body: &mut Vec<u8>,
) -> io::Result<()> {
    stream.take(length.into()).read_to_end(body).await?;
    if body.len() < length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// Cuts a long list into messages that fit: each as long as `size` adds up to, the last one empty to mark the end.
pub fn batches<T>(items: Vec<T>, size: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let (mut batches, mut batch, mut length) = (Vec::new(), Vec::new(), 0);
    for item in items {
        length += size(&item);
        batch.push(item);
        if length > MAX_FRAME as usize / 4 {
            batches.push(std::mem::take(&mut batch));
            length = 0;
        }
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches.push(Vec::new());
    batches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;
    use crate::protocol::{OneTimeId, Reply, Request};

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("runtime")
            .block_on(future)
    }

    async fn received(bytes: &[u8]) -> Result<Request, WireError> {
        let (mut ours, mut theirs) = duplex(1 << 16);
        ours.write_all(bytes).await.expect("room in the pipe");
        drop(ours);
        recv(&mut theirs).await
    }

    fn frame(message: &Request) -> Vec<u8> {
        run(async {
            let mut bytes = Vec::new();
            send(&mut bytes, message)
                .await
                .expect("a Vec takes everything");
            bytes
        })
    }

    #[test]
    fn a_message_arrives_as_it_was_sent() {
        let sent = Request::Login {
            id: OneTimeId("one".into()),
            push: None,
            origin: "https://h".into(),
        };
        assert_eq!(run(received(&frame(&sent))).expect("whole"), sent);
    }

    #[test]
    fn a_truncated_message_is_an_error_at_every_length() {
        let whole = frame(&Request::Login {
            id: OneTimeId("one-time".into()),
            push: None,
            origin: "https://h".into(),
        });
        assert!(
            matches!(run(received(&[])), Err(WireError::Closed)),
            "nothing at all is an orderly end"
        );
        for length in 1..whole.len() {
            let result = run(received(&whole[..length]));
            assert!(
                matches!(result, Err(WireError::Io(_))),
                "cut after {length} bytes: {result:?}"
            );
        }
    }

    #[test]
    fn an_oversized_message_is_refused_before_it_is_read() {
        assert!(matches!(
            run(received(&[0xff; 4])),
            Err(WireError::TooLong(0xffff_ffff))
        ));
    }

    #[test]
    fn a_message_takes_no_more_room_than_what_has_come_of_it() {
        run(async {
            let (mut ours, mut theirs) = duplex(1 << 16);
            ours.write_all(&[7; 1000]).await.expect("room in the pipe");
            let mut body = Vec::new();
            let reading = read_body(&mut theirs, MAX_FRAME, &mut body);
            let late = timeout(FRAME_TIMEOUT, reading).await;
            assert!(late.is_err(), "the rest never came");
            assert_eq!(body.len(), 1000);
            assert!(body.capacity() < 10_000, "room for {}", body.capacity());
        });
    }

    #[test]
    fn bytes_after_a_message_are_refused() {
        let mut bytes = frame(&Request::List);
        bytes.push(0);
        bytes[3] += 1;
        assert!(matches!(run(received(&bytes)), Err(WireError::Garbled)));
    }

    #[test]
    fn a_message_that_never_ends_is_given_up() {
        run(async {
            let (mut ours, mut theirs) = duplex(64);
            ours.write_all(&[0, 0]).await.expect("room in the pipe");
            assert!(matches!(
                recv::<Request>(&mut theirs).await,
                Err(WireError::Late)
            ));
        });
    }

    #[test]
    fn another_version_is_named_and_a_stranger_is_not_misread() {
        for (theirs, expected) in [(*b"mirror\x00\x63", "99"), (*b"HTTP/1.1", "does not speak")] {
            let error = run(async {
                let (mut ours, mut other) = duplex(64);
                other.write_all(&theirs).await.expect("room in the pipe");
                greet(&mut ours, FRAME_TIMEOUT).await.expect_err("not ours")
            });
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            let mut framed = u32::try_from(bytes.len()).expect("short").to_be_bytes().to_vec();
            framed.extend_from_slice(&bytes);
            run(async {
                let mut slice = framed.as_slice();
                let _: Result<Reply, _> = recv(&mut slice).await;
            });
        }
    }
}
