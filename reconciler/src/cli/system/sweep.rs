//! What the kernel and systemd hold of VMs goes, disks stay.
//!
//! The helper does it, by its own proofs of ownership: whatever isn't provably
//! banger's is left alone. The daemon must be stopped, or it makes all anew.

use banger_protocol::inventory::Probe;
use banger_protocol::{Inventory, PoolSize, Request, Slot, WarmUps, install};

use crate::cli::{Exit, Failure};
use crate::helper_client::{HelperClient, HelperError};

/// Takes it all away. Nothing where no helper is installed.
pub(super) fn sweep() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::new(Exit::Internal, "no runtime to ask the helper").because(&error)
        })?;
    runtime.block_on(async {
        let helper = HelperClient::new(install::HELPER_SOCKET);
        let inventory = helper.inventory().await.map_err(failed)?;
        for request in removals(&inventory)? {
            helper.ensure(request, Vec::new()).await.map_err(failed)?;
        }
        Ok(())
    })
}

fn failed(error: HelperError) -> Failure {
    Failure::new(
        Exit::Conflict,
        "the helper can't take away what VMs have left on this host",
    )
    .cause(error.chain())
    .help(
        "the daemon is stopped and nothing is uninstalled yet: see `journalctl -u banger-helper`, \
         then try again",
    )
}

/// The requests, in order: what stands on something goes before it.
fn removals(inventory: &Inventory) -> Result<Vec<Request>, Failure> {
    let mut requests = Vec::new();
    for vmm in known(&inventory.vmms, "VMMs")? {
        if vmm.process.is_some() {
            requests.push(Request::KillVmm { uid: vmm.uid });
        }
        requests.push(Request::RemoveVmm { uid: vmm.uid });
    }
    for tap in known(&inventory.taps, "taps")? {
        if let (Some(uid), Some(slot)) = (tap.uid, Slot::of_tap(&tap.name)) {
            requests.push(Request::RemoveTap { uid, slot });
        }
    }
    // After the VMs' own taps, which would go back to it.
    requests.push(Request::EnsurePool {
        size: PoolSize::EMPTY,
        parallel: WarmUps::ONE,
    });
    for dm in known(&inventory.dms, "dm devices")? {
        let request = Request::RemoveDm { uid: dm.uid };
        if !requests.contains(&request) {
            requests.push(request);
        }
    }
    for found in known(&inventory.loops, "loop devices")? {
        requests.push(Request::RemoveLoop {
            uid: found.uid,
            role: found.role,
            device: found.device,
        });
    }
    Ok(requests)
}

fn known<'a, T>(probe: &'a Probe<Vec<T>>, what: &str) -> Result<&'a [T], Failure> {
    match probe {
        Probe::Known(all) => Ok(all),
        Probe::Unknown(why) => Err(Failure::new(
            Exit::Conflict,
            format!("it can't be told which {what} VMs have left on this host"),
        )
        .cause(why.clone())
        .help("the daemon is stopped and nothing is uninstalled yet: mend that, then try again")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use banger_protocol::inventory::{Dm, DmPart, Loop, Process, Tap, Vmm};
    use banger_protocol::{DiskRole, LoopNumber, Sectors, VmUid};

    use super::*;

    fn inventory(uid: VmUid) -> Inventory {
        let dm = |part| Dm {
            uid,
            name: uid.dm_root(),
            part,
            node: "/dev/dm-0".into(),
            size: Sectors(8),
            overflow: false,
            loops: BTreeSet::new(),
        };
        Inventory {
            boot_id: String::new(),
            vmms: Probe::Known(vec![Vmm {
                uid,
                process: Some(Process {
                    pid: 7,
                    start_time: 9,
                }),
                executable: None,
                exit: None,
                jail: true,
            }]),
            taps: Probe::Known(vec![
                Tap {
                    name: "bgr3".into(),
                    uid: Some(uid),
                    ifindex: 4,
                    attached: true,
                },
                Tap {
                    name: "tap-pool-1".into(),
                    uid: None,
                    ifindex: 5,
                    attached: true,
                },
            ]),
            pool: None,
            loops: Probe::Known(vec![Loop {
                device: LoopNumber(2),
                uid,
                role: DiskRole::Cow,
                backing_device: 1,
                backing_inode: 2,
            }]),
            dms: Probe::Known(vec![dm(DmPart::Root), dm(DmPart::Origin)]),
            bridge: Probe::Known(true),
            nat: Probe::Known(None),
            policy: None,
            ipv6: None,
            obstacles: None,
            legacy_tables: None,
        }
    }

    #[test]
    fn everything_goes_from_the_top_downwards_and_a_stranger_stays() {
        let uid: VmUid = "01920000-0000-7000-8000-000000000001".parse().unwrap();
        let ops: Vec<_> = removals(&inventory(uid))
            .unwrap()
            .iter()
            .map(Request::op)
            .collect();
        assert_eq!(
            ops,
            [
                "kill-vmm",
                "remove-vmm",
                "remove-tap",
                "ensure-pool",
                "remove-dm",
                "remove-loop"
            ]
        );
    }

    #[test]
    fn what_cannot_be_told_stops_the_uninstallation() {
        let uid: VmUid = "01920000-0000-7000-8000-000000000001".parse().unwrap();
        let unread = Inventory {
            dms: Probe::Unknown("dmsetup: not found".into()),
            ..inventory(uid)
        };
        let failure = removals(&unread).unwrap_err();
        assert!(failure.render().contains("dmsetup: not found"));
    }
}
