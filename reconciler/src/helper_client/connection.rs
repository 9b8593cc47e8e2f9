//! One connection: a stream with one request in flight.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use banger_protocol::{Request, Response, Version, frame, version};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use super::HelperError;

/// A connection whose hello was answered.
pub(super) struct Connection {
    stream: UnixStream,
    /// What the helper said that it speaks.
    pub(super) helper: Version,
}

impl Connection {
    /// Connects and says hello.
    pub(super) async fn open(socket: &Path) -> Result<Self, HelperError> {
        let stream = UnixStream::connect(socket)
            .await
            .map_err(HelperError::Unreachable)?;
        let mut connection = Self {
            stream,
            helper: version::CURRENT,
        };
        let hello = Request::Hello {
            version: version::CURRENT,
        };
        match connection.exchange(&hello, &[]).await? {
            Response::Hello { version } if version.major == version::CURRENT.major => {
                connection.helper = version;
                Ok(connection)
            }
            Response::Hello { version } => Err(HelperError::OtherVersion(version)),
            Response::Error { error } => Err(HelperError::Refused(error)),
            _ => Err(HelperError::OtherAnswer { op: hello.op() }),
        }
    }

    /// Sends a request with its descriptors and reads the answer. After an
    /// error the connection is of no use any more.
    pub(super) async fn exchange(
        &mut self,
        request: &Request,
        descriptors: &[OwnedFd],
    ) -> Result<Response, HelperError> {
        let op = request.op();
        let broken = |source| HelperError::Broken { op, source };
        let malformed = |source| HelperError::Frame { op, source };
        let message = frame::encode(request, frame::MAX_REQUEST).map_err(malformed)?;
        let sent = self.send(&message, descriptors).await.map_err(broken)?;
        self.stream
            .write_all(&message[sent..])
            .await
            .map_err(broken)?;
        let mut header = [0; frame::HEADER];
        self.stream.read_exact(&mut header).await.map_err(broken)?;
        let length = frame::body_length(header, frame::MAX_RESPONSE).map_err(malformed)?;
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.map_err(broken)?;
        frame::decode(&body).map_err(malformed)
    }

    /// The first bytes of a message, with the descriptors beside them (unix(7), `SCM_RIGHTS`).
    async fn send(&self, message: &[u8], descriptors: &[OwnedFd]) -> io::Result<usize> {
        if descriptors.is_empty() {
            return Ok(0);
        }
        self.stream
            .async_io(Interest::WRITABLE, || {
                let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
                let rights = SendAncillaryMessage::ScmRights(&borrowed);
                let mut space = vec![std::mem::MaybeUninit::uninit(); rights.size()];
                let mut control = SendAncillaryBuffer::new(&mut space);
                if !control.push(rights) {
                    return Err(io::Error::other("too many descriptors for one message"));
                }
                let parts = [IoSlice::new(message)];
                let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
                Ok(rustix::net::sendmsg(
                    &self.stream,
                    &parts,
                    &mut control,
                    flags,
                )?)
            })
            .await
    }
}
