//! A blocking client, for tests and for `examples/call.rs`. `bangerd` has its
//! own, on its runtime.

use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use banger_protocol::frame::{self, FrameError, HEADER, MAX_REQUEST, MAX_RESPONSE};
use banger_protocol::version::CURRENT;
use banger_protocol::{Request, Response};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// The most descriptors of one request.
const MAX_DESCRIPTORS: usize = 8;

/// The helper can't be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The socket failed, or the helper closed it.
    #[error("the helper's socket")]
    Io(#[from] io::Error),
    /// A frame that can't be sent or understood.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The helper doesn't take this client.
    #[error("hello was answered with {0:?}")]
    Hello(Box<Response>),
}

/// A connection past its `hello`.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
}

impl Client {
    /// Connects and says hello.
    pub fn connect(socket: &Path) -> Result<Self, ClientError> {
        let mut client = Self {
            stream: UnixStream::connect(socket)?,
        };
        match client.call(&Request::Hello { version: CURRENT }, &[])? {
            Response::Hello { .. } => Ok(client),
            other => Err(ClientError::Hello(Box::new(other))),
        }
    }

    /// Sends one request with its descriptors, and reads the answer.
    pub fn call(
        &mut self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Response, ClientError> {
        self.call_raw(&frame::encode(request, MAX_REQUEST)?, descriptors)
    }

    /// Sends bytes as they are, and reads the answer.
    pub fn call_raw(
        &mut self,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Response, ClientError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
        }
        let iov = [IoSlice::new(bytes)];
        let sent = sendmsg(&self.stream, &iov, &mut control, SendFlags::NOSIGNAL)
            .map_err(io::Error::from)?;
        self.stream.write_all(&bytes[sent..])?;
        let mut header = [0; HEADER];
        self.stream.read_exact(&mut header)?;
        let mut body = vec![0; frame::body_length(header, MAX_RESPONSE)?];
        self.stream.read_exact(&mut body)?;
        Ok(frame::decode(&body)?)
    }
}
