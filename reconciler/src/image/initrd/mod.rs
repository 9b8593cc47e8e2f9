//! The boot initrd: the agent as `/init` and the modules that it loads.

mod boot;
mod cpio;
#[cfg(test)]
mod tests;

pub(super) use boot::make;
