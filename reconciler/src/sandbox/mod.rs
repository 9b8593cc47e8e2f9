//! What the daemon may touch of the file system, kept by the kernel: Landlock
//! (landlock(7)), beside the modes of files and the sandbox of the unit.
//!
//! ```text
//! Rules (from the settings) -> enforce, once, before there is a second thread -> Landlock
//! ```
//!
//! Guarantees, where [`Landlock::Full`] is told: this thread, all that it starts
//! from then on and all programs that those run write, make, rename and remove
//! files below [`Rules::writable`] alone, and run programs of the system alone.
//! It can't be undone. They signal no process and reach no abstract socket from
//! outside. Nothing of it limits a descriptor that was open before, or was
//! passed by systemd.
//!
//! Reading isn't limited beyond the modes of files: a spec may name an image
//! anywhere, documents may be links to anywhere, and Landlock knows no "all but".
//! TCP isn't either (`LANDLOCK_ACCESS_NET_*`): published ports may be any, and so
//! may be what they lead to.

mod enforce;
mod state;
#[cfg(test)]
mod tests;

pub use enforce::Rules;
pub use state::Landlock;
