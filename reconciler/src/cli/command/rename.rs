//! `banger rename vm OLD NEW`: only the name's own bytes change in the document.
//!
//! The daemon is told first, so that the changed document is this same VM and
//! neither the end of one nor the beginning of another. Where the document then
//! can't be written, the daemon is told that as well: a document of the new name
//! that comes some day is no rename.

use std::time::{Duration, Instant};

use banger_core::api::{Kind, Name};
use banger_protocol::VmUid;
use clap::Args;

use super::apply::goals;
use crate::cli::context::Context;
use crate::cli::object_ref::{KindArg, ObjectRef};
use crate::cli::output::{note, print};
use crate::cli::workspace::Workspace;
use crate::cli::{Exit, Failure};

/// The daemon's next pass shows the new name.
const PATIENCE: Duration = Duration::from_secs(60);

/// `banger rename vm OLD NEW`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Rename {
    /// `vm`
    kind: KindArg,
    /// What it is called now
    #[arg(value_name = "OLD")]
    old: Name,
    /// What it is to be called
    #[arg(value_name = "NEW")]
    new: Name,
}

impl Rename {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<Exit, Failure> {
        if self.kind.0 != Kind::VirtualMachine {
            return Err(Failure::invalid("only a VM can be renamed").help(
                "VMs name their image: apply the image under its new name, then change them",
            ));
        }
        let old = ObjectRef::new(Kind::VirtualMachine, self.old.clone());
        let new = ObjectRef::new(Kind::VirtualMachine, self.new.clone());
        let before = context.daemon.one(old.kind, &old.name)?;
        let mut workspace = Workspace::open(context.places()?);
        let path = workspace.rename(&old, &self.new)?;
        let writes = workspace.writes();
        writes.iter().try_for_each(|write| write.check())?;
        context.daemon.rename(&self.old, &self.new)?;
        if let Err(failure) = writes.iter().try_for_each(|write| write.perform()) {
            context.daemon.rename(&self.old, &self.old)?;
            return Err(failure);
        }
        let synced = context.daemon.sync()?;
        let admitted = goals(std::slice::from_ref(&new), &synced)?;
        if admitted.iter().any(|it| it.1 != before.metadata.uid) {
            return Err(Failure::new(
                Exit::Conflict,
                format!("{new} is another VM than {old} was"),
            )
            .help("look at both with `banger get vms`; somebody else changed the documents"));
        }
        self.appears(context, before.metadata.uid)?;
        print(format_args!("{old} renamed to {new} in {}", path.display()))?;
        note("The guest takes its new host name at its next boot.");
        Ok(Exit::Ok)
    }

    /// Waits until the VM is listed under its new name.
    fn appears(&self, context: &Context, uid: VmUid) -> Result<(), Failure> {
        let deadline = Some(Instant::now() + PATIENCE);
        let kind = Kind::VirtualMachine;
        let mut watch = context.daemon.watch(kind, Some(&self.new))?;
        loop {
            let listing = watch.next(deadline)?;
            let mut objects = listing.objects.iter();
            if objects.any(|it| it.metadata.name == self.new && it.metadata.uid == uid) {
                return Ok(());
            }
        }
    }
}
