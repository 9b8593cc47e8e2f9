//! What there is of one VM, object by object.

use banger_core::inventory::{Backing, Holdings, Scratch, VmDirectory};
use banger_protocol::inventory::{Dm, DmPart, Executable, Loop, Probe, Tap, Vmm};
use banger_protocol::{DiskRole, LoopNumber, VmUid};

use super::FakeVm;
use crate::fake_host::backing;

impl FakeVm {
    /// Adds all that there is of this VM.
    pub(crate) fn list(&self, uid: VmUid, holdings: &mut Holdings) {
        let Ok(inventory) = &mut holdings.inventory else {
            return;
        };
        if let Probe::Known(vmms) = &mut inventory.vmms
            && (self.process.is_some() || self.jail)
        {
            vmms.push(Vmm {
                uid,
                process: self.process,
                executable: self.process.map(|_| Probe::Known(Executable::Installed)),
                exit: self.exit.clone(),
                jail: self.jail,
            });
        }
        if let Probe::Known(taps) = &mut inventory.taps
            && let Some(slot) = self.tap
        {
            // The simulated host hands out no ifindexes.
            taps.push(Tap {
                name: slot.tap(),
                uid: Some(uid),
                ifindex: 1,
                attached: self.attached,
            });
        }
        let own = |device: LoopNumber| Backing {
            device: 1,
            inode: u64::from(device.0),
        };
        let base = self.base.as_ref();
        let loops = [
            (
                DiskRole::Base,
                base.map(|(device, image)| (*device, backing(image))),
            ),
            (DiskRole::Cow, self.cow.map(|device| (device, own(device)))),
            (
                DiskRole::Work,
                self.work.map(|device| (device, own(device))),
            ),
        ];
        if let Probe::Known(known) = &mut inventory.loops {
            for (role, found) in loops {
                known.extend(found.map(|(device, backing)| Loop {
                    device,
                    uid,
                    role,
                    backing_device: backing.device,
                    backing_inode: backing.inode,
                }));
            }
        }
        if let Probe::Known(dms) = &mut inventory.dms {
            let parts = [
                (DmPart::Origin, uid.dm_origin(), self.origin),
                (DmPart::Root, uid.dm_root(), self.root),
            ];
            dms.extend(parts.into_iter().filter_map(|(part, name, size)| {
                Some(Dm {
                    uid,
                    name,
                    part,
                    node: "/dev/dm-0".into(),
                    size: size?,
                    overflow: false,
                    loops: Default::default(),
                })
            }));
        }
        if let Ok(directories) = &mut holdings.directories
            && (self.cow_file.is_some() || self.work_file.is_some())
        {
            directories.insert(
                uid,
                VmDirectory {
                    path: format!("/state/vms/{uid}"),
                    scratch: Scratch::Missing,
                },
            );
        }
    }
}
