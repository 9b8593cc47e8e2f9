//! What there is of one VM, object by object.

use banger_core::inventory::{Holdings, Scratch, VmDirectory};
use banger_protocol::inventory::{Dm, DmPart, Loop, Probe, Tap, Vmm};
use banger_protocol::{DiskRole, VmUid};

use super::FakeVm;

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
                exit: self.exit.clone(),
                jail: self.jail,
            });
        }
        if let Probe::Known(taps) = &mut inventory.taps
            && self.tap
        {
            // The simulated host hands out no ifindexes, and needs no unique names.
            taps.push(Tap {
                name: "bgr1".into(),
                uid: Some(uid),
                ifindex: 1,
                attached: true,
            });
        }
        let loops = [
            (
                DiskRole::Base,
                self.base.as_ref().map(|(device, _)| *device),
            ),
            (DiskRole::Cow, self.cow),
            (DiskRole::Work, self.work),
        ];
        if let Probe::Known(known) = &mut inventory.loops {
            for (role, device) in loops {
                known.extend(device.map(|device| Loop {
                    device,
                    uid,
                    role,
                    backing_device: 1,
                    backing_inode: u64::from(device.0),
                }));
            }
        }
        if let (Probe::Known(dms), Some(size)) = (&mut inventory.dms, self.root) {
            for (part, name) in [
                (DmPart::Origin, uid.dm_origin()),
                (DmPart::Root, uid.dm_root()),
            ] {
                dms.push(Dm {
                    uid,
                    name,
                    part,
                    node: "/dev/dm-0".into(),
                    size,
                    overflow: false,
                    loops: Default::default(),
                });
            }
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
