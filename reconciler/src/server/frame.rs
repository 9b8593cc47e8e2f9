//! Frames: a big-endian `u32` length and that many bytes of JSON.

use std::io;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::wire::MAX_FRAME;

/// How long a client may take for one frame, either way.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("the connection broke")]
    Io(#[from] io::Error),
    #[error("the frame has {0} bytes, more than are read")]
    TooLong(usize),
    #[error("the client took too long")]
    Slow,
    #[error("it is not what the protocol says: {0}")]
    Json(#[from] serde_json::Error),
}

/// Reads one frame; `None` where the client hung up before it.
pub(super) async fn read<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
) -> Result<Option<T>, FrameError> {
    timeout(PATIENCE, read_patiently(from))
        .await
        .map_err(|_| FrameError::Slow)?
}

async fn read_patiently<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
) -> Result<Option<T>, FrameError> {
    let mut header = [0; 4];
    match from.read_exact(&mut header).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let length = u32::from_be_bytes(header) as usize;
    if length > MAX_FRAME {
        return Err(FrameError::TooLong(length));
    }
    // Grows with what arrives: a length alone takes no memory.
    let mut body = Vec::new();
    let read = from.take(length as u64).read_to_end(&mut body).await?;
    if read < length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(Some(serde_json::from_slice(&body)?))
}

/// Writes one frame.
pub(super) async fn write<T: Serialize>(
    to: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> Result<(), FrameError> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - 4;
    match u32::try_from(length) {
        Ok(header) if length <= MAX_FRAME => frame[..4].copy_from_slice(&header.to_be_bytes()),
        _ => return Err(FrameError::TooLong(length)),
    }
    timeout(PATIENCE, to.write_all(&frame))
        .await
        .map_err(|_| FrameError::Slow)?
        .map_err(FrameError::Io)
}
