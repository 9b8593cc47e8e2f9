//! The two sockets of the server: made here, bound by the helper.

use std::io;
use std::os::fd::OwnedFd;

use banger_protocol::Request;
use rustix::net::sockopt::{set_ip_freebind, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, listen, socket_with};
use tokio::net::{TcpListener, UdpSocket};

use crate::helper_client::{HelperClient, HelperError};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// The server has no sockets.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocketError {
    /// The kernel gives none.
    #[error("the DNS server's sockets can't be opened")]
    Open(#[from] io::Error),
    /// The helper doesn't bind them.
    #[error(transparent)]
    Bind(#[from] HelperError),
}

impl SocketError {
    /// The error with its causes in one line.
    pub(super) fn chain(&self) -> String {
        match self {
            Self::Open(cause) => format!("{self}: {cause}"),
            Self::Bind(error) => error.chain(),
        }
    }
}

/// Both, bound and listening. The bridge may come later.
pub(super) async fn open(helper: &HelperClient) -> Result<(UdpSocket, TcpListener), SocketError> {
    let udp = unbound(SocketType::DGRAM)?;
    let tcp = unbound(SocketType::STREAM)?;
    // Connections of a former daemon linger for a minute.
    set_socket_reuseaddr(&tcp, true).map_err(io::Error::from)?;
    let copies = vec![udp.try_clone()?, tcp.try_clone()?];
    helper.ensure(Request::EnsureDns {}, copies).await?;
    listen(&tcp, BACKLOG).map_err(io::Error::from)?;
    let udp = UdpSocket::from_std(udp.into())?;
    let tcp = TcpListener::from_std(tcp.into())?;
    Ok((udp, tcp))
}

fn unbound(kind: SocketType) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, kind, flags, None)?;
    set_ip_freebind(&socket, true)?;
    Ok(socket)
}
