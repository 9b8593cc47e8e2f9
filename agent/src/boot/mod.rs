//! PID 1 of the boot initrd: from nothing to the image's init.

mod clock;
mod device;
mod disk;
mod hand_over;
mod modules;
mod mounts;
mod network;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use clock::set as set_clock;
pub(crate) use network::INTERFACE;
pub(crate) use run::run;
