//! What is in the boot initrd, and how it is packed.

use std::io::Write;

use flate2::{Compression, GzBuilder};

use super::cpio::Cpio;
use crate::image::modules::Module;

/// Makes the initrd, gzip'd: every kernel with an initrd can read gzip.
///
/// Guarantees: the same agent and modules make the same bytes.
pub(in crate::image) fn make(agent: &[u8], modules: &[Module]) -> Vec<u8> {
    let mut archive = Cpio::default();
    for directory in ["dev", "modules", "newroot", "proc", "sys"] {
        archive.directory(directory);
    }
    // Without it PID 1 has no standard streams, and its panic no console.
    archive.character_device("dev/console", 5, 1);
    archive.file("init", 0o755, agent);
    let mut order = String::new();
    for module in modules {
        archive.file(
            &format!("modules/{}", module.file_name),
            0o644,
            &module.bytes,
        );
        order.push_str(&module.file_name);
        order.push('\n');
    }
    archive.file("modules/order", 0o644, order.as_bytes());
    // The level trades size for the time that every boot takes to read it.
    let mut packed = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::new(6));
    packed
        .write_all(&archive.finish())
        .expect("a Vec takes everything");
    packed.finish().expect("a Vec takes everything")
}
