//! The host goes down, and comes back.

use super::*;

#[tokio::test(start_paused = true)]
async fn guests_shut_down_with_the_host_and_start_after_its_boot() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    daemon.write("web.yaml", &vm("web", "")).await;
    daemon
        .write("job.yaml", &vm("job", "  runPolicy: OnFailure\n"))
        .await;
    daemon
        .write("off.yaml", &vm("off", "  runPolicy: Halted\n"))
        .await;
    let before = [daemon.ready("web").await, daemon.ready("job").await];
    let calls = daemon.host.calls();
    daemon.stop.cancel();
    let ended = daemon.task.await.unwrap();
    assert_eq!(daemon.host.calls(), calls, "a daemon's end stops no guest");
    ended.shut_guests_down().await;
    // One step for each of the two, and none that takes anything away.
    assert_eq!(daemon.host.calls(), calls + 2);
    for vm in &before {
        let there = daemon.host.holds(uid(vm)).unwrap();
        assert!(there.vmm.is_absent() && there.jail.present().is_some());
    }
    drop((ended, daemon.handle));
    daemon.host.reboot();
    let daemon = Daemon::with(daemon.root, daemon.host, daemon.began, None, daemon.disk);
    for vm in &before {
        let name = vm.metadata.name.as_str();
        let again = |now: &Published| {
            get(now, name).is_some_and(|it| it.status.phase == Phase::Ready && pid(&it) != pid(vm))
        };
        let now = daemon.until("started again", again).await;
        let after = get(&now, name).unwrap();
        assert_eq!((uid(&after), &after.spec), (uid(vm), &vm.spec));
        // Nothing of it counts as a crash.
        let waits = after.status.runtime.unwrap().last_error;
        assert_eq!(waits, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_cannot_shut_down_keeps_no_other_from_it() {
    let daemon = Daemon::start().await;
    daemon.write("image.yaml", IMAGE).await;
    let all = ["a", "b"].map(|name| vm(name, "")).join("---\n");
    daemon.write("all.yaml", &all).await;
    let both = [daemon.ready("a").await, daemon.ready("b").await];
    daemon.stop.cancel();
    let ended = daemon.task.await.unwrap();
    let call = daemon.host.calls();
    daemon.host.add_fault(Fault {
        call,
        when: When::Before,
    });
    ended.shut_guests_down().await;
    let down = |vm: &&Object| daemon.host.holds(uid(vm)).unwrap().vmm.is_absent();
    assert_eq!(both.iter().filter(down).count(), 1);
}
