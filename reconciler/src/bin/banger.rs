//! `banger`, the command line. Arguments and wiring only.

use std::process::ExitCode;

use banger::cli::{Cli, run};
use clap::Parser as _;
use nix::sys::signal::{SigHandler, Signal, signal};

fn main() -> ExitCode {
    // Rust's runtime ignores SIGPIPE, which would make `banger get vms | head`
    // an error, and `ssh` inherit that.
    // SAFETY: the default action is no handler of ours, and no other thread runs yet.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    ExitCode::from(run(Cli::parse()).code())
}
