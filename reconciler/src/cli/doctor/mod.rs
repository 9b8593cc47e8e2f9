//! `banger doctor`: every requirement with pass, warn, fail or skip, and the remedy.
//!
//! ```text
//! read (files, programs, the daemon) -> judge (pure) -> Check -> line or JSON
//! ```
//!
//! One requirement per file, each with its reading and its judgement apart, so
//! that the judgement is tested on given readings. Guarantees: nothing is
//! changed on the host; it works without an installation, without a daemon
//! and without root, and says what it could not look at.

mod check;
mod clock;
mod command;
mod daemon;
mod device_mapper;
mod devices;
mod disk_pressure;
mod examine;
mod firewall;
mod images;
mod installed_programs;
mod inventory;
mod ipv6;
mod isolation;
mod kvm;
mod landlock;
mod leftovers;
mod legacy;
mod limits;
mod microvm;
mod modules;
mod names;
mod programs;
mod resolved;
mod services;
mod sockets;
mod state_dir;
mod systemd;
mod tap_pool;
mod work_seeds;

pub(super) use check::{Check, Counts, Verdict, render};
pub(super) use command::Doctor;
pub(super) use examine::{examine, requirements};
pub(super) use kvm::Prove;
