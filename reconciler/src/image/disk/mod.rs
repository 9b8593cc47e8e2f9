//! The root file system's disk: what it must be, and how it is copied.

mod copy;
mod ext4;
#[cfg(test)]
mod tests;

pub(super) use copy::copy;
pub(super) use ext4::check;
