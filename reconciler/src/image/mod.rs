//! Images: from the owner's files to an immutable copy that VMs boot.
//!
//! ```text
//! disk ----copy, hash, check ext4-----------------> rootfs.ext4 \
//! kernel --decompress (kernel)--------------------> vmlinux      > <images>/<digest>/
//! modules + agent --(modules, initrd)-------------> initrd      /
//! ```
//!
//! Guarantees: everything here runs without privileges and blocks; call it off
//! the async threads. What [`import()`] answered is complete, on the disk, and
//! never changes. Inputs are the owner's but aren't trusted to be well-formed:
//! sizes are capped, nothing panics.

mod disk;
mod error;
mod import;
mod initrd;
mod kernel;
mod modules;
mod source;
#[cfg(test)]
mod testing;

pub use error::ImportError;
pub use import::{ImportRequest, ImportedImage, abandoned, import, load, remove, remove_abandoned};
pub use kernel::{Kernel, KernelError};
pub use modules::ModulesError;
pub use source::SourceFile;
