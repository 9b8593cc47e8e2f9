//! The ports that one VM has published now.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use banger_core::api::virtual_machine::{Port, Protocol};
use banger_core::seam::StepError;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::proxy;

/// A port that can't be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The listener can't be opened.
    #[error("port {address} of the host can't be published: {source}")]
    Listen {
        /// Where it was to listen.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// UDP.
    #[error("port {0} of the host can't be published: udp is not supported yet")]
    Udp(u16),
}

impl From<PublishError> for StepError {
    fn from(error: PublishError) -> Self {
        let message = error.to_string();
        match &error {
            PublishError::Listen { address, source }
                if source.kind() == io::ErrorKind::AddrInUse =>
            {
                let port = address.port();
                Self {
                    remedy: Some(format!(
                        "see who listens there with `ss -ltnp 'sport = :{port}'`, \
                         or choose another port in spec.network.ports"
                    )),
                    ..Self::transient(message)
                }
            }
            PublishError::Listen { .. } => Self::transient(message),
            PublishError::Udp(_) => Self::lasting(message, "publish the port as tcp"),
        }
        .because(error)
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
            match listen(port).await {
                Ok(listener) => {
                    let guest = SocketAddr::new(guest.into(), port.guest);
                    let task = tokio::spawn(proxy::serve(listener, guest));
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

async fn listen(port: &Port) -> Result<TcpListener, PublishError> {
    if port.protocol != Protocol::Tcp {
        return Err(PublishError::Udp(port.host));
    }
    let host = port.address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let address = SocketAddr::new(host, port.host);
    TcpListener::bind(address)
        .await
        .map_err(|source| PublishError::Listen { address, source })
}
