//! The record beside a VM's disks: what a daemon without its database goes by.

use std::io;

use banger_core::intent::VmIntent;
use banger_core::record::{Incarnation, VmRecord};
use banger_core::seam::StepError;
use banger_protocol::VmUid;

use super::layout::Layout;
use super::{failure, files};

/// No record is longer: a document is at most half of it.
const LONGEST: u64 = 4 << 20;

/// Writes the record. What can't be written costs nothing but the hint. Blocks.
pub(super) fn write(layout: &Layout, vm: VmIntent, start: Option<Incarnation>) {
    let uid = vm.uid;
    if let Err(error) = put(layout, &VmRecord { start, vm }) {
        let path = layout.record(uid);
        tracing::warn!(vm_uid = %uid, "{} could not be written: {error}", path.display());
    }
}

/// Writes the record of a VM as it is intended now. Blocks.
pub(super) fn renew(layout: &Layout, vm: &VmIntent) -> Result<(), StepError> {
    let path = layout.record(vm.uid);
    let failed = |error| failure::file("write", &path, error);
    let former = read(layout, vm.uid).map_err(failed)?;
    put(layout, &VmRecord::renewed(former.as_ref(), vm)).map_err(failed)
}

fn put(layout: &Layout, record: &VmRecord) -> io::Result<()> {
    let json = serde_json::to_vec_pretty(record)?;
    files::replace(&layout.record(record.vm.uid), &json)
}

/// The VM's record; `None` where there is none, or nothing can be made of it. Blocks.
pub(crate) fn read(layout: &Layout, uid: VmUid) -> io::Result<Option<VmRecord>> {
    let path = layout.record(uid);
    let Some(bytes) = files::read_at_most(&path, LONGEST)? else {
        return Ok(None);
    };
    match serde_json::from_slice::<VmRecord>(&bytes) {
        Ok(record) if record.vm.uid == uid => Ok(Some(record)),
        Ok(record) => {
            tracing::debug!(vm_uid = %uid, other = %record.vm.uid, "the record is another VM's");
            Ok(None)
        }
        Err(error) => {
            tracing::debug!(vm_uid = %uid, %error, "the record can't be made out");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use banger_core::intent::{Applied, ImageDigest, PowerOverride};
    use banger_protocol::inventory::Process;
    use banger_testkit::generate;

    use super::*;
    use crate::observe::files::StateFiles;

    /// Of the start it goes on to tell what it told, whatever the database says
    /// that the VM was started with last.
    #[test]
    fn a_record_is_renewed_around_the_start_that_it_tells_of() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path(), root.path().join("run"), root.path());
        let vm = generate::vm(1, generate::spec("debian"));
        let told = || read(&layout, vm.uid).unwrap().unwrap();
        // There is no directory, so that there are no disks either.
        assert!(renew(&layout, &vm).unwrap_err().retry);
        fs::create_dir_all(layout.vm(vm.uid)).unwrap();
        renew(&layout, &vm).unwrap();
        assert_eq!((told().start, told().vm), (None, vm.clone()));

        let applied = |generation| {
            Some(Applied {
                spec: vm.spec.clone(),
                generation,
                image: ImageDigest("ab".repeat(32)),
                restart_token: 0,
            })
        };
        let start = Incarnation {
            boot_id: "boot".into(),
            process: Process {
                pid: 7,
                start_time: 70,
            },
        };
        let started = VmIntent {
            applied: applied(2),
            ..vm.clone()
        };
        write(&layout, started, Some(start.clone()));
        let mut now = VmIntent {
            applied: applied(1),
            power: PowerOverride::Stopped,
            ..vm.clone()
        };
        now.metadata.name = generate::name("shop");
        assert!(!told().is_current(&now));
        renew(&layout, &now).unwrap();
        assert!(told().is_current(&now));
        assert_eq!(told().start, Some(start));
        assert_eq!(told().vm.applied, applied(2));
    }

    #[test]
    fn a_record_is_read_as_it_was_written_or_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path(), root.path().join("run"), root.path());
        let vm = generate::vm(1, generate::spec("debian"));
        let uid = vm.uid;
        // Without a directory there is nowhere to write it, and no harm.
        write(&layout, vm.clone(), None);
        assert_eq!(read(&layout, uid).unwrap(), None);

        fs::create_dir_all(layout.vm(uid)).unwrap();
        let start = Incarnation {
            boot_id: "boot".into(),
            process: Process {
                pid: 7,
                start_time: 70,
            },
        };
        write(&layout, vm.clone(), Some(start.clone()));
        let record = read(&layout, uid).unwrap().unwrap();
        assert_eq!((record.start, &record.vm), (Some(start), &vm));
        let seen = || StateFiles::read(&layout, true).vms.unwrap()[&uid].clone();
        assert_eq!(seen().record.unwrap().vm, vm);

        let path = layout.record(uid);
        let good = fs::read_to_string(&path).unwrap();
        let other = generate::uid(2).to_string();
        let long = " ".repeat(usize::try_from(LONGEST).unwrap()) + &good;
        for bad in ["", "{}", &good.replace(&uid.to_string(), &other), &long] {
            fs::write(&path, bad).unwrap();
            assert_eq!(read(&layout, uid).unwrap(), None, "{bad:.40}");
            assert_eq!(seen().record, None);
        }
        // What can't be read at all says nothing of the VM.
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(seen().cow.unknown().unwrap().contains("vm.json"));
    }
}
