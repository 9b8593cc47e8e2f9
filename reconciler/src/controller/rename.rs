//! `banger rename`: the same uid under another name.
//!
//! ```text
//! rename asked for, saved -> the person's file says the new name -> admitted as the same VM
//! ```
//!
//! Guarantees: only once no document declares the old name is a document of
//! the new one taken for the renamed VM; until then nothing is different, and
//! the word can be taken back.

use banger_core::api::{Kind, Name};
use banger_core::seam::Host;

use super::ask::{Refusal, event};
use super::run::Controller;

impl<H: Host> Controller<H> {
    /// Has a document of the name `to` be this VM's. The name that it has
    /// takes a former word back.
    pub(super) async fn rename(&mut self, name: &Name, to: Name) -> Result<(), Refusal> {
        let vm = self.live_vm(name).await?;
        if *name == to {
            if vm.renaming.is_some() {
                self.ledger
                    .change_vm(vm.uid, Vec::new(), |vm, _| vm.renaming = None)
                    .await?;
                return Ok(());
            }
            return Err(Refusal::conflict(
                format!("vm `{name}` has that name already"),
                "choose another name",
            ));
        }
        self.refuse_taken(&to, Some(vm.uid)).await?;
        self.refuse_declared(Kind::VirtualMachine, &to).await?;
        let asked = event(
            Kind::VirtualMachine,
            name,
            "RenameRequested",
            &format!("it is to be called `{to}`"),
        );
        self.ledger
            .change_vm(vm.uid, vec![asked], |vm, _| vm.renaming = Some(to))
            .await?;
        Ok(())
    }
}
