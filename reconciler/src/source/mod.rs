//! The directories of specs, read in full for every pass.
//!
//! ```text
//! list -> stat -> (unchanged: from the cache | changed: open, read, parse, validate) -> Reading
//! ```
//!
//! Guarantees: never writes there; never blocks on what isn't a regular file;
//! whatever can't be read is a problem of that file or makes the reading
//! incomplete, and never looks like a deletion. File events only wake the
//! loop: what a pass sees doesn't depend on them.
//! Assumes that a file whose device, inode, size, mtime and ctime stand as
//! they did has the content that it had, once it is older than [`SETTLED`].

mod directory;
mod file;
mod links;
mod names;
mod read;
mod stamp;
mod watch;

#[cfg(test)]
mod tests;

pub(crate) use directory::listed;
pub(crate) use file::{bytes, capped};
pub use read::{SETTLED, Sources};
pub use watch::Watch;
