//! The loop itself: what wakes it, and nothing of what it decides.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use banger_core::adoption::Adoption;
use banger_core::api::Condition;
use banger_core::observed::Observed;
use banger_core::orphans::Orphans;
use banger_core::seam::Host;
use banger_core::vanish::Vanish;
use banger_protocol::VmUid;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::act::Begun;
use super::admit::Latest;
use super::ask::{Ask, Handle};
use super::board::Board;
use super::chain::End;
use super::clock::BootClock;
use super::collect::Collecting;
use super::disk::{Disk, LOOK};
use super::ended::Ended;
use super::heartbeat::{BEAT, Heartbeat};
use super::image::Importing;
use super::ledger::Ledger;
use super::look::Look;
use super::network::Stood;
use super::pass::Last;
use super::pool::WarmUp;
use super::publish::Published;
use super::settings::Settings;
use crate::source::{Sources, Watch};
use crate::store::{Loaded, Store};

/// File events come in swarms; a pass waits so long for the rest of them.
const SWARM: Duration = Duration::from_millis(50);
/// Passes begin at least so far apart.
pub(super) const SPACING: Duration = Duration::from_millis(10);
/// After a pass that could not be saved.
const RETRY: Duration = Duration::from_secs(5);
/// Progress is published so often at most.
const PROGRESS: Duration = Duration::from_millis(100);
/// Requests that may wait for the loop.
const QUEUE: usize = 64;

/// The loop.
#[derive(Debug)]
pub struct Controller<H> {
    pub(super) host: Arc<H>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) board: Arc<Board>,
    pub(super) clock: BootClock,
    pub(super) settings: Settings,
    pub(super) sources: Arc<Mutex<Sources>>,
    pub(super) watch: Option<Watch>,
    pub(super) file_changed: Arc<Notify>,
    pub(super) vanish: Vanish,
    pub(super) latest: Latest,
    pub(super) last: Option<Last>,
    /// What the last look at the host saw; previews wait for the next one.
    pub(super) seen: watch::Sender<Option<Arc<Observed>>>,
    /// When the host is looked at next, at the latest; a time in the past while
    /// that is under way.
    pub(super) due: Instant,
    /// What of the host no intent knew at the last look, and how many sweeps
    /// there had been before it; see [`Self::known_orphans`].
    pub(super) orphans: Option<(u64, Orphans)>,
    /// Sweeps that took orphans away, each counted before anybody hears of it.
    pub(super) sweeps: Arc<AtomicU64>,
    pub(super) conditions: BTreeMap<VmUid, Vec<Condition>>,
    pub(super) boot_id: Option<String>,
    pub(super) published: watch::Sender<Arc<Published>>,
    pub(super) chains: JoinSet<End>,
    pub(super) chain_of: HashMap<tokio::task::Id, VmUid>,
    pub(super) begun: BTreeMap<VmUid, Begun>,
    pub(super) pauses: BTreeMap<VmUid, Instant>,
    pub(super) imports: JoinSet<VmUid>,
    pub(super) importing: BTreeMap<VmUid, Importing>,
    pub(super) tidying: JoinSet<bool>,
    pub(super) looks: JoinSet<Look>,
    pub(super) collections: JoinSet<bool>,
    pub(super) collecting: Collecting,
    /// What ran when this daemon started; `None` until it could be told.
    pub(super) adoption: Option<Adoption>,
    pub(super) warm_up: WarmUp,
    pub(super) disk: Disk,
    pub(super) host_failures: u32,
    /// What stood in the network's tables last.
    pub(super) stood: Stood,
    /// The boot clock when running time was last counted.
    pub(super) ticked_ms: u64,
    /// Running time that isn't in the ledger yet, milliseconds.
    pub(super) ran_ms: u64,
    pub(super) stop: CancellationToken,
    pub(super) heartbeat: Heartbeat,
    /// A request that was answered during a pass calls for another one.
    another: bool,
    asks: mpsc::Receiver<Ask>,
}

