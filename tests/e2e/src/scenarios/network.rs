//! Guests among themselves, and beyond the host.

use anyhow::{Result, ensure};

use crate::lab::Lab;

const FETCH: &str = "curl -s --max-time 8 http://198.51.100.2/";

pub(super) fn guests_and_nat(lab: &mut Lab) -> Result<()> {
    lab.vm("web", "vcpus: 2")?;
    lab.vm("worker", "network: {nat: false}")?;
    let address = |name: &str| lab.field(name, ".status.runtime.guestIp");
    lab.guest("web", &format!("ping -c 1 -W 5 {}", address("worker")?))?;
    lab.guest("worker", &format!("ping -c 1 -W 5 {}", address("web")?))?;

    let body = lab.guest("web", FETCH)?;
    ensure!(
        body.contains("the fake internet"),
        "through NAT it got {body:?}"
    );
    let refused = lab.ask_guest("worker", FETCH)?;
    ensure!(
        refused.status != 0,
        "without NAT it got {:?}",
        refused.stdout
    );

    // And live: the same guest is let out without a restart.
    let pid = lab.pid("worker")?;
    lab.write_vm(
        "worker.yaml",
        &Lab::document("worker", "network: {nat: true}"),
    )?;
    lab.until(
        "NAT for the second guest",
        "su owner -c 'banger get vm worker -o json' | jq -e '.spec.network.nat' >/dev/null",
        std::time::Duration::from_secs(30),
    )?;
    lab.owner("banger wait --for=condition=Ready vm/worker --timeout 60s")?;
    let body = lab.guest(
        "worker",
        &format!("for _ in 1 2 3 4 5; do {FETCH} && exit 0; sleep 1; done; exit 1"),
    )?;
    ensure!(
        body.contains("the fake internet"),
        "after the edit it got {body:?}"
    );
    ensure!(lab.pid("worker")? == pid, "a live change restarted the VM");
    lab.delete("worker")?;
    Ok(())
}
