#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use banger_core::admit::Rules;
use banger_core::api::status::{ConditionStatus, ConditionType, Object, Phase};
use banger_core::api::{Kind, Name};
use banger_core::config::VmDefaults;
use banger_core::diff::Change;
use banger_core::plan::PoolTarget;
use banger_core::pressure::DiskLimits;
use banger_core::status::Paths;
use banger_protocol::{DiskRole, VmUid};
use banger_testkit::{FakeHost, Fault, When};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

mod adopting;
mod collecting;

use super::{BootClock, Confirm, Controller, Ended, Handle, Published, Settings};
use crate::store::Store;
use crate::wire::request::{OverlayFile, Power};
use crate::wire::response::Code;

mod bad_files;
mod deletion;
mod disk;
mod limits;
mod missing;
mod network;
mod reboot;
mod requests;
mod settings;
mod trash;
mod watchdog;
mod words;

/// A daemon on a simulated host, without its socket. Time is paused: what
/// waits for a timer doesn't take time.
struct Daemon {
    root: Arc<tempfile::TempDir>,
    host: FakeHost,
    handle: Handle,
    stop: CancellationToken,
    task: JoinHandle<Ended<FakeHost>>,
    began: Instant,
    /// How far the boot clock jumped ahead, milliseconds.
    skip: Arc<AtomicU64>,
    disk: DiskLimits,
}

const IMAGE: &str = "apiVersion: banger.dev/v1alpha1\nkind: Image\nmetadata: {name: debian}\n\
                     spec: {rootfs: {disk: {path: /srv/debian.ext4}}}\n";

fn vm(name: &str, more: &str) -> String {
    format!(
        "apiVersion: banger.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: {name}}}\n\
         spec:\n  image: debian\n{more}"
    )
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

impl Daemon {
    async fn start() -> Self {
        Self::on(Self::place(), FakeHost::new(), Instant::now())
    }

    /// Directories for one, with nothing in them.
    fn place() -> Arc<tempfile::TempDir> {
        let root = tempfile::tempdir().unwrap();
        for directory in ["state", "config/vms", "config/images"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        Arc::new(root)
    }

    fn on(root: Arc<tempfile::TempDir>, host: FakeHost, began: Instant) -> Self {
        Self::with(root, host, began, None, DiskLimits::default())
    }

    fn with(
        root: Arc<tempfile::TempDir>,
        host: FakeHost,
        began: Instant,
        pool: Option<PoolTarget>,
        disk: DiskLimits,
    ) -> Self {
        Self::adjusted(root, host, began, |settings| {
            settings.pool = pool;
            settings.disk = disk;
        })
    }

    fn adjusted(
        root: Arc<tempfile::TempDir>,
        host: FakeHost,
        began: Instant,
        adjust: impl FnOnce(&mut Settings),
    ) -> Self {
        let state_dir = root.path().join("state");
        let (store, loaded) = Store::open(&state_dir).unwrap();
        let mut settings = Settings {
            directories: ["vms", "images"]
                .map(|name| root.path().join("config").join(name))
                .to_vec(),
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
            trash_keep: Duration::from_secs(3 * 3600),
            memory_headroom: 0,
            disk: DiskLimits::default(),
            max_chains: 2,
            pool: None,
            guest_to_guest: true,
            ipv6: true,
            resync: Duration::from_secs(30),
            patience: Duration::from_secs(5),
        };
        adjust(&mut settings);
        let disk = settings.disk;
        let skip = Arc::new(AtomicU64::new(0));
        let jumped = Arc::clone(&skip);
        let clock = BootClock::new(move || {
            let passed = began.elapsed().as_millis();
            let skipped = jumped.load(Ordering::SeqCst);
            1_000_000 + u64::try_from(passed).unwrap() + skipped
        });
        let (controller, handle) =
            Controller::new(Arc::new(host.clone()), store, loaded, settings, clock);
        let stop = CancellationToken::new();
        let task = tokio::spawn(controller.run(stop.clone()));
        Self {
            root,
            host,
            handle,
            stop,
            task,
            began,
            skip,
            disk,
        }
    }

    /// Ends the daemon and starts another on the same host and state.
    async fn restart(self) -> Self {
        self.stop.cancel();
        self.task.await.unwrap();
        drop(self.handle);
        Self::with(self.root, self.host, self.began, None, self.disk)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.root.path().join("config/vms").join(file)
    }

    async fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).unwrap();
        self.handle.sync().await.unwrap();
    }

    async fn remove(&self, file: &str) {
        fs::remove_file(self.path(file)).unwrap();
        self.handle.sync().await.unwrap();
    }

    /// Waits until status is as it should be.
    async fn until(&self, what: &str, done: impl Fn(&Published) -> bool) -> Arc<Published> {
        let mut published = self.handle.published();
        let reached = tokio::time::timeout(
            Duration::from_secs(3600),
            published.wait_for(|now| now.complete && done(now)),
        )
        .await
        .map(|now| Arc::clone(&now.unwrap()));
        match reached {
            Ok(now) => now,
            Err(_) => panic!("never {what}: {:#?}", self.handle.published().borrow()),
        }
    }

    async fn ready(&self, vm: &str) -> Object {
        let phase = |now: &Published| get(now, vm).is_some_and(|o| o.status.phase == Phase::Ready);
        get(&*self.until("ready", phase).await, vm).unwrap()
    }

    async fn reasons(&self, kind: Kind, of: &str) -> Vec<String> {
        let (events, _) = self.handle.events(Some((kind, name(of)))).await.unwrap();
        events.into_iter().map(|event| event.reason).collect()
    }
}

