//! `banger delete`: the document goes first, then the object, then it is waited for.

use std::path::PathBuf;
use std::time::Duration;

use banger_core::api::bounds::PREVENT_DELETION;
use banger_core::api::{Kind, Name, prevents_deletion};
use clap::Args;

use crate::cli::context::Context;
use crate::cli::object_ref::{ObjectRef, references};
use crate::cli::output::print;
use crate::cli::prompt::confirm;
use crate::cli::settle::Goal;
use crate::cli::waiting::{duration, wait_for};
use crate::cli::workspace::Workspace;
use crate::cli::{Exit, Failure, documents};
use crate::client::CallError;
use crate::wire::response::Code;

/// `banger delete`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Delete {
    /// `vm NAME…`, `image NAME…`, or `vm/NAME…`
    #[arg(
        value_name = "OBJECT",
        required_unless_present = "filename",
        conflicts_with = "filename"
    )]
    objects: Vec<String>,
    /// What a file, a directory or stdin (`-`) declares; the file itself stays where it is
    #[arg(short, long = "filename", value_name = "FILE|DIR|-")]
    filename: Vec<PathBuf>,
    #[command(flatten)]
    how: How,
}

/// How objects are deleted.
#[derive(Debug, Args)]
pub(in crate::cli) struct How {
    /// Remove the disks for good instead of moving them to the trash
    #[arg(long)]
    purge: bool,
    /// Don't ask before data is lost
    #[arg(short, long)]
    yes: bool,
    /// `--wait=false`: don't wait until it is gone
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    wait: bool,
    /// How long to wait
    #[arg(long, default_value = "5m", value_parser = duration)]
    timeout: Duration,
}

impl Delete {
    /// `delete vm NAME…`.
    pub(super) fn vms(names: &[Name], how: How) -> Self {
        Self {
            objects: names.iter().map(|name| format!("vm/{name}")).collect(),
            filename: Vec::new(),
            how,
        }
    }

    pub(in crate::cli) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let places = context.places()?;
        let mut objects = references(&self.objects).map_err(Failure::invalid)?;
        for input in documents::read(&self.filename, &places)? {
            objects.extend(input.documents.into_iter().map(|document| document.object));
        }
        let how = &self.how;
        if how.purge && !how.yes {
            let names: Vec<String> = objects.iter().map(ToString::to_string).collect();
            confirm(&format!(
                "the disks of {} will be lost for good",
                names.join(", ")
            ))?;
        }
        let mut goals = Vec::new();
        for object in &objects {
            goals.push((object.clone(), Goal::Gone(how.delete(context, object)?)));
            print(format_args!("{object} deleted"))?;
        }
        if how.wait {
            wait_for(context, goals, how.timeout)?;
        }
        Ok(Exit::Ok)
    }
}

impl How {
    /// Deletes one object; its uid, where the daemon knew it.
    fn delete(
        &self,
        context: &Context,
        object: &ObjectRef,
    ) -> Result<Option<banger_protocol::VmUid>, Failure> {
        let known = match context.daemon.one(object.kind, &object.name) {
            Ok(known) => Some(known),
            Err(CallError::Answer {
                code: Code::NotFound,
                ..
            }) => None,
            Err(error) => return Err(error.into()),
        };
        let mut workspace = Workspace::open(context.places()?);
        let declared = workspace.take_out(object)?;
        if known.is_none() && declared.is_none() {
            return Err(not_found(object));
        }
        if let Some(known) = &known
            && prevents_deletion(&known.metadata.annotations)
        {
            return Err(protected(object));
        }
        let mut undo = Vec::new();
        for write in workspace.writes() {
            write.check()?;
            undo.push(write.undo()?);
            write.perform()?;
        }
        match context.daemon.delete(object.kind, &object.name, self.purge) {
            // A document that was never accepted: nothing came of it.
            Err(CallError::Answer {
                code: Code::NotFound,
                ..
            }) if known.is_none() => {}
            Err(error) => {
                // Refused: a document that stayed out would say the opposite.
                for undo in &undo {
                    undo.perform()?;
                }
                return Err(error.into());
            }
            Ok(()) => {}
        }
        Ok(known.map(|object| object.metadata.uid))
    }
}

fn protected(object: &ObjectRef) -> Failure {
    Failure::new(
        Exit::Conflict,
        format!("{object} carries the annotation {PREVENT_DELETION}"),
    )
    .help("take the annotation out of its document, `banger apply` that, then delete it")
}

fn not_found(object: &ObjectRef) -> Failure {
    let kind = match object.kind {
        Kind::Image => "images",
        Kind::VirtualMachine => "vms",
    };
    Failure::new(Exit::NotFound, format!("there is no {object}"))
        .help(format!("`banger get {kind}` lists what there is"))
}
