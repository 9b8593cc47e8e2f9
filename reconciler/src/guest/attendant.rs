//! What the daemon keeps beside one running VMM: the channel on which its
//! guest speaks, the pulse of its agent, its published ports. It ends when it
//! is dropped.

use std::io;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use banger_agent_protocol::{AgentRequest, AgentResponse, GuestConfig, GuestFile};
use banger_core::observed::Guest;
use banger_protocol::VmUid;
use banger_protocol::inventory::Process;
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

use super::agent;
use super::channel::{self, Channel};
use super::word::Word;
use crate::act::layout::Layout;
use crate::firecracker::socket::listen;
use crate::net::Published;

/// Between two pings. Only asking can tell whether a guest still answers.
const PULSE: Duration = Duration::from_secs(10);
/// How long an agent may take to answer one.
const ANSWER: Duration = Duration::from_secs(10);
/// Pings without an answer until the agent counts as lost.
const MISSES: u32 = 3;
/// The attendant of one VMM process.
pub struct Attendant {
    /// The process; another one needs another attendant.
    pub process: Process,
    /// The VM's published ports.
    pub published: Published,
    channel: Arc<Channel>,
    held: watch::Sender<bool>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

impl Attendant {
    /// Listens for the guest and feels its pulse. `changed` is notified
    /// whenever the guest's word changes.
    pub fn attend(
        layout: &Layout,
        uid: VmUid,
        process: Process,
        config: GuestConfig,
        changed: Arc<Notify>,
    ) -> io::Result<Self> {
        let sockets = layout.sockets(uid);
        let listener = listen(&sockets, &channel::socket_name())?;
        let channel = Arc::new(Channel {
            uid,
            word: Arc::new(Word::silent(changed)),
            known_hosts: layout.known_hosts(uid),
            leaving: layout.leaving(uid),
            config: Mutex::new(config),
            addresses: Mutex::default(),
        });
        let serving = tokio::spawn(Arc::clone(&channel).serve(listener));
        let (held, holding) = watch::channel(false);
        let pulse = tokio::spawn(pulse(sockets, Arc::clone(&channel), holding));
        Ok(Self {
            process,
            published: Published::default(),
            channel,
            held,
            _tasks: [serving, pulse].map(AbortOnDropHandle::new),
        })
    }

    /// Stops pinging, for a guest that stands still, or goes on with it.
    pub fn hold_pulse(&self, hold: bool) {
        self.held.send_if_modified(|held| {
            let differs = *held != hold;
            *held = hold;
            differs
        });
    }

    /// The guest's last word.
    pub fn word(&self) -> Guest {
        self.channel.word.last()
    }

    /// The IPv6 address that the guest was to have, if it said that it has it.
    pub fn ipv6(&self) -> Option<Ipv6Addr> {
        self.channel.ipv6()
    }

    /// What the guest is told from now on when it asks who it is.
    pub fn reconfigure(&self, config: GuestConfig) {
        *self
            .channel
            .config
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// The keys and files that it is told of when it asks again.
    pub fn retell(&self, keys: Vec<String>, files: Vec<GuestFile>) {
        let config = &self.channel.config;
        let mut config = config.lock().unwrap_or_else(PoisonError::into_inner);
        config.authorized_keys = keys;
        config.files = files;
    }
}

/// Pings the agent for as long as the VMM runs. The first ping comes at once:
/// a guest that was ready before this daemon says so only when it is asked.
async fn pulse(sockets: PathBuf, channel: Arc<Channel>, mut held: watch::Receiver<bool>) {
    let mut misses = 0;
    loop {
        // The sender goes with the attendant, and this with it.
        let _ = held.wait_for(|held| !*held).await;
        match agent::ask(&sockets, &AgentRequest::Ping, ANSWER).await {
            Ok(AgentResponse::Pong { ready, .. }) => {
                misses = 0;
                let news = matches!(channel.word.last(), Guest::Silent | Guest::Lost(_));
                if let (Some(readiness), true) = (ready, news)
                    && let Err(error) = channel.ready(&readiness)
                {
                    tracing::warn!(vm = %channel.uid, %error, "the guest's keys can't be pinned");
                }
            }
            Ok(_) => misses = 0,
            // It was paused while it was asked.
            Err(_) if *held.borrow() => misses = 0,
            Err(error) => {
                misses += 1;
                if misses >= MISSES {
                    let why = format!("{misses} pings in a row failed: {error}");
                    channel.word.lost(why);
                }
            }
        }
        // At once for one that was held: it may be long since it was asked.
        tokio::select! {
            () = tokio::time::sleep(PULSE) => {}
            _ = held.changed() => {}
        }
    }
}
