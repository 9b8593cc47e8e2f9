//! The record beside a VM's disks: what a daemon without its database goes by.

use std::io;

use banger_core::intent::VmIntent;
use banger_core::record::{Incarnation, VmRecord};
use banger_core::seam::StepError;
use banger_protocol::VmUid;

use super::failure;
use super::files;
use super::layout::Layout;

/// No record is longer: a document is at most half of it.
const LONGEST: u64 = 4 << 20;

/// Writes the record. What can't be written costs nothing but the hint. Blocks.
pub(super) fn write(layout: &Layout, vm: VmIntent, start: Option<Incarnation>) {
    let uid = vm.uid;
    let path = layout.record(uid);
    let json = serde_json::to_vec_pretty(&VmRecord { start, vm });
    let written = json.map_err(io::Error::from);
    let written = written.and_then(|json| files::replace(&path, &json));
    if let Err(error) = written {
        tracing::warn!(vm_uid = %uid, "{} could not be written: {error}", path.display());
    }
}

/// Gives the record the VM's name of now. Where there is none that can be made
/// out the next start writes one. Blocks.
pub(super) fn rename(layout: &Layout, vm: &VmIntent) -> Result<(), StepError> {
    let path = layout.record(vm.uid);
    let failed = |error| failure::file("write", &path, error);
    let Some(mut record) = read(layout, vm.uid).map_err(failed)? else {
        return Ok(());
    };
    record.vm.metadata.clone_from(&vm.metadata);
    let json = serde_json::to_vec_pretty(&record).map_err(io::Error::from);
    let written = json.and_then(|json| files::replace(&path, &json));
    written.map_err(failed)
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

    use banger_protocol::inventory::Process;
    use banger_testkit::generate;

    use super::*;
    use crate::observe::files::StateFiles;

    #[test]
    fn a_record_is_read_as_it_was_written_or_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path(), root.path().join("run"));
        let vm = generate::vm(1, generate::spec("debian"));
        let uid = vm.uid;
        // Without a directory there is nowhere to write it, and no harm.
        write(&layout, vm.clone(), None);
        assert_eq!(read(&layout, uid).unwrap(), None);
        rename(&layout, &vm).unwrap();
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
        assert_eq!((record.start, &record.vm), (Some(start.clone()), &vm));
        // Renamed, it still tells what runs.
        let mut shop = vm.clone();
        (shop.metadata.name, shop.generation) = (generate::name("shop"), 9);
        rename(&layout, &shop).unwrap();
        let record = read(&layout, uid).unwrap().unwrap();
        assert_eq!(record.start, Some(start));
        assert_eq!(record.vm.name(), shop.name());
        assert_eq!(record.vm.generation, vm.generation);
        rename(&layout, &vm).unwrap();
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
