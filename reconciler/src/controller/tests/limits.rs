//! How many VMs are acted on at the same time.

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

fn all(more: &str) -> String {
    let all: Vec<String> = (0..VMS).map(|n| vm(&format!("vm-{n}"), more)).collect();
    all.join("---\n")
}

fn are_all(phase: Phase) -> impl Fn(&Published) -> bool {
    move |now| now.vms.len() == VMS && now.vms.iter().all(|vm| vm.status.phase == phase)
}
