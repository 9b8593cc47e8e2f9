//! The disk fills up, and is freed again.

use banger_core::api::Quantity;
use banger_core::observed::Presence;
use banger_core::pressure::Room;
use banger_testkit::Section;

use super::*;

const DISK: DiskLimits = DiskLimits {
    creates: mib(2048),
    guests: mib(512),
    hysteresis: mib(256),
    ballast: mib(256),
};
const PLENTY: Quantity = mib(1 << 20);

const fn mib(n: u64) -> Quantity {
    Quantity::from_mib(n)
}

/// A daemon with `web`, which runs.
async fn running() -> (Daemon, Object) {
    let daemon = Daemon::start().await;
    daemon.stop.cancel();
    daemon.task.await.unwrap();
    drop(daemon.handle);
    daemon.host.set_free(PLENTY);
    let daemon = Daemon::with(daemon.root, daemon.host, Instant::now(), None, DISK);
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    let web = daemon.ready("web").await;
    (daemon, web)
}

fn under_pressure(name: &'static str) -> impl Fn(&Published) -> bool {
    move |now| holds(now, name, ConditionType::DiskPressure)
}

fn is_paused(now: &Published) -> bool {
    get(now, "web").is_some_and(|web| web.status.phase == Phase::Paused)
}

fn ballast(daemon: &Daemon) -> u64 {
    match daemon.host.do_room() {
        Presence::Present(Room { ballast, .. }) => ballast.mib(),
        unknown => panic!("{unknown:?}"),
    }
}