fn get(now: &Published, vm: &str) -> Option<Object> {
    now.objects(Kind::VirtualMachine, Some(&name(vm))).pop()
}

fn condition(object: &Object, kind: ConditionType) -> Option<(ConditionStatus, String)> {
    let condition = object.status.conditions.iter().find(|c| c.kind == kind)?;
    Some((condition.status, condition.message.clone()))
}

fn holds(now: &Published, vm: &str, kind: ConditionType) -> bool {
    get(now, vm)
        .and_then(|object| condition(&object, kind))
        .is_some_and(|(status, _)| status == ConditionStatus::True)
}

/// The reason of its `DeletionHeld`.
fn held_by(now: &Published, vm: &str) -> String {
    let conditions = get(now, vm).unwrap().status.conditions;
    let mut held = conditions.into_iter();
    let held = held.find(|it| it.kind == ConditionType::DeletionHeld);
    held.unwrap().reason
}

fn pid(object: &Object) -> Option<u32> {
    object.status.handles.as_ref().unwrap().pid
}

/// Whether `web` is ready in another process than this one.
fn is_ready_again(now: &Published, before: Option<u32>) -> bool {
    get(now, "web").is_some_and(|web| {
        web.status.phase == Phase::Ready && pid(&web).is_some() && pid(&web) != before
    })
}

fn uid(object: &Object) -> VmUid {
    object.metadata.uid
}

#[tokio::test(start_paused = true)]
async fn a_file_becomes_a_vm() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    let web = daemon.ready("web").await;
    assert_eq!(web.metadata.source, Some(daemon.path("web.yaml")));
    assert_eq!(web.metadata.generation, 1);
    let reasons = daemon.reasons(Kind::VirtualMachine, "web").await;
    assert_eq!(reasons, ["Admitted", "Creating", "Ready"]);
    let calls = daemon.host.calls();
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(daemon.host.calls(), calls, "nothing more is done");
}

#[tokio::test(start_paused = true)]
async fn without_a_sync_the_resync_finds_it() {
    let daemon = Daemon::start().await;
    fs::write(
        daemon.path("all.yaml"),
        format!("{IMAGE}---\n{}", vm("web", "")),
    )
    .unwrap();
    daemon.ready("web").await;
}

#[tokio::test(start_paused = true)]
async fn a_change_of_vcpus_waits_for_a_restart() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    let pid = pid(&daemon.ready("web").await);
    let text = vm("web", "  vcpus: 2\n");
    let overlay = OverlayFile {
        path: daemon.path("web.yaml"),
        text: Some(text.clone()),
    };
    let report = daemon.handle.diff(vec![overlay]).await.unwrap();
    assert_eq!(report.entries.len(), 1);
    assert_eq!(report.entries[0].change, Change::Modify);
    assert_eq!(report.entries[0].fields[0].field, "spec.vcpus");
    assert!(daemon.handle.diff(vec![]).await.unwrap().is_empty());

    daemon.write("web.yaml", &text).await;
    let pending = |now: &Published| holds(now, "web", ConditionType::RestartRequired);
    daemon.until("restart required", pending).await;
    daemon
        .handle
        .power(name("web"), Power::Restart)
        .await
        .unwrap();
    let again = |now: &Published| is_ready_again(now, pid);
    let now = daemon.until("restarted", again).await;
    assert!(!holds(&now, "web", ConditionType::RestartRequired));
    assert!(daemon.handle.diff(vec![]).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_bad_file_keeps_what_was_good() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    let before = daemon.ready("web").await;
    for bad in [vm("web", "  vcpu: 2\n"), "{{{{".to_owned(), String::new()] {
        daemon.write("web.yaml", &bad).await;
        let rejected = |now: &Published| {
            get(now, "web").is_some_and(|web| {
                condition(&web, ConditionType::Accepted).unwrap().0 == ConditionStatus::False
            })
        };
        let now = daemon.until("rejected", rejected).await;
        assert!(!now.problems.is_empty());
        tokio::time::sleep(Duration::from_secs(60)).await;
        let web = daemon.ready("web").await;
        assert_eq!((uid(&web), &web.spec), (uid(&before), &before.spec));
        let refused = daemon
            .handle
            .delete(Kind::VirtualMachine, name("web"), false)
            .await
            .unwrap_err();
        assert_eq!(refused.code, Code::Conflict);
    }
    daemon.write("web.yaml", &vm("web", "")).await;
    let accepted = |now: &Published| holds(now, "web", ConditionType::Accepted);
    daemon.until("accepted again", accepted).await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_gone_takes_its_vm_with_it() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    let web = daemon.ready("web").await;
    daemon.remove("web.yaml").await;
    daemon.until("gone", |now| now.vms.is_empty()).await;
    assert!(daemon.host.is_empty());
    assert_eq!(daemon.host.trashed(uid(&web)), [DiskRole::Cow]);
    let reasons = daemon.reasons(Kind::VirtualMachine, "web").await;
    assert_eq!(reasons.last().map(String::as_str), Some("Deleted"));
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_saved_by_renaming_harms_nothing() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    let before = daemon.ready("web").await;
    daemon.remove("web.yaml").await;
    daemon.write("web2.yaml", &vm("web", "")).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let after = daemon.ready("web").await;
    assert_eq!(uid(&after), uid(&before));
    assert_eq!(after.metadata.source, Some(daemon.path("web2.yaml")));
    assert_eq!(daemon.host.trashed(uid(&before)), []);
}

