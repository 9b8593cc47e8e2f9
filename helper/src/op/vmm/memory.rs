//! The most memory that a VM may have. All VMs together may use 95 % of the
//! host's, by `MemoryMax=` of `banger.slice`: one that asks for more could never
//! use it, and would take the others down with it.
//!
//! What VMs are promised may be more than that, since a guest uses what it
//! touches; what they use can't.

use crate::Failure;

/// Of the host's memory, in percent; as `banger.slice` has it.
const SHARE: u64 = 95;
const KIB_PER_MIB: u64 = 1 << 10;
/// proc_meminfo(5).
const MEMINFO: &str = "/proc/meminfo";

/// Refuses more than the host has for VMs.
pub(super) fn check(memory_mib: u32) -> Result<(), Failure> {
    let text = std::fs::read_to_string(MEMINFO).map_err(|e| Failure::os("read", MEMINFO, e))?;
    let total = total_kib(&text).ok_or_else(|| {
        Failure::refused("read", format!("{MEMINFO} isn't as in proc_meminfo(5)"))
    })?;
    within(memory_mib, total)
}

fn within(memory_mib: u32, total_kib: u64) -> Result<(), Failure> {
    let total = total_kib / KIB_PER_MIB;
    let most = total * SHARE / 100;
    if u64::from(memory_mib) <= most {
        return Ok(());
    }
    Err(Failure::refused(
        "memory",
        format!(
            "{memory_mib} MiB are more than the {most} MiB that VMs may use on this host \
             ({SHARE} % of {total} MiB): give the VM less"
        ),
    ))
}

/// `MemTotal:       16384 kB`.
fn total_kib(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vm_fits_into_the_host() {
        let total = total_kib("MemTotal:       4194304 kB\nMemFree: 1 kB\n").unwrap();
        assert!(within(3891, total).is_ok());
        for more in [3892, 4096, u32::MAX] {
            let refused = within(more, total).unwrap_err().to_string();
            assert!(
                refused.contains("3891 MiB") && refused.contains("4096 MiB"),
                "{refused}"
            );
        }
        assert_eq!(total_kib("MemFree: 1 kB\n"), None);
        let slice = include_str!("../../../../systemd/banger.slice");
        assert!(
            slice.contains(&format!("\nMemoryMax={SHARE}%\n")),
            "{slice}"
        );
    }
}