async fn some_minutes() {
    tokio::time::sleep(Duration::from_secs(300)).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_new_waits_and_what_runs_runs_on() {
    let (daemon, web) = running().await;
    assert_eq!(ballast(&daemon), 256);
    daemon.host.set_free(mib(1000));
    daemon.write("late.yaml", &vm("late", "")).await;
    let other = IMAGE.replace("debian", "alpine");
    daemon.write("other.yaml", &other).await;
    let now = daemon.until("waiting", under_pressure("late")).await;
    let late = get(&now, "late").unwrap();
    assert_eq!(late.status.phase, Phase::Pending);
    let (_, message) = condition(&late, ConditionType::DiskPressure).unwrap();
    for word in ["1000Mi are left", "2304Mi", "banger trash empty"] {
        assert!(message.contains(word), "{message}");
    }
    let reason = |object: &Object| {
        let mut list = object.status.conditions.iter();
        list.find(|it| it.kind == ConditionType::Ready)
            .unwrap()
            .reason
            .clone()
    };
    assert_eq!(reason(&late), "DiskPressure");
    let image = name("alpine");
    let image = now.objects(Kind::Image, Some(&image)).pop().unwrap();
    assert_eq!(
        (image.status.phase, &*reason(&image)),
        (Phase::Pending, "DiskPressure")
    );
    assert!(condition(&image, ConditionType::DiskPressure).is_some());

    some_minutes().await;
    let same = daemon.ready("web").await;
    assert_eq!(pid(&same), pid(&web));
    assert!(condition(&same, ConditionType::DiskPressure).is_none());
    // It has its disks: it is started again when its VMM dies.
    daemon.host.kill_vmm(uid(&web));
    let again = |now: &Published| is_ready_again(now, pid(&web));
    daemon.until("started again", again).await;

    // Within the hysteresis nothing changes.
    daemon.host.set_free(mib(2200));
    some_minutes().await;
    daemon.until("still waiting", under_pressure("late")).await;
    daemon.host.set_free(mib(2304));
    daemon.ready("late").await;
    let alpine = |now: &Published| now.images.iter().all(|i| i.status.phase == Phase::Ready);
    let now = daemon.until("imported", alpine).await;
    assert!(!holds(&now, "late", ConditionType::DiskPressure));
    let reasons = daemon.reasons(Kind::VirtualMachine, "late").await;
    assert!(reasons.contains(&"DiskPressure".to_owned()), "{reasons:?}");
}

#[tokio::test(start_paused = true)]
async fn a_guest_is_paused_before_its_writes_fail_and_goes_on_with_room() {
    let (daemon, web) = running().await;
    daemon.host.set_free(mib(100));
    let before = Instant::now();
    let now = daemon.until("paused", is_paused).await;
    assert!(
        before.elapsed() < Duration::from_secs(3),
        "it took too long"
    );
    assert!(daemon.host.is_paused(uid(&web)));
    assert_eq!(ballast(&daemon), 0, "the daemon has room to write");
    let paused = get(&now, "web").unwrap();
    assert_eq!(pid(&paused), pid(&web));
    let (status, message) = condition(&paused, ConditionType::Ready).unwrap();
    assert_eq!(status, ConditionStatus::False);
    assert!(message.contains("768Mi"), "{message}");
    assert!(under_pressure("web")(&now));

    // What the ballast gave back is no room for guests.
    some_minutes().await;
    assert!(daemon.host.is_paused(uid(&web)));
    daemon.host.set_free(mib(256 + 767));
    some_minutes().await;
    assert!(daemon.host.is_paused(uid(&web)));

    daemon.host.set_free(mib(256 + 768));
    let after = daemon.ready("web").await;
    assert_eq!(pid(&after), pid(&web));
    assert!(!daemon.host.is_paused(uid(&web)));
    assert_eq!(ballast(&daemon), 256);
    let reasons = daemon.reasons(Kind::VirtualMachine, "web").await;
    for reason in ["Pausing", "Resuming"] {
        let times = reasons.iter().filter(|it| *it == reason).count();
        assert_eq!(times, 1, "{reasons:?}");
    }
    let calls = daemon.host.calls();
    some_minutes().await;
    assert_eq!(daemon.host.calls(), calls, "nothing more is done");
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_starts_anew_knows_whom_it_paused() {
    let (daemon, web) = running().await;
    daemon.host.set_free(mib(100));
    daemon.until("paused", is_paused).await;
    // Where a guest that runs would not be paused, and a paused one isn't resumed.
    daemon.host.set_free(mib(256 + 600));
    let daemon = daemon.restart().await;
    daemon.until("still paused", is_paused).await;
    some_minutes().await;
    assert!(daemon.host.is_paused(uid(&web)));
    let daemon = daemon.restart().await;
    daemon.host.set_free(PLENTY);
    let after = daemon.ready("web").await;
    assert_eq!(pid(&after), pid(&web));
    assert!(!daemon.host.is_paused(uid(&web)));
}

#[tokio::test(start_paused = true)]
async fn room_that_cannot_be_told_changes_nothing() {
    let (daemon, web) = running().await;
    daemon.host.fail_section(Section::Room, true);
    daemon.host.set_free(mib(100));
    some_minutes().await;
    daemon.ready("web").await;
    assert!(!daemon.host.is_paused(uid(&web)));
    daemon.write("late.yaml", &vm("late", "")).await;
    let unknown =
        |now: &Published| get(now, "late").is_some_and(|it| it.status.phase == Phase::Unknown);
    daemon.until("not made", unknown).await;

    daemon.host.fail_section(Section::Room, false);
    daemon.until("paused", is_paused).await;
    daemon.host.fail_section(Section::Room, true);
    daemon.host.set_free(PLENTY);
    some_minutes().await;
    assert!(daemon.host.is_paused(uid(&web)));
    // Not by a new daemon either, which knows no level.
    let daemon = daemon.restart().await;
    some_minutes().await;
    assert!(daemon.host.is_paused(uid(&web)));
    daemon.host.fail_section(Section::Room, false);
    daemon.ready("web").await;
    daemon.ready("late").await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_vm_can_be_stopped_and_deleted() {
    let (daemon, web) = running().await;
    daemon.host.set_free(mib(100));
    daemon.until("paused", is_paused).await;
    daemon.handle.power(name("web"), Power::Stop).await.unwrap();
    let stopped =
        |now: &Published| get(now, "web").is_some_and(|w| w.status.phase == Phase::Stopped);
    daemon.until("stopped", stopped).await;
    // It isn't started without room, though it has its disks.
    daemon
        .handle
        .power(name("web"), Power::Start)
        .await
        .unwrap();
    let pending =
        |now: &Published| get(now, "web").is_some_and(|w| w.status.phase == Phase::Pending);
    daemon.until("waiting", pending).await;
    daemon.host.set_free(PLENTY);
    daemon.ready("web").await;

    daemon.host.set_free(mib(100));
    daemon.until("paused again", is_paused).await;
    daemon.remove("web.yaml").await;
    daemon.until("gone", |now| now.vms.is_empty()).await;
    assert!(daemon.host.is_empty());
    assert_eq!(daemon.host.trashed(uid(&web)), [DiskRole::Cow]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_would_have_to_wait_is_not_begun() {
    let (daemon, web) = running().await;
    let alpine = IMAGE.replace("debian", "alpine");
    daemon.write("other.yaml", &alpine).await;
    daemon
        .until("imported", |now| {
            now.images.iter().all(|i| i.status.phase == Phase::Ready)
        })
        .await;
    let text = vm("web", "").replace("debian", "alpine");
    daemon.write("web.yaml", &text).await;
    let held = |now: &Published| holds(now, "web", ConditionType::ConfirmationRequired);
    daemon.until("held", held).await;
    daemon.host.set_free(mib(1000));
    let confirm = Confirm {
        replace_root: true,
        allow_data_loss: false,
    };
    daemon.handle.confirm(name("web"), confirm).await.unwrap();
    let now = daemon.until("waiting", under_pressure("web")).await;
    assert_eq!(get(&now, "web").unwrap().status.phase, Phase::Ready);
    some_minutes().await;
    assert_eq!(pid(&daemon.ready("web").await), pid(&web));
    daemon.host.set_free(PLENTY);
    let again = |now: &Published| is_ready_again(now, pid(&web));
    daemon.until("replaced", again).await;
}

#[tokio::test(start_paused = true)]
async fn more_guests_than_chains_are_paused_at_once() {
    let (daemon, _) = running().await;
    let all = ["a", "b", "c", "d", "e"].map(|n| vm(n, "")).join("---\n");
    daemon.write("all.yaml", &all).await;
    let everyone = |phase: Phase| {
        move |now: &Published| {
            now.vms.len() == 6 && now.vms.iter().all(|vm| vm.status.phase == phase)
        }
    };
    daemon.until("ready", everyone(Phase::Ready)).await;
    // A fault at one of them keeps no other back, and is tried again.
    let call = daemon.host.calls() + 3;
    let when = When::Before;
    daemon.host.add_fault(Fault { call, when });
    daemon.host.set_free(mib(100));
    let before = Instant::now();
    daemon.until("paused", everyone(Phase::Paused)).await;
    assert!(
        before.elapsed() < Duration::from_secs(5),
        "it took too long"
    );
    daemon.host.set_free(PLENTY);
    daemon.until("ready again", everyone(Phase::Ready)).await;
}
