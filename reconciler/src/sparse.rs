//! Files with holes.

use std::fs::File;
use std::io;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// Where the next data or hole is; `size`, the file's, where there is none. A file
/// system that can't tell answers as if all were data (lseek(2)).
///
/// # Errors
/// Those of lseek(2).
pub(crate) fn seek(file: &File, to: SeekFrom, size: u64) -> io::Result<u64> {
    match rustix::fs::seek(file, to) {
        Ok(offset) => Ok(offset.min(size)),
        Err(Errno::NXIO) => Ok(size),
        Err(error) => Err(error.into()),
    }
}

/// Where the last data ends that begins at `from` or behind it; `from` where there is
/// none. What was allocated and never written is a hole.
///
/// # Errors
/// Those of lseek(2).
pub(crate) fn end_of_data(file: &File, from: u64, size: u64) -> io::Result<u64> {
    let mut end = from.min(size);
    loop {
        let data = seek(file, SeekFrom::Data(end), size)?;
        if data == size {
            return Ok(end);
        }
        end = seek(file, SeekFrom::Hole(data), size)?;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use rustix::fs::{FallocateFlags, fallocate};

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn data_ends_where_nothing_was_written() {
        let file = tempfile::tempfile().unwrap();
        let size = 16 * MIB;
        file.set_len(size).unwrap();
        let end = |from| end_of_data(&file, from, size).unwrap();
        assert_eq!(end(0), 0);
        for at in [0, MIB, 4 * MIB] {
            file.write_all_at(&vec![1; 1 << 20], at).unwrap();
        }
        file.sync_all().unwrap();
        for from in [0, MIB / 2, 2 * MIB, 4 * MIB] {
            assert_eq!(end(from), 5 * MIB, "from {from}");
        }
        assert_eq!(end(6 * MIB), 6 * MIB);
        fallocate(&file, FallocateFlags::KEEP_SIZE, 5 * MIB, 8 * MIB).unwrap();
        assert_eq!(end(0), 5 * MIB);
        file.write_all_at(b"the last", size - 8).unwrap();
        assert_eq!(end(0), size);
        assert_eq!(end(2 * size), size);
    }
}
