//! `/proc/meminfo` (proc_meminfo(5)).

use std::io;

const PATH: &str = "/proc/meminfo";

/// Its text, as it was.
pub(super) struct Meminfo(String);

/// # Errors
/// It can't be read.
pub(super) fn read() -> io::Result<Meminfo> {
    std::fs::read_to_string(PATH).map(Meminfo)
}

impl Meminfo {
    /// Of a line such as `MemAvailable:   12345 kB`, in bytes.
    ///
    /// # Errors
    /// There is no such line.
    pub(super) fn bytes(&self, field: &str) -> io::Result<u64> {
        let value = self.0.lines().find_map(|line| {
            let value = line.strip_prefix(field)?.strip_prefix(':')?;
            value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
        });
        let kib = value.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{PATH} has no line `{field}` in kB"),
            )
        })?;
        Ok(kib.saturating_mul(1024))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_in_bytes() {
        let text = "MemTotal:  4096 kB\nMemAvailable:    2048 kB\nWritebackTmp: 7 kB\nOdd: 3\n";
        let meminfo = Meminfo(text.into());
        assert_eq!(meminfo.bytes("MemAvailable").unwrap(), 2 << 20);
        for absent in ["Mem", "Writeback", "Odd", "Dirty"] {
            let error = meminfo.bytes(absent).unwrap_err().to_string();
            assert!(error.contains(absent), "{error}");
        }
    }

    #[test]
    fn the_kernels_own_is_understood() {
        let meminfo = read().unwrap();
        meminfo.bytes("MemAvailable").unwrap();
    }
}
