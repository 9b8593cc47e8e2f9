//! Import: from the owner's files to `<images>/<digest>/`.
//!
//! ```text
//! <images>/.import-XXXXXX/   locked while it is written; swept when nobody holds it
//!    | fsync, rename
//! <images>/<digest>/         rootfs.ext4  vmlinux  initrd  image.json
//! ```

mod record;
mod run;
mod staging;
#[cfg(test)]
mod tests;

pub use record::{ImportedImage, load, remove};
pub use run::{ImportRequest, import};
pub use staging::{abandoned, remove_abandoned};
