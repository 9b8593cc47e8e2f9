//! The server's life beside the daemon's.
//!
//! ```text
//! open sockets --(failed: said once, tried again)--+
//!   v                                              |
//! serve, follow the VMs, keep systemd-resolved told <
//!   v
//! stop: systemd-resolved is told otherwise (failed: tried again, for a while)
//! ```
//!
//! Nothing here is fatal: without names, VMs run on.

use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use banger_protocol::{Install, Request, Ula};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::records::Records;
use super::resolvers::Resolvers;
use super::server::Server;
use super::sockets;
use super::zone::Zone;
use crate::controller::Published;
use crate::helper_client::HelperClient;

/// Between two tries of what has failed; it doubles up to [`RESYNC`]. Who has
/// the port can't be watched.
const RETRY: Duration = Duration::from_secs(2);
/// systemd-resolved is told again so often: it may have been started, or the
/// bridge made anew. If all is well, that is one look.
const RESYNC: Duration = Duration::from_secs(60);
/// How long the end may take.
const FAREWELL: Duration = Duration::from_secs(5);
/// Between two tries at the end: a helper that died is started again at once.
const FAREWELL_RETRY: Duration = Duration::from_millis(250);
/// systemd-resolved's own socket: its files stay when it stops, and this refuses then.
const RESOLVED: &str = "/run/systemd/resolve/io.systemd.Resolve";

/// The DNS server of an installation.
pub struct Service {
    enabled: bool,
    zone: Zone,
    upstreams: Vec<IpAddr>,
    helper: HelperClient,
    resolved: PathBuf,
    published: watch::Receiver<Arc<Published>>,
}

impl Service {
    /// A service that follows what is published. Where it isn't enabled, all
    /// that it does is to take back what a former daemon has told. `ula`: the
    /// prefix of guests' IPv6 addresses, where they have some.
    pub fn new(
        dns: &banger_core::config::Dns,
        install: &Install,
        ula: Option<Ula>,
        helper_socket: PathBuf,
        published: watch::Receiver<Arc<Published>>,
    ) -> Self {
        Self {
            enabled: dns.enabled,
            zone: Zone::new(install.subnet, ula),
            upstreams: dns.upstreams.clone(),
            helper: HelperClient::new(helper_socket),
            resolved: RESOLVED.into(),
            published,
        }
    }

    /// Takes what listens there for systemd-resolved.
    #[cfg(test)]
    pub(super) fn with_resolved(mut self, socket: PathBuf) -> Self {
        self.resolved = socket;
        self
    }

    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        if self.enabled {
            tokio::select! {
                () = self.serve() => {}
                () = stop.cancelled() => {}
            }
        }
        self.leave().await;
    }

    async fn serve(&mut self) {
        let (names, records) = watch::channel(Arc::new(Records::default()));
        let zone = self.zone;
        let server = Arc::new(Server::new(zone, records, Resolvers::new(&self.upstreams)));
        let mut opening = Attempts::new("names of VMs aren't answered");
        let mut telling = Attempts::new("systemd-resolved doesn't know names of VMs");
        let mut serving: Option<AbortOnDropHandle<()>> = None;
        // What was published before counts as well.
        self.published.mark_changed();
        loop {
            let over = serving.as_ref().is_none_or(AbortOnDropHandle::is_finished);
            if over && opening.due() {
                serving = None;
                match sockets::open(&self.helper).await {
                    Ok((udp, tcp)) => {
                        tracing::info!(address = %zone.server(), "names of VMs are answered");
                        opening.succeeded();
                        let serve = tokio::spawn(Arc::clone(&server).serve(udp, tcp));
                        serving = Some(AbortOnDropHandle::new(serve));
                    }
                    Err(error) => opening.failed(&error.chain()),
                }
            }
            // There is a bridge, and somebody to ask for, once a VM has a name.
            if serving.is_some() && telling.due() && !names.borrow().is_empty() {
                match self.tell().await {
                    Ok(()) => telling.succeeded(),
                    Err(why) => telling.failed(&why),
                }
            }
            let next = match serving {
                None => opening.next,
                Some(_) if !names.borrow().is_empty() => telling.next,
                Some(_) => Instant::now() + RESYNC,
            };
            tokio::select! {
                changed = self.published.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let published = Arc::clone(&self.published.borrow_and_update());
                    let had_none = names.borrow().is_empty();
                    names.send_if_modified(|current| {
                        let new = Records::of(&published.vms, current);
                        let differs = new != **current;
                        if differs {
                            *current = Arc::new(new);
                        }
                        differs
                    });
                    if had_none && !names.borrow().is_empty() {
                        telling.now();
                    }
                }
                () = sleep_until(next) => {}
            }
        }
    }

    /// Has systemd-resolved ask here for names of VMs.
    async fn tell(&self) -> Result<(), String> {
        if !self.resolved_runs() {
            return Err("it doesn't run; docs/dns.md says what else can be done".to_owned());
        }
        match self
            .helper
            .ensure(Request::EnsureResolver {}, Vec::new())
            .await
        {
            Ok(_) => Ok(()),
            Err(error) => Err(error.chain()),
        }
    }

    /// Nobody will answer from now on: nobody is to be asked. This is the last
    /// chance to say so, so that one failure isn't the end of it.
    async fn leave(&self) {
        if !self.resolved_runs() {
            return;
        }
        let mut why = "banger's helper doesn't answer".to_owned();
        let telling = async {
            loop {
                let told = self.helper.ensure(Request::RemoveResolver {}, Vec::new());
                match told.await {
                    Ok(_) => return true,
                    Err(error) => {
                        why = error.chain();
                        if !error.may_pass() {
                            return false;
                        }
                    }
                }
                sleep(FAREWELL_RETRY).await;
            }
        };
        if !timeout(FAREWELL, telling).await.unwrap_or(false) {
            tracing::warn!("systemd-resolved still asks for names of VMs here: {why}");
        }
    }

    fn resolved_runs(&self) -> bool {
        UnixStream::connect(&self.resolved).is_ok()
    }
}

/// Tries of one thing: when the next one is due, and what was said of the last.
struct Attempts {
    what: &'static str,
    next: Instant,
    pause: Duration,
    said: Option<String>,
}

impl Attempts {
    fn new(what: &'static str) -> Self {
        Self {
            what,
            next: Instant::now(),
            pause: RETRY,
            said: None,
        }
    }

    fn due(&self) -> bool {
        self.next <= Instant::now()
    }

    fn now(&mut self) {
        self.next = Instant::now();
    }

    fn succeeded(&mut self) {
        (self.pause, self.said) = (RETRY, None);
        self.next = Instant::now() + RESYNC;
    }

    /// The same failure is said once.
    fn failed(&mut self, why: &str) {
        if self.said.as_deref() != Some(why) {
            tracing::warn!("{}: {why}", self.what);
            self.said = Some(why.to_owned());
        }
        self.next = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(RESYNC);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_tried_ever_more_rarely() {
        let mut attempts = Attempts::new("a thing doesn't work");
        let mut pauses = Vec::new();
        for _ in 0..7 {
            attempts.failed("because");
            pauses.push((attempts.next - Instant::now()).as_secs());
            assert!(!attempts.due());
            tokio::time::sleep_until(attempts.next).await;
            assert!(attempts.due());
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60]);
        attempts.succeeded();
        assert_eq!((attempts.next - Instant::now()).as_secs(), 60);
        attempts.failed("because");
        assert_eq!((attempts.next - Instant::now()).as_secs(), 2);
    }
}
