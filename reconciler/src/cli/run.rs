//! From arguments to an exit code.

use super::args::Command;
use super::context::Context;
use super::output::note_raw;
use super::{Cli, Exit, Failure};

/// Does what the arguments say and tells what went wrong.
pub fn run(cli: Cli) -> Exit {
    let context = Context::new(cli.socket, cli.verbose);
    dispatch(cli.command, &context).unwrap_or_else(|failure| {
        note_raw(&failure.render());
        failure.exit
    })
}

fn dispatch(command: Command, context: &Context) -> Result<Exit, Failure> {
    match command {
        Command::Apply(command) => command.run(context),
        Command::Diff(command) => Ok(command.run(context)),
        Command::Validate(command) => command.run(context),
        Command::Get(command) => command.run(context),
        Command::Describe(command) => command.run(context),
        Command::Delete(command) => command.run(context),
        Command::Rename(command) => command.run(context),
        Command::Undelete(command) => command.run(context),
        Command::Trash(command) => command.run(context),
        Command::Db(command) => command.run(context),
        Command::Wait(command) => command.run(context),
        Command::Events(command) => command.run(context),
        Command::Logs(command) => command.run(context),
        Command::Vm(command) => command.run(context),
        Command::Schema(command) => command.run(),
        Command::Config(command) => command.run(),
        Command::Doctor(command) => command.run(context),
        Command::Gc(command) => command.run(context),
        Command::System(command) => command.run(context),
        Command::Version(command) => command.run(context),
        Command::Completion(command) => command.run(),
    }
}
