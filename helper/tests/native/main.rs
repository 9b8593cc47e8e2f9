//! The operations on this machine's kernel: bridge, taps, loops and nftables in
//! a fresh network namespace. What the machine lacks is skipped by name.
#![allow(clippy::unwrap_used, missing_docs)]

mod bench;
mod bridge;
mod crowd;
mod dns;
mod entrance;
mod frames;
mod frames6;
mod inventory;
mod ipv6;
mod loops;
mod nat;
mod peers;
mod pool;
mod process;
mod reach;
mod taps;
mod traces;
mod watchdog;
