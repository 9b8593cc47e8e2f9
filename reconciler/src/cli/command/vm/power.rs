//! `banger vm start|stop|restart NAME…`: durable once the daemon has said so,
//! then waited for.

use std::time::Duration;

use banger_core::api::{Kind, Name};
use clap::Args;

use crate::cli::context::Context;
use crate::cli::object_ref::ObjectRef;
use crate::cli::output::print;
use crate::cli::settle::{Goal, RunOf};
use crate::cli::waiting::{duration, wait_for};
use crate::cli::{Exit, Failure};
use crate::wire::request::Power;

/// `banger vm start|stop|restart NAME…`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Switch {
    /// The VMs
    #[arg(required = true)]
    names: Vec<Name>,
    /// `--wait=false`: don't wait until it is done
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    wait: bool,
    /// How long to wait
    #[arg(long, default_value = "5m", value_parser = duration)]
    timeout: Duration,
}

impl Switch {
    pub(super) fn run(self, context: &Context, power: Power) -> Result<Exit, Failure> {
        let mut goals = Vec::new();
        for name in &self.names {
            // The run that a restart ends, noted before it is asked for.
            let before = context.daemon.one(Kind::VirtualMachine, name)?;
            context.daemon.power(name, power)?;
            let goal = match power {
                Power::Stop => Goal::Stopped,
                Power::Start => Goal::Running { other_than: None },
                Power::Restart => Goal::Running {
                    other_than: RunOf::of(&before),
                },
            };
            goals.push((ObjectRef::new(Kind::VirtualMachine, name.clone()), goal));
        }
        if self.wait {
            wait_for(context, goals.clone(), self.timeout)?;
        }
        let word = match (power, self.wait) {
            (Power::Stop, true) => "stopped",
            (Power::Start, true) => "started",
            (Power::Restart, true) => "restarted",
            (Power::Stop, false) => "is to stop",
            (Power::Start, false) => "is to start",
            (Power::Restart, false) => "is to restart",
        };
        for (object, _) in goals {
            print(format_args!("{object} {word}"))?;
        }
        Ok(Exit::Ok)
    }
}
