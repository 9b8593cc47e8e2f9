//! Every call of the host and of the store, with every fault: the daemon
//! converges all the same.
//!
//! ```text
//! scenario without fault -> its calls -> for each call and fault:
//!     scenario again -> (daemon dead? another one) -> converged, as without
//! ```
//!
//! The calls are recorded, not listed: one that is new is covered unnamed.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use banger_core::admit::Rules;
use banger_core::api::{Kind, Name, Quantity};
use banger_core::config::VmDefaults;
use banger_core::intent::{Applied, ImageDigest, Intents};
use banger_core::plan::{Clock, HostStep, PoolTarget, Step, plan, wants_to_run};
use banger_core::pressure::{DiskLimits, Gauge};
use banger_core::status::Paths;
use banger_protocol::{DiskRole, NetworkPolicy, PoolSize, Sectors, WarmUps};
use banger_testkit::{FakeHost, Faults, Site, When, generate, host_step_name};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{BootClock, Collect, Confirm, Controller, Handle, Refusal, Settings};
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

fn pool() -> PoolTarget {
    PoolTarget {
        size: PoolSize::try_from(2).unwrap(),
        parallel: WarmUps::try_from(2).unwrap(),
    }
}

/// What a person or the world does; each is done again where the daemon died
/// before it answered.
#[derive(Clone, Debug)]
enum Do {
    Images,
    EditImages,
    RemoveImages,
    /// `banger gc`, until it leaves nothing.
    Collect,
    /// `banger trash empty`, of all that lies there.
    EmptyTrash,
    Vm(&'static str),
    RemoveVm,
    Delete {
        purge: bool,
    },
    /// `banger undelete`, of the one VM that lies in the trash.
    Undelete(&'static str),
    /// `banger rename`, and what the document says with the new name.
    Rename(&'static str),
    Power(Power),
    Confirm,
    Kill,
    /// Leaves so much of the disk, MiB.
    Free(u64),
    Settle,
}

struct World {
    root: tempfile::TempDir,
    host: FakeHost,
    began: Instant,
    handle: Option<Handle>,
    task: Option<JoinHandle<()>>,
    deaths: u32,
}

fn web() -> Name {
    "web".parse().unwrap()
}

fn document(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: banger.dev/v1alpha1\nkind: VirtualMachine\n\
         metadata: {{name: {name}}}\nspec: {{{spec}}}\n"
    )
}

impl World {
    fn new() -> Self {
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

    fn faults(&self) -> &Faults {
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
                runtime_dir: "/run/banger".into(),
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
            Do::Vm(spec) => {
                self.write("web.yaml", Some(&document("web", spec))).await;
            }
            Do::Undelete(spec) => {
                self.ask(|handle| async move {
                    let entries = handle.trash().await?;
                    handle.undelete(entries[0].id.clone()).await
                })
                .await;
                self.write("web.yaml", Some(&document("web", spec))).await;
            }
            Do::Rename(spec) => {
                let to: Name = "shop".parse().unwrap();
                self.ask(|handle| {
                    let to = to.clone();
                    async move { handle.rename(web(), to).await }
                })
                .await;
                self.write("web.yaml", Some(&document("shop", spec))).await;
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
                self.host.kill_vmm(uid);
            }
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

    async fn settle(&mut self) {
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

    async fn run(&mut self, acts: &[Do]) {
        for act in acts {
            self.act(act).await;
        }
    }

    /// What holds at the end, whatever struck; and what must be the same as
    /// without a fault.
    async fn end(mut self) -> Vec<String> {
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

/// The scenario without a fault: its calls, and its end.
async fn dry(before: &[Do], acts: &[Do]) -> (Vec<Site>, Vec<String>) {
    let mut world = World::new();
    world.run(before).await;
    world.faults().record();
    world.run(acts).await;
    world.settle().await;
    let sites = world.faults().recorded();
    (sites, world.end().await)
}

async fn with_fault(before: &[Do], acts: &[Do], site: &Site, when: When) -> (bool, Vec<String>) {
    let mut world = World::new();
    world.run(before).await;
    world.faults().aim(site.clone(), when);
    world.run(acts).await;
    world.settle().await;
    let struck = world.faults().struck();
    (struck, world.end().await)
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
}

fn prove(scenario: &str, before: &[Do], acts: &[Do]) {
    let (sites, expected) = paused().block_on(dry(before, acts));
    assert!(!sites.is_empty(), "{scenario} calls nothing");
    assert!(sites.iter().any(|site| site.name.starts_with("writing")));
    let (mut struck, mut missed) = (0, Vec::new());
    for site in &sites {
        for when in When::ALL {
            println!("{scenario}: {when:?} at {site:?}");
            let (hit, end) = paused().block_on(with_fault(before, acts, site, when));
            assert_eq!(end, expected, "{scenario}: {when:?} at {site:?}");
            if hit {
                struck += 1;
            } else {
                missed.push(site.clone());
            }
        }
    }
    // How often the host is looked at, and status written, is a matter of
    // timing; steps aren't, nor may much be left out for it.
    let timed = |site: &Site| {
        let looks = ["observing", "reading the trash", "looking at the room"];
        looks.contains(&site.name.as_str()) || site.name.starts_with("writing")
    };
    if let Some(site) = missed.iter().find(|site| !timed(site)) {
        panic!("{scenario}: {site:?} was never reached");
    }
    assert!(
        struck > missed.len() * 9,
        "{scenario}: not reached: {missed:?}"
    );
    println!(
        "{scenario}: {} call sites x {} faults: {struck} struck, {} not reached, all converged",
        sites.len(),
        When::ALL.len(),
        missed.len()
    );
}

const PLAIN: &str = "image: debian, workDisk: {size: 1Gi}, network: {nat: true}";
const PUBLISHED: &str = "image: debian, workDisk: {size: 1Gi}, \
                         network: {nat: true, ports: [{host: 8080, guest: 80}]}";
const WITH_A_KEY: &str = "image: debian, workDisk: {size: 1Gi}, network: {nat: true}, \
    sshAuthorizedKeys: [ssh-ed25519 \
    AAAAC3NzaC1lZDI1NTE5AAAAIJxQ5zU5l0Ut8DnTj0mbUsG2rPNbPGNPyYtjoIHIDPKU you@host]";
const MORE_VCPUS: &str = "image: debian, workDisk: {size: 1Gi}, network: {nat: true}, vcpus: 4";
const OTHER_IMAGE: &str = "image: alpine, workDisk: {size: 1Gi}, network: {nat: true}";

/// What is done before the calls count, and what while they do.
struct Scenario {
    name: &'static str,
    before: Vec<Do>,
    acts: Vec<Do>,
}

impl Scenario {
    fn new(name: &'static str, before: Vec<Do>, acts: Vec<Do>) -> Self {
        Self { name, before, acts }
    }

    /// With a VM that runs.
    fn up(name: &'static str, acts: Vec<Do>) -> Self {
        Self::new(name, vec![Do::Images, Do::Vm(PLAIN), Do::Settle], acts)
    }

    fn prove(&self) {
        prove(self.name, &self.before, &self.acts);
    }
}

fn create() -> Scenario {
    let before = vec![Do::Images, Do::Settle];
    Scenario::new("create", before, vec![Do::Vm(PUBLISHED)])
}

fn restart() -> Scenario {
    let restart = Do::Power(Power::Restart);
    Scenario::up("restart", vec![Do::Vm(MORE_VCPUS), Do::Settle, restart])
}

fn replace_root() -> Scenario {
    let acts = vec![Do::Vm(OTHER_IMAGE), Do::Settle, Do::Confirm];
    Scenario::up("replace root", acts)
}

fn update() -> Scenario {
    let acts = vec![Do::Vm(WITH_A_KEY), Do::Settle, Do::Vm(PUBLISHED)];
    Scenario::up("update", acts)
}

fn vanish() -> Scenario {
    Scenario::up("vanish", vec![Do::RemoveVm])
}

fn come_back() -> Scenario {
    let acts = vec![Do::RemoveVm, Do::Settle, Do::Vm(PLAIN)];
    Scenario::up("come back", acts)
}

fn delete() -> Scenario {
    let acts = vec![Do::Delete { purge: false }, Do::Settle, Do::EmptyTrash];
    Scenario::up("delete", acts)
}

fn undelete() -> Scenario {
    let acts = vec![Do::Delete { purge: false }, Do::Settle, Do::Undelete(PLAIN)];
    Scenario::up("undelete", acts)
}

fn rename() -> Scenario {
    Scenario::up("rename", vec![Do::Rename(PLAIN)])
}

fn purge() -> Scenario {
    Scenario::up("purge", vec![Do::Delete { purge: true }])
}

fn stop_and_start() -> Scenario {
    let acts = vec![Do::Power(Power::Stop), Do::Settle, Do::Power(Power::Start)];
    Scenario::up("stop and start", acts)
}

fn full_disk() -> Scenario {
    let acts = vec![Do::Free(100), Do::Settle, Do::Free(1 << 20)];
    Scenario::up("full disk", acts)
}

fn images() -> Scenario {
    let acts = vec![Do::Images, Do::Settle, Do::RemoveImages];
    Scenario::new("image", Vec::new(), acts)
}

fn collect() -> Scenario {
    let acts = vec![Do::EditImages, Do::Settle, Do::Collect];
    Scenario::new("gc", vec![Do::Images, Do::Settle], acts)
}

fn vmm_killed() -> Scenario {
    Scenario::up("vmm killed", vec![Do::Kill])
}

macro_rules! proofs {
    ($($name:ident: $scenario:ident,)*) => {
        $(#[test]
        fn $name() {
            $scenario().prove();
        })*

        fn scenarios() -> Vec<Scenario> {
            vec![$($scenario()),*]
        }
    };
}

proofs! {
    a_vm_is_created: create,
    restart_for_changed_vcpus: restart,
    replace_root_confirmed: replace_root,
    keys_and_ports_change_live: update,
    a_document_vanishes: vanish,
    a_document_vanishes_and_comes_back: come_back,
    a_vm_is_deleted_and_the_trash_emptied: delete,
    a_vm_is_deleted_and_had_back: undelete,
    a_vm_is_renamed: rename,
    a_vm_is_purged: purge,
    a_vm_is_stopped_and_started: stop_and_start,
    the_disk_fills_up_and_is_freed: full_disk,
    image_import_and_removal: images,
    an_edited_image_and_gc: collect,
    a_vmm_is_killed: vmm_killed,
}

/// One of each kind, by the name that its calls have. A new kind doesn't
/// compile in `vm_kind` or `host_kind` until it has a number there; give it a
/// line here too, and a scenario that reaches it.
fn kinds() -> (Vec<Step>, Vec<HostStep>) {
    let image = ImageDigest("ab".repeat(32));
    let size = Sectors(2048);
    let role = DiskRole::Cow;
    let intent = generate::vm(1, generate::spec("debian"));
    let applied = Box::new(Applied {
        spec: intent.spec,
        generation: 1,
        image: image.clone(),
        restart_token: 0,
    });
    let steps = vec![
        Step::MakeRootDisk { size },
        Step::MakeWorkDisk { size },
        Step::TrashDisk { role },
        Step::AttachLoop { role, image: None },
        Step::EnsureRoot { size },
        Step::EnsureTap,
        Step::StartVmm { image },
        Step::BootGuest { applied },
        Step::PublishPorts,
        Step::UpdateGuest,
        Step::PauseGuest,
        Step::ResumeGuest,
        Step::ShutDownGuest { grace_seconds: 1 },
        Step::KillVmm,
        Step::RemoveVmm,
        Step::RemoveTap,
        Step::RemoveRoot,
        Step::DetachLoop { role },
        Step::RestoreDisks,
        Step::KeepRecord,
        Step::DropDisks { purge: true },
        Step::DropDisks { purge: false },
    ];
    let host = vec![
        HostStep::EnsureBridge { ipv6: true },
        HostStep::EnsureNat {
            policy: NetworkPolicy::default(),
        },
        HostStep::EnsurePool {
            size: pool().size,
            parallel: pool().parallel,
        },
        HostStep::EnsureBallast {
            size: Quantity::default(),
        },
        HostStep::ReleaseBallast,
    ];
    (steps, host)
}

const VM_KINDS: usize = 21;
const HOST_KINDS: usize = 5;

/// `None`: it is the store's, and never reaches a host.
const fn vm_kind(step: &Step) -> Option<usize> {
    Some(match step {
        Step::MakeRootDisk { .. } => 0,
        Step::MakeWorkDisk { .. } => 1,
        Step::TrashDisk { .. } => 2,
        Step::AttachLoop { .. } => 3,
        Step::EnsureRoot { .. } => 4,
        Step::EnsureTap => 5,
        Step::StartVmm { .. } => 6,
        Step::BootGuest { .. } => 7,
        Step::PublishPorts => 8,
        Step::UpdateGuest => 9,
        Step::PauseGuest => 10,
        Step::ResumeGuest => 11,
        Step::ShutDownGuest { .. } => 12,
        Step::KillVmm => 13,
        Step::RemoveVmm => 14,
        Step::RemoveTap => 15,
        Step::RemoveRoot => 16,
        Step::DetachLoop { .. } => 17,
        Step::RestoreDisks => 18,
        Step::DropDisks { .. } => 19,
        Step::KeepRecord => 20,
        Step::PinImage { .. }
        | Step::RecordStart { .. }
        | Step::RecordExit { .. }
        | Step::Forget => return None,
    })
}

const fn host_kind(step: &HostStep) -> usize {
    match step {
        HostStep::EnsureBridge { .. } => 0,
        HostStep::EnsureNat { .. } => 1,
        HostStep::EnsurePool { .. } => 2,
        HostStep::EnsureBallast { .. } => 3,
        HostStep::ReleaseBallast => 4,
    }
}

#[test]
fn the_scenarios_reach_every_kind_of_call() {
    let mut reached = BTreeSet::new();
    for scenario in scenarios() {
        let (sites, _) = paused().block_on(dry(&scenario.before, &scenario.acts));
        reached.extend(sites.into_iter().map(|site| site.name));
    }
    let (steps, host) = kinds();
    let numbers: BTreeSet<_> = steps.iter().filter_map(vm_kind).collect();
    assert_eq!(numbers, (0..VM_KINDS).collect(), "a kind has no line");
    let numbers: BTreeSet<_> = host.iter().map(host_kind).collect();
    assert_eq!(numbers, (0..HOST_KINDS).collect(), "a kind has no line");
    let others = [
        "importing an image",
        "removing an image",
        "listing",
        "observing",
        "reading the trash",
        "emptying the trash",
        "looking at the room",
    ];
    let steps = steps.iter().map(Step::describe);
    let host = host.iter().map(|step| host_step_name(step).to_owned());
    let names = steps.chain(host).chain(others.map(str::to_owned));
    let missing: Vec<_> = names.filter(|name| !reached.contains(name)).collect();
    assert_eq!(missing, Vec::<String>::new(), "of {reached:#?}");
}