#[tokio::test(start_paused = true)]
async fn an_explicit_deletion_does_not_wait() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    daemon.ready("web").await;
    let delete = || {
        daemon
            .handle
            .delete(Kind::VirtualMachine, name("web"), true)
    };
    let refused = delete().await.unwrap_err();
    assert_eq!(refused.code, Code::Conflict);
    assert!(refused.message.contains("web.yaml"), "{refused}");
    fs::remove_file(daemon.path("web.yaml")).unwrap();
    delete().await.unwrap();
    daemon.until("gone", |now| now.vms.is_empty()).await;
    assert!(daemon.host.is_empty());
    assert_eq!(delete().await.unwrap_err().code, Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_failing_step_backs_off_and_the_others_go_on() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon
        .until("imported", |now| {
            now.images
                .first()
                .is_some_and(|i| i.status.phase == Phase::Ready)
        })
        .await;
    let calls = daemon.host.calls();
    // The host's own steps come first: bridge and NAT.
    for call in calls + 2..calls + 4 {
        daemon.host.add_fault(Fault {
            call,
            when: When::Before,
        });
    }
    let all = ["a", "b", "c"].map(|n| vm(n, "")).join("---\n");
    daemon.write("all.yaml", &all).await;
    for vm in ["a", "b", "c"] {
        daemon.ready(vm).await;
    }
    let mut failures = 0;
    for vm in ["a", "b", "c"] {
        let reasons = daemon.reasons(Kind::VirtualMachine, vm).await;
        failures += reasons.iter().filter(|r| *r == "StepFailed").count();
        let web = daemon.ready(vm).await;
        assert_eq!(web.status.runtime.unwrap().last_error, None);
    }
    assert_eq!(failures, 2);
}

