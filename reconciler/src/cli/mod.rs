//! The command line: kubectl's habits on one host.
//!
//! Guarantees: results go to stdout and nothing else does; progress, notices
//! and errors go to stderr; every failure ends in `error:`, its causes and what
//! to do, and in an exit code of [`Exit`] (docs/exit-codes.md).
//!
//! ```text
//! bin/banger -> args -> command/* -> client -> daemon
//!                          |-> documents, write: the person's own files
//!                          `-> settle, stages: waiting, with progress
//! ```

mod age;
mod args;
mod command;
mod context;
mod doctor;
mod documents;
mod escape;
mod exit;
mod failure;
mod object_ref;
mod output;
mod places;
mod problem;
mod prompt;
mod quote;
mod report;
mod run;
mod settle;
mod size;
mod stages;
mod style;
mod surgery;
mod system;
mod table;
mod waiting;
mod workspace;
mod write;

pub use args::Cli;
pub use exit::Exit;
pub use failure::Failure;
pub use run::run;
