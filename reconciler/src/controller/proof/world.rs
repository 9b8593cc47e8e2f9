//! A daemon on the simulated host, whose people and whose faults are scripted.

use std::fs;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use banger_core::admit::Rules;
use banger_core::api::{Kind, Name, Quantity};
use banger_core::config::VmDefaults;
use banger_core::intent::Intents;
use banger_core::plan::{Clock, PoolTarget, plan, wants_to_run};
use banger_core::pressure::{DiskLimits, Gauge};
use banger_core::status::Paths;
use banger_protocol::{PoolSize, WarmUps};
use banger_testkit::{FakeHost, Faults, Place};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::{BootClock, Collect, Confirm, Controller, Ended, Handle, Refusal, Settings};
use crate::store::{OpenError, Store};
use crate::wire::request::Power;

const IMAGE: &str = "apiVersion: banger.dev/v1alpha1\nkind: Image\nmetadata: {name: debian}\n\
                     spec: {rootfs: {disk: {path: /srv/debian.ext4}}}\n---\n\
                     apiVersion: banger.dev/v1alpha1\nkind: Image\nmetadata: {name: alpine}\n\
                     spec: {rootfs: {disk: {path: /srv/alpine.ext4}}}\n";

/// One of them as another file: the import of the first is nobody's then.
const EDITED: &str = "apiVersion: banger.dev/v1alpha1\nkind: Image\nmetadata: {name: debian}\n\
                      spec: {rootfs: {disk: {path: /srv/debian-2.ext4}}}\n";

/// The image that is declared beside those that are removed.
const KEPT: &str = "apiVersion: banger.dev/v1alpha1\nkind: Image\nmetadata: {name: kept}\n\
                    spec: {rootfs: {disk: {path: /srv/kept.ext4}}}\n";

const DISK: DiskLimits = DiskLimits {
    creates: Quantity::from_mib(2048),
    guests: Quantity::from_mib(512),
    hysteresis: Quantity::from_mib(256),
    ballast: Quantity::from_mib(256),
};

pub(super) fn pool() -> PoolTarget {
    PoolTarget {
        size: PoolSize::try_from(2).unwrap(),
        parallel: WarmUps::try_from(2).unwrap(),
    }
}

