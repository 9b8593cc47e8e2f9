//! The program `banger` as a person runs it: in a cleared and pinned
//! environment, against a daemon that speaks the wire and answers from a script,
//! or against `bangerd` on its simulated host (`sim`).
#![allow(clippy::unwrap_used, missing_docs)]

mod apply;
mod bench;
mod daemon;
mod db;
mod delete;
mod diff;
mod doctor;
mod failures;
mod get;
mod objects;
mod rename;
mod sandbox;
mod sim;
mod trash;
mod usage;
mod validate;
mod vm;
mod wait;
mod watchdog;
