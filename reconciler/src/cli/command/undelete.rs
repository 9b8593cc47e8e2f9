//! `banger undelete vm NAME`: the document goes back first, then the disks come back.
//!
//! ```text
//! the trash's entry -> the document's place -> the daemon is told -> written -> sync -> wait
//! ```
//!
//! The daemon knows beforehand which entry the document stands for: at no
//! moment could the document make a new VM of that name. Where the document then
//! can't be written, the daemon is told that as well: one that comes some day
//! brings nothing back.

use std::time::Duration;

use banger_core::api::{Kind, Name};
use banger_protocol::VmUid;
use clap::Args;

use super::apply::{goals, settled};
use crate::cli::context::Context;
use crate::cli::object_ref::{KindArg, ObjectRef};
use crate::cli::output::{note, print};
use crate::cli::waiting::{duration, wait_for};
use crate::cli::workspace::Workspace;
use crate::cli::{Exit, Failure};
use crate::client::CallError;
use crate::wire::response::{Code, TrashItem};

/// `banger undelete vm NAME`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Undelete {
    /// `vm`
    kind: KindArg,
    /// The VM's name
    name: Name,
    /// Of several in the trash, the one with this uid; otherwise the newest
    #[arg(long)]
    uid: Option<VmUid>,
    /// `--wait=false`: don't wait until it runs
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    wait: bool,
    /// How long to wait
    #[arg(long, default_value = "5m", value_parser = duration)]
    timeout: Duration,
}

impl Undelete {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<Exit, Failure> {
        if self.kind.0 != Kind::VirtualMachine {
            return Err(
                Failure::invalid("only a VM can be taken back from the trash")
                    .help("an image is imported again when its document is back"),
            );
        }
        let object = ObjectRef::new(Kind::VirtualMachine, self.name.clone());
        refuse_live(context, &object)?;
        let entries = context.daemon.trash()?;
        let entry = self.choose(&entries)?;
        let Some(document) = &entry.document else {
            return Err(nothing(&object));
        };
        let mut workspace = Workspace::open(context.places()?);
        let path = workspace.put_back(&object, &document.text, document.file.as_deref())?;
        let writes = workspace.writes();
        writes.iter().try_for_each(|write| write.check())?;
        context.daemon.undelete(&entry.id)?;
        if let Err(failure) = writes.iter().try_for_each(|write| write.perform()) {
            context.daemon.leave_in_trash(&entry.id)?;
            return Err(failure);
        }
        note(format_args!("its document is in {}", path.display()));
        let synced = context.daemon.sync()?;
        let goals = goals(std::slice::from_ref(&object), &synced)?;
        if let Some((_, uid, _)) = goals.iter().find(|goal| goal.1 != entry.uid) {
            let what = format!(
                "{object} is another VM ({uid}) than the one of {}",
                entry.id
            );
            return Err(Failure::new(Exit::Conflict, what)
                .help("see `banger events` and `banger trash list`: somebody else changed them"));
        }
        print(format_args!("{object} is back, with uid {}", entry.uid))?;
        if self.wait {
            wait_for(context, settled(goals), self.timeout)?;
        }
        Ok(Exit::Ok)
    }

    /// The newest entry that holds the VM as a whole.
    fn choose<'a>(&self, entries: &'a [TrashItem]) -> Result<&'a TrashItem, Failure> {
        let fits = |entry: &&TrashItem| {
            entry.name.as_ref() == Some(&self.name)
                && entry.document.is_some()
                && self.uid.is_none_or(|uid| entry.uid == uid)
        };
        let newest = entries.iter().filter(fits).max_by_key(|it| it.trashed);
        newest.ok_or_else(|| nothing(&ObjectRef::new(Kind::VirtualMachine, self.name.clone())))
    }
}

fn refuse_live(context: &Context, object: &ObjectRef) -> Result<(), Failure> {
    match context.daemon.one(object.kind, &object.name) {
        Err(CallError::Answer {
            code: Code::NotFound,
            ..
        }) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(live) => Err(Failure::new(
            Exit::Conflict,
            format!("there is a {object} already (uid {})", live.metadata.uid),
        )
        .help(format!(
            "call it otherwise (`banger rename vm {} NEW`) or delete it, then try again",
            object.name
        ))),
    }
}

fn nothing(object: &ObjectRef) -> Failure {
    Failure::new(
        Exit::NotFound,
        format!("the trash holds no {object} that could be taken back"),
    )
    .help("`banger trash list -o wide` shows what it holds")
}
