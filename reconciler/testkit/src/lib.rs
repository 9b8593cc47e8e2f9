//! A host in memory, for tests, for benchmarks, and for people who want to try
//! banger without privileges (`bangerd --sim`).

pub mod conformance;
mod crowd;
mod extras;
mod fake_host;
mod fake_vm;
mod faults;
mod foreign;
pub mod generate;
pub mod read;
mod section;

pub use extras::Extras;
pub use fake_host::{FakeHost, host_step_name};
pub use faults::{Fault, Faults, Site, Trouble, When, heard};
pub use foreign::Place;
pub use section::Section;