/// What a person or the world does; each is done again where the daemon died
/// before it answered.
#[derive(Clone, Debug)]
pub(super) enum Do {
    Images,
    EditImages,
    RemoveImages,
    /// An import that was cut short left its files.
    Litter,
    /// `banger gc`, until it leaves nothing.
    Collect,
    /// `banger trash empty`, of all that lies there.
    EmptyTrash,
    Vm(&'static str),
    RemoveVm,
    Delete {
        purge: bool,
    },
    Power(Power),
    Confirm,
    /// `banger rename vm web www`, in its file too.
    Rename(&'static str),
    /// `banger undelete`, with this document.
    Undelete(&'static str),
    /// The VMM is killed, and somebody else gets its pid.
    Kill,
    /// The host is rebooted, and others get the numbers that VMs had.
    Reboot,
    /// Somebody removes the bridge under the running VMs.
    LoseBridge,
    /// Leaves so much of the disk, MiB.
    Free(u64),
    Settle,
}

pub(super) struct World {
    root: tempfile::TempDir,
    host: FakeHost,
    began: Instant,
    handle: Option<Handle>,
    task: Option<JoinHandle<Ended<FakeHost>>>,
    deaths: u32,
}

fn web() -> Name {
    "web".parse().unwrap()
}

fn www() -> Name {
    "www".parse().unwrap()
}

fn document(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: banger.dev/v1alpha1\nkind: VirtualMachine\n\
         metadata: {{name: {name}}}\nspec: {{{spec}}}\n"
    )
}

impl World {
    pub(super) fn new() -> Self {
        // Nothing here has to outlive the machine, and memory needs no fsync.
        let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let root = root.unwrap();
        for directory in ["state", "config"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        let mut world = Self {
            root,
            host: FakeHost::new(),
            began: Instant::now(),
            handle: None,
            task: None,
            deaths: 0,
        };
        world.start();
        world
    }

    pub(super) fn faults(&self) -> &Faults {
        self.host.faults()
    }

    fn clock(&self) -> BootClock {
        let began = self.began;
        BootClock::new(move || 1_000_000 + u64::try_from(began.elapsed().as_millis()).unwrap())
    }

    fn start(&mut self) {
        let state_dir = self.root.path().join("state");
        let (mut store, loaded) = open(&state_dir);
        store.faults = Some(self.faults().clone());
        let settings = Settings {
            pool: Some(pool()),
            guest_to_guest: true,
            ipv6: true,
            trash_keep: Duration::from_secs(3 * 3600),
            directories: vec![self.root.path().join("config")],
            home: "/home/owner".into(),
            rules: Rules {
                subnet: "172.30.0.0/16".parse().unwrap(),
                slots: 100,
                defaults: VmDefaults::default(),
            },
            paths: Paths {
                state_dir,
                known_hosts: "/home/owner/known_hosts".into(),
            },
            memory_headroom: 0,
            disk: DISK,
            max_chains: 2,
            resync: Duration::from_secs(30),
            patience: Duration::from_secs(5),
        };
        let host = Arc::new(self.host.clone());
        let (controller, handle) = Controller::new(host, store, loaded, settings, self.clock());
        self.task = Some(tokio::spawn(controller.run(CancellationToken::new())));
        self.handle = Some(handle);
    }

    /// The daemon is gone, as by `kill -9`; another one starts.
    async fn replace(&mut self) {
        self.deaths += 1;
        assert!(self.deaths < 20, "daemons die without a fault");
        self.handle = None;
        let task = self.task.take().unwrap();
        task.abort();
        let _ = task.await;
        // What the daemon spawned was aborted with it, and goes as soon as it
        // is looked at.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        self.faults().revive();
        self.start();
    }

    /// Asks until there is an answer, whoever dies meanwhile.
    async fn ask<T, F>(&mut self, ask: impl Fn(Handle) -> F) -> T
    where
        F: Future<Output = Result<T, Refusal>>,
    {
        let mut refused = None;
        for _ in 0..50 {
            let answer = {
                let faults = self.faults().clone();
                let asked = pin!(ask(self.handle.clone().unwrap()));
                tokio::select! {
                    biased;
                    () = faults.down() => None,
                    answer = asked => Some(answer),
                }
            };
            match answer {
                None => self.replace().await,
                Some(Ok(answer)) => return answer,
                Some(Err(error)) => {
                    refused = Some(error);
                    self.pass_time(Duration::from_secs(1)).await;
                }
            }
        }
        panic!("never answered: {refused:?}");
    }

    async fn pass_time(&mut self, time: Duration) {
        let faults = self.faults().clone();
        let died = tokio::select! {
            biased;
            () = faults.down() => true,
            () = tokio::time::sleep(time) => false,
        };
        if died {
            self.replace().await;
        }
    }

    async fn write(&mut self, file: &str, text: Option<&str>) {
        let path = self.root.path().join("config").join(file);
        match text {
            Some(text) => fs::write(path, text).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
        self.ask(|handle| async move { handle.sync().await }).await;
    }

    async fn act(&mut self, act: &Do) {
        match act {
            Do::Images => self.write("images.yaml", Some(IMAGE)).await,
            Do::EditImages => self.write("images.yaml", Some(EDITED)).await,
            Do::Litter => self.host.with_extras(|extras| {
                extras.staging.insert(".import-web".to_owned());
            }),
            Do::Collect => {
                self.ask(|handle| async move {
                    let collected = handle.collect(Collect::default()).await?;
                    let failed = collected.removed.iter().any(|it| it.failed.is_some());
                    match failed || !collected.left.is_empty() {
                        true => Err(Refusal::conflict(format!("{collected:?}"), "again")),
                        false => Ok(()),
                    }
                })
                .await;
            }
            Do::EmptyTrash => {
                self.ask(|handle| async move {
                    let entries = handle.trash().await?;
                    let ids = entries.into_iter().map(|entry| entry.id).collect();
                    handle.empty_trash(ids).await
                })
                .await;
            }
            Do::RemoveImages => {
                // To a daemon that starts now an empty directory would look
                // like one that isn't mounted.
                self.write("kept.yaml", Some(KEPT)).await;
                self.write("images.yaml", None).await;
            }
            Do::Vm(spec) => self.write("web.yaml", Some(&document("web", spec))).await,
            Do::Rename(spec) => {
                self.ask(|handle| async move { handle.rename(web(), www()).await })
                    .await;
                self.write("web.yaml", Some(&document("www", spec))).await;
            }
            Do::Undelete(spec) => {
                self.ask(|handle| async move {
                    let entries = handle.trash().await?;
                    let entry = entries.first().expect("nothing lies in the trash");
                    handle.undelete(entry.id.clone()).await
                })
                .await;
                self.write("web.yaml", Some(&document("web", spec))).await;
            }
            Do::RemoveVm => self.write("web.yaml", None).await,
            Do::Delete { purge } => {
                let purge = *purge;
                let path = self.root.path().join("config/web.yaml");
                fs::remove_file(path).unwrap();
                self.ask(|handle| async move {
                    match handle.delete(Kind::VirtualMachine, web(), purge).await {
                        // It was done, and only the answer lost.
                        Err(error) if error.code == crate::wire::response::Code::NotFound => Ok(()),
                        answer => answer,
                    }
                })
                .await;
            }
            Do::Power(power) => {
                let power = *power;
                self.ask(|handle| async move { handle.power(web(), power).await })
                    .await;
            }
            Do::Confirm => {
                let confirm = Confirm {
                    replace_root: true,
                    allow_data_loss: true,
                };
                self.ask(|handle| async move { handle.confirm(web(), confirm).await })
                    .await;
            }
            Do::Kill => {
                let intents = self.intents().await;
                let uid = intents.vm(&web()).unwrap().uid;
                self.host.usurp(uid, Place::Process);
            }
            Do::Reboot => {
                self.host.reboot();
                self.replace().await;
            }
            Do::LoseBridge => self.host.lose_bridge(),
            Do::Free(mib) => self.host.set_free(Quantity::from_mib(*mib)),
            Do::Settle => self.settle().await,
        }
    }

    async fn intents(&self) -> Intents {
        let ledger = &self.handle.as_ref().unwrap().ledger;
        Intents::clone(&ledger.state().await.intents)
    }

    /// Nothing is left to do: the files are what is intended, and the next
    /// plan is empty.
    async fn is_settled(&mut self) -> Result<(), String> {
        let intents = self.intents().await;
        let observed = self.host.do_observe();
        let mut gauge = Gauge::default();
        gauge.read(&observed, &DISK);
        let clock = Clock {
            boot_ms: self.clock().now_ms(),
            available_memory: Some(1 << 50),
            pool: Some(pool()),
            disk: gauge.state(DISK),
            guest_to_guest: true,
            ipv6: true,
        };
        let plan = plan(&intents, &observed, clock);
        let waits = plan.waiting.iter().any(|waiting| {
            use banger_core::plan::Why::{ConfirmationRequired, DiskPressure, RestartRequired};
            !matches!(
                waiting.why,
                ConfirmationRequired { .. } | DiskPressure { .. } | RestartRequired { .. }
            )
        });
        if !plan.is_empty() || waits {
            return Err(format!("{plan:#?}"));
        }
        let files = self.root.path().join("config");
        for vm in intents.vms.values() {
            if !files.join("web.yaml").exists() {
                return Err(format!("{} is still there", vm.name()));
            }
        }
        let mut images = intents.images.values();
        if images.any(|image| image.name().as_str() != "kept")
            && !files.join("images.yaml").exists()
        {
            return Err("images are still there".into());
        }
        Ok(())
    }

    pub(super) async fn settle(&mut self) {
        let mut why = String::new();
        for _ in 0..400 {
            // Longer than what vanished is waited for.
            self.pass_time(Duration::from_secs(3)).await;
            match self.is_settled().await {
                Ok(()) => return,
                Err(left) => why = left,
            }
        }
        panic!("it never settles: {why}");
    }

    pub(super) async fn run(&mut self, acts: &[Do]) {
        for act in acts {
            self.act(act).await;
        }
    }

    /// What holds at the end, whatever struck; and what must be the same as
    /// without a fault.
    pub(super) async fn end(mut self) -> Vec<String> {
        self.settle().await;
        // A preview goes by what the last pass saw: one more after the last chain.
        self.pass_time(Duration::from_secs(40)).await;
        self.settle().await;
        let report = self.ask(|handle| async move { handle.diff(Vec::new()).await });
        let report = report.await;
        assert!(report.is_empty(), "{report:#?}");
        let intents = self.intents().await;
        let leaks = self.host.leaks(&intents);
        assert!(leaks.is_empty(), "{leaks:#?}");
        assert_eq!(self.host.cut_off(), [], "they have no network");
        assert!(self.host.decoys_untouched());
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
        let vms = intents.vms.values().map(|vm| {
            let applied = vm.applied.as_ref();
            let applied =
                applied.map(|applied| (&applied.spec, applied.generation, &applied.image));
            let wanted = (
                vm.name(),
                vm.generation,
                &vm.spec,
                &vm.allocation,
                &vm.image,
            );
            let (on, mut trashed) = (wants_to_run(vm), self.host.trashed(vm.uid));
            // The new disk of a start that failed may follow the old one there.
            trashed.dedup();
            format!(
                "{wanted:?} {applied:?} {on} {:?} {:?} {trashed:?}",
                vm.power, vm.deletion
            )
        });
        let images = intents.images.values().map(|image| {
            let imported = image.imported.as_ref().map(|imported| &imported.digest);
            format!("{} {} {imported:?}", image.name(), image.generation)
        });
        vms.chain(images).collect()
    }
}

fn open(state_dir: &std::path::Path) -> (Store, crate::store::Loaded) {
    // A write that was under way when the daemon died ends on its own thread,
    // and holds the lock until then.
    for _ in 0..1_000 {
        match Store::open(state_dir) {
            Err(OpenError::Locked { .. }) => std::thread::sleep(Duration::from_millis(1)),
            opened => return opened.unwrap(),
        }
    }
    panic!("the dead daemon's lock was never released");
}
