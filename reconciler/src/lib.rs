//! The daemon and the command line of banger.
//!
//! ```text
//! source -> (core: parse, validate, admit) -> store -> (core: plan) -> controller -> act
//!                                             observe --^
//! cli  <- wire ->  controller
//! ```

pub mod store;
pub mod wire;
