//! Programs under strace(1).

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

/// Calls that change files, give them names, or wait until they are on the disk.
/// What a machine doesn't have is left out where there is a `?`.
const CALLS: &str = "trace=?open,?creat,openat,write,writev,pwrite64,pwritev,?pwritev2,\
                     ftruncate,fallocate,?copy_file_range,?sendfile,fsync,fdatasync,?rename,\
                     renameat,renameat2,?link,linkat,?mkdir,mkdirat,?unlink,unlinkat,?rmdir";

/// Why nothing can be traced here.
pub(crate) fn missing() -> Option<String> {
    let tried = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "true"])
        .stdin(Stdio::null())
        .output();
    match tried {
        Err(error) => Some(format!(
            "strace can't be run: {error}; `tests/deps trace` installs it"
        )),
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let first = said.lines().next().unwrap_or_default();
            Some(format!("strace may not trace here: {first}"))
        }
    }
}

/// A program whose calls will be in `trace`, each descriptor with its path.
pub(crate) fn under(trace: &Path, program: impl AsRef<OsStr>) -> Command {
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-qq", "-y", "-s", "0", "-e", "signal=none"])
        .args(["-e", CALLS, "-o"])
        .arg(trace)
        .arg(program)
        .stdin(Stdio::null());
    strace
}
