//! The agent beside the image's init, until the machine ends.

mod listen;
mod ready;
mod stop;

pub(crate) use listen::run;
/// In the exit initrd: the host asked for the end, so it needn't be told.
pub(crate) const ASKED: &str = "/asked";
