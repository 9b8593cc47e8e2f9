//! One published UDP port: a socket of its own for each client, so that the
//! guest's answers find their way back.
//!
//! `first datagram of a client -> session -> idle, or the longest idle of too many -> gone`
//!
//! Guarantees: a port costs at most [`AT_ONCE`] sockets; a client that is gone
//! costs one for [`IDLE`] at most. What can't be sent is lost, as UDP has it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

/// Clients of one port at once; one more takes the place of the longest idle.
const AT_ONCE: usize = 256;
/// How long a client may be silent, and the guest to it (RFC 4787, REQ-5: two
/// minutes at least).
const IDLE: Duration = Duration::from_secs(120);
/// The longest datagram.
const LONGEST: usize = 65_535;
/// Datagrams that are passed on before others get their turn.
const BURST: usize = 64;

/// Serves until the task is dropped; its sessions end with it.
pub(super) async fn serve(socket: UdpSocket, guest: SocketAddr) {
    Port::new(socket, guest, AT_ONCE, IDLE).serve().await;
}

/// A client's way into the guest.
struct Session {
    /// Tells it from a former session of the same client.
    number: u64,
    guest: Arc<UdpSocket>,
    used: Arc<Used>,
    answers: AbortHandle,
}

pub(super) struct Port {
    socket: Arc<UdpSocket>,
    guest: SocketAddr,
    most: usize,
    idle: Duration,
    sessions: HashMap<SocketAddr, Session>,
    /// The ways back; each ends with its client and number once it was idle.
    answers: JoinSet<(SocketAddr, u64)>,
    opened: u64,
}

impl Port {
    pub(super) fn new(socket: UdpSocket, guest: SocketAddr, most: usize, idle: Duration) -> Self {
        Self {
            socket: Arc::new(socket),
            guest,
            most,
            idle,
            sessions: HashMap::new(),
            answers: JoinSet::new(),
            opened: 0,
        }
    }

    pub(super) async fn serve(mut self) {
        let mut buffer = vec![0; LONGEST];
        loop {
            tokio::select! {
                received = self.socket.recv_from(&mut buffer) => match received {
                    Ok((length, client)) => self.pass_on(client, &buffer[..length]).await,
                    Err(error) => {
                        tracing::warn!(guest = %self.guest, %error, "a published port can't be read");
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                },
                Some(ended) = self.answers.join_next() => {
                    // One that was put out is gone from the map already.
                    if let Ok((client, number)) = ended
                        && self.sessions.get(&client).is_some_and(|it| it.number == number)
                    {
                        self.sessions.remove(&client);
                    }
                }
            }
        }
    }

    async fn pass_on(&mut self, client: SocketAddr, datagram: &[u8]) {
        if !self.sessions.contains_key(&client) {
            match self.open(client).await {
                Ok(session) => {
                    self.make_room();
                    self.sessions.insert(client, session);
                }
                Err(error) => {
                    tracing::warn!(guest = %self.guest, %error, "a published port has no socket for a client");
                    return;
                }
            }
        }
        if let Some(session) = self.sessions.get(&client) {
            session.used.now();
            // A guest that doesn't listen, or not yet, is no fault of the port's.
            let _ = session.guest.try_send(datagram);
        }
    }

    async fn open(&mut self, client: SocketAddr) -> io::Result<Session> {
        let any = match self.guest {
            SocketAddr::V4(_) => SocketAddr::from(([0, 0, 0, 0], 0)),
            SocketAddr::V6(_) => SocketAddr::from(([0; 16], 0)),
        };
        let guest = UdpSocket::bind(any).await?;
        guest.connect(self.guest).await?;
        guest.writable().await?;
        let (guest, used) = (Arc::new(guest), Arc::new(Used::new()));
        self.opened += 1;
        let number = self.opened;
        let way_back = WayBack {
            guest: Arc::clone(&guest),
            client,
            port: Arc::clone(&self.socket),
            used: Arc::clone(&used),
            idle: self.idle,
        };
        let answers = self.answers.spawn(async move {
            way_back.run().await;
            (client, number)
        });
        Ok(Session {
            number,
            guest,
            used,
            answers,
        })
    }

    /// Puts out the longest idle session, if there is no room for another.
    fn make_room(&mut self) {
        if self.sessions.len() < self.most {
            return;
        }
        let longest = self.sessions.iter().min_by_key(|(_, it)| it.used.last());
        if let Some(client) = longest.map(|(client, _)| *client)
            && let Some(session) = self.sessions.remove(&client)
        {
            session.answers.abort();
        }
    }
}

/// When a session was last used: nanoseconds after its beginning.
struct Used {
    begun: Instant,
    last: AtomicU64,
}

impl Used {
    fn new() -> Self {
        Self {
            begun: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    fn now(&self) {
        let nanos = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.last.store(nanos, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.begun + Duration::from_nanos(self.last.load(Ordering::Relaxed))
    }
}

/// From the guest to one client.
struct WayBack {
    guest: Arc<UdpSocket>,
    client: SocketAddr,
    port: Arc<UdpSocket>,
    used: Arc<Used>,
    idle: Duration,
}

impl WayBack {
    async fn run(self) {
        loop {
            let until = self.used.last() + self.idle;
            match tokio::time::timeout_at(until, self.guest.readable()).await {
                Ok(Ok(())) => self.answer(),
                Ok(Err(_)) => return,
                Err(_) if self.used.last() + self.idle <= Instant::now() => return,
                Err(_) => {}
            }
            // The others' turn, also where a guest talks without end.
            tokio::task::yield_now().await;
        }
    }

    fn answer(&self) {
        // Only for the moment: a quiet session holds no memory.
        let mut buffer = vec![0; LONGEST];
        for _ in 0..BURST {
            match self.guest.try_recv(&mut buffer) {
                Ok(length) => {
                    self.used.now();
                    let _ = self.port.try_send_to(&buffer[..length], self.client);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Such as ECONNREFUSED (udp(7)): the guest may listen later.
                Err(_) => {}
            }
        }
    }
}
