//! The daemon and the command line of banger.
//!
//! ```text
//! source -> (core: parse, validate, admit) -> store -> (core: plan) -> controller -> act
//!                                             observe --^
//! cli  <- wire ->  controller
//! ```

pub mod act;
pub mod cli;
pub mod client;
pub mod config;
pub mod controller;
pub mod firecracker;
pub mod guest;
pub mod helper_client;
pub mod image;
pub mod net;
pub mod observe;
pub mod sandbox;
pub mod server;
pub mod source;
mod sparse;
pub mod store;
pub mod systemd;
pub mod wire;
