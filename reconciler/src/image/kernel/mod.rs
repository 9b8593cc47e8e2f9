//! Kernels: a bzImage or an ELF in, the ELF `vmlinux` that Firecracker boots out.

mod bzimage;
mod elf;
mod error;
mod payload;
#[cfg(test)]
mod tests;

pub use elf::Kernel;
pub(super) use elf::check_elf;
pub use error::KernelError;
pub(super) use payload::{Compression, decompress};
