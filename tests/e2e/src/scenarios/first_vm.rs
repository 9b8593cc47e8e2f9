//! Drop a file, log in.

use anyhow::{Result, ensure};

use crate::lab::{DEBIAN, Lab};

pub(super) fn dropped_file(lab: &mut Lab) -> Result<()> {
    lab.vm_over(DEBIAN, "debian", "")?;
    let host_name = lab.guest("debian", "hostname")?;
    ensure!(
        host_name.trim() == "debian",
        "the guest calls itself {host_name:?}"
    );
    let table = lab.owner("banger get vms")?;
    ensure!(
        table
            .lines()
            .any(|line| line.starts_with("debian") && line.contains("Ready")),
        "the table doesn't say so:\n{table}"
    );
    // The root file system has grown to the disk, and the work is durable.
    let size = lab.guest("debian", "df --output=size -BM / | tail -n 1")?;
    let mib: u64 = size.trim().trim_end_matches('M').parse()?;
    ensure!(
        mib > 1_800,
        "the root file system has {mib} MiB of a 2 GiB disk"
    );
    // Firecracker writes its metrics once a minute, or when it is asked to.
    let uid = lab.field("debian", ".metadata.uid")?;
    lab.owner(&format!(
        "at=/run/banger/vms/{} && curl -sSf --unix-socket $at/fc.sock -X PUT \
         http://localhost/actions -H 'Content-Type: application/json' \
         -d '{{\"action_type\":\"FlushMetrics\"}}' && \
         jq -es 'length > 0 and all(has(\"utc_timestamp_ms\"))' $at/metrics",
        uid.trim()
    ))?;
    let diff = lab.ask("banger diff")?;
    ensure!(
        diff.status == 0,
        "diff after Ready: {}{}",
        diff.stdout,
        diff.stderr
    );
    lab.delete("debian")
}
