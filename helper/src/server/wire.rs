//! Frames with descriptors on a stream socket.
//!
//! Guarantees: a received descriptor is owned and close-on-exec from its first
//! moment, so that a refused frame closes it; not one byte past the frame is
//! read; a frame that was begun must end within [`DEADLINE`].

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Duration;

use banger_protocol::frame::{self, HEADER, MAX_REQUEST, MAX_RESPONSE};
use banger_protocol::{OpError, Response, Retry};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;

/// From a frame's first byte to its last, either way.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// The most that any operation takes; the kernel drops what is over.
const MAX_DESCRIPTORS: usize = 3;

/// A body and what came with it.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) body: Vec<u8>,
    pub(super) descriptors: Vec<OwnedFd>,
}

/// Why a connection can't go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("the socket failed")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Frame(#[from] frame::FrameError),
    #[error("more than {MAX_DESCRIPTORS} descriptors came with one frame")]
    Descriptors,
    #[error("the connection ended inside a frame")]
    Short,
    #[error("a frame took longer than {DEADLINE:?}")]
    Slow,
}

/// Reads one frame; `None` at the end of the stream.
pub(super) async fn read(stream: &UnixStream) -> Result<Option<Frame>, WireError> {
    let mut header = [0; HEADER];
    let mut descriptors = Vec::new();
    let got = receive(stream, &mut header, &mut descriptors).await?;
    if got == 0 {
        return Ok(None);
    }
    let rest = async {
        fill(stream, &mut header[got..], &mut descriptors).await?;
        let mut body = vec![0; frame::body_length(header, MAX_REQUEST)?];
        fill(stream, &mut body, &mut descriptors).await?;
        Ok(Some(Frame { body, descriptors }))
    };
    tokio::time::timeout(DEADLINE, rest)
        .await
        .map_err(|_| WireError::Slow)?
}

/// Resolves once the peer has gone; never while something of its is unread.
pub(super) async fn gone(stream: &UnixStream) {
    let peeked = stream.async_io(Interest::READABLE, || {
        let (mut byte, mut control) = ([0], RecvAncillaryBuffer::default());
        let mut iov = [IoSliceMut::new(&mut byte)];
        Ok(recvmsg(stream, &mut iov, &mut control, RecvFlags::PEEK)?.bytes)
    });
    if peeked.await.is_ok_and(|bytes| bytes > 0) {
        std::future::pending::<()>().await;
    }
}

/// Writes one response.
pub(super) async fn write(stream: &mut UnixStream, response: &Response) -> Result<(), WireError> {
    let bytes = match frame::encode(response, MAX_RESPONSE) {
        Ok(bytes) => bytes,
        Err(e) => {
            let error = OpError {
                op: "response".into(),
                step: "encode".into(),
                errno: None,
                message: e.to_string(),
                retry: Retry::Never,
            };
            frame::encode(&Response::Error { error }, MAX_RESPONSE)?
        }
    };
    tokio::time::timeout(DEADLINE, stream.write_all(&bytes))
        .await
        .map_err(|_| WireError::Slow)??;
    Ok(())
}

async fn fill(
    stream: &UnixStream,
    mut buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> Result<(), WireError> {
    while !buffer.is_empty() {
        let got = receive(stream, buffer, descriptors).await?;
        if got == 0 {
            return Err(WireError::Short);
        }
        buffer = &mut buffer[got..];
    }
    Ok(())
}

async fn receive(
    stream: &UnixStream,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> Result<usize, WireError> {
    let mut truncated = false;
    let got = stream
        .async_io(Interest::READABLE, || {
            let mut space =
                [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut iov = [IoSliceMut::new(buffer)];
            let message = recvmsg(stream, &mut iov, &mut control, RecvFlags::CMSG_CLOEXEC)?;
            for ancillary in control.drain() {
                if let RecvAncillaryMessage::ScmRights(received) = ancillary {
                    descriptors.extend(received);
                }
            }
            truncated |= message.flags.contains(ReturnFlags::CTRUNC);
            Ok(message.bytes)
        })
        .await?;
    if truncated || descriptors.len() > MAX_DESCRIPTORS {
        return Err(WireError::Descriptors);
    }
    Ok(got)
}