impl<H: Host> Controller<H> {
    /// A loop that goes on where the store says that the last one ended, and
    /// the way to it.
    pub fn new(
        host: Arc<H>,
        store: Store,
        loaded: Loaded,
        settings: Settings,
        clock: BootClock,
    ) -> (Self, Handle) {
        let file_changed = Arc::new(Notify::new());
        let watch = match Watch::new(Arc::clone(&file_changed)) {
            Ok(watch) => Some(watch),
            Err(error) => {
                tracing::warn!("files can't be watched: {error}; changes are seen at a resync");
                None
            }
        };
        let (asks, queue) = mpsc::channel(QUEUE);
        let (published, receiver) = watch::channel(Arc::default());
        let ledger = Arc::new(Ledger::new(store, &loaded));
        let heartbeat = Heartbeat::default();
        let handle = Handle {
            asks,
            published: receiver,
            ledger: Arc::clone(&ledger),
            heartbeat: heartbeat.clone(),
        };
        let sources = Sources::new(&settings.directories, &settings.home);
        let mut vanish = Vanish::default();
        vanish.restore(loaded.guard);
        let controller = Self {
            host,
            ledger,
            board: Arc::default(),
            ticked_ms: clock.now_ms(),
            ran_ms: 0,
            clock,
            settings,
            sources: Arc::new(Mutex::new(sources)),
            watch,
            file_changed,
            vanish,
            latest: Latest::default(),
            last: None,
            seen: watch::Sender::default(),
            due: Instant::now(),
            orphans: None,
            sweeps: Arc::default(),
            conditions: loaded.conditions,
            boot_id: loaded.boot_id,
            published,
            chains: JoinSet::new(),
            chain_of: HashMap::new(),
            begun: BTreeMap::new(),
            pauses: BTreeMap::new(),
            imports: JoinSet::new(),
            importing: BTreeMap::new(),
            tidying: JoinSet::new(),
            looks: JoinSet::new(),
            collections: JoinSet::new(),
            collecting: Collecting::new(),
            adoption: None,
            warm_up: WarmUp::default(),
            disk: Disk::default(),
            host_failures: 0,
            stood: Stood::default(),
            stop: CancellationToken::new(),
            heartbeat,
            another: false,
            asks: queue,
        };
        (controller, handle)
    }

    /// Runs until `stop`; then chains end at their next step, and everything
    /// on the host stays as it is.
    pub async fn run(mut self, stop: CancellationToken) -> Ended<H> {
        let mut progress: Option<Instant> = None;
        let mut look = Instant::now() + LOOK;
        while !stop.is_cancelled() {
            self.heartbeat.stamp();
            let earliest = Instant::now() + SPACING;
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(BEAT) => {}
                () = sleep_until(self.due) => {
                    progress = None;
                    self.due = self.pass_or_retry().await;
                    if std::mem::take(&mut self.another) {
                        self.due = self.due.min(Instant::now() + SPACING);
                    }
                }
                () = sleep_until(look), if self.settings.disk.any() => {
                    look = Instant::now() + LOOK;
                    if self.disk_differs().await {
                        self.due = self.due.min(earliest);
                    }
                }
                Some(ask) = self.asks.recv() => {
                    if self.answer(ask).await {
                        self.due = self.due.min(earliest);
                    }
                }
                Some(end) = self.chains.join_next_with_id() => {
                    self.chain_over(end);
                    self.due = self.due.min(earliest);
                }
                Some(end) = self.imports.join_next() => {
                    self.import_over(end);
                    self.due = self.due.min(earliest);
                }
                Some(end) = self.tidying.join_next() => {
                    // What failed is tried again at the next resync.
                    if end.unwrap_or(false) {
                        self.due = self.due.min(earliest);
                    }
                }
                Some(end) = self.looks.join_next() => self.looked(end).await,
                Some(end) = self.collections.join_next_with_id() => {
                    if self.collected(end) {
                        self.due = self.due.min(earliest);
                    }
                }
                Some(end) = self.warm_up.task.join_next() => {
                    self.warm_up_over(end);
                    self.due = self.due.min(earliest);
                }
                () = self.file_changed.notified() => self.due = self.due.min(Instant::now() + SWARM),
                () = self.host.changed() => self.due = self.due.min(earliest),
                () = self.board.changed() => {
                    progress.get_or_insert(Instant::now() + PROGRESS);
                }
                () = sleep_until(progress.unwrap_or(self.due)), if progress.is_some() => {
                    progress = None;
                    if let Err(error) = self.publish().await {
                        tracing::error!("status could not be saved: {error}");
                    }
                }
            }
        }
        self.leave().await;
        Ended {
            host: self.host,
            ledger: self.ledger,
            clock: self.clock,
            boot_id: self.boot_id,
        }
    }

    /// Awaits what the host does for a pass, and answers requests meanwhile:
    /// a helper that hangs must not keep anybody from stopping a VM. The
    /// heartbeat isn't stamped by that.
    pub(super) async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                Some(ask) = self.asks.recv() => self.another |= self.answer(ask).await,
                Some(end) = self.looks.join_next() => self.looked(end).await,
            }
        }
    }

    async fn pass_or_retry(&mut self) -> Instant {
        match self.pass().await {
            Ok(rest) => Instant::now() + rest.max(SPACING),
            Err(error) => {
                let cause = std::error::Error::source(&error);
                let cause = cause.map(ToString::to_string).unwrap_or_default();
                tracing::error!("a pass could not be saved: {error} {cause}");
                Instant::now() + RETRY
            }
        }
    }

    async fn leave(&mut self) {
        self.tick();
        if let Err(error) = self.count_running().await {
            tracing::warn!("the running time could not be saved: {error}");
        }
        self.stop.cancel();
        self.imports.abort_all();
        self.tidying.abort_all();
        self.looks.abort_all();
        self.warm_up.task.abort_all();
        // Both end at their next step.
        let chains = async {
            while self.chains.join_next().await.is_some() {}
            while self.collections.join_next().await.is_some() {}
        };
        if timeout(self.settings.patience, chains).await.is_err() {
            tracing::warn!("a step took too long; it is repeated at the next start");
        }
    }
}
