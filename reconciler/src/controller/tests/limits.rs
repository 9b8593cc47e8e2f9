//! How many VMs are acted on at the same time.

use banger_testkit::Place;

use super::*;

const VMS: usize = 8;

/// Every VM waits for the same thing, and each step takes a while: exactly as
/// many are acted on as may be, neither more nor fewer.
#[tokio::test(start_paused = true)]
async fn as_many_vms_are_acted_on_at_once_as_may_be() {
    for most in [1, 2, 5] {
        let (place, host) = (Daemon::place(), FakeHost::new());
        host.set_pace(Duration::from_secs(1));
        let daemon = Daemon::adjusted(place, host, Instant::now(), |settings| {
            settings.max_chains = most;
        });
        daemon.write("image.yaml", IMAGE).await;
        daemon.write("all.yaml", &all("")).await;
        daemon.until("all made", are_all(Phase::Ready)).await;
        assert_eq!(daemon.host.take_most_at_once(), most, "made");

        daemon
            .write("all.yaml", &all("  runPolicy: Halted\n"))
            .await;
        daemon.until("all stopped", are_all(Phase::Stopped)).await;
        assert_eq!(daemon.host.take_most_at_once(), most, "stopped");
        daemon.stop.cancel();
        daemon.task.await.unwrap();
    }
}

/// Whatever is allowed at once: of many that are edited, one is away at a time.
#[tokio::test(start_paused = true)]
async fn auto_restarts_one_vm_at_a_time() {
    let (place, host) = (Daemon::place(), FakeHost::new());
    host.set_pace(Duration::from_secs(1));
    let daemon = Daemon::adjusted(place, host, Instant::now(), |settings| {
        settings.max_chains = 5;
    });
    daemon.write("image.yaml", IMAGE).await;
    let auto = "  updatePolicy: Auto\n";
    daemon.write("all.yaml", &all(auto)).await;
    let before = daemon.until("all made", are_all(Phase::Ready)).await;
    daemon.host.take_most_at_once();

    let edited = format!("{auto}  vcpus: 2\n");
    daemon.write("all.yaml", &all(&edited)).await;
    let restarted = |now: &Published| {
        let away = now.vms.iter().filter(|vm| vm.status.phase != Phase::Ready);
        assert!(away.count() <= 1, "{:#?}", now.vms);
        let pids = |of: &Published| of.vms.iter().map(pid).collect::<Vec<_>>();
        let another = pids(now).into_iter().zip(pids(&before));
        are_all(Phase::Ready)(now)
            && another.into_iter().all(|(now, before)| now != before)
            && !now.vms.iter().any(waits)
    };
    daemon.until("all restarted", restarted).await;
    assert_eq!(daemon.host.take_most_at_once(), 1);
    assert!(daemon.handle.diff(vec![]).await.unwrap().is_empty());
}

/// Whether it says that it waits for its turn.
fn waits(vm: &Object) -> bool {
    let waits = condition(vm, ConditionType::RestartRequired);
    waits.is_some_and(|(_, why)| why.contains("one VM at a time"))
}

/// One that can't be started again lets the others go on, in the end.
#[tokio::test(start_paused = true)]
async fn a_vm_that_never_comes_back_does_not_keep_the_others_from_their_restart() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    let auto = "  updatePolicy: Auto\n";
    daemon.write("all.yaml", &all(auto)).await;
    let before = daemon.until("all made", are_all(Phase::Ready)).await;
    let first = uid(&get(&before, "vm-0").unwrap());
    daemon.host.set_pace(Duration::from_secs(1));
    let edited = format!("{auto}  vcpus: 2\n");
    daemon.write("all.yaml", &all(&edited)).await;
    // As soon as it is off, somebody else takes its tap's name.
    let is_off = || {
        let here = daemon.host.holds(first);
        here.is_some_and(|here| here.vmm.is_absent() && here.tap.is_absent())
    };
    while !is_off() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(daemon.host.usurp(first, Place::Tap));
    let others = |now: &Published| {
        now.vms.iter().all(|vm| {
            let another =
                pid(vm) != get(&before, vm.metadata.name.as_str()).and_then(|it| pid(&it));
            uid(vm) == first || another && vm.status.phase == Phase::Ready
        })
    };
    let now = daemon.until("the others restarted", others).await;
    assert_ne!(get(&now, "vm-0").unwrap().status.phase, Phase::Ready);
    assert!(now.vms.iter().filter(|vm| waits(vm)).count() == 0);
}

fn all(more: &str) -> String {
    let all: Vec<String> = (0..VMS).map(|n| vm(&format!("vm-{n}"), more)).collect();
    all.join("---\n")
}

fn are_all(phase: Phase) -> impl Fn(&Published) -> bool {
    move |now| now.vms.len() == VMS && now.vms.iter().all(|vm| vm.status.phase == phase)
}