#[tokio::test(start_paused = true)]
async fn every_step_may_fail_before_or_after_it_took_effect() {
    for when in [When::Before, When::After] {
        for call in 0..14 {
            let daemon = Daemon::start().await;
            daemon.host.add_fault(Fault { call, when });
            daemon.write("image.yaml", IMAGE).await;
            daemon
                .write("web.yaml", &vm("web", "  workDisk: {size: 1Gi}\n"))
                .await;
            daemon.ready("web").await;
            daemon.remove("web.yaml").await;
            daemon.until("gone", |now| now.vms.is_empty()).await;
            assert!(daemon.host.is_empty(), "call {call} {when:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_restarted_daemon_goes_on() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    let before = daemon.ready("web").await;
    let calls = daemon.host.calls();
    let daemon = daemon.restart().await;
    let after = daemon.ready("web").await;
    assert_eq!(uid(&after), uid(&before));
    assert_eq!(after.status.conditions, before.status.conditions);
    assert_eq!(daemon.host.calls(), calls, "nothing is done twice");
    daemon.remove("web.yaml").await;
    daemon.until("gone", |now| now.vms.is_empty()).await;
    assert!(daemon.host.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_vmm_that_died_is_started_again() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    let web = daemon.ready("web").await;
    for _ in 0..3 {
        let pid = pid(&daemon.ready("web").await);
        assert!(daemon.host.kill_vmm(uid(&web)));
        let again = |now: &Published| is_ready_again(now, pid);
        daemon.until("started again", again).await;
    }
    let reasons = daemon.reasons(Kind::VirtualMachine, "web").await;
    let demoted = reasons
        .iter()
        .filter(|reason| *reason == "Demoting")
        .count();
    assert_eq!(demoted, 3, "{reasons:?}");
}

#[tokio::test(start_paused = true)]
async fn stop_is_durable_and_start_ends_it() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    daemon.ready("web").await;
    let stopped =
        |now: &Published| get(now, "web").is_some_and(|w| w.status.phase == Phase::Stopped);
    daemon.handle.power(name("web"), Power::Stop).await.unwrap();
    daemon.until("stopped", stopped).await;
    let daemon = daemon.restart().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    daemon.until("still stopped", stopped).await;
    daemon
        .handle
        .power(name("web"), Power::Start)
        .await
        .unwrap();
    daemon.ready("web").await;
    let nobody = daemon.handle.power(name("nobody"), Power::Stop).await;
    assert_eq!(nobody.unwrap_err().code, Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_smaller_work_disk_waits_for_the_very_word() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon
        .write("web.yaml", &vm("web", "  workDisk: {size: 2Gi}\n"))
        .await;
    let web = daemon.ready("web").await;
    let pid = pid(&web);
    daemon
        .write("web.yaml", &vm("web", "  workDisk: {size: 1Gi}\n"))
        .await;
    let held = |now: &Published| holds(now, "web", ConditionType::ConfirmationRequired);
    daemon.until("held", held).await;
    let confirm = |replace_root, allow_data_loss| {
        let confirm = Confirm {
            replace_root,
            allow_data_loss,
        };
        daemon.handle.confirm(name("web"), confirm)
    };
    let refused = confirm(true, false).await.unwrap_err();
    assert!(refused.remedy.unwrap().contains("--allow-data-loss"));
    assert_eq!(daemon.host.trashed(uid(&web)), []);
    confirm(false, true).await.unwrap();
    let done = |now: &Published| !held(now) && is_ready_again(now, pid);
    daemon.until("replaced", done).await;
    assert_eq!(daemon.host.trashed(uid(&web)), [DiskRole::Work]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_seen_is_left_alone() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    daemon.ready("web").await;
    daemon.host.fail_observations(true);
    let unknown =
        |now: &Published| get(now, "web").is_some_and(|w| w.status.phase == Phase::Unknown);
    daemon.until("unknown", unknown).await;
    let calls = daemon.host.calls();
    daemon.remove("web.yaml").await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(daemon.host.calls(), calls);
    daemon.host.fail_observations(false);
    daemon.until("gone", |now| now.vms.is_empty()).await;
    assert!(daemon.host.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_rebooted_host_converges_again() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    let web = daemon.ready("web").await;
    daemon.stop.cancel();
    daemon.task.await.unwrap();
    drop(daemon.handle);
    daemon.host.reboot();
    // The clock of the new boot begins anew.
    let daemon = Daemon::on(daemon.root, daemon.host, Instant::now());
    let again = daemon.ready("web").await;
    assert_eq!(uid(&again), uid(&web));
    assert_eq!(again.status.runtime.unwrap().restarts, 0);
}

#[tokio::test(start_paused = true)]
async fn a_missing_directory_freezes_and_never_deletes() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    daemon.ready("web").await;
    let (vms, away) = (daemon.path(""), daemon.root.path().join("away"));
    fs::rename(&vms, &away).unwrap();
    daemon.handle.sync().await.unwrap();
    let held = |now: &Published| holds(now, "web", ConditionType::DeletionHeld);
    let now = daemon.until("held", held).await;
    assert_eq!(held_by(&now, "web"), "SourceIncomplete");
    tokio::time::sleep(Duration::from_secs(600)).await;
    daemon.ready("web").await;
    fs::rename(&away, &vms).unwrap();
    daemon.until("back", |now| !held(now)).await;
    daemon.ready("web").await;
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_cannot_be_filled_keeps_no_vm_back() {
    let daemon = Daemon::start().await;
    daemon.stop.cancel();
    daemon.task.await.unwrap();
    drop(daemon.handle);
    let pool = banger_core::config::Pool::default().target();
    assert!(pool.is_some());
    daemon.host.fail_pool(true);
    let (root, host) = (daemon.root, daemon.host);
    let daemon = Daemon::with(root, host, Instant::now(), pool, DiskLimits::default());
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    daemon.ready("web").await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let failed = daemon.host.pool().failed;
    assert!((5..25).contains(&failed), "{failed} tries in ten minutes");

    daemon.host.fail_pool(false);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!((daemon.host.pool().warm, daemon.host.pool().in_use), (4, 1));
    let calls = daemon.host.calls();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(daemon.host.calls(), calls, "a full pool is left alone");
}
