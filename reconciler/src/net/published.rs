//! The ports that one VM has published now.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use banger_core::api::virtual_machine::{Port, Protocol};
use banger_core::seam::StepError;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

use super::{tcp, udp};

/// A port that can't be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The socket can't be opened.
    #[error("{} port {address} of the host can't be published: {source}", protocol.as_str())]
    Listen {
        /// The protocol.
        protocol: Protocol,
        /// Where it was to listen.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

impl From<PublishError> for StepError {
    fn from(error: PublishError) -> Self {
        let PublishError::Listen {
            protocol,
            address,
            source,
        } = &error;
        let remedy = match source.kind() {
            io::ErrorKind::AddrInUse => {
                let (port, kind) = (address.port(), socket_letter(*protocol));
                Some(format!(
                    "see who listens there with `ss -ln{kind}p 'sport = :{port}'`, \
                     or choose another port in spec.network.ports"
                ))
            }
            io::ErrorKind::AddrNotAvailable => Some(format!(
                "{} is no address of this host now (`ip addr`): write another one in \
                 spec.network.ports, or leave it out for 127.0.0.1",
                address.ip()
            )),
            _ => None,
        };
        Self {
            remedy,
            ..Self::transient(error.to_string())
        }
        .because(error)
    }
}

/// The option of ss(8) that shows this protocol's sockets.
const fn socket_letter(protocol: Protocol) -> char {
    match protocol {
        Protocol::Tcp => 't',
        Protocol::Udp => 'u',
    }
}

/// The listeners of one VM. They close when this is dropped.
#[derive(Default)]
pub struct Published {
    /// A leaf lock: never held across an await.
    open: Mutex<BTreeMap<Port, AbortOnDropHandle<()>>>,
}

impl Published {
    /// The ports that are open, sorted.
    pub fn ports(&self) -> Vec<Port> {
        self.lock().keys().cloned().collect()
    }

    /// Closes and opens listeners so that exactly these ports are published.
    /// Each port that can be opened is, whatever becomes of the others; the
    /// error is the first port's that can't.
    pub async fn publish(&self, ports: &[Port], guest: Ipv4Addr) -> Result<(), PublishError> {
        let closed: Vec<_> = {
            let mut open = self.lock();
            let gone: Vec<_> = open
                .keys()
                .filter(|p| !ports.contains(p))
                .cloned()
                .collect();
            gone.iter().filter_map(|port| open.remove(port)).collect()
        };
        // A port may move from one guest's port to another's: it is free only
        // once its task has ended.
        for task in closed {
            task.abort();
            let _ = task.await;
        }
        let mut first = Ok(());
        for port in ports {
            if self.lock().contains_key(port) {
                continue;
            }
            match open(port, SocketAddr::new(guest.into(), port.guest)).await {
                Ok(task) => {
                    self.lock()
                        .insert(port.clone(), AbortOnDropHandle::new(task));
                }
                Err(error) if first.is_ok() => first = Err(error),
                Err(_) => {}
            }
        }
        first
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Port, AbortOnDropHandle<()>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins to serve a port, once it is known to be ours.
async fn open(port: &Port, guest: SocketAddr) -> Result<JoinHandle<()>, PublishError> {
    let (protocol, address) = (port.protocol, port.bind());
    let refused = |source| PublishError::Listen {
        protocol,
        address,
        source,
    };
    Ok(match protocol {
        Protocol::Tcp => {
            let listener = TcpListener::bind(address).await.map_err(refused)?;
            tokio::spawn(tcp::serve(listener, guest))
        }
        Protocol::Udp => {
            let socket = UdpSocket::bind(address).await.map_err(refused)?;
            tokio::spawn(udp::serve(socket, guest))
        }
    })
}
