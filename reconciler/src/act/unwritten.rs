//! What a guest wrote and is in the kernel's memory still.
//!
//! A guest writes into the page cache of its block devices, of which the file system
//! below them knows nothing: a block takes room only once the kernel writes it down.
//! The pages are its VMM's, so that the cgroup of the VM's unit tells how much it is.

use std::io;
use std::path::Path;

use banger_protocol::VmUid;

/// Where the service manager has the VMs (`banger.slice`; cgroups(7)).
const SLICE: &str = "/sys/fs/cgroup/banger.slice";

/// Bytes; none where the VM has no cgroup, and so no VMM.
pub(super) fn of(uid: VmUid) -> io::Result<u64> {
    let path = Path::new(SLICE).join(uid.unit()).join("memory.stat");
    match std::fs::read_to_string(path) {
        Ok(text) => dirty(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        // The cgroup went while it was read (cgroups(7)).
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => {
            Ok(0)
        }
        Err(error) => Err(error),
    }
}

/// `file_dirty` and `file_writeback` (the kernel's
/// `Documentation/admin-guide/cgroup-v2.rst`), in bytes.
fn dirty(stat: &str) -> io::Result<u64> {
    ["file_dirty", "file_writeback"]
        .iter()
        .try_fold(0_u64, |sum, field| {
            let value = stat.lines().find_map(|line| {
                let value = line.strip_prefix(field)?.strip_prefix(' ')?;
                value.parse::<u64>().ok()
            });
            let value = value.ok_or_else(|| {
                let what = format!("memory.stat has no line `{field}` in bytes");
                io::Error::new(io::ErrorKind::InvalidData, what)
            })?;
            Ok(sum.saturating_add(value))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dirty_and_what_is_being_written_count() {
        let stat = "anon 7\nfile 900\nfile_mapped 5\nfile_dirty 4096\nfile_writeback 8192\n\
                    file_dirty_more 1\n";
        assert_eq!(dirty(stat).unwrap(), 12_288);
    }

    #[test]
    fn a_statistic_without_them_is_an_error() {
        for stat in ["", "file_dirty 1\n", "file_dirty x\nfile_writeback 1\n"] {
            let error = dirty(stat).unwrap_err().to_string();
            assert!(error.contains("memory.stat has no line"), "{error}");
        }
    }

    #[test]
    fn a_vm_that_does_not_run_wrote_nothing() {
        let uid = "01900000-0000-7000-8000-000000000001".parse().unwrap();
        assert_eq!(of(uid).unwrap(), 0);
    }
}
