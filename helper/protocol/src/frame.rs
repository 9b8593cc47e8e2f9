//! Frames: a big-endian `u32` length, then that many bytes of JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest request that the helper reads.
pub const MAX_REQUEST: usize = 64 * 1024;
/// The longest response that the daemon reads; an inventory of a full host fits.
pub const MAX_RESPONSE: usize = 16 * 1024 * 1024;
/// Bytes of the length in front.
pub const HEADER: usize = 4;

/// A frame that can't be sent or understood.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The body is longer than the peer reads.
    #[error("a frame of {length} bytes is longer than the {cap} that the peer reads")]
    TooLong {
        /// Its length.
        length: usize,
        /// The cap.
        cap: usize,
    },
    /// The body isn't the JSON that was expected.
    #[error("the frame is not what the protocol says")]
    Json(#[source] serde_json::Error),
}

/// Header and body of one message.
pub fn encode<T: Serialize>(message: &T, cap: usize) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; HEADER];
    serde_json::to_writer(&mut frame, message).map_err(FrameError::Json)?;
    let length = frame.len() - HEADER;
    match u32::try_from(length) {
        Ok(n) if length <= cap => frame[..HEADER].copy_from_slice(&n.to_be_bytes()),
        _ => return Err(FrameError::TooLong { length, cap }),
    }
    Ok(frame)
}

/// The length that a header announces, if it is within the cap.
pub fn body_length(header: [u8; HEADER], cap: usize) -> Result<usize, FrameError> {
    let length = u32::from_be_bytes(header) as usize;
    if length > cap {
        Err(FrameError::TooLong { length, cap })
    } else {
        Ok(length)
    }
}

/// Reads a body.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(body).map_err(FrameError::Json)
}
