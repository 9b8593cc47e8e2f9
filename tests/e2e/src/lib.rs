//! The disposable test host: a Debian machine with systemd, device-mapper,
//! nftables and a `/dev/kvm` that works, inside a QEMU process of this machine.
//!
//! People use the program `host`; scenario tests use [`TestHost`]:
//!
//! ```no_run
//! use banger_e2e::{TestHost, User};
//!
//! # fn main() -> anyhow::Result<()> {
//! let mut host = TestHost::up("example", None)?;
//! let id = host.exec(User::Owner, "id -u")?.ok()?;
//! assert_eq!(id, "1000\n");
//! host.reset()?; // a power cut
//! host.reboot()?; // an orderly one
//! # Ok(())
//! # } // dropped: QEMU is killed, its disk removed
//! ```
//!
//! Inside the host:
//! - `/images` (read-only): `debian-12.ext4`, `quick.ext4` (the same without an
//!   init system), `firecracker`, `jailer`.
//! - `/payload` (read-only): the directory that the test brought.
//! - `/boot/vmlinuz-*` and `/lib/modules/*`: the kernel, readable by all.
//! - accounts `owner` (1000, its user services start at boot), `stranger`
//!   (1001) and `root`.
//! - the default route leads to a fake internet, a network namespace in the
//!   host: `http://198.51.100.2/` says "the fake internet", and
//!   `/cgi-bin/source` names the address it was asked from. It has no route
//!   back to a guest, so only masqueraded traffic gets an answer.
//!
//! The host's own kernel may die under software SVM: [`TestHost::crashed`]
//! tells, and [`attempt`] retries exactly those failures, counted and printed.
//!
//! Guarantees: QEMU dies with its [`TestHost`], and with the test's process
//! however that ends. Assumes Debian's `qemu-system-x86`, `mmdebstrap` and a
//! few more (`host deps` installs them), and root or `sudo` for building.

mod accel;
mod artifacts;
mod attempt;
mod cache;
pub mod chaos;
mod console;
pub mod decoys;
mod demo;
mod deps;
mod digest;
mod ext4;
mod firecracker;
mod initrd;
mod instance;
mod interrupt;
mod keeper;
mod lab;
pub mod package;
pub mod payload;
mod privilege;
mod process;
mod qemu;
mod qmp;
mod recipe;
mod run;
mod saved;
pub mod scenarios;
mod shell;
pub mod sim;
mod ssh;
mod stages;
mod state;
mod test_host;
mod transfer;

pub use accel::{Choice, choose};
pub use artifacts::Artifacts;
pub use attempt::{HasHost, attempt};
pub use cache::{Cache, Lock};
pub use demo::{Demo, farewell};
pub use deps::install as install_deps;
pub use firecracker::fetch_alone as fetch_firecracker;
pub use instance::{Instance, InstanceName, Options};
pub use interrupt::Interrupts;
pub use lab::{Inventory, Lab};
pub use qemu::{Accel, Machine};
pub use saved::SavedLab;
pub use scenarios::Scenario;
pub use shell::shell_line;
pub use ssh::{Output, Ssh, User};
pub use stages::Stages;
pub use test_host::{TestHost, scenario};
