//! A host in memory, for tests, for benchmarks, and for people who want to try
//! banger without privileges (`bangerd --sim`).

mod extras;
mod fake_host;
mod fake_vm;
mod faults;
pub mod generate;
pub mod read;

pub use extras::Extras;
pub use fake_host::FakeHost;
pub use faults::{Fault, Faults, When};
