//! Asking the agent. Each request has a connection of its own:
//! `CONNECT 1024\n` to Firecracker's vsock socket, `OK <port>\n` back, then
//! one frame each way (Firecracker, `docs/vsock.md`).

use std::io;
use std::path::Path;
use std::time::Duration;

use banger_agent_protocol::{AGENT_PORT, AgentRequest, AgentResponse};
use banger_protocol::install::socket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::frame;
use super::word::clean;
use crate::firecracker::socket::connect;

/// The longest line that Firecracker answers `CONNECT` with: `OK 4294967295\n`.
const MAX_LINE: usize = 16;

/// The agent can't be asked, or can't do it.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The vsock socket isn't there or refuses.
    #[error("Firecracker's vsock socket can't be reached")]
    Socket(#[source] io::Error),
    /// Nobody listens in the guest.
    #[error("no agent listens in the guest")]
    NoAgent,
    /// The conversation broke off.
    #[error("the agent gave no answer")]
    Message(#[source] io::Error),
    /// No answer in time.
    #[error("the agent did not answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// It refused.
    #[error("the agent can't do it: {0}")]
    Refused(String),
}

/// Asks the agent of the VMM whose sockets are in `directory`.
pub async fn ask(
    directory: &Path,
    request: &AgentRequest,
    limit: Duration,
) -> Result<AgentResponse, AgentError> {
    let asked = async {
        let stream = connect(directory, socket::VSOCK)
            .await
            .map_err(AgentError::Socket)?;
        converse(stream, request).await
    };
    match tokio::time::timeout(limit, asked).await {
        Ok(Ok(AgentResponse::Error { message })) => Err(AgentError::Refused(clean(&message))),
        Ok(answer) => answer,
        Err(_) => Err(AgentError::TimedOut(limit)),
    }
}

/// The conversation itself, on a connection to Firecracker's vsock socket.
pub(super) async fn converse(
    mut stream: UnixStream,
    request: &AgentRequest,
) -> Result<AgentResponse, AgentError> {
    let connect = format!("CONNECT {AGENT_PORT}\n");
    stream
        .write_all(connect.as_bytes())
        .await
        .map_err(AgentError::Message)?;
    // Firecracker hangs up where nobody listens in the guest.
    let line = read_line(&mut stream)
        .await
        .map_err(|_| AgentError::NoAgent)?;
    if !line.starts_with("OK ") {
        return Err(AgentError::NoAgent);
    }
    frame::write(&mut stream, request)
        .await
        .map_err(AgentError::Message)?;
    frame::read(&mut stream).await.map_err(AgentError::Message)
}

/// Reads byte by byte: what follows the line belongs to the agent.
async fn read_line(stream: &mut UnixStream) -> io::Result<String> {
    let mut line = String::new();
    while line.len() < MAX_LINE {
        match stream.read_u8().await? {
            b'\n' => return Ok(line),
            byte => line.push(char::from(byte)),
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}
