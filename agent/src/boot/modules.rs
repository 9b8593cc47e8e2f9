//! The kernel modules that the initrd brings.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::io::Errno;

use crate::fault::{During, Fault};

/// Loads the modules of `directory` in the order of its file `order`: file
/// names, one a line, written by whoever made the initrd.
pub(super) fn load(directory: &Path) -> Result<(), Fault> {
    let order = match fs::read_to_string(directory.join("order")) {
        // A kernel with everything built in.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.during("reading the list of kernel modules")?,
    };
    for name in order.lines().filter(|line| !line.is_empty()) {
        let stage = || format!("loading the kernel module {name}");
        let file = File::open(directory.join(name)).during(stage())?;
        match rustix::system::finit_module(&file, c"", 0) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error).during(stage()),
        }
    }
    Ok(())
}
