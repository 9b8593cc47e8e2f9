//! The channel on which a guest speaks to the host, one per VMM.
//!
//! Every message has a connection of its own. A guest may be hostile: at most
//! [`AT_ONCE`] connections are served at once, each for at most [`DEADLINE`],
//! no more often than its quota allows.

use std::io;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use banger_agent_protocol::{Boot, CONFIG_PORT, GuestConfig, Readiness};
use banger_core::observed::Guest;
use banger_protocol::VmUid;
use banger_protocol::install::socket;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::quota::Quota;
use super::word::{Word, clean};
use super::{config, frame, known_hosts};

/// Connections served at once.
pub const AT_ONCE: usize = 4;
/// How long a connection may take.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Where Firecracker puts the guest's connections to [`CONFIG_PORT`].
pub fn socket_name() -> String {
    format!("{}_{CONFIG_PORT}", socket::VSOCK)
}

/// The host's end of the channel.
pub struct Channel {
    /// The VM.
    pub uid: VmUid,
    /// Its last word.
    pub word: Arc<Word>,
    /// Where its host keys go.
    pub known_hosts: PathBuf,
    /// Where it is written down that the guest announced its end.
    pub leaving: PathBuf,
    /// What it is told about itself; replaced when the spec is given anew.
    pub config: Mutex<GuestConfig>,
    /// The IPv6 addresses that it says it has.
    pub addresses: Mutex<Vec<Ipv6Addr>>,
}

impl Channel {
    /// Serves the guest until the task is dropped.
    pub async fn serve(self: Arc<Self>, listener: UnixListener) {
        let seats = Arc::new(Semaphore::new(AT_ONCE));
        let mut quota = Quota::full();
        // Dropped with this future, and every connection with it.
        let mut serving = JoinSet::new();
        loop {
            quota.take().await;
            let Ok(seat) = seats.clone().acquire_owned().await else {
                return;
            };
            while serving.try_join_next().is_some() {}
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(vm = %self.uid, %error, "a guest's connection could not be taken");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            };
            let channel = Arc::clone(&self);
            serving.spawn(async move {
                match tokio::time::timeout(DEADLINE, channel.answer(stream)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        tracing::debug!(vm = %channel.uid, %error, "a guest's message was dropped");
                    }
                    Err(_) => tracing::debug!(vm = %channel.uid, "a guest's message took too long"),
                }
                drop(seat);
            });
        }
    }

    /// The guest is ready: its host keys are pinned before that is said.
    pub(super) fn ready(&self, readiness: &Readiness) -> io::Result<()> {
        known_hosts::write(&self.known_hosts, self.uid, &readiness.host_keys)?;
        tracing::info!(vm = %self.uid, ssh = readiness.ssh, "the guest is ready");
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&readiness.ipv6);
        self.word.say(Guest::Ready);
        Ok(())
    }

    /// The address that it is to have, if it has it.
    pub(super) fn ipv6(&self) -> Option<Ipv6Addr> {
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = config.ipv6.as_ref()?.address;
        drop(config);
        let addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        addresses.contains(&wanted).then_some(wanted)
    }

    /// One message and its answer.
    pub(super) async fn answer(&self, mut stream: UnixStream) -> io::Result<()> {
        let message: Boot = frame::read(&mut stream).await?;
        match message {
            Boot::Hello { agent } => {
                tracing::info!(vm = %self.uid, agent = clean(&agent), "the guest asks who it is");
                let mut config = self
                    .config
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                config.now_ns = config::now_ns();
                return frame::write(&mut stream, &config).await;
            }
            Boot::Ready {
                host_keys,
                ssh,
                ipv6,
            } => {
                self.ready(&Readiness {
                    host_keys,
                    ssh,
                    ipv6,
                })?;
            }
            Boot::Failed { stage, message } => {
                let (stage, message) = (clean(&stage), clean(&message));
                tracing::warn!(vm = %self.uid, stage, message, "the guest can't boot");
                self.word.say(Guest::Failed { stage, message });
            }
            Boot::Leaving { how } => {
                tracing::info!(vm = %self.uid, ?how, "the guest is about to end");
                std::fs::write(&self.leaving, [])?;
                self.word.say(Guest::Leaving);
            }
        }
        frame::write(&mut stream, &serde_json::json!({})).await
    }
}
