//! Frames over a blocking stream: a big-endian `u32` length, then that many
//! bytes of JSON, at most [`MAX_FRAME`] of them.
//!
//! Deadlines are the stream's: set them before. A length beyond the cap is
//! refused before a byte of the body is read or memory is taken for it.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::MAX_FRAME;

/// Bytes of the length in front.
pub const HEADER: usize = 4;

/// Header and body of one message.
///
/// # Errors
/// `InvalidInput` where the body is longer than [`MAX_FRAME`].
pub fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; HEADER];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - HEADER;
    match u32::try_from(length) {
        Ok(n) if length <= MAX_FRAME => frame[..HEADER].copy_from_slice(&n.to_be_bytes()),
        _ => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a message of {length} bytes is longer than a frame ({MAX_FRAME})"),
            ));
        }
    }
    Ok(frame)
}

/// The length that a header announces.
///
/// # Errors
/// `InvalidData` where it is beyond [`MAX_FRAME`].
pub fn body_length(header: [u8; HEADER]) -> io::Result<usize> {
    let length = u32::from_be_bytes(header) as usize;
    if length <= MAX_FRAME {
        Ok(length)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a frame of {length} bytes was announced, at most {MAX_FRAME} are read"),
        ))
    }
}

/// Writes one message, and flushes.
///
/// # Errors
/// The stream's, or as [`encode`].
pub fn write<T: Serialize>(mut stream: impl Write, message: &T) -> io::Result<()> {
    stream.write_all(&encode(message)?)?;
    stream.flush()
}

/// Reads one message.
///
/// # Errors
/// The stream's, as [`body_length`], or `InvalidData` where the body isn't the
/// JSON that was expected.
pub fn read<T: DeserializeOwned>(stream: impl Read) -> io::Result<T> {
    read_or_end(stream)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Reads one message, or `None` where the peer closed between two frames.
///
/// # Errors
/// As [`read`].
pub fn read_or_end<T: DeserializeOwned>(mut stream: impl Read) -> io::Result<Option<T>> {
    let mut header = [0; HEADER];
    let mut filled = 0;
    while filled < HEADER {
        match stream.read(&mut header[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let mut body = vec![0; body_length(header)?];
    stream.read_exact(&mut body)?;
    serde_json::from_slice(&body)
        .map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
