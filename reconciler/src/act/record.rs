//! The record beside a VM's disks: what a daemon without its database goes by.

use std::io;

use banger_core::intent::VmIntent;
use banger_core::record::{Incarnation, VmRecord};
use banger_protocol::VmUid;

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
    let written = written.and_then(|json| files::replace_durably(&path, &json));
    if let Err(error) = written {
        tracing::warn!(vm_uid = %uid, "{} could not be written: {error}", path.display());
    }
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
