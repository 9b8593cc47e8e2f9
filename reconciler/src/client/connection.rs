//! One connection, one request: frames of a big-endian `u32` length and JSON.

use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::{SendFlags, send};

use super::CallError;
use crate::wire::{MAX_FRAME, Request, Response};

/// A connection with its request sent.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    /// What has been read of the frame that is under way.
    partial: Vec<u8>,
}

impl Connection {
    /// Connects and sends the request.
    ///
    /// # Errors
    /// Where there is no daemon, or it may not be spoken to.
    pub fn open(socket: &Path, request: &Request) -> Result<Self, CallError> {
        let stream = UnixStream::connect(socket).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => CallError::NoSocket(socket.to_owned()),
            io::ErrorKind::PermissionDenied => CallError::Denied(socket.to_owned()),
            _ => CallError::Refused(socket.to_owned(), error),
        })?;
        let body = serde_json::to_vec(request).map_err(CallError::Unreadable)?;
        let length = u32::try_from(body.len())
            .ok()
            .filter(|_| body.len() <= MAX_FRAME)
            .ok_or(CallError::TooLong(body.len()))?;
        let mut frame = length.to_be_bytes().to_vec();
        frame.extend(body);
        send_all(&stream, &frame).map_err(|error| match error.kind() {
            // A daemon that turns this peer away hangs up without reading.
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                CallError::Denied(socket.to_owned())
            }
            _ => CallError::Broken("the request was sent", error),
        })?;
        Ok(Self {
            stream,
            partial: Vec::new(),
        })
    }

    /// The next answer; `None` where the daemon has closed the connection
    /// between two answers.
    ///
    /// # Errors
    /// [`CallError::TimedOut`] once `deadline` has passed; the connection can be
    /// read on after that. [`CallError::Answer`] where the daemon says no.
    pub fn receive(&mut self, deadline: Option<Instant>) -> Result<Option<Response>, CallError> {
        if !self.fill(4, deadline)? {
            return Ok(None);
        }
        let mut prefix = [0; 4];
        prefix.copy_from_slice(&self.partial[..4]);
        let length = u32::from_be_bytes(prefix) as usize;
        if length > MAX_FRAME {
            return Err(CallError::TooLong(length));
        }
        if !self.fill(4 + length, deadline)? {
            return Err(CallError::HungUp);
        }
        let response = serde_json::from_slice(&self.partial[4..]).map_err(CallError::Unreadable)?;
        self.partial.clear();
        match response {
            Response::Error {
                code,
                message,
                remedy,
            } => Err(CallError::Answer {
                code,
                message,
                remedy,
            }),
            response => Ok(Some(response)),
        }
    }

    /// Reads until `partial` holds `wanted` bytes; `false` where the daemon
    /// closed the connection before the first byte of a frame.
    fn fill(&mut self, wanted: usize, deadline: Option<Instant>) -> Result<bool, CallError> {
        while self.partial.len() < wanted {
            let limit = match deadline {
                None => None,
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(CallError::TimedOut);
                    }
                    // Zero would mean "no limit" to the socket.
                    Some(left.max(Duration::from_millis(1)))
                }
            };
            self.stream
                .set_read_timeout(limit)
                .map_err(|error| CallError::Broken("an answer was awaited", error))?;
            // Grow with what really arrives, not with what was announced.
            let mut chunk = [0; 64 * 1024];
            let room = (wanted - self.partial.len()).min(chunk.len());
            match self.stream.read(&mut chunk[..room]) {
                Ok(0) if self.partial.is_empty() => return Ok(false),
                Ok(0) => return Err(CallError::HungUp),
                Ok(count) => self.partial.extend_from_slice(&chunk[..count]),
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        return Err(CallError::TimedOut);
                    }
                    io::ErrorKind::ConnectionReset => return Err(CallError::HungUp),
                    _ => return Err(CallError::Broken("an answer was awaited", error)),
                },
            }
        }
        Ok(true)
    }
}

/// Writes without raising SIGPIPE, whose default action the program keeps for
/// the sake of `banger get vms | head`.
fn send_all(stream: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match send(stream, bytes, SendFlags::NOSIGNAL) {
            Ok(count) => bytes = &bytes[count..],
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
